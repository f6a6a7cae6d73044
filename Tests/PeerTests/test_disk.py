"""The disk fails: a sync that gives an error, with and without the loss of what was not synced, and a disk that is full.

What is said to be done is durable, no key is made that can't be recorded, and once the disk is well all goes on.
KEYTURN_TEST_POINTS and KEYTURN_TEST_SEED work as for kills.
"""
import errno
import json
import os
import random
import re
import subprocess

import pytest

from crash_harness import DEPTH, IAM, Blind, Passwords, World, spread
from peers.system_calls import SystemCalls
from scripted import Daemon, until

SEED = int(os.environ.get("KEYTURN_TEST_SEED", random.randrange(1_000_000)))
ISSUERS = {"iam": IAM, "passwords": Passwords, "blind": Blind}
UNHEARD_OF = 100_000
LONG = 7200 if DEPTH == "all" else 900


def done_by(log):
    """The steps that a log says were done, and the versions that it says are current."""
    steps = set(re.findall(r"step done secret=\S+ step=(\S+) version=(\d+)", log))
    return steps | {("current", version) for version in re.findall(r"new version is current .*version=(\d+)", log)}


def in_the_trail(world, secret):
    found = set()
    for line in world.space.run("history", secret, "--format", "json").stdout.splitlines():
        entry = json.loads(line)
        if entry["kind"] == "step.succeeded":
            found.add((entry["step"], str(entry["version"])))
        elif entry["kind"] in ("version.promoted", "version.distributed"):
            found.add(("current", str(entry["version"])))
    return found


@pytest.mark.timeout(LONG)
@pytest.mark.parametrize("power, issuer", [
    *((power, issuer) for power in ("lost", "kept") for issuer in ISSUERS), ("once", "blind")])
def test_a_sync_that_fails(tmp_path, bao, aws, capsys, issuer, power):
    """From one sync on, each fails: then the power is cut, or the machine goes on. Or one fails and the next does not."""
    world = World(tmp_path, bao, aws, SEED, kinds=[ISSUERS[issuer]])
    name = world.subjects[0].name
    arguments = "rotate", name, "--compromised", "--wait", "0", "--log-level", "info"
    tried = failed = there = 0
    try:
        world.restart("30s")
        done = world.space.run(*arguments, environment=world.calls.environment("sync", "EIO", UNHEARD_OF))
        assert done.returncode == 0, done.stderr
        there = world.calls.counted()
        for number in spread(there, world.random):
            done = world.space.run(
                *arguments, environment=world.calls.environment("sync", "EIO", number, lasting=power != "once"))
            if not world.calls.hits():
                break
            tried += 1
            told = done.stdout + done.stderr
            assert done.returncode in (0, 1), (number, done.returncode, told)
            if done.returncode == 1:
                failed += 1
                assert re.search(r"keyturn\.db: SQLite: .*disk I/O error|can't sync .*: Input/output error", told), told
                assert "free some space" not in told
            if power == "lost":
                world.calls.cut_power()
            missing = done_by(done.stderr) - in_the_trail(world, name)
            assert not missing, (number, missing, told)
            world.recovers(number)
        world.settle()
    finally:
        world.stop()
        with capsys.disabled():
            print(f"\nsyncs that fail, {issuer}, power {power}, seed {SEED}: {tried} of {there} points, "
                  f"{failed} passes failed, {world.counts['reads']} reads")
    assert there > 30 and tried and failed


def test_a_daemon_after_a_failed_sync(workspace):
    """While it starts it ends with an error; later it goes on with what is durable, and says nothing of the rest."""
    calls = SystemCalls(workspace.folder, workspace.folder / "var/keyturn.db", workspace.folder / "var")
    # The state is made before, so that a number means the same each time.
    assert workspace.run("run", "--once").returncode == 0
    endings, errors = set(), 0
    for number in (2, 5, 7, 9):
        name = f"team/key{number}"
        workspace.policy(f"key{number}", f"secret: {name}\nissuer: passwords\nlifetime: 30d\nrotate: {{every: 20d}}\n"
                         "backends: [{name: vault}]\n")
        daemon = Daemon(workspace, f"daemon{number}", environment=calls.environment("commit", "EIO", number))
        try:
            until(lambda: daemon.process.poll() is not None or daemon.said("new version is current"), "an end")
            assert calls.hits() == 1
            # The record of a new key is tried twice, and nothing is said when the second time helps.
            errors += daemon.said("keyturn.db: SQLite: disk I/O error")
            code = daemon.stop()[0]
            endings.add(code)
            assert code == (0 if daemon.said("new version is current") else 1)
        finally:
            daemon.stop(9)
        assert workspace.run("run", "--once", "--wait", "20s").returncode == 0
        assert [stage for stage in workspace.stages(name).values() if stage == "current"] == ["current"]
        assert workspace.vault_value(name)
        assert workspace.run("audit", "verify").returncode == 0
    assert endings == {0, 1} and errors >= 2


# A full disk


