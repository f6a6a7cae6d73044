import KeyturnCore

/// `after` names secrets that are there, and leads in no circle.
enum OrderRules {
    @Sendable static func check(_ context: ValidationContext) -> [Diagnostic] {
        let policies = Dictionary(context.policies.map { ($0.policy.secret, $0) }) { first, _ in first }
        let known = policies.keys.map(\.text)
        var found: [Diagnostic] = []
        for located in context.policies {
            for name in located.policy.after where policies[name] == nil {
                let hint = NearestName.nearest(to: name.text, among: known)
                found.append(
                    located.diagnostic(
                        located.mark("after"),
                        "'after' names '\(name)', which has no policy\(hint.map { "; did you mean '\($0)'?" } ?? "")"))
            }
        }
        var finished: Set<SecretName> = []
        for name in policies.keys.sorted() {
            if let cycle = cycle(from: name, policies, &finished), let located = policies[cycle[0]] {
                found.append(
                    located.diagnostic(
                        located.mark("after"),
                        "'after' leads in a circle: \(cycle.map(\.text).joined(separator: " → "))"))
            }
        }
        return found
    }

    /// Walks without recursion, since chains may be as long as there are policies.
    private static func cycle(
        from start: SecretName, _ policies: [SecretName: LocatedPolicy], _ finished: inout Set<SecretName>
    ) -> [SecretName]? {
        var path: [SecretName] = []
        var open: Set<SecretName> = []
        var stack: [(name: SecretName, isLeaving: Bool)] = [(start, false)]
        while let (name, isLeaving) = stack.popLast() {
            if isLeaving {
                path.removeLast()
                open.remove(name)
                finished.insert(name)
            } else if open.contains(name), let begin = path.firstIndex(of: name) {
                finished.formUnion(path)
                return path[begin...] + [name]
            } else if !finished.contains(name) {
                path.append(name)
                open.insert(name)
                stack.append((name, true))
                for next in policies[name]?.policy.after ?? [] { stack.append((next, false)) }
            }
        }
        return nil
    }
}
