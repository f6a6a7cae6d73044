package import Foundation
import Synchronization

/// Collects what the systems spoken to say of the time; of each its latest word.
package final class ClockWitnesses: Sendable {
    private let heard = Mutex<[String: ClockWitness]>([:])

    package init() {}

    /// - Parameters:
    ///   - system: the host that answered.
    ///   - date: its `Date` header.
    ///   - uptime: ``ClockReading/uptime`` when the answer was in.
    package func hear(_ system: String, say date: Date, at uptime: Double) {
        let witness = ClockWitness(system: system, said: date, heardAt: uptime)
        heard.withLock { $0[system] = witness }
    }

    package var all: [ClockWitness] { heard.withLock { $0.values.sorted { $0.system < $1.system } } }
}
