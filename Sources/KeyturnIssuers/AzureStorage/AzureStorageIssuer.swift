import Foundation
package import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// Access keys of Azure storage accounts. An account has two of them, `key1` and `key2`, which Keyturn turns over in
/// turn: making a key overwrites the one that nobody uses, and revoking one overwrites it, too.
///
/// The key in use is known by its value and never overwritten, whatever the state says. Sources:
/// https://learn.microsoft.com/azure/storage/common/storage-account-keys-manage and the REST reference of the storage
/// resource provider.
package struct AzureStorageIssuer: Issuer {
    package let traits: IssuerTraits = Self.description.traits

    private let management: String
    private let apiVersion: String
    private let endpointSuffix: String
    private let client: BearerClient
    private let tls: TLSSettings
    private let timeout: Int
    private let http: HTTPClient
    private let time: any Timekeeper

    private static let name = "Azure Resource Manager"

    init(_ parameters: Parameters, _ services: SystemServices) throws(SystemError) {
        management = RequestAddress.base(parameters.string("management") ?? "https://management.azure.com")
        apiVersion = parameters.string("apiVersion") ?? "2023-05-01"
        endpointSuffix = parameters.string("endpointSuffix") ?? "core.windows.net"
        tls = TLSSettings(parameters)
        timeout = parameters.seconds("timeout") ?? 30
        http = services.http
        time = services.time
        let login = try AzureLogin(
            parameters.map("auth"), environment: services.environment, secrets: services.secrets, http: services.http,
            tls: tls, timeout: timeout, time: services.time)
        client = BearerClient(
            tokens: login.tokens(for: parameters.string("resource") ?? management), http: services.http,
            system: Self.name)
    }

    package func prepare(_ request: IssueRequest) async throws(SystemError) -> IssuePreparation {
        let keys = try await keys(request.parameters)
        guard let current = request.current else {
            guard let slot = request.parameters.string("firstKey") else {
                throw SystemError(
                    .misconfigured,
                    "nobody knows which key of \(account(request.parameters)) is in use, and making one overwrites one",
                    advice:
                        "name the one that nobody uses with `firstKey`; or, before the first rotation, take over the "
                        + "one in use with `keyturn adopt`")
            }
            return IssuePreparation(notes: ["slot": slot])
        }
        guard let value = current.material?.value else {
            throw SystemError(.local, "the current key can't be opened, so that nobody knows which one is in use")
        }
        guard let used = keys.first(where: { $0.value.matches(value) }) else {
            throw SystemError(
                .conflict,
                "neither key of \(account(request.parameters)) is the one that is current: somebody made a new one",
                advice: "give the secret another name in the policy, and take over the key in use with `keyturn adopt`")
        }
        guard let idle = keys.first(where: { $0.slot != used.slot }) else {
            throw SystemError(.badAnswer, "\(Self.name) lists one key only")
        }
        return IssuePreparation(notes: ["slot": idle.slot])
    }

    package func issue(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssuedKey {
        guard let slot = prepared.notes["slot"], StorageKey.slots.contains(slot) else {
            throw SystemError(.local, "no key of the account was chosen")
        }
        if let current = request.current {
            // Looked at once more: between then and now may lie a crash, a rollback, or somebody's hand.
            let held = try await keys(request.parameters).first { $0.slot == slot }
            guard let value = current.material?.value, let held, !held.value.matches(value) else {
                throw SystemError(
                    .conflict, "\(slot) of \(account(request.parameters)) is in use and is not overwritten",
                    advice: "see who changed the account's keys")
            }
        }
        let made = try await regenerate(slot, request.parameters)
        let issuedAt = made.createdAt.flatMap(RFC3339.parse) ?? request.intendedAt
        return IssuedKey(
            material: KeyMaterial(
                value: made.value, fields: ["accountName": SecretValue(utf8: account(request.parameters))]),
            keyID: made.id, issuedAt: issuedAt,
            expiresAt: request.lifetime.map { issuedAt.addingTimeInterval(TimeInterval($0)) })
    }

    /// Overwriting the idle key once more harms nobody.
    package func resolve(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssueResolution { .neverMade }

    /// Reads the properties of the account's blob service with the key.
    package func check(_ key: KeyHandle) async throws(SystemError) -> KeyCheck {
        let account = account(key.parameters)
        guard let value = key.material?.value else { return .cannotTell }
        guard let signer = StorageSharedKey(account: account, key: value) else {
            return .refused("the key is not one of Azure's: it is not base64")
        }
        let endpoint = RequestAddress.base(
            key.parameters.string("blobEndpoint") ?? "https://\(account).blob.\(endpointSuffix)")
        var request = HTTPRequest("GET", "\(endpoint)/?restype=service&comp=properties", tls: tls)
        request.timeouts.total = .seconds(timeout)
        request.set("x-ms-version", "2021-08-06")
        let system = "the blob service of \(account)"
        let response: HTTPResponse
        do throws(HTTPError) { response = try await http.execute(signer.sign(request, at: time.now())) } catch {
            throw SystemError(error, from: system)
        }
        if response.isSuccess { return .works }
        guard response.status == 403 else {
            throw SystemError(status: response.status, of: response, from: system, now: time.now())
        }
        switch response.headers.first("x-ms-error-code") {
        // What a new key is answered while it spreads, and a dead one for good: the engine's patience decides.
        case "AuthenticationFailed": return .notYet("\(system) does not accept the key")
        case "KeyBasedAuthenticationNotPermitted":
            throw SystemError(
                .forbidden, "\(system) accepts no keys at all",
                advice: "allow shared key access on the account, or stop using its keys")
        case "AuthorizationFailure":
            throw SystemError(
                .forbidden, "\(system) does not let this machine in",
                advice: "add its address or network to the account's network rules, or name a `blobEndpoint`")
        default: throw SystemError(status: response.status, of: response, from: system, now: time.now())
        }
    }

    /// Overwrites the slot, if it is this key that it holds.
    package func revoke(_ key: KeyHandle) async throws(SystemError) {
        let keys = try await keys(key.parameters)
        let held: StorageKey?
        if let value = key.material?.value {
            held = keys.first { $0.value.matches(value) }
        } else if let id = key.keyID, id.contains("@") {
            held = keys.first { $0.id == id }
        } else {
            throw SystemError(
                .local, "nobody knows any more which key of \(account(key.parameters)) is meant",
                advice: "see whether the old one is still there, and make a new one in its place by hand")
        }
        guard let held else { return }
        _ = try await regenerate(held.slot, key.parameters)
    }

    package func probe(_ parameters: Parameters) async throws(SystemError) { _ = try await keys(parameters) }

    private func account(_ parameters: Parameters) -> String { parameters.string("account") ?? "" }

    private func keys(_ parameters: Parameters) async throws(SystemError) -> [StorageKey] {
        try keys(in: try await call("listKeys", parameters, body: nil))
    }

    private func regenerate(_ slot: String, _ parameters: Parameters) async throws(SystemError) -> StorageKey {
        let body = try JSONBody.encode(StorageWire.Regenerate(keyName: slot))
        let response = try await call("regenerateKey", parameters, body: body)
        let made: StorageKey?
        do throws(SystemError) { made = try keys(in: response).first { $0.slot == slot } } catch {
            throw SystemError(error.code, error.message, mayHaveTakenEffect: true)
        }
        guard let made else {
            throw SystemError(.badAnswer, "\(Self.name) answered without the new key", mayHaveTakenEffect: true)
        }
        return made
    }

    private func keys(in response: HTTPResponse) throws(SystemError) -> [StorageKey] {
        guard let answer = response.decodeJSON(StorageWire.Keys.self) else {
            throw SystemError(.badAnswer, "\(Self.name) answered without a list of keys")
        }
        // The account may have keys for Kerberos besides.
        return answer.keys.filter { StorageKey.slots.contains($0.keyName) && !$0.value.isEmpty }
            .map { StorageKey(slot: $0.keyName, value: SecretValue(utf8: $0.value), createdAt: $0.creationTime) }
    }

    private func call(
        _ operation: String, _ parameters: Parameters, body: SecretValue?
    ) async throws(SystemError) -> HTTPResponse {
        let path = [
            "subscriptions", parameters.string("subscription") ?? "", "resourceGroups",
            parameters.string("resourceGroup") ?? "", "providers", "Microsoft.Storage", "storageAccounts",
            account(parameters), operation,
        ].map(FormBody.escape).joined(separator: "/")
        var request = HTTPRequest("POST", "\(management)/\(path)?api-version=\(apiVersion)", body: body, tls: tls)
        request.timeouts.total = .seconds(timeout)
        request.mayRepeat = operation == "listKeys"
        request.set("Content-Type", "application/json")
        let response = try await client.send(request)
        guard response.isSuccess else { throw refusal(response) }
        return response
    }

    private func refusal(_ response: HTTPResponse) -> SystemError {
        let general = SystemError(status: response.status, of: response, from: Self.name, now: time.now())
        let code = response.decodeJSON(StorageWire.Refusal.self)?.error?.code ?? ""
        func told(_ kind: SystemError.Code, _ words: String, _ advice: String, passes: Bool = false) -> SystemError {
            SystemError(
                kind, "\(Self.name): \(words) (HTTP \(response.status))", advice: advice,
                disposition: passes ? .passing : nil, retryAfter: general.retryAfter)
        }
        switch code {
        case "AuthorizationFailed":
            return told(
                .forbidden, "the call is denied",
                "give Keyturn's identity the role in deploy/rights; new ones take some minutes")
        case "ResourceNotFound", "ResourceGroupNotFound", "SubscriptionNotFound":
            return told(
                .notFound, "there is no such storage account", "check `subscription`, `resourceGroup` and `account`")
        case "ScopeLocked":
            return told(.conflict, "a lock is on the account", "remove the lock; it forbids to read and make keys")
        case "StorageAccountOperationInProgress", "AnotherOperationInProgress":
            return told(.conflict, "another change of the account is under way", "wait for it", passes: true)
        case "InvalidAuthenticationTokenTenant":
            return told(.unauthorized, "the subscription belongs to another tenant", "check `tenantId`")
        default: return general
        }
    }
}

extension AzureStorageIssuer {
    static let type = IssuerType(description: description) { (_, parameters, services) throws(SystemError) in
        try AzureStorageIssuer(parameters, services)
    }

    static let description = IssuerDescription(
        type: "azure-storage-key", summary: "Access keys of Azure storage accounts, key1 and key2 in turn.",
        configuration: ParameterSchema([
            ParameterField("auth", .object(AzureLogin.schema), "How to log in; as the environment says when absent."),
            ParameterField(
                "management", .url,
                "Azure Resource Manager of another cloud; https://management.azure.com when absent."),
            ParameterField("resource", .string(), "What tokens are asked for; `management` when absent."),
            ParameterField(
                "endpointSuffix", .string(), default: .string("core.windows.net"),
                "The end of the names of blob services in this cloud."),
            ParameterField("apiVersion", .string(), default: .string("2023-05-01"), "The interface that is spoken."),
            ParameterField("timeout", .duration(1...300), default: .integer(30), "How long one request may take."),
            TLSSettings.caFile, TLSSettings.allowInsecure,
        ]),
        issue: ParameterSchema([
            ParameterField("subscription", .string(), required: true, "The subscription's id."),
            ParameterField("resourceGroup", .string(), required: true, "The resource group."),
            ParameterField("account", .string(), required: true, "The storage account."),
            ParameterField(
                "firstKey", .choice(StorageKey.slots),
                "The key that nobody uses, to be overwritten first where Keyturn knows of none in use."),
            ParameterField(
                "blobEndpoint", .url, "Where keys are tried; https://ACCOUNT.blob.core.windows.net when absent."),
        ]), traits: IssuerTraits(kind: .slots, keyLimit: 2, checks: true), fields: ["accountName"]
    ) { _, issue, _ in
        var problems: [ParameterProblem] = []
        let account = issue.string("account") ?? ""
        let allowed = "abcdefghijklmnopqrstuvwxyz0123456789"
        if !(3...24).contains(account.utf8.count) || !account.utf8.allSatisfy({ allowed.utf8.contains($0) }) {
            problems.append(
                ParameterProblem(
                    path: ["account"],
                    message: "a storage account's name holds 3 to 24 lower-case letters and digits"))
        }
        if UUID(uuidString: issue.string("subscription") ?? "") == nil {
            problems.append(
                ParameterProblem(
                    path: ["subscription"],
                    message: "a subscription's id looks like 00000000-0000-0000-0000-000000000000"))
        }
        return problems
    }
}
