package import Foundation

/// A stop of everything, or of all that goes through one issuer, for every process on this state, until it is lifted.
///
/// It lies in the journal, beside the records: setting it needs no lease, and it outlives restarts.
package struct PauseSwitch: Sendable, Codable, Equatable {
    package enum Scope: Sendable, Hashable {
        case everything
        case issuer(String)

        /// `all`, or `issuer:NAME`.
        package var text: String {
            switch self {
            case .everything: "all"
            case .issuer(let name): "issuer:\(name)"
            }
        }

        /// Reads ``text`` back.
        package init?(text: String) {
            if text == "all" {
                self = .everything
            } else if text.hasPrefix("issuer:"), text.count > 7 {
                self = .issuer(String(text.dropFirst(7)))
            } else {
                return nil
            }
        }
    }

    package enum Cause: String, Sendable, Codable {
        /// A person asked for it.
        case asked
        /// Too many rotations in a row failed.
        case failures
    }

    package let scope: Scope
    package let since: Date
    /// In the words of who set it.
    package let reason: String?
    package let actor: String
    package let cause: Cause

    package init(scope: Scope, since: Date, reason: String?, actor: String, cause: Cause = .asked) {
        self.scope = scope
        self.since = since
        self.reason = reason
        self.actor = actor
        self.cause = cause
    }

    /// What is stopped, since when, why and how it goes on.
    package var sentence: String {
        let what: String
        let command: String
        switch scope {
        case .everything: (what, command) = ("everything", "keyturn resume --all")
        case .issuer(let name): (what, command) = ("issuer '\(name)'", "keyturn resume --issuer \(name)")
        }
        let why = reason.map { " (\($0))" } ?? ""
        return "\(what) is paused by \(actor) since \(since.formatted(.iso8601))\(why); `\(command)` goes on"
    }

    /// How the audit trail tells that it was set.
    package var auditEvent: AuditEvent {
        var detail = ["scope": scope.text]
        if let reason { detail["reason"] = reason }
        return AuditEvent(at: since, kind: "work.paused", secret: nil, actor: actor, detail: detail)
    }

    /// How the audit trail tells that it was lifted.
    package static func lifted(_ scope: Scope, at date: Date, actor: String) -> AuditEvent {
        AuditEvent(at: date, kind: "work.resumed", secret: nil, actor: actor, detail: ["scope": scope.text])
    }
}

extension PauseSwitch.Scope: Codable {
    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let scope = Self(text: try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "no scope of a pause")
        }
        self = scope
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }
}

extension [PauseSwitch] {
    /// The one that stops work which goes through any of these issuers.
    package func stopping(_ issuers: Set<String>) -> PauseSwitch? {
        first { pause in
            switch pause.scope {
            case .everything: true
            case .issuer(let name): issuers.contains(name)
            }
        }
    }
}
