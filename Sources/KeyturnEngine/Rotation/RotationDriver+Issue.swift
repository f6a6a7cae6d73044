import Foundation
import KeyturnCore
import Logging

extension RotationDriver {
    /// Makes the key, or finds out what became of the one that was asked for before.
    func issue(_ session: inout SecretSession) async throws(JournalError) -> StepResult {
        guard let policy else { return .moved }
        do {
            let issuer = try workplace.issuer(policy.issuer)
            if let intent = session.record.rotation?.issueIntent {
                try await confirmNotAhead(policy, session.record)
                return try await resolve(intent, issuer, &session)
            }
            return try await ask(issuer, policy, &session)
        } catch let error as SystemError {
            return .failed(.issue, error)
        } catch let error as JournalError {
            throw error
        } catch {
            throw JournalError.failed("issuing stopped for an unknown reason")
        }
    }

    /// Everything that can be checked is checked, then the intent is made durable, then the issuer is asked, once.
    private func ask(
        _ issuer: any Issuer, _ policy: Policy, _ session: inout SecretSession
    ) async throws -> StepResult {
        try await probeBackends(policy)
        try await confirmBackends(policy, session.record)
        let request = IssueRequest(
            lineage: Lineage(
                secret: secret, version: session.record.rotation?.version ?? 0, nonce: core.random.nonce()),
            parameters: policy.issue, lifetime: policy.lifetime?.seconds, intendedAt: now,
            knownKeyIDs: session.record.versions.compactMap(\.keyID),
            current: session.record.current.map(writing.handle),
            mayRenew: session.record.current.map { $0.issuer == policy.issuer && !$0.tainted } ?? false)
        let prepared = try await call(policy.issuer) { () throws(SystemError) in try await issuer.prepare(request) }
        // Also shows that sealing works before there is a key that needs it.
        let sealed = try writing.seal(prepared.chosen ?? KeyMaterial(value: SecretValue([])))
        let intent = RotationRecord.IssueIntent(
            nonce: request.lineage.nonce, issuer: policy.issuer, intendedAt: request.intendedAt,
            clocks: core.time.reading(), notes: prepared.notes,
            sealedChosen: prepared.chosen == nil ? nil : sealed, parameters: request.parameters,
            lifetime: request.lifetime, knownKeyIDs: request.knownKeyIDs)
        try await intend([.issue], &session) { record, _ in record.rotation?.issueIntent = intent }
        return try await make(issuer, policy.issuer, request, prepared, isRepeated: false, &session)
    }

    /// - Parameter isRepeated: whether it was asked for before, with an outcome that is not known.
    private func make(
        _ issuer: any Issuer, _ name: String, _ request: IssueRequest, _ prepared: IssuePreparation, isRepeated: Bool,
        _ session: inout SecretSession
    ) async throws -> StepResult {
        let key: IssuedKey
        do throws(SystemError) {
            key = try await call(name) { () throws(SystemError) in
                try await issuer.issue(request, prepared: prepared)
            }
        } catch {
            // An unknown outcome keeps its intent, and is resolved before anything else is asked. A repetition that was
            // refused says nothing of the call before it.
            if !isRepeated, !error.mayHaveTakenEffect, error.code != .cancelled {
                try await session.commit { record, _ in record.rotation?.issueIntent = nil }
            }
            return .failed(.issue, error)
        }
        try await keep(key, issuer, request, &session)
        return .moved
    }

