import Foundation
import KeyturnBackends
import KeyturnCore
import TestSupport
import Testing

/// No name of a secret, and no path of a policy, leads out of where a backend keeps its values.
@Suite("Paths that would lead elsewhere")
struct PathTraversalTests {
    private static let pieces = [
        "..", ".", "", "/", "//", "\\", "\0", "\n", "a", "b", "~", "%2e%2e", "%2f", "..;", "...", "\u{FF0E}\u{FF0E}",
        "\u{2024}", "..\\", "C:", "?", "#", "&", " ", "*", "$HOME", "`id`", "{{value}}", "é", "current", ".lock",
        "1.age",
        "-rf", "\u{202E}", "a/../..", "./..", "../", "/etc/passwd",
    ]

    private static func nasty(_ generator: inout SeededGenerator) -> String {
        let joints = ["/", "", "//", "/./"]
        var text = ""
        for index in 0..<Int.random(in: 1...6, using: &generator) {
            if index > 0 { text += joints.randomElement(using: &generator) ?? "/" }
            text += pieces.randomElement(using: &generator) ?? ".."
        }
        return text
    }

    /// Where a file system would end, without looking at it.
    private static func staysBelow(_ path: String) -> Bool {
        let root = "/vault/folder"
        let full = URL(filePath: "\(root)/\(path)").standardizedFileURL.path(percentEncoded: false)
        return full.hasPrefix(root + "/") && full.count > root.count + 1
    }

    @Test func noSecretsNameLeadsOut() {
        var generator = SeededGenerator(seed: 20_260_101)
        var accepted = 0
        for _ in 0..<50_000 {
            let text = Self.nasty(&generator)
            guard let name = try? SecretName(text) else { continue }
            accepted += 1
            #expect(name.text == text && Self.staysBelow(text), "\(text.debugDescription)")
            #expect(
                text.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { $0.first != "." && $0 != "" })
            #expect(text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F })
        }
        #expect(accepted > 100)
    }

    @Test func noPathOfABackendLeadsOut() throws {
        var generator = SeededGenerator(seed: 20_260_102)
        let kinds = BackendRegistry.descriptions
        #expect(kinds.count >= 5)
        for _ in 0..<20_000 {
            let path = Self.nasty(&generator)
            for kind in kinds where kind.checkPath(path) == nil {
                // A program of the user's is given any text but those that no argument could hold.
                guard kind.type != "command" else { continue }
                // A name in AWS is no path: it goes into a member of a request, and slashes mean nothing there.
                let isFlat = kind.type == "aws-secrets-manager"
                #expect(isFlat ? !path.isEmpty : Self.staysBelow(path), "\(kind.type): \(path.debugDescription)")
                #expect(!path.utf8.contains { $0 < 0x20 }, "\(kind.type): \(path.debugDescription)")
            }
        }
    }
}
