/// How a call ended, out of its trailers.
package struct GRPCStatus: Sendable, CustomStringConvertible {
    /// https://github.com/grpc/grpc/blob/master/doc/statuscodes.md
    package enum Code: Int, Sendable, CaseIterable {
        case ok, cancelled, unknown, invalidArgument, deadlineExceeded, notFound, alreadyExists, permissionDenied
        case resourceExhausted, failedPrecondition, aborted, outOfRange, unimplemented, `internal`, unavailable
        case dataLoss, unauthenticated
    }

    package let code: Code
    /// What the server says about it. It may repeat what it was sent: to compare with what is known, never to be shown.
    package let message: String

    /// - Returns: `nil` when there is no status among these headers.
    package init?(_ headers: HTTPHeaders) {
        guard let text = headers.first("grpc-status") else { return nil }
        // A code that the list does not know is one for which we know no better.
        code = Int(text).flatMap(Code.init) ?? .unknown
        message = Self.decoded(headers.first("grpc-message") ?? "")
    }

    package var description: String { "\(code)" }

    /// Undoes the percent-encoding; what is none is kept as it is, as the specification asks.
    private static func decoded(_ text: String) -> String {
        var rest = Array(text.utf8)[...]
        var bytes: [UInt8] = []
        while let byte = rest.popFirst() {
            let digits = rest.prefix(2)
            if byte == UInt8(ascii: "%"), digits.count == 2, digits.allSatisfy(isHexadecimalDigit),
                let decoded = UInt8(String(decoding: digits, as: UTF8.self), radix: 16)
            {
                bytes.append(decoded)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func isHexadecimalDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
            UInt8(ascii: "A")...UInt8(ascii: "F"):
            true
        default: false
        }
    }
}
