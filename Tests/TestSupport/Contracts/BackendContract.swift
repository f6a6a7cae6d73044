import Foundation
package import KeyturnCore
import Testing

/// A backend that is put to the test, with the eyes and hands of others at its target.
package struct BackendSubject: Sendable {
    package let backend: any Backend
    package let target: BackendTarget
    /// The path of another target.
    package let other: String
    /// What a consumer gets, read without the backend where that can be done.
    package let consumed: @Sendable () async throws -> String?
    /// Somebody else writes a value and makes it current.
    package let overwrite: @Sendable (String) async throws -> Void

    /// - Parameter other: where a system has a grammar of its own for paths.
    package init(
        _ backend: any Backend, at target: BackendTarget, other: String? = nil,
        consumed: @escaping @Sendable () async throws -> String?,
        overwrite: @escaping @Sendable (String) async throws -> Void
    ) {
        self.backend = backend
        self.target = target
        self.other = other ?? "\(target.path)-other"
        self.consumed = consumed
        self.overwrite = overwrite
    }

    fileprivate func text(_ version: Int) -> String { "value \(version): \"quoted\" \\ {{value}} ✓" }

    /// A write of a version, to take the place of another.
    fileprivate func write(
        _ version: Int, replacing old: Int? = nil, receipt: Receipt = [:], oldReceipt: Receipt = [:],
        mayOverwrite: Bool = false
    ) throws -> VersionWrite {
        VersionWrite(
            secret: try SecretName("team/key"), version: version, value: SecretValue(utf8: text(version)),
            receipt: receipt, replaces: try old.map { try reference($0, receipt: oldReceipt) },
            instance: "00000000-0000-4000-8000-000000000000", generation: 1, expiresAt: nil, mayOverwrite: mayOverwrite)
    }

    fileprivate func reference(_ version: Int, receipt: Receipt = [:]) throws -> VersionReference {
        VersionReference(
            secret: try SecretName("team/key"), version: version, receipt: receipt,
            value: SecretValue(utf8: text(version)))
    }

    /// Stages and promotes; gives the receipt.
    @discardableResult
    fileprivate func put(_ version: Int, replacing old: Int? = nil, oldReceipt: Receipt = [:]) async throws -> Receipt {
        let staged = try await backend.stage(try write(version, replacing: old, oldReceipt: oldReceipt), at: target)
        var receipt: Receipt = [:]
        if case .staged(let got) = staged { receipt = got }
        let more = try await backend.promote(
            try write(version, replacing: old, receipt: receipt, oldReceipt: oldReceipt), at: target)
        return receipt.merging(more) { _, new in new }
    }

    fileprivate func current() async throws -> String? {
        try await backend.read(.current, at: target)?.value.exposedText()
    }
}

