#!/usr/bin/env python3
"""Gives the engine one defect at a time and expects the simulation to notice.

Each mutation replaces one text of a source file in a copy of the tree below .build/mutations; the copy is built (only what
changed) and plays fixed seeds. A mutation that breaks no promise within the budget is a failure: the simulation
lacks a fault or a check. So is one whose text is not found exactly once: the source has moved on.

    Tests/Simulate/mutations.py [--rotations N] [--only WORD] [--debug] [--in-place] [--table]

--in-place changes this very tree and uses its own build, for a checkout that is thrown away. --table prints the table of
the documentation from the last run.
"""

import argparse
import dataclasses
import json
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = ROOT / ".build" / "mutations"
TREE = WORK / "tree"
RESULTS = WORK / "results.json"
ROTATION = "Sources/KeyturnEngine/Rotation/"
RETIREMENT = "Sources/KeyturnEngine/Retirement/"
GATE = "Sources/KeyturnCore/Retirement/RetirementGate.swift"


@dataclasses.dataclass(frozen=True)
class Mutation:
    name: str
    file: str
    old: str
    new: str


MUTATIONS = [
    Mutation(
        "the intent to issue is not written",
        ROTATION + "RotationDriver+Issue.swift",
        "try await intend([.issue], &session) { record, _ in record.rotation?.issueIntent = intent }",
        "_ = intent",
    ),
    Mutation(
        "the intent to promote is not written",
        ROTATION + "RotationDriver+Backends.swift",
        "try await intend(names.map { .promote(backend: $0) }, &session) { record, outbox in\n"
        "            for name in names { apply(.promoteIntended(backend: name), to: &record, &outbox) }\n"
        "        }",
        "",
    ),
    Mutation(
        "the pending key is written unsealed",
        ROTATION + "RotationDriver+Issue.swift",
        "let sealed = try writing.seal(key.material)",
        "let sealed = Data(key.material.encoded().exposedBytes())",
    ),
    Mutation(
        "the chosen key is written unsealed with the intent",
        ROTATION + "RotationDriver+Issue.swift",
        "sealedChosen: prepared.chosen == nil ? nil : sealed,",
        "sealedChosen: prepared.chosen.map { sealed.isEmpty ? sealed : Data($0.encoded().exposedBytes()) },",
    ),
    Mutation(
        "the intent is forgotten when a repetition is refused",
        ROTATION + "RotationDriver+Issue.swift",
        "if !isRepeated, !error.mayHaveTakenEffect",
        "if !error.mayHaveTakenEffect",
    ),
    Mutation(
        "the intent is forgotten when the answer is lost",
        ROTATION + "RotationDriver+Issue.swift",
        "if !isRepeated, !error.mayHaveTakenEffect, error.code != .cancelled {",
        "if !isRepeated, error.code != .cancelled {",
    ),
    Mutation(
        "too early to tell is taken as never made",
        ROTATION + "RotationDriver+Issue.swift",
        "        case .undecided(let seconds):\n            return .failed(\n                .issue,\n"
        "                SystemError(\n"
        "                    .notYet, \"it is too early to tell whether the key was made\", retryAfter: seconds))",
        "        case .undecided:\n            try await close(\n                .neverMade, \"the key was never made\", \"a new one is asked for\", &session)",
    ),
    Mutation(
        "a create whose answer was lost is retried blindly",
        ROTATION + "RotationDriver+Issue.swift",
        "            var resolution = try await call(policy.issuer) {",
        "            if rotation.version > 0 {\n"
        "                return try await make(issuer, policy.issuer, request, prepared, isRepeated: true, &session)\n"
        "            }\n            var resolution = try await call(policy.issuer) {",
    ),
    Mutation(
        "a possible orphan is not reported",
        ROTATION + "RotationDriver+Issue.swift",
        "guard let orphan else { return }\n            outbox.orphans.append(orphan)",
        "guard let orphan else { return }",
    ),
    Mutation(
        "a key that was found after a lost answer is not revoked",
        ROTATION + "RotationDriver+Issue.swift",
        'try await call(policy?.issuer ?? "") { () throws(SystemError) in try await issuer.revoke(orphan) }',
        "_ = orphan",
    ),
    Mutation(
        "the key of an undone rotation is not revoked",
        ROTATION + "RotationDriver+Settle.swift",
        "try await revoke(handle, issuedBy: version.issuer, &session)",
        "_ = handle",
    ),
    Mutation(
        "the backends of an undone rotation keep its version",
        ROTATION + "RotationDriver+Settle.swift",
        "if rotation.machine.backends.contains(where: { $0.progress == .staged }) { return try await unstage(&session) }",
        "",
    ),
    Mutation(
        "a backend that never answered keeps the version of an undone rotation",
        "Sources/KeyturnCore/Rotation/RotationTransition.swift",
        ".init(.staging, .abandon, .abandoning, mark: whatWaitsMayBeStaged),",
        ".init(.staging, .abandon, .abandoning),",
    ),
    Mutation(
        "a rotation may be undone until all backends have it",
        "Sources/KeyturnCore/Rotation/RotationMachine.swift",
        "package var isPastFirstPromote: Bool { phase == .settled || promoteWasIntended }",
        "package var isPastFirstPromote: Bool { phase == .settled }",
    ),
    Mutation(
        "a rotation counts as done with the first backend",
        "Sources/KeyturnCore/Rotation/RotationTransition.swift",
        "            .promoting, .promoted, .settled, when: \"the last backend\", holds: backendIs(.promoting),\n"
        "            mark: set(.promoted), leaves: noneAwaitsPromote),",
        "            .promoting, .promoted, .settled, when: \"the last backend\", holds: backendIs(.promoting),\n"
        "            mark: set(.promoted)),",
    ),
    Mutation(
        "keys are promoted without being verified",
        ROTATION + "KeyVerification.swift",
        "guard case .works = verdict else { return verdict }\n        }\n        for check",
        "_ = verdict\n        }\n        for check",
    ),
    Mutation(
        "the grace is ignored",
        GATE,
        "let end = facts.extended(retireAt, since: facts.version.graceBeganAt)",
        "let end = facts.extended(retireAt, since: facts.version.graceBeganAt).addingTimeInterval(-1_000_000)",
    ),
    Mutation(
        "a leap of the clock shortens the grace",
        GATE,
        "let end = facts.extended(retireAt, since: facts.version.graceBeganAt)",
        "let end = retireAt",
    ),
    Mutation(
        "the grace counts from the start of the rotation",
        ROTATION + "RotationDriver+Settle.swift",
        "old.leave(at: now, grace:",
        "old.leave(at: rotation.startedAt, grace:",
    ),
    Mutation(
        "the last use is ignored",
        GATE,
        "guard facts.now < opensAt else {\n                return GateResult(.unused,",
        "guard facts.now < opensAt.addingTimeInterval(-1_000_000) else {\n                return GateResult(.unused,",
    ),
    Mutation(
        "backends are not read back before a key is retired",
        RETIREMENT + "RetirementDriver+Gates.swift",
        "facts.unconfirmedBackends = try await unconfirmedBackends(record)",
        "facts.unconfirmedBackends = []",
    ),
    Mutation(
        "the current key is revoked in the place of the old one",
        RETIREMENT + "RetirementDriver+Steps.swift",
        "        let handle = writing.handle(of: version)\n        try await step(.revoke, version",
        "        let handle = writing.handle(of: session.record.current ?? version)\n        try await step(.revoke, version",
    ),
    Mutation(
        "an old version is closed before it is revoked",
        RETIREMENT + "RetirementDriver.swift",
        "return try await revoke(version, issuer, &session)",
        "_ = issuer\n            return try await close(version, &session)",
    ),
    Mutation(
        "the schedule counts half a day too early",
        "Sources/KeyturnCore/Plan/RotationTiming.swift",
        "let anchor = current.promotedAt ?? current.issuedAt",
        "let anchor = (current.promotedAt ?? current.issuedAt).addingTimeInterval(-43_200)",
    ),
    Mutation(
        "a request that came too late to be known is not fulfilled",
        ROTATION + "RotationDriver+Settle.swift",
        "outbox.rotates = !rotation.isRollback",
        "",
    ),
    Mutation(
        "a quarantine is never lifted",
        "Sources/KeyturnEngine/Engine.swift",
        "            record.quarantine = nil\n            record.abandonedInARow = 0",
        "            record.abandonedInARow = 0",
    ),
    Mutation(
        "a failed step is never tried again",
        ROTATION + "RotationDriver+Failure.swift",
        "rotation.nextAttempt = desk.now.addingTimeInterval(delay)",
        "rotation.nextAttempt = desk.now.addingTimeInterval(delay + 864_000)",
    ),
    Mutation(
        "a write under a lease that was lost goes through",
        "Tests/TestSupport/MemoryJournal.swift",
        "guard let row = state.rows[lease.secret], row.token == lease.token, row.owner == lease.owner else {",
        "guard let row = state.rows[lease.secret] else {",
    ),
    Mutation(
        "a visit takes the lease of the worker",
        "Sources/KeyturnEngine/EngineCore.swift",
        'var visitor: String { "\\(owner)/visitor" }',
        "var visitor: String { owner }",
    ),
]


