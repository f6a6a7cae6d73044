import Foundation
import KeyturnCore

/// A pause that holds for more than one secret, in JSON.
struct PauseWire: Encodable {
    let scope: String
    let since: Date
    let actor: String
    @Nullable var reason: String?
    let cause: String

    init(_ pause: PauseSwitch) {
        scope = pause.scope.text
        since = pause.since
        actor = pause.actor
        reason = pause.reason
        cause = pause.cause.rawValue
    }
}
