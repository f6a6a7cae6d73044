import KeyturnBackends
import KeyturnCore
import KeyturnSystem
import TestSupport

extension Targets {
    /// A `.env` file that others wrote: it is refused and left alone, or a variable is set in it and nothing else changes.
    static func dotenv(_ folder: ScratchFolder) throws -> [FuzzTarget] {
        guard let type = BackendRegistry.all.first(where: { $0.description.type == "dotenv" }) else {
            throw Violation("there is no backend dotenv")
        }
        let backend = try type.make(
            "fuzzed", ["directory": .string(folder.path("dotenv"))], try SystemServices.forTests(folder))
        let words = [
            "KEY=", "export ", "'", "\"", "#", " # ", "\n", "\r\n", "\\", "\\'", "\\\"", "=", "${", "OTHER='x'\n",
            "\u{FEFF}",
        ]
        return [
            FuzzTarget("dotenv", words: words, share: 0.1) { bytes in
                try folder.write(bytes, to: "dotenv/.env")
                let target = BackendTarget(backend: "fuzzed", path: ".env#KEY")
                let value = SecretValue(utf8: "new # 'value'")
                let write = VersionWrite(
                    secret: try SecretName("team/key"), version: 1, value: value, receipt: [:], replaces: nil,
                    instance: "i", generation: 1, expiresAt: nil, mayOverwrite: true)
                do {
                    _ = try await backend.promote(write, at: target)
                } catch {
                    try requireSilent(error)
                    let left = folder.bytes("dotenv/.env")
                    try require(left == nil || left == bytes, "a file that was refused has changed")
                    return
                }
                let stored = try await backend.read(.current, at: target)
                try require(stored?.value.matches(value) == true, "the variable is not what was written")
                // Once more it changes nothing.
                let text = folder.bytes("dotenv/.env")
                _ = try await backend.promote(write, at: target)
                try require(folder.bytes("dotenv/.env") == text, "a repetition changed the file")
            }
        ]
    }
}
