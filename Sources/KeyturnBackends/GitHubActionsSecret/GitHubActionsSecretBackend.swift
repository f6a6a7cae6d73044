import Foundation
package import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// A secret of GitHub Actions: `OWNER/REPOSITORY#NAME`, `OWNER/REPOSITORY/ENVIRONMENT#NAME` or `ORGANIZATION#NAME`.
///
/// Nobody can read a value there, only when the secret was last changed (to the second). So a variable `NAME_KEYTURN`
/// beside it notes each write before and after it is made: as long as the secret was last changed when that note says, it
/// holds the version that the note names; any other change is somebody else's. A write whose answer was lost is made
/// again. See https://docs.github.com/rest/actions/secrets
package struct GitHubActionsSecretBackend: Backend {
    package let traits: BackendTraits = Self.description.traits

    private let client: GitHubClient

    /// https://docs.github.com/actions/reference/security/secrets#limits-for-secrets
    private static let largestValue = 48 * 1024

    init(_ parameters: Parameters, _ services: SystemServices) throws(SystemError) {
        client = try GitHubClient(parameters, services)
    }

    private typealias Wire = GitHubWire

    private struct Place {
        /// What stands before `/secrets` and `/variables`.
        let base: String
        let name: String
        let isOrganization: Bool
        let text: String

        var secret: String { "\(base)/secrets/\(name)" }
        var variableName: String { "\(name)_KEYTURN" }
        var variable: String { "\(base)/variables/\(variableName)" }
    }

    package func stage(
        _ write: VersionWrite, at target: BackendTarget
    ) async throws(SystemError) -> StageResult {
        .deferred("a secret of GitHub Actions holds one value; promoting replaces it")
    }

    package func promote(_ write: VersionWrite, at target: BackendTarget) async throws(SystemError) -> Receipt {
        let place = try place(target)
        let present = try await about(place)
        let noted = try await note(place)
        if let done = try judge(present, noted, write, place) { return receipt(done) }
        let isOurs = noted?.secret == write.secret.text && noted?.instance == write.instance
        var mark = GitHubMark(secret: write.secret.text, instance: write.instance, done: isOurs ? noted?.done : nil)
        mark.intended = .init(version: write.version, generation: write.generation, updatedAt: present?.updated_at)
        try await note(mark, place, isNew: noted == nil)
        try await put(write, target, place, over: present)
        guard let after = try await about(place) else {
            throw SystemError(
                .conflict, "\(place.text) went away as soon as it was written", advice: "see who deletes it")
        }
        let done = GitHubMark.Write(
            version: write.version, generation: write.generation, updatedAt: after.updated_at)
        mark.done = done
        mark.intended = nil
        try await note(mark, place, isNew: false)
        return receipt(done)
    }

    /// - Returns: the write that was done already; `nil` when there is something to do.
    /// - Throws: `conflict` for what somebody else wrote.
    private func judge(
        _ present: Wire.About?, _ noted: GitHubMark?, _ write: VersionWrite, _ place: Place
    ) throws(SystemError) -> GitHubMark.Write? {
        guard let present else { return nil }
        let expected = [write.version, write.replaces?.version]
        if let noted, noted.secret == write.secret.text, noted.instance == write.instance {
            if let done = noted.done, done.updatedAt == present.updated_at {
                if done.version == write.version, done.generation == write.generation { return done }
                if expected.contains(done.version) { return nil }
            } else if let intended = noted.intended, expected.contains(intended.version) {
                // It was changed since the note, most likely by the write whose answer was lost; or it is as it was when
                // the note was made, and was found to be ours, or to be overwritten, then.
                return nil
            }
        }
        guard write.mayOverwrite else {
            throw SystemError(
                .conflict, "\(place.text) was last changed by somebody else than Keyturn, \(present.updated_at)",
                advice: "see who wrote it; `overwrite: true` at the backend in the policy lets Keyturn replace it")
        }
        return nil
    }

    private func put(
        _ write: VersionWrite, _ target: BackendTarget, _ place: Place, over present: Wire.About?
    ) async throws(SystemError) {
        guard write.value.count <= Self.largestValue else {
            throw SystemError(
                .misconfigured, "the value for \(place.text) is longer than \(Self.largestValue) bytes",
                advice: "GitHub takes no longer ones; make it shorter, or use another backend")
        }
        let answer = try await client.call("GET", "\(place.base)/secrets/public-key")
        guard let key = answer.decodeJSON(Wire.PublicKey.self), let bytes = Data(base64Encoded: key.key),
            let box = SealedBox.seal(write.value, to: Array(bytes))
        else { throw SystemError(.badAnswer, "\(client.name): the public key is none") }
        var body = Wire.Put(encrypted_value: Data(box).base64EncodedString(), key_id: key.key_id)
        if place.isOrganization {
            // Left out, it would be changed.
            body.visibility = present?.visibility ?? target.parameters.string("visibility") ?? "private"
            if body.visibility == "selected" {
                body.selected_repository_ids =
                    present == nil ? repositories(target) : try await selected(place)
            }
        }
        _ = try await client.call("PUT", place.secret, body: try JSONBody.encode(body))
    }

    private func repositories(_ target: BackendTarget) -> [Int] {
        (target.parameters.list("repositoryIds") ?? []).compactMap { if case .integer(let id) = $0 { id } else { nil } }
    }

    /// The repositories that an organization's secret is for.
    private func selected(_ place: Place) async throws(SystemError) -> [Int] {
        var found: [Int] = []
        for page in 1...Self.mostPages {
            let answer = try await client.call("GET", "\(place.secret)/repositories?per_page=100&page=\(page)")
            guard let list = answer.decodeJSON(Wire.Selected.self) else {
                throw SystemError(.badAnswer, "\(client.name): the list of repositories is none")
            }
            found += list.repositories.map(\.id)
            if list.repositories.isEmpty || found.count >= list.total_count { return found }
        }
        throw SystemError(.badAnswer, "\(client.name): the list of repositories does not end")
    }

    private static let mostPages = 100

    package func read(
        _ selection: StoredSelection, at target: BackendTarget
    ) async throws(SystemError) -> StoredValue? {
        throw SystemError(.unsupported, "GitHub gives out no value of a secret")
    }

    package func mark(
        of secret: SecretName, instance: String, at target: BackendTarget
    ) async throws(SystemError) -> WriteMark? {
        let place = try place(target)
        guard let present = try await about(place), let noted = try await note(place), noted.secret == secret.text,
            let done = noted.done, done.updatedAt == present.updated_at
        else { return nil }
        return WriteMark(instance: noted.instance, generation: done.generation, version: done.version)
    }

    package func unstage(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {}

    package func prune(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {}

    package func list(at target: BackendTarget) async throws(SystemError) -> [ListedVersion] {
        throw SystemError(.unsupported, "a secret of GitHub Actions holds only its current value")
    }

    package func probe(_ target: BackendTarget) async throws(SystemError) {
        let place = try place(target)
        _ = try await client.call("GET", "\(place.base)/secrets/public-key")
        // One that is missing looks like one that the token may not see, but for the list.
        _ = try await client.call("GET", "\(place.base)/variables?per_page=1")
    }

    // MARK: Pieces

    private func about(_ place: Place) async throws(SystemError) -> Wire.About? {
        let answer = try await client.call("GET", place.secret, mayBeMissing: true)
        guard answer.status != 404 else { return nil }
        guard let about = answer.decodeJSON(Wire.About.self), !about.updated_at.isEmpty else {
            throw SystemError(.badAnswer, "\(client.name): the answer does not describe a secret")
        }
        return about
    }

    /// - Throws: `conflict` for a variable of that name that is no note of Keyturn's.
    private func note(_ place: Place) async throws(SystemError) -> GitHubMark? {
        let answer = try await client.call("GET", place.variable, mayBeMissing: true)
        guard answer.status != 404 else { return nil }
        guard let variable = answer.decodeJSON(Wire.Variable.self) else {
            throw SystemError(.badAnswer, "\(client.name): the answer is not a variable")
        }
        guard let mark = try? JSONDecoder().decode(GitHubMark.self, from: Data(variable.value.utf8)) else {
            throw SystemError(
                .conflict, "\(place.text): the variable \(place.variableName) is no note of Keyturn's",
                advice: "rename it, or delete it; Keyturn notes there what it wrote")
        }
        return mark
    }

    private func note(_ mark: GitHubMark, _ place: Place, isNew: Bool) async throws(SystemError) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let words = try? encoder.encode(mark) else { throw SystemError(.local, "JSON can't be written") }
        var variable = Wire.Variable(name: place.variableName, value: String(decoding: words, as: UTF8.self))
        guard isNew else {
            _ = try await client.call("PATCH", place.variable, body: try JSONBody.encode(variable))
            return
        }
        if place.isOrganization {
            // For no workflow.
            variable.visibility = "selected"
            variable.selected_repository_ids = []
        }
        do throws(SystemError) {
            _ = try await client.call("POST", "\(place.base)/variables", body: try JSONBody.encode(variable))
        } catch {
            guard error.code == .conflict else { throw error }
            throw SystemError(
                .conflict, "\(place.text): the variable \(place.variableName) was made at the same moment",
                disposition: .passing)
        }
    }

    private func receipt(_ write: GitHubMark.Write) -> Receipt { ["updatedAt": write.updatedAt ?? ""] }

    private func place(_ target: BackendTarget) throws(SystemError) -> Place {
        if let reason = Self.problem(target.path) {
            throw SystemError(.misconfigured, "the path of a secret is not allowed: \(reason)")
        }
        let (owners, name) = Self.parts(target.path)
        let base =
            switch owners.count {
            case 1: "/orgs/\(owners[0])/actions"
            case 2: "/repos/\(owners[0])/\(owners[1])/actions"
            default: "/repos/\(owners[0])/\(owners[1])/environments/\(FormBody.escape(owners[2]))"
            }
        return Place(
            base: base, name: name, isOrganization: owners.count == 1, text: "\(client.name), \(target.path)")
    }

    /// Organization, or owner and repository, and perhaps the environment, whose name may hold slashes.
    private static func parts(_ path: String) -> (owners: [String], name: String) {
        guard let sign = path.lastIndex(of: "#") else { return ([], "") }
        let owners = path[..<sign].split(separator: "/", maxSplits: 2, omittingEmptySubsequences: false)
        return (owners.map(String.init), String(path[path.index(after: sign)...]))
    }

    /// https://docs.github.com/actions/reference/security/secrets#naming-your-secrets
    @Sendable fileprivate static func problem(_ path: String) -> String? {
        let (owners, name) = parts(path)
        let capitals = "ABCDEFGHIJKLMNOPQRSTUVWXYZ_"
        guard let first = name.utf8.first, capitals.utf8.contains(first),
            name.utf8.allSatisfy({ (capitals + "0123456789").utf8.contains($0) })
        else {
            return
                "it is OWNER/REPOSITORY#NAME, OWNER/REPOSITORY/ENVIRONMENT#NAME or ORGANIZATION#NAME, with a name of "
                + "capital letters, digits and '_'"
        }
        guard !name.hasPrefix("GITHUB_"), name.utf8.count <= 200 else {
            return "GitHub keeps names with 'GITHUB_' for itself, and they are no longer than 200 here"
        }
        let allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._"
        guard
            owners.prefix(2).allSatisfy({ part in
                !part.isEmpty && part != "." && part != ".." && part.utf8.allSatisfy { allowed.utf8.contains($0) }
            })
        else { return "owners and repositories have names of letters, digits, '-', '_' and '.'" }
        guard owners.count == 3 else { return nil }
        if owners[2].utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) { return "it holds a control character" }
        let parts = owners[2].split(separator: "/", omittingEmptySubsequences: false)
        if parts.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." }) {
            return "the name of an environment has no empty, '.' and '..' parts"
        }
        return nil
    }
}

extension GitHubActionsSecretBackend {
    static let type = BackendType(description: description) { (_, parameters, services) throws(SystemError) in
        try GitHubActionsSecretBackend(parameters, services)
    }

    static let description = BackendDescription(
        type: "github-actions-secret",
        summary: "Secrets of GitHub Actions: of repositories, environments, organizations.",
        configuration: ParameterSchema([
            ParameterField("token", .secret, required: true, "Reference to a fine-grained personal access token."),
            ParameterField(
                "address", .url, default: .string("https://api.github.com"),
                "The REST interface; https://HOST/api/v3 for GitHub Enterprise Server."),
            ParameterField("timeout", .duration(1...300), default: .integer(30), "How long one request may take."),
            TLSSettings.caFile, TLSSettings.allowInsecure,
        ]),
        target: ParameterSchema([
            ParameterField(
                "visibility", .choice(["all", "private", "selected"]),
                "For which repositories an organization's secret is made; one that is there keeps its own."),
            ParameterField(
                "repositoryIds", .list(of: .integer(1...Int.max)),
                "The repositories of a secret that is made with `visibility: selected`, by their numbers."),
        ]),
        traits: BackendTraits(staging: .onPromote, readsBack: false, lists: false, destroys: false),
        checkPath: problem)
}
