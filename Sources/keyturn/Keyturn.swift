import ArgumentParser
import CLinux

#if canImport(Glibc)
    import Glibc
#endif

@main
struct Keyturn: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keyturn",
        abstract: "Turns credentials over without an outage.",
        discussion: """
            Reads rotation policies, creates each replacement key before the old one expires, puts it into every secret \
            backend, proves that it works, makes it current, and retires the old key after a grace.

            A first rotation:
              keyturn init demo && cd demo
              keyturn run --once
              keyturn report

            Exit statuses: 0 done; 1 something failed; 2 keys near expiry (report --fail-within); 3 something is \
            quarantined; 64 usage; 65 bad policy or configuration; 69 a system is out of reach; 75 another instance holds \
            the lock; 77 no permission.

            Shell completion: keyturn --generate-completion-script bash|zsh|fish
            """,
        version: Composition.version,
        subcommands: [
            InitCommand.self, ValidateCommand.self, ReportCommand.self, RunCommand.self, RotateCommand.self,
            RollbackCommand.self,
            StatusCommand.self, ExplainCommand.self, HistoryCommand.self, AuditCommand.self, VaultCommand.self,
            AdoptCommand.self, NextCommand.self, OrphansCommand.self, PauseCommand.self, ResumeCommand.self,
            DriftCommand.self, DoctorCommand.self, IssuersCommand.self, BackendsCommand.self, SchemaCommand.self,
        ])

    static func main() async {
        // Before anything else: no core file, and no file that others can read.
        var none = rlimit(rlim_cur: 0, rlim_max: 0)
        setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
        // A limit alone is not enough: the kernel gives no heed to it where dumps go to a program.
        keyturn_refuse_dumps()
        // Nor a report of a crash by the Swift runtime, which shows registers and memory and takes minutes.
        for crash in [SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGQUIT, SIGSEGV, SIGTRAP] { signal(crash, SIG_DFL) }
        umask(0o077)
        signal(SIGPIPE, SIG_IGN)
        await main(nil)
    }
}
