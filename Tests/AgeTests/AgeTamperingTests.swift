import Foundation
import Testing

@testable import Age

/// What was cut, changed or added is refused, and for the right reason.
@Suite struct AgeTamperingTests {
    private let identity = X25519Identity()
    private let file: [UInt8]
    /// Where the payload begins.
    private let payload: Int

    init() throws {
        file = try AgeFile.encrypt(Array("hello".utf8), to: [identity.recipient])
        payload = try Header.parse(file).payload
    }

    private func refusal(_ file: [UInt8]) -> AgeError? {
        do throws(AgeError) {
            _ = try AgeFile.decrypt(file, with: [identity])
            return nil
        } catch { return error }
    }

    /// The file with its header changed as text.
    private func header(_ change: (String) -> String) -> [UInt8] {
        Array(change(String(decoding: file[..<payload], as: UTF8.self)).utf8) + file[payload...]
    }

    /// Passes for a recipient of any type, known or not.
    private struct Stranger: Recipient {
        let stanza: Stanza
        func wrap(_ fileKey: [UInt8]) throws(AgeError) -> Stanza { stanza }
    }

    // MARK: Cut

    @Test func everyCutHasItsReason() {
        let intro = "age-encryption.org/v1\n".utf8.count
        for length in 0..<file.count {
            let expected: AgeError =
                switch length {
                case ..<intro: .notAnAgeFile
                case ..<payload: .truncated
                case ..<(payload + PayloadStream.nonceLength + PayloadStream.tag): .truncated
                default: .corruptedPayload
                }
            #expect(refusal(Array(file.prefix(length))) == expected, "\(length) of \(file.count)")
        }
    }

    @Test func everyCutOfAnArmoredFileIsBadArmor() throws {
        let armored = try AgeFile.encrypt(Array("hello".utf8), to: [identity.recipient], armor: true)
        for length in Armor.begin.utf8.count..<(armored.count - 1) {
            guard case .badArmor? = refusal(Array(armored.prefix(length))) else {
                Issue.record(
                    "\(length) of \(armored.count): \(String(describing: refusal(Array(armored.prefix(length)))))")
                continue
            }
        }
        // The last line break alone may be missing.
        #expect(refusal(Array(armored.dropLast())) == nil)
    }

    // MARK: Changed

    @Test func everyFlippedBitHasItsReason() throws {
        let macLine = try #require(file[..<payload].dropLast().lastIndex(of: 0x0A)) + 1
        for index in file.indices {
            for bit in Set([0, index % 8]) {
                var changed = file
                changed[index] ^= 1 << UInt8(bit)
                switch (index, refusal(changed)) {
                case (..<22, .notAnAgeFile), (..<22, .unsupportedVersion), (..<22, .malformedHeader): break
                case (22..<macLine, .malformedHeader), (22..<macLine, .noMatchingIdentity),
                    (22..<macLine, .badHeaderMAC), (22..<macLine, .truncated):
                    break
                case (macLine..<payload, .badHeaderMAC), (macLine..<payload, .malformedHeader),
                    (macLine..<payload, .truncated):
                    break
                case (payload..., .corruptedPayload): break
                case (_, let error): Issue.record("byte \(index), bit \(bit): \(String(describing: error))")
                }
            }
        }
    }

    @Test func theHeaderHasOneSpelling() {
        let spoiled: [(String, [UInt8])] = [
            ("line ends of Windows", header { $0.replacing("\n", with: "\r\n") }),
            ("padding", header { $0.replacing("\n---", with: "=\n---") }),
            ("two spaces", header { $0.replacing("-> X25519 ", with: "-> X25519  ") }),
            ("a space at the end", header { $0.replacing("\n---", with: " \n---") }),
            ("a tab", header { $0.replacing("-> X25519", with: "->\tX25519") }),
            ("an empty line", header { $0.replacing("\n---", with: "\n\n---") }),
            ("a mark of byte order", [0xEF, 0xBB, 0xBF] + file),
            ("a line before", Array("\n".utf8) + file),
            ("a MAC with padding", header { String($0.dropLast()) + "=\n" }),
            ("a MAC that is cut", header { String($0.dropLast(2)) + "\n" }),
            ("no MAC", header { String($0.prefix { _ in true }).replacing(/--- .*/, with: "---") }),
            ("two spaces before the MAC", header { $0.replacing("--- ", with: "---  ") }),
            ("four dashes", header { $0.replacing("---", with: "----") }),
        ]
        for (name, file) in spoiled {
            #expect(refusal(file) != nil, "\(name)")
        }
    }

