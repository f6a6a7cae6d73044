import Foundation
import KeyturnHTTP
import Synchronization

/// How far the clocks of other machines are from ours, by the `Date` of their answers.
final class ClockSamples: Sendable {
    private let hosts = Mutex<[String: TimeInterval]>([:])

    /// Beyond these the clock is worth a look, and wrong, in seconds.
    private static let noticed = 5.0
    private static let wrong = 300.0

    func add(_ request: HTTPRequest, _ response: HTTPResponse) {
        guard let host = URL(string: request.url)?.host(), let text = response.headers.first("date"),
            let date = HTTPDate.parse(text)
        else { return }
        // A date is cut to the second: half of one is the least error.
        add(host, date.addingTimeInterval(0.5).timeIntervalSince(Date()))
    }

    /// A slow answer seems to be of the past, so that the smallest difference of a host counts.
    func add(_ host: String, _ skew: TimeInterval) {
        hosts.withLock { hosts in
            guard let known = hosts[host], abs(known) <= abs(skew) else {
                hosts[host] = skew
                return
            }
        }
    }

    /// By host; positive where the other clock is ahead of ours.
    var skews: [(host: String, seconds: TimeInterval)] {
        hosts.withLock { hosts in hosts.sorted { $0.key < $1.key }.map { ($0.key, $0.value) } }
    }

    static func finding(_ host: String, _ seconds: TimeInterval) -> DoctorFinding? {
        guard abs(seconds) > noticed else { return nil }
        let side = seconds < 0 ? "ahead of" : "behind"
        return DoctorFinding(
            .clock, abs(seconds) > wrong ? .error : .warning,
            "our clock is \(TimeText.distance(abs(seconds))) \(side) that of \(host)",
            mend: "set the clock: timedatectl set-ntp true")
    }
}
