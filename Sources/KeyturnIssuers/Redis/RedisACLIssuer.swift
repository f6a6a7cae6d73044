import Foundation
package import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// Passwords of users of Redis. A user may have several, so that the old one works while the new one goes round.
///
/// The password is chosen here, and the servers get its hash alone, so that no log, monitor or ACL file holds the password.
/// Sources: https://redis.io/docs/latest/commands/acl-setuser/ and .../acl-save/
package struct RedisACLIssuer: ListsKeys {
    package let traits = Self.description.traits
    private let servers: RedisServers
    private let defaults: Parameters
    private let saving: String

    init(_ parameters: Parameters, _ services: SystemServices) {
        servers = RedisServers(parameters, services)
        defaults = parameters
        saving = parameters.string("save") ?? "acl-file"
    }

    package func prepare(_ request: IssueRequest) async throws(SystemError) -> IssuePreparation {
        try await probe(request.parameters)
        let password = try PasswordRules.choose(defaults.merging(request.parameters) { _, policy in policy })
        let first = servers.addresses.first
        let login = LoginMaterial(
            scheme: first?.isSecure == true ? "rediss" : "redis", user: user(request.parameters), password: password,
            host: request.parameters.string("host") ?? first?.host ?? "",
            port: request.parameters.integer("port") ?? first?.port ?? 6379)
        return IssuePreparation(chosen: login.key(as: request.parameters.string("format") ?? "password"))
    }

    /// Gives the user one password more, at every server. A password that is there already changes nothing.
    package func issue(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssuedKey {
        guard let material = prepared.chosen, let password = material.fields["password"] else {
            throw SystemError(.local, "no password was prepared")
        }
        let hash = RedisUser.hash(password)
        for (index, address) in servers.addresses.enumerated() {
            do throws(SystemError) {
                // Setting a user that is not there would make one, with no rights and switched off.
                _ = try await usable(user(request.parameters), at: address)
                try await change(user(request.parameters), "#\(hash)", at: address)
            } catch { throw index == 0 ? error : error.afterAnEffect }
        }
        return issued(material, hash, request)
    }

    package func resolve(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssueResolution {
        // Whether it was set or not: revoking it looks.
        guard let material = prepared.chosen, let password = material.fields["password"] else { return .neverMade }
        return .made(issued(material, RedisUser.hash(password), request))
    }

    /// Logs in with it, at every server.
    package func check(_ key: KeyHandle) async throws(SystemError) -> KeyCheck {
        guard let password = key.material?.fields["password"] ?? key.material?.value else { return .cannotTell }
        let user = user(key.parameters)
        var refusing: [String] = []
        for address in servers.addresses {
            // One that lets in whoever comes would accept anything.
            _ = try await usable(user, at: address)
            if try await !servers.login(user, password, at: address) { refusing.append(RedisServers.name(address)) }
        }
        // A key is over when no server takes it, and good when every one does.
        if refusing.isEmpty { return .works }
        let words = "\(refusing.joined(separator: ", ")) does not let \(user) in with the password"
        return refusing.count == servers.addresses.count ? .refused(words) : .notYet(words)
    }

    /// Takes the password away, at every server, and no other.
    package func revoke(_ key: KeyHandle) async throws(SystemError) {
        let user = user(key.parameters)
        let hash = (key.material?.fields["password"] ?? key.material?.value).map(RedisUser.hash)
        guard hash != nil || key.keyID != nil else {
            throw SystemError(
                .local, "nobody knows any more which password of \(user) is meant",
                advice: "see `ACL GETUSER \(user)`, and take it away by hand")
        }
        for address in servers.addresses {
            guard let found = try await find(user, at: address) else { continue }
            for held in found.passwords where hash == held || (hash == nil && RedisUser.keyID(held) == key.keyID) {
                try await change(user, "!\(held)", at: address)
            }
        }
    }

    /// The passwords of the user, at any server. Redis has no room for a mark beside them.
    package func keys(for parameters: Parameters) async throws(SystemError) -> [ListedKey] {
        var hashes: [String] = []
        for address in servers.addresses {
            let found = try await find(user(parameters), at: address)?.passwords ?? []
            hashes += found.filter { !hashes.contains($0) }
        }
        return hashes.map { ListedKey(keyID: RedisUser.keyID($0), createdAt: nil, lineage: nil) }
    }

    package func probe(_ parameters: Parameters) async throws(SystemError) {
        for address in servers.addresses { _ = try await usable(user(parameters), at: address) }
    }

    private func user(_ parameters: Parameters) -> String { parameters.string("user") ?? "" }

    private func issued(_ material: KeyMaterial, _ hash: String, _ request: IssueRequest) -> IssuedKey {
        IssuedKey(
            material: material, keyID: RedisUser.keyID(hash), issuedAt: request.intendedAt,
            expiresAt: request.lifetime.map { request.intendedAt.addingTimeInterval(TimeInterval($0)) })
    }

    private func find(_ user: String, at address: StreamAddress) async throws(SystemError) -> RedisUser? {
        let answer = try await servers.ask(address) { (connection) throws(RedisError) in
            try connection.run("ACL", "GETUSER", user)
        }
        guard answer != .null else { return nil }
        guard let found = RedisUser(answer) else {
            throw SystemError(.badAnswer, "\(RedisServers.name(address)) answered without a user")
        }
        return found
    }

    /// A user that is there and has to show a password.
    private func usable(_ user: String, at address: StreamAddress) async throws(SystemError) -> RedisUser {
        let name = RedisServers.name(address)
        guard let found = try await find(user, at: address) else {
            throw SystemError(
                .notFound, "\(name) has no user \(user)",
                advice: "make it with its rights; Keyturn makes passwords, and no users")
        }
        guard !found.flags.contains("off") else {
            throw SystemError(
                .misconfigured, "the user \(user) at \(name) is switched off", advice: "ACL SETUSER ... on")
        }
        guard !found.flags.contains("nopass") else {
            throw SystemError(
                .misconfigured,
                "the user \(user) at \(name) needs no password, and its first one would lock others out",
                advice: "give it a password, let its consumers have it, and take it over with `keyturn adopt`")
        }
        return found
    }

    private func change(_ user: String, _ rule: String, at address: StreamAddress) async throws(SystemError) {
        try await servers.ask(address) { (connection) throws(RedisError) in
            _ = try connection.run("ACL", "SETUSER", user, rule)
        }
        let saving = saving
        do throws(SystemError) {
            try await servers.ask(address) { (connection) throws(RedisError) in
                switch saving {
                case "acl-file": try connection.run("ACL", "SAVE")
                case "config-file": try connection.run("CONFIG", "REWRITE")
                default: break
                }
            }
        } catch {
            guard error.code == .badRequest else { throw error.afterAnEffect }
            throw SystemError(
                .misconfigured, "\(RedisServers.name(address)) does not keep its users",
                advice: "see that it has an ACL file (`aclfile`), or set `save` to what it has",
                mayHaveTakenEffect: true)
        }
    }
}

extension SystemError {
    /// The same where something was done before, which has to be found out about.
    fileprivate var afterAnEffect: SystemError {
        SystemError(
            code, message, advice: advice, disposition: disposition, mayHaveTakenEffect: true, retryAfter: retryAfter)
    }
}
