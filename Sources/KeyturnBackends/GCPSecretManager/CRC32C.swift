/// The Castagnoli checksum, with which Secret Manager guards values on their way: RFC 3720, appendix B.4.
enum CRC32C {
    /// For each byte what it does to the sum: the polynomial 0x1EDC6F41, its bits reversed.
    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { sum, _ in sum & 1 == 1 ? (sum >> 1) ^ 0x82F6_3B78 : sum >> 1 }
    }

    static func checksum(_ bytes: some Sequence<UInt8>) -> UInt32 {
        ~bytes.reduce(UInt32.max) { sum, byte in
            (sum >> 8) ^ table[Int(UInt8(truncatingIfNeeded: sum) ^ byte)]
        }
    }
}
