import Foundation
import KeyturnCore
import TestSupport
import Testing

@testable import KeyturnHTTP

@Suite("AWS Signature Version 4")
struct SigV4Tests {
    private struct Case: Encodable {
        var method = "GET"
        var url = "https://example.amazonaws.com/"
        var headers: [[String]] = []
        var body = ""
        var accessKeyID = "AKIDEXAMPLE"
        var secretAccessKey = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
        var sessionToken: String?
        var region = "us-east-1"
        var service = "service"
        var stamp = "20150830T123600Z"
    }

    private struct Answer: Decodable { let authorization: String }

    private func authorization(_ question: Case) throws -> String {
        let credentials = AWSCredentials(
            accessKeyID: question.accessKeyID, secretAccessKey: SecretValue(utf8: question.secretAccessKey),
            sessionToken: question.sessionToken.map { SecretValue(utf8: $0) })
        let body = try #require(Data(base64Encoded: question.body))
        var request = HTTPRequest(question.method, question.url, body: body.isEmpty ? nil : SecretValue(body))
        for header in question.headers { request.set(header[0], header[1]) }
        let date = try Date(
            question.stamp,
            strategy: .iso8601.year().month().day().dateSeparator(.omitted).time(includingFractionalSeconds: false)
                .timeSeparator(.omitted))
        let signed = try SigV4(credentials: credentials, region: question.region, service: question.service)
            .sign(request, at: date)
        let headers = signed.headers.filter { $0.name == "Authorization" }
        try #require(headers.count == 1)
        guard case .plain(let text) = headers[0].value else { return "" }
        return text
    }

    /// The vectors that AWS published as aws-sig-v4-test-suite.
    @Test(
        arguments: [
            ("GET", "", [], "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("POST", "", [], "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "GET", "?Param2=value2&Param1=value1", [],
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"
            ),
            (
                "POST", "", [["My-Header1", "VALUE1"]],
                "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"
            ),
        ] as [(String, String, [[String]], String)])
    func publishedVectors(method: String, query: String, headers: [[String]], signature: String) throws {
        let text = try authorization(
            Case(method: method, url: "https://example.amazonaws.com/\(query)", headers: headers))
        let names = (["host"] + headers.map { $0[0].lowercased() } + ["x-amz-date"]).joined(separator: ";")
        #expect(
            text == "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
                + "SignedHeaders=\(names), Signature=\(signature)")
    }

    /// The example in "Create a signed AWS API request".
    @Test func theExampleOfTheUserGuide() throws {
        let text = try authorization(
            Case(
                url: "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
                headers: [["Content-Type", "application/x-www-form-urlencoded; charset=utf-8"]], service: "iam"))
        #expect(
            text.hasSuffix(
                "SignedHeaders=content-type;host;x-amz-date, "
                    + "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"))
    }

    @Test func botocoreSignsThreeHundredRandomRequestsTheSame() throws {
        var generator = SeededGenerator(seed: 20_270_101)
        let cases = try (0..<300).map { _ in try Self.random(using: &generator) }
        let answers = try PythonScript("sigv4_botocore.py", needs: "botocore").ask(cases, for: Answer.self)
        try #require(answers.count == cases.count)
        for (question, answer) in zip(cases, answers) {
            let ours = try authorization(question)
            if ours != answer.authorization {
                Issue.record("\(question)\nours   \(ours)\ntheirs \(answer.authorization)")
            }
        }
    }

    @Test func tokenAndDateAreSentAndTheKeyIsNot() throws {
        let credentials = AWSCredentials(
            accessKeyID: "AK", secretAccessKey: SecretValue(utf8: "CANARY-KEY"),
            sessionToken: SecretValue(utf8: "CANARY-TOKEN"))
        let signed = try SigV4(credentials: credentials, region: "r", service: "s")
            .sign(HTTPRequest("GET", "https://h/"), at: try instant("2027-01-01T00:00:00Z"))
        #expect(signed.headers.map(\.name) == ["X-Amz-Date", "X-Amz-Security-Token", "Authorization"])
        guard case .plain("20270101T000000Z") = signed.headers[0].value, case .secret = signed.headers[1].value,
            case .plain(let text) = signed.headers[2].value
        else {
            Issue.record("\(signed.headers)")
            return
        }
        #expect(text.contains("SignedHeaders=host;x-amz-date;x-amz-security-token, "))
        #expect(!text.contains("CANARY"))
        #expect(!"\(credentials)".contains("CANARY"))
    }

    @Test func anAddressThatCanNotBeSentIsNotSigned() {
        let credentials = AWSCredentials(accessKeyID: "AK", secretAccessKey: SecretValue(utf8: "k"))
        #expect(throws: HTTPError.self) {
            try SigV4(credentials: credentials, region: "r", service: "s")
                .sign(HTTPRequest("GET", "https://u:p@h/"), at: Date(timeIntervalSince1970: 0))
        }
    }

    // MARK: Random requests

    private static func random(using generator: inout SeededGenerator) throws -> Case {
        func pick<Value>(_ values: [Value]) throws -> Value { try #require(values.randomElement(using: &generator)) }
        let characters = Array("abcXYZ019-._~ /+=&%?#:@!$'()*,;<>\"[]{}|\\^`äß✓")
        func text(_ count: ClosedRange<Int>) throws -> String {
            String(try (0..<Int.random(in: count, using: &generator)).map { _ in try pick(characters) })
        }
        var question = Case()
        question.method = try pick(["GET", "POST", "PUT", "DELETE", "HEAD"])
        let host = try pick(["h.example", "h.example:443", "h.example:8443", "127.0.0.1:4566", "iam.amazonaws.com"])
        let path = try (0..<Int.random(in: 0...4, using: &generator)).map { _ in
            try pick([".", "..", "a", "", SigV4.encode(try text(1...8), keepingSlash: false)])
        }
        var url = "https://\(host)/\(path.joined(separator: "/"))"
        let pairs = try (0..<Int.random(in: 0...4, using: &generator)).map { _ in
            let name = SigV4.encode(try text(1...4), keepingSlash: false)
            return "\(name)=\(SigV4.encode(try text(0...8), keepingSlash: false))"
        }
        if !pairs.isEmpty { url += "?" + pairs.joined(separator: "&") }
        question.url = url
        let names = ["Content-Type", "X-Amz-Target", "x-lower", "X-UPPER", "User-Agent", "TE"].shuffled(
            using: &generator)
        question.headers = try names.prefix(Int.random(in: 0...4, using: &generator)).map {
            [$0, try pick(["a", "a  b   c", " padded ", "application/x-amz-json-1.1", "x;y=\"z\"", "é"])]
        }
        let body = (0..<Int.random(in: 0...64, using: &generator)).map { _ in
            UInt8.random(in: 0...255, using: &generator)
        }
        question.body = Data(body).base64EncodedString()
        question.sessionToken = try pick([nil, "token/with+signs=="])
        question.secretAccessKey = try pick(["wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "kurz", "ü"])
        question.region = try pick(["us-east-1", "eu-west-1", "aws-global"])
        question.service = try pick(["iam", "sts", "secretsmanager"])
        question.stamp = try pick(["20150830T123600Z", "20271231T235959Z", "20240229T000000Z"])
        return question
    }
}
