/// Why an age file, recipient or identity was not accepted. No text of it holds a key or a plaintext.
package enum AgeError: Error, Sendable, Equatable {
    case notAnAgeFile
    case unsupportedVersion
    case malformedHeader(String)
    /// The header was changed after it was written.
    case badHeaderMAC
    /// The file is encrypted to other recipients.
    case noMatchingIdentity
    case workFactorTooHigh(Int)
    case truncated
    case corruptedPayload
    case trailingData
    case badArmor(String)
    case invalidRecipient(String)
    case invalidIdentity(String)
    case tooLarge(limit: Int)
}

extension AgeError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .notAnAgeFile: "it is not an age file"
        case .unsupportedVersion: "it is an age file of another version than v1"
        case .malformedHeader(let reason): "the header of the age file is malformed: \(reason)"
        case .badHeaderMAC: "the header of the age file was changed; restore it from a backup"
        case .noMatchingIdentity: "it is encrypted to other recipients; use the identity of one of them"
        case .workFactorTooHigh(let factor): "its passphrase work factor of 2^\(factor) is more than is accepted"
        case .truncated: "the age file is cut short; restore it from a backup"
        case .corruptedPayload: "the content of the age file was changed; restore it from a backup"
        case .trailingData: "there is something behind the end of the age file"
        case .badArmor(let reason): "the armor of the age file is malformed: \(reason)"
        case .invalidRecipient(let reason): "not an age recipient: \(reason)"
        case .invalidIdentity(let reason): "not an age identity: \(reason)"
        case .tooLarge(let limit): "it is larger than \(limit) bytes"
        }
    }
}
