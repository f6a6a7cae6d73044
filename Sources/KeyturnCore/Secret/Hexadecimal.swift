extension Sequence<UInt8> {
    /// Lower-case hexadecimal digits, two a byte.
    package var hexadecimal: String {
        reduce(into: "") { text, byte in
            if byte < 16 { text.append("0") }
            text += String(byte, radix: 16)
        }
    }
}
