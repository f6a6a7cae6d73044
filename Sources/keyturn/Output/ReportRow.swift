import Foundation
import KeyturnCore
import KeyturnPolicy
import KeyturnStore

/// One secret in the report.
struct ReportRow {
    let plan: SecretPlan
    let policy: Policy?
    let record: SecretRecord?

    var expiresAt: Date? { record?.current?.expiresAt }

    /// Whether nothing at all is done for it until a person releases it.
    var isHeld: Bool { record?.quarantine != nil || plan.reason == .paused }

    /// What would be done next and why: the rotation, or a retirement that comes before it.
    var next: (action: SecretPlan.Action, at: Date?, why: String) {
        let retirement = plan.retirements.filter { $0.at != nil }.min {
            ($0.at ?? .distantFuture) < ($1.at ?? .distantFuture)
        }
        if let retirement, let at = retirement.at, plan.at.map({ at < $0 }) ?? true {
            return (.retire, at, "version \(retirement.version) is at the end of its grace then")
        }
        return (plan.action, plan.at, plan.sentence)
    }

    /// Whether it expires or rotates by then, or is in trouble already.
    func concerns(_ limit: Date) -> Bool {
        switch plan.state {
        case .ok, .neverExpires: [expiresAt, plan.at].contains { $0.map { $0 <= limit } ?? false }
        case .due, .overdue, .expired, .failing, .new: true
        }
    }

    /// All secrets of policies and state, most urgent first.
    static func all(_ composition: Composition, at now: Date) async throws -> [ReportRow] {
        let journal = try composition.readJournal()
        let records = try await journal?.records() ?? []
        let installation = try await journal?.installationState() ?? InstallationState()
        let switches = try await journal?.switches() ?? []
        let known = Dictionary(records.map { ($0.name, $0) }) { first, _ in first }
        let policies = Dictionary(composition.policies.map { ($0.secret, $0) }) { first, _ in first }
        let names = Set(known.keys.filter { !(known[$0]?.versions.isEmpty ?? true) }).union(policies.keys)
        let rows = names.map { name in
            let policy = policies[name]
            let facts = SecretFacts(
                policy: policy, record: known[name], traits: composition.traits(policy), installation: installation,
                switches: switches, rotationsPerHour: composition.configuration.limits.maxRotationsPerHour)
            return ReportRow(plan: Planner.plan(name, facts, at: now), policy: policy, record: known[name])
        }
        return rows.sorted { left, right in
            let first = (left.urgency, left.expiresAt ?? left.plan.at ?? .distantFuture, left.plan.secret)
            return first < (right.urgency, right.expiresAt ?? right.plan.at ?? .distantFuture, right.plan.secret)
        }
    }

    private var urgency: Int {
        switch plan.state {
        case .expired: 0
        case .failing: 1
        case .overdue: 2
        case .new: 3
        case .due: 4
        case .ok, .neverExpires: 5
        }
    }

    static func table(_ rows: [ReportRow], at now: Date) -> Table {
        var table = Table("SECRET", "OWNER", "STATE", "VERSION", "EXPIRES IN", "NEXT", "AT", "WHY")
        for row in rows {
            let zone = row.policy?.rotation.timeZone ?? .gmt
            table.add(
                (row.plan.secret.text, nil), (row.policy?.owner ?? "-", nil),
                (row.plan.state.rawValue, color(row.plan.state)),
                (row.record?.current.map { "\($0.number)" } ?? "-", nil),
                (row.expiresAt.map { TimeText.distance($0.timeIntervalSince(now)) } ?? "-", nil),
                (row.next.action.rawValue, nil), (TimeText.local(row.next.at, in: zone), nil),
                (row.next.why, nil))
        }
        return table
    }

    private static func color(_ state: SecretPlan.State) -> Color? {
        switch state {
        case .expired, .failing, .overdue: .bad
        case .due, .new, .neverExpires: .warning
        case .ok: .good
        }
    }

    func wire(at now: Date) -> ReportWire.Entry {
        ReportWire.Entry(
            secret: plan.secret.text, owner: policy?.owner, issuer: policy?.issuer ?? record?.current?.issuer,
            stage: (record?.current ?? record?.pending)?.stage.rawValue,
            version: (record?.current ?? record?.pending)?.number, issuedAt: record?.current?.issuedAt,
            expiresAt: expiresAt, rotateAt: plan.at,
            expiresIn: expiresAt.map { Int($0.timeIntervalSince(now).rounded(.down)) }, state: plan.state.rawValue,
            action: next.action.rawValue,
            backends: policy?.backends.map(\.name) ?? record?.current?.backends.map(\.target.backend) ?? [],
            reason: next.why)
    }
}

/// `report --format json`. Its keys are fixed; see the article on JSON.
struct ReportWire: Encodable {
    struct Entry: Encodable {
        let secret: String
        @Nullable var owner: String?
        @Nullable var issuer: String?
        @Nullable var stage: String?
        @Nullable var version: Int?
        @Nullable var issuedAt: Date?
        @Nullable var expiresAt: Date?
        @Nullable var rotateAt: Date?
        @Nullable var expiresIn: Int?
        let state: String
        let action: String
        let backends: [String]
        let reason: String
    }

    let generatedAt: Date
    @Nullable var within: String?
    let paused: [PauseWire]
    let secrets: [Entry]
}
