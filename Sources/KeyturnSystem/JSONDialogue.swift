import Foundation
package import KeyturnCore

/// One question to a program of the user's: a JSON object goes in by standard input, a JSON object comes out.
///
/// An answer with a member `error` is a refusal: `{"error": {"code": "...", "retryable": false, "retryAfter": 5}}`. Codes are
/// the words of ``SystemError/Code``; others count as `badRequest`. Messages of the program are not repeated, since they
/// may hold a value.
package enum JSONDialogue {
    private struct Refusal: Decodable {
        struct Detail: Decodable {
            let code: String
            let retryable: Bool?
            let retryAfter: Double?
        }
        let error: Detail
    }

    /// - Throws: what ``ChildProgram/run(input:)`` throws; the refusal; `badAnswer` for anything but a JSON object.
    package static func ask<Question: Encodable, Answer: Decodable>(
        _ program: ChildProgram, _ question: Question, as type: Answer.Type
    ) async throws(SystemError) -> Answer {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let input = try? encoder.encode(question) else {
            throw SystemError(.local, "the question can't be written as JSON")
        }
        let outcome = try await program.run(input: SecretValue(input))
        return try read(outcome.output, status: outcome.status, as: type)
    }

    /// Reads what a program answered.
    ///
    /// - Throws: the refusal; `local` when it ended badly; `badAnswer` for anything but a JSON object.
    package static func read<Answer: Decodable>(
        _ output: SecretValue, status: Int32, as type: Answer.Type
    ) throws(SystemError) -> Answer {
        try output.withUnsafeBytes { (bytes) throws(SystemError) in
            let decoder = JSONDecoder()
            if let refusal = try? decoder.decode(Refusal.self, from: Data(bytes)) {
                let code = SystemError.Code(rawValue: refusal.error.code) ?? .badRequest
                throw SystemError(
                    code, "the program refused the request",
                    disposition: refusal.error.retryable.map { $0 ? .passing : .permanent },
                    retryAfter: refusal.error.retryAfter.map { min(max(0, $0), 86_400) })
            }
            guard status == 0 else {
                throw SystemError(
                    .local, "the program ended with status \(status)", disposition: .passing,
                    mayHaveTakenEffect: true)
            }
            guard let answer = try? decoder.decode(type, from: Data(bytes)) else {
                throw SystemError(.badAnswer, "the program did not answer what it should", mayHaveTakenEffect: true)
            }
            return answer
        }
    }
}

/// A value in a question to a program, written as a JSON string. It is made for the dialogue and nowhere else kept.
package struct ExposedValue: Encodable, Sendable {
    private let value: SecretValue

    package init(_ value: SecretValue) { self.value = value }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        guard let text = value.exposedText() else {
            throw EncodingError.invalidValue(
                "", EncodingError.Context(codingPath: encoder.codingPath, debugDescription: "not UTF-8"))
        }
        try container.encode(text)
    }
}

/// An answer in which nothing matters but that it is one.
package struct Acknowledgement: Decodable, Sendable {}
