import Foundation

/// One line of an exported audit trail, or of a checkpoint file: a JSON object with sorted keys, in one spelling only.
package enum AuditLine: Sendable, Equatable {
    /// The first line: where the export begins.
    case trail(Start)
    case entry(AuditEntry)
    case checkpoint(AuditCheckpoint)
    /// The last line, by which an export that was cut short is known.
    case end(entries: Int64)

    package struct Start: Sendable, Equatable {
        package let instance: String
        /// The number of the entry before the first one; 0 for the whole trail.
        package let after: Int64
        /// The hash of that entry.
        package let hash: String

        package init(instance: String, after: Int64, hash: String) {
            self.instance = instance
            self.after = after
            self.hash = hash
        }
    }

    /// Longer lines are refused, in bytes.
    package static let longest = 1 << 20

    /// Without the line break.
    package var text: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // No member can fail to be encoded.
        return (try? encoder.encode(Members(self))).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    /// `nil` for anything that ``text`` did not write: what is not covered by a hash or a signature has no room.
    package init?(_ text: some StringProtocol) {
        guard let members = try? JSONDecoder().decode(Members.self, from: Data(text.utf8)), let line = members.line
        else {
            return nil
        }
        self = line
        guard self.text.utf8.elementsEqual(text.utf8) else { return nil }
    }
}

/// The members of all kinds of lines.
private struct Members: Codable {
    var type = ""
    var sequence: Int64?
    var at: String?
    // Of the first line.
    var instance: String?
    var after: Int64?
    // Of an entry.
    var kind: String?
    var secret: String?
    var version: Int?
    var step: String?
    var actor: String?
    var detail: [String: String]?
    var previousHash: String?
    var hash: String?
    // Of a checkpoint.
    var head: String?
    var entries: Int64?
    var key: String?
    var signature: Data?

    init(_ line: AuditLine) {
        switch line {
        case .trail(let start):
            type = "trail"
            (instance, after, hash) = (start.instance, start.after, start.hash)
        case .entry(let entry):
            type = "entry"
            let event = entry.event
            (sequence, at, kind) = (entry.sequence, AuditTime.text(event.at), event.kind)
            (secret, version, step) = (event.secret?.text, event.version, event.step)
            (actor, detail) = (event.actor, event.detail)
            (previousHash, hash) = (entry.previousHash, entry.hash)
        case .checkpoint(let checkpoint):
            type = "checkpoint"
            (sequence, at, instance) = (checkpoint.sequence, AuditTime.text(checkpoint.at), checkpoint.instance)
            (head, entries) = (checkpoint.head, checkpoint.entries)
            (key, signature) = ("\(checkpoint.key)", checkpoint.signature)
        case .end(let count):
            type = "end"
            entries = count
        }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(type, forKey: .type)
        try container.encodeIfPresent(sequence, forKey: .sequence)
        try container.encodeIfPresent(at, forKey: .at)
        try container.encodeIfPresent(instance, forKey: .instance)
        try container.encodeIfPresent(after, forKey: .after)
        if type == "entry" {
            // Always there, `null` where they have nothing to say.
            try container.encode(secret, forKey: .secret)
            try container.encode(version, forKey: .version)
            try container.encode(step, forKey: .step)
        }
        try container.encodeIfPresent(kind, forKey: .kind)
        try container.encodeIfPresent(actor, forKey: .actor)
        try container.encodeIfPresent(detail, forKey: .detail)
        try container.encodeIfPresent(previousHash, forKey: .previousHash)
        try container.encodeIfPresent(hash, forKey: .hash)
        try container.encodeIfPresent(head, forKey: .head)
        try container.encodeIfPresent(entries, forKey: .entries)
        try container.encodeIfPresent(key, forKey: .key)
        try container.encodeIfPresent(signature, forKey: .signature)
    }

    var line: AuditLine? {
        switch type {
        case "trail":
            guard let instance, let after, let hash, (0..<AuditChain.Checker.largest).contains(after) else {
                return nil
            }
            return .trail(AuditLine.Start(instance: instance, after: after, hash: hash))
        case "entry":
            guard let sequence, let at = at.flatMap(AuditTime.date), let kind, let actor, let detail, let previousHash,
                let hash
            else { return nil }
            let name = secret.map { try? SecretName($0) }
            // There, and no name.
            if case .some(nil) = name { return nil }
            let event = AuditEvent(
                at: at, kind: kind, secret: name ?? nil, version: version, step: step, actor: actor, detail: detail)
            return .entry(AuditEntry(sequence: sequence, event: event, previousHash: previousHash, hash: hash))
        case "checkpoint":
            guard let sequence, let at = at.flatMap(AuditTime.date), let instance, let head, let entries,
                let key = key.flatMap(AuditPublicKey.init), let signature
            else { return nil }
            return .checkpoint(
                AuditCheckpoint(
                    sequence: sequence, head: head, entries: entries, at: at, instance: instance, key: key,
                    signature: signature))
        case "end": return entries.map { .end(entries: $0) }
        default: return nil
        }
    }
}
