import Foundation
import KeyturnCore
import Logging

/// The daemon's own look for drift, each time an interval is over: an alert for each secret, once, and a word when it is
/// gone.
struct DriftWatch {
    let engine: Engine
    let core: EngineCore
    let interval: Double

    /// How often a secret that others work on is tried.
    private static let tries = 5

    func run() async {
        while !Task.isCancelled, !core.stop.isAsked {
            do throws(JournalError) { try await look() } catch {
                core.logger.error("drift can't be looked for", metadata: ["error": "\(error)"])
            }
            guard await rest() else { return }
        }
    }

    /// In slices, so that a suspended machine or a clock that jumps delays it by no more than one.
    private func rest() async -> Bool {
        let begin = core.time.now()
        while abs(core.time.now().timeIntervalSince(begin)) < interval {
            if Task.isCancelled || core.stop.isAsked { return false }
            do { try await core.time.sleep(for: .seconds(core.settings.longestSleep)) } catch { return false }
        }
        return true
    }

    func look() async throws(JournalError) {
        let report = try await engine.drift()
        var drifted: [SecretName: [DriftFinding]] = [:]
        var unasked: Set<SecretName> = []
        for finding in report.findings {
            switch finding.weight {
            case .drift: drifted[finding.secret, default: []].append(finding)
            case .notAsked: unasked.insert(finding.secret)
            case .note: break
            }
        }
        for record in try await core.journal.records() {
            let isFiring = record.firing[AlertEvent.Kind.driftFound.rawValue] != nil
            let findings = drifted[record.name] ?? []
            // What could not be asked neither raises an alert nor ends one.
            guard isFiring ? findings.isEmpty && !unasked.contains(record.name) : !findings.isEmpty else { continue }
            try await tell(findings, of: record.name)
        }
    }

    private func tell(_ findings: [DriftFinding], of secret: SecretName) async throws(JournalError) {
        let workplace = await engine.workplace
        let policy = workplace.policies[secret]
        let desk = AlertDesk(core: core, policy: policy, sinks: workplace.sinkNames(for: policy), now: core.time.now())
        for attempt in 1...Self.tries {
            do throws(JournalError) {
                return try await core.change(secret) { record, outbox, _ in
                    guard let first = findings.first else {
                        return desk.clear([.driftFound], in: &record, &outbox)
                    }
                    let more = findings.count > 1 ? ", and \(findings.count - 1) more" : ""
                    desk.raise(
                        .driftFound, severity: .error, version: first.version, reason: first.kind.rawValue,
                        summary: "\(secret) has drifted: \(first.sentence)\(more)",
                        advice: "see `keyturn drift \(secret)`; `keyturn drift --repair \(secret)` mends it",
                        in: &record,
                        &outbox)
                }
            } catch .leaseLost where attempt < Self.tries {
                try? await core.time.sleep(for: .seconds(core.settings.longestSleep))
            } catch .leaseLost {
                core.logger.debug("drift is told at the next look", metadata: ["secret": "\(secret)"])
            }
        }
    }
}
