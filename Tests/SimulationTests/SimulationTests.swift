import KeyturnCore
import Simulation
import TestSupport
import Testing

/// A few histories in the unit tests; `Tests/run simulate` plays many.
@Suite struct SimulationTests {
    @Test func aHistoryKeepsItsPromisesAndIsTheSameEachTime() {
        var simulation = Simulation(seed: 1)
        simulation.days = 3
        let first = simulation.run()
        #expect(first.violation == nil)
        #expect(first.counts.rotations > 20)
        #expect(first.counts.crashes > 0)
        // Writing events down changes nothing.
        simulation.isTracing = true
        let second = simulation.run()
        #expect(second.counts == first.counts)
        #expect(!second.trace.isEmpty)
        simulation.seed = 2
        #expect(simulation.run().counts != first.counts)
    }

    @Test(arguments: [IssuerKind.chosen, .listable, .unlistable, .slots])
    func oneCrashOrFaultAnywhereInTheSmallModel(kind: IssuerKind) {
        var model = SmallModel(kind: kind)
        model.together = 1
        let report = model.explore()
        #expect(report.violation == nil)
        // Before and after each of more than thirty calls and writes, and three faults of each call.
        #expect(report.histories > 100)
        #expect(report.counts.crashes > 60)
        #expect(report.states > 20)
    }
}
