"""kill -9 at random moments of many rotations against real servers: the promises hold before and after the restart.

KEYTURN_TEST_KILLS scales the number of kills, KEYTURN_TEST_SEED repeats a run's choices.
"""
import os
import random
import signal
import time
import uuid

import pytest

from conftest import references, systems
from crash_harness import World, children_of
from peers.fault_proxy import FaultProxy
from programs import CommandIssuer

KILLS = int(os.environ.get("KEYTURN_TEST_KILLS", "120"))
SEED = int(os.environ.get("KEYTURN_TEST_SEED", random.randrange(1_000_000)))


@pytest.mark.timeout(300 + KILLS * 8)
def test_killed_at_any_moment(tmp_path, bao, aws, capsys):
    with capsys.disabled():
        print(f"\nkill test: seed {SEED}")
    world = World(tmp_path, bao, aws, SEED)
    try:
        drive(world)
    finally:
        world.stop()
        with capsys.disabled():
            print("\nkill test:", ", ".join(f"{count} {name}" for name, count in sorted(world.counts.items())))
    counts = world.counts
    assert counts["kills"] >= KILLS
    assert counts["kills mid-rotation"] > counts["kills"] * 0.6, "too few kills hit a rotation"
    assert counts["rotations interrupted"] > counts["kills"], "a kill interrupts several rotations at once"
    assert KILLS < 100 or counts["unknown outcomes resolved"] > 0


def drive(world):
    choose = world.random
    names = [subject.name for subject in world.subjects]
    # The first rotation of everything is killed too.
    arguments = "run", "--once", "--wait", "0"
    while not world.run_and_kill(*arguments):
        world.check(restarted=True)
        arguments = "rotate", *names, "--wait", "0"
    world.check(restarted=False)
    world.settle()
    world.measure()
    settled = 0
    while world.counts["kills"] < KILLS:
        rounds = [("rotate", *names, "--wait", "0")]
        rounds += choose.choices([("run",), ("run", "--once", "--wait", "0")], k=choose.randint(1, 3))
        for arguments in rounds:
            world.check(restarted=not world.run_and_kill(*arguments))
        world.restart()
        world.check(restarted=True)
        if world.counts["kills"] - settled >= 70:
            settled = world.counts["kills"]
            world.settle()
    world.settle()
    world.counts["unknown outcomes in the trail"] = world.audit.kinds["step.resolved"]
    world.counts["versions promoted"] = world.audit.kinds["version.promoted"]
    world.counts["versions retired"] = world.audit.kinds["version.retired"]


def kill_when(process, happened):
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline and process.poll() is None, "the moment to kill did not come"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def test_program_that_outlives_the_kill(workspace, tmp_path):
    """It makes its key after the restart has looked for one: the key is found all the same."""
    program = CommandIssuer(tmp_path / "program")
    slow = program.folder / "slow"
    slow.write_text(f"""#!/bin/sh
question=$(cat)
case $question in *'"operation":"create"'*) touch {program.folder}/begun; sleep 1.5;; esac
printf %s "$question" | {program.program}
""")
    slow.chmod(0o700)
    workspace.configure(issuers=f"program: {{type: command, run: ['{slow}'], timeout: 3s}}\n")
    workspace.policy("key", "secret: app/key\nissuer: program\nlifetime: 30d\nrotate: {every: 20d}\n"
                     "backends: [{name: vault}]\n")
    kill_when(workspace.start("run", "--once"), (program.folder / "begun").exists)
    assert program.keys() == {}
    done = workspace.run("run", "--once", "--wait", "60s")
    assert done.returncode == 0, done.stderr
    while children_of(program.folder):
        time.sleep(0.1)
    status = workspace.status("app/key")
    known = {version["keyId"] for version in status["versions"] if version["stage"] == "current"}
    assert set(program.keys()) == known, "the program's first key is known to nobody"
    assert program.accepts(workspace.vault_value("app/key"))


def test_request_that_arrives_after_the_restart(workspace, bao, aws):
    """A create call on its way when the process died; AWS carries it out while the restart is asking."""
    user = f"u{uuid.uuid4().hex[:10]}"
    aws.add_user(user)
    name = f"cloud/{user}"
    proxy = FaultProxy(aws.port)
    calls = []
    proxy.record = lambda method, path, headers, body: calls.append(body)

    def before(_):
        if b"Action=CreateAccessKey" in calls[-1] and sum(b"CreateAccessKey" in body for body in calls) == 1:
            time.sleep(2)
    proxy.before = before
    try:
        parts = systems(bao, aws)
        parts["issuers"] = parts["issuers"].replace(aws.endpoint, proxy.address)
        workspace.configure(**parts)
        workspace.environment = references(aws)
        workspace.policy("key", f"secret: {name}\nissuer: iam\nissue: {{user: {user}}}\nlifetime: 30d\n"
                         f"rotate: {{every: 20d}}\nbackends: [{{name: vault}}]\n")
        kill_when(workspace.start("run", "--once"), lambda: any(b"CreateAccessKey" in body for body in calls))
        assert aws.keys(user) == {}
        done = workspace.run("run", "--once", "--wait", "60s")
        assert done.returncode == 0, done.stderr
        known = [version["keyId"] for version in workspace.status(name)["versions"] if version["stage"] == "current"]
        assert list(aws.keys(user)) == known
        assert "unknown outcome resolved" in done.stderr
    finally:
        proxy.stop()