def run(*command: str, cwd: pathlib.Path = ROOT, timeout: float | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout)


@dataclasses.dataclass(frozen=True)
class Workshop:
    """Where the engine is changed and built."""

    tree: pathlib.Path
    scratch: pathlib.Path
    configuration: str


def synchronise() -> None:
    """Copies what differs, so that only that is built again."""
    TREE.mkdir(parents=True, exist_ok=True)
    for name in ("Package.swift", "Package.resolved", "Sources", "Tests"):
        source = ROOT / name
        files = [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]
        for file in files:
            target = TREE / file.relative_to(ROOT)
            if "PeerTests" in target.parts or (target.exists() and target.read_bytes() == file.read_bytes()):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


def build(shop: Workshop) -> pathlib.Path:
    places = ("--package-path", str(shop.tree), "--scratch-path", str(shop.scratch))
    built = run("swift", "build", "-c", shop.configuration, *places, "--product", "keyturn-simulate")
    if built.returncode != 0:
        sys.exit(f"the copy can't be built:\n{built.stdout[-4000:]}{built.stderr[-2000:]}")
    return shop.scratch / shop.configuration / "keyturn-simulate"


def play(program: pathlib.Path, rotations: int) -> dict:
    started = time.monotonic()
    played = run(str(program), "--seed", "1", "--rotations", str(rotations), timeout=3600)
    found = re.search(r"^seed \d+, history (\d+): (.*)$", played.stdout, re.MULTILINE)
    count = re.search(r"^ *(\d+)  rotations$", played.stdout, re.MULTILINE)
    return {
        "caught": played.returncode == 1 and found is not None,
        "seeds": int(found.group(1)) if found else None,
        "violation": found.group(2) if found else None,
        "rotations": int(count.group(1)) if count else None,
        "seconds": round(time.monotonic() - started, 1),
    }