    /// The last digit of a base64 text stands for bits of which some are unused: they must be zero.
    @Test func unusedBitsOfBase64AreZero() throws {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        let end = try #require(file[..<payload].lastIndex(of: 0x0A))
        let digit = try #require(alphabet.firstIndex(of: file[end - 1]))
        var changed = file
        changed[end - 1] = alphabet[digit ^ 1]
        #expect(refusal(changed) == .malformedHeader("its last line must hold a MAC of 32 bytes"))
    }

    @Test func recipientsAreNeitherAddedNorRemovedNorMoved() throws {
        let other = X25519Identity()
        let two = try AgeFile.encrypt(Array("hello".utf8), to: [identity.recipient, other.recipient])
        let (header, begin) = try Header.parse(two)
        let text = String(decoding: two[..<begin], as: UTF8.self)
        let lines = text.split(separator: "\n").map(String.init)
        try #require(lines.count == 6 && header.stanzas.count == 2)
        func rebuilt(_ order: [Int]) -> [UInt8] {
            Array((order.map { lines[$0] }.joined(separator: "\n") + "\n").utf8) + two[begin...]
        }
        #expect(refusal(rebuilt([0, 1, 2, 3, 4, 5])) == nil)
        #expect(refusal(rebuilt([0, 1, 2, 5])) == .badHeaderMAC)
        #expect(refusal(rebuilt([0, 3, 4, 1, 2, 5])) == .badHeaderMAC)
        #expect(refusal(rebuilt([0, 1, 2, 3, 4, 3, 4, 5])) == .badHeaderMAC)
        #expect(refusal(rebuilt([0, 5])) == .malformedHeader("it has no recipient"))
    }

    @Test func aPayloadOfAnotherFileDoesNotFit() throws {
        let other = try AgeFile.encrypt(Array("hullo".utf8), to: [identity.recipient])
        let begin = try Header.parse(other).payload
        #expect(refusal(Array(file[..<payload]) + other[begin...]) == .corruptedPayload)
    }

