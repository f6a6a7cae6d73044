/// One value of Redis's protocol, version 2: https://redis.io/docs/latest/develop/reference/protocol-spec/
package enum RESPValue: Equatable, Sendable {
    case simple(String)
    /// The whole line; its first word is a code, such as `WRONGPASS`.
    case error(String)
    case integer(Int64)
    case bulk([UInt8])
    case null
    case array([RESPValue])

    /// A text, in either form.
    var text: String? {
        switch self {
        case .simple(let text): text
        case .bulk(let bytes): String(validating: bytes, as: UTF8.self)
        default: nil
        }
    }

    /// A command as it is sent: an array of its words.
    package static func command(_ words: [[UInt8]]) -> [UInt8] {
        var bytes = Array("*\(words.count)\r\n".utf8)
        for word in words { bytes += Array("$\(word.count)\r\n".utf8) + word + [0x0D, 0x0A] }
        return bytes
    }
}
