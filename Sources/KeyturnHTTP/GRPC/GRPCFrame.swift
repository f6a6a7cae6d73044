package import KeyturnCore

/// Messages on the wire: one byte that says whether it is compressed, four of length in network order, the message.
package enum GRPCFrame {
    private static let prefixLength = 5

    package static func framed(_ message: SecretValue) -> SecretValue {
        message.withUnsafeBytes { bytes in
            var frame: [UInt8] = [0]
            frame += withUnsafeBytes(of: UInt32(bytes.count).bigEndian, Array.init)
            frame += bytes
            defer { for index in frame.indices { frame[index] = 0 } }
            return SecretValue(frame)
        }
    }

    /// The one message that makes up the whole body; `nil` for anything else. We accept no compression, so that there is
    /// none.
    package static func message(in body: SecretValue) -> SecretValue? {
        body.withUnsafeBytes { bytes in
            guard bytes.count >= prefixLength, bytes[0] == 0 else { return nil }
            let length = bytes[1..<prefixLength].reduce(0) { $0 << 8 | Int($1) }
            guard bytes.count == prefixLength + length else { return nil }
            return SecretValue(bytes[prefixLength...])
        }
    }
}
