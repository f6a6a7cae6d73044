import Foundation
import KeyturnCore
import KeyturnSystem
import TestSupport
import Testing

@Suite("References to secrets")
struct SecretReferenceResolverTests {
    private let folder: ScratchFolder
    private let resolver: SecretReferenceResolver

    init() throws {
        folder = try ScratchFolder()
        resolver = SecretReferenceResolver(
            environment: ["PATH": "/usr/bin:/bin", "TOKEN": "from env\n", "EMPTY": ""], folder: folder.path
        ) { (name) throws(SystemError) in
            guard name.text == "team/key" else { throw SystemError(.notFound, "no such secret") }
            return SecretValue(utf8: "from the vault\n")
        }
    }

    private func text(_ reference: SecretReference) async throws(SystemError) -> String? {
        try await resolver.resolve(reference).exposedText()
    }

    private func failure(_ reference: SecretReference) async -> SystemError? {
        do throws(SystemError) {
            _ = try await resolver.resolve(reference)
            return nil
        } catch { return error }
    }

    @Test func eachOfTheFourIsFollowed() async throws {
        let file = try folder.write("from a file", to: "token")
        #expect(try await text(.environment("TOKEN")) == "from env\n", "a variable is taken as it is")
        #expect(try await text(.file(file)) == "from a file")
        #expect(try await text(.command(["sh", "-c", "printf 'from a command'"])) == "from a command")
        #expect(try await text(.vault(try SecretName("team/key"))) == "from the vault\n", "a value is taken as it is")
    }

    @Test(arguments: [
        ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a\r", "a\r"), (" a ", " a "), ("a\nb", "a\nb"),
        ("\na", "\na"),
        ("a\n\r\n", "a\n"),
    ])
    func oneLineBreakAtTheEndIsLeftOut(content: String, expected: String) async throws {
        let file = try folder.write(content, to: "token")
        #expect(try await text(.file(file)) == expected)
        #expect(try await text(.command(["cat", file])) == expected)
    }

    @Test func whatChangedIsReadAnew() async throws {
        let file = try folder.write("old", to: "token")
        #expect(try await text(.file(file)) == "old")
        try folder.write("new", to: "token")
        #expect(try await text(.file(file)) == "new")
    }

    @Test func whatIsMissingIsSaid() async throws {
        let unset = await failure(.environment("ABSENT"))
        #expect(
            unset?.description
                == "the environment variable ABSENT is not set [misconfigured]; set it where Keyturn runs")
        #expect(await failure(.file(folder.path("absent")))?.code == .misconfigured)
        #expect(await failure(.command(["./absent"]))?.code == .misconfigured)
        #expect(await failure(.vault(try SecretName("team/other")))?.code == .notFound)
    }

    @Test func whatIsEmptyIsRefused() async throws {
        let file = try folder.write("\n", to: "token")
        #expect(await failure(.environment("EMPTY"))?.message == "env EMPTY is empty")
        #expect(await failure(.file(file))?.message == "file \(file) is empty")
        #expect(await failure(.command(["true"]))?.message == "command true is empty")
    }

    @Test func aFileThatOthersCanReadIsRefused() async throws {
        let file = try folder.write("CANARY", to: "token", mode: 0o644)
        let error = await failure(.file(file))
        #expect(error?.code == .forbidden)
    }

    @Test func aCommandThatFailsIsNotBelieved() async throws {
        let error = await failure(.command(["sh", "-c", "echo CANARY; exit 3"]))
        #expect(error?.code == .misconfigured)
        #expect(error?.message == "command sh ended with status 3")
    }
}
