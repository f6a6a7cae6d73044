/// A check of the user's that a new key works: an HTTP probe, a command. The issuer's own check is ``Issuer/check(_:)``.
///
/// It is repeated until it says `works`, says `refused`, or the policy's patience ends.
package protocol KeyVerifier: Sendable {
    /// Throws only when the question could not be asked.
    func verify(_ key: KeyHandle) async throws(SystemError) -> KeyCheck
}
