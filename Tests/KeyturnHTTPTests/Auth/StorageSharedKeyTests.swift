import Foundation
import KeyturnCore
import TestSupport
import Testing

@testable import KeyturnHTTP

@Suite("Shared Key of Azure Storage")
struct StorageSharedKeyTests {
    private struct Case: Encodable {
        var method = "GET"
        var url = ""
        var headers: [[String]] = []
        var length = 0
        var account = ""
        var key = ""
        var date = ""
    }

    private struct Answer: Decodable { let authorization: String }

    private func authorization(_ question: Case) throws -> String {
        let signer = try #require(
            StorageSharedKey(account: question.account, key: SecretValue(utf8: question.key)))
        let body = question.length == 0 ? nil : SecretValue([UInt8](repeating: 0x61, count: question.length))
        var request = HTTPRequest(question.method, question.url, body: body)
        for header in question.headers { request.set(header[0], header[1]) }
        let signed = try signer.sign(request, at: try #require(HTTPDate.parse(question.date)))
        guard case .plain(let text) = signed.headers.last?.value else { return "" }
        return text
    }

    @Test func theVendorSignsThreeHundredRandomRequestsTheSame() throws {
        var generator = SeededGenerator(seed: 20_270_101)
        let cases = try (0..<300).map { _ in try Self.random(using: &generator) }
        let answers = try PythonScript("shared_key_azure.py", needs: "azure-storage-blob")
            .ask(cases, for: Answer.self)
        try #require(answers.count == cases.count)
        for (question, answer) in zip(cases, answers) {
            let ours = try authorization(question)
            if ours != answer.authorization {
                Issue.record("\(question)\nours   \(ours)\ntheirs \(answer.authorization)")
            }
        }
    }

    @Test func dateAndSignatureAreSentAndTheKeyIsNot() throws {
        let key = Data("CANARY".utf8).base64EncodedString()
        let signer = try #require(StorageSharedKey(account: "a", key: SecretValue(utf8: key)))
        let signed = try signer.sign(
            HTTPRequest("GET", "https://h/?comp=list"), at: Date(timeIntervalSince1970: 784_111_777))
        #expect(signed.headers.map(\.name) == ["x-ms-date", "Authorization"])
        guard case .plain("Sun, 06 Nov 1994 08:49:37 GMT") = signed.headers[0].value,
            case .plain(let text) = signed.headers[1].value
        else {
            Issue.record("\(signed.headers)")
            return
        }
        #expect(text.hasPrefix("SharedKey a:") && !text.contains(key))
    }

    @Test(arguments: ["", "not base64!", "=", "abc"])
    func whatIsNoKeyIsNone(text: String) {
        #expect(StorageSharedKey(account: "a", key: SecretValue(utf8: text)) == nil)
    }

    @Test func datesAreWrittenAsTheyAreRead() throws {
        for seconds in stride(from: 0.0, to: 4_000_000_000, by: 7_777_777) {
            let date = Date(timeIntervalSince1970: seconds)
            #expect(HTTPDate.parse(HTTPDate.format(date)) == date)
        }
        #expect(HTTPDate.format(Date(timeIntervalSince1970: 1_800_000_000)) == "Fri, 15 Jan 2027 08:00:00 GMT")
    }

    // MARK: Random requests

    private static func random(using generator: inout SeededGenerator) throws -> Case {
        func pick<Value>(_ values: [Value]) throws -> Value { try #require(values.randomElement(using: &generator)) }
        let characters = Array("abcXYZ019-._~ /+=&%?#:@!$'()*,;<>\"[]{}|\\^`äß✓")
        func text(_ count: ClosedRange<Int>) throws -> String {
            String(try (0..<Int.random(in: count, using: &generator)).map { _ in try pick(characters) })
        }
        var question = Case()
        question.method = try pick(["GET", "PUT", "DELETE", "HEAD"])
        question.account = try pick(["a", "payments1", "devstoreaccount1"])
        let host = try pick(["\(question.account).blob.core.windows.net", "127.0.0.1:10000"])
        let path = try (0..<Int.random(in: 0...3, using: &generator)).map { _ in
            SigV4.encode(try text(1...8), keepingSlash: false)
        }
        let names = ["comp", "restype", "prefix", "maxresults", "timeout", "include"].shuffled(using: &generator)
        let pairs = try names.prefix(Int.random(in: 0...4, using: &generator)).map {
            "\($0)=\(SigV4.encode(try text(1...8), keepingSlash: false))"
        }
        question.url = "https://\(host)/\(path.joined(separator: "/"))"
        if !pairs.isEmpty { question.url += "?" + pairs.joined(separator: "&") }
        let headers = [
            "x-ms-version", "x-ms-client-request-id", "x-ms-blob-type", "Content-Type", "Content-MD5",
            "Content-Encoding", "Content-Language", "If-Match", "If-None-Match", "If-Modified-Since",
            "If-Unmodified-Since", "Accept",
        ].shuffled(using: &generator)
        question.headers = try headers.prefix(Int.random(in: 0...6, using: &generator)).map {
            [$0, try pick(["2021-08-06", "a", "x/y; z=1", "\"0x8D\"", "*", "a  b"])]
        }
        question.length = try pick([0, 0, 1, 17, 100])
        question.key = Data((0..<64).map { _ in UInt8.random(in: 0...255, using: &generator) }).base64EncodedString()
        question.date = HTTPDate.format(
            Date(timeIntervalSince1970: Double(Int.random(in: 0...4_000_000_000, using: &generator))))
        return question
    }
}
