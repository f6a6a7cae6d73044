import Foundation
import KeyturnCore
import KeyturnSystem
import TestSupport
import Testing

@testable import KeyturnBackends

@Suite("Variables of .env files")
struct DotenvTests {
    private let folder: ScratchFolder
    private let backend: any Backend
    private let target = BackendTarget(backend: "env", path: "app/.env#API_KEY")
    private let name: SecretName

    init() throws {
        folder = try ScratchFolder()
        let type = try #require(BackendRegistry.all.first { $0.description.type == "dotenv" })
        backend = try type.make("env", ["directory": .string(folder.path)], try .forTests(folder))
        name = try SecretName("team/key")
    }

    @Test(arguments: BackendContract.checks, [false, true])
    func keepsTheContract(check: ContractCheck<BackendSubject>, amongOthers: Bool) async throws {
        let before = "# of the application\nFIRST='a b'\n\n"
        let after = "export LAST=\"1\n2\" # two lines\n"
        if amongOthers { try folder.write("\(before)API_KEY=\n\(after)", to: "app/.env") }
        try await check.run(
            BackendSubject(
                backend, at: target, other: "app/.env#OTHER_KEY", consumed: { [folder] in try Self.value(folder) },
                overwrite: { [folder] text in
                    let old = folder.read("app/.env") ?? ""
                    try folder.write(
                        try DotenvFile(old).setting("API_KEY", to: try Self.quoted(text)), to: "app/.env")
                }))
        guard amongOthers, let text = folder.read("app/.env") else { return }
        #expect(text.hasPrefix(before) && text.contains(after))
    }

    private static func value(_ folder: ScratchFolder, _ name: String = "API_KEY") throws -> String? {
        guard let value = try DotenvFile(folder.read("app/.env") ?? "").assignment(of: name)?.value else { return nil }
        return value.isEmpty ? nil : value
    }

    private static func quoted(_ text: String) throws -> String {
        guard case .quoted(let quoted) = DotenvQuoting.quote(text) else { throw CocoaError(.coderInvalidValue) }
        return quoted
    }

    private func write(_ text: String, mayOverwrite: Bool = false) -> VersionWrite {
        VersionWrite(
            secret: name, version: 1, value: SecretValue(utf8: text), receipt: [:], replaces: nil, instance: "i",
            generation: 1, expiresAt: nil, mayOverwrite: mayOverwrite)
    }

    private func failure(_ body: () async throws -> Void) async -> SystemError? {
        do { try await body() } catch { return error as? SystemError }
        return nil
    }

    // MARK: What others read

    private struct Question: Encodable {
        let text: String
        var name = ""
    }

    private struct Answer: Decodable {
        let isWhole: Bool
        let bindings: [[String?]]
        let value: String?
        let shell: String?
    }

    private let script = PythonScript("read_dotenv.py", needs: "python-dotenv")

    private static let pieces = [
        "a", "B", "7", "_", " ", "  ", "\t", "\n", "\n\n", "'", "\"", "$", "${", "}", "$X", "`", "#", " #", "\\",
        "\\\\",
        "\\n", "\\'", "\\\"", "=", "!", "~", "*", ";", "&", "|", "(", "<", "é", "✓", "e\u{301}", "\u{301}", "{{x}}",
        ":-", "%", ".",
    ]

