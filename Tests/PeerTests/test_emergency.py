"""Compromised keys, the way back, the kill switch and the limits on how much may go wrong, on the real program."""
import datetime
import json
import os
import signal
import sqlite3

import pytest

from scripted import Daemon, Scripted, ScriptedBackend, ScriptedIssuer, until
from workspace import run

POLICY = """\
secret: {name}
issuer: program
lifetime: 30d
rotate: {{every: 20d, renewBefore: 5d}}
grace: 2d
backends: [{{name: vault}}, {{name: store{best}}}]
{more}
"""


@pytest.fixture
def space(workspace):
    """One issuer, one backend and one sink that can be told to misbehave, and the file vault."""
    workspace.issuer = ScriptedIssuer(workspace.folder / "issuer")
    workspace.store = ScriptedBackend(workspace.folder / "store")
    workspace.sink = Scripted(workspace.folder / "sink")

    def configure(extra=""):
        workspace.configure(
            issuers=f"program: {{type: command, run: [{workspace.issuer.program}], disables: true}}\n",
            backends=f"store: {{type: command, run: [{workspace.store.program}]}}\n",
            alerts=f"ops: {{type: command, run: [{workspace.sink.program}]}}\n", extra=extra)

    def write(name="team/key", more="", best=""):
        workspace.policy(name.replace("/", "-"), POLICY.format(name=name, more=more, best=best))
    workspace.limit, workspace.write = configure, write
    configure()
    write()
    return workspace


@pytest.fixture
def daemon(space):
    started = Daemon(space)
    yield started
    started.stop()


def kinds(space, secret=None):
    lines = space.run("history", *([secret] if secret else []), "--format", "json").stdout.splitlines()
    return [json.loads(line)["kind"] for line in lines]


# --- compromised


def test_every_version_that_works_is_ended_and_reported(space):
    run(space, "run", "--once")
    run(space, "rotate", "team/key")
    olds = [key["value"] for key in space.issuer.keys().values()]
    assert len(olds) == 2
    report = space.json("rotate", "team/key", "--compromised")
    assert space.stages("team/key") == {1: "retired", 2: "retired", 3: "current"}
    assert not any(space.issuer.accepts(value) for value in olds)
    assert [(entry["version"], entry["issuerState"]) for entry in report["compromised"]] == [
        (1, "refused"), (2, "refused")]
    for entry in report["compromised"]:
        assert {place["backend"]: (place["holds"], place["pruned"], place["inPolicy"])
                for place in entry["places"]} == {"vault": ("no", True, True), "store": ("no", True, True)}
    versions = space.status("team/key")["versions"]
    assert [version["compromised"] for version in versions] == [True, True, False]
    text = json.dumps(report)
    assert not any(value in text for value in olds)


def test_what_still_holds_the_key_is_named(space):
    space.write(best=", bestEffort: true")
    run(space, "run", "--once")
    old = space.vault_value("team/key")
    space.store.fail("promote", times=50, status=1)
    done = space.run("rotate", "team/key", "--compromised", "--wait", "5m", timeout=240)
    # The store, which was left behind, refuses to part with what it still gives out.
    assert done.returncode == 1 and "prune:store" in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("team/key  ")]
    assert any("issuer program" in line and "refuses it" in line for line in lines)
    assert any("store:team/key" in line and "gives it to consumers" in line and "best effort" in line
               for line in lines), done.stdout
    assert any("vault:team/key" in line and "does not hold it" in line for line in lines)
    assert space.store.value("team/key") == old and old not in done.stdout


def test_a_key_that_still_works_is_no_success(space):
    run(space, "run", "--once")
    space.issuer.fail("revoke", times=5, status=1)
    done = space.run("rotate", "team/key", "--compromised", "--wait", "0", "--format", "json")
    assert done.returncode == 1
    [entry] = json.loads(done.stdout)["compromised"]
    assert entry["issuerState"] == "not-yet" and entry["issuerReason"]
    # And it can't be made current again.
    refused = run(space, "rollback", "team/key", code=1)
    assert "compromised" in refused.stderr
    space.issuer.heal()


def test_revoke_first(space):
    space.write(more="retire: {onCompromise: revoke-first}")
    assert "revoke-first" in run(space, "explain", "team/key").stdout
    run(space, "run", "--once")
    old = space.vault_value("team/key")
    space.store.fail("promote", times=1, status=1)
    run(space, "rotate", "team/key", "--compromised", "--wait", "2m")
    operations = [question["operation"] for question in space.issuer.questions()]
    assert operations.index("revoke") < len(operations) - 1 - operations[::-1].index("create")
    assert not space.issuer.accepts(old) and space.issuer.accepts(space.vault_value("team/key"))
    assert space.stages("team/key") == {1: "retired", 2: "current"}


