import Crypto

/// Spreads the rotations of many secrets over a span of time, the same on every machine and after every restart.
package enum DeterministicJitter {
    /// Whole seconds in `0...within`, spread evenly over the names and cycles.
    ///
    /// The offset is taken from the SHA-256 of a fixed label, the name and the cycle, each with its length before it, so
    /// that no two pairs are hashed as the same bytes.
    ///
    /// - Parameters:
    ///   - secretName: the secret's name.
    ///   - cycle: what tells one rotation of the secret from the next, such as the number of the version, so that the
    ///     same secrets do not meet again each time.
    ///   - within: the longest offset.
    package static func offset(for secretName: String, cycle: String, within: PolicyDuration) -> Int64 {
        var hash = SHA256()
        for part in ["keyturn/jitter/1", secretName, cycle] {
            let bytes = Array(part.utf8)
            withUnsafeBytes(of: UInt64(bytes.count).bigEndian) { hash.update(bufferPointer: $0) }
            hash.update(data: bytes)
        }
        let word = hash.finalize().prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        // The high half of the product is even to within one part in 2^32: durations are below 2^32 seconds.
        return Int64(word.multipliedFullWidth(by: UInt64(within.seconds) + 1).high)
    }
}
