// Members are named as the service names them.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import Foundation
import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// The token that Keyturn works with: got by a login, renewed before it runs out, and got anew when it can't be.
///
/// Asked by an ``AccessTokenCache`` alone, so that one question is under way at a time. Source:
/// https://openbao.org/docs/concepts/tokens/#token-time-to-live-periodic-tokens-and-explicit-max-ttls
actor VaultSession {
    /// Sends a request without waiting for a token: method, path, body, and the token that there is.
    typealias Send =
        @Sendable (String, String, SecretValue?, SecretValue?) async throws(SystemError) -> VaultClient.Answer

    private let login: VaultLogin
    private let services: SystemServices
    private let name: String
    private let send: Send
    private var held: Held?

    private struct Held {
        let token: SecretValue
        let isRenewable: Bool
        /// What the login gave, in seconds.
        let lease: Double
        let until: Date
    }

    private struct Answer: Decodable {
        struct Auth: Decodable {
            let client_token: String
            let lease_duration: Double
            let renewable: Bool?
        }
        let auth: Auth?
    }

    /// A token that does not end is looked at again after this long, in seconds.
    private static let endless = 3600.0 * 24 * 365

    init(_ login: VaultLogin, _ services: SystemServices, name: String, send: @escaping Send) {
        self.login = login
        self.services = services
        self.name = name
        self.send = send
    }

    /// The server refused it: the next one comes from a login.
    func refused() { held = nil }

    func next() async throws(SystemError) -> AccessToken {
        if case .token(let reference) = login {
            // Read anew after a refusal, when the file may hold another one.
            return AccessToken(value: try await services.secrets.resolve(reference), lifetime: Self.endless)
        }
        if let held, held.isRenewable, let renewed = try await renew(held) { return renewed }
        do throws(SystemError) { return try await logIn() } catch {
            // What is left serves until it ends; by then a login may go through.
            guard error.code != .cancelled, let held, let left = remaining(held) else { throw error }
            return AccessToken(value: held.token, lifetime: left)
        }
    }

    /// - Returns: `nil` where a login is called for: the token ended, or nears the most that it may last.
    private func renew(_ old: Held) async throws(SystemError) -> AccessToken? {
        let answer: VaultClient.Answer
        do throws(SystemError) { answer = try await send("POST", "auth/token/renew-self", nil, old.token) } catch {
            guard error.code != .cancelled else { throw error }
            return nil
        }
        guard (200..<300).contains(answer.status), let auth = answer.json(Answer.self)?.auth else { return nil }
        let renewed = Held(
            token: old.token, isRenewable: auth.renewable ?? false, lease: old.lease,
            until: services.time.now().addingTimeInterval(auth.lease_duration))
        held = renewed
        guard auth.lease_duration >= old.lease / 2 else { return nil }
        return AccessToken(value: renewed.token, lifetime: auth.lease_duration)
    }

    private func logIn() async throws(SystemError) -> AccessToken {
        guard let request = try await login.request(services.secrets) else {
            throw SystemError(.misconfigured, "\(name): there is nothing to log in with")
        }
        let answer = try await send("POST", request.path, request.body, nil)
        if [400, 401, 403, 404].contains(answer.status) {
            throw SystemError(
                .unauthorized, "\(name): the \(request.name) login was refused (HTTP \(answer.status))",
                advice: request.advice)
        }
        guard (200..<300).contains(answer.status) else {
            throw SystemError(status: answer.status, of: answer.response, from: name, now: services.time.now())
        }
        guard let auth = answer.json(Answer.self)?.auth else {
            throw SystemError(.badAnswer, "\(name): the login was answered without a token")
        }
        let token = SecretValue(utf8: auth.client_token)
        // None means that it does not end.
        let lease = auth.lease_duration > 0 ? auth.lease_duration : Self.endless
        held = Held(
            token: token, isRenewable: auth.renewable ?? false, lease: lease,
            until: services.time.now().addingTimeInterval(lease))
        return AccessToken(value: token, lifetime: lease)
    }

    /// How long the token still lasts; `nil` when that is too short to be of use.
    private func remaining(_ held: Held) -> Double? {
        let left = held.until.timeIntervalSince(services.time.now())
        return left > 2 ? left : nil
    }
}
