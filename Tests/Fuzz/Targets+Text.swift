import Foundation
import KeyturnCore
import KeyturnHTTP
import KeyturnIssuers
import KeyturnSystem

extension Targets {
    private static let now = Date(timeIntervalSince1970: 1_800_000_000)

    static let texts = [
        // The template, a NUL, the value.
        FuzzTarget(
            "template",
            words: [
                "{{value}}", "{{value|json}}", "{{value|raw}}", "{{value|shell}}", "{{value|base64}}", "{{", "}}",
                "{\"k\": ",
                "export ", "A=", "a: ", "'", "\"", "\n", "\\", "\0", "[",
            ]
        ) { bytes in
            let halves = bytes.split(separator: 0, maxSplits: 1, omittingEmptySubsequences: false)
            guard let template = try? ValueTemplate(text(Array(halves.first ?? []))) else { return }
            let value = SecretValue(Array(halves.dropFirst().first ?? Array("x".utf8)[...]))
            let material = KeyMaterial(value: value)
            let rendered: SecretValue
            do throws(InvalidTemplate) { rendered = try template.render(material) } catch {
                return try requireSilent(error)
            }
            let isAsItIs = template.parts.contains { if case .placeholder(_, .raw) = $0 { true } else { false } }
            guard !isAsItIs else { return }
            if template.isJSON, !template.fields.isEmpty {
                let document = try? JSONSerialization.jsonObject(with: Data(rendered.exposedBytes()))
                try require(document != nil, "a value broke the JSON around it")
            }
            // Only a word for a shell may span lines, and JSON has none in its texts.
            let spans = template.parts.contains { if case .placeholder(_, .shell) = $0 { true } else { false } }
            if !spans {
                let harmless = try template.render(KeyMaterial(value: SecretValue(utf8: "x")))
                try require(lines(harmless) == lines(rendered), "a value added a line")
            }
        },
        FuzzTarget(
            "adopted-key",
            words: [
                "\"apiKey\":", "\"validUntil\":", "\"accessKeyId\":", "\"secretAccessKey\":", "null", "\\u0000", "\\\"",
            ]
        ) { bytes in
            do throws(InvalidAdoptedKey) {
                let key = try AdoptedKey.parse(SecretValue(bytes), now: now)
                guard key.material.fields["secretAccessKey"] != nil else { return }
                let parts = try? JSONDecoder().decode(
                    [String: String].self, from: Data(key.material.value.exposedBytes()))
                guard parts?.count == 2, parts?["accessKeyId"] == key.keyID else {
                    throw InvalidAdoptedKey(reason: "an access key broke its own JSON")
                }
            } catch {
                try requireSilent(error)
                try require(!error.reason.contains("broke"), error.reason)
            }
        },
        FuzzTarget("retry-after", words: ["GMT", "Sun, ", "Nov", "1994", " ", "-", ":", "60"]) { bytes in
            if let seconds = RetryAfter.seconds(text(bytes), now: now) {
                try require((0...RetryAfter.longest).contains(seconds), "\(seconds) seconds")
            }
            if let date = HTTPDate.parse(text(bytes)) {
                try require(date.timeIntervalSince1970.isFinite, "a date that is none")
            }
        },
        FuzzTarget("aws-credentials", words: ["[default]", "[", "]", "=", "aws_access_key_id", "#", ";", "\r\n"]) {
            bytes in
            for (name, section) in SharedCredentialsFile.sections(text(bytes)) {
                try require(!name.contains("]") || name.isEmpty == false, "a section's name holds its end")
                try require(section.keys.allSatisfy { !$0.contains("=") }, "a name holds an equals sign")
            }
        },
        FuzzTarget(
            "xml",
            words: [
                "<a>", "</a>", "<a/>", "&lt;", "&#x41;", "&#1114112;", "<?xml?>", "<!DOCTYPE", "<!--", "&", ";", "<",
                ">",
            ]
        ) { bytes in
            guard let root = XMLElement.parse(SecretValue(bytes)) else { return }
            try require(depth(root) <= 32, "elements lie too deep")
        },
        FuzzTarget(
            "dialogue",
            words: [
                "\"error\":", "\"code\":", "\"retryable\":", "\"retryAfter\":", "\"value\":", "{", "}", "null", "true",
            ]
        ) { bytes in
            for status in [0, 1] as [Int32] {
                do throws(SystemError) {
                    _ = try JSONDialogue.read(SecretValue(bytes), status: status, as: DialogueAnswer.self)
                } catch {
                    try requireSilent(error)
                    try require(
                        (0...86_400).contains(error.retryAfter ?? 0), "waits for \(error.retryAfter ?? 0) seconds")
                }
            }
        },
    ]

    private struct DialogueAnswer: Decodable {
        let keyId: String?
        let value: String
        let fields: [String: String]?
    }

    private static func lines(_ value: SecretValue) -> Int {
        value.withUnsafeBytes { bytes in bytes.count { $0 == 0x0A } }
    }

    private static func depth(_ element: XMLElement) -> Int { 1 + (element.children.map(depth).max() ?? 0) }
}
