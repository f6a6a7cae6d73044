import Foundation
import KeyturnCore
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

    /// Many values are let go and many blocks of their size are taken: what the allocator hands out again must not hold
    /// what it held before. Only its own notes at the edges of a block may have changed besides.
    @Test func theMemoryIsOverwrittenAtTheEnd() {
        let marker = (0..<512).map { UInt8(truncatingIfNeeded: $0 &* 7 | 1) }
        var values = (0..<200).map { _ in SecretValue(marker) }
        let addresses = Set(values.map { $0.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) } })
        values = []
        let blocks = (0..<200).map { _ in SecretValue.uninitialisedBlock(count: marker.count) }
        defer { for block in blocks { block.deallocate() } }
        let again = blocks.filter { addresses.contains(UInt(bitPattern: $0.baseAddress)) }
        #expect(!again.isEmpty, "the allocator gave no block twice, so that nothing was seen")
        let leftovers = again.count { $0[64..<448].elementsEqual(marker[64..<448]) }
        #expect(leftovers == 0)
    }
}

extension SecretValue {
    /// Memory of the size and alignment that a value of this length has, as the allocator gives it.
    fileprivate static func uninitialisedBlock(count: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 16)
    }
}
