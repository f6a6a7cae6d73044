package import Foundation
package import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// Access keys of AWS IAM users. Source: the IAM API reference, version 2010-05-08.
///
/// A user has two keys at most. Keyturn deletes only keys that it made or adopted. Keys carry no marks, so after a lost
/// answer the list from before the call tells which key is new.
package struct AWSIAMIssuer: DisablesKeys, ReportsLastUse, ListsKeys {
    package let traits: IssuerTraits = Self.description.traits

    private let iam: AWSQueryClient
    private let sts: AWSQueryClient
    private let source: AWSCredentialSource

    /// How long after the call a key that does not show up is still waited for, in seconds.
    private static let listingPatience = 15.0
    /// How far AWS's clock and ours may differ, in seconds.
    private static let skew = 300.0

    init(_ parameters: Parameters, _ services: SystemServices) throws(SystemError) {
        let region = parameters.string("region") ?? services.environment["AWS_REGION"] ?? "us-east-1"
        let tls = TLSSettings(parameters)
        let timeout = parameters.seconds("timeout") ?? 30
        let endpoint = parameters.string("endpoint") ?? services.environment["AWS_ENDPOINT_URL"]
        iam = AWSQueryClient(
            service: "iam", version: "2010-05-08", endpoint: endpoint ?? "https://iam.amazonaws.com/",
            region: "us-east-1", tls: tls, timeout: timeout, http: services.http, time: services.time)
        sts = AWSQueryClient(
            service: "sts", version: "2011-06-15",
            endpoint: parameters.string("stsEndpoint") ?? endpoint ?? "https://sts.\(region).amazonaws.com/",
            region: region, tls: tls, timeout: timeout, http: services.http, time: services.time)
        source = try AWSCredentialSource(
            parameters.map("credentials"), services.forAWS(region: region, tls: tls, timeout: timeout))
    }

    package func prepare(_ request: IssueRequest) async throws(SystemError) -> IssuePreparation {
        let existing = try await keys(for: request.parameters)
        guard existing.count < 2 else {
            let named = existing.map { key in
                request.knownKeyIDs.contains(key.keyID)
                    ? "\(key.keyID) (kept by Keyturn)" : "\(key.keyID) (not Keyturn's)"
            }
            throw SystemError(
                .limitExceeded,
                "user \(user(request.parameters)) already has two access keys: \(named.joined(separator: ", "))",
                advice: "delete one that is not used; Keyturn deletes only its own")
        }
        return IssuePreparation(notes: ["existing": existing.map(\.keyID).joined(separator: " ")])
    }

    package func issue(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssuedKey {
        let answer = try await call(iam, "CreateAccessKey", [("UserName", user(request.parameters))])
        guard let key = answer.at("CreateAccessKeyResult", "AccessKey"), let id = key.first("AccessKeyId")?.text,
            let secret = key.first("SecretAccessKey")?.text, !id.isEmpty, !secret.isEmpty
        else { throw SystemError(.badAnswer, "AWS iam answered without a key", mayHaveTakenEffect: true) }
        let issuedAt = key.first("CreateDate").flatMap { Self.date($0.text) } ?? request.intendedAt
        return IssuedKey(
            material: KeyMaterial(accessKeyID: id, secretAccessKey: secret), keyID: id, issuedAt: issuedAt,
            expiresAt: request.lifetime.map { issuedAt.addingTimeInterval(TimeInterval($0)) })
    }

    package func resolve(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssueResolution {
        let before = Set((prepared.notes["existing"] ?? "").split(separator: " ").map(String.init))
        let fresh = try await keys(for: request.parameters).filter { key in
            !before.contains(key.keyID) && !request.knownKeyIDs.contains(key.keyID)
        }
        guard let found = fresh.first else {
            return request.waited < Self.listingPatience ? .undecided(retryAfter: 5) : .neverMade
        }
        // A key made outside the time that our call can have taken is another's, whoever made it.
        let earliest = request.intendedAt.addingTimeInterval(-Self.skew)
        let latest = request.intendedAt.addingTimeInterval(Double(iam.timeout) + Self.skew)
        let ids = fresh.map(\.keyID).joined(separator: ", ")
        guard fresh.count == 1, let createdAt = found.createdAt, createdAt >= earliest, createdAt <= latest else {
            return .ambiguous("user \(user(request.parameters)) has keys that Keyturn does not know: \(ids)")
        }
        guard try await lastUse(of: found.keyID) == nil else {
            return .ambiguous("key \(found.keyID) appeared when one was asked for, and somebody uses it")
        }
        return .orphaned(keyIDs: [found.keyID])
    }

    package func check(_ key: KeyHandle) async throws(SystemError) -> KeyCheck {
        guard let id = key.material?.fields["accessKeyId"]?.exposedText(),
            let secret = key.material?.fields["secretAccessKey"]
        else { return .cannotTell }
        do {
            _ = try await sts.call(
                "GetCallerIdentity", [], as: AWSCredentials(accessKeyID: id, secretAccessKey: secret))
            return .works
        } catch let refusal as AWSQueryClient.Refusal {
            // What a new key is answered while it spreads, and a dead one for good: the engine's patience decides.
            if refusal.error.code == .unauthorized { return .notYet("AWS does not accept the key (\(refusal.code))") }
            // A key that is known and lacks a right is a key that works.
            if refusal.error.code == .forbidden, refusal.code == "AccessDenied" { return .works }
            throw refusal.error
        } catch let error as SystemError {
            throw error
        } catch { throw SystemError(.cancelled, "the check was cancelled") }
    }

    package func revoke(_ key: KeyHandle) async throws(SystemError) {
        guard let id = key.keyID else { throw SystemError(.local, "the access key's id is not known") }
        do throws(SystemError) {
            _ = try await call(iam, "DeleteAccessKey", [("UserName", user(key.parameters)), ("AccessKeyId", id)])
        } catch {
            guard error.code != .notFound else { return }
            throw error
        }
    }

    package func disable(_ key: KeyHandle) async throws(SystemError) { try await set(key, "Inactive") }
    package func enable(_ key: KeyHandle) async throws(SystemError) { try await set(key, "Active") }

    private func set(_ key: KeyHandle, _ status: String) async throws(SystemError) {
        guard let id = key.keyID else { throw SystemError(.local, "the access key's id is not known") }
        _ = try await call(
            iam, "UpdateAccessKey", [("UserName", user(key.parameters)), ("AccessKeyId", id), ("Status", status)])
    }

    package func lastUse(of key: KeyHandle) async throws(SystemError) -> Date? {
        guard let id = key.keyID else { return nil }
        return try await lastUse(of: id)
    }

    private func lastUse(of id: String) async throws(SystemError) -> Date? {
        let answer = try await call(iam, "GetAccessKeyLastUsed", [("AccessKeyId", id)])
        let text = answer.at("GetAccessKeyLastUsedResult", "AccessKeyLastUsed", "LastUsedDate")?.text
        return text.flatMap(Self.date)
    }

    package func keys(for parameters: Parameters) async throws(SystemError) -> [ListedKey] {
        var keys: [ListedKey] = []
        var marker: String?
        for _ in 0..<10 {
            let page = [("UserName", user(parameters))] + (marker.map { [("Marker", $0)] } ?? [])
            let answer = try await call(iam, "ListAccessKeys", page)
            guard let result = answer.first("ListAccessKeysResult"), let list = result.first("AccessKeyMetadata") else {
                throw SystemError(.badAnswer, "AWS iam answered without a list of keys")
            }
            keys += list.children.compactMap { member in
                member.first("AccessKeyId").map { id in
                    ListedKey(
                        keyID: id.text, createdAt: member.first("CreateDate").flatMap { Self.date($0.text) },
                        lineage: nil)
                }
            }
            guard result.first("IsTruncated")?.text == "true", let next = result.first("Marker")?.text else { break }
            marker = next
        }
        return keys
    }

    package func probe(_ parameters: Parameters) async throws(SystemError) { _ = try await keys(for: parameters) }

    private func user(_ parameters: Parameters) -> String { parameters.string("user") ?? "" }

    private func call(
        _ client: AWSQueryClient, _ action: String, _ parameters: [(String, String)]
    ) async throws(SystemError) -> XMLElement {
        let credentials = try await source.credentials()
        do { return try await client.call(action, parameters, as: credentials) } catch let error as SystemError {
            throw error
        } catch let refusal as AWSQueryClient.Refusal {
            throw refusal.error
        } catch { throw SystemError(.cancelled, "the call was cancelled") }
    }

    private static func date(_ text: String) -> Date? {
        (try? Date(text, strategy: .iso8601))
            ?? (try? Date(text, strategy: Date.ISO8601FormatStyle(includingFractionalSeconds: true)))
    }
}

extension AWSIAMIssuer {
    static let type = IssuerType(description: description) { (_, parameters, services) throws(SystemError) in
        try AWSIAMIssuer(parameters, services)
    }

    static let description = IssuerDescription(
        type: "aws-iam-access-key", summary: "Access keys of AWS IAM users; two at most for each user.",
        configuration: ParameterSchema([
            ParameterField("region", .string(), "Region whose STS checks keys; AWS_REGION when absent."),
            ParameterField("endpoint", .url, "Another IAM and STS server, for tests."),
            ParameterField("stsEndpoint", .url, "Another STS server, for tests."),
            ParameterField(
                "credentials", .object(AWSCredentialSource.schema),
                "Keyturn's own credential; environment and shared file when absent."),
            ParameterField("timeout", .duration(1...300), default: .integer(30), "How long one request may take."),
            TLSSettings.caFile, TLSSettings.allowInsecure,
        ]),
        issue: ParameterSchema([ParameterField("user", .string(), required: true, "The IAM user whose key it is.")]),
        traits: IssuerTraits(kind: .listable, keyLimit: 2, checks: true, disables: true, reportsLastUse: true),
        fields: ["accessKeyId", "secretAccessKey"]
    ) { _, issue, _ in
        let user = issue.string("user") ?? ""
        let isFine =
            user.utf8.count <= 128
            && user.utf8.allSatisfy { byte in
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+=,.@-".utf8.contains(byte)
            }
        return isFine
            ? [] : [ParameterProblem(path: ["user"], message: "a user's name holds letters, digits and _+=,.@- only")]
    }
}
