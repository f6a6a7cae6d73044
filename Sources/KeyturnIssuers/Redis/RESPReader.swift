/// Takes a server's bytes in any pieces, and gives the values that they hold.
package struct RESPReader {
    private var bytes: [UInt8] = []

    package init() {}

    /// What no answer of Redis to our questions comes near.
    package static let maximumBytes = 1 << 20
    package static let maximumElements = 10_000
    package static let maximumDepth = 8

    /// The bytes are not those of the protocol, or too many.
    package struct Malformed: Error {}

    package mutating func append(_ more: some Collection<UInt8>) throws(Malformed) {
        guard bytes.count + more.count <= Self.maximumBytes else { throw Malformed() }
        bytes.append(contentsOf: more)
    }

    /// The next whole value; `nil` until more bytes come.
    package mutating func next() throws(Malformed) -> RESPValue? {
        var cursor = Cursor(bytes: bytes)
        guard let value = try cursor.value(depth: 0) else { return nil }
        bytes.removeFirst(cursor.position)
        return value
    }

    private struct Cursor {
        let bytes: [UInt8]
        var position = 0

        mutating func value(depth: Int) throws(Malformed) -> RESPValue? {
            guard let line = try line() else { return nil }
            guard let kind = line.first else { throw Malformed() }
            let rest = line.dropFirst()
            switch kind {
            case UInt8(ascii: "+"): return .simple(String(decoding: rest, as: UTF8.self))
            case UInt8(ascii: "-"): return .error(String(decoding: rest, as: UTF8.self))
            case UInt8(ascii: ":"): return .integer(try number(rest))
            case UInt8(ascii: "$"): return try bulk(try number(rest))
            case UInt8(ascii: "*"): return try array(try number(rest), depth: depth)
            default: throw Malformed()
            }
        }

        private mutating func bulk(_ count: Int64) throws(Malformed) -> RESPValue? {
            guard count >= 0 else { return .null }
            guard count <= Int64(RESPReader.maximumBytes) else { throw Malformed() }
            let end = position + Int(count)
            guard bytes.count >= end + 2 else { return nil }
            guard bytes[end] == 0x0D, bytes[end + 1] == 0x0A else { throw Malformed() }
            defer { position = end + 2 }
            return .bulk(Array(bytes[position..<end]))
        }

        private mutating func array(_ count: Int64, depth: Int) throws(Malformed) -> RESPValue? {
            guard count >= 0 else { return .null }
            guard count <= Int64(RESPReader.maximumElements), depth < RESPReader.maximumDepth else {
                throw Malformed()
            }
            var elements: [RESPValue] = []
            for _ in 0..<count {
                guard let element = try value(depth: depth + 1) else { return nil }
                elements.append(element)
            }
            return .array(elements)
        }

        /// Up to the next line break, which is not part of it; `nil` when there is none yet.
        private mutating func line() throws(Malformed) -> ArraySlice<UInt8>? {
            guard let feed = bytes[position...].firstIndex(of: 0x0A) else { return nil }
            guard feed > position, bytes[feed - 1] == 0x0D else { throw Malformed() }
            defer { position = feed + 1 }
            return bytes[position..<(feed - 1)]
        }

        private func number(_ digits: ArraySlice<UInt8>) throws(Malformed) -> Int64 {
            guard let number = Int64(String(decoding: digits, as: UTF8.self)) else { throw Malformed() }
            return number
        }
    }
}
