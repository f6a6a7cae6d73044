import KeyturnCore
import Testing

@Suite("The restore guard")
struct RestoreGuardTests {
    private let ours = Installation(instance: "us", generation: 2)

    private func isAhead(_ mark: WriteMark?, newest: Int = 5) throws -> Bool {
        RestoreGuard.finding(
            mark, at: "vault", of: try SecretName("team/key"), newest: newest, installation: ours) != nil
    }

    /// Instance, generation and version against a journal of generation 2 that knows versions up to 5.
    @Test func theTruthTable() throws {
        for (instance, generation, version, ahead) in [
            ("us", 2, 5, false), ("us", 2, 4, false), ("us", 2, 6, true),
            // A history that was given up.
            ("us", 1, 5, false), ("us", 1, 6, false), ("us", 1, 900, false),
            // One that gave up ours.
            ("us", 3, 1, true), ("us", 3, 6, true),
            // Where there is no room for it the number decides.
            ("us", nil, 5, false), ("us", nil, 6, true),
            // Not ours at all.
            ("them", 2, 6, false), ("them", 9, 900, false),
        ] as [(String, Int?, Int, Bool)] {
            let mark = WriteMark(instance: instance, generation: generation, version: version)
            #expect(try isAhead(mark) == ahead, "\(mark)")
        }
        #expect(try !isAhead(nil))
        #expect(try isAhead(WriteMark(instance: "us", generation: 2, version: 1), newest: 0))
    }

    @Test func itSaysWhich() throws {
        let finding = RestoreGuard.finding(
            WriteMark(instance: "us", generation: 2, version: 6), at: "vault", of: try SecretName("team/key"),
            newest: 5, installation: ours)
        #expect(finding == "backend 'vault' holds version 6 of team/key, which this state has not made")
    }
}
