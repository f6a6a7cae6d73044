import Foundation
import KeyturnCore

/// An alert as receivers get it: `type`, `timestamp` and `data`, as Standard Webhooks asks for.
struct AlertWire: Encodable {
    struct Detail: Encodable {
        let id: String
        let severity: String
        let secret: String?
        let owner: String?
        let version: Int?
        let step: String?
        let reason: String
        let summary: String
        let advice: String
        let resolves: String?
    }

    let type: String
    let timestamp: String
    let data: Detail

    init(_ event: AlertEvent) {
        type = "keyturn.\(event.kind.rawValue)"
        timestamp = event.occurredAt.formatted(.iso8601)
        data = Detail(
            id: event.id, severity: event.severity.rawValue, secret: event.secret?.text, owner: event.owner,
            version: event.version, step: event.step, reason: event.reason, summary: event.summary,
            advice: event.advice, resolves: event.resolves?.rawValue)
    }

    func encoded() throws(SystemError) -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do { return try encoder.encode(self) } catch { throw SystemError(.local, "the alert can't be written as JSON") }
    }
}
