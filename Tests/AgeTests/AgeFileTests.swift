import Age
import Foundation
import Testing

@Suite struct AgeFileTests {
    let identity = X25519Identity()

    @Test(arguments: [0, 1, 65_535, 65_536, 65_537, 131_072])
    func roundTrip(size: Int) throws {
        let plaintext = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        for armor in [false, true] {
            let file = try AgeFile.encrypt(plaintext, to: [identity.recipient], armor: armor)
            #expect(try AgeFile.decrypt(file, with: [identity]) == plaintext)
        }
    }

    @Test func everyRecipientCanOpenIt() throws {
        let other = X25519Identity()
        let file = try AgeFile.encrypt(Array("hello".utf8), to: [identity.recipient, other.recipient])
        #expect(try AgeFile.decrypt(file, with: [other]) == Array("hello".utf8))
        #expect(throws: AgeError.noMatchingIdentity) { try AgeFile.decrypt(file, with: [X25519Identity()]) }
    }

    @Test func everyTruncationIsRefused() throws {
        let file = try AgeFile.encrypt([UInt8](repeating: 7, count: 70_000), to: [identity.recipient])
        for length in Array(0..<400) + [file.count - 4_480, 65_536 + 16 + 216, file.count - 1] {
            #expect(throws: AgeError.self, "\(length)") {
                try AgeFile.decrypt(Array(file.prefix(length)), with: [identity])
            }
        }
    }

    @Test func aFileCutBetweenChunksIsTruncated() throws {
        let file = try AgeFile.encrypt([UInt8](repeating: 7, count: 131_072), to: [identity.recipient])
        #expect(throws: AgeError.truncated) {
            try AgeFile.decrypt(Array(file.dropLast(65_536 + 16)), with: [identity])
        }
    }

    @Test func extraDataIsRefused() throws {
        let small = try AgeFile.encrypt([1, 2, 3], to: [identity.recipient])
        #expect(throws: AgeError.corruptedPayload) { try AgeFile.decrypt(small + [0], with: [identity]) }
        let whole = try AgeFile.encrypt([UInt8](repeating: 7, count: 65_536), to: [identity.recipient])
        #expect(throws: AgeError.trailingData) { try AgeFile.decrypt(whole + [0], with: [identity]) }
        let armored = try AgeFile.encrypt([1, 2, 3], to: [identity.recipient], armor: true)
        #expect(throws: AgeError.badArmor("there is something behind its last line")) {
            try AgeFile.decrypt(armored + Array("more\n".utf8), with: [identity])
        }
    }

    @Test func badArmorIsRefused() throws {
        let file = try AgeFile.encrypt([UInt8](repeating: 1, count: 100), to: [identity.recipient], armor: true)
        let text = String(decoding: file, as: UTF8.self)
        let lines = text.split(separator: "\n").map(String.init)
        func changed(_ change: (inout [String]) -> Void) -> String {
            var copy = lines
            change(&copy)
            return copy.joined(separator: "\n")
        }
        let spoiled: [String] = [
            changed { $0.removeLast() },
            changed { $0[1].removeLast() },
            changed { $0[0] += " " },
            changed { $0.insert("", at: 1) },
            changed { $0[1] = "*" + $0[1].dropFirst() },
        ]
        for (index, text) in spoiled.enumerated() {
            #expect(throws: AgeError.self, "\(index)") { try AgeFile.decrypt(Array(text.utf8), with: [identity]) }
        }
        // White space around it is harmless.
        #expect(try AgeFile.decrypt(Array("\n  \n\(text)\n\n".utf8), with: [identity]).count == 100)
        #expect(try AgeFile.decrypt(Array(text.replacing("\n", with: "\r\n").utf8), with: [identity]).count == 100)
    }

    @Test func malformedHeadersAreToldApart() throws {
        func header(_ lines: String...) -> [UInt8] { Array((lines.joined(separator: "\n") + "\n").utf8) }
        #expect(throws: AgeError.notAnAgeFile) { try AgeFile.decrypt(header("hello"), with: [identity]) }
        #expect(throws: AgeError.notAnAgeFile) { try AgeFile.decrypt([], with: [identity]) }
        #expect(throws: AgeError.unsupportedVersion) {
            try AgeFile.decrypt(header("age-encryption.org/v2"), with: [identity])
        }
        #expect(throws: AgeError.truncated) {
            try AgeFile.decrypt(header("age-encryption.org/v1", "-> X25519 abc"), with: [identity])
        }
        for stanza in ["->X25519 a", "->  X25519 a", "-> X25519 a ", "=> X25519 a"] {
            #expect(throws: AgeError.self, "\(stanza)") {
                try AgeFile.decrypt(header("age-encryption.org/v1", stanza, "AAAA", "--- AA"), with: [identity])
            }
        }
        let zeros = String(repeating: "A", count: 43)
        #expect(throws: AgeError.malformedHeader("an X25519 stanza has a share of low order")) {
            try AgeFile.decrypt(
                header("age-encryption.org/v1", "-> X25519 \(zeros)", zeros, "--- \(zeros)"), with: [identity])
        }
    }

    @Test func oversizedFilesAreRefused() {
        #expect(throws: AgeError.tooLarge(limit: 10)) {
            try AgeFile.decrypt([UInt8](repeating: 0, count: 11), with: [identity], limit: 10)
        }
    }

    @Test func mutationsNeverCrash() throws {
        var generator = SystemRandomNumberGenerator()
        let file = try AgeFile.encrypt(Array("hello".utf8), to: [identity.recipient])
        var refused = 0
        for _ in 0..<5_000 {
            var changed = file
            for _ in 0..<Int.random(in: 1...8, using: &generator) {
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: changed[Int.random(in: changed.indices, using: &generator)] = UInt8.random(in: 0...255)
                case 1: changed.remove(at: Int.random(in: changed.indices, using: &generator))
                default: changed.insert(10, at: Int.random(in: changed.indices, using: &generator))
                }
            }
            if (try? AgeFile.decrypt(changed, with: [identity])) == nil { refused += 1 }
        }
        #expect(refused >= 4_990)
    }

    @Test func passphrases() throws {
        let recipient = ScryptRecipient(passphrase: "correct horse".utf8, workFactor: 10)
        let file = try AgeFile.encrypt([1, 2, 3], to: [recipient])
        #expect(try AgeFile.decrypt(file, with: [ScryptIdentity(passphrase: "correct horse".utf8)]) == [1, 2, 3])
        #expect(throws: AgeError.noMatchingIdentity) {
            try AgeFile.decrypt(file, with: [ScryptIdentity(passphrase: "wrong".utf8)])
        }
        #expect(throws: AgeError.workFactorTooHigh(10)) {
            try AgeFile.decrypt(file, with: [ScryptIdentity(passphrase: "x".utf8, maximumWorkFactor: 9)])
        }
        #expect(throws: AgeError.self) { try AgeFile.encrypt([1], to: [recipient, identity.recipient]) }
    }

    @Test func identitiesAndRecipientsAreParsedStrictly() throws {
        let text = identity.exposedText()
        #expect(try X25519Identity(parsing: text).recipient == identity.recipient)
        #expect(try X25519Recipient(parsing: identity.recipient.text) == identity.recipient)
        #expect(throws: AgeError.self) { try X25519Identity(parsing: text.lowercased()) }
        #expect(throws: AgeError.self) { try X25519Identity(parsing: String(text.dropLast())) }
        #expect(throws: AgeError.self) { try X25519Recipient(parsing: identity.recipient.text.uppercased()) }
        #expect(throws: AgeError.self) { try X25519Recipient(parsing: identity.recipient.text + "q") }
        #expect(!"\(identity)".contains(text) && !String(reflecting: identity).contains(text))
        var dumped = ""
        dump(identity, to: &dumped)
        #expect(!dumped.contains("SECRET-KEY"))
        let file = IdentityFile.content(identity, created: "2026-01-01T00:00:00Z")
        #expect(try IdentityFile.parse(Array(file.utf8)).map(\.recipient) == [identity.recipient])
        #expect(throws: AgeError.invalidIdentity("line 2 is neither a comment nor AGE-SECRET-KEY-1...")) {
            try IdentityFile.parse(Array("# a\nCANARY\n".utf8))
        }
    }
}
