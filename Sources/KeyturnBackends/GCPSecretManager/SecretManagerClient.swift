import Foundation
import KeyturnCore
import KeyturnHTTP
import KeyturnSystem
import Synchronization

/// The calls to Secret Manager that are needed here: https://cloud.google.com/secret-manager/docs/reference/rest
struct SecretManagerClient: Sendable {
    private typealias Wire = SecretManagerWire

    private let client: GoogleClient
    /// `projects/P`, or `projects/P/locations/L` for secrets of one region.
    private let parent: String
    private let paces: Paces

    /// Google allows so many changes of one secret in a second: cloud.google.com/secret-manager/quotas.
    private final class Paces: Sendable {
        private let paces = Mutex<[String: RequestPace]>([:])
        private let perSecond: Int
        private let time: any Timekeeper

        init(perSecond: Int, time: any Timekeeper) {
            self.perSecond = perSecond
            self.time = time
        }

        subscript(path: String) -> RequestPace {
            paces.withLock { paces in
                if let pace = paces[path] { return pace }
                let pace = RequestPace(perSecond: perSecond, time: time)
                paces[path] = pace
                return pace
            }
        }
    }

    /// The most versions that are looked through.
    private static let mostPages = 40
    private static let pageSize = 250

    init(_ parameters: Parameters, _ services: SystemServices) {
        let project = FormBody.escape(parameters.string("project") ?? "")
        let location = parameters.string("location")
        parent = location.map { "projects/\(project)/locations/\(FormBody.escape($0))" } ?? "projects/\(project)"
        let usual = location.map { "https://secretmanager.\($0).rep.googleapis.com" }
        let tls = TLSSettings(parameters)
        let timeout = parameters.seconds("timeout") ?? 30
        paces = Paces(perSecond: parameters.integer("changesPerSecond") ?? 2, time: services.time)
        let login = GoogleLogin(
            parameters.map("auth"), environment: services.environment, secrets: services.secrets, http: services.http,
            tls: tls, timeout: timeout, time: services.time)
        let address = parameters.string("endpoint") ?? usual ?? "https://secretmanager.googleapis.com"
        client = GoogleClient(
            "Secret Manager", address: RequestAddress.base(address), tokens: login.tokens, http: services.http,
            tls: tls, timeout: timeout, time: services.time)
    }

    /// How errors name the service.
    var name: String { client.name }

    /// What reading a version comes to.
    enum Reading {
        /// There is no such version, or no secret.
        case nothing
        /// It is disabled or destroyed.
        case unreadable
        case value(Int, SecretValue)
    }

    func secret(_ path: String) async throws(SystemError) -> SecretManagerWire.Secret? {
        do throws(GoogleRefusal) { return try await client.call("GET", address(path), as: Wire.Secret.self) } catch {
            guard error.error.code != .notFound else { return nil }
            throw error.error
        }
    }

    /// One that is there already is no failure.
    func create(_ path: String, _ secret: SecretManagerWire.Create) async throws(SystemError) {
        do throws(GoogleRefusal) {
            _ = try await client.call(
                "POST", "/v1/\(parent)/secrets?secretId=\(FormBody.escape(path))", body: try Self.body(secret),
                as: Wire.Empty.self)
        } catch {
            guard error.status != "ALREADY_EXISTS" else { return }
            throw error.error
        }
    }

    /// Changes what the change holds, when nobody else changed the secret since it was read.
    ///
    /// - Returns: false when somebody did.
    func change(_ path: String, _ change: SecretManagerWire.Change) async throws(SystemError) -> Bool {
        let fields = [
            change.annotations.map { _ in "annotations" }, change.versionAliases.map { _ in "versionAliases" },
        ].compactMap { $0 }
        return try await paces[path].run { () async throws(SystemError) in try await patch(path, change, fields) }
    }

    private func patch(
        _ path: String, _ change: SecretManagerWire.Change, _ fields: [String]
    ) async throws(SystemError) -> Bool {
        do throws(GoogleRefusal) {
            _ = try await client.call(
                "PATCH", "\(address(path))?updateMask=\(fields.joined(separator: ","))", body: try Self.body(change),
                as: Wire.Empty.self)
            return true
        } catch {
            guard !Self.isChanged(error) else { return false }
            throw error.error
        }
    }

