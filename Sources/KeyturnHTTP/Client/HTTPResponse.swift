package import Foundation
package import KeyturnCore

/// An answer, whatever its status. Its body may hold a secret, so it is kept as one.
package struct HTTPResponse: Sendable, CustomStringConvertible, CustomReflectable {
    package let status: Int
    package let headers: HTTPHeaders
    package let trailers: HTTPHeaders
    package let body: SecretValue

    package init(status: Int, headers: HTTPHeaders, trailers: HTTPHeaders, body: SecretValue) {
        self.status = status
        self.headers = headers
        self.trailers = trailers
        self.body = body
    }

    package var isSuccess: Bool { (200..<300).contains(status) }

    /// The body as JSON; `nil` when it is not what is asked for.
    package func decodeJSON<Value: Decodable>(_ type: Value.Type) -> Value? {
        body.withUnsafeBytes { try? JSONDecoder().decode(type, from: Data($0)) }
    }

    /// What `Retry-After` asks for, in seconds.
    package func retryAfter(now: Date) -> Double? {
        headers.first("retry-after").flatMap { RetryAfter.seconds($0, now: now) }
    }

    /// What the server says of the time: RFC 9110, section 6.6.1.
    package var date: Date? { headers.first("date").flatMap(HTTPDate.parse) }

    package var description: String { "HTTP \(status), \(body.count) bytes" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}

/// Header lines in the order in which they came; names are compared without regard to case.
package struct HTTPHeaders: Sendable {
    private(set) var lines: [(name: String, value: String)] = []

    package init(_ lines: [(name: String, value: String)] = []) { self.lines = lines }

    mutating func append(_ name: String, _ value: String) { lines.append((name, value)) }

    package func first(_ name: String) -> String? {
        lines.first { $0.name.lowercased() == name.lowercased() }?.value
    }

    package func all(_ name: String) -> [String] {
        lines.filter { $0.name.lowercased() == name.lowercased() }.map(\.value)
    }

    package var isEmpty: Bool { lines.isEmpty }
}