def test_revoke_first_is_resumed_after_a_kill(space):
    space.write(more="retire: {onCompromise: revoke-first}")
    run(space, "run", "--once")
    old = space.vault_value("team/key")
    space.issuer.fail("revoke", after=True, sleep=30)
    process = space.start("rotate", "team/key", "--compromised")
    until(lambda: space.issuer.questions("revoke"), "the old key is being revoked")
    until(lambda: not space.issuer.accepts(old), "it is revoked")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert [key["value"] for key in space.issuer.keys().values()] == []
    run(space, "run", "--once")
    assert space.stages("team/key") == {1: "retired", 2: "current"}
    assert space.issuer.accepts(space.vault_value("team/key")) and len(space.issuer.keys()) == 1


def test_several_in_the_order_of_their_policies(space):
    space.write("team/a", more="after: [team/b]")
    space.write("team/b", more="after: [team/key]")
    run(space, "run", "--once")
    report = space.json("rotate", "team/a", "team/b", "team/key", "--compromised")
    assert {entry["secret"]: entry["result"] for entry in report["secrets"]} == dict.fromkeys(
        ["team/a", "team/b", "team/key"], "rotated")
    promoted = [entry["secret"] for entry in map(json.loads, space.run("history", "--format", "json").stdout.splitlines())
                if entry["kind"] == "version.promoted" and entry["version"] == 2]
    assert promoted == ["team/key", "team/b", "team/a"]


def test_compromised_beside_a_daemon(space, daemon):
    daemon.wait_for("new version is current")
    report = space.json("rotate", "team/key", "--compromised")
    assert [entry["issuerState"] for entry in report["compromised"]] == ["refused"]
    assert space.stages("team/key") == {1: "retired", 2: "current"}


# --- rollback


def test_rollback_and_back_again(space):
    run(space, "run", "--once")
    first = space.vault_value("team/key")
    run(space, "rotate", "team/key")
    second = space.vault_value("team/key")
    assert "rolled back" in run(space, "rollback", "team/key").stdout
    assert space.vault_value("team/key") == first == space.store.value("team/key")
    assert space.stages("team/key") == {1: "current", 2: "previous"}
    assert space.status("team/key")["versions"][0]["rolledBackAt"]
    assert "rolled back to" in run(space, "status").stdout
    assert len(space.issuer.keys()) == 2, "no key is made and none is revoked"
    # Nothing is due because of it.
    assert "nothing was due" in run(space, "run", "--once").stderr
    run(space, "rollback", "team/key")
    assert space.vault_value("team/key") == second == space.store.value("team/key")
    assert space.stages("team/key") == {1: "previous", 2: "current"}
    assert kinds(space).count("version.rolled-back") == 2
    run(space, "audit", "verify")


def test_rollback_is_refused_with_the_reason(space):
    assert "no current version" in run(space, "rollback", "team/key", code=1).stderr
    run(space, "run", "--once")
    assert "no version before the current one" in run(space, "rollback", "team/key", code=1).stderr
    run(space, "rollback", "team/nobody", code=64)
    run(space, "rotate", "team/key")
    space.store.fail("promote", times=1, status=1)
    assert space.run("rotate", "team/key", "--wait", "0").returncode == 1
    assert "only goes forward" in run(space, "rollback", "team/key", code=1).stderr
    assert "rollback.requested" not in kinds(space)


def test_a_key_that_is_dead_is_not_rolled_back_to(space):
    run(space, "run", "--once")
    first = space.vault_value("team/key")
    run(space, "rotate", "team/key")
    second = space.vault_value("team/key")
    keys = space.issuer.folder / "keys.json"
    keys.write_text(json.dumps({name: key for name, key in space.issuer.keys().items() if key["value"] != first}))
    done = run(space, "rollback", "team/key", code=1)
    assert "version 1 was refused" in done.stdout
    assert space.vault_value("team/key") == second == space.store.value("team/key")
    assert space.stages("team/key") == {1: "previous", 2: "current"}
    assert run(space, "run", "--once").returncode == 0


