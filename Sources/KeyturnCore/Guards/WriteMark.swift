/// Which write a value in a backend comes from, as far as the marks beside it tell.
package struct WriteMark: Sendable, Codable, Equatable {
    /// ``Installation/instance``.
    package let instance: String
    /// ``Installation/generation``; `nil` where the backend has no room for it.
    package let generation: Int?
    /// The version's number.
    package let version: Int

    package init(instance: String, generation: Int?, version: Int) {
        self.instance = instance
        self.generation = generation
        self.version = version
    }
}
