import Foundation
import KeyturnCore
import TestSupport
import Testing

/// The drawing of the state machine in the documentation is the one that the machine's table makes.
@Suite struct RotationDrawingTests {
    @Test func theDocumentationShowsTheTable() throws {
        let article = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../Sources/keyturn/Documentation.docc/Simulation.md").standardized
        let text = try String(contentsOf: article, encoding: .utf8)
        let start = try #require(text.range(of: "```mermaid\n"))
        let end = try #require(text.range(of: "```", range: start.upperBound..<text.endIndex))
        let advice: Comment = "put what `keyturn-simulate --drawing` prints into Simulation.md"
        #expect(String(text[start.upperBound..<end.lowerBound]) == RotationDrawing.mermaid, advice)
    }

    @Test func everyPhaseAndTriggerIsDrawn() {
        for phase in RotationMachine.Phase.allCases { #expect(RotationDrawing.mermaid.contains(phase.rawValue)) }
        for trigger in RotationTransition.Trigger.allCases {
            #expect(RotationDrawing.mermaid.contains(trigger.rawValue))
        }
    }
}