    /// Seals the key into the journal. A journal that can't take it loses no key: the key is revoked again, and the
    /// intent that lies there lets a restart look for it. Where the key may have been recorded all the same it is left
    /// alone: a restart finds either the key or the intent.
    private func keep(
        _ key: IssuedKey, _ issuer: any Issuer, _ request: IssueRequest, _ session: inout SecretSession
    ) async throws {
        guard let policy else { return }
        do {
            let sealed = try writing.seal(key.material)
            let version = VersionRecord(
                number: request.lineage.version, stage: .pending, keyID: key.keyID, issuedAt: key.issuedAt,
                expiresAt: key.expiresAt, sealed: sealed, issuer: policy.issuer, issueParameters: request.parameters,
                backends: policy.storedBackends(keeping: []))
            let change: (inout SecretRecord, inout Outbox) -> Void = { [self] record, outbox in
                record.put(version)
                record.rotation?.issueIntent = nil
                apply(.issued, to: &record, &outbox)
                var detail = ["lineage": request.lineage.nonce]
                if let keyID = key.keyID { detail["keyId"] = keyID }
                succeed(.issue, in: &record, &outbox, detail: detail)
            }
            do throws(JournalError) { try await session.commit(change) } catch {
                guard error.mayHaveTakenEffect else { throw error }
                try await session.commit(change)
            }
        } catch {
            // One that we chose is set again from its intent.
            guard issuer.traits.kind == .listable || issuer.traits.kind == .unlistable,
                (error as? JournalError)?.mayHaveTakenEffect != true
            else { throw error }
            let handle = KeyHandle(
                secret: secret, version: request.lineage.version, keyID: key.keyID, material: key.material,
                parameters: request.parameters)
            core.logger.error(
                "a new key could not be recorded and is revoked again",
                metadata: ["secret": "\(secret)", "keyId": "\(key.keyID ?? "-")", "error": "\(error)"])
            do throws(SystemError) { try await issuer.revoke(handle) } catch let undoing {
                core.logger.error(
                    "it could not be revoked; the next start looks for it",
                    metadata: ["secret": "\(secret)", "error": "\(undoing)"])
            }
            throw error
        }
    }

    /// Asks what became of a key whose answer was lost, and adopts or undoes it.
    private func resolve(
        _ intent: RotationRecord.IssueIntent, _ issuer: any Issuer, _ session: inout SecretSession
    ) async throws -> StepResult {
        guard let policy, let rotation = session.record.rotation else { return .moved }
        let request = intent.request(
            for: secret, version: rotation.version, at: core.time.reading(),
            current: session.record.current.map(writing.handle))
        let prepared = try writing.preparation(of: intent, for: rotation.version)
        switch issuer.traits.kind {
        case .chosen, .slots:
            // Setting the same value again is harmless.
            return try await make(issuer, policy.issuer, request, prepared, isRepeated: true, &session)
        case .listable, .unlistable:
            var resolution = try await call(policy.issuer) { () throws(SystemError) in
                try await issuer.resolve(request, prepared: prepared)
            }
            if case .orphaned(let keyIDs) = resolution, !keyIDs.isEmpty,
                let reason = try await reasonToKeepUnknownKeys(session.record)
            {
                resolution = .ambiguous("\(reason) (\(keyIDs.joined(separator: ", ")))")
            }
            return try await take(resolution, request, issuer, &session)
        }
    }

    private func take(
        _ resolution: IssueResolution, _ request: IssueRequest, _ issuer: any Issuer, _ session: inout SecretSession
    ) async throws -> StepResult {
        switch resolution {
        case .neverMade:
            try await close(.neverMade, "the key was never made", "a new one is asked for", &session)
        case .made(let key):
            try await keep(key, issuer, request, &session)
        case .orphaned(let keyIDs):
            for keyID in keyIDs {
                let orphan = KeyHandle(
                    secret: secret, version: request.lineage.version, keyID: keyID, material: nil,
                    parameters: request.parameters)
                try await intend([.revoke], &session)
                try await call(policy?.issuer ?? "") { () throws(SystemError) in try await issuer.revoke(orphan) }
            }
            try await close(
                .orphanRevoked, "the key was made and its text lost", "it was revoked, and a new one is asked for",
                &session, detail: ["keyIds": keyIDs.joined(separator: " ")])
        case .unknowable(let diesAt):
            let orphan = OrphanRecord(
                of: request, issuer: policy?.issuer ?? "", .possible, since: now, until: diesAt,
                detail: "the answer to its creation was lost")
            try await close(
                .possiblyOrphaned, orphan.sentence, "it is reported, and a new one is asked for", &session,
                orphan: orphan)
        case .undecided(let seconds):
            return .failed(
                .issue,
                SystemError(
                    .notYet, "it is too early to tell whether the key was made", retryAfter: seconds))
        case .ambiguous(let reason):
            let orphan = OrphanRecord(
                of: request, issuer: policy?.issuer ?? "", .undecided, since: now, until: nil, detail: reason)
            // A person has looked since, and settled it as another's.
            guard try await !core.journal.orphans().contains(where: { $0.id == orphan.id && $0.state == .closed })
            else {
                try await close(
                    .settled, "a person settled that it is another's key", "a new one is asked for", &session)
                return .moved
            }
            let now = now
            try await session.commit { record, outbox in
                outbox.orphans.append(orphan)
                countAsFailed(&record, &outbox)
                record.quarantine = SecretRecord.Quarantine(
                    since: now, reason: "a key may have been made and can't be told from others: \(reason)")
            }
            return .failed(
                .issue,
                SystemError(
                    .conflict, reason, advice: "decide with `keyturn orphans list`, then `keyturn resume \(secret)`"))
        }
        return .moved
    }

