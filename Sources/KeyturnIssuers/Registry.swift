package import KeyturnCore
package import KeyturnSystem

/// A type of issuer with the function that makes one.
package struct IssuerType: Sendable {
    package let description: IssuerDescription
    /// - Parameters: the issuer's name in keyturn.yaml, its parameters, what it may use.
    package let make: @Sendable (String, Parameters, SystemServices) throws(SystemError) -> any Issuer
}

/// The issuers that are built in: one line each.
package enum IssuerRegistry {
    package static let all: [IssuerType] = [
        RandomIssuer.type,
        AWSIAMIssuer.type,
        AzureEntraIssuer.type,
        AzureStorageIssuer.type,
        GCPServiceAccountKeyIssuer.type,
        MomentoIssuer.type,
        MomentoV1Issuer.type,
        PostgreSQLRoleIssuer.type,
        RedisACLIssuer.type,
        HTTPIssuer.type,
        CommandIssuer.type,
    ]

    package static var descriptions: [IssuerDescription] { all.map(\.description) }
}
