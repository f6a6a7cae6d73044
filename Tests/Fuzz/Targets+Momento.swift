import Foundation
import KeyturnCore
import KeyturnHTTP
import KeyturnIssuers
import KeyturnSystem
import Synchronization
import TestSupport

/// Time of which every wait is over at once.
private final class HastyTimekeeper: Timekeeper {
    private let date: Mutex<Date>

    init(startingAt date: Date) { self.date = Mutex(date) }

    func now() -> Date { date.withLock { $0 } }

    func reading() -> ClockReading {
        let now = now()
        return ClockReading(wall: now, uptime: now.timeIntervalSince1970, boot: "boot")
    }

    func sleep(for duration: Duration) async throws {
        try Task.checkCancellation()
        let seconds = Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
        date.withLock { $0 += seconds + 0.001 }
    }
}

extension Targets {
    /// Momento's keys, its console's file and its answers, over HTTP and in gRPC.
    static func momento(_ folder: ScratchFolder) throws -> [FuzzTarget] {
        let oracle = Oracle()
        let address = try oracle.address()
        let start = Date(timeIntervalSince1970: 1_800_000_000)
        // Pauses that an answer asks for pass at once.
        let services = try SystemServices.forTests(
            folder, environment: ["KEY": "k"], time: HastyTimekeeper(startingAt: start))
        func issuer(_ type: String) throws -> any Issuer {
            guard let kind = IssuerRegistry.all.first(where: { $0.description.type == type }) else {
                throw Violation("there is no issuer \(type)")
            }
            return try kind.make(
                "fuzzed",
                [
                    "apiKey": .secret(.environment("KEY")), "endpoint": .string("cell.example.com"),
                    "address": .string(address), "cacheAddress": .string(address),
                    "operationsPerSecond": .integer(1000),
                ], services)
        }
        let issuers = [try issuer("momento"), try issuer("momento-v1")]
        let words = [
            "{", "}", "\"", ":", ",", "null", "\"apiKey\":", "\"authToken\":", "\"refreshToken\":", "\"validUntil\":",
            "\"endpoint\":", "\"Infinity\"", "1e300", "eyJ0IjoiZyJ9", ".", "=", "e30",
        ]
        return [
            FuzzTarget("momento-key", words: words) { bytes in
                guard let key = MomentoKey(SecretValue(bytes)) else { return }
                try require(!key.bearer.isEmpty, "a key without a text")
                try require(key.endpoint.map(MomentoKey.isHost) ?? true, "a key is sent to what is no host")
                try require(!"\(key)".contains(canary), "a key shows itself")
                guard key.generation == .v1, let endpoint = key.endpoint, let text = key.bearer.exposedText() else {
                    return
                }
                let again = MomentoKey(MomentoKey.wrapped(text, endpoint: endpoint))
                try require(again?.bearer.matches(key.bearer) == true, "a wrapped key is another one")
            },
            FuzzTarget("momento-console-file", words: words) { bytes in
                for issuer in issuers.compactMap({ $0 as? any ReadsDownloadedKeys }) {
                    do throws(InvalidAdoptedKey) {
                        let key = try issuer.read(SecretValue(bytes), now: start)
                        guard key.issuedAt <= start, key.expiresAt.map({ $0 > start }) ?? true else {
                            throw InvalidAdoptedKey(reason: "times broke")
                        }
                    } catch {
                        try requireSilent(error)
                        try require(!error.reason.contains("broke"), error.reason)
                    }
                }
            },
            FuzzTarget(
                "momento-answer",
                words: words + [
                    "\"key_info\":", "\"api_key\":", "\"key_id\":", "\"next_token\":", "\"description\":", "[", "]",
                ],
                share: 0.05
            ) { bytes in
                oracle.answer(bytes)
                try await drive(issuers[0])
            },
            // The first byte says where the status stands, the second is the status, the third the length of its message.
            FuzzTarget("grpc-answer", words: ["\0\0\0\0\0", "\0\0\0\0\u{1}", "%20", "%", "%zz"]) { bytes in
                let message = bytes.dropFirst(3).prefix(Int(bytes.dropFirst(2).first ?? 0))
                let body = Array(bytes.dropFirst(3 + message.count))
                let lines = [
                    (name: "grpc-status", value: String(bytes.dropFirst().first ?? 0)),
                    (name: "grpc-message", value: text(Array(message))),
                ]
                let isTrailer = bytes.first.map { $0 % 2 == 0 } ?? true
                let response = HTTPResponse(
                    status: 200,
                    headers: HTTPHeaders([("content-type", "application/grpc")] + (isTrailer ? [] : lines)),
                    trailers: HTTPHeaders(isTrailer ? lines : []), body: SecretValue(body))
                let answer: SecretValue
                do throws(GRPCError) { answer = try GRPCClient.message(of: response) } catch {
                    return try requireSilent(SystemError(error, from: "the service", now: start))
                }
                try require(GRPCFrame.framed(answer).exposedBytes() == body, "a frame is not what it was read as")
            },
        ]
    }

    private static func drive(_ issuer: any Issuer) async throws {
        let parameters: Parameters = ["role": .string("r"), "check": .map(["cache": .string("c")])]
        let request = IssueRequest(
            lineage: Lineage(
                secret: try SecretName("team/key"), version: 2, nonce: String(repeating: "0", count: 32)),
            parameters: parameters, lifetime: 86_400, intendedAt: Date(timeIntervalSince1970: 1_700_000_000),
            knownKeyIDs: [])
        try await silently {
            let key = try await issuer.issue(request, prepared: IssuePreparation())
            try require(!key.material.value.isEmpty && key.keyID?.isEmpty == false, "a key without a text or a name")
        }
        try await silently { _ = try await issuer.resolve(request, prepared: IssuePreparation()) }
        let handle = KeyHandle(
            secret: request.lineage.secret, version: 2, keyID: nil,
            material: KeyMaterial(value: SecretValue(utf8: "eyJ9.eyJ0IjoiZyIsImp0aSI6ImsifQ.c2ln")),
            parameters: parameters)
        try await silently { _ = try await issuer.check(handle) }
        try await silently { try await issuer.revoke(handle) }
    }
}
