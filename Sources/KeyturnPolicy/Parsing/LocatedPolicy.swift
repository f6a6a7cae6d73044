import KeyturnCore
import Yams

/// A policy with the places of its fields, for the rules to point at.
struct LocatedPolicy {
    let policy: Policy
    let file: String
    /// Places by dotted name, such as `rotate.renewBefore`; empty for the document.
    let marks: [String: Mark]
    let allowsNoExpiry: Bool

    func mark(_ names: String...) -> Mark? {
        names.lazy.compactMap { marks[$0] }.first ?? marks[""]
    }
}
