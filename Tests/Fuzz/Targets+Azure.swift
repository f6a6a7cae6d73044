import Foundation
import KeyturnBackends
import KeyturnCore
import KeyturnIssuers
import KeyturnSystem
import TestSupport

extension Targets {
    /// Azure's systems. A token is given out by a server that is well, but for the target that asks for one.
    static func azure(
        _ oracle: Oracle, _ address: String, _ services: SystemServices, _ words: [String]
    ) throws -> [FuzzTarget] {
        let entra = try TestServer { _, channel in
            channel.answer(200, #"{"access_token":"t","expires_in":3599}"#)
            return .keep
        }
        @Sendable func application(_ host: String) -> ParameterValue {
            .map([
                "clientSecret": .map([
                    "tenantId": .string("t"), "clientId": .string("c"), "secret": .secret(.environment("TOKEN")),
                ]), "authorityHost": .string(host),
            ])
        }
        guard let vaultType = BackendRegistry.all.first(where: { $0.description.type == "azure-key-vault" }),
            let appsType = IssuerRegistry.all.first(where: { $0.description.type == "azure-entra-password" }),
            let storageType = IssuerRegistry.all.first(where: { $0.description.type == "azure-storage-key" })
        else { throw Violation("there is no Azure") }
        let resource = ParameterValue.string("https://vault.azure.net")
        @Sendable func vault(_ host: String) throws -> any Backend {
            try vaultType.make(
                "fuzzed", ["vault": .string(address), "resource": resource, "auth": application(host)], services)
        }
        let good = try vault(entra.url())
        let apps = try appsType.make("fuzzed", ["graph": .string(address), "auth": application(entra.url())], services)
        let storage = try storageType.make(
            "fuzzed", ["management": .string(address), "auth": application(entra.url())], services)
        let more = ["\"id\":", "\"value\":", "\"attributes\":", "\"tags\":", "\"nextLink\":", "\"innererror\":"]
        return [
            FuzzTarget("key-vault-answer", words: words + more, share: 0.05) { [entra] bytes in
                _ = entra
                oracle.answer(bytes)
                try await drive(good, at: "team-key")
            },
            // A login of its own each time: a token that came by chance would be kept.
            FuzzTarget(
                "entra-answer", words: words + ["\"access_token\":", "\"expires_in\":", "\"error_codes\":"], share: 0.02
            ) { bytes in
                let asking = try vault(address)
                oracle.answer(bytes)
                try await silently { try await asking.probe(BackendTarget(backend: "fuzzed", path: "team-key")) }
            },
            FuzzTarget(
                "graph-answer", words: words + ["\"passwordCredentials\":", "\"keyId\":", "\"secretText\":"],
                share: 0.05
            ) { bytes in
                oracle.answer(bytes)
                try await drive(apps, ["clientId": .string("33333333-3333-4333-8333-333333333333")])
            },
            FuzzTarget("storage-answer", words: words + ["\"keys\":", "\"keyName\":\"key1\""], share: 0.05) { bytes in
                oracle.answer(bytes)
                try await drive(
                    storage,
                    [
                        "subscription": .string("s"), "resourceGroup": .string("g"), "account": .string("a"),
                        "firstKey": .string("key1"), "blobEndpoint": .string(address),
                    ])
            },
        ]
    }

    static func drive(_ issuer: any Issuer, _ parameters: Parameters) async throws {
        let request = IssueRequest(
            lineage: Lineage(
                secret: try SecretName("team/key"), version: 2, nonce: String(repeating: "0", count: 32)),
            parameters: parameters, lifetime: 86_400, intendedAt: Date(timeIntervalSince1970: 1_800_000_000),
            knownKeyIDs: [])
        let preparation = IssuePreparation(notes: ["slot": "key1"])
        try await silently { _ = try await issuer.prepare(request) }
        try await silently {
            let key = try await issuer.issue(request, prepared: preparation)
            try require(!key.material.value.isEmpty, "a key is empty")
        }
        try await silently { _ = try await issuer.resolve(request, prepared: preparation) }
        let handle = KeyHandle(
            secret: request.lineage.secret, version: 2, keyID: "key1@x",
            material: KeyMaterial(value: SecretValue(utf8: "c29tZXRoaW5n")), parameters: parameters)
        try await silently { _ = try await issuer.check(handle) }
        try await silently { try await issuer.revoke(handle) }
    }
}