class SmallDisk:
    """A file system of its own, of a size that can be used up."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "none", str(folder)],
                              capture_output=True, text=True)
        if done.returncode != 0:
            pytest.fail(f"a small file system can't be mounted, which takes the superuser: {done.stderr.strip()}")
        self.filler = folder / "filler"

    def fill(self, left=0):
        """Takes all room but so many pages of 4096 bytes."""
        self.free()
        room = os.statvfs(self.folder)
        with open(self.filler, "wb", buffering=0) as file:
            try:
                file.write(bytes(max(0, room.f_bavail - left) * room.f_frsize))
            except OSError as error:
                # Who works on it meanwhile may have taken the last of it.
                assert error.errno == errno.ENOSPC

    def free(self):
        self.filler.unlink(missing_ok=True)

    def unmount(self):
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


@pytest.fixture
def disk(tmp_path):
    disk = SmallDisk(tmp_path / "disk")
    yield disk
    disk.unmount()


def must_tell_of_the_full_disk(done, disk):
    """A sentence with the path, and what to do."""
    told = done.stdout + done.stderr
    assert done.returncode == 1, (done.returncode, told)
    assert str(disk.folder) in told, told
    assert re.search("the disk that holds the state is full|No space left on device", told), told
    assert re.search("free some space", told), told


@pytest.mark.timeout(LONG)
@pytest.mark.parametrize("issuer", ISSUERS)
def test_a_disk_that_fills_up_at_a_request(tmp_path, bao, aws, disk, capsys, issuer):
    """State, vault and plain files lie on it. It is full from one request on, before or after that is carried out."""
    world = World(tmp_path / "world", bao, aws, SEED, kinds=[ISSUERS[issuer]], site=disk.folder / "site")
    arguments = "rotate", world.subjects[0].name, "--compromised", "--wait", "0"
    proxies = world.proxies
    tried = refused = there = 0
    try:
        world.restart("30s")
        for moment in ("before", "after"):
            world.kill_at(moment, UNHEARD_OF, *arguments)
            there = world.seen
            for number in spread(there, world.random):
                seen = [0]

                def passes(_):
                    seen[0] += 1
                    if seen[0] == number:
                        disk.fill(left=world.random.choice([0, 0, 1, 2, 4]))
                for proxy in proxies:
                    setattr(proxy, moment, passes)
                done = world.space.run(*arguments)
                for proxy in proxies:
                    proxy.before = proxy.after = None
                if seen[0] < number:
                    break
                tried += 1
                if done.returncode != 0:
                    refused += 1
                    must_tell_of_the_full_disk(done, disk)
                disk.free()
                world.recovers(number)
        world.settle()
    finally:
        world.stop()
        with capsys.disabled():
            print(f"\nfull disk, {issuer}, seed {SEED}: {tried} points of 2 x {there}, {refused} passes failed, "
                  f"{world.counts['reads']} reads")
    assert tried and refused


@pytest.mark.timeout(LONG)
@pytest.mark.parametrize("issuer", ISSUERS)
def test_a_write_for_which_there_is_no_room(tmp_path, bao, aws, capsys, issuer):
    """From one write on, of the journal or another file, there is no room any more."""
    world = World(tmp_path, bao, aws, SEED, kinds=[ISSUERS[issuer]])
    arguments = "rotate", world.subjects[0].name, "--compromised", "--wait", "0"
    tried = there = 0
    try:
        world.restart("30s")
        world.space.run(*arguments, environment=world.calls.environment("write", "ENOSPC", UNHEARD_OF))
        there = world.calls.counted()
        for number in spread(there, world.random):
            done = world.space.run(
                *arguments, environment=world.calls.environment("write", "ENOSPC", number, lasting=True))
            if not world.calls.hits():
                break
            tried += 1
            assert done.returncode in (0, 1), (number, done.returncode, done.stderr)
            if done.returncode == 1:
                told = done.stdout + done.stderr
                assert re.search("the disk that holds the state is full|No space left on device", told), told
            world.recovers(number)
        world.settle()
    finally:
        world.stop()
        with capsys.disabled():
            print(f"\nno room, {issuer}, seed {SEED}: {tried} of {there} points, {world.counts['reads']} reads")
    assert there > 100 and tried


def test_a_full_disk_makes_no_key(tmp_path, bao, aws, disk):
    """Where the intent can't be written, the issuer is not asked."""
    world = World(tmp_path / "world", bao, aws, SEED, kinds=[IAM], site=disk.folder / "site")
    name = world.subjects[0].name
    asked = []
    world.aws_proxy.record = lambda method, path, headers, body: asked.append(body)
    try:
        world.restart("30s")
        before = world.issuers[1].keys(world.subjects[0])
        for left in (0, 1, 2, 3):
            disk.fill(left)
            asked.clear()
            for arguments in (["rotate", name, "--wait", "0"], ["run", "--once"], ["pause", name]):
                done = world.space.run(*arguments)
                if arguments[0] == "rotate" or done.returncode != 0:
                    must_tell_of_the_full_disk(done, disk)
            assert not [body for body in asked if b"CreateAccessKey" in body], left
            assert world.issuers[1].keys(world.subjects[0]) == before
            # What only reads still works.
            for arguments in (["status"], ["report"], ["history"], ["explain", name], ["audit", "verify"]):
                done = world.space.run(*arguments)
                assert done.returncode == 0, (arguments, done.stderr)
            disk.free()
            world.space.run("resume", name)
            world.recovers(left)
        world.settle()
    finally:
        world.stop()


def test_a_daemon_waits_for_room(tmp_path, bao, aws, disk):
    """It stays, rotates nothing, and goes on by itself once there is room."""
    world = World(tmp_path / "world", bao, aws, SEED, kinds=[IAM], site=disk.folder / "site")
    subject = world.subjects[0]
    try:
        daemon = Daemon(world.space, log_folder=tmp_path)
        try:
            daemon.wait_for("new version is current", 1)
            assert world.space.run("rotate", subject.name, "--wait", "0").returncode in (0, 1)
            daemon.wait_for("new version is current", 2)
            disk.fill()
            done = world.space.run("rotate", subject.name, "--wait", "0")
            must_tell_of_the_full_disk(done, disk)
            disk.free()
            assert world.space.run("rotate", subject.name, "--wait", "20s").returncode == 0
            daemon.wait_for("new version is current", 3)
            assert daemon.stop()[0] == 0
        finally:
            daemon.stop(9)
        world.settle()
    finally:
        world.stop()
