"""Bytes of the state are flipped, pages of it zeroed, its files cut: Keyturn works with an older state that is whole, or
says that it is damaged. It never crashes, and never revokes a key that somebody is served.

KEYTURN_TEST_DAMAGES says how often each kind of damage is done, KEYTURN_TEST_SEED repeats a run's choices.
"""
import collections
import os
import random
import re
import shutil
import sqlite3

import pytest

from programs import CommandIssuer
from workspace import Workspace

TIMES = int(os.environ.get("KEYTURN_TEST_DAMAGES", "3"))
SEED = int(os.environ.get("KEYTURN_TEST_SEED", random.randrange(1_000_000)))
PAGE = 4096
FRAME = PAGE + 24
NAME = "team/key"


class State:
    """A state in the middle of its life, of which copies are damaged: three versions, the second in its grace."""

    def __init__(self, space, folder):
        self.space, self.folder = space, folder
        self.program = CommandIssuer(folder / "program")
        space.configure(issuers=f"program: {{type: command, run: ['{self.program.program}'], disables: true}}\n")
        space.policy("key", f"secret: {NAME}\nissuer: program\nlifetime: 30d\nrotate: {{every: 20d}}\ngrace: 1h\n"
                     "verify: [{type: issuer}]\nbackends: [{name: vault}]\n")
        self.path = space.folder / "var/keyturn.db"
        self.log = self.path.with_name("keyturn.db-wal")
        assert space.run("run", "--once").returncode == 0
        # Whoever reads keeps the log from being taken into the database and removed.
        with sqlite3.connect(self.path) as reader:
            reader.execute("SELECT count(*) FROM audit").fetchone()
            assert space.run("rotate", NAME, "--compromised").returncode == 0
            assert space.run("rotate", NAME).returncode == 0
            self.keep("log")
        reader.close()
        database = sqlite3.connect(self.path, isolation_level=None)
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        self.keep("database")
        self.keys, self.value = self.program.keys(), space.vault_value(NAME)
        assert len(self.keys) == 2 and self.program.accepts(self.value)
        assert space.stages(NAME) == {1: "retired", 2: "previous", 3: "current"}

    def keep(self, name):
        """Sets aside all that a pass may change."""
        copy = self.folder / f"kept-{name}"
        shutil.copytree(self.space.folder / "var", copy / "var", symlinks=True)
        shutil.copy(self.folder / "program/keys.json", copy / "keys.json")

    def restore(self, name):
        shutil.rmtree(self.space.folder / "var")
        shutil.copytree(self.folder / f"kept-{name}/var", self.space.folder / "var", symlinks=True)
        shutil.copy(self.folder / f"kept-{name}/keys.json", self.folder / "program/keys.json")
        self.path.with_name("keyturn.db-shm").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    return State(Workspace(folder / "site"), folder)


def flip(content, choose, first=0, last=None, count=1):
    for _ in range(count):
        content[choose.randrange(first, last or len(content))] ^= 1 << choose.randrange(8)
    return content


def zero(content, page, size=PAGE):
    content[page * size:(page + 1) * size] = bytes(size)
    return content


def flipped_texts(content, choose):
    """A character in the middle of a record becomes another one that may stand there, too."""
    places = [match.start() for match in re.finditer(rb'(?<=[0-9a-z])[0-9a-z](?=[0-9a-z])', bytes(content[PAGE:]))]
    place = PAGE + choose.choice(places)
    content[place] = ord("7") if content[place] != ord("7") else ord("3")
    return content


LOG, DATABASE = "log", "database"
DAMAGES = {
    # what: which copy, which file, how
    "a byte of the database": (DATABASE, DATABASE, lambda c, r: flip(c, r)),
    "many bytes of the database": (DATABASE, DATABASE, lambda c, r: flip(c, r, count=40)),
    "a character of the database": (DATABASE, DATABASE, flipped_texts),
    "the header of the database": (DATABASE, DATABASE, lambda c, r: flip(c, r, last=100)),
    "a page of the database zeroed": (DATABASE, DATABASE, lambda c, r: zero(c, r.randrange(len(c) // PAGE))),
    "the newest page of the database": (DATABASE, DATABASE, lambda c, r: flip(c, r, first=len(c) - PAGE, count=5)),
    "the database cut": (DATABASE, DATABASE, lambda c, r: c[:r.randrange(len(c))]),
    "the database cut at a page": (DATABASE, DATABASE, lambda c, r: c[:PAGE * r.randrange(len(c) // PAGE)]),
    "a byte of the log": (LOG, LOG, lambda c, r: flip(c, r)),
    "the newest page of the log": (LOG, LOG, lambda c, r: flip(c, r, first=len(c) - FRAME, count=5)),
    "the header of the log": (LOG, LOG, lambda c, r: flip(c, r, last=32)),
    "the log cut": (LOG, LOG, lambda c, r: c[:r.randrange(len(c))]),
    "the log cut at a page": (LOG, LOG, lambda c, r: c[:32 + FRAME * r.randrange((len(c) - 32) // FRAME)]),
    "a page of the log zeroed": (LOG, LOG, lambda c, r: zero(c, r.randrange(len(c) // FRAME), FRAME)),
    "a page of the database below the log": (LOG, DATABASE, lambda c, r: zero(c, r.randrange(len(c) // PAGE))),
}


@pytest.mark.timeout(300 + 10 * TIMES)
@pytest.mark.parametrize("kind", DAMAGES, ids=lambda kind: kind.replace(" ", "-"))
def test_damage(state, capsys, kind):
    copy, file, damage = DAMAGES[kind]
    choose = random.Random(f"{SEED} {kind}")
    seen = collections.Counter()
    for number in range(TIMES):
        state.restore(copy)
        path = state.log if file == LOG else state.path
        damaged = damage(bytearray(path.read_bytes()), choose)
        path.write_bytes(damaged)
        for arguments in (["status"], ["run", "--once"], ["rotate", NAME, "--wait", "0"], ["audit", "verify"]):
            done = state.space.run(*arguments)
            told = done.stdout + done.stderr
            where = (kind, SEED, number, arguments, done.returncode, told)
            assert 0 <= done.returncode < 128 and "Fatal" not in told, where
            assert done.returncode in (0, 1, 3), where
            if "the state is damaged" in told:
                assert done.returncode == 1, where
                assert str(state.path) in told and "restore it from a backup" in told, where
                seen["damaged"] += 1
            elif done.returncode != 0:
                # What an older state makes of a vault that is ahead of it, or a trail that was cut.
                assert re.search("that Keyturn did not put there|does not know|entry \\d+|quarantined|was not rotated",
                                 told), where
                seen["held up"] += 1
            else:
                seen["worked"] += 1
            for secret in (value["value"] for value in state.keys.values()):
                assert secret not in told
        served = state.space.vault_value(NAME)
        keys = {key["value"] for key in state.program.keys().values() if key["enabled"]}
        assert served is None or served in keys, (kind, SEED, number, "what is served is refused")
        # A key that was served, and is not replaced by a newer one, was not revoked.
        assert state.value in keys, (kind, SEED, number, "the served key was revoked")
    with capsys.disabled():
        print(f"\ndamage, {kind}, seed {SEED}: {TIMES} times; "
              + ", ".join(f"{count} commands {what}" for what, count in sorted(seen.items())))
