import ArgumentParser
import Foundation
import KeyturnBackends
import KeyturnCore
import KeyturnPolicy
import KeyturnSystem

struct VaultCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vault", abstract: "Reads the file vault.",
        subcommands: [VaultListCommand.self, VaultShowCommand.self, VaultExportCommand.self])
}

/// Which of the configured file vaults is meant.
struct VaultChoice: ParsableArguments {
    @Option(help: "The backend; needed only where several file vaults are configured.")
    var backend: String?

    func vault(_ composition: Composition) throws(CommandFailure) -> FileVault {
        let vaults = composition.configuration.backends.filter { $0.value.type == "file-vault" }
        let chosen: String
        if let backend {
            chosen = backend
        } else {
            guard vaults.count == 1, let only = vaults.first?.key else {
                throw CommandFailure(
                    .usage, vaults.isEmpty ? "keyturn.yaml has no file vault" : "there are several file vaults",
                    advice: vaults.isEmpty
                        ? "" : "name one with --backend: \(vaults.keys.sorted().joined(separator: ", "))")
            }
            chosen = only
        }
        guard let directory = vaults[chosen]?.parameters.string("directory") else {
            throw CommandFailure(.usage, "there is no file vault '\(chosen)' in keyturn.yaml")
        }
        return FileVault(directory: directory)
    }
}

struct VaultListCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Lists secrets and versions in the file vault.",
        discussion: "Example:\n  keyturn vault list")

    @OptionGroup var choice: VaultChoice
    @OptionGroup var options: GlobalOptions

    private struct Wire: Encodable {
        let secret: String
        let versions: [Int]
        @Nullable var current: Int?
    }

    func execute() async throws {
        let vault = try choice.vault(try Composition.load(options))
        let entries = try vault.secrets().map { name in
            Wire(secret: name, versions: try vault.versions(name), current: try vault.currentVersion(name))
        }
        switch options.format {
        case .json: Terminal.print(try JSONText.pretty(["secrets": entries]))
        case .table where entries.isEmpty: Terminal.tell("the vault is empty")
        case .table:
            var table = Table("SECRET", "CURRENT", "VERSIONS")
            for entry in entries {
                table.add(
                    entry.secret, entry.current.map { "\($0)" } ?? "-",
                    entry.versions.map { "\($0)" }.joined(separator: " "))
            }
            Terminal.print(table.text(color: options.color))
        }
    }
}

struct VaultShowCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Prints a value to standard output, and nothing else.",
        discussion: """
            A line break is added only on a terminal.

            Examples:
              keyturn vault show payments/momento-cache | xclip -selection clipboard
              keyturn vault show payments/momento-cache --version 3
            """)

    @Argument(help: "The secret, or its path in the vault.")
    var secret: String

    @Option(help: "The version; the current one when absent.")
    var version: Int?

    @OptionGroup var choice: VaultChoice
    @OptionGroup var options: GlobalOptions

    func execute() async throws {
        let composition = try Composition.load(options)
        let vault = try choice.vault(composition)
        guard let number = try version ?? vault.currentVersion(secret),
            let file = try vault.encrypted(secret, version: number)
        else {
            throw CommandFailure(
                .failed, "the vault has no \(version.map { "version \($0) of" } ?? "current") \(secret)")
        }
        let value = try FileVaultBackend.decrypt(file, with: try composition.identities(), secret)
        Terminal.print(bytes: value.exposedBytes())
        if Terminal.outputIsTerminal { Terminal.print("") }
    }
}

struct VaultExportCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Copies the current versions, still encrypted, into a folder.",
        discussion: """
            The copies are age files; the stock command opens them: age -d -i var/identity.txt FILE

            Example:
              keyturn vault export /media/backup/keys
            """)

    @Argument(help: "The folder; made when it is missing. Files that are there are not overwritten.")
    var directory: String

    @OptionGroup var choice: VaultChoice
    @OptionGroup var options: GlobalOptions

    func execute() async throws {
        let vault = try choice.vault(try Composition.load(options))
        let folder = GlobalOptions.absolute(directory)
        for name in vault.secrets() {
            guard let number = try vault.currentVersion(name), let file = try vault.encrypted(name, version: number)
            else {
                continue
            }
            let path = "\(folder)/\(name).\(number).age"
            guard !FileManager.default.fileExists(atPath: path) else {
                throw CommandFailure(.failed, "\(path) exists already", advice: "export into an empty folder")
            }
            try AtomicFile.makeFolder(AtomicFile.folder(of: path))
            try AtomicFile.write(SecretValue(file), to: path)
            Terminal.print(path)
        }
    }
}