    /// Forgets an intent whose outcome is known now.
    private func close(
        _ outcome: ResolvedStep.Outcome, _ found: String, _ action: String, _ session: inout SecretSession,
        detail: [String: String] = [:], orphan: OrphanRecord? = nil
    ) async throws(JournalError) {
        let desk = desk()
        try await session.commit { record, outbox in
            record.rotation?.issueIntent = nil
            let version = record.rotation?.version ?? 0
            core.answered(RotationStep.revoke.text, version: version, in: &record, &outbox)
            core.resolve(
                RotationStep.issue.text, version: version, as: outcome, found: found, action: action, detail: detail,
                in: &record, &outbox)
            guard let orphan else { return }
            outbox.orphans.append(orphan)
            record.rotation?.lostKeys += 1
            if let lost = record.rotation?.lostKeys, lost >= core.settings.maximumReissues {
                countAsFailed(&record, &outbox)
                quarantine(
                    &record, &outbox, desk, reason: "the answers to \(lost) creations in a row were lost",
                    advice: "each may have left a key behind; see why the issuer does not answer")
            }
            desk.tell(
                .possibleOrphan, severity: .warning, version: version, reason: outcome.rawValue,
                summary: orphan.sentence, advice: "see `keyturn orphans list`", about: record.name, &outbox)
        }
    }

    /// Whether every required backend can be reached and written to, before a key is made.
    private func probeBackends(_ policy: Policy) async throws(SystemError) {
        for entry in policy.backends where entry.required {
            let backend = try workplace.backend(entry.name)
            try await core.gates.call(.backend(entry.name)) { () throws(SystemError) in
                try await backend.probe(entry.target)
            }
        }
    }

    /// Whether the required backends show what the journal says.
    private func confirmBackends(_ policy: Policy, _ record: SecretRecord) async throws(SystemError) {
        let overwrites = Set(policy.backends.filter(\.overwrite).map(\.name) + (record.rotation?.repairs ?? []))
        try await restore.confirm(
            policy.backends.filter(\.required).map(\.target), of: record,
            replaceable: { overwrites.contains($0.backend) })
    }

    /// Makes sure that no mark in a backend shows the journal to be an old copy, before it judges what it can't know.
    func confirmNotAhead(_ policy: Policy, _ record: SecretRecord) async throws(SystemError) {
        try await restore.confirm(
            policy.backends.filter(\.required).map(\.target), of: record, replaceable: { _ in true })
    }

    private func call<Result: Sendable>(
        _ issuer: String, _ body: () async throws(SystemError) -> Result
    ) async throws(SystemError) -> Result {
        try await core.gates.call(.issuer(issuer), body)
    }
}

extension RotationRecord.IssueIntent {
    /// The request as it was made.
    ///
    /// - Parameter reading: what the clocks show now, where it matters how long ago it was made.
    func request(
        for secret: SecretName, version: Int, at reading: ClockReading? = nil, current: KeyHandle? = nil
    ) -> IssueRequest {
        IssueRequest(
            lineage: Lineage(secret: secret, version: version, nonce: nonce), parameters: parameters,
            lifetime: lifetime, intendedAt: intendedAt,
            waited: reading.map { $0.elapsed(since: clocks ?? ClockReading(wall: intendedAt, uptime: 0, boot: nil)) }
                ?? 0,
            knownKeyIDs: knownKeyIDs, current: current)
    }
}

extension OrphanRecord {
    init(
        of request: IssueRequest, issuer: String, _ state: State, since: Date, until: Date?, detail: String
    ) {
        self.init(
            id: request.lineage.description, secret: request.lineage.secret, version: request.lineage.version,
            issuer: issuer, keyID: nil, issueParameters: request.parameters, state: state, since: since, until: until,
            detail: detail)
    }

    /// The finding in one sentence.
    package var sentence: String {
        switch (state, until) {
        case (.possible, let until?):
            "version \(version) of \(secret) is possibly orphaned until \(until.formatted(.iso8601)): \(detail)"
        case (.possible, nil): "version \(version) of \(secret) is possibly orphaned: \(detail)"
        case (.undecided, _): "a key of \(secret) may be an orphan: \(detail)"
        case (.closed, _): "version \(version) of \(secret) is no orphan any more: \(detail)"
        }
    }
}
