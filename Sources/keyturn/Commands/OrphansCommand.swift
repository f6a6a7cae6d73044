import ArgumentParser
import Foundation
import KeyturnCore
import KeyturnEngine
import KeyturnHTTP
import KeyturnStore
import KeyturnSystem

struct OrphansCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "orphans", abstract: "Shows and settles keys without an owner in the journal.",
        subcommands: [OrphansListCommand.self, OrphansRevokeCommand.self, OrphansAdoptCommand.self])
}

struct OrphansListCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Lists keys that may exist at an issuer and that nobody uses.",
        discussion: "Example:\n  keyturn orphans list")

    @OptionGroup var options: GlobalOptions

    private struct Wire: Encodable {
        let id: String
        let secret: String
        let version: Int
        let issuer: String
        let state: String
        let since: Date
        @Nullable var until: Date?
        let detail: String
    }

    func execute() async throws {
        let composition = try Composition.load(options)
        let now = Date()
        // One whose life is over is no orphan any more.
        let orphans = (try await composition.readJournal()?.orphans() ?? []).filter {
            $0.state != .closed && $0.until.map { $0 > now } ?? true
        }
        switch options.format {
        case .json:
            let entries = orphans.map {
                Wire(
                    id: $0.id, secret: $0.secret.text, version: $0.version, issuer: $0.issuer,
                    state: $0.state.rawValue, since: $0.since, until: $0.until, detail: $0.detail)
            }
            Terminal.print(try JSONText.pretty(["orphans": entries]))
        case .table where orphans.isEmpty: Terminal.tell("there are no orphans")
        case .table:
            var table = Table("ID", "ISSUER", "STATE", "UNTIL", "DETAIL")
            for orphan in orphans {
                table.add(
                    orphan.id, orphan.issuer, orphan.state.rawValue, TimeText.local(orphan.until, in: .gmt),
                    orphan.detail)
            }
            Terminal.print(table.text(color: options.color))
        }
    }
}

struct OrphansRevokeCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke", abstract: "Revokes a key at its issuer and settles the orphan.",
        discussion: """
            Name the key where the journal does not know it: --key-id AKIA... Keyturn never revokes a key that a version \
            of the secret still uses.

            Example:
              keyturn orphans revoke keyturn:team/key:3:0123... --key-id AKIAEXAMPLE
            """)

    @Argument(help: "The orphan's id, from `keyturn orphans list`.")
    var id: String

    @Option(name: .customLong("key-id"), help: "The issuer's id of the key.")
    var keyID: String?

    @OptionGroup var options: GlobalOptions

    func execute() async throws {
        let composition = try Composition.load(options)
        let sealer = AgeSealer(identities: try composition.identities())
        let lock = try composition.lock()
        defer { lock.release() }
        let journal = try composition.writeJournal()
        let services = try composition.services(journal, sealer)
        defer { services.http.shutdown() }
        let workplace = try composition.workplace(services)
        var orphan = try await OrphanChoice.find(id, keyID, journal, composition, workplace)
        guard let key = keyID ?? orphan.keyID else {
            throw CommandFailure(
                .usage, "the journal does not know which key it is",
                advice: "name it with --key-id, or wait for its end")
        }
        let record = try await journal.record(of: orphan.secret)
        guard !(record?.versions.contains { $0.keyID == key && $0.stage.mayExistAtIssuer } ?? false) else {
            throw CommandFailure(.failed, "\(key) is in use by a version of \(orphan.secret); it is not revoked")
        }
        guard let issuer = workplace.issuers[orphan.issuer] else {
            throw CommandFailure(.badConfiguration, "issuer '\(orphan.issuer)' is not in keyturn.yaml")
        }
        try await issuer.revoke(
            KeyHandle(
                secret: orphan.secret, version: orphan.version, keyID: key, material: nil,
                parameters: orphan.issueParameters))
        orphan.state = .closed
        try await OrphanChoice.close(orphan, "orphan.revoked", ["keyId": key], journal)
        Terminal.tell("\(key) is revoked")
    }
}

struct OrphansAdoptCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "adopt", abstract: "Settles an orphan as a key that somebody else owns.",
        discussion: "Example:\n  keyturn orphans adopt keyturn:team/key:3:0123...")

    @Argument(help: "The orphan's id, from `keyturn orphans list`.")
    var id: String

    @OptionGroup var options: GlobalOptions

    func execute() async throws {
        let composition = try Composition.load(options)
        let lock = try composition.lock()
        defer { lock.release() }
        let journal = try composition.writeJournal()
        var orphan = try await OrphanChoice.find(id, journal)
        orphan.state = .closed
        try await OrphanChoice.close(orphan, "orphan.adopted", [:], journal)
        Terminal.tell("\(id) is settled")
    }
}

enum OrphanChoice {
    /// An open orphan of the journal, or a key that its issuer lists with this very mark and that the journal does not
    /// know.
    static func find(
        _ id: String, _ keyID: String?, _ journal: some Journal, _ composition: Composition, _ workplace: Workplace
    ) async throws -> OrphanRecord {
        let isOpen = try await journal.orphans().contains { $0.id == id && $0.state != .closed }
        guard !isOpen, let keyID, let lineage = Lineage(mark: id), let policy = composition.policy(lineage.secret),
            let issuer = workplace.issuers[policy.issuer] as? any ListsKeys
        else { return try await find(id, journal) }
        guard try await journal.record(of: lineage.secret)?.rotation?.issueIntent?.nonce != lineage.nonce else {
            throw CommandFailure(
                .failed, "\(keyID) is being made for \(lineage.secret) just now",
                advice: "let the rotation find out what became of it: keyturn run --once")
        }
        let keys = try await issuer.keys(for: policy.issue)
        guard keys.contains(where: { $0.keyID == keyID && $0.lineage == lineage }) else {
            throw CommandFailure(
                .usage, "issuer '\(policy.issuer)' lists no key '\(keyID)' that carries this mark",
                advice: "`keyturn doctor` shows those that it lists")
        }
        return OrphanRecord(
            id: id, secret: lineage.secret, version: lineage.version, issuer: policy.issuer, keyID: keyID,
            issueParameters: policy.issue, state: .undecided, since: Date(), until: nil,
            detail: "the issuer lists it, and the state does not know it")
    }

    static func find(_ id: String, _ journal: some Journal) async throws -> OrphanRecord {
        guard let orphan = try await journal.orphans().first(where: { $0.id == id && $0.state != .closed }) else {
            throw CommandFailure(.usage, "there is no open orphan '\(id)'", advice: "`keyturn orphans list` shows them")
        }
        return orphan
    }

    static func close(
        _ orphan: OrphanRecord, _ kind: String, _ detail: [String: String], _ journal: some Journal
    ) async throws {
        try await journal.putOrphan(orphan)
        try await journal.audit(
            AuditEvent(
                at: Date(), kind: kind, secret: orphan.secret, version: orphan.version,
                actor: ProcessInfo.processInfo.userName, detail: detail))
    }
}
