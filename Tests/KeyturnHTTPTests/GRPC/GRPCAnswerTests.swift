import KeyturnCore
import KeyturnHTTP
import Testing

@Suite("Answers of gRPC")
struct GRPCAnswerTests {
    private func answer(
        _ body: [UInt8] = [0, 0, 0, 0, 2, 7, 8], status: Int = 200, type: String = "application/grpc",
        headers: [(name: String, value: String)] = [],
        trailers: [(name: String, value: String)] = [("grpc-status", "0")]
    ) -> HTTPResponse {
        HTTPResponse(
            status: status, headers: HTTPHeaders([("content-type", type)] + headers), trailers: HTTPHeaders(trailers),
            body: SecretValue(body))
    }

    @Test func aMessageComesWithAStatusInTheTrailers() throws {
        #expect(try GRPCClient.message(of: answer()).exposedBytes() == [7, 8])
        let empty = try GRPCClient.message(of: answer([0, 0, 0, 0, 0], type: "application/grpc+proto"))
        #expect(empty.isEmpty)
    }

    @Test func aFrameIsWhatItWasMadeOf() {
        for size in [0, 1, 255, 256, 70_000] {
            let message = SecretValue((0..<size).map { UInt8(truncatingIfNeeded: $0) })
            #expect(GRPCFrame.message(in: GRPCFrame.framed(message))?.matches(message) == true)
        }
    }

    @Test(
        "One whole uncompressed message, or none",
        arguments: [
            [], [0], [0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1, 7, 8], [1, 0, 0, 0, 1, 7],
            [0, 0xFF, 0xFF, 0xFF, 0xFF, 7], [0, 0, 0, 0, 1, 7, 0, 0, 0, 0, 1, 7],
        ] as [[UInt8]])
    func otherFramesAreRefused(frame: [UInt8]) throws {
        #expect(GRPCFrame.message(in: SecretValue(frame)) == nil)
        #expect(throws: GRPCError.self) { try GRPCClient.message(of: answer(frame)) }
    }

    @Test func aRefusalHasItsStatusAmongTheTrailersOrTheHeaders() throws {
        let lines: [(name: String, value: String)] = [
            ("grpc-status", "7"), ("Grpc-Message", "made%20up: %C3%A4 %zz 100%"),
        ]
        for answer in [answer([], headers: lines, trailers: []), answer([], trailers: lines), answer(trailers: lines)] {
            do {
                _ = try GRPCClient.message(of: answer)
                Issue.record("a refusal has no message")
            } catch .status(let status, _) {
                #expect(status.code == .permissionDenied)
                #expect(status.message == "made up: ä %zz 100%")
                #expect(!"\(status)".contains("made up"))
            } catch { Issue.record("\(error)") }
        }
    }

    @Test(arguments: [
        ("17", GRPCStatus.Code.unknown), ("-1", .unknown), ("", .unknown), ("x", .unknown), ("16", .unauthenticated),
    ])
    func aCodeThatNobodyKnowsIsUnknown(text: String, code: GRPCStatus.Code) {
        #expect(GRPCStatus(HTTPHeaders([("grpc-status", text)]))?.code == code)
        #expect(GRPCStatus(HTTPHeaders([("status", text)])) == nil)
    }

    @Test func whatIsNotTheServiceIsNotBelieved() throws {
        for answer in [answer(type: "text/html"), answer(trailers: [])] {
            do {
                _ = try GRPCClient.message(of: answer)
                Issue.record("it has no message")
            } catch .malformed {} catch { Issue.record("\(error)") }
        }
        do {
            _ = try GRPCClient.message(of: answer(status: 503))
            Issue.record("it has no message")
        } catch .answeredInHTTP(let response) { #expect(response.status == 503) } catch { Issue.record("\(error)") }
    }
}
