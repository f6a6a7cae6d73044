import Foundation
import KeyturnCore
import TestSupport
import Testing

@Suite("Values of secrets")
struct SecretValueTests {
    private static let canary = "CANARY-4711"

    private struct Holder {
        let label = "holder"
        let value: SecretValue
        let list: [SecretValue]
        let map: [String: SecretValue]
        let optional: SecretValue?
        let material: KeyMaterial
        let write: VersionWrite
    }

    private struct CarriesAValue: Error { let value: SecretValue }

    @Test func noWayOfPrintingShowsIt() throws {
        let value = SecretValue(utf8: Self.canary)
        let holder = Holder(
            value: value, list: [value], map: ["a": value], optional: value,
            material: KeyMaterial(value: value, fields: ["more": value]),
            write: VersionWrite(
                secret: try SecretName("a"), version: 1, value: value, receipt: [:], replaces: nil, instance: "",
                generation: 1, expiresAt: nil, mayOverwrite: false))
        var dumped = ""
        dump(holder, to: &dumped)
        var printed = ""
        print(holder, value, to: &printed)
        var debugPrinted = ""
        debugPrint(holder, value, to: &debugPrinted)
        let error = CarriesAValue(value: value)
        let texts = [
            dumped, printed, debugPrinted, "\(value)", "\(holder)", String(describing: value),
            String(reflecting: value), String(describing: holder), String(reflecting: holder), "\(error)",
            String(reflecting: error), error.localizedDescription, (error as NSError).description,
            String(describing: Optional(value)), "\([value])", "\(["k": value])",
        ]
        let forms = [
            Self.canary, Data(Self.canary.utf8).base64EncodedString(),
            Data(Self.canary.utf8).map(String.init)
                .joined(separator: ", "),
        ]
        for text in texts {
            for form in forms { #expect(!text.contains(form), "\(text)") }
        }
        #expect("\(value)" == "[redacted]")
        #expect(String(reflecting: value) == "[redacted]")
    }

    @Test func itsMirrorHasNoChildren() {
        let value = SecretValue(utf8: Self.canary)
        #expect(Mirror(reflecting: value).children.isEmpty)
        #expect(Mirror(reflecting: value).superclassMirror == nil)
        #expect(value.customMirror.children.isEmpty)
    }

    @Test func itCanNeitherBeEncodedNorComparedNorHashed() {
        let value: Any = SecretValue(utf8: Self.canary)
        #expect(!(value is any Encodable))
        #expect(!(value is any Equatable))
        #expect(!(value is any Hashable))
        #expect(!(value is any LosslessStringConvertible))
        #expect(!(value is any TextOutputStreamable))
        #expect(!JSONSerialization.isValidJSONObject([value]))
    }

    @Test(arguments: [0, 1, 15, 16, 17, 4_096]) func holdsItsOwnCopyOfTheBytes(count: Int) {
        var bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
        let value = SecretValue(bytes)
        for index in bytes.indices { bytes[index] = 0xFF }
        #expect(value.count == count)
        #expect(value.isEmpty == (count == 0))
        #expect(value.exposedBytes() == (0..<count).map { UInt8(truncatingIfNeeded: $0) })
        #expect(value.withUnsafeBytes { $0.count } == count)
    }

    @Test func textIsGivenOutOnlyWhenItIsText() {
        #expect(SecretValue(utf8: "grün").exposedText() == "grün")
        #expect(SecretValue([0xC3]).exposedText() == nil)
        #expect(SecretValue([0xED, 0xA0, 0x80]).exposedText() == nil)
        #expect(SecretValue([]).exposedText()?.isEmpty == true)
        #expect(SecretValue([0]).exposedText() == "\u{0}")
    }

    @Test func matchesOnlyTheSameBytes() {
        let value = SecretValue([1, 2, 3])
        #expect(value.matches(SecretValue([1, 2, 3])))
        #expect(value.matches(value))
        for other in [[1, 2], [1, 2, 3, 4], [1, 2, 4], [0, 2, 3], []] as [[UInt8]] {
            #expect(!value.matches(SecretValue(other)))
        }
        #expect(SecretValue([]).matches(SecretValue([])))
    }

    /// The memory stays with the process, so that it can be looked at afterwards. Other tests may have taken it again
    /// meanwhile: what must not be there is what was there.
    @Test(arguments: [16, 32, 33, 512, 4_096]) func theMemoryIsOverwrittenAtTheEnd(count: Int) throws {
        let marker = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 | 1) }
        var values = (0..<200).map { _ in SecretValue(marker) }
        let addresses = values.map { $0.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) } }
        func leftovers() -> Int {
            addresses.count { address in
                guard let slot = UnsafeRawPointer(bitPattern: address) else { return false }
                return UnsafeRawBufferPointer(start: slot, count: count).elementsEqual(marker)
            }
        }
        #expect(leftovers() == 200)
        values = []
        #expect(leftovers() == 0)
    }

    /// So short a value can't be told from what another test put in its place, so that each is looked at right away.
    @Test func oneByteIsOverwrittenToo() throws {
        let marker: UInt8 = 0xE7
        var leftovers = 0
        for _ in 0..<200 {
            var value: SecretValue? = SecretValue([marker])
            let address = try #require(value?.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) })
            let slot = try #require(UnsafeRawPointer(bitPattern: address))
            try #require(value?.exposedBytes() == [slot.load(as: UInt8.self)])
            value = nil
            if slot.load(as: UInt8.self) == marker { leftovers += 1 }
        }
        #expect(leftovers == 0)
    }

    @Test func memoryIsUsedAgainAndNeverTwiceAtATime() {
        var generator = SeededGenerator(seed: 7)
        var held: [(value: SecretValue, bytes: [UInt8])] = []
        for round in 0..<5_000 {
            let bytes = (0..<Int.random(in: 0...9_000, using: &generator)).map { _ in UInt8(truncatingIfNeeded: round) }
            held.append((SecretValue(bytes), bytes))
            if held.count > 100 { held.remove(at: Int.random(in: 0..<held.count, using: &generator)) }
        }
        for (value, bytes) in held { #expect(value.exposedBytes() == bytes) }
    }

    @Test func largeAndSmallAreAligned() {
        for count in [0, 1, 16, 31, 32, 33, 4_096, 4_097, 100_000] {
            let value = SecretValue([UInt8](repeating: 1, count: count))
            #expect(value.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) % 16 } == 0)
        }
    }

    /// As the kernel sees it: locked, and left out of dumps. Under a sanitizer no call locks anything.
    @Test func itsPagesAreLockedAndLeftOutOfDumps() throws {
        let value = SecretValue(utf8: Self.canary)
        let address = value.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) }
        let file = try #require(FileHandle(forReadingAtPath: "/proc/self/smaps"))
        let maps = String(decoding: try #require(try file.readToEnd()), as: UTF8.self)
        var flags: [Substring]?
        var isInside = false
        for line in maps.split(separator: "\n") {
            if let range = line.wholeMatch(of: /([0-9a-f]+)-([0-9a-f]+) .*/) {
                let (from, to) = (UInt(range.1, radix: 16) ?? 0, UInt(range.2, radix: 16) ?? 0)
                isInside = (from..<to).contains(address)
            } else if isInside, line.hasPrefix("VmFlags:") {
                flags = line.split(separator: " ").dropFirst().map { $0 }
            }
        }
        let found = try #require(flags)
        #expect(found.contains("dd"))
        let isSanitized = ProcessInfo.processInfo.environment["KEYTURN_TEST_SANITIZER"] != nil
        #expect(found.contains("lo") || LockedMemory.isRefused || isSanitized)
    }
}
