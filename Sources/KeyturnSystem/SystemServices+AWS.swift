package import KeyturnHTTP

extension SystemServices {
    /// What the credentials of an AWS system may use.
    package func forAWS(region: String, tls: TLSSettings, timeout: Int) -> AWSCredentialSource.Services {
        AWSCredentialSource.Services(
            environment: environment, secrets: secrets, http: http, time: time, tls: tls, timeout: timeout,
            region: region)
    }
}
