import Foundation
package import KeyturnCore

/// An access token as a login answers it.
package struct AccessToken: Sendable {
    package let value: SecretValue
    /// How long it is valid from now on, in seconds.
    package let lifetime: Double

    package init(value: SecretValue, lifetime: Double) {
        self.value = value
        self.lifetime = lifetime
    }
}

/// Keeps an access token for as long as it is good, and asks for the next one once, however many wait for it.
package actor AccessTokenCache {
    private enum Answer: Sendable {
        case token(SecretValue)
        case failure(SystemError)
        /// Whoever asked was cancelled: the next one asks.
        case none
    }

    private let time: any Timekeeper
    private let logIn: @Sendable () async throws(SystemError) -> AccessToken
    private var held: (value: SecretValue, until: Date)?
    private var isAsking = false
    private var waiting: [CheckedContinuation<Answer, Never>] = []

    /// A token is given out until this share of its life is over, so that it does not end on its way.
    private static let share = 0.8

    /// - Parameter logIn: asks the system for a token.
    package init(time: any Timekeeper, logIn: @escaping @Sendable () async throws(SystemError) -> AccessToken) {
        self.time = time
        self.logIn = logIn
    }

    /// The token; a failed login fails all that waited for it.
    package func token() async throws(SystemError) -> SecretValue {
        while true {
            if let held, time.now() < held.until { return held.value }
            guard isAsking else { return try await ask() }
            switch await withCheckedContinuation({ waiting.append($0) }) {
            case .token(let value): return value
            case .failure(let error): throw error
            case .none: continue
            }
        }
    }

    /// Forgets a token that the system refused before its end. Another one that came since is kept.
    package func refused(_ token: SecretValue) {
        if let held, held.value.matches(token) { self.held = nil }
    }

    private func ask() async throws(SystemError) -> SecretValue {
        isAsking = true
        do throws(SystemError) {
            let token = try await logIn()
            held = (token.value, time.now().addingTimeInterval(max(0, token.lifetime) * Self.share))
            finish(.token(token.value))
            return token.value
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
