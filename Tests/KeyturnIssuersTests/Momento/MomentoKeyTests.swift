import Foundation
import KeyturnCore
import KeyturnIssuers
import Testing

@Suite("Keys of Momento")
struct MomentoKeyTests {
    static func token(_ claims: String) -> String {
        let payload = Data(claims.utf8).base64EncodedString()
            .replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
            .replacingOccurrences(of: "=", with: "")
        return "eyJhbGciOiJIUzI1NiJ9.\(payload).c2lnbmF0dXJl"
    }

    private func read(_ text: String) -> MomentoKey? { MomentoKey(SecretValue(utf8: text)) }

    @Test func theGlobalOneSaysSo() throws {
        let text = Self.token(#"{"t":"g","jti":"k-1","iat":1790000000,"exp":1800000000,"x":"??>>~~"}"#)
        let key = try #require(read(text))
        #expect(key.generation == .v2 && key.endpoint == nil && key.identifier == "k-1")
        #expect(key.bearer.exposedText() == text)
        #expect(key.issuedAt == Date(timeIntervalSince1970: 1_790_000_000))
        #expect(key.expiresAt == Date(timeIntervalSince1970: 1_800_000_000))
        #expect(try #require(read(Self.token(#"{"t":"g","jti":"k-1"}"#))).expiresAt == nil)
    }

    @Test func theWrappedOneIsOpened() throws {
        let inner = Self.token(#"{"exp":1800000000}"#)
        let wrapped = try #require(MomentoKey.wrapped(inner, endpoint: "cell-1.example.com").exposedText())
        let key = try #require(read(wrapped))
        #expect(key.generation == .v1 && key.endpoint == "cell-1.example.com")
        #expect(key.bearer.exposedText() == inner)
        #expect(key.expiresAt == Date(timeIntervalSince1970: 1_800_000_000))
        let parts = try JSONDecoder().decode([String: String].self, from: #require(Data(base64Encoded: wrapped)))
        #expect(parts == ["endpoint": "cell-1.example.com", "api_key": inner])
        // An inner key that is no token has no end that we know.
        let other = try #require(MomentoKey(MomentoKey.wrapped("opaque", endpoint: "c.example.com")))
        #expect(other.expiresAt == nil && other.bearer.exposedText() == "opaque")
    }

    @Test func theLegacyOneNamesItsHosts() throws {
        let key = try #require(read(Self.token(#"{"c":"cache.cell-2.example.com","cp":"control.cell-2.example.com"}"#)))
        #expect(key.generation == .legacy && key.endpoint == "cell-2.example.com")
        #expect(try #require(read(Self.token(#"{"sub":"u"}"#))).generation == .v1)
    }

    @Test(
        "Anything else is none",
        arguments: [
            "", "text", "a.b", "a.b.c", "..", "a..c", "e30.e30", "aGVsbG8=",
            Data(#"{"endpoint":"e","api_key":""}"#.utf8).base64EncodedString(),
            Data(#"{"endpoint":"evil.example/x?","api_key":"k"}"#.utf8).base64EncodedString(),
            Data(#"{"endpoint":"u@evil.example","api_key":"k"}"#.utf8).base64EncodedString(),
            Data(#"{"endpoint":"","api_key":"k"}"#.utf8).base64EncodedString(),
            Data(#"{"endpoint":1,"api_key":"k"}"#.utf8).base64EncodedString(), String(repeating: "A", count: 70_000),
        ])
    func otherTextIsNoKey(text: String) { #expect(read(text) == nil) }

    @Test func claimsThatAreNotWhatTheySeemAreLeftOut() throws {
        let odd = try #require(read(Self.token(#"{"t":"g","exp":"soon","iat":-5,"jti":7}"#)))
        #expect(odd.expiresAt == nil && odd.issuedAt == nil && odd.identifier == nil)
        let far = try #require(read(Self.token(#"{"t":"g","exp":1e300}"#)))
        #expect(far.expiresAt == nil)
    }

    @Test func nothingOfItIsShown() throws {
        let key = try #require(MomentoKey(MomentoKey.wrapped("CANARY", endpoint: "c.example.com")))
        #expect(!String(reflecting: key).contains("CANARY") && !"\(key)".contains("CANARY"))
    }
}