    @Test func whatIsWrittenIsWhatPythonAndTheShellRead() throws {
        var random = SeededGenerator(seed: 20_261_129)
        var values: Set<String> = [
            "'", "\"", "\\", "#", "$", " ", "\n", "it's", "a#b", "a #b", "C:\\new", "x\\\\y", "$HOME",
        ]
        while values.count < 600 {
            values.insert(
                (0..<Int.random(in: 1...9, using: &random)).map { _ in Self.pieces.randomElement(using: &random) ?? "" }
                    .joined())
        }
        let written = values.sorted().compactMap { value in (try? Self.quoted(value)).map { (value, $0) } }
        #expect(written.count > 300, "most values can be written: \(written.count)")
        let frame = "# before\nexport FIRST='1'\n"
        let end = "\nLAST=\"2\"\n"
        let answers = try script.ask(
            written.map { Question(text: "\(frame)KEY=\($0.1)\(end)", name: "KEY") }, for: Answer.self)
        for ((value, quoted), answer) in zip(written, answers) {
            #expect(answer.isWhole && answer.value.map { Array($0.utf8) } == Array(value.utf8), "\(quoted)")
            #expect(answer.shell.map { Array($0.utf8) } == Array(value.utf8), "the shell: \(quoted)")
            #expect(answer.bindings.count == 3)
        }
    }

    @Test func filesAreReadAsPythonReadsThem() throws {
        var random = SeededGenerator(seed: 7)
        let words =
            Self.pieces + [
                "\u{FEFF}", "KEY", "export ", "KEY=", "export KEY = ", "=", "\n", "\r\n", "\n#", "='", "=\"", "' # x\n",
                "\"\n",
                "'KEY'=",
            ]
        let texts = (0..<1500).map { _ in
            (0..<Int.random(in: 0...12, using: &random)).map { _ in words.randomElement(using: &random) ?? "" }.joined()
        }
        var whole = 0
        for (text, answer) in zip(texts, try script.ask(texts.map { Question(text: $0) }, for: Answer.self)) {
            guard let file = try? DotenvFile(text) else {
                #expect(!answer.isWhole, "\(text.debugDescription)")
                continue
            }
            whole += 1
            #expect(answer.isWhole, "\(text.debugDescription)")
            let ours = file.assignments.map { [$0.name, $0.value] }
            #expect(ours == answer.bindings, "\(text.debugDescription)")
        }
        #expect(whole > 300, "\(whole)")
    }

    // MARK: What stays

    @Test(arguments: [
        ("", "API_KEY=new\n"), ("A=1", "A=1\nAPI_KEY=new\n"), ("A=1\r\n", "A=1\r\nAPI_KEY=new\r\n"),
        ("API_KEY=\n", "API_KEY=new\n"), ("API_KEY", "API_KEY=new"),
        ("  export  API_KEY = '' # x\nB=2", "  export  API_KEY=new # x\nB=2"),
        ("API_KEY=''#x\n", "API_KEY=new #x\n"), ("\u{FEFF}API_KEY= # x", "\u{FEFF}API_KEY=new # x"),
        ("'API_KEY'=\"\"\n", "API_KEY=new\n"),
        ("A='API_KEY=no\n'\n#API_KEY=no\nAPI_KEY=\n", "A='API_KEY=no\n'\n#API_KEY=no\nAPI_KEY=new\n"),
    ])
    func onlyTheVariableChanges(before: String, after: String) async throws {
        try folder.write(before, to: "app/.env")
        _ = try await backend.promote(write("new"), at: target)
        #expect(folder.bytes("app/.env") == Array(after.utf8))
        #expect(folder.names.filter { $0.contains("tmp") }.isEmpty)
    }

