import KeyturnCore

/// Examines an installation part by part.
struct Doctor {
    let context: DoctorContext

    /// What came of one part.
    struct Examined: Sendable {
        let section: DoctorSection
        /// Why it was left out; `nil` when it was looked at.
        let skipped: String?
        var findings: [DoctorFinding]
    }

    func examine() async -> [Examined] {
        var parts = [
            Examined(section: .configuration, skipped: nil, findings: ConfigurationCheck(context).findings())
        ]
        guard let composition = context.composition else {
            let rest = DoctorSection.allCases.filter { $0 != .configuration }
            return parts + rest.map { Examined(section: $0, skipped: "keyturn.yaml can't be read", findings: []) }
        }
        let local: [any DoctorCheck.Type] = [FilesCheck.self, StateCheck.self, LockCheck.self]
        for check in local { parts.append(await examine(check, composition)) }
        guard context.isSound else {
            for section in [DoctorSection.systems, .clock, .orphans, .drift] {
                parts.append(
                    Examined(section: section, skipped: "no system is asked before the errors are mended", findings: [])
                )
            }
            return await examineRecords(composition, parts)
        }
        let systems = await SystemsCheck(context, composition).examine()
        parts.append(Examined(section: .systems, skipped: nil, findings: systems.findings))
        parts.append(Examined(section: .clock, skipped: systems.skipped, findings: systems.clock))
        parts.append(await examine(OrphansCheck.self, composition))
        var drift = await examine(DriftCheck.self, composition)
        // A system that is out of reach is told once.
        drift.findings.removeAll { finding in
            finding.status == .unavailable && systems.findings.contains { $0.status == .unavailable }
        }
        parts.append(drift)
        return await examineRecords(composition, parts)
    }

    private func examineRecords(_ composition: Composition, _ parts: [Examined]) async -> [Examined] {
        var parts = parts
        let checks: [any DoctorCheck.Type] = [SecretsCheck.self, AlertsCheck.self, LeftoversCheck.self]
        for check in checks { parts.append(await examine(check, composition)) }
        return parts
    }

    private func examine(_ check: any DoctorCheck.Type, _ composition: Composition) async -> Examined {
        Examined(section: check.section, skipped: nil, findings: await check.init(context, composition).findings())
    }

    /// What the command ends with: the first of these that a finding asks for.
    static func status(_ findings: [DoctorFinding]) -> ExitStatus {
        let asked = Set(findings.map(\.status))
        return [.badConfiguration, .unavailable, .quarantined, .failed].first(where: asked.contains) ?? .done
    }
}
