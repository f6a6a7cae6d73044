/// One part of the examination. Whatever is broken becomes a finding; a check never ends the examination, and changes
/// nothing.
protocol DoctorCheck: Sendable {
    static var section: DoctorSection { get }

    init(_ context: DoctorContext, _ composition: Composition)

    func findings() async -> [DoctorFinding]
}
