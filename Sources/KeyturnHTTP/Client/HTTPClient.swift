import CCurl
import Dispatch
import Foundation
import Synchronization

/// One asynchronous HTTP client over libcurl's multi interface: connections are kept and shared, HTTP/2 where the server
/// speaks it, redirects are never followed, certificates are verified.
///
/// One thread owns all of libcurl's handles. Requests reach it through a queue, and a cancelled task takes its transfer
/// off. See https://curl.se/libcurl/c/libcurl-multi.html.
package final class HTTPClient: Sendable {
    private enum Command: Sendable {
        case start(UInt64, HTTPRequest, @Sendable (Result<HTTPResponse, HTTPError>) -> Void)
        case cancel(UInt64)
    }

    private struct Inbox {
        var commands: [Command] = []
        var lastID: UInt64 = 0
        var isShutDown = false
    }

    /// The multi handle, for the one call that any thread may make: `curl_multi_wakeup`.
    private struct Multi: @unchecked Sendable {
        // @unchecked: libcurl allows wakeup from any thread; everything else is called by the client's thread alone.
        let handle: UnsafeMutableRawPointer
    }

    private let inbox = Mutex(Inbox())
    private let multi: Multi
    /// Told by the thread when it has come to its end.
    private let ended = DispatchSemaphore(value: 0)
    private let userAgent: String
    private let observe: @Sendable (HTTPRequest, HTTPResponse) -> Void

    /// - Parameter observe: is told of every answer as soon as it is whole.
    /// - Throws: `invalidRequest` when libcurl can't be set up.
    package init(
        userAgent: String, observe: @escaping @Sendable (HTTPRequest, HTTPResponse) -> Void = { _, _ in }
    ) throws(HTTPError) {
        _ = Self.globalInit
        guard let handle = curl_multi_init() else { throw .invalidRequest("libcurl can't be set up") }
        keyturn_multi_setopt_long(handle, CURLMOPT_PIPELINING, Int(CURLPIPE_MULTIPLEX))
        keyturn_multi_setopt_long(handle, CURLMOPT_MAXCONNECTS, 256)
        let multi = Multi(handle: handle)
        self.multi = multi
        self.userAgent = userAgent
        self.observe = observe
        let thread = Thread { [weak self, ended] in
            Self.serve({ self }, multi, userAgent)
            ended.signal()
        }
        thread.name = "keyturn.http"
        thread.start()
    }

    deinit {
        inbox.withLock { $0.isShutDown = true }
        curl_multi_wakeup(multi.handle)
    }

    static let globalInit: Void = { curl_global_init(Int(CURL_GLOBAL_DEFAULT)) }()

    /// Sends a request and waits for its whole answer, whatever its status.
    package func execute(_ request: HTTPRequest) async throws(HTTPError) -> HTTPResponse {
        let id = inbox.withLock { inbox in
            inbox.lastID += 1
            return inbox.lastID
        }
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                post(.start(id, request) { continuation.resume(returning: $0) })
                if Task.isCancelled { post(.cancel(id)) }
            }
        } onCancel: {
            post(.cancel(id))
        }
        let response = try result.get()
        observe(request, response)
        return response
    }

    /// Ends all transfers; later requests fail as cancelled.
    ///
    /// It waits for the thread: a process that exits takes OpenSSL down, which must not happen while the thread lets go of
    /// its connections.
    package func shutdown() {
        inbox.withLock { $0.isShutDown = true }
        curl_multi_wakeup(multi.handle)
        if ended.wait(timeout: .now() + .seconds(2)) == .success { ended.signal() }
    }

    private func post(_ command: Command) {
        let isRefused = inbox.withLock { inbox in
            guard !inbox.isShutDown else { return true }
            inbox.commands.append(command)
            return false
        }
        if isRefused {
            if case .start(_, _, let finish) = command { finish(.failure(.cancelled(sent: false))) }
        } else {
            curl_multi_wakeup(multi.handle)
        }
    }

    private func take() -> (commands: [Command], isShutDown: Bool) {
        inbox.withLock { inbox in
            defer { inbox.commands = [] }
            return (inbox.commands, inbox.isShutDown)
        }
    }

    /// The thread. It ends with the client.
    private static func serve(_ client: () -> HTTPClient?, _ multi: Multi, _ userAgent: String) {
        var transfers: [UInt64: Transfer] = [:]
        var idle: [UnsafeMutableRawPointer] = []
        func retire(_ transfer: Transfer) {
            curl_multi_remove_handle(multi.handle, transfer.handle)
            transfers[transfer.id] = nil
            if idle.count < 64 { idle.append(transfer.handle) } else { curl_easy_cleanup(transfer.handle) }
        }
        while true {
            let (commands, isShutDown) = client()?.take() ?? ([], true)
            for command in commands {
                switch command {
                case .start(let id, let request, let finish):
                    guard let handle = idle.popLast() ?? curl_easy_init() else {
                        finish(.failure(.invalidRequest("libcurl gives no handle")))
                        continue
                    }
                    let transfer = Transfer(id: id, request: request, handle: handle, finish: finish)
                    do throws(HTTPError) { try transfer.prepare(userAgent: userAgent) } catch {
                        transfer.end(.failure(error))
                        idle.append(handle)
                        continue
                    }
                    transfers[id] = transfer
                    curl_multi_add_handle(multi.handle, handle)
                case .cancel(let id):
                    guard let transfer = transfers[id] else { continue }
                    let wasSent = transfer.wasSent
                    retire(transfer)
                    transfer.end(.failure(.cancelled(sent: wasSent)))
                }
            }
            if isShutDown { break }
            var running: Int32 = 0
            curl_multi_perform(multi.handle, &running)
            var left: Int32 = 0
            while let message = curl_multi_info_read(multi.handle, &left) {
                guard message.pointee.msg == CURLMSG_DONE, let handle = message.pointee.easy_handle else { continue }
                let code = message.pointee.data.result
                var context: UnsafeMutableRawPointer?
                keyturn_getinfo_pointer(handle, CURLINFO_PRIVATE, &context)
                guard let context else { continue }
                let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
                transfer.complete(code)
                retire(transfer)
            }
            var count: Int32 = 0
            curl_multi_poll(multi.handle, nil, 0, 1000, &count)
        }
        for transfer in transfers.values {
            let wasSent = transfer.wasSent
            curl_multi_remove_handle(multi.handle, transfer.handle)
            transfer.end(.failure(.cancelled(sent: wasSent)))
            idle.append(transfer.handle)
        }
        transfers = [:]
        for handle in idle { curl_easy_cleanup(handle) }
        // The multi handle itself is freed with the process: a last wakeup may still be on its way.
    }
}