@pytest.mark.parametrize("operation, after", [("check", True), ("promote", False), ("promote", True)])
def test_rollback_is_resumed_after_a_kill(space, operation, after):
    run(space, "run", "--once")
    first = space.vault_value("team/key")
    run(space, "rotate", "team/key")
    program = space.issuer if operation == "check" else space.store
    before = len(program.questions(operation))
    program.fail(operation, after=after, sleep=30)
    process = space.start("rollback", "team/key")
    until(lambda: len(program.questions(operation)) > before, f"{operation} is under way")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert space.issuer.accepts(space.vault_value("team/key"))
    run(space, "run", "--once")
    assert space.vault_value("team/key") == first == space.store.value("team/key")
    assert space.stages("team/key") == {1: "current", 2: "previous"} and len(space.issuer.keys()) == 2


def test_rollback_beside_a_daemon(space, daemon):
    daemon.wait_for("new version is current")
    first = space.vault_value("team/key")
    run(space, "rotate", "team/key")
    assert "rolled back" in run(space, "rollback", "team/key").stdout
    assert space.vault_value("team/key") == first
    daemon.wait_for("an earlier version is current again")


@pytest.mark.parametrize("backend", ["bao", "aws"])
def test_rollback_at_real_backends(site, backend, bao, aws):
    name = f"team/{os.urandom(4).hex()}"
    site.policy("p", f"""
secret: {name}
issuer: passwords
lifetime: 30d
rotate: {{every: 20d}}
grace: 1d
backends: [{{name: {backend}}}, {{name: vault}}]
""")
    read = {"bao": lambda: bao.value(name), "aws": lambda: aws.value(name)}[backend]
    run(site, "run", "--once")
    first = read()
    run(site, "rotate", name)
    second = read()
    assert first != second
    run(site, "rollback", name)
    assert read() == first == site.vault_value(name)
    run(site, "rollback", name)
    assert read() == second == site.vault_value(name)
    run(site, "rollback", name)
    # What was written several times is gone for good once it is compromised.
    report = site.json("rotate", name, "--compromised")
    assert read() not in (first, second)
    if backend == "bao":
        held = {entry["version"]: {place["backend"]: place["holds"] for place in entry["places"]}
                for entry in report["compromised"]}
        assert held == {1: {"bao": "no", "vault": "no"}, 2: {"bao": "no", "vault": "no"}}
        left = [number for number, version in bao.versions(name).items() if not version["destroyed"]]
        assert len(left) == 1


# --- the kill switch


def test_everything_is_paused_over_restarts(space):
    run(space, "pause", "--all", "--reason", "restoring the database")
    done = run(space, "run", "--once")
    assert "restoring the database" in done.stderr and not space.issuer.questions()
    assert run(space, "status").stdout.startswith("everything is paused by ")
    assert "resume --all" in run(space, "explain", "team/key").stdout
    for command in ("status", "report"):
        [pause] = space.json(command)["paused"]
        assert (pause["scope"], pause["reason"], pause["cause"]) == ("all", "restoring the database", "asked")
    held = run(space, "rotate", "team/key", "--compromised", code=1)
    assert "the request is kept" in held.stderr
    run(space, "resume", "--all")
    run(space, "run", "--once")
    assert 1 in space.stages("team/key") and space.json("status")["paused"] == []
    assert [kind for kind in kinds(space) if kind.startswith("work.")] == ["work.paused", "work.resumed"]
    assert "not paused" in run(space, "resume", "--all").stderr


def test_nothing_is_retired_while_an_issuer_is_paused(space):
    run(space, "run", "--once")
    run(space, "rotate", "team/key")
    run(space, "pause", "--issuer", "program")
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=3)
    assert space.run("run", "--once", at=later).returncode == 0
    assert len(space.issuer.keys()) == 2 and space.stages("team/key") == {1: "previous", 2: "current"}
    assert "stays" in run(space, "status").stdout
    run(space, "resume", "--issuer", "program")
    assert space.run("run", "--once", at=later).returncode == 0
    assert len(space.issuer.keys()) == 1 and space.stages("team/key") == {1: "retired", 2: "current"}


def test_the_switch_works_while_policies_are_wrong(space):
    space.policy("wrong", "secret: [")
    run(space, "run", "--once", code=65)
    run(space, "pause", "--all")
    space.policy("wrong", "")
    assert "everything is paused" in run(space, "run", "--once").stderr


@pytest.mark.parametrize("words", [
    [], ["--all", "team/key"], ["--all", "--issuer", "program"], ["--issuer", "nobody"],
    ["team/key", "--reason", "x"], ["team/nobody"]])
