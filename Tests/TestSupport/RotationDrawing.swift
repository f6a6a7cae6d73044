import KeyturnCore

/// The machine's table as a Mermaid state diagram.
package enum RotationDrawing {
    package static let mermaid: String = {
        var lines = ["stateDiagram-v2", "    [*] --> \(RotationMachine.Phase.issuing.rawValue)"]
        for transition in RotationTransition.table {
            let stays = transition.condition == "never by itself"
            let to = stays ? transition.from : transition.to
            let condition = stays || transition.condition.isEmpty ? "" : " (\(transition.condition))"
            lines.append(
                "    \(transition.from.rawValue) --> \(to.rawValue): \(transition.trigger.rawValue)\(condition)")
        }
        for phase in RotationMachine.Phase.allCases where phase.isFinal {
            lines.append("    \(phase.rawValue) --> [*]")
        }
        return lines.joined(separator: "\n") + "\n"
    }()
}