    /// The oldest first.
    func versions(_ path: String) async throws(SystemError) -> [SecretManagerWire.Version] {
        var found: [Wire.Version] = []
        var page = ""
        for _ in 0..<Self.mostPages {
            let answer: Wire.Page
            do throws(GoogleRefusal) {
                answer = try await client.call(
                    "GET", "\(address(path))/versions?pageSize=\(Self.pageSize)\(page)", as: Wire.Page.self)
            } catch {
                guard error.error.code != .notFound else { return [] }
                throw error.error
            }
            found += answer.versions ?? []
            guard let next = answer.nextPageToken, !next.isEmpty else {
                return found.filter { $0.number != nil }.sorted { ($0.number ?? 0) < ($1.number ?? 0) }
            }
            page = "&pageToken=\(FormBody.escape(next))"
        }
        throw SystemError(.badAnswer, "\(name): the list of versions does not end")
    }

    /// Makes one more version, each time.
    func add(_ value: SecretValue, to path: String) async throws(SystemError) -> Int {
        let payload = value.withUnsafeBytes { bytes in
            Wire.Payload(data: Data(bytes), dataCrc32c: String(CRC32C.checksum(bytes)))
        }
        let body = try JSONBody.encode(Wire.Add(payload: payload))
        let made = try await paces[path].run { () async throws(SystemError) in
            do throws(GoogleRefusal) {
                return try await client.call(
                    "POST", "\(address(path)):addVersion", body: body, mayRepeat: false, as: Wire.Version.self)
            } catch { throw error.error }
        }
        guard let number = made.number else {
            throw SystemError(.badAnswer, "\(name): the write was answered without a version", mayHaveTakenEffect: true)
        }
        return number
    }

    /// - Parameter version: a number, or `latest`.
    func read(_ version: String, of path: String) async throws(SystemError) -> Reading {
        let answer: Wire.Accessed
        do throws(GoogleRefusal) {
            answer = try await client.call(
                "GET", "\(address(path))/versions/\(version):access", as: Wire.Accessed.self)
        } catch {
            if error.error.code == .notFound { return .nothing }
            if error.status == "FAILED_PRECONDITION" { return .unreadable }
            throw error.error
        }
        guard let number = Wire.number(answer.name), let payload = answer.payload
        else { throw SystemError(.badAnswer, "\(name): a value was answered that is none") }
        let data = payload.data ?? Data()
        guard let sum = payload.dataCrc32c, UInt32(sum) == CRC32C.checksum(data) else {
            throw SystemError(.badAnswer, "\(name): a value came with a checksum that is not its own")
        }
        return .value(number, SecretValue(data))
    }

    enum Ending: String { case disable, destroy }

    /// - Returns: false when somebody else changed the version since it was read.
    func end(
        _ ending: Ending, _ version: SecretManagerWire.Version, of path: String
    ) async throws(SystemError) -> Bool {
        guard let number = version.number else { return true }
        do throws(GoogleRefusal) {
            _ = try await client.call(
                "POST", "\(address(path))/versions/\(number):\(ending)",
                body: try Self.body(Wire.Tagged(etag: version.etag)), as: Wire.Empty.self)
            return true
        } catch {
            guard error.error.code != .notFound else { return true }
            guard !Self.isChanged(error) else { return false }
            throw error.error
        }
    }

    /// Those of the permissions that our account lacks at a secret that is there.
    func missing(_ permissions: [String], at path: String) async throws(SystemError) -> [String] {
        struct Question: Encodable { let permissions: [String] }
        struct Answer: Decodable { let permissions: [String]? }
        let answer: Answer
        do throws(GoogleRefusal) {
            answer = try await client.call(
                "POST", "\(address(path)):testIamPermissions", body: try Self.body(Question(permissions: permissions)),
                as: Answer.self)
        } catch { throw error.error }
        return permissions.filter { answer.permissions?.contains($0) != true }
    }

    private func address(_ path: String) -> String { "/v1/\(parent)/secrets/\(FormBody.escape(path))" }

    /// An etag that is over is a failed precondition here: cloud.google.com/secret-manager/docs/etags.
    private static func isChanged(_ refusal: GoogleRefusal) -> Bool {
        refusal.status == "FAILED_PRECONDITION" || refusal.status == "ABORTED"
    }

    private static func body(_ body: some Encodable) throws(GoogleRefusal) -> SecretValue {
        do throws(SystemError) { return try JSONBody.encode(body) } catch {
            throw GoogleRefusal(status: "", error: error)
        }
    }
}
