import KeyturnCore
import KeyturnHTTP

/// One conversation with a server of Redis, for one thread.
final class RedisConnection {
    private let stream: StreamConnection
    private var reader = RESPReader()

    private init(_ stream: StreamConnection) { self.stream = stream }

    static func open(
        _ address: StreamAddress, _ tls: TLSSettings, _ patience: Patience
    ) throws(RedisError) -> RedisConnection {
        do throws(HTTPError) { return RedisConnection(try StreamConnection.open(address, tls, patience)) } catch {
            throw .transport(error)
        }
    }

    /// Asks, and gives the answer; an error that the server answers with is thrown.
    @discardableResult
    func run(_ words: String...) throws(RedisError) -> RESPValue { try run(words.map { Array($0.utf8) }) }

    /// Shows who we are. `AUTH` is left out of the server's logs and of what it tells of commands.
    func authenticate(_ user: String, _ password: SecretValue) throws(RedisError) {
        _ = try run([Array("AUTH".utf8), Array(user.utf8), password.exposedBytes()])
    }

    private func run(_ words: [[UInt8]]) throws(RedisError) -> RESPValue {
        do throws(HTTPError) { try stream.send(RESPValue.command(words)) } catch { throw .transport(error) }
        while true {
            if let answer = try nextAnswer() {
                guard case .error(let line) = answer else { return answer }
                throw .answered(code: RedisError.code(of: line))
            }
            let more: [UInt8]
            do throws(HTTPError) { more = try stream.receive() } catch { throw .transport(error) }
            do throws(RESPReader.Malformed) { try reader.append(more) } catch { throw .badAnswer }
        }
    }

    private func nextAnswer() throws(RedisError) -> RESPValue? {
        do throws(RESPReader.Malformed) { return try reader.next() } catch { throw .badAnswer }
    }
}

/// Why a server of Redis could not be asked, or what it said no with: of its answer the first word alone.
enum RedisError: Error, Equatable {
    case answered(code: String)
    case transport(HTTPError)
    case badAnswer

    /// The first word of an answer such as `WRONGPASS invalid username-password pair`, where it is one of capitals.
    static func code(of line: String) -> String {
        let word = line.prefix { $0 != " " }
        return word.utf8.allSatisfy { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) } ? String(word) : "ERR"
    }
}

extension SystemError {
    /// - Parameter system: how the server is called in the message.
    init(_ error: RedisError, from system: String) {
        switch error {
        case .transport(let error): self.init(error, from: system)
        case .badAnswer:
            self.init(.badAnswer, "\(system) does not speak the protocol of Redis", mayHaveTakenEffect: true)
        case .answered("WRONGPASS"):
            self.init(
                .unauthorized, "\(system) does not let Keyturn in", advice: "check `user` and `password` of the issuer")
        case .answered("NOAUTH"):
            self.init(.misconfigured, "\(system) asks Keyturn for a password", advice: "set `password` of the issuer")
        case .answered("NOPERM"):
            self.init(
                .forbidden, "\(system): Keyturn's user lacks a right", advice: "see deploy/rights/redis-acl.acl")
        case .answered("LOADING"), .answered("BUSY"), .answered("MASTERDOWN"), .answered("OOM"), .answered("MISCONF"),
            .answered("TRYAGAIN"):
            self.init(.unavailable, "\(system) is in trouble")
        case .answered(let code): self.init(.badRequest, "\(system) refused the command (\(code))")
        }
    }
}
