/// One parser of data from outside, and what must hold for every input.
struct FuzzTarget: Sendable {
    /// Also the name of its folder in the corpus.
    let name: String
    /// Words of its language, for the mutator.
    let words: [String]
    /// How many inputs it is given for one of the others: some need a server.
    let share: Double
    /// - Throws: ``Violation``.
    let check: @Sendable ([UInt8]) async throws -> Void

    init(
        _ name: String, words: [String] = [], share: Double = 1,
        check: @escaping @Sendable ([UInt8]) async throws -> Void
    ) {
        self.name = name
        self.words = words
        self.share = share
        self.check = check
    }
}

/// A promise that an input broke.
struct Violation: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// Part of what stands for a secret in the corpus. No error may show it.
let canary = "CANARY"

func require(_ condition: Bool, _ promise: @autoclosure () -> String) throws {
    guard condition else { throw Violation(promise()) }
}

/// The text of an error, which shows no secret.
func requireSilent(_ error: any Error) throws {
    let texts = ["\(error)", String(reflecting: error)]
    try require(texts.allSatisfy { !$0.contains(canary) }, "an error shows a secret: \(texts[0])")
}

func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
