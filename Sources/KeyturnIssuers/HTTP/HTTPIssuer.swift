import Foundation
package import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// Keys of any interface that speaks JSON over HTTP, as its user describes it in the issuer's configuration. The article
/// <doc:HTTPIssuer> has the words.
package struct HTTPIssuer: ListsKeys {
    package let traits: IssuerTraits
    private let interface: DescribedInterface
    private let create: RequestTemplate
    private let answer: AnswerPlaces
    private let list: RequestTemplate?
    private let listing: ListPlaces?
    private let checking: RequestTemplate?
    private let accepted: [Int]?
    private let revoking: RequestTemplate?
    private let listingDelay: Double

    init(_ parameters: Parameters, _ services: SystemServices) throws(SystemError) {
        let common = parameters.map("headers") ?? [:]
        do throws(InvalidTemplate) {
            create = try RequestTemplate(parameters.map("create") ?? [:], headers: common)
            list = try parameters.map("list").map { (part) throws(InvalidTemplate) in
                try RequestTemplate(part, headers: common)
            }
            // The key shows itself who it is.
            checking = try parameters.map("check").map { (part) throws(InvalidTemplate) in try RequestTemplate(part) }
            revoking = try parameters.map("revoke").map { (part) throws(InvalidTemplate) in
                try RequestTemplate(part, headers: common)
            }
        } catch { throw SystemError(.misconfigured, "a request: \(error.reason)") }
        interface = DescribedInterface(parameters, services)
        answer = AnswerPlaces(parameters.map("answer") ?? [:])
        listing = parameters.map("list").map(ListPlaces.init)
        accepted = parameters.map("check")?.list("works")?.compactMap {
            if case .integer(let status) = $0 { status } else { nil }
        }
        listingDelay = Double(parameters.seconds("listingDelay") ?? 60)
        traits = IssuerTraits(
            kind: list == nil ? .unlistable : .listable, keyLimit: parameters.integer("keyLimit"),
            checks: checking != nil, revokes: revoking != nil)
    }

    package func prepare(_ request: IssueRequest) async throws(SystemError) -> IssuePreparation { IssuePreparation() }

    package func issue(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssuedKey {
        var words = words(of: request.parameters, request.lineage.secret, request.lineage.version)
        words["lineage"] = RequestWord(request.lineage.description)
        if let lifetime = request.lifetime {
            words["lifetimeSeconds"] = .plain(.integer(Int(lifetime)))
            words["expiresAt"] = RequestWord(
                request.intendedAt.addingTimeInterval(Double(lifetime)).formatted(.iso8601))
        }
        let response = try await interface.send(create, words, mayRepeat: false)
        guard let key = answer.key(in: response, of: request) else {
            throw SystemError(
                .badAnswer, "the interface answered without what `answer` names", advice: "check the pointers there",
                mayHaveTakenEffect: true)
        }
        return key
    }

    package func resolve(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssueResolution {
        guard list != nil else {
            return .unknowable(
                diesAt: request.lifetime.map { request.intendedAt.addingTimeInterval(TimeInterval($0) + 300) })
        }
        let ours = try await keys(for: request.parameters).filter { $0.lineage == request.lineage }
        guard ours.isEmpty else { return .orphaned(keyIDs: ours.map(\.keyID)) }
        let left = listingDelay - request.waited
        return left > 0 ? .undecided(retryAfter: min(5, left)) : .neverMade
    }

    package func check(_ key: KeyHandle) async throws(SystemError) -> KeyCheck {
        guard let checking, let material = key.material else { return .cannotTell }
        var words = words(of: key)
        for (name, value) in material.fields { words[name] = .text(value) }
        let response = try await interface.exchange(checking, words, mayRepeat: true)
        if accepted?.contains(response.status) ?? response.isSuccess { return .works }
        // A key that is new may not be known everywhere yet.
        if response.status == 401 || response.status == 403 {
            return .notYet("the interface answered the key with HTTP \(response.status)")
        }
        throw interface.refusal(response)
    }

    package func revoke(_ key: KeyHandle) async throws(SystemError) {
        guard let revoking else { return }
        do throws(SystemError) { _ = try await interface.send(revoking, words(of: key), mayRepeat: true) } catch {
            guard error.code != .notFound else { return }
            throw error
        }
    }

    package func keys(for parameters: Parameters) async throws(SystemError) -> [ListedKey] {
        guard let list, let listing else { return [] }
        var found: [ListedKey] = []
        var words = words(of: parameters, nil, nil)
        for _ in 0..<Self.maximumPages {
            let response = try await interface.send(list, words, mayRepeat: true)
            guard let document = response.decodeJSON(JSONValue.self), let keys = listing.keys(in: document) else {
                throw SystemError(
                    .badAnswer, "the interface answered without the list that `list` names",
                    advice: "check the pointers there")
            }
            found += keys
            guard let next = listing.next(in: document) else { return found }
            words["page"] = RequestWord(next)
        }
        throw SystemError(.badAnswer, "the interface's list has no end")
    }

    package func probe(_ parameters: Parameters) async throws(SystemError) { _ = try await keys(for: parameters) }

    // MARK: - Requests

    private static let maximumPages = 1000

    private func words(of parameters: Parameters, _ secret: SecretName?, _ version: Int?) -> [String: RequestWord] {
        var words = (parameters.map("parameters") ?? [:]).mapValues(RequestWord.plain)
        if let secret { words["secret"] = RequestWord(secret.text) }
        if let version { words["version"] = .plain(.integer(version)) }
        return words
    }

    private func words(of key: KeyHandle) -> [String: RequestWord] {
        var words = words(of: key.parameters, key.secret, key.version)
        if let id = key.keyID { words["keyId"] = RequestWord(id) }
        return words
    }
}
