import Age
import ArgumentParser
import Foundation
import KeyturnCore
import KeyturnSystem

struct InitCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "Writes a first configuration, an identity, a key for the audit trail and an example policy.",
        discussion: """
            Nothing that exists is overwritten: if one of the files is there, none is written.

            Example:
              keyturn init demo
              cd demo && keyturn run --once
            """)

    @Argument(help: "The folder; made when it is missing.")
    var directory = "."

    @OptionGroup var options: GlobalOptions

    func execute() async throws {
        let folder = GlobalOptions.absolute(directory)
        let identity = X25519Identity()
        let created = TimeText.utc(Date())
        let files = [
            ("keyturn.yaml", Self.configurationText(identity.recipient.text)),
            ("var/identity.txt", IdentityFile.content(identity, created: created)),
            ("var/audit.key", AuditSigningKey().pem.exposedText() ?? ""),
            ("schedules/example.yaml", Self.policyText),
        ]
        // Not to be followed: a link that leads nowhere exists too.
        for (name, _) in files
        where (try? FileManager.default.attributesOfItem(atPath: "\(folder)/\(name)")) != nil {
            throw CommandFailure(
                .failed, "\(folder)/\(name) exists already; nothing was written",
                advice: "choose another folder, or remove what is there")
        }
        for (name, text) in files {
            try AtomicFile.makeFolder(AtomicFile.folder(of: "\(folder)/\(name)"))
            try AtomicFile.write(SecretValue(utf8: text), to: "\(folder)/\(name)")
            Terminal.tell("wrote \(folder)/\(name)")
        }
        Terminal.tell(
            """

            next:
              cd \(directory)
              keyturn validate      checks what was written
              keyturn run --once    makes the first key
              keyturn report        shows when it is replaced

            keep a copy of var/identity.txt in a safe place: without it neither the vault nor the state can be opened
            """)
    }

    private static func configurationText(_ recipient: String) -> String {
        """
        # Relative paths are taken from this file's folder.
        state: sqlite:var/keyturn.db
        schedules: schedules
        identity: {file: var/identity.txt}
        # Signs the audit trail; `keyturn audit key` prints the public key that proves it.
        audit: {signingKey: {file: var/audit.key}}

        issuers:
          app-passwords: {type: random, length: 32, alphabet: base64url}

        backends:
          vault: {type: file-vault, directory: var/vault, recipients: [\(recipient)]}

        """
    }

    private static let policyText = """
        # The password of an example service: replaced each 30 days, the old one stays valid for two more.
        secret: example/app-password
        description: Password of the example service
        owner: platform
        issuer: app-passwords
        lifetime: 45d
        rotate:
          every: 30d
          renewBefore: 10d
        grace: 48h
        backends:
          - {name: vault, path: example/app-password}

        """
}
