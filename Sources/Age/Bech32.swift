/// Bech32 without its length limit, as age writes keys. Source: BIP 173 and the age specification (C2SP age.md).
enum Bech32 {
    private static let alphabet = Array("qpzry9x8gf2tvdw0s3jn54khce6mua7l".utf8)

    /// Gives the text in lower case.
    static func encode(prefix: String, _ bytes: [UInt8]) -> String {
        let words = regroup(bytes.map(UInt32.init), from: 8, to: 5, padding: true) ?? []
        let check = checksum(prefix, words)
        let symbols = (words + check).map { alphabet[Int($0)] }
        return prefix + "1" + String(decoding: symbols, as: UTF8.self)
    }

    /// Gives the prefix in lower case and the bytes; `nil` for mixed case, a foreign character, a wrong checksum or
    /// padding that is not zero.
    static func decode(_ text: String) -> (prefix: String, bytes: [UInt8])? {
        guard text == text.lowercased() || text == text.uppercased() else { return nil }
        let lower = Array(text.lowercased().utf8)
        guard let separator = lower.lastIndex(of: UInt8(ascii: "1")), separator > 0, lower.count - separator > 6 else {
            return nil
        }
        let prefix = String(decoding: lower[..<separator], as: UTF8.self)
        var words: [UInt32] = []
        for byte in lower[(separator + 1)...] {
            guard let index = alphabet.firstIndex(of: byte) else { return nil }
            words.append(UInt32(index))
        }
        guard polymod(expand(prefix) + words) == 1 else { return nil }
        guard let bytes = regroup(Array(words.dropLast(6)), from: 5, to: 8, padding: false) else { return nil }
        return (prefix, bytes.map { UInt8($0) })
    }

    private static func checksum(_ prefix: String, _ words: [UInt32]) -> [UInt32] {
        let rest = polymod(expand(prefix) + words + [UInt32](repeating: 0, count: 6)) ^ 1
        return (0..<6).map { (rest >> (5 * (5 - UInt32($0)))) & 31 }
    }

    private static func expand(_ prefix: String) -> [UInt32] {
        prefix.utf8.map { UInt32($0) >> 5 } + [0] + prefix.utf8.map { UInt32($0) & 31 }
    }

    private static func polymod(_ words: [UInt32]) -> UInt32 {
        let generators: [UInt32] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3]
        var check: UInt32 = 1
        for word in words {
            let top = check >> 25
            check = ((check & 0x1ff_ffff) << 5) ^ word
            for (bit, generator) in generators.enumerated() where (top >> UInt32(bit)) & 1 == 1 { check ^= generator }
        }
        return check
    }

    private static func regroup(_ words: [UInt32], from: UInt32, to: UInt32, padding: Bool) -> [UInt32]? {
        var accumulator: UInt32 = 0
        var bits: UInt32 = 0
        var result: [UInt32] = []
        for word in words {
            accumulator = ((accumulator << from) | word) & 0xfff
            bits += from
            while bits >= to {
                bits -= to
                result.append((accumulator >> bits) & ((1 << to) - 1))
            }
        }
        let rest = (accumulator << (to - bits)) & ((1 << to) - 1)
        if padding {
            if bits > 0 { result.append(rest) }
        } else if bits >= from || rest != 0 {
            return nil
        }
        return result
    }
}
