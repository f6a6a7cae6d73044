import Foundation
import KeyturnCore

/// Proves that a new key works: the issuer's own check, then those of the policy, each until it says yes or no.
struct KeyVerification {
    let core: EngineCore
    let workplace: Workplace

    enum Verdict {
        case works
        /// Refused for good, in words.
        case refused(String)
    }

    /// - Throws: `notYet` when the patience runs out; what asking throws.
    func verify(_ key: KeyHandle, issuerName: String, checks: [PolicyCheck]) async throws(SystemError) -> Verdict {
        let issuer = try workplace.issuer(issuerName)
        if issuer.traits.checks {
            let verdict = try await ask { () async throws(SystemError) in
                try await core.gates.call(.issuer(issuerName)) { () throws(SystemError) in try await issuer.check(key) }
            }
            guard case .works = verdict else { return verdict }
        }
        for check in checks where check.type != "issuer" {
            let verifier = try workplace.verifier(check)
            let verdict = try await ask { () async throws(SystemError) in try await verifier.verify(key) }
            guard case .works = verdict else { return verdict }
        }
        return .works
    }

    /// Once an answer was "not yet", two good ones in a row are needed: a change spreads unevenly.
    private func ask(_ question: () async throws(SystemError) -> KeyCheck) async throws(SystemError) -> Verdict {
        let deadline = core.time.now().addingTimeInterval(core.settings.verifyPatience)
        var needed = 1
        while true {
            let answer: String
            switch try await question() {
            case .works, .cannotTell:
                needed -= 1
                if needed == 0 { return .works }
                answer = "accepted only some of the time"
            case .refused(let reason): return .refused(reason)
            case .notYet(let reason):
                needed = 2
                answer = reason
            }
            guard core.time.now() < deadline, !core.stop.isAsked else {
                throw SystemError(
                    .notYet, "the new key does not work yet: \(answer)",
                    advice: "it is asked again; see whether the issuer is in trouble")
            }
            try await core.pause(core.settings.pollInterval)
        }
    }
}