def explore(program: pathlib.Path) -> dict:
    """The small model, for what takes two rare things in a row."""
    started = time.monotonic()
    played = run(str(program), "--exhaustive", "--faults", "1", timeout=3600)
    found = re.search(r"^(promise \d+: .*) \(choices (\d*)\)$", played.stdout, re.MULTILINE)
    histories = sum(int(each) for each in re.findall(r": (\d+) histories", played.stdout))
    return {
        "caught": played.returncode == 1 and found is not None,
        "seeds": f"small model, history {histories:,}",
        "violation": found.group(1) if found else None,
        "rotations": None,
        "seconds": round(time.monotonic() - started, 1),
    }


def try_mutation(mutation: Mutation, shop: Workshop, rotations: int) -> dict:
    file = shop.tree / mutation.file
    text = file.read_text()
    if text.count(mutation.old) != 1:
        sys.exit(f"{mutation.name}: its text is found {text.count(mutation.old)} times in {mutation.file}")
    file.write_text(text.replace(mutation.old, mutation.new))
    try:
        program = build(shop)
        result = play(program, rotations)
        return result if result["caught"] else explore(program)
    finally:
        file.write_text(text)


def table(results: dict) -> str:
    lines = ["| defect | seeds | rotations | the promise that was broken first |", "|---|--:|--:|---|"]
    for mutation in MUTATIONS:
        result = results.get(mutation.name)
        if result:
            promise = (result["violation"] or "none").split(":")[0]
            rotations = "" if result["rotations"] is None else result["rotations"]
            lines.append(f"| {mutation.name} | {result['seeds']} | {rotations} | {promise} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rotations", type=int, default=50_000, help="the budget for each mutation")
    parser.add_argument("--only", default="", help="only mutations whose name holds this")
    parser.add_argument("--debug", action="store_true", help="build without optimisation: sooner built, slower played")
    parser.add_argument("--in-place", action="store_true", help="change this tree itself")
    parser.add_argument("--table", action="store_true", help="print the table of the last run")
    arguments = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if arguments.table:
        print(table(results))
        return
    for mutation in MUTATIONS:
        # Before anything is built, so that a source that has moved on is told at once.
        found = (ROOT / mutation.file).read_text().count(mutation.old)
        if found != 1:
            sys.exit(f"{mutation.name}: its text is found {found} times in {mutation.file}")
    configuration = "debug" if arguments.debug else "release"
    if arguments.in_place:
        shop = Workshop(ROOT, ROOT / ".build", configuration)
        WORK.mkdir(parents=True, exist_ok=True)
    else:
        synchronise()
        shop = Workshop(TREE, WORK / "build", configuration)
    healthy = play(build(shop), 200)
    if healthy["violation"] is not None:
        sys.exit(f"without any defect: {healthy['violation']}")
    missed = 0
    for mutation in [each for each in MUTATIONS if arguments.only in each.name]:
        result = try_mutation(mutation, shop, arguments.rotations)
        results[mutation.name] = result
        RESULTS.write_text(json.dumps(results, indent=2))
        missed += not result["caught"]
        print(f"{'caught' if result['caught'] else 'MISSED'}: {mutation.name}: {result}", flush=True)
    if missed:
        sys.exit(f"{missed} mutations were not noticed")


if __name__ == "__main__":
    main()
