import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// What both generations of Momento's keys need to speak to it, out of the configuration.
struct MomentoConnection: Sendable {
    let tls: TLSSettings
    /// Seconds that one request may take.
    let timeout: Int
    /// Shared by everything that asks one issuer.
    let pace: RequestPace
    let probe: MomentoCacheProbe
    private let caches: String?

    init(_ parameters: Parameters, _ services: SystemServices) {
        tls = TLSSettings(parameters)
        timeout = parameters.seconds("timeout") ?? 30
        pace = RequestPace(
            perSecond: parameters.integer("operationsPerSecond") ?? Self.usualPace, time: services.time)
        probe = MomentoCacheProbe(services: services, tls: tls, timeout: timeout)
        caches = parameters.string("cacheAddress").map(RequestAddress.base)
    }

    /// What an account may do, see https://docs.momentohq.com/auth/limits.
    private static let usualPace = 5

    /// The HTTP API of a cell's caches.
    func cacheAddress(of endpoint: String) -> String { caches ?? "https://api.cache.\(endpoint)" }

    /// The fields of keyturn.yaml that both share.
    static let fields: [ParameterField] = [
        ParameterField("cacheAddress", .url, "Another HTTP API of caches, for tests; that of the cell when absent."),
        ParameterField(
            "operationsPerSecond", .integer(1...1000), default: .integer(usualPace),
            "How many operations on keys may begin in a second, over all secrets of this issuer."),
        ParameterField("timeout", .duration(1...300), default: .integer(30), "How long one request may take."),
        TLSSettings.caFile, TLSSettings.allowInsecure,
    ]

    /// What a policy's lifetime says against it.
    static func problems(ofLifetime lifetime: Int64?) -> [ParameterProblem] {
        guard let lifetime, lifetime <= longestToken else { return [] }
        return [
            ParameterProblem(
                path: [],
                message:
                    "a lifetime of \(lifetime / 3600)h is that of a token: Momento's disposable tokens live for 25h at most, are made where they are used and end by themselves, while each rotation of a key takes operations of which the account has few",
                isWarning: true)
        ]
    }

    /// In seconds.
    private static let longestToken: Int64 = 25 * 3600

    /// The sentence for a policy under which nothing shows that a key works.
    static let unproven = ParameterProblem(
        path: [],
        message: "nothing proves that a new key works: name a cache that it may read, as `check: {cache: NAME}`",
        isWarning: true)
}
