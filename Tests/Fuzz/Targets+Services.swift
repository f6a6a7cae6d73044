import Foundation
import KeyturnBackends
import KeyturnCore
import KeyturnIssuers
import KeyturnSystem
import TestSupport

extension Targets {
    /// The protocol of Redis, and answers of an interface that is described in the configuration.
    static func services(
        _ oracle: Oracle, _ address: String, _ services: SystemServices, _ words: [String]
    ) throws -> [FuzzTarget] {
        guard let type = IssuerRegistry.all.first(where: { $0.description.type == "http" }) else {
            throw Violation("there is no issuer over HTTP")
        }
        let issuer = try type.make(
            "fuzzed",
            [
                "url": .string(address),
                "create": .map([
                    "method": .string("POST"), "path": .string("/"), "json": .string("{{lineage}}"),
                ]),
                "answer": .map([
                    "value": .string("/token"), "keyId": .string("/id"), "expiresAt": .string("/end"),
                ]),
                "list": .map([
                    "path": .string("/"), "keyId": .string("/id"), "lineage": .string("/note"),
                ]),
                "check": .map(["path": .string("/"), "headers": .map(["X-Key": .string("{{value}}")])]),
                "revoke": .map(["method": .string("DELETE"), "path": .string("/{{keyId}}")]),
            ], services)
        guard let storeType = BackendRegistry.all.first(where: { $0.description.type == "http" }) else {
            throw Violation("there is no backend over HTTP")
        }
        let store = try storeType.make(
            "fuzzed",
            [
                "url": .string(address),
                "write": .map([
                    "method": .string("PUT"), "path": .string("/{{path}}"),
                    "headers": .map(["If-Match": .string("{{etag}}")]), "json": .map(["v": .string("{{value}}")]),
                ]), "read": .map(["path": .string("/{{path}}"), "value": .string("/v")]),
            ], services)
        return [
            FuzzTarget("http-store-answer", words: words + ["\"v\":"], share: 0.05) { bytes in
                oracle.answer(bytes)
                try await drive(store)
            },
            FuzzTarget("resp", words: ["\r\n", "*", "$", "+", "-", ":", "-1", "$0\r\n\r\n", "*1\r\n"]) { bytes in
                // Whether it comes in one piece or byte by byte is all the same; each piece is read from the start again,
                // so that long ones come in larger pieces.
                let (whole, pieces) = (read(bytes, by: max(1, bytes.count)), read(bytes, by: 1 + bytes.count / 1_000))
                try require(whole == pieces, "pieces are read as something else")
            },
            FuzzTarget("json-pointer", words: words + ["/", "~0", "~1", "\0", "0", "-"]) { bytes in
                let halves = bytes.split(separator: 0, maxSplits: 1, omittingEmptySubsequences: false)
                guard let pointer = JSONPointer(text(Array(halves.first ?? []))) else { return }
                try require(JSONPointer(pointer.description) == pointer, "a pointer is not read back")
                let document = Data(halves.dropFirst().first ?? [])
                guard let value = try? JSONDecoder().decode(JSONValue.self, from: document) else { return }
                _ = pointer.find(in: value)
            },
            FuzzTarget("http-answer", words: words + ["\"token\":", "\"id\":", "\"end\":"], share: 0.05) { bytes in
                oracle.answer(bytes)
                let request = IssueRequest(
                    lineage: Lineage(
                        secret: try SecretName("team/key"), version: 2, nonce: String(repeating: "0", count: 32)),
                    parameters: [:], lifetime: 86_400, intendedAt: Date(timeIntervalSince1970: 1_800_000_000),
                    knownKeyIDs: [])
                try await silently {
                    let key = try await issuer.issue(request, prepared: IssuePreparation())
                    try require(!key.material.value.isEmpty && key.keyID?.isEmpty == false, "a key is empty")
                }
                try await silently { _ = try await issuer.resolve(request, prepared: IssuePreparation()) }
                let handle = KeyHandle(
                    secret: request.lineage.secret, version: 2, keyID: "k",
                    material: KeyMaterial(value: SecretValue(utf8: "v")), parameters: [:])
                try await silently { _ = try await issuer.check(handle) }
                try await silently { try await issuer.revoke(handle) }
            },
        ]
    }

    /// The values up to the first byte that is none, and whether there was one.
    private static func read(_ bytes: [UInt8], by size: Int) -> [RESPValue?] {
        var reader = RESPReader()
        var found: [RESPValue?] = []
        var rest = bytes[...]
        do {
            while !rest.isEmpty {
                try reader.append(rest.prefix(size))
                rest = rest.dropFirst(size)
                while let value = try reader.next() { found.append(value) }
            }
        } catch { found.append(nil) }
        return found
    }
}
