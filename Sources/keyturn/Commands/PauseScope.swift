import ArgumentParser
import KeyturnCore
import KeyturnPolicy

/// What `pause` and `resume` are about: secrets, issuers or everything.
struct PauseScope: ParsableArguments {
    @Argument(help: "The secrets.")
    var secrets: [String] = []

    @Option(help: "An issuer from keyturn.yaml, with all secrets whose keys it makes; may be given several times.")
    var issuer: [String] = []

    @Flag(help: "Everything.")
    var all = false

    var isEmpty: Bool { secrets.isEmpty && issuer.isEmpty && !all }

    /// - Throws: unless it says one thing.
    func requireOne() throws {
        let kinds = [!secrets.isEmpty, !issuer.isEmpty, all].count { $0 }
        guard kinds == 1 else {
            throw ValidationError("name either secrets, or issuers with --issuer, or everything with --all")
        }
    }

    /// What is switched as a whole.
    ///
    /// - Throws: for an issuer that neither the configuration nor the state knows.
    func switches(_ configuration: Configuration, _ journal: any Journal) async throws -> [PauseSwitch.Scope] {
        if all { return [.everything] }
        var known = Set(configuration.issuers.keys)
        if issuer.contains(where: { !known.contains($0) }) {
            known.formUnion(try await journal.records().flatMap(\.versions).map(\.issuer))
        }
        for name in issuer where !known.contains(name) {
            throw CommandFailure(
                .usage, "there is no issuer '\(name)'",
                advice: "there are \(known.sorted().joined(separator: ", "))")
        }
        return issuer.map(PauseSwitch.Scope.issuer)
    }
}

extension PauseSwitch.Scope {
    /// For messages.
    var words: String {
        switch self {
        case .everything: "everything"
        case .issuer(let name): "issuer '\(name)'"
        }
    }
}
