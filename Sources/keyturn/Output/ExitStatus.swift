import ArgumentParser
import KeyturnCore

/// What the program ends with. The numbers from 64 on are those of sysexits.h.
enum ExitStatus: Int32 {
    case done = 0
    /// A rotation or a check failed.
    case failed = 1
    /// `report` found keys inside `--fail-within`.
    case nearExpiry = 2
    /// A secret is quarantined.
    case quarantined = 3
    case usage = 64
    /// A policy or the configuration is wrong.
    case badConfiguration = 65
    /// A needed system is out of reach.
    case unavailable = 69
    /// Another instance holds the lock.
    case locked = 75
    case noPermission = 77

    var code: ExitCode { ExitCode(rawValue) }
}

/// Why a command ends early: what happened, and what to do about it.
struct CommandFailure: Error {
    let status: ExitStatus
    let message: String
    let advice: String

    init(_ status: ExitStatus, _ message: String, advice: String = "") {
        self.status = status
        self.message = message
        self.advice = advice
    }

    init(_ error: SystemError) {
        let status: ExitStatus =
            switch error.code {
            case .forbidden, .unauthorized: .noPermission
            case .unavailable, .timedOut, .unreachable, .tls, .rateLimited, .circuitOpen, .badAnswer: .unavailable
            case .misconfigured, .unsupported: .badConfiguration
            default: .failed
            }
        self.init(status, error.message, advice: error.advice)
    }

    init(_ error: JournalError) {
        let status: ExitStatus =
            switch error {
            case .locked, .leaseLost: .locked
            case .permission: .noPermission
            case .newerSchema: .badConfiguration
            case .incomplete, .full, .damaged, .failed: .failed
            }
        self.init(status, error.description)
    }
}