    @Test(arguments: [
        ("A=1\n=2\n", 2), ("A=1\nB='\n\n", 2), ("if true; then\n", 1), ("A=1\nAPI_KEY=x\nAPI_KEY=y\n", 3),
        ("A='b'c\n", 1),
    ])
    func aFileThatCannotBeReadIsLeftAlone(text: String, line: Int) async throws {
        try folder.write(text, to: "app/.env")
        let error = await failure { _ = try await backend.promote(write("new", mayOverwrite: true), at: target) }
        #expect(
            error?.code == .local && error?.message.contains("line \(line):") == true, "\(String(describing: error))")
        #expect(folder.read("app/.env") == text)
        #expect(await failure { try await backend.probe(target) }?.code == .local)
    }

    @Test func modesAndOwnersAreKeptAndChecked() async throws {
        try folder.write("API_KEY=\n", to: "app/.env", mode: 0o400)
        _ = try await backend.promote(write("new"), at: target)
        #expect(folder.mode("app/.env") == 0o400)
        for mode: UInt32 in [0o640, 0o604, 0o620] {
            try folder.write("API_KEY=\n", to: "app/open.env", mode: mode)
            let open = BackendTarget(backend: "env", path: "app/open.env#API_KEY")
            let error = await failure { _ = try await backend.promote(write("new"), at: open) }
            #expect(error?.code == .forbidden && folder.read("app/open.env") == "API_KEY=\n")
            let allowed = BackendTarget(
                backend: "env", path: "app/open.env#API_KEY", parameters: ["mode": .string("0640")])
            _ = try await backend.promote(write("new"), at: allowed)
            #expect(folder.mode("app/open.env") == 0o640)
        }
        _ = try await backend.promote(write("new"), at: BackendTarget(backend: "env", path: "new/.env#A"))
        #expect(folder.mode("new/.env") == 0o600 && folder.mode("new") == 0o700)
        guard getuid() == 0 else { return }
        try folder.write("API_KEY=\n", to: "app/theirs.env")
        chown(folder.path("app/theirs.env"), 65_534, 65_534)
        let theirs = await failure {
            _ = try await backend.promote(
                write("new"), at: BackendTarget(backend: "env", path: "app/theirs.env#API_KEY"))
        }
        #expect(theirs?.code == .forbidden)
        _ = try await backend.promote(
            write("new"),
            at: BackendTarget(backend: "env", path: "app/theirs.env#API_KEY", parameters: ["owner": .string("65534")]))
        #expect(folder.read("app/theirs.env") == "API_KEY=new\n")
    }

    @Test func linksAreNotFollowed() async throws {
        try folder.write("API_KEY=\n", to: "elsewhere.env")
        try folder.write("", to: "app/x")
        try FileManager.default.createSymbolicLink(
            atPath: folder.path("app/.env"), withDestinationPath: folder.path("elsewhere.env"))
        let error = await failure { _ = try await backend.promote(write("new", mayOverwrite: true), at: target) }
        #expect(error?.code == .local && error?.message.contains("link") == true)
        #expect(folder.read("elsewhere.env") == "API_KEY=\n" && folder.isLink("app/.env"))
    }

    @Test func variablesOfOneFileAreWrittenAtTheSameTime() async throws {
        let backend = backend
        let write = write("new")
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<40 {
                group.addTask {
                    _ = try await backend.promote(
                        write, at: BackendTarget(backend: "env", path: "app/.env#KEY\(number)"))
                }
            }
            try await group.waitForAll()
        }
        #expect(try DotenvFile(folder.read("app/.env") ?? "").assignments.count == 40)
    }

    @Test(arguments: ["it's $5", "a\0b", "a\rb", "x${HOME}y", "${A:-b}", "`\\"])
    func whatNoQuotingCarriesIsRefusedBeforeAnythingIsPromoted(text: String) async throws {
        for body in [
            { _ = try await backend.stage(write(text), at: target) },
            { _ = try await backend.promote(write(text), at: target) },
        ] as [() async throws -> Void] {
            let error = await failure(body)
            #expect(error?.code == .rejectedValue && error.map { "\($0)".contains(text) } == false)
        }
        #expect(folder.read("app/.env") == nil)
    }

    @Test(arguments: [
        ("app/.env#KEY", true), (".env#_a1", true), (".env", false), (".env#", false), (".env#1A", false),
        (".env#A-B", false), ("../.env#A", false), ("/.env#A", false), ("#A", false), ("a#b.env#A", true),
        (".env#é", false),
    ])
    func pathsAreCheckedBeforehand(path: String, isFine: Bool) throws {
        let description = try #require(BackendRegistry.descriptions.first { $0.type == "dotenv" })
        #expect((description.checkPath(path) == nil) == isFine)
    }
}
