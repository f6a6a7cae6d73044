import Foundation
import KeyturnCore
import TestSupport

/// The Momento of `Tests/PeerTests/peers/momento.py` as a child process, at a time in the test's hand.
final class MomentoPeer: Sendable {
    struct State: Decodable {
        /// The gRPC calls that came in, by name.
        let calls: [String]
        /// How many keys of the first generation were made.
        let made: Int
        let descriptions: [String]
        /// What the newest key may do, statement by statement.
        let permissions: [String]
        /// The metadata `authorization` of each call.
        let authorization: [String?]
    }

    private struct Places: Decodable {
        let address: String
        let grpc: String
        let adminKey: String
        let adminV1: String
    }

    static let start = Date(timeIntervalSince1970: 1_800_000_000)

    private let process: PeerProcess
    /// The account's API for keys and the caches.
    let address: String
    /// The service `auth.Auth`.
    let grpc: String
    /// What Keyturn calls with.
    let environment: [String: String]

    init() throws {
        process = try PeerProcess(["peers.momento", String(Int(Self.start.timeIntervalSince1970))])
        let places = try process.hear(Places.self)
        address = places.address
        grpc = places.grpc
        environment = ["MOMENTO_ADMIN": places.adminKey, "MOMENTO_V1": places.adminV1]
    }

    /// Says what the next calls are answered.
    @discardableResult func tell(_ order: String = "{}") throws -> State { try process.ask(order, for: State.self) }
}
