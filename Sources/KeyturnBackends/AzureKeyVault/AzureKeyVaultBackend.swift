import Foundation
package import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// Secrets of Azure Key Vault. The newest version is what readers get, also when it is disabled, so that writing is
/// promoting, and a version that is over is disabled only when a newer one is there.
///
/// There is no compare-and-swap: what is there is read and compared before a write, and the list of versions is looked
/// through after it. Each version carries tags that say which write it comes from. See
/// https://learn.microsoft.com/azure/key-vault/secrets/about-secrets
package struct AzureKeyVaultBackend: Backend {
    package let traits: BackendTraits = Self.description.traits

    private let client: KeyVaultClient

    /// The largest value that the service takes, in bytes.
    private static let largestValue = 25_600
    /// The most tags of a version, and the longest value of one.
    private static let mostTags = 15
    private static let longestTag = 256
    /// More versions than this are not looked through: backups fail from 500 on.
    private static let mostPages = 100

    init(_ parameters: Parameters, _ services: SystemServices) throws(SystemError) {
        client = try KeyVaultClient(parameters, services)
    }

    private typealias Bundle = KeyVaultWire.Bundle

    /// What is newest.
    private enum Newest {
        case nothing
        case readable(Bundle)
        /// Nobody can read it; no older version is given out in its place.
        case disabled

        var bundle: Bundle? { if case .readable(let bundle) = self { bundle } else { nil } }
    }

    package func stage(
        _ write: VersionWrite, at target: BackendTarget
    ) async throws(SystemError) -> StageResult {
        .deferred("Key Vault shows the newest write at once; promoting writes it")
    }

    package func promote(_ write: VersionWrite, at target: BackendTarget) async throws(SystemError) -> Receipt {
        let present = try await newest(target)
        if present.bundle?.managed == true {
            throw SystemError(
                .conflict, "\(place(target)) is kept by the vault for a certificate", advice: "name another path")
        }
        if case .disabled = present { try await judgeDisabled(write, target) }
        let finding = try PromoteGuard.judge(
            present.bundle?.value.map { SecretValue(utf8: $0) }, for: write, at: place(target))
        if case .done = finding, let bundle = present.bundle {
            try await mark(bundle, write, target)
            return ["versionId": bundle.version]
        }
        let written = try await put(write, over: present.bundle, target)
        try await confirmAlone(written, over: present, write, target)
        return ["versionId": written]
    }

    /// A newest version that nobody can read may be replaced when it is the one that the write replaces.
    private func judgeDisabled(_ write: VersionWrite, _ target: BackendTarget) async throws(SystemError) {
        guard !write.mayOverwrite else { return }
        let latest = try await versions(target).last
        let marked = latest.flatMap { Mark($0.tags) }
        let isOurs =
            marked?.instance == write.instance && marked?.secret == write.secret.text
            && (marked?.version == write.replaces?.version || marked?.version == write.version)
        guard isOurs else {
            throw SystemError(
                .conflict, "\(place(target)) has a newest version that is disabled and that Keyturn did not write",
                advice: "enable it, or let Keyturn replace it with `overwrite: true` at the backend in the policy")
        }
    }

    private func put(
        _ write: VersionWrite, over present: Bundle?, _ target: BackendTarget
    ) async throws(SystemError) -> String {
        guard let text = write.value.exposedText() else {
            throw SystemError(.misconfigured, "the value is not UTF-8", advice: "use {{value|base64}} in a template")
        }
        guard write.value.count <= Self.largestValue else {
            throw SystemError(
                .misconfigured, "the value for \(place(target)) is longer than \(Self.largestValue) bytes",
                advice: "Key Vault takes no longer ones; make it shorter, or use another backend")
        }
        let body = KeyVaultWire.Write(
            value: text, tags: try tags(write, beside: present?.tags ?? [:], target),
            contentType: target.parameters.string("contentType") ?? present?.contentType,
            attributes: KeyVaultWire.Attributes(
                enabled: true, exp: write.expiresAt.map { Int64($0.timeIntervalSince1970) }))
        let answer = try await call("PUT", "/secrets/\(target.path)", body: try JSONBody.encode(body))
        guard let bundle = answer.decodeJSON(Bundle.self), !bundle.version.isEmpty else {
            throw SystemError(
                .badAnswer, "\(client.name): the write was not answered as it should be", mayHaveTakenEffect: true)
        }
        return bundle.version
    }

    /// Looks whether somebody else wrote between the look and the write: what they wrote is hidden by ours.
    private func confirmAlone(
        _ written: String, over present: Newest, _ write: VersionWrite, _ target: BackendTarget
    ) async throws(SystemError) {
        guard !write.mayOverwrite else { return }
        let since: Int64
        switch present {
        case .nothing: since = .min
        case .readable(let bundle): since = bundle.attributes?.created ?? 0
        case .disabled: return
        }
        let strangers = try await versions(target).filter { version in
            guard version.version != written, version.version != present.bundle?.version, version.isEnabled,
                (version.attributes?.created ?? 0) > since
            else { return false }
            // A repetition of our own write is no stranger.
            let mark = Mark(version.tags)
            return mark?.instance != write.instance || mark?.version != write.version
                || mark?.secret != write.secret.text
        }
        guard let stranger = strangers.last else { return }
        throw SystemError(
            .conflict,
            "\(place(target)): somebody else wrote version \(stranger.version) at the same moment, and ours hides it",
            advice: "see who writes there; `keyturn resume` goes on with Keyturn's value")
    }

    package func read(
        _ selection: StoredSelection, at target: BackendTarget
    ) async throws(SystemError) -> StoredValue? {
        switch selection {
        case .current: return try await newest(target).bundle.flatMap(stored)
        case .version(let reference):
            guard let id = reference.receipt["versionId"] else { return nil }
            return try await bundle("/secrets/\(target.path)/\(id)").bundle.flatMap(stored)
        }
    }

    private func stored(_ bundle: Bundle) -> StoredValue? {
        bundle.value.map {
            StoredValue(value: SecretValue(utf8: $0), version: nil, receipt: ["versionId": bundle.version])
        }
    }

    package func mark(
        of secret: SecretName, instance: String, at target: BackendTarget
    ) async throws(SystemError) -> WriteMark? {
        let latest: Bundle?
        switch try await newest(target) {
        case .nothing: latest = nil
        case .readable(let bundle): latest = bundle
        case .disabled: latest = try await versions(target).last
        }
        guard let mark = latest.flatMap({ Mark($0.tags) }), mark.secret == secret.text else { return nil }
        return WriteMark(instance: mark.instance, generation: mark.generation, version: mark.version)
    }

    package func unstage(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {}

    /// Disables every version that was written for this one, but never the newest: there is no way to delete one.
    package func prune(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {
        guard let written = version.receipt["versionId"] else { return }
        let newest = try await newest(target).bundle?.version
        let all = try await versions(target)
        guard let instance = all.first(where: { $0.version == written }).flatMap({ Mark($0.tags) })?.instance else {
            return
        }
        for old in all where old.isEnabled && old.version != newest && old.version != all.last?.version {
            let mark = Mark(old.tags)
            guard mark?.instance == instance, mark?.secret == version.secret.text, mark?.version == version.version
            else { continue }
            let change = KeyVaultWire.Change(attributes: KeyVaultWire.Attributes(enabled: false))
            do throws(SystemError) {
                _ = try await call("PATCH", "/secrets/\(target.path)/\(old.version)", body: try JSONBody.encode(change))
            } catch {
                guard error.code != .notFound else { continue }
                throw error
            }
        }
    }

    package func list(at target: BackendTarget) async throws(SystemError) -> [ListedVersion] {
        let current = try await newest(target).bundle?.version
        return try await versions(target).filter(\.isEnabled).map { version in
            ListedVersion(
                identifier: version.version, version: Mark(version.tags)?.version,
                isCurrent: version.version == current, receipt: ["versionId": version.version])
        }
    }

    package func probe(_ target: BackendTarget) async throws(SystemError) {
        _ = try await versions(target)
        guard case .nothing = try await newest(target) else { return }
        // A name in the recycle bin looks like one that is free until it is written to.
        do throws(SystemError) { _ = try await call("GET", "/deletedsecrets/\(target.path)") } catch {
            // There is none, or we may not see it.
            guard error.code != .notFound, error.code != .forbidden else { return }
            throw error
        }
        throw SystemError(
            .conflict, "\(client.name): a secret named '\(target.path)' lies in the recycle bin",
            advice:
                "`az keyvault secret recover` brings it back, `az keyvault secret purge` ends it; or name another path")
    }

    // MARK: Marks

    /// What the tags of a version say of the write that it comes from.
    private struct Mark {
        let secret: String
        let instance: String
        let generation: Int?
        let version: Int

        init?(_ tags: [String: String]?) {
            guard let tags, let secret = tags["keyturn-secret"], let instance = tags["keyturn-instance"],
                let version = tags["keyturn-version"].flatMap(Int.init)
            else { return nil }
            self.secret = secret
            self.instance = instance
            self.version = version
            generation = tags["keyturn-generation"].flatMap(Int.init)
        }
    }

    /// Our tags, with those that others gave to the version before: tags belong to a version, and would be lost.
    private func tags(
        _ write: VersionWrite, beside present: [String: String], _ target: BackendTarget
    ) throws(SystemError) -> [String: String] {
        let ours = [
            "keyturn-secret": write.secret.text, "keyturn-version": String(write.version),
            "keyturn-instance": write.instance, "keyturn-generation": String(write.generation),
        ]
        let all = present.merging(ours) { _, own in own }
        guard all.count <= Self.mostTags else {
            throw SystemError(
                .limitExceeded, "\(place(target)) has too many tags for Keyturn's four, 15 being the most",
                advice: "remove some of them")
        }
        return all
    }

    /// Tags a version that holds our value and does not say so: somebody else wrote the same.
    private func mark(_ bundle: Bundle, _ write: VersionWrite, _ target: BackendTarget) async throws(SystemError) {
        let known = bundle.tags ?? [:]
        let wanted = try tags(write, beside: known, target)
        guard wanted != known else { return }
        _ = try await call(
            "PATCH", "/secrets/\(target.path)/\(bundle.version)",
            body: try JSONBody.encode(KeyVaultWire.Change(tags: wanted)))
    }

    // MARK: Calls

    private func newest(_ target: BackendTarget) async throws(SystemError) -> Newest {
        try await bundle("/secrets/\(target.path)/")
    }

    private func bundle(_ path: String) async throws(SystemError) -> Newest {
        do {
            guard let bundle = try await client.call("GET", path).decodeJSON(Bundle.self) else {
                throw SystemError(.badAnswer, "\(client.name): the answer is not what a vault answers")
            }
            return .readable(bundle)
        } catch let refusal as KeyVaultClient.Refusal {
            if refusal.error.code == .notFound { return .nothing }
            if refusal.codes.contains("SecretDisabled") { return .disabled }
            throw refusal.error
        } catch { throw Self.plain(error) }
    }

    /// All versions, the oldest first: the service gives them in no order.
    private func versions(_ target: BackendTarget) async throws(SystemError) -> [Bundle] {
        var found: [Bundle] = []
        var links: Set<String> = []
        do {
            var answer = try await client.call("GET", "/secrets/\(target.path)/versions", "maxresults=25")
            while true {
                guard let page = answer.decodeJSON(KeyVaultWire.Page.self) else {
                    throw SystemError(.badAnswer, "\(client.name): the list is not what a vault answers")
                }
                found += page.value ?? []
                guard let link = page.nextLink, !link.isEmpty else { break }
                guard links.insert(link).inserted, links.count < Self.mostPages else {
                    throw SystemError(.badAnswer, "\(client.name): the list of versions does not end")
                }
                answer = try await client.next(link)
            }
        } catch let refusal as KeyVaultClient.Refusal {
            guard refusal.error.code != .notFound else { return [] }
            throw refusal.error
        } catch { throw Self.plain(error) }
        // Seconds are all that the service tells; within one ours are in the order of their numbers.
        return found.map { (bundle: $0, created: $0.attributes?.created ?? 0, number: Mark($0.tags)?.version ?? 0) }
            .sorted { ($0.created, $0.number, $0.bundle.version) < ($1.created, $1.number, $1.bundle.version) }
            .map(\.bundle)
    }

    private func call(
        _ method: String, _ path: String, body: SecretValue? = nil
    ) async throws(SystemError) -> HTTPResponse {
        do { return try await client.call(method, path, body: body) } catch let refusal as KeyVaultClient.Refusal {
            throw refusal.error
        } catch { throw Self.plain(error) }
    }

    private static func plain(_ error: any Error) -> SystemError {
        error as? SystemError ?? SystemError(.cancelled, "the call was cancelled")
    }

    private func place(_ target: BackendTarget) -> String { "\(client.name), \(target.path)" }
}

extension AzureKeyVaultBackend {
    static let type = BackendType(description: description) { (_, parameters, services) throws(SystemError) in
        try AzureKeyVaultBackend(parameters, services)
    }

    static let description = BackendDescription(
        type: "azure-key-vault", summary: "Secrets of Azure Key Vault.",
        configuration: ParameterSchema([
            ParameterField("vault", .url, required: true, "The vault, such as https://payments.vault.azure.net."),
            ParameterField("auth", .object(AzureLogin.schema), "How to log in; as the environment says when absent."),
            ParameterField(
                "resource", .string(),
                "What tokens are asked for, such as https://vault.azure.net; the vault names it when absent."),
            ParameterField("apiVersion", .string(), default: .string("7.4"), "The interface that is spoken."),
            ParameterField("timeout", .duration(1...300), default: .integer(30), "How long one request may take."),
            TLSSettings.caFile, TLSSettings.allowInsecure,
        ]),
        target: ParameterSchema([
            ParameterField(
                "contentType", .string(),
                "What the value is, in the vault's words; that of the version before if absent.")
        ]),
        traits: BackendTraits(staging: .onPromote, readsBack: true, lists: true, destroys: false)
    ) { path in
        let allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-"
        guard (1...127).contains(path.utf8.count), path.utf8.allSatisfy({ allowed.utf8.contains($0) }) else {
            let proposal = String(path.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" }.prefix(127))
            return "Key Vault allows letters, digits and '-' only, 127 at most; give it a path such as '\(proposal)'"
        }
        return nil
    }
}
