import Foundation
import KeyturnCore
import TestSupport
import Testing

@Suite("Places in the hour")
struct RotationPlacesTests {
    private let now = Date(timeIntervalSince1970: 1_800_000_000)

    /// Minutes until one may begin, by how many minutes ago the others began.
    private func minutes(_ began: [Double], ahead: Int, limit: Int) -> Double? {
        RotationPlaces.opening(
            began: began.map { now.addingTimeInterval(-$0 * 60) }, ahead: ahead, limit: limit, at: now
        ).map { $0.timeIntervalSince(now) / 60 }
    }

    @Test func aFreePlaceIsGivenToTheFirstInLine() {
        #expect(minutes([], ahead: 0, limit: 1) == nil)
        #expect(minutes([50, 10], ahead: 0, limit: 3) == nil)
        #expect(minutes([50, 10], ahead: 1, limit: 4) == nil)
    }

    @Test func thoseBehindWaitUntilTheirPlaceOpens() {
        #expect(minutes([50, 10], ahead: 0, limit: 2) == 10)
        #expect(minutes([50, 10], ahead: 1, limit: 2) == 50)
        #expect(minutes([50, 10], ahead: 2, limit: 2) == 70)
        // A free place goes to the one ahead, and opens again an hour later.
        #expect(minutes([50], ahead: 1, limit: 2) == 10)
        #expect(minutes([50], ahead: 2, limit: 2) == 60)
        #expect(minutes([], ahead: 7, limit: 3) == 120)
        // More began than are allowed, since people asked for them.
        #expect(minutes([50, 30, 10], ahead: 0, limit: 1) == 50)
    }

    @Test func scopesHaveOneSpelling() {
        for scope in [PauseSwitch.Scope.everything, .issuer("aws"), .issuer("all")] {
            #expect(PauseSwitch.Scope(text: scope.text) == scope)
        }
        #expect(PauseSwitch.Scope(text: "issuer:") == nil && PauseSwitch.Scope(text: "none") == nil)
    }
}
