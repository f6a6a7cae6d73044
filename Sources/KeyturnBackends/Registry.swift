package import KeyturnCore
package import KeyturnSystem

/// A type of backend with the function that makes one.
package struct BackendType: Sendable {
    package let description: BackendDescription
    /// - Parameters: the backend's name in keyturn.yaml, its parameters, what it may use.
    package let make: @Sendable (String, Parameters, SystemServices) throws(SystemError) -> any Backend
}

/// The backends that are built in: one line each.
package enum BackendRegistry {
    package static let all: [BackendType] = [
        FileVaultBackend.type,
        VaultKV2Backend.type,
        AWSSecretsManagerBackend.type,
        AWSSSMParameterBackend.type,
        AzureKeyVaultBackend.type,
        KubernetesSecretBackend.type,
        GitHubActionsSecretBackend.type,
        GCPSecretManagerBackend.type,
        FileBackend.type,
        DotenvBackend.type,
        HTTPBackend.type,
        CommandBackend.type,
    ]

    package static var descriptions: [BackendDescription] { all.map(\.description) }
}
