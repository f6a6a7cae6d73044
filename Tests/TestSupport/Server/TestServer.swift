import Foundation
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// An HTTP/1.1 server on a free port of the loopback interface, whose every byte is in the test's hand.
package final class TestServer: Sendable {
    /// A request as it came in.
    package struct Received: Sendable {
        package let method: String
        package let target: String
        package let headers: [(name: String, value: String)]
        package let body: [UInt8]
        /// Which connection it came over, from 1.
        package let connection: Int

        /// All values of a header, whatever its case.
        package func all(_ name: String) -> [String] {
            headers.filter { $0.name.lowercased() == name.lowercased() }.map(\.value)
        }
    }

    /// Where the answer goes.
    package struct Channel: Sendable {
        fileprivate let descriptor: Int32

        package func send(_ bytes: some Sequence<UInt8>) {
            var rest = Array(bytes)[...]
            while !rest.isEmpty {
                let count = rest.withUnsafeBytes {
                    Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                guard count > 0 else { return }
                rest = rest.dropFirst(count)
            }
        }

        package func send(_ text: String) { send(text.utf8) }

        /// A whole answer.
        package func answer(_ status: Int = 200, _ body: String = "", headers: [String] = []) {
            let lines = ["HTTP/1.1 \(status) Words", "Content-Length: \(body.utf8.count)"] + headers
            send(lines.joined(separator: "\r\n") + "\r\n\r\n" + body)
        }

        /// Waits until the client has closed its side.
        package func waitForClose() {
            var buffer = [UInt8](repeating: 0, count: 4096)
            while recv(descriptor, &buffer, buffer.count, 0) > 0 {}
        }
    }

    /// What becomes of the connection after an answer.
    package enum Afterwards: Sendable { case keep, close }

    private struct State {
        var received: [Received] = []
        var waiters: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
        var connections = 0
        var open: Set<Int32> = []
        var isStopped = false
    }

    private let state = Mutex(State())
    private let listener: Int32
    package let port: UInt16

    /// - Parameter serve: called on the connection's own thread for each request.
    package init(_ serve: @escaping @Sendable (Received, Channel) -> Afterwards) throws {
        (listener, port) = try Loopback.listen(backlog: 512)
        let thread = Thread { [weak self, listener] in
            while case let descriptor = accept(listener, nil, nil), descriptor >= 0 {
                // No program that starts meanwhile is to keep the connection open.
                _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
                guard let self, let number = self.register(descriptor) else {
                    close(descriptor)
                    break
                }
                let worker = Thread { [weak self] in Self.converse(descriptor, number, serve) { self } }
                worker.stackSize = 256 * 1024
                worker.start()
            }
            close(listener)
        }
        thread.start()
    }

    deinit { stop() }

    /// Closes the port and every connection.
    package func stop() {
        let open = state.withLock { state in
            state.isStopped = true
            return state.open
        }
        shutdown(listener, Int32(SHUT_RDWR))
        for descriptor in open { shutdown(descriptor, Int32(SHUT_RDWR)) }
    }

    package func url(_ target: String = "/") -> String { "http://127.0.0.1:\(port)\(target)" }

    package var received: [Received] { state.withLock { $0.received } }
    package var connections: Int { state.withLock { $0.connections } }

    /// Waits until so many requests have come in.
    package func waitForRequests(_ count: Int) async {
        await withCheckedContinuation { continuation in
            let isThere = state.withLock { state in
                if state.received.count >= count { return true }
                state.waiters.append((count, continuation))
                return false
            }
            if isThere { continuation.resume() }
        }
    }

    private func register(_ descriptor: Int32) -> Int? {
        state.withLock { state in
            guard !state.isStopped else { return nil }
            state.connections += 1
            state.open.insert(descriptor)
            return state.connections
        }
    }

    private func add(_ request: Received) {
        let done = state.withLock { state in
            state.received.append(request)
            let count = state.received.count
            defer { state.waiters.removeAll { $0.count <= count } }
            return state.waiters.filter { $0.count <= count }
        }
        for waiter in done { waiter.continuation.resume() }
    }

    private static func converse(
        _ descriptor: Int32, _ number: Int, _ serve: (Received, Channel) -> Afterwards, _ server: () -> TestServer?
    ) {
        var input: [UInt8] = []
        while let request = read(from: descriptor, &input, number) {
            server()?.add(request)
            if serve(request, Channel(descriptor: descriptor)) == .close { break }
        }
        server()?.state.withLock { _ = $0.open.remove(descriptor) }
        close(descriptor)
    }

    private static func read(from descriptor: Int32, _ input: inout [UInt8], _ number: Int) -> Received? {
        let blank = Array("\r\n\r\n".utf8)
        var head: Range<Int>?
        while true {
            head = input.firstRange(of: blank)
            if head != nil { break }
            guard receive(descriptor, &input) else { return nil }
        }
        guard let head else { return nil }
        let lines = String(decoding: input[..<head.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
        let words = lines[0].split(separator: " ").map(String.init)
        let headers = lines.dropFirst().map { line -> (name: String, value: String) in
            let halves = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            return (String(halves[0]), halves.count > 1 ? halves[1].trimmingCharacters(in: .whitespaces) : "")
        }
        let length = headers.first { $0.name.lowercased() == "content-length" }.flatMap { Int($0.value) } ?? 0
        while input.count < head.upperBound + length {
            guard receive(descriptor, &input) else { return nil }
        }
        let body = Array(input[head.upperBound..<(head.upperBound + length)])
        input.removeFirst(head.upperBound + length)
        return Received(
            method: words.first ?? "", target: words.count > 1 ? words[1] : "", headers: headers, body: body,
            connection: number)
    }

    private static func receive(_ descriptor: Int32, _ input: inout [UInt8]) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 64 * 1024)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        guard count > 0 else { return false }
        input += buffer[..<count]
        return true
    }
}

/// Sockets of the loopback interface.
package enum Loopback {
    package struct Failure: Error { let call: String }

    /// Listens on a free port, or only holds it without a backlog.
    package static func listen(backlog: Int32?) throws -> (descriptor: Int32, port: UInt16) {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw Failure(call: "socket") }
        var address = address(port: 0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(descriptor, address, length) == 0 && backlog.map { Glibc.listen(descriptor, $0) == 0 } ?? true
                    && getsockname(descriptor, address, &length) == 0
            }
        }
        guard isBound else {
            close(descriptor)
            throw Failure(call: "bind")
        }
        return (descriptor, UInt16(bigEndian: address.sin_port))
    }

    /// Begins to connect without waiting for it.
    package static func beginToConnect(to port: UInt16) throws -> Int32 {
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let descriptor = socket(AF_INET, kind, 0)
        guard descriptor >= 0 else { throw Failure(call: "socket") }
        var address = address(port: port)
        _ = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        return descriptor
    }

    /// A port on which nobody listens, nor will: it stays taken for as long as the tests last.
    package static func closedPort() throws -> UInt16 { try listen(backlog: nil).port }

    private static func address(port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }
}
