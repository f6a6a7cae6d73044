/// How far a pass is, in one line on standard error where that is a terminal, and nothing anywhere else.
enum Progress {
    /// Runs `body`, which is handed what it tells its progress to: how many are done, and how many there are. The line is
    /// gone when it ends.
    static func shown<Result>(
        _ body: (@escaping @Sendable (_ done: Int, _ total: Int) -> Void) async throws -> Result
    ) async throws -> Result {
        defer { Terminal.show(progress: "") }
        return try await body { done, total in Terminal.show(progress: "\(done) of \(total) done") }
    }
}
