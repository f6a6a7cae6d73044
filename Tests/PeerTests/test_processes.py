"""Several processes on one state, and processes that are suspended: one rotation at a time, each key made once, and
nothing done by a process that lost its claim.

KEYTURN_TEST_RACES says how often processes are started at the same moment.
"""
import datetime
import json
import os
import re
import signal
import time

import pytest

from scripted import Daemon, ScriptedBackend, ScriptedIssuer, until

RACES = int(os.environ.get("KEYTURN_TEST_RACES", "3"))
DAY = 86_400
POLICY = """\
secret: {name}
issuer: program
lifetime: 30d
rotate: {{every: 20d, renewBefore: 5d}}
grace: 1h
backends: [{{name: vault}}, {{name: store}}]
"""


@pytest.fixture
def scripted(workspace):
    workspace.issuer = ScriptedIssuer(workspace.folder / "issuer")
    workspace.store = ScriptedBackend(workspace.folder / "store")
    workspace.configure(
        issuers=f"program: {{type: command, run: [{workspace.issuer.program}], timeout: 60s}}\n",
        backends=f"store: {{type: command, run: [{workspace.store.program}], timeout: 60s}}\n")
    return workspace


@pytest.fixture
def daemons(scripted):
    started = []

    def start(**options):
        started.append(Daemon(scripted, f"daemon{len(started)}", **options))
        return started[-1]
    yield start
    for daemon in started:
        if daemon.process.poll() is None:
            daemon.signal(signal.SIGCONT)
            daemon.process.kill()
            daemon.process.wait()


def add(space, name):
    space.policy(name.replace("/", "-"), POLICY.format(name=name))
    return name


def created(space, name):
    return [question for question in space.issuer.questions("create") if question["secret"] == name]


def must_be_in_order(space, name):
    """One rotation after the other, each with one key; the issuer holds what the state knows; all serve the same."""
    kinds = [json.loads(line)["kind"] for line in space.run("history", name, "--format", "json").stdout.splitlines()]
    turns = [kind for kind in kinds if kind in ("rotation.started", "version.promoted")]
    assert turns == ["rotation.started", "version.promoted"] * (len(turns) // 2), turns
    assert len(created(space, name)) == len(turns) // 2
    status = space.status(name)
    assert status["rotation"] is None and not status["quarantined"]
    live = {version["keyId"]: version["stage"] for version in status["versions"] if version["stage"] != "retired"}
    held = {key for key, about in space.issuer.keys().items() if about["secret"] == name}
    assert held == set(live) and list(live.values()).count("current") == 1, (held, live)
    value = space.vault_value(name)
    assert value == space.store.value(name) and space.issuer.accepts(value)
    assert space.run("audit", "verify").returncode == 0


def outcome(process):
    out, err = process.communicate(timeout=60)
    assert process.returncode in (0, 75), (process.args, process.returncode, out, err)
    assert process.returncode == 0 or "another process" in err, err
    return process.returncode


@pytest.mark.timeout(120 + 10 * RACES)
def test_passes_that_start_at_the_same_moment(scripted, capsys):
    refused = 0
    for number in range(RACES):
        name = add(scripted, f"team/key{number}")
        codes = [outcome(process) for process in [scripted.start("run", "--once") for _ in range(3)]]
        assert 0 in codes, codes
        refused += codes.count(75)
        must_be_in_order(scripted, name)
        assert scripted.stages(name) == {1: "current"}
    with capsys.disabled():
        print(f"\nprocesses: {3 * RACES} passes, {refused} refused")
    assert refused > 0, "no two of them ever met"


@pytest.mark.timeout(120 + 10 * RACES)
def test_rotations_that_are_asked_for_at_the_same_moment(scripted):
    """One drives, the others ask it or are told that it is at work; nothing is done twice at once."""
    name = add(scripted, "team/key")
    assert scripted.run("run", "--once").returncode == 0
    for _ in range(RACES):
        processes = [scripted.start("rotate", name, "--wait", "30s") for _ in range(3)]
        for process in processes:
            out, err = process.communicate(timeout=60)
            # One that asked another, which ended before it saw that, finds its wish open.
            assert process.returncode in (0, 1, 75), (process.returncode, out, err)
        assert scripted.run("run", "--once").returncode == 0
        must_be_in_order(scripted, name)


@pytest.mark.timeout(120 + 20 * RACES)
def test_commands_beside_a_daemon(scripted, daemons, tmp_path):
    name, other = add(scripted, "team/key"), add(scripted, "team/other")
    key = tmp_path / "key"
    key.write_text("a key made elsewhere")
    key.chmod(0o600)
    daemon = daemons()
    daemon.wait_for("new version is current", 2)
    for _ in range(RACES):
        beside = [scripted.start(*arguments) for arguments in (
            ["rotate", name, "--wait", "30s"], ["rotate", name, other, "--wait", "2s"], ["run", "--once"], ["run"],
            ["pause", other], ["adopt", name, "--from", str(key)], ["status"], ["history"])]
        codes = []
        for process in beside:
            out, err = process.communicate(timeout=60)
            codes.append(process.returncode)
            assert "Fatal" not in err, err
        assert codes[2] == codes[3] == 75, codes
        # Its claim is another's at the moment, or the key is one that is kept already.
        assert codes[5] in (1, 75), codes
        assert codes[4] == codes[6] == codes[7] == 0, codes
        assert codes[0] == 0 and codes[1] in (0, 1), codes
        assert scripted.run("resume", other).returncode == 0
        assert scripted.run("rotate", name, other, "--wait", "30s").returncode == 0
        must_be_in_order(scripted, name)
        must_be_in_order(scripted, other)
    assert daemon.process.poll() is None
    assert daemon.stop()[0] == 0


def later(seconds):
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) + datetime.timedelta(seconds=seconds)


