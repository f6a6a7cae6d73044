import Foundation
import KeyturnCore
import KeyturnHTTP
import KeyturnSystem
import Synchronization
import TestSupport
import Testing

@testable import KeyturnBackends

@Suite("Logins to Vault")
struct VaultSessionTests {
    /// A server that gives out tokens by the thousand, and answers what it is told.
    private final class Vault: Sendable {
        struct State {
            var lease = 100.0
            var renewable = true
            /// What a renewal gives; `nil` refuses it.
            var renewal: Double? = 100
            var refusesLogins = false
            var logins = 0
            var renewals = 0
            var dead: Set<String> = []
            /// Statuses of the next answers to other calls.
            var statuses: [Int] = []
            var index: String?
            var indexes: [String] = []
            var bodies: [String] = []
        }

        let state = Mutex(State())
        private let server = Mutex<TestServer?>(nil)

        init() throws {
            let server = try TestServer { [weak self] request, channel in
                guard let self else { return .close }
                let (status, body, headers) = answer(request)
                channel.answer(status, body, headers: headers)
                return .keep
            }
            self.server.withLock { $0 = server }
        }

        var address: String { server.withLock { $0?.url("") ?? "" } }

        private func answer(_ request: TestServer.Received) -> (Int, String, [String]) {
            state.withLock { state in
                let token = request.all("X-Vault-Token").first ?? ""
                if request.target.hasSuffix("/login") {
                    state.bodies.append(String(decoding: request.body, as: UTF8.self))
                    guard !state.refusesLogins else { return (503, "", []) }
                    state.logins += 1
                    return (200, auth("t\(state.logins)", state.lease, state.renewable), [])
                }
                guard !state.dead.contains(token) else { return (403, #"{"errors":["CANARY"]}"#, []) }
                if request.target.hasSuffix("/renew-self") {
                    state.renewals += 1
                    guard let renewal = state.renewal else { return (403, "", []) }
                    return (200, auth(token, renewal, state.renewable), [])
                }
                state.indexes.append(request.all("X-Vault-Index").first ?? "")
                let status = state.statuses.isEmpty ? 200 : state.statuses.removeFirst()
                return (status, "{}", state.index.map { ["X-Vault-Index: \($0)"] } ?? [])
            }
        }

        private func auth(_ token: String, _ lease: Double, _ renewable: Bool) -> String {
            #"{"auth":{"client_token":"\#(token)","lease_duration":\#(Int(lease)),"renewable":\#(renewable)}}"#
        }

        var counts: [Int] { state.withLock { [$0.logins, $0.renewals] } }
    }

    private let folder: ScratchFolder
    private let vault: Vault
    private let time = ManualTimekeeper(startingAt: Date(timeIntervalSince1970: 1_800_000_000))
    private let client: VaultClient

    init() throws {
        folder = try ScratchFolder()
        vault = try Vault()
        try folder.write("a-jwt", to: "jwt", mode: 0o644)
        client = try VaultClient(
            [
                "address": .string(vault.address),
                "auth": .map(["jwt": .map(["role": .string("r"), "tokenFile": .string(folder.path("jwt"))])]),
            ], try .forTests(folder, time: time))
    }

    private func ask() async throws(SystemError) { _ = try await client.call("GET", "secret/data/x") }

    private func pass(_ seconds: Double) { time.set(time.now().addingTimeInterval(seconds)) }

    private func failure(_ body: () async throws -> Void) async -> SystemError? {
        do { try await body() } catch { return error as? SystemError }
        return nil
    }

    @Test func aTokenIsRenewedWhenMostOfItsLifeIsOver() async throws {
        try await ask()
        pass(79)
        try await ask()
        #expect(vault.counts == [1, 0])
        for round in 1...5 {
            pass(81)
            try await ask()
            #expect(vault.counts == [1, round])
        }
    }

    @Test(arguments: [nil, 49])
    func aTokenThatCannotLastIsGotAnew(renewal: Double?) async throws {
        vault.state.withLock { $0.renewal = renewal }
        try await ask()
        pass(81)
        try folder.write("another-jwt", to: "jwt", mode: 0o644)
        try await ask()
        #expect(vault.counts == [2, 1])
        #expect(vault.state.withLock { $0.bodies.last }?.contains("another-jwt") == true)
        vault.state.withLock { $0.renewable = false }
        pass(81)
        try await ask()
        pass(81)
        try await ask()
        #expect(vault.counts[0] == 4)
    }

    @Test func whatIsLeftServesWhileNoLoginGoesThrough() async throws {
        vault.state.withLock { state in
            state.renewal = nil
            state.refusesLogins = false
        }
        try await ask()
        vault.state.withLock { $0.refusesLogins = true }
        pass(85)
        try await ask()
        pass(17)
        #expect(await failure { try await ask() }?.code == .unavailable)
        vault.state.withLock { $0.refusesLogins = false }
        try await ask()
        #expect(vault.counts[0] == 2)
    }

    @Test func aRefusedTokenLeadsToOneLogin() async throws {
        try await ask()
        vault.state.withLock { _ = $0.dead.insert("t1") }
        try await ask()
        #expect(vault.counts == [2, 0])
        vault.state.withLock { $0.dead = ["t2", "t3"] }
        let error = await failure { try await ask() }
        #expect(error?.code == .forbidden && error.map { "\($0)".contains("CANARY") } == false)
        #expect(vault.counts == [3, 0])
    }

    @Test func manyCallsAtOnceLogInOnce() async throws {
        let client = client
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<20 { group.addTask { _ = try await client.call("GET", "secret/data/x") } }
            try await group.waitForAll()
        }
        #expect(vault.counts == [1, 0])
    }

