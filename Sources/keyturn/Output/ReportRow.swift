import Foundation
import KeyturnCore
import KeyturnStore

/// One secret in the report.
struct ReportRow {
    let plan: SecretPlan
    let policy: Policy?
    let record: SecretRecord?

    var expiresAt: Date? { record?.current?.expiresAt }

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
        let records = try await composition.readJournal()?.records() ?? []
        let known = Dictionary(records.map { ($0.name, $0) }) { first, _ in first }
        let policies = Dictionary(composition.policies.map { ($0.secret, $0) }) { first, _ in first }
        let names = Set(known.keys.filter { !(known[$0]?.versions.isEmpty ?? true) }).union(policies.keys)
        let rows = names.map { name in
            let policy = policies[name]
            let facts = SecretFacts(policy: policy, record: known[name], traits: composition.traits(policy))
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
        let owner: String?
        let issuer: String?
        let stage: String?
        let version: Int?
        let issuedAt: Date?
        let expiresAt: Date?
        let rotateAt: Date?
        let expiresIn: Int?
        let state: String
        let action: String
        let backends: [String]
        let reason: String

        enum CodingKeys: CodingKey {
            case secret, owner, issuer, stage, version, issuedAt, expiresAt, rotateAt, expiresIn, state, action,
                backends
            case reason
        }

        // Absent things are null, so that every key is always there.
        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(secret, forKey: .secret)
            try container.encode(owner, forKey: .owner)
            try container.encode(issuer, forKey: .issuer)
            try container.encode(stage, forKey: .stage)
            try container.encode(version, forKey: .version)
            try container.encode(issuedAt, forKey: .issuedAt)
            try container.encode(expiresAt, forKey: .expiresAt)
            try container.encode(rotateAt, forKey: .rotateAt)
            try container.encode(expiresIn, forKey: .expiresIn)
            try container.encode(state, forKey: .state)
            try container.encode(action, forKey: .action)
            try container.encode(backends, forKey: .backends)
            try container.encode(reason, forKey: .reason)
        }
    }

    let generatedAt: Date
    let within: String?
    let secrets: [Entry]

    enum CodingKeys: CodingKey { case generatedAt, within, secrets }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(generatedAt, forKey: .generatedAt)
        try container.encode(within, forKey: .within)
        try container.encode(secrets, forKey: .secrets)
    }
}
