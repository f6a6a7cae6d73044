import Foundation
import KeyturnSystem

/// What the API server is asked and answers: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/secret-v1/
enum KubernetesWire {
    struct Secret: Decodable {
        struct Metadata: Decodable {
            struct ManagedFields: Decodable {
                let manager: String?
                let operation: String?
                let fieldsV1: JSONValue?
            }
            let resourceVersion: String?
            let annotations: [String: String]?
            let managedFields: [ManagedFields]?
        }
        let kind: String
        let metadata: Metadata
        let data: [String: String]?
        let immutable: Bool?
    }

    /// What one manager wants of a Secret, for server-side apply.
    struct Apply: Encodable {
        struct Metadata: Encodable {
            let name: String
            let namespace: String
            let resourceVersion: String?
            let annotations: [String: String]
        }
        let apiVersion = "v1"
        let kind = "Secret"
        let metadata: Metadata
        let data: [String: String]
    }

    /// What an annotation of ours says of the value in the key beside it.
    struct Mark: Codable, Equatable {
        let secret: String
        let version: Int
        let instance: String
        let generation: Int
    }

    struct Status: Decodable {
        struct Cause: Decodable { let reason: String? }
        struct Details: Decodable {
            let causes: [Cause]?
            let kind: String?
        }
        let kind: String?
        let reason: String?
        let details: Details?
    }

    struct AccessReview: Codable {
        struct Attributes: Codable {
            var namespace: String
            var verb: String
            var group = ""
            var resource = "secrets"
            var name: String?
        }
        struct Spec: Codable { var resourceAttributes: Attributes }
        struct Outcome: Codable { var allowed: Bool }
        var apiVersion = "authorization.k8s.io/v1"
        var kind = "SelfSubjectAccessReview"
        var spec: Spec
        var status: Outcome?
    }
}