    @Test func aNodeThatIsBehindIsAskedAgain() async throws {
        vault.state.withLock { state in
            state.index = "one"
            state.statuses = [200, 412, 412, 412, 412, 412]
        }
        try await ask()
        try await ask()
        #expect(vault.state.withLock { $0.indexes } == [""] + Array(repeating: "one", count: 6))
        vault.state.withLock { $0.statuses = Array(repeating: 412, count: 20) }
        let error = await failure { try await ask() }
        #expect(error?.code == .unavailable && error?.disposition == .passing)
        #expect(vault.state.withLock { $0.statuses.count } == 14, "it is not asked for ever")
    }

    @Test(arguments: [(307, "standby"), (472, "disaster recovery"), (473, "performance standby")])
    func nodesThatDoNotAnswerAreNamed(status: Int, words: String) async throws {
        vault.state.withLock { $0.statuses = [status] }
        let error = await failure { try await ask() }
        #expect(error?.code == .unavailable && error?.disposition == .passing)
        #expect(error?.message.contains(words) == true && error?.advice.isEmpty == false)
    }

    @Test func everyLoginSaysWhatItsMethodAsksFor() async throws {
        let services = try SystemServices.forTests(folder, environment: ["SECRET": "s"], time: time)
        try folder.write("pod\n", to: "pod", mode: 0o644)
        for (auth, path, body) in [
            ([:], nil, ""), (["token": .secret(.environment("SECRET"))], nil, ""),
            (
                ["appRole": .map(["roleId": .string("r"), "secretId": .secret(.environment("SECRET"))])],
                "auth/approle/login", #"{"role_id":"r","secret_id":"s"}"#
            ),
            (
                ["kubernetes": .map(["role": .string("r"), "tokenFile": .string(folder.path("pod"))])],
                "auth/kubernetes/login", #"{"jwt":"pod","role":"r"}"#
            ),
            (
                ["jwt": .map(["token": .secret(.environment("SECRET")), "mount": .string("m")])], "auth/m/login",
                #"{"jwt":"s"}"#
            ),
        ] as [(Parameters, String?, String)] {
            let login = VaultLogin(auth)
            if auth.isEmpty {
                #expect(login == nil)
                continue
            }
            let request = try await login?.request(services.secrets)
            #expect(request?.path == path)
            guard let request else { continue }
            let object = try JSONSerialization.jsonObject(with: Data(request.body.exposedBytes())) as? NSDictionary
            #expect(object == (try JSONSerialization.jsonObject(with: Data(body.utf8)) as? NSDictionary))
        }
    }
}
