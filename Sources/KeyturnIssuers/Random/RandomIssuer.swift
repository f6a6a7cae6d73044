import Crypto
import Foundation
package import KeyturnCore
import KeyturnSystem
import Synchronization

/// Makes passwords, tokens and key pairs by itself; nobody else knows of them until a backend gets them.
package struct RandomIssuer: Issuer {
    package let traits: IssuerTraits = Self.description.traits

    private let defaults: Parameters
    private let generator: RandomSource

    init(defaults: Parameters, generator: any RandomNumberGenerator & Sendable = SystemRandomNumberGenerator()) {
        self.defaults = defaults
        self.generator = RandomSource(generator)
    }

    package func prepare(_ request: IssueRequest) async throws(SystemError) -> IssuePreparation {
        let parameters = defaults.merging(request.parameters) { _, policy in policy }
        return IssuePreparation(chosen: try generator.material(parameters))
    }

    package func issue(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssuedKey {
        guard let chosen = prepared.chosen else { throw SystemError(.local, "no value was prepared") }
        let fingerprint = chosen.fields["publicKey"].map { key in
            key.withUnsafeBytes { SHA256.hash(data: Data($0)).hexadecimal }
        }
        return IssuedKey(
            material: chosen, keyID: fingerprint, issuedAt: request.intendedAt,
            expiresAt: request.lifetime.map { request.intendedAt.addingTimeInterval(TimeInterval($0)) })
    }

    package func resolve(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssueResolution {
        .made(try await issue(request, prepared: prepared))
    }

    package func check(_ key: KeyHandle) async throws(SystemError) -> KeyCheck { .cannotTell }

    package func revoke(_ key: KeyHandle) async throws(SystemError) {}
}

/// The random source, shared by all secrets of an issuer.
private final class RandomSource: Sendable {
    private let generator: Mutex<any RandomNumberGenerator & Sendable>

    init(_ generator: any RandomNumberGenerator & Sendable) { self.generator = Mutex(generator) }

    func material(_ parameters: Parameters) throws(SystemError) -> KeyMaterial {
        switch parameters.string("format") ?? "password" {
        case "rsa": return try KeyPair(.rsa(bits: parameters.integer("bits") ?? 3072)).material
        case "ed25519": return try KeyPair(.ed25519).material
        case "p256": return try KeyPair(.p256).material
        case "uuid":
            var bytes = self.bytes(16)
            bytes[6] = (bytes[6] & 0x0F) | 0x40
            bytes[8] = (bytes[8] & 0x3F) | 0x80
            let text = [0..<4, 4..<6, 6..<8, 8..<10, 10..<16].map { bytes[$0].hexadecimal }.joined(separator: "-")
            return KeyMaterial(value: SecretValue(utf8: text))
        case "hex": return try password(parameters, alphabet: "hex")
        case "base64url": return try password(parameters, alphabet: "base64url")
        default: return try password(parameters, alphabet: nil)
        }
    }

    private func password(_ parameters: Parameters, alphabet: String?) throws(SystemError) -> KeyMaterial {
        var parameters = parameters
        if let alphabet { parameters["alphabet"] = .string(alphabet) }
        do throws(PasswordRules.RuleError) {
            let rules = try PasswordRules(parameters)
            let bytes = generator.withLock { generator in Self.draw(rules, &generator) }
            return KeyMaterial(value: SecretValue(bytes))
        } catch {
            throw SystemError(.misconfigured, "no password can be made: \(error.reason)")
        }
    }

    private static func draw(_ rules: PasswordRules, _ generator: inout any RandomNumberGenerator & Sendable) -> [UInt8]
    {
        func open(_ generator: inout some RandomNumberGenerator) -> [UInt8] { rules.password(using: &generator) }
        return open(&generator)
    }

    private func bytes(_ count: Int) -> [UInt8] {
        generator.withLock { generator in
            (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next() >> 32) }
        }
    }
}

extension RandomIssuer {
    static let type = IssuerType(description: description) { _, parameters, _ in RandomIssuer(defaults: parameters) }

    private static let parameters: [ParameterField] =
        [
            ParameterField(
                "format", .choice(["password", "hex", "base64url", "uuid", "rsa", "ed25519", "p256"]),
                "What is made; password when absent."),
            ParameterField("bits", .integer(2048...8192), "Size of an RSA key; 3072 when absent."),
        ] + PasswordRules.fields

    static let description = IssuerDescription(
        type: "random",
        summary: "Passwords, hex and base64url text, UUIDs and RSA, Ed25519 or P-256 key pairs, made by Keyturn.",
        configuration: ParameterSchema(parameters), issue: ParameterSchema(parameters),
        traits: IssuerTraits(kind: .chosen, checks: false, revokes: false), fields: ["privateKey", "publicKey"],
        check: problems)

    @Sendable private static func problems(
        _ configuration: Parameters, _ issue: Parameters, _ lifetime: Int64?
    ) -> [ParameterProblem] {
        let parameters = configuration.merging(issue) { _, policy in policy }
        switch parameters.string("format") ?? "password" {
        case "rsa":
            let bits = parameters.integer("bits") ?? 3072
            return bits % 1024 == 0
                ? [] : [ParameterProblem(path: ["bits"], message: "an RSA key has a multiple of 1024 bits")]
        case "uuid", "ed25519", "p256": return []
        case let format:
            var parameters = parameters
            if format != "password" { parameters["alphabet"] = .string(format) }
            return PasswordRules.problems(parameters)
        }
    }
}
