import Foundation
package import KeyturnCore
import Testing

/// An issuer that is put to the test.
package struct IssuerSubject: Sendable {
    package let issuer: any Issuer
    package let parameters: Parameters

    package init(_ issuer: any Issuer, parameters: Parameters = [:]) {
        self.issuer = issuer
        self.parameters = parameters
    }

    fileprivate static let intended = Date(timeIntervalSince1970: 1_800_000_000)

    fileprivate func request(_ version: Int, lifetime: Int64? = 86_400, nonce: Character = "a") throws -> IssueRequest {
        IssueRequest(
            lineage: Lineage(
                secret: try SecretName("team/key"), version: version, nonce: String(repeating: nonce, count: 32)),
            parameters: parameters, lifetime: lifetime, intendedAt: Self.intended, knownKeyIDs: [])
    }

    fileprivate func issue(_ request: IssueRequest) async throws -> IssuedKey {
        try await issuer.issue(request, prepared: try await issuer.prepare(request))
    }

    fileprivate func handle(_ key: IssuedKey, _ version: Int) throws -> KeyHandle {
        KeyHandle(
            secret: try SecretName("team/key"), version: version, keyID: key.keyID, material: key.material,
            parameters: parameters)
    }
}

/// What every ``Issuer`` promises; each check gets a fresh one.
package enum IssuerContract {
    package static let checks: [ContractCheck<IssuerSubject>] = [
        ContractCheck("preparing makes no key") { subject in
            let request = try subject.request(1)
            _ = try await subject.issuer.prepare(request)
            guard let lister = subject.issuer as? any ListsKeys else { return }
            #expect(try await lister.keys(for: subject.parameters).isEmpty)
        },
        ContractCheck("a key has a value, and an end when one is asked for") { subject in
            let key = try await subject.issue(try subject.request(1))
            #expect(!key.material.value.isEmpty)
            #expect(key.material.fields[KeyMaterial.valueField]?.matches(key.material.value) == true)
            #expect(key.expiresAt == key.issuedAt.addingTimeInterval(86_400))
            let endless = try await subject.issue(try subject.request(2, lifetime: nil, nonce: "b"))
            #expect(endless.expiresAt == nil)
        },
        ContractCheck("two keys differ") { subject in
            let first = try await subject.issue(try subject.request(1))
            let second = try await subject.issue(try subject.request(2, nonce: "b"))
            #expect(!first.material.matches(second.material))
            #expect(first.keyID == nil || first.keyID != second.keyID)
        },
        ContractCheck("a chosen value is chosen once, and issuing it may be repeated") { subject in
            let request = try subject.request(1)
            let prepared = try await subject.issuer.prepare(request)
            guard subject.issuer.traits.kind == .chosen else {
                #expect(prepared.chosen == nil)
                return
            }
            let chosen = try #require(prepared.chosen)
            let first = try await subject.issuer.issue(request, prepared: prepared)
            let again = try await subject.issuer.issue(request, prepared: prepared)
            #expect(first.material.matches(chosen) && again.material.matches(chosen))
            #expect(first.keyID == again.keyID)
        },
        ContractCheck("what was never asked for is not found") { subject in
            let request = try subject.request(1)
            let prepared = try await subject.issuer.prepare(request)
            switch (subject.issuer.traits.kind, try await subject.issuer.resolve(request, prepared: prepared)) {
            // Too early to tell is an answer too: the key may still come.
            case (.listable, .undecided(let seconds)): #expect(seconds > 0)
            case (.listable, .neverMade), (.slots, .neverMade), (.chosen, .neverMade), (.chosen, .made): break
            case (.unlistable, .unknowable(let end)):
                let earliest = IssuerSubject.intended.addingTimeInterval(86_400)
                #expect(try #require(end) >= earliest, "the key may live for as long as it was asked for")
            case (let kind, let resolution): Issue.record("\(kind): \(resolution)")
            }
        },
        ContractCheck("a key whose answer was lost is found by its lineage") { subject in
            let request = try subject.request(1)
            let prepared = try await subject.issuer.prepare(request)
            let key = try await subject.issuer.issue(request, prepared: prepared)
            let other = try await subject.issue(try subject.request(1, nonce: "b"))
            switch (subject.issuer.traits.kind, try await subject.issuer.resolve(request, prepared: prepared)) {
            case (.listable, .orphaned(let ids)):
                #expect(ids == [key.keyID].compactMap { $0 })
                #expect(other.keyID.map(ids.contains) == false)
            case (.chosen, .neverMade), (.slots, .neverMade), (.unlistable, .unknowable): break
            case (.chosen, .made(let found)): #expect(found.material.matches(key.material))
            case (let kind, let resolution): Issue.record("\(kind): \(resolution)")
            }
        },
        ContractCheck("a new key works, where that can be told") { subject in
            let key = try await subject.issue(try subject.request(1))
            let check = try await subject.issuer.check(try subject.handle(key, 1))
            #expect(check == (subject.issuer.traits.checks ? .works : .cannotTell))
        },
        ContractCheck("revoking ends the key it is given and no other, and may be repeated") { subject in
            let first = try await subject.issue(try subject.request(1))
            let second = try await subject.issue(try subject.request(2, nonce: "b"))
            for _ in 1...2 { try await subject.issuer.revoke(try subject.handle(first, 1)) }
            guard subject.issuer.traits.checks, subject.issuer.traits.revokes else { return }
            switch try await subject.issuer.check(try subject.handle(first, 1)) {
            // Some answer to a dead key what they answer to one that they don't know yet.
            case .refused, .notYet: break
            case .works, .cannotTell: Issue.record("a revoked key works")
            }
            #expect(try await subject.issuer.check(try subject.handle(second, 2)) == .works)
        },
        ContractCheck("a key is switched off and on again") { subject in
            guard subject.issuer.traits.disables, let power = subject.issuer as? any DisablesKeys else { return }
            let key = try subject.handle(try await subject.issue(try subject.request(1)), 1)
            for _ in 1...2 { try await power.disable(key) }
            guard case .refused = try await power.check(key) else {
                Issue.record("a disabled key works")
                return
            }
            for _ in 1...2 { try await power.enable(key) }
            #expect(try await power.check(key) == .works)
            try await power.revoke(key)
            let error = await #expect(throws: SystemError.self) { try await power.disable(key) }
            #expect(error?.code == .notFound)
        },
        ContractCheck("a key that nobody used has no last use") { subject in
            guard subject.issuer.traits.reportsLastUse, let power = subject.issuer as? any ReportsLastUse else {
                return
            }
            let key = try subject.handle(try await subject.issue(try subject.request(1)), 1)
            #expect(try await power.lastUse(of: key) == nil)
        },
        ContractCheck("a list shows the lineage of ours") { subject in
            guard let lister = subject.issuer as? any ListsKeys, subject.issuer.traits.kind == .listable else { return }
            let request = try subject.request(1)
            let key = try await subject.issue(request)
            let listed = try await lister.keys(for: subject.parameters)
            #expect(listed.map(\.keyID) == [key.keyID].compactMap { $0 })
            #expect(listed.map(\.lineage) == [request.lineage])
        },
    ]
}
