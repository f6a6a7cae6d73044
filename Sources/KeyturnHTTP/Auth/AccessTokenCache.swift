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

/// The access tokens of one login, kept as a ``CredentialCache`` keeps them.
package struct AccessTokenCache: Sendable {
    private let cache: CredentialCache<SecretValue>

    /// - Parameter logIn: asks the system for a token.
    package init(time: any Timekeeper, logIn: @escaping @Sendable () async throws(SystemError) -> AccessToken) {
        cache = CredentialCache(time: time) { () async throws(SystemError) in
            let token = try await logIn()
            return (token.value, token.lifetime)
        }
    }

    /// The token; a failed login fails all that waited for it.
    package func token() async throws(SystemError) -> SecretValue { try await cache.credential() }

    /// Forgets a token that the system refused before its end. Another one that came since is kept.
    package func refused(_ token: SecretValue) async { await cache.forget { $0.matches(token) } }
}
