/// The bytes of a credential: the only type in Keyturn that may hold a secret.
///
/// It does not print, log, encode or compare by `==`; its mirror has no children; the memory is locked where that is
/// allowed, and overwritten when the last reference goes away. Read it with ``withUnsafeBytes(_:)`` and keep what you derive from it as short as you can.
package final class SecretValue: @unchecked Sendable {
    // @unchecked: the memory is written only inside `init`, and freed only in `deinit`.
    private let memory: UnsafeMutableRawPointer

    /// Copies `bytes` into memory of its own.
    package init(_ bytes: some Collection<UInt8>) {
        count = bytes.count
        memory = LockedMemory.allocate(count)
        UnsafeMutableRawBufferPointer(start: memory, count: count).copyBytes(from: bytes)
    }

    /// Copies the UTF-8 bytes of `text`.
    package convenience init(utf8 text: some StringProtocol) {
        self.init(Array(text.utf8))
    }

    deinit {
        LockedMemory.deallocate(memory, count)
    }

    /// Number of bytes.
    package let count: Int

    package var isEmpty: Bool { count == 0 }

    /// Gives the bytes for the time of the call. The pointer must not leave `body`.
    package func withUnsafeBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(UnsafeRawBufferPointer(start: memory, count: count))
    }

    /// Compares all bytes whatever they are, so that the time taken tells nothing but the lengths.
    package func matches(_ other: SecretValue) -> Bool {
        guard count == other.count else { return false }
        return withUnsafeBytes { mine in
            other.withUnsafeBytes { theirs in
                var difference: UInt8 = 0
                for index in 0..<count { difference |= mine[index] ^ theirs[index] }
                return difference == 0
            }
        }
    }

    /// The text of the value, for the one place that hands it to a consumer: a request body, a pipe, standard output.
    /// `nil` when the bytes are not UTF-8. The returned string is not wiped.
    package func exposedText() -> String? {
        withUnsafeBytes { String(validating: $0, as: UTF8.self) }
    }

    /// A copy of the bytes, for the one place that hands them to a consumer. The copy is not wiped.
    package func exposedBytes() -> [UInt8] {
        withUnsafeBytes { Array($0) }
    }
}

extension SecretValue: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String { "[redacted]" }
    package var debugDescription: String { "[redacted]" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}
