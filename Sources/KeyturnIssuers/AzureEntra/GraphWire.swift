import Foundation

/// What Microsoft Graph answers about passwords of applications:
/// https://learn.microsoft.com/graph/api/resources/passwordcredential
enum GraphWire {
    struct Credential: Decodable {
        let keyId: String?
        let displayName: String?
        let secretText: String?
        let startDateTime: String?
        let endDateTime: String?
    }

    struct Application: Decodable { let passwordCredentials: [Credential]? }

    struct Add: Encodable {
        struct Wanted: Encodable {
            let displayName: String
            let endDateTime: String
        }
        let passwordCredential: Wanted
    }

    struct Remove: Encodable { let keyId: String }

    struct Refusal: Decodable {
        struct Inner: Decodable { let code: String? }
        let error: Inner?
    }
}
