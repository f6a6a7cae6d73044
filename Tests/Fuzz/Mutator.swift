import TestSupport

/// Damages inputs: from a corpus, by bits, bytes, pieces, and the words of the language that is parsed.
struct Mutator {
    private static let oddBytes: [UInt8] = [
        0x00, 0x01, 0x09, 0x0A, 0x0D, 0x20, 0x22, 0x27, 0x2F, 0x5C, 0x7F, 0x80, 0xC3, 0xFF,
    ]
    private static let numbers = [
        "0", "-1", "1", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "4294967296", "1e309",
        "-0",
        "0x10", "NaN", "3.5", "99999999999999999999999999", "00", "1e-400", "٣",
    ].map { Array($0.utf8) }
    /// Inputs are no longer than this.
    static let longest = 64 * 1024

    let corpus: [[UInt8]]
    let words: [[UInt8]]
    var generator: SeededGenerator

    init(corpus: [[UInt8]], words: [String], seed: UInt64) {
        self.corpus = corpus
        self.words = words.map { Array($0.utf8) } + Self.numbers
        generator = SeededGenerator(seed: seed)
    }

    mutating func next() -> [UInt8] {
        var input = corpus.randomElement(using: &generator) ?? []
        for _ in 0..<Int.random(in: 0...6, using: &generator) { change(&input) }
        return Array(input.prefix(Self.longest))
    }

    private mutating func change(_ input: inout [UInt8]) {
        let place = Int.random(in: 0...input.count, using: &generator)
        let piece = piece(of: input)
        switch Int.random(in: 0..<11, using: &generator) {
        case 0:
            guard place < input.count else { return }
            input[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
        case 1:
            guard place < input.count else { return }
            input[place] = Self.oddBytes.randomElement(using: &generator) ?? 0
        case 2: input.insert(Self.oddBytes.randomElement(using: &generator) ?? 0, at: place)
        case 3: input.removeSubrange(piece)
        case 4: input.insert(contentsOf: input[piece], at: place)
        case 5: input.insert(contentsOf: words.randomElement(using: &generator) ?? [], at: place)
        case 6: input.replaceSubrange(piece.prefix(8), with: words.randomElement(using: &generator) ?? [])
        case 7:
            let other = corpus.randomElement(using: &generator) ?? []
            input.replaceSubrange(place..., with: other.suffix(Int.random(in: 0...other.count, using: &generator)))
        case 8: input.removeSubrange(place...)
        case 9:
            let unit = Array(input[piece].prefix(16))
            let count = [2, 40, 2_000].randomElement(using: &generator) ?? 2
            input.insert(contentsOf: (0..<count).flatMap { _ in unit }, at: place)
        default: input.insert(UInt8.random(in: .min ... .max, using: &generator), at: place)
        }
    }

    private mutating func piece(of input: [UInt8]) -> Range<Int> {
        let first = Int.random(in: 0...input.count, using: &generator)
        let length = Int.random(in: 0...min(32, input.count - first), using: &generator)
        return first..<(first + length)
    }
}