@pytest.mark.parametrize("operation", ["create", "promote"])
def test_suspended_past_its_claim(scripted, daemons, tmp_path, operation):
    """A claim holds 300 s. While it does, nobody else changes the secret; after that somebody may, and the process that
    wakes up sees that what it began is no longer its own. It looks again, and goes on with what the journal says."""
    name = add(scripted, "team/key")
    key = tmp_path / "key"
    key.write_text("a key made elsewhere")
    key.chmod(0o600)
    program = scripted.issuer if operation == "create" else scripted.store
    program.fail(operation, after=True, sleep=2)
    daemon = daemons(clock=True)
    until(lambda: program.questions(operation), f"the {operation}")
    daemon.signal(signal.SIGSTOP)
    # Whoever drives rotations must be alone, also beside one that sleeps.
    assert scripted.run("run", "--once", at=later(400)).returncode == 75
    adopt = "adopt", name, "--from", str(key)
    held = scripted.run(*adopt)
    assert held.returncode == 75 and "took over" in held.stderr, held.stderr
    taken = scripted.run(*adopt, at=later(400))
    # It has the claim now, and sees that there is a rotation which it must not disturb.
    assert taken.returncode == 1 and "already has a version" in taken.stderr, taken.stderr
    time.sleep(2)
    daemon.ahead(400)
    daemon.signal(signal.SIGCONT)
    daemon.wait_for("another process took over")
    # What a program may still be at is given the time that it has, by a clock that was not set ahead.
    daemon.wait_for("new version is current", timeout=180)
    assert daemon.stop()[0] == 0
    value = scripted.vault_value(name)
    assert value == scripted.store.value(name) and scripted.issuer.accepts(value)
    status = scripted.status(name)
    assert status["rotation"] is None
    live = {version["keyId"] for version in status["versions"] if version["stage"] in ("current", "previous")}
    assert set(scripted.issuer.keys()) == live, "a key that was made before the claim was lost is nobody's"
    if operation == "promote":
        assert len(created(scripted, name)) == 1
    assert len(re.findall("new version is current", daemon.log.read_text())) == 1


@pytest.mark.parametrize("days", [20, 95], ids=["due", "several-times-due"])
def test_a_suspended_machine(scripted, daemons, days):
    """It sleeps past one due time or several: the rotation comes late, and once."""
    name = add(scripted, "team/key")
    daemon = daemons(clock=True)
    daemon.wait_for("new version is current", 1)
    daemon.signal(signal.SIGSTOP)
    time.sleep(0.5)
    daemon.ahead(days * DAY + 60)
    daemon.signal(signal.SIGCONT)
    daemon.wait_for("new version is current", 2)
    # Two more looks at the clock.
    time.sleep(5)
    assert daemon.said("new version is current") == 2
    assert daemon.stop()[0] == 0
    assert scripted.stages(name) == {1: "previous", 2: "current"}
    must_be_in_order(scripted, name)
