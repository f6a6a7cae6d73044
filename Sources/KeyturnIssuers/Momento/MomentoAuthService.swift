import Foundation
import KeyturnCore
import KeyturnHTTP
import KeyturnSystem
import SwiftProtobuf

/// Momento's gRPC service `auth.Auth`, which makes keys of the first generation.
///
/// Source: `proto/auth.proto` in https://github.com/momentohq/client-protos. The calling key goes into the message; some
/// of Momento's clients send it as metadata besides, and so do we.
struct MomentoAuthService: Sendable {
    let services: SystemServices
    let tls: TLSSettings
    /// Seconds that one call may take.
    let timeout: Int
    let pace: RequestPace

    private static let name = "Momento"

    /// - Parameter address: scheme, host and port.
    func generate(
        _ permissions: [MomentoPermission], lifetime: UInt32?, description: String, as key: MomentoKey,
        at address: String
    ) async throws(SystemError) -> MomentoWireKeyResponse {
        var request = MomentoWireGenerateKeyRequest()
        if let lifetime { request.expires.validForSeconds = lifetime } else { request.never = .init() }
        request.permissions.explicit.permissions = permissions.map(\.message)
        request.description_p = description
        request.authToken = key.bearer.exposedText() ?? ""
        return try await call("/auth.Auth/GenerateApiToken", request, as: key, at: address)
    }

    func refresh(
        _ key: MomentoKey, with token: SecretValue, at address: String
    ) async throws(SystemError) -> MomentoWireKeyResponse {
        var request = MomentoWireRefreshKeyRequest()
        request.apiKey = key.bearer.exposedText() ?? ""
        request.refreshToken = token.exposedText() ?? ""
        return try await call("/auth.Auth/RefreshApiToken", request, as: key, at: address)
    }

    private func call(
        _ method: String, _ request: some Message, as key: MomentoKey, at address: String
    ) async throws(SystemError) -> MomentoWireKeyResponse {
        guard var bytes: [UInt8] = try? request.serializedBytes() else {
            throw SystemError(.badRequest, "the request can't be written as a message")
        }
        let message = SecretValue(bytes)
        for index in bytes.indices { bytes[index] = 0 }
        let client = GRPCClient(services.http, address: address, tls: tls, timeout: timeout)
        let answer: SecretValue
        do throws(SystemError) {
            answer = try await pace.run { () throws(SystemError) in
                do throws(GRPCError) {
                    return try await client.call(method, message, metadata: [("authorization", key.bearer)])
                } catch { throw SystemError(error, from: Self.name, now: services.time.now()) }
            }
        } catch {
            if error.code == .rateLimited { pace.pause(for: error.retryAfter ?? Self.usualPause) }
            throw error
        }
        let response = answer.withUnsafeBytes { try? MomentoWireKeyResponse(serializedBytes: Data($0)) }
        guard let response, !response.apiKey.isEmpty, MomentoKey.isHost(response.endpoint) else {
            throw SystemError(.badAnswer, "\(Self.name) answered without a key", mayHaveTakenEffect: true)
        }
        return response
    }

    /// In seconds; for limits, the vendor's clients back off and do not try again by themselves.
    private static let usualPause = 2.0
}
