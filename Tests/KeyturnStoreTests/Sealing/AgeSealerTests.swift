import Age
import Foundation
import KeyturnCore
import KeyturnStore
import Testing

@Suite("Sealing with age")
struct AgeSealerTests {
    private let identity = X25519Identity()

    @Test(arguments: [0, 1, 100, 70_000]) func opensWhatItSealed(size: Int) throws {
        let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 13) }
        let sealer = AgeSealer(identities: [identity])
        let sealed = try sealer.seal(SecretValue(bytes))
        #expect(try sealer.open(sealed).exposedBytes() == bytes)
        #expect(try AgeFile.decrypt(Array(sealed), with: [identity]) == bytes, "it is a plain age file")
    }

    @Test func nothingOfTheValueLiesOpen() throws {
        let sealer = AgeSealer(identities: [identity])
        let value = SecretValue(utf8: "CANARY-4711")
        let sealed = try sealer.seal(value)
        #expect(sealed.firstRange(of: Data("CANARY".utf8)) == nil)
        #expect(try sealer.seal(value) != sealed, "two seals of one value do not look alike")
    }

    @Test func anotherIdentityOpensNothing() throws {
        let sealed = try AgeSealer(identities: [identity]).seal(SecretValue(utf8: "x"))
        let reason = "it is encrypted to other recipients; use the identity of one of them"
        #expect(throws: SealError(reason: reason)) { try AgeSealer(identities: [X25519Identity()]).open(sealed) }
        #expect(throws: SealError(reason: reason)) { try AgeSealer(identities: []).open(sealed) }
    }

    @Test func sealsToTheFirstAndOpensWithAny() throws {
        let new = X25519Identity()
        let old = try AgeSealer(identities: [identity]).seal(SecretValue(utf8: "old"))
        let sealer = AgeSealer(identities: [new, identity])
        #expect(try sealer.open(old).exposedText() == "old")
        let fresh = try sealer.seal(SecretValue(utf8: "new"))
        #expect(try AgeSealer(identities: [new]).open(fresh).exposedText() == "new")
        #expect(throws: SealError.self) { try AgeSealer(identities: [identity]).open(fresh) }
    }

    @Test func whatWasChangedIsNotOpened() throws {
        let sealer = AgeSealer(identities: [identity])
        let sealed = try sealer.seal(SecretValue(utf8: "x"))
        var changed = sealed
        changed[changed.count - 1] ^= 1
        #expect(throws: SealError(reason: "the content of the age file was changed; restore it from a backup")) {
            try sealer.open(changed)
        }
        #expect(throws: SealError.self) { try sealer.open(sealed.dropLast()) }
        #expect(throws: SealError(reason: "it is not an age file")) { try sealer.open(Data()) }
    }

    @Test func withoutAnIdentityNothingIsSealed() {
        #expect(throws: SealError(reason: "there is no identity")) {
            try AgeSealer(identities: []).seal(SecretValue(utf8: "x"))
        }
    }
}