def test_pauses_that_make_no_sense(space, words):
    assert run(space, "pause", *words, code=64).stderr
    with sqlite3.connect(space.folder / "var/keyturn.db") as state:
        tables = [row[0] for row in state.execute("SELECT name FROM sqlite_master WHERE name = 'switches'")]
        assert not tables or state.execute("SELECT COUNT(*) FROM switches").fetchone() == (0,)


def test_a_daemon_begins_no_further_step(space, daemon):
    daemon.wait_for("new version is current")
    space.store.fail("promote", sleep=3, times=1, after=True)
    asked = len(space.store.questions("promote"))
    process = space.start("rotate", "team/key", "--wait", "1s")
    until(lambda: len(space.store.questions("promote")) > asked, "the promote is in flight")
    run(space, "pause", "--all")
    process.communicate(timeout=60)
    until(lambda: space.status("team/key")["versions"][-1]["stage"] != "pending", "the step in flight is finished")
    revoked = space.issuer.questions("revoke")
    assert run(space, "rotate", "team/key", "--compromised", "--wait", "3s", code=1)
    assert space.issuer.questions("revoke") == revoked
    run(space, "resume", "--all")
    until(lambda: list(space.stages("team/key").values()).count("current") == 1
          and len(space.issuer.keys()) == 1, "the daemon goes on", timeout=60)


# --- limits


def test_no_more_rotations_in_an_hour_than_allowed(space):
    for number in range(5):
        space.write(f"team/more-{number}")
    space.limit("limits: {maxRotationsPerHour: 2}\n")
    for _ in range(2):
        run(space, "run", "--once")
    assert len(space.issuer.keys()) == 2
    waiting = [row for row in space.json("report")["secrets"] if "waits for its turn" in row["reason"]]
    assert len(waiting) == 4 and all(row["rotateAt"] for row in waiting)
    assert "waits for its turn" in run(space, "explain", waiting[0]["secret"]).stdout
    assert "waits for its turn" in run(space, "status").stdout
    # A person is not held back.
    run(space, "rotate", waiting[-1]["secret"])
    assert len(space.issuer.keys()) == 3
    # Without the limit they go on at once.
    space.limit()
    run(space, "run", "--once")
    assert len(space.issuer.keys()) == 6


@pytest.mark.parametrize("name, value", [
    ("maxRotationsPerHour", "0"), ("maxRotationsPerHour", "100001"), ("stopAfterFailures", "none")])
def test_limits_have_their_range(space, name, value):
    space.limit(f"limits: {{{name}: {value}}}\n")
    assert name in run(space, "validate", code=65).stdout
    space.limit()
    variable = f"KEYTURN_LIMITS_{name.upper()}"
    done = space.run("validate", environment={variable: value})
    assert done.returncode == 65 and variable in done.stdout


def test_failures_in_a_row_stop_everything(space):
    for number in range(12):
        space.write(f"team/more-{number}", more="verify: [{type: command, run: ['false']}]")
    space.limit("limits: {stopAfterFailures: 4, concurrency: 2}\n")
    done = run(space, "run", "--once", code=3)
    assert "4 rotations in a row failed" in done.stderr
    created = len(space.issuer.questions("create"))
    assert 4 <= created <= 4 + 2 + 1
    run(space, "run", "--once", code=3)
    assert len(space.issuer.questions("create")) == created
    stopped = [alert for alert in space.sink.questions() if alert["type"] == "keyturn.rotations.stopped"]
    assert len(stopped) == 1 and stopped[0]["data"]["severity"] == "critical"
    [pause] = space.json("status")["paused"]
    assert pause["cause"] == "failures" and pause["actor"] == "engine"
    run(space, "resume", "--all")
    space.run("run", "--once")
    assert len(space.issuer.questions("create")) > created
    assert any(alert["type"] == "keyturn.recovered" for alert in space.sink.questions())


def test_revoke_first_where_nobody_ends_keys_is_a_warning(space):
    space.policy("team-key", POLICY.format(name="team/key", best="", more="retire: {onCompromise: revoke-first}").replace(
        "issuer: program", "issuer: passwords"))
    done = run(space, "validate")
    assert "warning" in done.stdout and "revoke-first" in done.stdout
    space.policy("team-key", POLICY.format(name="team/key", best="", more="retire: {onCompromise: never}"))
    assert "revoke-last or revoke-first" in run(space, "validate", code=65).stdout
