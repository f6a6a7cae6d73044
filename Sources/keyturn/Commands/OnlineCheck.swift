import Age
import KeyturnCore
import KeyturnEngine
import KeyturnHTTP
import KeyturnStore
import KeyturnSystem

/// Asks every system that configuration and policies name, and changes nothing. What is wrong with one hides no other.
struct OnlineCheck {
    let composition: Composition
    /// Is told of every answer of an HTTP system.
    var observe: @Sendable (HTTPRequest, HTTPResponse) -> Void = { _, _ in }

    struct Finding: Sendable {
        /// Such as `backend 'vault'`.
        let system: String
        /// The secret that was asked for.
        let secret: SecretName?
        let error: SystemError

        /// What passes by itself, or can't be reached, is told from what a person has to mend.
        var status: ExitStatus {
            switch CommandFailure(error).status {
            case .noPermission: .noPermission
            case .unavailable: .unavailable
            default: error.disposition == .passing ? .unavailable : .badConfiguration
            }
        }
    }

    private struct Question: Sendable {
        let secret: SecretName?
        let ask: @Sendable () async throws(SystemError) -> Void
    }

    /// By system, each with its first finding of a kind.
    func findings() async throws(CommandFailure) -> [Finding] {
        var findings: [Finding] = []
        var identities: [X25519Identity] = []
        do throws(SystemError) { identities = try composition.identities() } catch {
            findings.append(Finding(system: "identity", secret: nil, error: error))
        }
        var journal: SQLiteJournal?
        do throws(JournalError) { journal = try composition.readJournal() } catch {
            findings.append(Finding(system: "state", secret: nil, error: Self.systemError(error)))
        }
        let services = try composition.services(journal, AgeSealer(identities: identities), observe: observe)
        defer { services.http.shutdown() }
        let (workplace, unmade) = composition.systems(services)
        findings += unmade.map { Finding(system: $0.system, secret: nil, error: $0.error) }
        let questions = questions(workplace)
        findings += await withTaskGroup(of: [Finding].self) { group in
            for (system, questions) in questions { group.addTask { await Self.ask(questions, system) } }
            return await group.reduce(into: []) { $0 += $1 }.sorted { $0.system < $1.system }
        }
        return findings
    }

    /// 69 goes before 77, and that before 65: what could not be asked may hide more.
    static func status(_ findings: [Finding]) -> ExitStatus {
        let statuses = Set(findings.map(\.status))
        return [.unavailable, .noPermission, .badConfiguration].first(where: statuses.contains) ?? .done
    }

    private func questions(_ workplace: Workplace) -> [String: [Question]] {
        var questions: [String: [Question]] = [:]
        func add(
            _ system: String, _ secret: SecretName?, _ ask: @escaping @Sendable () async throws(SystemError) -> Void
        ) {
            questions[system, default: []].append(Question(secret: secret, ask: ask))
        }
        for policy in composition.policies {
            if let issuer = workplace.issuers[policy.issuer] {
                add("issuer '\(policy.issuer)'", policy.secret) { () throws(SystemError) in
                    try await issuer.probe(policy.issue)
                }
            }
            for entry in policy.backends {
                guard let backend = workplace.backends[entry.name] else { continue }
                add("backend '\(entry.name)'", policy.secret) { () throws(SystemError) in
                    try await backend.probe(entry.target)
                }
            }
            for check in policy.checks where check.type != "issuer" {
                add("check '\(check.type)'", policy.secret) { () throws(SystemError) in
                    _ = try workplace.verifier(check)
                }
            }
        }
        for (name, sink) in workplace.sinks {
            add("alert sink '\(name)'", nil) { () throws(SystemError) in try await sink.probe() }
        }
        return questions
    }

    /// One after the other, until the system turns out to be out of reach.
    private static func ask(_ questions: [Question], _ system: String) async -> [Finding] {
        var findings: [Finding] = []
        for question in questions {
            do throws(SystemError) { try await question.ask() } catch {
                let finding = Finding(system: system, secret: question.secret, error: error)
                if !findings.contains(where: { $0.error == error }) { findings.append(finding) }
                if finding.status == .unavailable { break }
            }
        }
        return findings
    }

    private static func systemError(_ error: JournalError) -> SystemError {
        let code: SystemError.Code =
            switch error {
            case .permission: .forbidden
            case .newerSchema, .incomplete: .misconfigured
            case .locked, .leaseLost, .full, .damaged, .failed: .local
            }
        return SystemError(code, error.description)
    }
}
