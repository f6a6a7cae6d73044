import Foundation
import KeyturnCore
import TestSupport
import Testing

@testable import KeyturnAlerts

@Suite("Signatures of webhooks")
struct WebhookSignatureTests {
    /// The example of the Standard Webhooks specification.
    @Test func theExampleOfTheSpecification() throws {
        let signature = try WebhookSignature(secret: SecretValue(utf8: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
        let signed = signature.sign(
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp: 1_614_265_330, body: Data(#"{"test": 2432232314}"#.utf8))
        #expect(signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
    }

    @Test(arguments: [23, 24, 64, 65]) func keysHaveTwentyFourToSixtyFourBytes(count: Int) {
        let text = "whsec_" + Data(repeating: 7, count: count).base64EncodedString()
        let isFine = (try? WebhookSignature(secret: SecretValue(utf8: text))) != nil
        #expect(isFine == (24...64).contains(count))
    }

    @Test(arguments: ["", "CANARY", "whsec_", "whsec_*", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
    func otherKeysAreRefusedAndNotRepeated(text: String) throws {
        let error = try #require(throws: SystemError.self) { try WebhookSignature(secret: SecretValue(utf8: text)) }
        #expect(error.code == .misconfigured)
        #expect(!"\(error)".contains("CANARY") && !"\(error)".contains("MfKQ"))
    }
}

@Suite("Sinks of alerts")
struct AlertSinkTests {
    private let folder: ScratchFolder
    private let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    private let event = AlertEvent(
        id: "alert-1", kind: .recovered, severity: .info, secret: try? SecretName("team/key"), owner: "ann", version: 2,
        step: "promote:vault", reason: "retry", summary: "It works again.", advice: "Nothing \"to\" do.",
        occurredAt: Date(timeIntervalSince1970: 1_800_000_000), resolves: .rotationFailed)
    private let json =
        #"{"data":{"advice":"Nothing \"to\" do.","id":"alert-1","owner":"ann","reason":"retry","#
        + #""resolves":"rotation.failed","secret":"team/key","severity":"info","step":"promote:vault","#
        + #""summary":"It works again.","version":2},"timestamp":"2027-01-15T08:00:00Z","type":"keyturn.recovered"}"#

    init() throws { folder = try ScratchFolder() }

    private func sink(_ type: String, _ parameters: Parameters, _ environment: [String: String] = [:]) throws
        -> any AlertSink
    {
        let type = try #require(AlertRegistry.all.first { $0.description.type == type })
        let time = ManualTimekeeper(startingAt: Date(timeIntervalSince1970: 1_800_000_100))
        return try type.make("ops", parameters, try .forTests(folder, environment: environment, time: time))
    }

    private func answering(_ status: Int) throws -> TestServer {
        try TestServer { _, channel in
            channel.answer(status)
            return .keep
        }
    }

    @Test func aWebhookIsPostedAndSigned() async throws {
        let server = try answering(204)
        let sink = try sink(
            "webhook",
            ["url": .string(server.url("/hook")), "signingKey": .secret(.environment("KEY"))], ["KEY": key])
        try await sink.deliver(event)
        try await sink.deliver(event)
        let got = try #require(server.received.first)
        #expect(got.method == "POST" && got.target == "/hook")
        #expect(String(decoding: got.body, as: UTF8.self) == json)
        #expect(got.all("content-type") == ["application/json"])
        #expect(got.all("webhook-id") == ["alert-1"])
        #expect(got.all("webhook-timestamp") == ["1800000100"])
        let expected = try WebhookSignature(secret: SecretValue(utf8: key))
            .sign(id: "alert-1", timestamp: 1_800_000_100, body: Data(json.utf8))
        #expect(got.all("webhook-signature") == [expected])
        #expect(server.received.map { $0.all("webhook-id") } == [["alert-1"], ["alert-1"]], "a repeat has the same id")
    }

    @Test func whileKeysChangeOverBothSign() async throws {
        let server = try answering(200)
        let next = "whsec_" + Data(repeating: 9, count: 32).base64EncodedString()
        let sink = try sink(
            "webhook",
            [
                "url": .string(server.url()), "signingKey": .secret(.environment("KEY")),
                "nextSigningKey": .secret(.environment("NEXT")),
            ], ["KEY": key, "NEXT": next])
        try await sink.deliver(event)
        let header = try #require(server.received.first?.all("webhook-signature").first)
        #expect(header.split(separator: " ").count == 2)
        #expect(Set(header.split(separator: " ")).count == 2)
    }

    @Test func withoutAKeyNothingIsSigned() async throws {
        let server = try answering(200)
        try await sink("webhook", ["url": .string(server.url())]).deliver(event)
        #expect(server.received.map { $0.all("webhook-signature") } == [[]])
    }

    @Test(arguments: [(302, false), (400, false), (410, false), (429, true), (500, true)])
    func anythingButSuccessIsAnError(status: Int, passes: Bool) async throws {
        let server = try answering(status)
        let sink = try sink("webhook", ["url": .string(server.url())])
        let error = await #expect(throws: SystemError.self) { try await sink.deliver(event) }
        #expect((error?.disposition == .passing) == passes)
        #expect(error?.message.hasPrefix("the webhook: ") == true)
    }

    @Test func anAddressThatIsASecretIsNotNamed() async throws {
        let port = try Loopback.closedPort()
        let url = "http://127.0.0.1:\(port)/CANARY"
        let secret = try sink("webhook", ["url": .secret(.environment("URL"))], ["URL": url])
        let error = await #expect(throws: SystemError.self) { try await secret.deliver(event) }
        #expect(error?.message == "the webhook can't be reached")
        let plain = try sink("webhook", ["url": .string(url)])
        let named = await #expect(throws: SystemError.self) { try await plain.deliver(event) }
        #expect(named?.message == "the webhook: no connection to 127.0.0.1:\(port)")
        let server = try answering(200)
        try await sink("webhook", ["url": .secret(.environment("URL"))], ["URL": server.url("/x")]).deliver(event)
        #expect(server.received.map(\.target) == ["/x"])
    }

    @Test func aProgramGetsTheAlertOnItsInput() async throws {
        let sink = try sink("command", ["run": .list(["sh", "-c", "cat > alert.json"].map(ParameterValue.string))])
        try await sink.deliver(event)
        #expect(folder.read("alert.json") == json)
    }

    @Test func aProgramThatLooksAtNothingHasItAllTheSame() async throws {
        let sink = try sink("command", ["run": .list([.string("true")])])
        for _ in 0..<20 { try await sink.deliver(event) }
    }

    @Test func aProgramThatFailsIsTriedAgain() async throws {
        let sink = try sink("command", ["run": .list(["sh", "-c", "exit 4"].map(ParameterValue.string))])
        let error = await #expect(throws: SystemError.self) { try await sink.deliver(event) }
        #expect(error?.disposition == .passing)
        #expect(error?.message == "the alert command ended with status 4")
    }

    @Test func eachKindHasItsWord() {
        #expect(
            AlertEvent.Kind.allCases.map(\.rawValue) == [
                "rotation.failed", "rotation.overdue", "key.expired", "retire.blocked", "orphan.possible",
                "secret.quarantined", "rotations.stopped", "reload.failed", "clock.disagrees", "state.restored",
                "drift.found", "recovered",
            ])
    }
}
