import Age
import Foundation
import KeyturnCore
import KeyturnPolicy
import KeyturnStore

/// What every check of the doctor starts from: as much as could be read.
struct DoctorContext: Sendable {
    let diagnostics: [Diagnostic]
    /// `nil` when keyturn.yaml can't be read at all.
    let composition: Composition?
    /// The configuration file, absolute.
    let path: String
    /// The state for reading; `nil` when there is none yet, or it can't be opened.
    let journal: SQLiteJournal?
    /// Why it can't be opened.
    let journalError: JournalError?
    let identities: [X25519Identity]
    /// Why the identity can't be used.
    let identityError: SystemError?
    let now: Date

    init(_ options: GlobalOptions, at now: Date) throws(CommandFailure) {
        self.now = now
        path = try options.configPath()
        let (configuration, found) = ConfigurationLoader.read(
            file: path, environment: ProcessInfo.processInfo.environment, catalog: Composition.catalog)
        guard let configuration else {
            diagnostics = found
            composition = nil
            journal = nil
            journalError = nil
            identities = []
            identityError = nil
            return
        }
        let set = PolicyLoader.load(configuration, catalog: Composition.catalog)
        diagnostics = found + set.diagnostics
        let composition = Composition(
            configuration: configuration, policies: set.policies, logger: options.logger())
        self.composition = composition
        (journal, journalError) = Self.open(composition)
        (identities, identityError) = Self.identities(composition)
    }

    private static func open(_ composition: Composition) -> (SQLiteJournal?, JournalError?) {
        guard !composition.configuration.statePath.isEmpty else { return (nil, nil) }
        do throws(JournalError) { return (try composition.readJournal(), nil) } catch { return (nil, error) }
    }

    private static func identities(_ composition: Composition) -> ([X25519Identity], SystemError?) {
        // That none is configured is an error of the configuration.
        guard composition.configuration.identityPath != nil else { return ([], nil) }
        do throws(SystemError) { return (try composition.identities(), nil) } catch { return ([], error) }
    }

    /// Whether keyturn.yaml and the policies are without errors: systems are asked only then.
    var isSound: Bool { !diagnostics.contains { $0.severity == .error } }
}
