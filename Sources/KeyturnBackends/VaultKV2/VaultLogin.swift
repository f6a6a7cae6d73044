// Members are named as the service names them.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import Foundation
import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// How Keyturn proves to Vault or OpenBao who it is.
///
/// Sources: the API pages of the auth methods, https://openbao.org/api-docs/auth/approle/, kubernetes/ and jwt/
enum VaultLogin: Sendable {
    case token(SecretReference)
    case appRole(roleID: String, secretID: SecretReference, mount: String)
    /// A pod's service account, whose token is laid down in a file.
    case kubernetes(role: String, tokenFile: String, mount: String)
    /// A token that somebody else signed; the role may be the mount's usual one.
    case jwt(role: String?, proof: Proof, mount: String)

    enum Proof: Sendable {
        case reference(SecretReference)
        /// Laid down and replaced by somebody else, with a mode of its own.
        case file(String)
    }

    private static let podToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"

    /// - Parameter auth: what keyturn.yaml says under `auth`.
    init?(_ auth: Parameters) {
        if let token = auth.secret("token") {
            self = .token(token)
        } else if let role = auth.map("appRole"), let secretID = role.secret("secretId") {
            self = .appRole(
                roleID: role.string("roleId") ?? "", secretID: secretID, mount: role.string("mount") ?? "approle")
        } else if let account = auth.map("kubernetes") {
            self = .kubernetes(
                role: account.string("role") ?? "", tokenFile: account.string("tokenFile") ?? Self.podToken,
                mount: account.string("mount") ?? "kubernetes")
        } else if let signed = auth.map("jwt") {
            let mount = signed.string("mount") ?? "jwt"
            if let token = signed.secret("token") {
                self = .jwt(role: signed.string("role"), proof: .reference(token), mount: mount)
            } else if let file = signed.string("tokenFile") {
                self = .jwt(role: signed.string("role"), proof: .file(file), mount: mount)
            } else {
                return nil
            }
        } else {
            return nil
        }
    }

    /// A request that is answered with a token.
    struct Request {
        let path: String
        let body: SecretValue
        /// How errors call it.
        let name: String
        let advice: String
    }

    private struct Signed: Encodable {
        let role: String?
        let jwt: String
    }

    /// Reads what it takes anew each time, since it may have been replaced.
    ///
    /// - Returns: `nil` where the token is there already.
    func request(_ secrets: any SecretResolver) async throws(SystemError) -> Request? {
        switch self {
        case .token: return nil
        case .appRole(let roleID, let secretID, let mount):
            let text = try Self.text(try await secrets.resolve(secretID), "the AppRole secret id")
            return Request(
                path: "auth/\(mount)/login", body: try JSONBody.encode(["role_id": roleID, "secret_id": text]),
                name: "AppRole", advice: "check roleId, secretId and mount")
        case .kubernetes(let role, let file, let mount):
            let token = try Self.text(
                try LaidDownToken.read(file, as: "the service account's token"), "the service account's token")
            return Request(
                path: "auth/\(mount)/login", body: try JSONBody.encode(Signed(role: role, jwt: token)),
                name: "Kubernetes",
                advice: "check role and mount, and which service accounts and audiences the role is bound to")
        case .jwt(let role, let proof, let mount):
            let token =
                switch proof {
                case .reference(let reference): try await secrets.resolve(reference)
                case .file(let path): try LaidDownToken.read(path, as: "the JWT")
                }
            return Request(
                path: "auth/\(mount)/login",
                body: try JSONBody.encode(Signed(role: role, jwt: try Self.text(token, "the JWT"))), name: "JWT",
                advice: "check role and mount, the role's bound claims, and whether the token has expired")
        }
    }

    private static func text(_ value: SecretValue, _ name: String) throws(SystemError) -> String {
        guard let text = value.exposedText() else { throw SystemError(.misconfigured, "\(name) is not text") }
        return text
    }
}

extension VaultLogin {
    /// The parameters under `auth`.
    static let schema = ParameterSchema(
        [
            ParameterField("token", .secret, "Reference to a token."),
            ParameterField(
                "appRole",
                .object(
                    ParameterSchema([
                        ParameterField("roleId", .string(), required: true, "The role's id."),
                        ParameterField("secretId", .secret, required: true, "Reference to the secret id."),
                        mount("approle"),
                    ])), "Login by AppRole."),
            ParameterField(
                "kubernetes",
                .object(
                    ParameterSchema([
                        ParameterField("role", .string(), required: true, "The role's name."),
                        ParameterField("tokenFile", .path, "File of the token; that of the pod when absent."),
                        mount("kubernetes"),
                    ])), "Login as a Kubernetes service account."),
            ParameterField(
                "jwt",
                .object(
                    ParameterSchema(
                        [
                            ParameterField("role", .string(), "The role's name; the mount's usual one when absent."),
                            ParameterField("token", .secret, "Reference to the signed token."),
                            ParameterField("tokenFile", .path, "File of a token that somebody else replaces."),
                            mount("jwt"),
                        ], check: proofProblems)), "Login by a signed token."),
        ], check: problems)

    private static func mount(_ usual: String) -> ParameterField {
        ParameterField("mount", .string(), default: .string(usual), "Where it is mounted.")
    }

    @Sendable private static func problems(
        _ auth: Parameters, _ environment: [String: String]
    ) -> [ParameterProblem] {
        problems(auth, oneOf: ["token", "appRole", "kubernetes", "jwt"])
    }

    @Sendable private static func proofProblems(
        _ signed: Parameters, _ environment: [String: String]
    ) -> [ParameterProblem] {
        problems(signed, oneOf: ["token", "tokenFile"])
    }

    private static func problems(_ parameters: Parameters, oneOf names: [String]) -> [ParameterProblem] {
        let there = names.filter { parameters[$0] != nil }
        guard let first = there.first else {
            let words = names.dropLast().map { "'\($0)'" }.joined(separator: ", ")
            return [ParameterProblem(path: [], message: "it needs \(words) or '\(names.last ?? "")'")]
        }
        return there.dropFirst().map { name in
            ParameterProblem(path: [name], message: "it has both '\(first)' and '\(name)'; keep one")
        }
    }
}
