import KeyturnCore

/// Asks every system what `validate --online` asks, and listens to the clocks of those that answer by HTTP.
struct SystemsCheck {
    private let context: DoctorContext
    private let composition: Composition

    init(_ context: DoctorContext, _ composition: Composition) {
        self.context = context
        self.composition = composition
    }

    struct Result: Sendable {
        var findings: [DoctorFinding]
        var clock: [DoctorFinding]
        /// Why no clock was looked at.
        var skipped: String?
    }

    func examine() async -> Result {
        let samples = ClockSamples()
        do throws(CommandFailure) {
            let check = OnlineCheck(composition: composition) { request, response in samples.add(request, response) }
            let findings = try await check.findings().filter { !["identity", "state"].contains($0.system) }.map(finding)
            let skews = samples.skews
            return Result(
                findings: findings, clock: skews.compactMap(ClockSamples.finding),
                skipped: skews.isEmpty ? "no system answered by HTTP" : nil)
        } catch {
            return Result(
                findings: [DoctorFinding(.systems, .error, error.message, mend: error.advice)], clock: [],
                skipped: "no system was asked")
        }
    }

    private func finding(_ found: OnlineCheck.Finding) -> DoctorFinding {
        let secret = found.secret.map { " (asked for \($0))" } ?? ""
        return DoctorFinding(
            .systems, .error, "\(found.system): \(found.error.message)\(secret)",
            mend: found.error.advice.isEmpty ? "keyturn validate --online" : found.error.advice,
            secret: found.secret?.text, status: found.status == .unavailable ? .unavailable : .failed)
    }
}
