import Foundation
package import KeyturnCore
import KeyturnHTTP
import KeyturnSystem
import PostgresClient

/// Passwords of roles of PostgreSQL: two roles in turn, so that the one in use keeps its password while consumers move to
/// the other, or one role, whose old password stops when the new one is set.
///
/// The password is chosen here, and the server gets its verifier alone, so that no log or view of it holds the password.
/// Source: https://www.postgresql.org/docs/current/sql-alterrole.html
package struct PostgreSQLRoleIssuer: Issuer {
    package let traits = Self.description.traits
    private let server: PostgreSQLServer
    private let defaults: Parameters

    init(_ parameters: Parameters, _ services: SystemServices) {
        server = PostgreSQLServer(parameters, services)
        defaults = parameters.filter { name, _ in PasswordRules.fields.contains { $0.name == name } }
    }

    package func prepare(_ request: IssueRequest) async throws(SystemError) -> IssuePreparation {
        let roles = RoleChoice(request.parameters)
        let chosen = try await choose(from: roles, request)
        let state = try await state(of: chosen)
        if let end = state.validUntil, request.parameters.boolean("validUntil") != true,
            end < request.intendedAt.addingTimeInterval(TimeInterval(request.lifetime ?? 0))
        {
            throw SystemError(
                .misconfigured, "passwords of the role \(chosen) end before the new one would",
                advice: "set `validUntil: true`, or have its VALID UNTIL be 'infinity'")
        }
        // The first one is set before anybody is known who uses the role.
        if request.current == nil, request.knownKeyIDs.isEmpty, roles.alternate, state.sessions > 0 {
            throw SystemError(
                .conflict, "the role \(chosen) is in use, and a new password would lock its users out",
                advice:
                    "name the role that nobody uses first in `users`, or take over the one in use with `keyturn adopt`"
            )
        }
        let password = try PasswordRules.choose(defaults.merging(request.parameters) { _, policy in policy })
        return IssuePreparation(
            notes: ["user": chosen], chosen: material(chosen, password, request.parameters))
    }

    package func issue(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssuedKey {
        guard let material = prepared.chosen, let password = material.fields["password"],
            let role = prepared.notes["user"]
        else { throw SystemError(.local, "no password was prepared") }
        let roles = RoleChoice(request.parameters)
        // Looked at once more: between then and now may lie a crash or a rollback.
        guard !roles.alternate || request.current.flatMap(RoleChoice.user(of:)) != role else {
            throw SystemError(.conflict, "the role \(role) is in use, and its password is not replaced")
        }
        let verifier = try ScramVerifier.make(
            password, iterations: request.parameters.integer("iterations") ?? 4096)
        let expiresAt = request.lifetime.map { request.intendedAt.addingTimeInterval(TimeInterval($0)) }
        let end = request.parameters.boolean("validUntil") == true ? expiresAt : nil
        let isTooOld = try await server.ask { (connection) throws(PostgresError) -> Bool in
            // Older ones would take the verifier for the password.
            guard connection.serverVersion >= 10 else { return true }
            var statement = try Self.alter(role, connection) + " PASSWORD " + connection.quoted(literal: verifier)
            if let end { statement += try " VALID UNTIL " + connection.quoted(literal: end.formatted(.iso8601)) }
            try connection.run(statement)
            return false
        }
        guard !isTooOld else {
            throw SystemError(.unsupported, "\(server.name) is older than PostgreSQL 10 and knows no SCRAM-SHA-256")
        }
        return IssuedKey(
            material: material, keyID: RoleChoice.keyID(role, request.lineage), issuedAt: request.intendedAt,
            expiresAt: expiresAt)
    }

    package func resolve(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssueResolution {
        // Whether it was set or not: revoking it looks.
        guard let material = prepared.chosen, let role = prepared.notes["user"] else { return .neverMade }
        return .made(
            IssuedKey(
                material: material, keyID: RoleChoice.keyID(role, request.lineage), issuedAt: request.intendedAt,
                expiresAt: request.lifetime.map { request.intendedAt.addingTimeInterval(TimeInterval($0)) }))
    }

    /// Logs in with it.
    package func check(_ key: KeyHandle) async throws(SystemError) -> KeyCheck {
        guard let password = RoleChoice.password(of: key) else { return .cannotTell }
        let users = RoleChoice.users(of: key)
        guard try await opened(by: password, users, key.parameters) == nil else { return .works }
        return .refused("\(server.name) does not let \(users.joined(separator: " or ")) in with the password")
    }

    /// Takes the password away from the role that has it.
    package func revoke(_ key: KeyHandle) async throws(SystemError) {
        guard let password = RoleChoice.password(of: key) else {
            throw SystemError(
                .local, "the password is not known any more, so that nobody can tell whether a role has it",
                advice: "take it away by hand from the role that is not in use: ALTER ROLE ... PASSWORD NULL")
        }
        guard let role = try await opened(by: password, RoleChoice.users(of: key), key.parameters) else { return }
        try await server.ask { (connection) throws(PostgresError) in
            _ = try connection.run(Self.alter(role, connection) + " PASSWORD NULL")
        }
    }

    /// The role that a password opens.
    private func opened(
        by password: SecretValue, _ users: [String], _ parameters: Parameters
    ) async throws(SystemError) -> String? {
        for user in users {
            switch try await server.login(user, password, database: database(parameters)) {
            case .accepted: return user
            case .refused: continue
            case .withoutPassword:
                throw SystemError(
                    .misconfigured,
                    "\(server.name) lets the role \(user) in without a password, so that nobody can tell if one works",
                    advice: "have pg_hba.conf ask the role for scram-sha-256 from this machine")
            }
        }
        return nil
    }

    package func probe(_ parameters: Parameters) async throws(SystemError) {
        for role in RoleChoice(parameters).users { _ = try await state(of: role) }
    }

    // MARK: - Roles

    /// The role that gets the next password: never the one whose password is current.
    private func choose(from roles: RoleChoice, _ request: IssueRequest) async throws(SystemError) -> String {
        guard roles.alternate else { return roles.users.first ?? "" }
        if let current = request.current {
            if let user = RoleChoice.user(of: current) { return roles.other(than: user) }
            // One that was taken over says nothing but its password.
            guard let password = RoleChoice.password(of: current) else {
                throw SystemError(.local, "the current key can't be opened, so that nobody knows which role is in use")
            }
            if let user = try await opened(by: password, roles.users, request.parameters) {
                return roles.other(than: user)
            }
            throw SystemError(
                .conflict, "the current password opens neither of the roles, so that nobody knows which one is in use",
                advice: "take over the password in use with `keyturn adopt`, under another name")
        }
        // None is current after a revocation: the other one than the last.
        return request.knownKeyIDs.last.flatMap(RoleChoice.user(of:)).map(roles.other(than:)) ?? roles.users.first ?? ""
    }

    private struct RoleState: Sendable {
        let validUntil: Date?
        let sessions: Int
    }

    /// What the server tells of a role that can get a password from us.
    private func state(of role: String) async throws(SystemError) -> RoleState {
        let found = try await server.ask { (connection) throws(PostgresError) -> [String?]? in
            // Since version 16 the right to create roles covers only those that one administers.
            let mayAlter =
                connection.serverVersion < 16
                ? "me.rolcreaterole" : "me.rolcreaterole AND pg_has_role(me.oid, r.oid, 'MEMBER WITH ADMIN OPTION')"
            return try connection.run(
                """
                SELECT r.rolcanlogin, me.rolsuper OR (NOT r.rolsuper AND \(mayAlter)) OR me.oid = r.oid,
                  CASE WHEN isfinite(r.rolvaliduntil) THEN floor(extract(epoch FROM r.rolvaliduntil)) END,
                  (SELECT count(*) FROM pg_catalog.pg_stat_activity AS s WHERE s.usesysid = r.oid)
                FROM pg_catalog.pg_roles AS r, pg_catalog.pg_roles AS me
                WHERE r.rolname = $1 AND me.rolname = current_user
                """, [role]
            ).first
        }
        guard let found, found.count == 4 else {
            throw SystemError(
                .notFound, "\(server.name) has no role \(role)",
                advice: "create it with LOGIN; Keyturn makes passwords, and no roles")
        }
        guard found[0] == "t" else {
            throw SystemError(.misconfigured, "the role \(role) may not log in", advice: "ALTER ROLE ... LOGIN")
        }
        guard found[1] == "t" else {
            throw SystemError(
                .forbidden, "Keyturn's role may not change the role \(role)",
                advice: "see deploy/rights/postgresql-role.sql")
        }
        return RoleState(
            validUntil: found[2].flatMap(TimeInterval.init).map(Date.init(timeIntervalSince1970:)),
            sessions: found[3].flatMap { Int($0) } ?? 0)
    }

    private static func alter(_ role: String, _ connection: PostgresConnection) throws(PostgresError) -> String {
        "ALTER ROLE " + (try connection.quoted(identifier: role))
    }

    private func database(_ parameters: Parameters) -> String { parameters.string("database") ?? server.database }

    private func material(_ user: String, _ password: SecretValue, _ parameters: Parameters) -> KeyMaterial {
        let database = database(parameters)
        return LoginMaterial(
            scheme: "postgresql", user: user, password: password, host: parameters.string("host") ?? server.host,
            port: parameters.integer("port") ?? server.port, path: database, more: ["database": database]
        ).key(as: RoleChoice(parameters).format)
    }
}
