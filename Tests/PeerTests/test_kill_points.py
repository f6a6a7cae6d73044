"""SIGKILL at every point of one rotation over the file vault, OpenBao, AWS and a plain file: before each write of the
journal and in the middle of it, with all that was not synced taken away as a power cut does, at each change of another
file, and at each request and each run of a program, before it and after it was carried out.

KEYTURN_TEST_POINTS says how many points of each kind are tried at least, spread over all by KEYTURN_TEST_SEED; `all` tries
each.
"""
import os
import random
import time

import pytest

from crash_harness import (
    DEPTH, GRACE, IAM, POINTS, Blind, Interface, MomentoCellKeys, MomentoKeys, Passwords, Program, Roles, Users, World, spread)

SEED = int(os.environ.get("KEYTURN_TEST_SEED", random.randrange(1_000_000)))
# One that lists its keys, one whose value is chosen, a program that lists its keys, and one that lists nothing; and a
# vendor's two generations of keys, with lineages and with neither list nor revocation; two roles that take turns; users with several passwords.
ISSUERS = {"iam": IAM, "passwords": Passwords, "program": Program, "blind": Blind,
           "momento": MomentoKeys, "momento-v1": MomentoCellKeys, "postgresql": Roles, "redis": Users, "http": Interface}
UNHEARD_OF = 100_000


class Whole:
    """Issue, stage, verify, promote, revoke and prune in one stroke."""

    least = 12  # commits

    @staticmethod
    def prepare(world, name):
        return "rotate", name, "--compromised", "--wait", "0"


class AfterGrace:
    """The end of the grace: revoke and prune."""

    least = 7

    @staticmethod
    def prepare(world, name):
        done = world.space.run("rotate", name)
        assert done.returncode == 0, done.stderr
        time.sleep(GRACE + 0.1)
        return "run", "--once", "--wait", "0"


@pytest.mark.timeout(7200 if DEPTH == "all" else 900)
@pytest.mark.parametrize("part, issuer", [
    *((Whole, issuer) for issuer in ISSUERS), (AfterGrace, "iam"), (AfterGrace, "program"),
], ids=lambda value: value if isinstance(value, str) else value.__name__.lower())
def test_killed_at_each_point(tmp_path, bao, aws, capsys, issuer, part):
    world = World(tmp_path, bao, aws, SEED, kinds=[ISSUERS[issuer]])
    # It is waited for as long as it takes.
    world.duration = 30
    points = {}
    try:
        world.restart("30s")
        for kind in POINTS:
            if issuer in ("program", "blind") or not kind.startswith("program"):
                points[kind] = walk(world, kind, part)
        world.settle()
    finally:
        world.stop()
        with capsys.disabled():
            told = ", ".join(f"{tried} of {there} {kind}" for kind, (tried, there) in points.items())
            print(f"\nkill points, {issuer}, {part.__name__}, seed {SEED}: {told}; "
                  f"{world.counts['kills']} kills, {world.counts['reads']} reads, "
                  f"{world.counts['unknown outcomes resolved']} unknown outcomes resolved")
    # An intent and an outcome for each step at least.
    assert points["power cut"][1] >= part.least and points["journal"][1] > 2 * points["power cut"][1]
    assert points["before"][1] == points["after"][1] > 5


def walk(world, kind, part):
    """How many points were tried, and how many there are."""
    name = world.subjects[0].name
    # A rotation that nothing happens to.
    assert not world.kill_at(kind, UNHEARD_OF, *part.prepare(world, name))
    world.check(restarted=True)
    there, tried = world.seen, 0
    for number in spread(there, world.random):
        killed = world.kill_at(kind, number, *part.prepare(world, name))
        # The number of writes differs a little from run to run.
        assert killed or number > there * 0.8, (kind, number, there)
        tried += killed
        world.recovers((kind, number), restarted=not killed)
        if not killed and DEPTH == "all":
            there = tried
            break
    return tried, there
