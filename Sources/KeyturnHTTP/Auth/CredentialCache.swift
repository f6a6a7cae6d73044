import Foundation
package import KeyturnCore

/// Keeps a credential that ends for as long as it is good, and asks for the next one once, however many wait for it.
package actor CredentialCache<Credential: Sendable> {
    /// What a login gives: a credential, and how long it is valid from now on, in seconds.
    package typealias Grant = (credential: Credential, lifetime: Double)

    private enum Answer: Sendable {
        case credential(Credential)
        case failure(SystemError)
        /// Whoever asked was cancelled: the next one asks.
        case none
    }

    private let time: any Timekeeper
    private let logIn: @Sendable () async throws(SystemError) -> Grant
    private var held: (credential: Credential, until: Date)?
    private var isAsking = false
    private var waiting: [CheckedContinuation<Answer, Never>] = []

    /// A credential is given out until this share of its life is over, so that it does not end on its way.
    private static var share: Double { 0.8 }

    /// - Parameter logIn: asks the system for a credential.
    package init(time: any Timekeeper, logIn: @escaping @Sendable () async throws(SystemError) -> Grant) {
        self.time = time
        self.logIn = logIn
    }

    /// The credential; a failed login fails all that waited for it.
    package func credential() async throws(SystemError) -> Credential {
        while true {
            if let held, time.now() < held.until { return held.credential }
            guard isAsking else { return try await ask() }
            switch await withCheckedContinuation({ waiting.append($0) }) {
            case .credential(let credential): return credential
            case .failure(let error): throw error
            case .none: continue
            }
        }
    }

    /// Forgets a credential that the system refused before its end.
    ///
    /// - Parameter isRefused: tells it from another one that came since, which is kept.
    package func forget(where isRefused: @Sendable (Credential) -> Bool) {
        if let held, isRefused(held.credential) { self.held = nil }
    }

    private func ask() async throws(SystemError) -> Credential {
        isAsking = true
        do throws(SystemError) {
            let grant = try await logIn()
            held = (grant.credential, time.now().addingTimeInterval(max(0, grant.lifetime) * Self.share))
            finish(.credential(grant.credential))
            return grant.credential
        } catch {
            finish(error.code == .cancelled ? .none : .failure(error))
            throw error
        }
    }

    private func finish(_ answer: Answer) {
        isAsking = false
        let all = waiting
        waiting = []
        for continuation in all { continuation.resume(returning: answer) }
    }
}
