import Testing

@testable import KeyturnBackends

@Suite struct KeyVaultChallengeTests {
    private static let login = "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47"

    @Test(arguments: [
        #"Bearer authorization="\#(login)", resource="https://vault.azure.net""#,
        #"bearer resource="https://vault.azure.net/",authorization_uri="\#(login)/oauth2/authorize""#,
        #"Bearer authorization=\#(login), scope=https://vault.azure.net/.default"#,
        #"Bearer   authorization="\#(login)" ,  resource="https://vault.azure.net" , supportspop=true"#,
    ])
    func isReadInEveryForm(header: String) {
        let challenge = KeyVaultChallenge(header: header)
        #expect(challenge?.resource == "https://vault.azure.net")
        #expect(challenge?.tenant == "72f988bf-86f1-41af-91ab-2d7cd011db47")
    }

    @Test(arguments: [
        "", "Bearer", "Basic realm=x", "Bearer x", #"Bearer authorization="https://a/b""#, #"Bearer resource="""#,
        #"PoP resource="https://vault.azure.net""#,
    ])
    func anythingElseIsNone(header: String) { #expect(KeyVaultChallenge(header: header) == nil) }
}
