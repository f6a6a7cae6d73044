import Foundation
import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// Proves that a key works: reads an item of a cache with it, over the HTTP API of Momento's caches.
///
/// See https://docs.momentohq.com/cache/develop/api-reference/http-api: an item that is not there is as good an answer as
/// one that is.
struct MomentoCacheProbe: Sendable {
    /// What the policy says under `check`.
    struct Subject: Equatable {
        let cache: String
        let item: String
    }

    let services: SystemServices
    let tls: TLSSettings
    let timeout: Int

    static let usualItem = "keyturn-check"

    /// - Parameters:
    ///   - address: scheme, host and port of the HTTP API.
    ///   - key: what goes into the header `Authorization`.
    func check(_ subject: Subject, at address: String, with key: SecretValue) async throws(SystemError) -> KeyCheck {
        let cache = FormBody.escape(subject.cache)
        let item = FormBody.escape(subject.item)
        var request = HTTPRequest("GET", "\(address)/cache/\(cache)?key=\(item)", tls: tls)
        request.timeouts.total = .seconds(timeout)
        request.set("Authorization", key)
        let response: HTTPResponse
        do throws(HTTPError) { response = try await services.http.execute(request) } catch {
            throw SystemError(error, from: "Momento's caches")
        }
        switch response.status {
        case 200..<300: return .works
        case 404: return try Self.judgeMissing(response, subject.cache)
        // What a new key is answered while it spreads, and a dead one for good: the engine's patience decides.
        case 401: return .notYet("Momento does not accept the key")
        case 403:
            throw SystemError(
                .forbidden, "Momento accepts the key, which has no right to read cache '\(subject.cache)'",
                advice: "give it the right, or name a cache under `check` that it may read")
        default:
            throw SystemError(
                status: response.status, of: response, from: "Momento's caches", now: services.time.now())
        }
    }

    /// Only Momento's own words prove anything: a wrong address answers 404, too.
    private static func judgeMissing(_ response: HTTPResponse, _ cache: String) throws(SystemError) -> KeyCheck {
        let words = (response.body.exposedText() ?? "").lowercased().filter(\.isLetter)
        if words.contains("keynotfound") || words.contains("itemnotfound") { return .works }
        guard words.contains("cachenotfound") else {
            throw SystemError(.badAnswer, "what answers for Momento's caches knows neither the item nor the cache")
        }
        throw SystemError(
            .notFound, "Momento accepts the key, and there is no cache '\(cache)'",
            advice: "make the cache, or name another one under `check`")
    }
}

extension MomentoCacheProbe {
    static let field = ParameterField(
        "check",
        .object(
            ParameterSchema([
                ParameterField("cache", .string(), required: true, "A cache that the key may read."),
                ParameterField(
                    "item", .string(), "The item that is asked for, there or not; keyturn-check when absent."),
            ])), "What is read to prove that a key works.")

    static func subject(_ parameters: Parameters) -> Subject? {
        guard let check = parameters.map("check"), let cache = check.string("cache") else { return nil }
        return Subject(cache: cache, item: check.string("item") ?? usualItem)
    }
}