    @Test func anotherIdentityOpensNothing() {
        #expect(throws: AgeError.noMatchingIdentity) { try AgeFile.decrypt(file, with: [X25519Identity()]) }
        #expect(throws: AgeError.noMatchingIdentity) { try AgeFile.decrypt(file, with: []) }
        #expect(throws: AgeError.noMatchingIdentity) {
            try AgeFile.decrypt(file, with: [ScryptIdentity(passphrase: "x".utf8)])
        }
    }

    // MARK: Recipients of other kinds

    @Test(arguments: [0, 1, 47, 48, 49, 96, 200]) func strangersArePassedOver(bodyLength: Int) throws {
        let stranger = Stranger(
            stanza: Stanza(
                type: "x-grease", arguments: ["~", "!", "arg"], body: [UInt8](repeating: 7, count: bodyLength)))
        let file = try AgeFile.encrypt([1, 2, 3], to: [stranger, identity.recipient, stranger])
        #expect(try AgeFile.decrypt(file, with: [identity]) == [1, 2, 3])
    }

    @Test(arguments: ["23", "30", "64", "99"]) func aWorkFactorThatIsTooHighIsNotTried(factor: String) throws {
        let file = try scrypt(["AAAAAAAAAAAAAAAAAAAAAA", factor])
        #expect(throws: AgeError.workFactorTooHigh(try #require(Int(factor)))) {
            try AgeFile.decrypt(file, with: [ScryptIdentity(passphrase: "x".utf8)])
        }
    }

    @Test(arguments: [
        ["AAAAAAAAAAAAAAAAAAAAAA", "0"], ["AAAAAAAAAAAAAAAAAAAAAA", "01"], ["AAAAAAAAAAAAAAAAAAAAAA", "+9"],
        ["AAAAAAAAAAAAAAAAAAAAAA", "9x"], ["AAAAAAAAAAAAAAAAAAAAAA", "123"], ["AAAAAAAAAAAAAAAAAAAAAA"],
        ["AAAAAAAAAAAAAAAAAAAAAA", "9", "more"], ["AAAAAAAAAAAAAAAAAAAAAB", "9"], ["AAAA", "9"],
        ["AAAAAAAAAAAAAAAAAAAAAA==", "9"],
    ])
    func malformedPassphraseStanzasAreRefused(arguments: [String]) throws {
        let file = try scrypt(arguments)
        let error = try #require(throws: AgeError.self) {
            try AgeFile.decrypt(file, with: [ScryptIdentity(passphrase: "x".utf8)])
        }
        guard case .malformedHeader = error else {
            Issue.record("\(error)")
            return
        }
    }

    @Test func aPassphraseStandsAlone() throws {
        let stranger = Stranger(
            stanza: Stanza(
                type: "scrypt", arguments: ["AAAAAAAAAAAAAAAAAAAAAA", "9"], body: [UInt8](repeating: 7, count: 32)))
        let file = try AgeFile.encrypt([1], to: [identity.recipient, stranger])
        #expect(refusal(file) == .malformedHeader("a passphrase must be the only recipient"))
    }

    private func scrypt(_ arguments: [String]) throws -> [UInt8] {
        let stanza = Stanza(type: "scrypt", arguments: arguments, body: [UInt8](repeating: 7, count: 32))
        return try AgeFile.encrypt([1], to: [Stranger(stanza: stanza)])
    }

    @Test(arguments: [
        Stanza(type: "X25519", arguments: [], body: [UInt8](repeating: 7, count: 32)),
        Stanza(type: "X25519", arguments: ["AAAA"], body: [UInt8](repeating: 7, count: 32)),
        Stanza(type: "X25519", arguments: ["AAAA", "AAAA"], body: [UInt8](repeating: 7, count: 32)),
        Stanza(
            type: "X25519", arguments: [String(repeating: "A", count: 43)], body: [UInt8](repeating: 7, count: 32)),
        Stanza(type: "X25519", arguments: [String(repeating: "C", count: 42) + "A"], body: [7]),
    ])
    func malformedStanzasOfOurKindRefuseTheFile(stanza: Stanza) throws {
        let file = try AgeFile.encrypt([1], to: [Stranger(stanza: stanza), identity.recipient])
        guard case .malformedHeader? = refusal(file) else {
            Issue.record("\(String(describing: refusal(file)))")
            return
        }
    }

    @Test func nothingIsEncryptedToAPointOfLowOrder() throws {
        let zeros = X25519Recipient(publicKey: [UInt8](repeating: 0, count: 32))
        guard
            case .invalidRecipient = try #require(
                throws: AgeError.self, performing: { try AgeFile.encrypt([1], to: [zeros]) })
        else {
            Issue.record("it was encrypted")
            return
        }
        #expect(throws: AgeError.invalidRecipient("there is none")) { try AgeFile.encrypt([1], to: []) }
    }

    // MARK: Armor

    @Test func armorHasOneSpelling() throws {
        let armored = try AgeFile.encrypt([UInt8](repeating: 1, count: 100), to: [identity.recipient], armor: true)
        let lines = String(decoding: armored, as: UTF8.self).split(separator: "\n").map(String.init)
        func changed(_ change: (inout [String]) -> Void) -> [UInt8] {
            var copy = lines
            change(&copy)
            return Array((copy.joined(separator: "\n") + "\n").utf8)
        }
        let last = lines.count - 2
        let spoiled: [(String, [UInt8])] = [
            ("no end", changed { $0.removeLast() }),
            ("another end", changed { $0[$0.count - 1] = "-----END AGE FILE-----" }),
            ("an end twice", changed { $0.append(Armor.end) }),
            ("nothing inside", Array("\(Armor.begin)\n\(Armor.end)\n".utf8)),
            ("a short line", changed { $0[1].removeLast() }),
            ("a long line", changed { $0[1] += "A" }),
            ("a space at the end of a line", changed { $0[1] += " " }),
            ("a space before a line", changed { $0[1] = " " + $0[1] }),
            ("an empty line inside", changed { $0.insert("", at: 2) }),
            ("a header line", changed { $0.insert("Version: 1", at: 1) }),
            ("a foreign character", changed { $0[1] = "*" + $0[1].dropFirst() }),
            ("padding in the middle", changed { $0[1] = "=" + $0[1].dropFirst() }),
            ("no padding", changed { $0[last] = $0[last].replacing("=", with: "") + "" }),
            ("something behind", armored + Array("x".utf8)),
            ("bytes that are no text", Array(armored.dropLast()) + [0xFF]),
        ]
        for (name, file) in spoiled where file != armored {
            guard case .badArmor? = refusal(file) else {
                Issue.record("\(name): \(String(describing: refusal(file)))")
                continue
            }
        }
    }
}
