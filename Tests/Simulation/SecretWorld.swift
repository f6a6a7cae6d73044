import KeyturnCore

/// One secret in the world: its policy, keys, places and consumers, and what must hold for it.
final class SecretWorld {
    let name: SecretName
    let kind: IssuerKind
    /// Seconds between two rotations.
    let every: Double
    let grace: Double
    let whenUnused: Double?
    var policy: Policy
    var keys = KeyStore()
    var places: [Place] = []
    var consumers: [Consumer] = []
    /// Uses by consumers that are gone.
    private var formerUse: [String: Double] = [:]
    /// Keys whose users have no claim to service any more.
    var tainted: Set<String> = []
    /// When a key stopped being served by the last place that served it.
    var replacedAt: [String: Double] = [:]
    var everServed: Set<String> = []
    var lastPromotion: Double?
    var lastVersion = 0
    /// Somebody asked for a rotation since the last promotion.
    var mayRotateEarly = false
    /// Something happened since the keys were last compared with the journal.
    var isTouched = false

    init(name: SecretName, kind: IssuerKind, every: Double, grace: Double, whenUnused: Double?, policy: Policy) {
        self.name = name
        self.kind = kind
        self.every = every
        self.grace = grace
        self.whenUnused = whenUnused
        self.policy = policy
    }

    /// The places that the policy names.
    var placesInUse: some Sequence<Place> {
        places.lazy.filter(uses)
    }

    func uses(_ place: Place) -> Bool { policy.backends.contains { $0.target.isSamePlace(as: place.target) } }

    func isServed(_ text: String) -> Bool { placesInUse.contains { $0.served == text } }

    /// A key that only a place served which has left the policy is replaced with that.
    func noteReplaced(at now: Double) {
        for place in places where !uses(place) {
            guard let text = place.served, replacedAt[text] == nil, !isServed(text) else { continue }
            replacedAt[text] = now
        }
    }

    func lastUse(of text: String, until now: Double) -> Double? {
        (consumers.compactMap { $0.lastUse(of: text, until: now) } + [formerUse[text]].compactMap { $0 }).max()
    }

    /// Ends the consumers of one place. What they used stays used.
    func removeConsumers(of target: BackendTarget, at now: Double) {
        for consumer in consumers where consumer.place.target.isSamePlace(as: target) {
            for key in keys.all {
                guard let used = consumer.lastUse(of: key.text, until: now) else { continue }
                formerUse[key.text] = max(used, formerUse[key.text] ?? used)
            }
        }
        consumers.removeAll { $0.place.target.isSamePlace(as: target) }
    }

    /// All consumers of one place read anew.
    func rereadAll(of place: Place, at now: Double) {
        for index in consumers.indices where consumers[index].place === place { consumers[index].first = now }
    }
}