/// What every ``Backend`` promises; each check gets an empty target.
package enum BackendContract {
    package static let checks: [ContractCheck<BackendSubject>] = [
        ContractCheck("an empty target holds nothing, and asking changes nothing") { subject in
            try await subject.backend.probe(subject.target)
            if subject.backend.traits.readsBack { #expect(try await subject.current() == nil) }
            if subject.backend.traits.lists { #expect(try await subject.backend.list(at: subject.target).isEmpty) }
            #expect(try await subject.consumed() == nil)
        },
        ContractCheck("what is staged is not seen by consumers") { subject in
            for attempt in 1...2 {
                let result = try await subject.backend.stage(try subject.write(1), at: subject.target)
                switch (result, subject.backend.traits.staging) {
                case (.staged, .unseen): break
                case (.deferred(let reason), .onPromote): #expect(!reason.isEmpty)
                default: Issue.record("\(result) in attempt \(attempt)")
                }
                #expect(try await subject.consumed() == nil)
            }
        },
        ContractCheck("staging a second version leaves the first one current") { subject in
            let receipt = try await subject.put(1)
            _ = try await subject.backend.stage(
                try subject.write(2, replacing: 1, oldReceipt: receipt), at: subject.target)
            #expect(try await subject.consumed() == subject.text(1))
        },
        ContractCheck("what is promoted is what consumers get and what is read back") { subject in
            try await subject.put(1)
            #expect(try await subject.consumed() == subject.text(1))
            let normalized = try subject.backend.normalized(SecretValue(utf8: subject.text(1)), at: subject.target)
            if subject.backend.traits.readsBack {
                let stored = try #require(await subject.backend.read(.current, at: subject.target))
                #expect(stored.value.matches(normalized))
                #expect(stored.version == nil || stored.version == 1)
            }
        },
        ContractCheck("promoting without staging first does the same") { subject in
            _ = try await subject.backend.promote(try subject.write(1), at: subject.target)
            #expect(try await subject.consumed() == subject.text(1))
        },
        ContractCheck("repeating is success with the same receipt") { subject in
            let first = try await subject.put(1)
            let again = try await subject.put(1)
            #expect(again == first)
            let second = try await subject.put(2, replacing: 1, oldReceipt: first)
            let repeated = try await subject.backend.promote(
                try subject.write(2, replacing: 1, receipt: second, oldReceipt: first), at: subject.target)
            #expect(second.merging(repeated) { _, new in new } == second)
            #expect(try await subject.consumed() == subject.text(2))
        },
        ContractCheck("a version takes the place of the one before") { subject in
            let first = try await subject.put(1)
            let second = try await subject.put(2, replacing: 1, oldReceipt: first)
            try await subject.put(3, replacing: 2, oldReceipt: second)
            #expect(try await subject.consumed() == subject.text(3))
        },
        ContractCheck("a foreign value is not replaced unless that is allowed") { subject in
            let first = try await subject.put(1)
            try await subject.overwrite("theirs")
            let error = await #expect(throws: SystemError.self) {
                try await subject.backend.promote(
                    try subject.write(2, replacing: 1, oldReceipt: first), at: subject.target)
            }
            #expect(error?.code == .conflict && error?.disposition == .permanent)
            #expect(error.map { "\($0)".contains("theirs") } == false, "no value is part of an error")
            #expect(try await subject.consumed() == "theirs")
            _ = try await subject.backend.promote(
                try subject.write(2, replacing: 1, oldReceipt: first, mayOverwrite: true), at: subject.target)
            #expect(try await subject.consumed() == subject.text(2))
        },
        ContractCheck("a value at an empty journal's target is foreign too") { subject in
            try await subject.overwrite("theirs")
            let error = await #expect(throws: SystemError.self) {
                try await subject.backend.promote(try subject.write(1), at: subject.target)
            }
            #expect(error?.code == .conflict)
            #expect(try await subject.consumed() == "theirs")
        },
        ContractCheck("a version of ours that was passed over is foreign to a later one") { subject in
            let first = try await subject.put(1)
            try await subject.put(2, replacing: 1, oldReceipt: first)
            await #expect(throws: SystemError.self) {
                try await subject.backend.promote(
                    try subject.write(3, replacing: 1, oldReceipt: first), at: subject.target)
            }
            #expect(try await subject.consumed() == subject.text(2))
        },
        ContractCheck("what was current before can be made current again, and replaced again") { subject in
            let first = try await subject.put(1)
            let second = try await subject.put(2, replacing: 1, oldReceipt: first)
            var back = first
            for _ in 1...2 {
                let receipt = try await subject.backend.promote(
                    try subject.write(1, replacing: 2, receipt: back, oldReceipt: second), at: subject.target)
                let merged = back.merging(receipt) { _, new in new }
                // From the second time on nothing is new.
                if back != first { #expect(merged == back) }
                back = merged
                #expect(try await subject.consumed() == subject.text(1))
                if subject.backend.traits.readsBack { #expect(try await subject.current() == subject.text(1)) }
            }
            // What was current in between is pruned, or comes back once more.
            try await subject.backend.prune(try subject.reference(2, receipt: second), at: subject.target)
            #expect(try await subject.consumed() == subject.text(1))
            let third = try await subject.put(3, replacing: 1, oldReceipt: back)
            #expect(try await subject.consumed() == subject.text(3))
            try await subject.backend.prune(try subject.reference(1, receipt: back), at: subject.target)
            #expect(try await subject.consumed() == subject.text(3))
            guard subject.backend.traits.lists, subject.backend.traits.destroys else { return }
            let listed = try await subject.backend.list(at: subject.target)
            #expect(listed.compactMap(\.version) == [3], "\(third)")
            #expect(listed.count == 1, "nothing is left of a version that was written twice")
        },
        ContractCheck("going back does not replace a foreign value") { subject in
            let first = try await subject.put(1)
            let second = try await subject.put(2, replacing: 1, oldReceipt: first)
            try await subject.overwrite("theirs")
            let error = await #expect(throws: SystemError.self) {
                try await subject.backend.promote(
                    try subject.write(1, replacing: 2, receipt: first, oldReceipt: second), at: subject.target)
            }
            #expect(error?.code == .conflict)
            #expect(try await subject.consumed() == "theirs")
        },
        ContractCheck("pruning never touches what is current") { subject in
            let first = try await subject.put(1)
            try await subject.backend.prune(try subject.reference(1, receipt: first), at: subject.target)
            #expect(try await subject.consumed() == subject.text(1))
            let second = try await subject.put(2, replacing: 1, oldReceipt: first)
            for _ in 1...2 {
                try await subject.backend.prune(try subject.reference(1, receipt: first), at: subject.target)
            }
            #expect(try await subject.consumed() == subject.text(2))
            guard subject.backend.traits.lists, subject.backend.traits.destroys else { return }
            #expect(try await subject.backend.list(at: subject.target).compactMap(\.version) == [2])
            let gone = try await subject.backend.read(
                .version(try subject.reference(1, receipt: first)), at: subject.target)
            #expect(gone == nil)
            #expect(second == second.filter { !$0.key.isEmpty })
        },
        ContractCheck("unstaging takes a pending version away and nothing else") { subject in
            let first = try await subject.put(1)
            let staged = try await subject.backend.stage(
                try subject.write(2, replacing: 1, oldReceipt: first), at: subject.target)
            var receipt: Receipt = [:]
            if case .staged(let got) = staged { receipt = got }
            for _ in 1...2 {
                try await subject.backend.unstage(try subject.reference(2, receipt: receipt), at: subject.target)
            }
            #expect(try await subject.consumed() == subject.text(1))
            if subject.backend.traits.lists {
                #expect(try await subject.backend.list(at: subject.target).compactMap(\.version) == [1])
            }
            // Unstaged by mistake, what is current stays.
            try await subject.backend.unstage(try subject.reference(1, receipt: first), at: subject.target)
            #expect(try await subject.consumed() == subject.text(1))
        },
        ContractCheck("pruning and unstaging what never was succeed") { subject in
            try await subject.backend.prune(try subject.reference(7), at: subject.target)
            try await subject.backend.unstage(try subject.reference(7), at: subject.target)
            #expect(try await subject.consumed() == nil)
        },
        ContractCheck("a list shows every version and which one is current") { subject in
            guard subject.backend.traits.lists else {
                let error = await #expect(throws: SystemError.self) {
                    try await subject.backend.list(at: subject.target)
                }
                #expect(error?.code == .unsupported)
                return
            }
            let first = try await subject.put(1)
            try await subject.put(2, replacing: 1, oldReceipt: first)
            let listed = try await subject.backend.list(at: subject.target)
            #expect(listed.map(\.version) == [1, 2])
            #expect(listed.map(\.isCurrent) == [false, true])
            #expect(Set(listed.map(\.identifier)).count == 2)
        },
        ContractCheck("a mark beside what is current names it, and never one that is not") { subject in
            let sample = try subject.write(1)
            func mark() async throws -> WriteMark? {
                try await subject.backend.mark(of: sample.secret, instance: sample.instance, at: subject.target)
            }
            #expect(try await mark() == nil)
            let first = try await subject.put(1)
            let found = try await mark()
            try await subject.put(2, replacing: 1, oldReceipt: first)
            guard let found else {
                // No room for marks: then there is never one.
                #expect(try await mark() == nil)
                return
            }
            #expect(found.version == 1)
            #expect(try await mark()?.version == 2)
            #expect(found.instance == sample.instance)
            #expect(found.generation == nil || found.generation == sample.generation)
            try await subject.overwrite("of somebody else")
            if let foreign = try await mark() { #expect(foreign.version > 2) }
        },
        ContractCheck("targets do not meet") { subject in
            try await subject.put(1)
            let other = BackendTarget(
                backend: subject.target.backend, path: subject.other, parameters: subject.target.parameters)
            if subject.backend.traits.readsBack {
                #expect(try await subject.backend.read(.current, at: other) == nil)
            }
            _ = try await subject.backend.promote(try subject.write(5), at: other)
            #expect(try await subject.consumed() == subject.text(1))
        },
    ]
}
