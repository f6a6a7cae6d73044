import Testing

/// One promise of a protocol, to be kept by everything that conforms to it.
package struct ContractCheck<Subject: Sendable>: Sendable, CustomTestStringConvertible {
    /// The promise in words.
    package let name: String
    /// Tries it on a fresh subject.
    package let run: @Sendable (Subject) async throws -> Void

    package init(_ name: String, run: @escaping @Sendable (Subject) async throws -> Void) {
        self.name = name
        self.run = run
    }

    package var testDescription: String { name }
}
