import KeyturnPolicy

/// What `validate` says of keyturn.yaml and the policies.
struct ConfigurationCheck {
    let context: DoctorContext

    init(_ context: DoctorContext) { self.context = context }

    func findings() -> [DoctorFinding] {
        context.diagnostics.map { diagnostic in
            let isError = diagnostic.severity == .error
            return DoctorFinding(
                .configuration, isError ? .error : .warning,
                "\(diagnostic.file):\(diagnostic.line):\(diagnostic.column): \(diagnostic.message)",
                mend: "keyturn validate", status: isError ? .badConfiguration : .done)
        }
    }
}
