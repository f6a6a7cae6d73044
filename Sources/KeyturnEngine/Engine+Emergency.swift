package import KeyturnCore

extension Engine {
    /// Asks that the version before the current one becomes current again. Like every request it begins with the next
    /// look at the secret.
    package func requestRollback(of secret: SecretName, actor: String) async throws(JournalError) {
        let request = SecretRecord.RotationRequest(at: core.time.now(), compromised: false, rollsBack: true)
        try await core.journal.request(request, of: secret, actor: actor)
        wake()
    }

    /// The pauses that hold for more than one secret.
    package func switches() async throws(JournalError) -> [PauseSwitch] { try await core.journal.switches() }

    /// Lifts a pause. Where failures had set it, the sinks hear that this is over.
    ///
    /// - Returns: what was lifted, if there was something.
    @discardableResult
    package func lift(_ scope: PauseSwitch.Scope, actor: String) async throws(JournalError) -> PauseSwitch? {
        let now = core.time.now()
        guard let lifted = try await core.journal.liftSwitch(scope, at: now, actor: actor) else { return nil }
        if lifted.cause == .failures {
            let event = AlertEvent(
                id: "msg_\(core.random.nonce())", kind: .recovered, severity: .info, secret: nil, owner: nil,
                version: nil, step: nil, reason: AlertEvent.Kind.rotationsStopped.rawValue,
                summary: "\(actor) lets rotations begin again", advice: "", occurredAt: now,
                resolves: .rotationsStopped)
            try await core.journal.enqueue(
                workplace.sinks.keys.sorted().map { QueuedAlert(event: event, sink: $0, nextAttempt: now) })
        }
        wake()
        return lifted
    }
}
