import Foundation
import KeyturnCore
import KeyturnHTTP
import Synchronization
import TestSupport
import Testing

@Suite struct AccessTokenCacheTests {
    private final class Logins: Sendable {
        let answers = Mutex<[Result<AccessToken, SystemError>]>([])
        let count = Mutex(0)

        init(_ answers: [Result<AccessToken, SystemError>]) { self.answers.withLock { $0 = answers } }

        func next() throws(SystemError) -> AccessToken {
            count.withLock { $0 += 1 }
            let answer = answers.withLock { $0.isEmpty ? nil : $0.removeFirst() }
            return try (answer ?? .failure(SystemError(.unavailable, "no more answers"))).get()
        }
    }

    private let time = ManualTimekeeper(startingAt: Date(timeIntervalSince1970: 1_800_000_000))

    private static func token(_ text: String, _ lifetime: Double = 3600) -> Result<AccessToken, SystemError> {
        .success(AccessToken(value: SecretValue(utf8: text), lifetime: lifetime))
    }

    private func cache(_ logins: Logins, slow: Bool = false) -> AccessTokenCache {
        AccessTokenCache(time: time) { () async throws(SystemError) in
            if slow { for _ in 0..<1000 { await Task.yield() } }
            return try logins.next()
        }
    }

    @Test func isKeptForMostOfItsLife() async throws {
        let logins = Logins([Self.token("one"), Self.token("two")])
        let cache = cache(logins)
        #expect(try await cache.token().exposedText() == "one")
        time.set(time.now().addingTimeInterval(2800))
        #expect(try await cache.token().exposedText() == "one")
        time.set(time.now().addingTimeInterval(100))
        #expect(try await cache.token().exposedText() == "two")
        #expect(logins.count.withLock { $0 } == 2)
    }

    @Test func oneWithoutALifeIsUsedOnce() async throws {
        let logins = Logins([Self.token("one", 0), Self.token("two", -5)])
        let cache = cache(logins)
        #expect(try await cache.token().exposedText() == "one")
        #expect(try await cache.token().exposedText() == "two")
    }

    @Test func isAskedForOnceHoweverManyWait() async throws {
        let logins = Logins([Self.token("one")])
        let cache = cache(logins, slow: true)
        let texts = try await withThrowingTaskGroup(of: String?.self) { group in
            for _ in 0..<50 { group.addTask { try await cache.token().exposedText() } }
            return try await group.reduce(into: [String?]()) { $0.append($1) }
        }
        #expect(texts == Array(repeating: "one", count: 50))
        #expect(logins.count.withLock { $0 } == 1)
    }

    @Test func aFailureIsToldToAllThatWaitedAndNotKept() async throws {
        let logins = Logins([.failure(SystemError(.unauthorized, "no")), Self.token("two")])
        let cache = cache(logins, slow: true)
        let codes = await withTaskGroup(of: SystemError.Code?.self) { group in
            for _ in 0..<20 {
                group.addTask {
                    do throws(SystemError) { _ = try await cache.token() } catch { return error.code }
                    return nil
                }
            }
            return await group.reduce(into: [SystemError.Code?]()) { $0.append($1) }
        }
        #expect(codes.contains(.unauthorized))
        #expect(logins.count.withLock { $0 } <= 2)
        #expect(try await cache.token().exposedText() == "two")
    }

    @Test func theEndOfWhoAsksIsNotThatOfTheOthers() async throws {
        let logins = Logins([.failure(SystemError(.cancelled, "cancelled")), Self.token("two")])
        let cache = cache(logins, slow: true)
        let texts = await withTaskGroup(of: String?.self) { group in
            for _ in 0..<20 { group.addTask { try? await cache.token().exposedText() } }
            return await group.reduce(into: [String?]()) { $0.append($1) }
        }
        #expect(texts.filter { $0 == nil }.count == 1)
        #expect(texts.filter { $0 == "two" }.count == 19)
    }

    @Test func aRefusedOneIsForgottenButNotItsSuccessor() async throws {
        let logins = Logins([Self.token("one"), Self.token("two")])
        let cache = cache(logins)
        let first = try await cache.token()
        await cache.refused(first)
        #expect(try await cache.token().exposedText() == "two")
        await cache.refused(first)
        #expect(try await cache.token().exposedText() == "two")
        #expect(logins.count.withLock { $0 } == 2)
    }
}
