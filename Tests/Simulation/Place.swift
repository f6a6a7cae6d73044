import KeyturnCore

/// What a backend holds at one path, and what it gave to consumers when.
final class Place {
    let target: BackendTarget
    var versions: [Int: SecretValue] = [:]
    private(set) var current: Int?
    /// What a consumer gets.
    private(set) var served: String?
    /// The newest values served and since when, oldest first.
    private var history: [(since: Double, text: String)] = []

    /// More than a consumer can remember.
    private static let memory = 16

    init(_ target: BackendTarget) { self.target = target }

    func setCurrent(_ version: Int, at now: Double) {
        guard let text = versions[version]?.exposedText() else { return }
        current = version
        guard text != served else { return }
        served = text
        history.append((now, text))
        if history.count > Self.memory { history.removeFirst() }
    }

    /// What was served at a moment.
    func served(at moment: Double) -> String? { history.last { $0.since <= moment }?.text }

    /// The last moment up to `now` at which a consumer that reads at `first`, `first + period` and so on got `text`.
    func lastRead(of text: String, since first: Double, every period: Double, until now: Double) -> Double? {
        var end = now
        for (since, served) in history.reversed() {
            if served == text, end >= first {
                let read = first + ((end - first) / period).rounded(.down) * period
                if read >= since { return read }
            }
            end = since
        }
        return nil
    }
}

/// A reader that keeps what it read for almost as long as the grace. It reads at fixed moments; what it holds at any other
/// follows from what its place served then, so that reading takes no event of its own.
struct Consumer {
    let place: Place
    /// Its first read.
    var first: Double
    let period: Double

    func held(at now: Double) -> String? {
        guard now >= first else { return nil }
        return place.served(at: first + ((now - first) / period).rounded(.down) * period)
    }

    /// It uses what it holds until it reads again.
    func lastUse(of text: String, until now: Double) -> Double? {
        place.lastRead(of: text, since: first, every: period, until: now).map { min(now, $0 + period) }
    }
}
