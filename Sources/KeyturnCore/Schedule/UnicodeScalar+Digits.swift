extension Unicode.Scalar {
    /// The value of an ASCII digit; `nil` for all else, digits of other scripts too.
    var decimalDigit: Int? {
        ("0"..."9").contains(self) ? Int(value) - 0x30 : nil
    }
}
