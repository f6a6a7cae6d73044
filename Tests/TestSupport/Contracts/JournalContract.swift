import Foundation
package import KeyturnCore
import Testing

/// What every ``Journal`` promises; each check gets an empty one.
package enum JournalContract {
    package static let checks: [ContractCheck<any Journal>] =
        leases + changes + schedules + trails + queues + wholes + emergencies

    private static let start = Date(timeIntervalSince1970: 1_800_000_000)
    private static let later = start.addingTimeInterval(60)

    private static func name(_ text: String = "team/key") throws -> SecretName { try SecretName(text) }

    /// A minute that begins so many seconds after the start, which the wall clock shows unless it is `ahead`.
    private static func term(_ passed: Double = 0, ahead: Double = 0) -> LeaseTerm {
        LeaseTerm(
            from: ClockReading(wall: start.addingTimeInterval(passed + ahead), uptime: 1_000 + passed, boot: "b"),
            seconds: 60)
    }

    private static func claimed(
        _ journal: any Journal, _ secret: String = "team/key", owner: String = "a", term: LeaseTerm = term()
    ) async throws -> Lease {
        try #require(try await journal.claim(try name(secret), owner: owner, term: term))
    }

    private static func write(
        _ record: SecretRecord, due: Date?, to journal: any Journal, audit: [AuditEvent] = []
    ) async throws {
        let lease = try await claimed(journal, record.name.text)
        try await journal.commit(JournalChange(record: record, nextDue: due, audit: audit), under: lease)
        try await journal.release(lease)
    }

    // MARK: The installation

    private static let wholes: [ContractCheck<any Journal>] = [
        ContractCheck("what is known of the installation is kept, with what goes with it") { journal in
            #expect(try await journal.installationState() == InstallationState())
            let mark = ClockMark(ClockReading(wall: start, uptime: 7, boot: "b"))
            let restored = InstallationState.Restored(since: start, secret: try name(), sentence: "ahead")
            try await journal.changeInstallation(audit: [event("clock.agrees")], alerts: [alert("one", sink: "ops")]) {
                $0.clock = mark
            }
            try await journal.changeInstallation(audit: [], alerts: []) { $0.restored = restored }
            #expect(try await journal.installationState() == InstallationState(clock: mark, restored: restored))
            #expect(try await journal.auditEntries(of: nil, after: 0, limit: 9).map(\.event.kind) == ["clock.agrees"])
            #expect(try await journal.dueAlerts(at: .distantFuture, limit: 9).count == 1)
        },
        ContractCheck("a new generation thaws, and has every secret looked at") { journal in
            let before = try await journal.installation()
            try await write(SecretRecord(name: try name("team/never")), due: nil, to: journal)
            try await write(SecretRecord(name: try name("team/late")), due: later.addingTimeInterval(9), to: journal)
            try await write(SecretRecord(name: try name("team/soon")), due: start, to: journal)
            let restored = InstallationState.Restored(since: start, secret: try name(), sentence: "ahead")
            try await journal.changeInstallation(audit: [], alerts: []) { $0.restored = restored }
            try await journal.enqueue([alert("late", sink: "ops", at: later.addingTimeInterval(99))])
            try await journal.beginGeneration(at: later, audit: event("state.accepted"))
            #expect(try await journal.dueAlerts(at: later, limit: 9).count == 1)
            #expect(try await journal.installationState().restored == nil)
            let after = try await journal.installation()
            #expect(after == Installation(instance: before.instance, generation: before.generation + 1))
            #expect(
                try await journal.due(by: .distantFuture, limit: 9) == [
                    DueSecret(secret: try name("team/soon"), at: start),
                    DueSecret(secret: try name("team/late"), at: later),
                    DueSecret(secret: try name("team/never"), at: later),
                ])
        },
    ]

    // MARK: Leases

    private static let leases: [ContractCheck<any Journal>] = [
        ContractCheck("a lease keeps others away until it ends") { journal in
            let first = try await claimed(journal)
            #expect(try await journal.claim(try name(), owner: "b", term: term()) == nil)
            #expect(try await journal.claim(try name(), owner: "b", term: term(59.999)) == nil)
            let second = try await claimed(journal, owner: "b", term: term(60))
            #expect(second.token > first.token)
        },
        ContractCheck("a clock that is set ends no lease, and prolongs none") { journal in
            _ = try await claimed(journal)
            #expect(try await journal.claim(try name(), owner: "b", term: term(1, ahead: 90_000)) == nil)
            _ = try await claimed(journal, owner: "b", term: term(60, ahead: -90_000))
        },
        ContractCheck("what another start of the machine left is kept for no longer than this one lasts") { journal in
            let before = ClockReading(wall: start, uptime: 900_000, boot: "a")
            _ = try await claimed(journal, term: LeaseTerm(from: before, seconds: 60))
            func after(_ uptime: Double, wall: Double) -> LeaseTerm {
                LeaseTerm(
                    from: ClockReading(wall: start.addingTimeInterval(wall), uptime: uptime, boot: "b"), seconds: 60)
            }
            #expect(try await journal.claim(try name(), owner: "b", term: after(20, wall: 90_000)) == nil)
            #expect(try await journal.claim(try name(), owner: "b", term: after(90, wall: 20)) == nil)
            _ = try await claimed(journal, owner: "b", term: after(60, wall: 61))
        },
        ContractCheck("its owner may claim again, and only the newest lease counts") { journal in
            let old = try await claimed(journal)
            let new = try await claimed(journal)
            #expect(new.token > old.token)
            let change = JournalChange(record: SecretRecord(name: try name()), nextDue: nil)
            await #expect(throws: JournalError.leaseLost(try name())) { try await journal.commit(change, under: old) }
            await #expect(throws: JournalError.leaseLost(try name())) { try await journal.renew(old, term: term()) }
            try await journal.commit(change, under: new)
        },
        ContractCheck("a process that slept past its lease changes nothing") { journal in
            var record = SecretRecord(name: try name())
            try await write(record, due: later, to: journal)
            let lost = try await claimed(journal)
            _ = try await claimed(journal, owner: "b", term: term(60))
            let entries = try await journal.auditEntries(of: nil, after: 0, limit: 100)
            record.abandonedInARow = 7
            record.versions = [.sample(from: start)]
            let change = JournalChange(
                record: record, nextDue: start, audit: [event("step.intended")],
                alerts: [alert("late", sink: "ops")], orphans: [try orphan("late")])
            await #expect(throws: JournalError.leaseLost(try name())) { try await journal.commit(change, under: lost) }
            #expect(try await journal.record(of: try name())?.abandonedInARow == 0)
            #expect(try await journal.record(of: try name())?.versions.isEmpty == true)
            #expect(try await journal.due(by: .distantFuture, limit: 1).first?.at == later)
            #expect(try await journal.auditEntries(of: nil, after: 0, limit: 100) == entries)
            #expect(try await journal.dueAlerts(at: .distantFuture, limit: 9).isEmpty)
            #expect(try await journal.orphans().isEmpty)
        },
        ContractCheck("a lease can be prolonged") { journal in
            let lease = try await claimed(journal)
            try await journal.renew(lease, term: term(60))
            #expect(try await journal.claim(try name(), owner: "b", term: term(119)) == nil)
        },
        ContractCheck("a lease that is given back is free at once and of no use any more") { journal in
            let lease = try await claimed(journal)
            try await journal.release(lease)
            let change = JournalChange(record: SecretRecord(name: try name()), nextDue: nil)
            await #expect(throws: JournalError.leaseLost(try name())) { try await journal.commit(change, under: lease) }
            let next = try await claimed(journal, owner: "b")
            #expect(next.token > lease.token)
            // Giving back what was lost frees nobody else's.
            try await journal.release(lease)
            #expect(try await journal.claim(try name(), owner: "c", term: term()) == nil)
        },
        ContractCheck("leases of different secrets do not meet") { journal in
            _ = try await claimed(journal, "team/a")
            let other = try await claimed(journal, "team/b", owner: "b")
            try await journal.commit(
                JournalChange(record: SecretRecord(name: try name("team/b")), nextDue: nil), under: other)
        },
        ContractCheck("of many that claim at once one wins") { journal in
            let winners = try await withThrowingTaskGroup(of: Lease?.self) { group in
                for number in 0..<32 {
                    group.addTask {
                        try await journal.claim(try name(), owner: "owner \(number)", term: term())
                    }
                }
                return try await group.reduce(into: [Lease]()) { leases, lease in if let lease { leases.append(lease) }
                }
            }
            #expect(winners.count == 1)
        },
        ContractCheck("a claim makes a secret known, and nothing else does") { journal in
            #expect(try await journal.record(of: try name()) == nil)
            #expect(try await journal.records().isEmpty)
            _ = try await claimed(journal)
            #expect(try await journal.record(of: try name()) == SecretRecord(name: try name()))
        },
    ]

    // MARK: Changes

    private static let changes: [ContractCheck<any Journal>] = [
        ContractCheck("what is committed is read back whole") { journal in
            let record = try everything()
            try await write(record, due: nil, to: journal)
            let back = try #require(await journal.record(of: record.name))
            #expect(back == record)
            #expect(try await journal.records() == [record])
        },
        ContractCheck("versions change, join and keep their order") { journal in
            var record = SecretRecord(name: try name())
            record.versions = [.sample(1, from: start)]
            record.versions[0].sealed = Data([1, 2, 3])
            try await write(record, due: nil, to: journal)
            record.versions[0].stage = .retired
            record.versions[0].sealed = nil
            record.put(.sample(10, .pending, from: later))
            record.put(.sample(2, from: start))
            try await write(record, due: nil, to: journal)
            let back = try #require(await journal.record(of: record.name))
            #expect(back.versions.map(\.number) == [1, 2, 10])
            #expect(back.versions.map(\.stage) == [.retired, .current, .pending])
            #expect(back.versions.map(\.sealed) == [nil, nil, nil])
        },
        ContractCheck("records come by name") { journal in
            for secret in ["team/b", "a", "team/a", "z"] {
                try await write(SecretRecord(name: try name(secret)), due: nil, to: journal)
            }
            #expect(try await journal.records().map(\.name.text) == ["a", "team/a", "team/b", "z"])
        },
        ContractCheck("a commit leaves a pause as it is") { journal in
            let lease = try await claimed(journal)
            var stale = try #require(await journal.record(of: try name()))
            try await journal.setPaused(true, of: try name(), at: start, actor: "ann")
            try await journal.commit(JournalChange(record: stale, nextDue: nil), under: lease)
            #expect(try await journal.record(of: try name())?.pausedSince == start)
            try await journal.setPaused(false, of: try name(), at: later, actor: "ann")
            stale.pausedSince = start
            try await journal.commit(JournalChange(record: stale, nextDue: nil), under: lease)
            #expect(try await journal.record(of: try name())?.pausedSince == nil)
        },
        ContractCheck("a pause needs no lease, keeps its beginning, and is looked at and audited") { journal in
            _ = try await claimed(journal)
            try await journal.setPaused(true, of: try name(), at: start, actor: "ann")
            try await journal.setPaused(true, of: try name(), at: later, actor: "bob")
            #expect(try await journal.record(of: try name())?.pausedSince == start)
            #expect(try await journal.due(by: later, limit: 9) == [DueSecret(secret: try name(), at: later)])
            try await journal.setPaused(false, of: try name(), at: later, actor: "bob")
            #expect(try await journal.record(of: try name())?.pausedSince == nil)
            try await journal.setPaused(true, of: try name("team/new"), at: start, actor: "ann")
            #expect(try await journal.record(of: try name("team/new"))?.pausedSince == start)
            let entries = try await journal.auditEntries(of: nil, after: 0, limit: 9)
            #expect(
                entries.map(\.event.kind) == ["secret.paused", "secret.paused", "secret.resumed", "secret.paused"])
            #expect(entries.map(\.event.actor) == ["ann", "bob", "bob", "ann"])
        },
        ContractCheck("a request needs no lease, outlives commits, and ends when it is fulfilled") { journal in
            let lease = try await claimed(journal)
            let stale = try #require(await journal.record(of: try name()))
            let first = SecretRecord.RotationRequest(at: start, compromised: true)
            try await journal.request(first, of: try name(), actor: "ann")
            #expect(try await journal.wishes(of: try name()) == SecretWishes(request: first))
            #expect(try await journal.due(by: start, limit: 9) == [DueSecret(secret: try name(), at: start)])
            try await journal.commit(JournalChange(record: stale, nextDue: nil), under: lease)
            #expect(try await journal.record(of: try name())?.request == first)
            // A second one that says less does not make the first one milder.
            try await journal.request(.init(at: later, compromised: false), of: try name(), actor: "bob")
            let second = SecretRecord.RotationRequest(at: later, compromised: true)
            #expect(try await journal.wishes(of: try name()).request == second)
            // The engine knew the first one only.
            try await journal.commit(JournalChange(record: stale, nextDue: nil, fulfilled: first), under: lease)
            #expect(try await journal.wishes(of: try name()).request == second)
            try await journal.commit(JournalChange(record: stale, nextDue: nil, fulfilled: second), under: lease)
            #expect(try await journal.wishes(of: try name()) == SecretWishes())
            let entries = try await journal.auditEntries(of: nil, after: 0, limit: 9)
            #expect(entries.map(\.event.kind) == ["rotation.requested-compromised", "rotation.requested"])
            #expect(entries.map(\.event.actor) == ["ann", "bob"])
        },
        ContractCheck("a rotation fulfils a request that came too late to be known, unless it asks for more") {
            journal in
            let lease = try await claimed(journal)
            let stale = try #require(await journal.record(of: try name()))
            let ended = JournalChange(record: stale, nextDue: nil, rotates: true)
            for (compromised, rollsBack) in [(true, false), (false, true), (false, false)] {
                let request = SecretRecord.RotationRequest(at: start, compromised: compromised, rollsBack: rollsBack)
                try await journal.request(request, of: try name(), actor: "ann")
                try await journal.commit(ended, under: lease)
                let left = compromised || rollsBack ? request : nil
                #expect(try await journal.wishes(of: try name()).request == left)
                guard left != nil else { continue }
                try await journal.commit(JournalChange(record: stale, nextDue: nil, fulfilled: left), under: lease)
            }
        },
        ContractCheck("a wish for a repair needs no lease, outlives commits, and ends when it is fulfilled") {
            journal in
            let lease = try await claimed(journal)
            let stale = try #require(await journal.record(of: try name()))
            try await journal.requestRepair(of: try name(), at: start, actor: "ann")
            #expect(try await journal.wishes(of: try name()) == SecretWishes(repairSince: start))
            #expect(try await journal.due(by: start, limit: 9) == [DueSecret(secret: try name(), at: start)])
            try await journal.commit(JournalChange(record: stale, nextDue: nil), under: lease)
            #expect(try await journal.record(of: try name())?.repairSince == start)
            // A later one is not fulfilled by what was done for the first.
            try await journal.requestRepair(of: try name(), at: later, actor: "bob")
            try await journal.commit(JournalChange(record: stale, nextDue: nil, repaired: start), under: lease)
            #expect(try await journal.wishes(of: try name()).repairSince == later)
            try await journal.commit(JournalChange(record: stale, nextDue: nil, repaired: later), under: lease)
            #expect(try await journal.wishes(of: try name()) == SecretWishes())
            let entries = try await journal.auditEntries(of: nil, after: 0, limit: 9)
            #expect(entries.map(\.event.kind) == ["distribution.requested", "distribution.requested"])
            #expect(entries.map(\.event.actor) == ["ann", "bob"])
        },
        ContractCheck("the installation stays the same") { journal in
            let first = try await journal.installation()
            #expect(UUID(uuidString: first.instance) != nil)
            #expect(first.generation >= 1)
            #expect(try await journal.installation() == first)
        },
    ]

    // MARK: What is due

    private static let schedules: [ContractCheck<any Journal>] = [
        ContractCheck("what is due comes earliest first, then by name, up to the limit") { journal in
            for (secret, offset) in [("c", 30.0), ("b", 10), ("a", 10), ("d", 60.001), ("e", 20)] {
                try await write(
                    SecretRecord(name: try name(secret)), due: start.addingTimeInterval(offset), to: journal)
            }
            try await write(SecretRecord(name: try name("never")), due: nil, to: journal)
            let due = try await journal.due(by: later, limit: 100)
            #expect(due.map(\.secret.text) == ["a", "b", "e", "c"])
            #expect(due.map(\.at) == [10, 10, 20, 30].map { start.addingTimeInterval($0) })
            #expect(try await journal.due(by: later, limit: 2).map(\.secret.text) == ["a", "b"])
            #expect(try await journal.due(by: start.addingTimeInterval(10), limit: 9).map(\.secret.text) == ["a", "b"])
            #expect(try await journal.due(by: start.addingTimeInterval(9.999), limit: 9).isEmpty)
            #expect(try await journal.due(by: .distantFuture, limit: 1).first?.at == start.addingTimeInterval(10))
        },
        ContractCheck("a commit moves the time or takes it away") { journal in
            #expect(try await journal.due(by: .distantFuture, limit: 1).first?.at == nil)
            try await write(SecretRecord(name: try name()), due: start, to: journal)
            try await write(SecretRecord(name: try name()), due: later, to: journal)
            #expect(try await journal.due(by: .distantFuture, limit: 9) == [DueSecret(secret: try name(), at: later)])
            try await write(SecretRecord(name: try name()), due: nil, to: journal)
            #expect(try await journal.due(by: .distantFuture, limit: 9).isEmpty)
            #expect(try await journal.due(by: .distantFuture, limit: 1).first?.at == nil)
        },
    ]

    // MARK: The audit trail

    private static let trails: [ContractCheck<any Journal>] = [
        ContractCheck("entries form one whole chain over all secrets") { journal in
            try await journal.audit(event("started", secret: nil))
            for round in 1...3 {
                for secret in ["team/a", "team/b"] {
                    try await write(
                        SecretRecord(name: try name(secret)), due: nil, to: journal,
                        audit: [
                            event("step.intended", secret: secret, version: round),
                            event("step.succeeded", secret: secret),
                        ])
                }
            }
            try await journal.setPaused(true, of: try name("team/a"), at: start, actor: "ann")
            let entries = try await journal.auditEntries(of: nil, after: 0, limit: 100)
            #expect(entries.map(\.sequence) == Array(1...14))
            #expect(entries.first?.previousHash == AuditChain.start)
            #expect(AuditChain.firstBreak(in: entries) == nil)
            #expect(entries[1].event == event("step.intended", secret: "team/a", version: 1))
        },
        ContractCheck("entries come in pages and by secret") { journal in
            for number in 1...10 {
                try await journal.audit(event("e\(number)", secret: number.isMultiple(of: 2) ? "team/a" : "team/b"))
            }
            let page = try await journal.auditEntries(of: nil, after: 3, limit: 4)
            #expect(page.map(\.event.kind) == ["e4", "e5", "e6", "e7"])
            let own = try await journal.auditEntries(of: try name("team/a"), after: 2, limit: 2)
            #expect(own.map(\.event.kind) == ["e4", "e6"])
            #expect(try await journal.auditEntries(of: try name("team/none"), after: 0, limit: 9).isEmpty)
            #expect(try await journal.auditEntries(of: nil, after: 10, limit: 9).isEmpty)
        },
        ContractCheck("entries of many tasks at once leave no gap") { journal in
            await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<40 { group.addTask { try await journal.audit(event("e\(number)")) } }
            }
            let entries = try await journal.auditEntries(of: nil, after: 0, limit: 100)
            #expect(entries.count == 40)
            #expect(AuditChain.firstBreak(in: entries) == nil)
        },
    ]

    // MARK: Alerts and orphans

    private static let queues: [ContractCheck<any Journal>] = [
        ContractCheck("alerts wait once for each sink, oldest first") { journal in
            try await journal.enqueue([alert("2", sink: "ops"), alert("1", sink: "ops")])
            try await journal.enqueue([alert("2", sink: "ops"), alert("2", sink: "dev")])
            let due = try await journal.dueAlerts(at: start, limit: 9)
            #expect(due.map { "\($0.event.id) \($0.sink)" } == ["2 ops", "1 ops", "2 dev"])
            #expect(due.first == alert("2", sink: "ops"))
            #expect(try await journal.dueAlerts(at: start, limit: 1).count == 1)
            #expect(try await journal.dueAlerts(at: start.addingTimeInterval(-1), limit: 9).isEmpty)
        },
        ContractCheck("an alert is put off and counted, or removed") { journal in
            try await journal.enqueue([alert("1", sink: "ops"), alert("1", sink: "dev")])
            try await journal.postponeAlert(alert("1", sink: "ops"), until: later)
            #expect(try await journal.dueAlerts(at: start, limit: 9).map(\.sink) == ["dev"])
            let again = try #require(await journal.dueAlerts(at: later, limit: 9).first { $0.sink == "ops" })
            #expect(again.attempts == 1 && again.nextAttempt == later)
            try await journal.postponeAlert(again, until: later)
            #expect(try await journal.dueAlerts(at: later, limit: 9).map(\.attempts).sorted() == [0, 2])
            try await journal.removeAlert(again)
            #expect(try await journal.dueAlerts(at: later, limit: 9).map(\.sink) == ["dev"])
            // Gone already: no error.
            try await journal.removeAlert(again)
        },
        ContractCheck("alerts and orphans come with the change that they are about") { journal in
            let lease = try await claimed(journal)
            try await journal.commit(
                JournalChange(
                    record: SecretRecord(name: try name()), nextDue: nil, audit: [event("a"), event("b")],
                    alerts: [alert("1", sink: "ops")], orphans: [try orphan("o")]), under: lease)
            #expect(try await journal.dueAlerts(at: start, limit: 9) == [alert("1", sink: "ops")])
            #expect(try await journal.orphans() == [try orphan("o")])
            #expect(try await journal.auditEntries(of: nil, after: 0, limit: 9).map(\.event.kind) == ["a", "b"])
        },
        ContractCheck("an orphan replaces the one with its id") { journal in
            try await journal.putOrphan(try orphan("b"))
            try await journal.putOrphan(try orphan("a"))
            var closed = try orphan("b")
            closed.state = .closed
            try await journal.putOrphan(closed)
            #expect(try await journal.orphans() == [try orphan("a"), closed])
        },
    ]

    // MARK: Emergencies

    private static func pause(
        _ scope: PauseSwitch.Scope = .everything, at date: Date = start, reason: String? = nil
    ) -> PauseSwitch {
        PauseSwitch(scope: scope, since: date, reason: reason, actor: "ann")
    }

    private static func place(
        _ secret: String, version: Int = 1, at date: Date = start, limit: Int? = 2, expires: Date? = nil
    ) throws -> RotationPlaces.Request {
        RotationPlaces.Request(
            secret: try name(secret), version: version, at: date, limit: limit, expiresAt: expires)
    }

    private static let emergencies: [ContractCheck<any Journal>] = [
        ContractCheck("a switch needs no lease, keeps its beginning and its reason, and is audited") { journal in
            #expect(try await journal.switches().isEmpty)
            _ = try await claimed(journal)
            try await journal.setSwitch(pause(.issuer("aws"), reason: "why"))
            try await journal.setSwitch(pause())
            try await journal.setSwitch(pause(.issuer("aws"), at: later, reason: "other"))
            #expect(try await journal.switches() == [pause(), pause(.issuer("aws"), reason: "why")])
            let entries = try await journal.auditEntries(of: nil, after: 0, limit: 9).map(\.event)
            #expect(entries.map(\.kind) == ["work.paused", "work.paused", "work.paused"])
            #expect(entries.map(\.detail["scope"]) == ["issuer:aws", "all", "issuer:aws"])
            #expect(entries[0].detail["reason"] == "why")
        },
        ContractCheck("lifting a switch makes every secret due, and says what was lifted") { journal in
            try await write(SecretRecord(name: try name("never")), due: nil, to: journal)
            try await write(SecretRecord(name: try name("late")), due: .distantFuture, to: journal)
            try await write(SecretRecord(name: try name("soon")), due: start, to: journal)
            #expect(try await journal.liftSwitch(.everything, at: later, actor: "bob") == nil)
            #expect(try await journal.due(by: later, limit: 9).map(\.secret.text) == ["soon"])
            try await journal.setSwitch(pause())
            try await journal.setSwitch(pause(.issuer("aws")))
            #expect(try await journal.liftSwitch(.everything, at: later, actor: "bob") == pause())
            #expect(try await journal.switches() == [pause(.issuer("aws"))])
            let due = try await journal.due(by: later, limit: 9)
            #expect(due.map(\.secret.text) == ["soon", "late", "never"])
            #expect(due.map(\.at) == [start, later, later])
            #expect(try await journal.auditEntries(of: nil, after: 0, limit: 9).last?.event.kind == "work.resumed")
        },
        ContractCheck("so many places as there are in an hour are given, and each opens again an hour later") {
            journal in
            func ask(_ secret: String, version: Int = 1, _ seconds: Double, limit: Int? = 2) async throws -> Date? {
                try await journal.takePlace(
                    try place(secret, version: version, at: start.addingTimeInterval(seconds), limit: limit))
            }
            let first = try await ask("a", 0)
            #expect(first == nil)
            #expect(try await ask("b", 10) == nil)
            #expect(try await ask("c", 20) == start.addingTimeInterval(3600))
            // One that has its place takes no second one; another version of it does.
            #expect(try await ask("a", 20) == nil)
            #expect(try await ask("a", version: 2, 20) == start.addingTimeInterval(3600))
            // What is not held back is counted.
            #expect(try await ask("d", 20, limit: nil) == nil)
            #expect(try await ask("c", 3600) == start.addingTimeInterval(3610))
            #expect(try await ask("c", 3610) == nil)
        },
        ContractCheck("those that wait go by the expiry of their keys, then by name") { journal in
            for (secret, expires) in [("a", nil), ("b", later), ("c", start), ("d", start)] as [(String, Date?)] {
                var record = SecretRecord(name: try name(secret))
                record.waiting = .init(since: start, until: start, expiresAt: expires, limit: 2)
                try await write(record, due: start, to: journal)
            }
            let hour = start.addingTimeInterval(3600)
            func ask(_ secret: String, _ expires: Date?) async throws -> Date? {
                try await journal.takePlace(try place(secret, limit: 2, expires: expires))
            }
            #expect(try await ask("a", nil) == hour)
            #expect(try await ask("b", later) == hour)
            #expect(try await ask("d", start) == nil)
            #expect(try await ask("c", start) == nil)
            // Those that got a place stand in line no more, also before their record says so.
            func more(_ secret: String, limit: Int, expires: Date? = nil) async throws -> Date? {
                try await journal.takePlace(try place(secret, limit: limit, expires: expires))
            }
            let third = try await more("b", limit: 3, expires: later)
            #expect(third == nil)
            #expect(try await more("a", limit: 1) == hour, "more began than the limit")
            var urgent = SecretRecord(name: try name("e"))
            urgent.waiting = .init(since: start, until: start, expiresAt: start, limit: 4)
            try await write(urgent, due: start, to: journal)
            #expect(try await more("a", limit: 4) == hour, "one is ahead")
            // A commit that waits no longer leaves the line.
            urgent.waiting = nil
            try await write(urgent, due: nil, to: journal)
            #expect(try await more("a", limit: 4) == nil)
        },
        ContractCheck("of many that ask at once no more than the limit get a place") { journal in
            let given = try await withThrowingTaskGroup(of: Bool.self) { group in
                for number in 0..<40 {
                    group.addTask { try await journal.takePlace(try place("team/\(number)", limit: 7)) == nil }
                }
                return try await group.reduce(into: 0) { count, isGiven in count += isGiven ? 1 : 0 }
            }
            #expect(given == 7)
        },
        ContractCheck("failures in a row stop everything, with one alert; a success, or lifting, begins anew") {
            journal in
            func end(_ tally: RotationTally) async throws {
                let lease = try await claimed(journal)
                try await journal.commit(
                    JournalChange(record: SecretRecord(name: try name()), nextDue: nil, tally: tally), under: lease)
            }
            func failure(_ id: String) -> RotationTally {
                .failed(StopRule(limit: 2, pause: pause(reason: id), alerts: [alert(id, sink: "ops")]))
            }
            try await end(failure("1"))
            try await end(.succeeded)
            try await end(failure("2"))
            #expect(try await journal.switches().isEmpty)
            #expect(try await journal.failuresInARow() == 1)
            try await end(failure("3"))
            try await end(failure("4"))
            #expect(try await journal.switches() == [pause(reason: "3")])
            #expect(try await journal.dueAlerts(at: .distantFuture, limit: 9).map(\.event.id) == ["3"])
            #expect(try await journal.failuresInARow() == 3)
            _ = try await journal.liftSwitch(.everything, at: later, actor: "bob")
            #expect(try await journal.failuresInARow() == 0)
        },
        ContractCheck("a request to go back has its own word, and a compromise goes before it") { journal in
            try await journal.request(.init(at: start, compromised: false, rollsBack: true), of: name(), actor: "ann")
            #expect(try await journal.wishes(of: try name()).request?.rollsBack == true)
            try await journal.request(.init(at: later, compromised: true), of: try name(), actor: "ann")
            try await journal.request(.init(at: later, compromised: false, rollsBack: true), of: name(), actor: "bob")
            let request = try #require(await journal.wishes(of: try name()).request)
            #expect(request.compromised && !request.rollsBack)
            let kinds = try await journal.auditEntries(of: nil, after: 0, limit: 9).map(\.event.kind)
            #expect(kinds == ["rollback.requested", "rotation.requested-compromised", "rollback.requested"])
        },
    ]

    // MARK: Samples

    private static func event(_ kind: String, secret: String? = "team/key", version: Int? = nil) -> AuditEvent {
        AuditEvent(
            at: start, kind: kind, secret: secret.flatMap { try? SecretName($0) }, version: version, step: "issue",
            detail: ["keyId": "k", "quote": "\"'"])
    }

    private static func alert(_ id: String, sink: String, at date: Date = start) -> QueuedAlert {
        QueuedAlert(
            event: AlertEvent(
                id: id, kind: .recovered, severity: .info, secret: try? SecretName("team/key"), owner: "ann",
                version: 2, step: "promote:vault", reason: "retry", summary: "It works again.", advice: "",
                occurredAt: start, resolves: .rotationFailed), sink: sink, nextAttempt: date)
    }

    private static func orphan(_ id: String) throws -> OrphanRecord {
        OrphanRecord(
            id: id, secret: try SecretName("team/key"), version: 2, issuer: "aws", keyID: "AK",
            issueParameters: ["user": .string("u")], state: .possible, since: start, until: later, detail: "lost")
    }

    /// A record in which nothing is left out.
    private static func everything() throws -> SecretRecord {
        let failure = StepFailure(step: "issue", code: .timedOut, message: "no answer", advice: "wait", at: start)
        var version = VersionRecord(
            number: 1, stage: .disabled, keyID: "AK", issuedAt: start.addingTimeInterval(0.5), expiresAt: later,
            sealed: Data([0, 255]), issuer: "aws",
            issueParameters: ["user": .string("u"), "n": .list([.integer(1), .null])],
            backends: [
                .init(
                    target: BackendTarget(backend: "v", path: "p", parameters: ["mode": .string("0600")]),
                    template: "{{value}}", required: false, receipt: ["v": "1"], pruned: true)
            ], tainted: true, adopted: true)
        version.promotedAt = start
        version.rolledBackAt = later
        version.retireAt = later
        version.disabledAt = later
        version.endedAt = later
        version.retirement = .init()
        version.retirement?.revoked = true
        version.retirement?.attempt = 3
        version.retirement?.lastError = failure
        version.retirement?.nextAttempt = later
        var rotation = RotationRecord(
            version: 2, machine: RotationMachine(backends: [("v", true), ("w", false)]), startedAt: start,
            reason: "schedule", compromised: true, issueDigest: "d", reissues: 2)
        rotation.issueIntent = .init(
            nonce: "n", issuer: "aws", intendedAt: start, notes: ["existing": "AK"], sealedChosen: Data([1]),
            parameters: ["user": .string("u")], lifetime: 90, knownKeyIDs: ["AK"])
        rotation.attempt = 4
        rotation.lastError = failure
        rotation.nextAttempt = later
        rotation.bestEffortFailures = ["w": 2]
        rotation.repairs = ["v"]
        rotation.countedAsFailed = true
        var record = SecretRecord(name: try name())
        record.versions = [version]
        record.rotation = rotation
        record.quarantine = .init(since: start, reason: "refused")
        record.schedule = .init(digest: "s", since: start, replacedAnother: true)
        record.firing = ["rotation.failed": start]
        record.abandonedInARow = 5
        record.intend([.issue, .revoke], version: 2, at: start)
        record.unanswered[0].found = "it was lost"
        record.resolved = ResolvedStep(
            at: later, step: "issue", version: 1, outcome: .orphanRevoked, found: "it was made",
            action: "it was revoked")
        record.waiting = .init(since: start, until: later, expiresAt: later, limit: 3)
        return record
    }
}
