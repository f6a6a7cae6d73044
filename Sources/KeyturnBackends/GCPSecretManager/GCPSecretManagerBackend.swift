import Foundation
package import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// Google Cloud Secret Manager.
///
/// `latest` is the newest version, whatever its state, so that for consumers who read it the write is the promote. With
/// `alias` consumers read that alias: a pending version lies there unseen, and promoting moves the alias in one request
/// that the service refuses when somebody else changed the secret meanwhile. See
/// https://cloud.google.com/secret-manager/docs/assign-alias-to-secret-version
package struct GCPSecretManagerBackend: Backend {
    package let traits: BackendTraits

    private typealias Wire = SecretManagerWire
    private typealias Mark = SecretManagerMark

    private let client: SecretManagerClient
    private let alias: String?
    private let ending: SecretManagerClient.Ending
    private let creation: SecretManagerWire.Create

    /// The largest value that the service takes, in bytes.
    private static let largestValue = 65_536
    /// What the annotations of a secret may come to, in bytes.
    private static let mostAnnotations = 16_384
    /// How often a change is tried again when somebody else changes the secret at the same moment.
    private static let tries = 5
    /// How many versions without a mark, or not listed yet, are looked at for one whose answer was lost.
    private static let mostUnmarked = 10

    init(_ parameters: Parameters, _ services: SystemServices) {
        client = SecretManagerClient(parameters, services)
        alias = parameters.string("alias")
        ending = parameters.string("prune").flatMap(SecretManagerClient.Ending.init) ?? .destroy
        traits = BackendTraits(
            staging: alias == nil ? .onPromote : .unseen, readsBack: true, lists: true, destroys: ending == .destroy)
        var labels = ["managed-by": "keyturn"]
        for (name, value) in parameters.map("labels") ?? [:] {
            if case .string(let text) = value { labels[name] = text }
        }
        let replicas = (parameters.strings("locations") ?? []).map { Wire.Replica(location: $0) }
        let replication =
            replicas.isEmpty
            ? Wire.Replication(automatic: Wire.Empty())
            : Wire.Replication(userManaged: Wire.Replication.Replicas(replicas: replicas))
        creation = Wire.Create(
            replication: parameters["location"] == nil ? replication : nil, labels: labels, annotations: [:])
    }

    // MARK: Writing

    package func stage(
        _ write: VersionWrite, at target: BackendTarget
    ) async throws(SystemError) -> StageResult {
        guard alias != nil else {
            return .deferred("consumers read `latest`, which is the newest version; promoting writes it")
        }
        try judgeSize(write, target)
        let secret = try await secretMakingIt(target)
        let laid = try await lay(write, secret, target)
        try await mark(laid, Mark(write, isPending: true), target)
        return .staged(laid.last.map(Self.receipt) ?? [:])
    }

    package func promote(_ write: VersionWrite, at target: BackendTarget) async throws(SystemError) -> Receipt {
        try judgeSize(write, target)
        if let alias { return try await moveAlias(alias, write, target) }
        let (newest, value) = try await judged(write, target)
        if case .done = try PromoteGuard.judge(value, for: write, at: place(target)), let newest {
            try await mark([newest], Mark(write, isPending: false), target)
            return Self.receipt(newest)
        }
        if newest == nil { _ = try await secretMakingIt(target) }
        let written = try await client.add(write.value, to: target.path)
        let between = try await versionsBetween(newest ?? 0, written, write, target)
        try await mark(between.ours + [written], Mark(write, isPending: false), target)
        if let stranger = between.strangers.last, !write.mayOverwrite {
            throw SystemError(
                .conflict,
                "\(place(target)): somebody else wrote version \(stranger) at the same moment, and ours hides it",
                advice: "see who writes there; `keyturn resume` goes on with Keyturn's value")
        }
        return Self.receipt(written)
    }

    /// What is newest, with its value. Only a version that is named by its number is answered with what was written last,
    /// at once: lists and `latest` may be late by minutes. See "Resource consistency",
    /// cloud.google.com/secret-manager/docs/resource-consistency.
    private func judged(
        _ write: VersionWrite, _ target: BackendTarget
    ) async throws(SystemError) -> (number: Int?, value: SecretValue?) {
        let listed = try await client.versions(target.path).last?.number
        let known = [listed, Self.number(write.receipt), Self.number(write.replaces?.receipt ?? [:])]
        var found: (number: Int, reading: SecretManagerClient.Reading)?
        for number in Set(known.compactMap { $0 }).sorted(by: >) {
            let reading = try await client.read(String(number), of: target.path)
            if case .nothing = reading { continue }
            found = (number, reading)
            break
        }
        found = try await unlisted(after: found?.number ?? 0, target).last ?? found
        switch found {
        case (let number, .value(_, let value))?: return (number, value)
        case (let number, .unreadable)?:
            try await judgeUnreadable(number, write, target)
            return (number, nil)
        case (_, .nothing)?, nil: return (nil, nil)
        }
    }

    /// Versions that came after the newest one that is known, which a late list lacks.
    private func unlisted(
        after number: Int, _ target: BackendTarget
    ) async throws(SystemError) -> [(number: Int, reading: SecretManagerClient.Reading)] {
        var found: [(number: Int, reading: SecretManagerClient.Reading)] = []
        for next in (number + 1)...(number + Self.mostUnmarked) {
            let reading = try await client.read(String(next), of: target.path)
            if case .nothing = reading { break }
            found.append((next, reading))
        }
        return found
    }

    /// Moves the alias from what was judged to our version, or judges again.
    private func moveAlias(
        _ alias: String, _ write: VersionWrite, _ target: BackendTarget
    ) async throws(SystemError) -> Receipt {
        for _ in 0..<Self.tries {
            let secret = try await secretMakingIt(target)
            let holder = secret.versionAliases?[alias]?.value
            var value: SecretValue?
            if let holder {
                switch try await client.read(String(holder), of: target.path) {
                case .nothing: break
                case .value(_, let found): value = found
                case .unreadable: try await judgeUnreadable(holder, write, target)
                }
            }
            let finding = try PromoteGuard.judge(value, for: write, at: place(target))
            var laid: [Int] = []
            if case .done = finding, let holder {
                laid = [holder]
            } else {
                laid = try await lay(write, secret, target)
            }
            guard let number = laid.last else { continue }
            var aliases = (secret.versionAliases ?? [:]).mapValues { String($0.value) }
            aliases[alias] = String(number)
            let annotations = try annotations(secret, laid, Mark(write, isPending: false), target)
            if number == holder, annotations == secret.annotations ?? [:] { return Self.receipt(number) }
            let change = Wire.Change(etag: secret.etag, annotations: annotations, versionAliases: aliases)
            if try await client.change(target.path, change) { return Self.receipt(number) }
        }
        throw restless(target)
    }

    /// A current version that nobody can read may be replaced when it is the one that the write replaces.
    private func judgeUnreadable(
        _ number: Int, _ write: VersionWrite, _ target: BackendTarget
    ) async throws(SystemError) {
        guard !write.mayOverwrite else { return }
        let mark = Mark.all(try await client.secret(target.path)?.annotations)[number]
        let isOurs =
            mark?.instance == write.instance && mark?.secret == write.secret.text
            && (mark?.version == write.replaces?.version || mark?.version == write.version)
        guard isOurs else {
            throw SystemError(
                .conflict,
                "\(place(target)): version \(number) is current, disabled or destroyed, and Keyturn did not write it",
                advice: "enable it, or let Keyturn replace it with `overwrite: true` at the backend in the policy")
        }
    }

    /// The version that holds the value, from an earlier try where there was one; before it, others that such a try left.
    private func lay(
        _ write: VersionWrite, _ secret: SecretManagerWire.Secret, _ target: BackendTarget
    ) async throws(SystemError) -> [Int] {
        let marks = Mark.all(secret.annotations)
        let versions = try await versions(marks, target)
        let readable = versions.filter(\.isEnabled).compactMap(\.number)
        let known = Set(
            readable.filter { marks[$0]?.isOf(write) == true } + [Self.number(write.receipt)].compactMap { $0 })
        let unmarked = readable.filter { marks[$0] == nil && !known.contains($0) }.suffix(Self.mostUnmarked)
        for number in known.sorted() + unmarked {
            if try await holds(number, write.value, target) { return [number] }
        }
        let last = versions.last?.number ?? 0
        let late = try await unlisted(after: last, target)
        for case (let number, .value(_, let value)) in late where value.matches(write.value) { return [number] }
        let written = try await client.add(write.value, to: target.path)
        return try await versionsBetween(last + late.count, written, write, target).ours + [written]
    }

    private func holds(_ number: Int, _ value: SecretValue, _ target: BackendTarget) async throws(SystemError) -> Bool {
        guard case .value(_, let stored) = try await client.read(String(number), of: target.path) else { return false }
        return stored.matches(value)
    }

    private struct Between {
        var ours: [Int] = []
        var strangers: [Int] = []
    }

    /// What came between the look and the write: an earlier try of ours that was late, or somebody else's.
    private func versionsBetween(
        _ first: Int, _ last: Int, _ write: VersionWrite, _ target: BackendTarget
    ) async throws(SystemError) -> Between {
        var between = Between()
        for number in (first + 1..<max(last, first + 1)).suffix(Self.mostUnmarked) {
            guard case .value(_, let value) = try await client.read(String(number), of: target.path) else { continue }
            if value.matches(write.value) { between.ours.append(number) } else { between.strangers.append(number) }
        }
        return between
    }

    private func judgeSize(_ write: VersionWrite, _ target: BackendTarget) throws(SystemError) {
        guard write.value.count > Self.largestValue else { return }
        throw SystemError(
            .misconfigured, "the value for \(place(target)) is longer than \(Self.largestValue) bytes",
            advice: "Secret Manager takes no longer ones; make it shorter, or use another backend")
    }

    private func secretMakingIt(_ target: BackendTarget) async throws(SystemError) -> SecretManagerWire.Secret {
        if let secret = try await client.secret(target.path) { return secret }
        try await client.create(target.path, creation)
        guard let secret = try await client.secret(target.path) else {
            throw SystemError(.notYet, "\(place(target)) was made and is not there yet")
        }
        return secret
    }

    // MARK: Reading

    package func read(
        _ selection: StoredSelection, at target: BackendTarget
    ) async throws(SystemError) -> StoredValue? {
        let version: String
        switch selection {
        case .current:
            guard let alias else {
                version = "latest"
                break
            }
            guard let holder = try await client.secret(target.path)?.versionAliases?[alias] else { return nil }
            version = String(holder.value)
        case .version(let reference):
            guard let number = Self.number(reference.receipt) else { return nil }
            version = String(number)
        }
        guard case .value(let number, let value) = try await client.read(version, of: target.path) else { return nil }
        return StoredValue(value: value, version: nil, receipt: Self.receipt(number))
    }

    package func mark(
        of secret: SecretName, instance: String, at target: BackendTarget
    ) async throws(SystemError) -> WriteMark? {
        guard let found = try await client.secret(target.path) else { return nil }
        let marks = Mark.all(found.annotations)
        guard !marks.isEmpty, let holder = current(found, try await versions(marks, target)),
            let mark = marks[holder], mark.secret == secret.text
        else { return nil }
        return WriteMark(instance: mark.instance, generation: mark.generation, version: mark.version)
    }

    package func list(at target: BackendTarget) async throws(SystemError) -> [ListedVersion] {
        guard let secret = try await client.secret(target.path) else { return [] }
        let marks = Mark.all(secret.annotations)
        let versions = try await versions(marks, target)
        let holder = current(secret, versions)
        return versions.filter(\.isEnabled).compactMap(\.number).map { number in
            ListedVersion(
                identifier: String(number), version: marks[number]?.version, isCurrent: number == holder,
                isPending: number != holder && marks[number]?.isPending == true, receipt: Self.receipt(number))
        }
    }

    package func probe(_ target: BackendTarget) async throws(SystemError) {
        guard try await client.secret(target.path) != nil else { return }
        let wanted = [
            "secrets.get", "secrets.update", "versions.add", "versions.access", "versions.list", "versions.\(ending)",
        ].map { "secretmanager.\($0)" }
        let missing = try await client.missing(wanted, at: target.path)
        guard !missing.isEmpty else { return }
        throw SystemError(
            .forbidden, "\(place(target)): our account lacks \(missing.joined(separator: ", "))",
            advice: "see deploy/rights for what Keyturn needs; new rights take some minutes")
    }

    /// The oldest first. A list may be late; ours that it lacks are known by their marks.
    private func versions(
        _ marks: [Int: SecretManagerMark], _ target: BackendTarget
    ) async throws(SystemError) -> [SecretManagerWire.Version] {
        let listed = try await client.versions(target.path)
        let missing = Set(marks.keys).subtracting(listed.compactMap(\.number))
        guard !missing.isEmpty else { return listed }
        return (listed + missing.map { Wire.Version(name: "versions/\($0)", state: "ENABLED", etag: nil) })
            .sorted { ($0.number ?? 0) < ($1.number ?? 0) }
    }

    /// The service's number of what consumers get.
    private func current(
        _ secret: SecretManagerWire.Secret, _ versions: [SecretManagerWire.Version]
    ) -> Int? {
        if let alias { secret.versionAliases?[alias]?.value } else { versions.last?.number }
    }

    // MARK: Removing

    package func unstage(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {
        guard let alias, let secret = try await client.secret(target.path) else { return }
        let (marks, holder) = (Mark.all(secret.annotations), secret.versionAliases?[alias]?.value)
        var gone: [Int] = []
        var unmarked = 0
        for stored in try await versions(marks, target).reversed() {
            guard let number = stored.number, number != holder else { continue }
            if let mark = marks[number] {
                guard mark.isPending, mark.secret == version.secret.text, mark.version == version.version else {
                    continue
                }
            } else {
                // One whose answer was lost has no mark yet; its value tells.
                guard stored.isEnabled, unmarked < Self.mostUnmarked else { continue }
                unmarked += 1
            }
            guard try await isWritten(number, for: version, target) else { continue }
            try await end(stored, target)
            gone.append(number)
        }
        try await unmark(Set(gone), target)
    }

    private func isWritten(
        _ number: Int, for version: VersionReference, _ target: BackendTarget
    ) async throws(SystemError) -> Bool {
        if Self.number(version.receipt) == number { return true }
        guard let value = version.value else { return false }
        return try await holds(number, value, target)
    }

    /// Destroys (or disables) every version that was written for this one, but never what consumers get.
    package func prune(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {
        guard let written = Self.number(version.receipt), let secret = try await client.secret(target.path) else {
            return
        }
        let marks = Mark.all(secret.annotations)
        guard let own = marks[written], own.secret == version.secret.text, own.version == version.version else {
            return
        }
        let versions = try await versions(marks, target)
        let holder = current(secret, versions)
        // Marks of ours whose version somebody else destroyed stand for nothing.
        var gone = Set(versions.filter(\.isDestroyed).compactMap(\.number)).subtracting([holder].compactMap { $0 })
        gone.formIntersection(marks.filter { $0.value.instance == own.instance }.keys)
        for stored in versions {
            guard let number = stored.number, number != holder, let mark = marks[number],
                mark.instance == own.instance, mark.secret == own.secret, mark.version == own.version
            else { continue }
            try await end(stored, target)
            gone.insert(number)
        }
        try await unmark(gone, target)
    }

    private func end(_ version: SecretManagerWire.Version, _ target: BackendTarget) async throws(SystemError) {
        var version = version
        for _ in 0..<Self.tries {
            guard !version.isDestroyed, ending == .destroy || version.isEnabled else { return }
            if try await client.end(ending, version, of: target.path) { return }
            guard let found = try await client.versions(target.path).first(where: { $0.number == version.number })
            else { return }
            version = found
        }
        throw restless(target)
    }

    // MARK: Marks

    /// The annotations of the secret with marks for versions, beside those of others.
    private func annotations(
        _ secret: SecretManagerWire.Secret, _ numbers: [Int], _ mark: SecretManagerMark, _ target: BackendTarget
    ) throws(SystemError) -> [String: String] {
        var annotations = secret.annotations ?? [:]
        let known = Mark.all(annotations)
        for number in numbers {
            var written = mark
            // What was promoted once does not become pending again.
            if let old = known[number], old.secret == mark.secret, old.version == mark.version,
                old.instance == mark.instance, !old.isPending
            {
                written.isPending = false
            }
            annotations[Mark.name(number)] = written.text
        }
        guard annotations.reduce(0, { $0 + $1.key.utf8.count + $1.value.utf8.count }) <= Self.mostAnnotations else {
            throw SystemError(
                .limitExceeded,
                "\(place(target)) has no room for another annotation, \(Self.mostAnnotations) bytes being the most",
                advice: "remove some of them")
        }
        return annotations
    }

    private func mark(
        _ numbers: [Int], _ mark: SecretManagerMark, _ target: BackendTarget
    ) async throws(SystemError) {
        try await annotate(target) { (secret) throws(SystemError) in
            try annotations(secret, numbers, mark, target)
        }
    }

    private func unmark(_ numbers: Set<Int>, _ target: BackendTarget) async throws(SystemError) {
        guard !numbers.isEmpty else { return }
        let names = Set(numbers.map(Mark.name))
        try await annotate(target) { secret in (secret.annotations ?? [:]).filter { !names.contains($0.key) } }
    }

    private func annotate(
        _ target: BackendTarget, _ edit: (SecretManagerWire.Secret) throws(SystemError) -> [String: String]
    ) async throws(SystemError) {
        for _ in 0..<Self.tries {
            guard let secret = try await client.secret(target.path) else { return }
            let annotations = try edit(secret)
            guard annotations != secret.annotations ?? [:] else { return }
            if try await client.change(target.path, Wire.Change(etag: secret.etag, annotations: annotations)) {
                return
            }
        }
        throw restless(target)
    }

    private func restless(_ target: BackendTarget) -> SystemError {
        SystemError(
            .conflict, "\(place(target)): somebody else changes it all the time", advice: "see who writes there",
            disposition: .passing)
    }

    private static func receipt(_ number: Int) -> Receipt { ["versionId": String(number)] }

    private static func number(_ receipt: Receipt) -> Int? { receipt["versionId"].flatMap { Wire.number($0) } }

    private func place(_ target: BackendTarget) -> String { "\(client.name), \(target.path)" }
}
