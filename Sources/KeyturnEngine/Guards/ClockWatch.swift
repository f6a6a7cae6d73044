import Foundation
import KeyturnCore
import Logging

/// Looks at the clocks, keeps the journal's mark, and says once when they disagree and once when they agree again.
actor ClockWatch {
    private let journal: any Journal
    private let time: any Timekeeper
    private let witnesses: ClockWitnesses
    private let rules: ClockGuard
    private let random: SharedRandomness
    private let logger: Logger
    /// What the journal holds, as far as is known here.
    private var kept: ClockMark?
    private var isWriting = false

    /// How often the mark is written while nothing changes, in seconds.
    private static let interval = 60.0

    init(
        journal: any Journal, time: any Timekeeper, witnesses: ClockWitnesses, tolerance: Double,
        random: SharedRandomness, logger: Logger
    ) {
        self.journal = journal
        self.time = time
        self.witnesses = witnesses
        rules = ClockGuard(tolerance: tolerance)
        self.random = random
        self.logger = logger
    }

    /// Judges the clocks as they are now.
    ///
    /// - Parameter sinks: who is told.
    /// - Returns: the mark in force.
    @discardableResult
    func look(telling sinks: [String]) async throws(JournalError) -> ClockMark {
        // Another process may have kept it since, such as a person who accepts the time.
        if !isWriting { kept = try await journal.installationState().clock }
        let reading = time.reading()
        let mark = rules.judge(reading, against: kept, witnesses: witnesses.all)
        guard !isWriting, isWorthKeeping(mark) else { return mark }
        isWriting = true
        defer { isWriting = false }
        let (audit, alerts) = news(mark, from: kept, at: reading.wall, sinks)
        try await journal.changeInstallation(audit: audit, alerts: alerts) { $0.clock = mark }
        if kept?.disagreement != nil, mark.disagreement == nil { try await journal.lookAtAll(at: reading.wall) }
        kept = mark
        return mark
    }

    private func isWorthKeeping(_ mark: ClockMark) -> Bool {
        guard let kept else { return true }
        return (mark.disagreement == nil) != (kept.disagreement == nil) || mark.steps != kept.steps
            || mark.wall.timeIntervalSince(kept.wall) >= Self.interval || mark.wall < kept.wall
            || mark.seen.boot != kept.seen.boot || abs(mark.seen.leap(since: kept.seen) ?? 0) > rules.tolerance
    }

    private func news(
        _ mark: ClockMark, from before: ClockMark?, at now: Date, _ sinks: [String]
    ) -> ([AuditEvent], [QueuedAlert]) {
        let kind: AlertEvent.Kind
        let summary: String
        switch (before?.disagreement, mark.disagreement) {
        case (nil, let found?):
            kind = .clockDisagrees
            summary = "\(found.sentence); nothing is retired until the clocks agree"
            logger.error("the clocks disagree", metadata: ["finding": "\(found.sentence)"])
        case (_?, nil):
            kind = .recovered
            summary = "the clocks agree again"
            logger.notice("the clocks agree again")
        case (nil, nil), (_?, _?): return ([], [])
        }
        let event = AlertEvent(
            id: "msg_\(random.nonce())", kind: kind, severity: kind == .recovered ? .info : .error, secret: nil,
            owner: nil, version: nil, step: nil, reason: AlertEvent.Kind.clockDisagrees.rawValue, summary: summary,
            advice: kind == .recovered
                ? "" : "set this machine's clock; if it is right, `keyturn resume --clock` accepts it",
            occurredAt: now, resolves: kind == .recovered ? .clockDisagrees : nil)
        let audit = AuditEvent(
            at: now, kind: kind == .recovered ? "clock.agrees" : "clock.disagrees", secret: nil,
            detail: mark.disagreement.map { ["finding": $0.sentence] } ?? [:])
        return ([audit], sinks.map { QueuedAlert(event: event, sink: $0, nextAttempt: now) })
    }
}
