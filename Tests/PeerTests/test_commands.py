"""Every command as a user meets it: what it prints, what it leaves, and the status it ends with."""
import datetime
import json
import os
import pathlib
import pty
import re
import shutil
import sqlite3
import stat
import subprocess
import zoneinfo

import croniter
import pytest

from peers.process import free_port
from workspace import BINARY, Workspace

UTC = datetime.timezone.utc
START = datetime.datetime(2027, 3, 1, 12, 0, 0, tzinfo=UTC)
DAY = datetime.timedelta(days=1)
RFC3339 = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")


def policy(secret="team/key", lifetime="30d", rotate="{every: 20d, renewBefore: 5d}", more=""):
    return (f"secret: {secret}\nowner: platform\nissuer: passwords\nlifetime: {lifetime}\nrotate: {rotate}\ngrace: 2h\n"
            f"backends: [{{name: vault}}]\n{more}")


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def space(workspace):
    workspace.policy("key", policy())
    return workspace


@pytest.fixture
def rotated(space):
    """A workspace where version 2 is current and version 1 in its grace, at START."""
    assert space.run("run", "--once", at=START).returncode == 0
    assert space.run("rotate", "team/key", at=START).returncode == 0
    return space


# --- init

def test_init(tmp_path):
    folder = tmp_path / "new/site"
    done = subprocess.run([BINARY, "init", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "", "what init says is no data"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {"keyturn.yaml", "schedules/example.yaml", "var/audit.key", "var/identity.txt"}
    assert all(mode(folder / name) == 0o600 for name in files)
    assert all(mode(path) == 0o700 for path in [folder, *folder.rglob("*")] if path.is_dir())
    identity = (folder / "var/identity.txt").read_text()
    assert re.search(r"^AGE-SECRET-KEY-1[A-Z0-9]+$", identity, re.M)
    recipient = re.search(r"public key: (age1\w+)", identity)[1]
    assert subprocess.run(["age-keygen", "-y", str(folder / "var/identity.txt")], capture_output=True,
                          text=True).stdout.strip() == recipient
    assert f"recipients: [{recipient}]" in (folder / "keyturn.yaml").read_text()
    assert identity.split("AGE-SECRET-KEY-")[1].strip() not in done.stderr
    assert (folder / "var/audit.key").read_text().splitlines()[1] not in done.stderr
    for command in (["validate"], ["run", "--once"], ["report"]):
        assert subprocess.run([BINARY, *command], cwd=folder, capture_output=True).returncode == 0, command


@pytest.mark.parametrize("name", [None, ".", "./", "below", "below/", "./below/../below"])
def test_init_names_what_it_wrote(tmp_path, name):
    if name and "below" in name:
        (tmp_path / "below").mkdir()
    done = subprocess.run([BINARY, "init", *([name] if name else [])], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = re.findall(r"^wrote (.*)$", done.stderr, re.M)
    folder = tmp_path / "below" if name and "below" in name else tmp_path
    files = ("keyturn.yaml", "var/identity.txt", "var/audit.key", "schedules/example.yaml")
    assert written == [f"{folder}/{file}" for file in files]


@pytest.mark.parametrize("name", ["keyturn.yaml", "schedules/example.yaml", "var/identity.txt", "var/audit.key"])
def test_init_never_overwrites(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    done = subprocess.run([BINARY, "init", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 1 and name in done.stderr and "nothing was written" in done.stderr
    assert [str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()] == [name]
    assert path.read_text() == "mine"


def test_init_does_not_follow_a_link(tmp_path):
    (tmp_path / "var").mkdir()
    (tmp_path / "var/identity.txt").symlink_to(tmp_path / "elsewhere")
    done = subprocess.run([BINARY, "init", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert not (tmp_path / "elsewhere").exists() and (tmp_path / "var/identity.txt").is_symlink()
    assert not (tmp_path / "keyturn.yaml").exists()


# --- report and status

REPORT_KEYS = {"secret", "owner", "issuer", "stage", "version", "issuedAt", "expiresAt", "rotateAt", "expiresIn",
               "state", "action", "backends", "reason"}
STATUS_KEYS = {"secret", "versions", "nextRotation", "rotation"}
VERSION_KEYS = {"number", "stage", "issuedAt", "expiresAt", "promotedAt", "retireAt", "keyId", "rolledBackAt", "compromised"}
ROTATION_KEYS = {"step", "attempt", "lastError", "nextAttempt"}


def test_report_json(space):
    assert space.run("run", "--once", at=START).returncode == 0
    later = START + 3 * DAY
    answer = space.json("report", at=later)
    assert set(answer) == {"generatedAt", "within", "secrets", "paused"} and answer["paused"] == []
    assert answer["within"] is None and RFC3339.match(answer["generatedAt"])
    [entry] = answer["secrets"]
    assert set(entry) == REPORT_KEYS
    assert (entry["secret"], entry["owner"], entry["issuer"], entry["stage"], entry["version"]) == (
        "team/key", "platform", "passwords", "current", 1)
    for name in ("issuedAt", "expiresAt", "rotateAt"):
        assert RFC3339.match(entry[name]), name
    issued, expires, rotates = (datetime.datetime.fromisoformat(entry[name])
                                for name in ("issuedAt", "expiresAt", "rotateAt"))
    assert abs(issued - START) < datetime.timedelta(minutes=1)
    assert expires - issued == 30 * DAY
    assert abs(rotates - issued - 20 * DAY) < datetime.timedelta(minutes=1)
    generated = datetime.datetime.fromisoformat(answer["generatedAt"])
    assert abs(entry["expiresIn"] - (expires - generated).total_seconds()) <= 1
    assert entry["backends"] == ["vault"] and entry["reason"]
    assert (entry["state"], entry["action"]) == ("ok", "rotate")


def test_report_changes_nothing(space):
    assert space.run("report").returncode == 0
    assert not (space.folder / "var/keyturn.db").exists() and not space.vault.exists()
    assert space.run("run", "--once", at=START).returncode == 0
    before = space.run("history", "--format", "json").stdout
    for at in (START, START + 21 * DAY, START + 400 * DAY):
        for command in (["report"], ["report", "--within", "30d"], ["status"], ["explain", "team/key"], ["history"]):
            assert space.run(*command, at=at).returncode == 0
    assert space.run("history", "--format", "json").stdout == before


STATES = {
    # state: (days after the first rotation, the action that is next)
    "ok": (1, "rotate"), "due": (20.1, "rotate"), "overdue": (24, "rotate"), "expired": (31, "rotate"),
}


@pytest.mark.parametrize("state", STATES)
def test_states_over_time(space, state):
    assert space.run("run", "--once", at=START).returncode == 0
    days, action = STATES[state]
    at = START + days * DAY
    [entry] = space.json("report", at=at)["secrets"]
    assert (entry["state"], entry["action"]) == (state, action)
    assert space.status("team/key", at=at)["state"] == state
    assert state in space.run("report", at=at).stdout
    if state == "expired":
        assert entry["expiresIn"] < 0


def test_state_new(space):
    [entry] = space.json("report")["secrets"]
    assert (entry["state"], entry["action"], entry["stage"], entry["version"], entry["expiresAt"]) == (
        "new", "issue", None, None, None)
    assert space.status("team/key")["versions"] == []


def test_state_never_expires(workspace):
    workspace.policy("key", policy(lifetime="never", rotate="{every: 20d}", more="allowNoExpiry: true\n"))
    assert workspace.run("run", "--once", at=START).returncode == 0
    [entry] = workspace.json("report", at=START)["secrets"]
    assert (entry["state"], entry["expiresAt"], entry["expiresIn"]) == ("never-expires", None, None)


def test_state_failing_and_retry(workspace):
    workspace.configure(backends="broken: {type: command, run: ['false'], readsBack: false}\n")
    workspace.policy("key", policy().replace("{name: vault}", "{name: vault}, {name: broken}"))
    done = workspace.run("run", "--once", "--wait", "0")
    assert done.returncode == 1, (done.stdout, done.stderr)
    [entry] = workspace.json("report")["secrets"]
    assert (entry["state"], entry["action"]) == ("failing", "retry")
    status = workspace.status("team/key")
    assert set(status["rotation"]) == ROTATION_KEYS
    assert status["rotation"]["attempt"] == 1 and status["rotation"]["lastError"]
    assert RFC3339.match(status["rotation"]["nextAttempt"])


def test_action_retire(rotated):
    [entry] = rotated.json("report", at=START)["secrets"]
    assert entry["action"] == "retire"
    assert rotated.run("run", "--once", at=START + DAY).returncode == 0
    assert rotated.stages("team/key", at=START + DAY) == {1: "retired", 2: "current"}


def test_report_within(workspace):
    for index, lifetime in enumerate((10, 30, 90)):
        workspace.policy(
            f"k{index}", policy(f"team/k{index}", f"{lifetime}d", f"{{every: {lifetime - 3}d, renewBefore: 3d}}"))
    assert workspace.run("run", "--once", at=START).returncode == 0

    def shown(*arguments):
        return [entry["secret"] for entry in workspace.json("report", *arguments, at=START)["secrets"]]
    assert shown() == ["team/k0", "team/k1", "team/k2"], "the most urgent first"
    assert shown("--within", "2w") == ["team/k0"]
    assert shown("--within", "30d") == ["team/k0", "team/k1"]
    assert workspace.json("report", "--within", "14d", at=START)["within"] == "14d"
    assert shown("--within", "1h") == []
    assert workspace.run("report", "--within", "soon").returncode == 64
    # Within a day of the key's renewal it is shown, although it expires later.
    assert [entry["secret"] for entry in
            workspace.json("report", "--within", "1d", at=START + 6.5 * DAY)["secrets"]] == ["team/k0"]


def test_report_fail_within(space):
    assert space.run("report", "--fail-within", "30d").returncode == 0, "a key that is not there yet does not expire"
    assert space.run("run", "--once", at=START).returncode == 0
    for within, at, code in (("29d", 0, 0), ("31d", 0, 2), ("5d", 24, 0), ("5d", 26, 2), ("1d", 40, 2)):
        done = space.run("report", "--fail-within", within, at=START + at * DAY)
        assert done.returncode == code, (within, at, done.stderr)
        assert "team/key" in done.stdout
    assert space.json("report", "--fail-within", "31d", at=START, codes=(2,))["secrets"]
    # What --within leaves out of the table still fails.
    assert space.run("report", "--within", "1d", "--fail-within", "31d", at=START).returncode == 2


def test_status_json(rotated):
    answer = rotated.json("status", at=START)
    assert set(answer) == {"secrets", "paused"} and answer["paused"] == []
    [entry] = answer["secrets"]
    assert STATUS_KEYS <= set(entry)
    assert entry["rotation"] is None and RFC3339.match(entry["nextRotation"])
    assert [set(version) for version in entry["versions"]] == [VERSION_KEYS, VERSION_KEYS]
    old, new = entry["versions"]
    assert (old["number"], old["stage"], new["number"], new["stage"]) == (1, "previous", 2, "current")
    assert RFC3339.match(old["retireAt"]) and new["retireAt"] is None
    promoted = datetime.datetime.fromisoformat(new["promotedAt"])
    assert datetime.datetime.fromisoformat(old["retireAt"]) - promoted == datetime.timedelta(hours=2)
    done = rotated.run("status", "team/key", at=START)
    assert "version 1  previous" in done.stdout and "version 2  current" in done.stdout


def test_unknown_secret(space):
    for command in (["status"], ["explain"], ["history"], ["pause"], ["resume"], ["rotate"]):
        done = space.run(*command, "team/kez")
        assert done.returncode == 64 and "team/kez" in done.stderr and done.stdout == "", (command, done.returncode)
        done = space.run(*command, "Team Key")
        assert done.returncode == 64 and "not a secret's name" in done.stderr, command
    assert "did you mean 'team/key'" in space.run("status", "key").stderr
    assert not (space.folder / "var/keyturn.db").exists() or space.run("history", "--format", "json").stdout == ""


# --- history and audit

def test_history(rotated):
    lines = [json.loads(line) for line in rotated.run("history", "--format", "json").stdout.splitlines()]
    assert [entry["sequence"] for entry in lines] == list(range(1, len(lines) + 1))
    for entry in lines:
        assert {"sequence", "at", "kind", "actor", "detail", "hash"} <= set(entry)
        assert RFC3339.match(entry["at"]) and re.fullmatch("[0-9a-f]{64}", entry["hash"])
    kinds = [entry["kind"] for entry in lines]
    assert kinds.count("rotation.started") == kinds.count("version.promoted") == 2
    assert [entry["step"] for entry in lines if entry["kind"] == "step.intended"] == 2 * [
        "issue", "stage:vault", "verify", "promote:vault"]
    # Every outcome follows its intent.
    for index, entry in enumerate(lines):
        if entry["kind"] == "step.succeeded":
            assert any(before["kind"] == "step.intended" and before["step"] == entry["step"]
                       for before in lines[:index])
    newest = [json.loads(line) for line in
              rotated.run("history", "team/key", "--limit", "3", "--format", "json").stdout.splitlines()]
    assert newest == lines[-3:]
    assert rotated.run("history", "--limit", "0", "--format", "json").stdout == ""
    assert len(rotated.run("history").stdout.splitlines()) == len(lines) + 1


def test_no_value_is_ever_shown(rotated):
    values = [rotated.run("vault", "show", "team/key", "--version", number).stdout for number in ("1", "2")]
    assert len(set(values)) == 2 and all(len(value) == 32 for value in values)
    said = ""
    for command in (["report"], ["status"], ["history"], ["explain", "team/key"], ["audit", "verify"],
                    ["vault", "list"], ["orphans", "list"], ["validate"]):
        for more in ([], ["--format", "json"], ["--log-level", "trace"]):
            done = rotated.run(*command, *more)
            said += done.stdout + done.stderr
    done = rotated.run("rotate", "team/key", "--log-level", "trace")
    said += done.stdout + done.stderr
    values.append(rotated.run("vault", "show", "team/key").stdout)
    for value in values:
        assert value not in said
    for path in (rotated.folder / "var").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(value.encode() in content for value in values), path


class Audit:
    """The audit trail as somebody with the database file can get at it."""

    def __init__(self, space):
        self.database = sqlite3.connect(space.folder / "var/keyturn.db", isolation_level=None)
        for name, in self.database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            self.database.execute(f"DROP TRIGGER {name}")
        self.count = self.database.execute("SELECT count(*) FROM audit").fetchone()[0]

    def swap(self, left, right):
        columns = "at, kind, secret, version, step, actor, detail, previous_hash, hash"
        rows = {number: self.database.execute(f"SELECT {columns} FROM audit WHERE sequence = ?", (number,)).fetchone()
                for number in (left, right)}
        for number, row in ((left, rows[right]), (right, rows[left])):
            self.database.execute(
                f"UPDATE audit SET ({columns}) = (?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE sequence = ?", (*row, number))


def changed(column, value):
    return lambda audit: audit.database.execute(f"UPDATE audit SET {column} = ? WHERE sequence = 7", (value,))


def renumber(audit):
    """An entry is taken out, and the gap closed."""
    audit.database.execute("DELETE FROM audit WHERE sequence = 7")
    for number in range(8, audit.count + 1):
        audit.database.execute("UPDATE audit SET sequence = ? WHERE sequence = ?", (number - 1, number))


TAMPERINGS = {
    # what: (how, number of the entry that must be named)
    "time": (changed("at", 1), 7), "kind": (changed("kind", "step.failed"), 7), "secret": (changed("secret", "a/b"), 7),
    "version": (changed("version", 9), 7), "step": (changed("step", "verify2"), 7),
    "actor": (changed("actor", "eve"), 7),
    "detail": (changed("detail", '{"attempt":"2"}'), 7), "hash": (changed("hash", "0" * 64), 7),
    "previous hash": (changed("previous_hash", "0" * 64), 7),
    "delete": (lambda audit: audit.database.execute("DELETE FROM audit WHERE sequence = 7"), 7),
    "delete the first": (lambda audit: audit.database.execute("DELETE FROM audit WHERE sequence = 1"), 1),
    "delete and close the gap": (renumber, 7),
    "cut out the middle": (
        lambda audit: audit.database.execute("DELETE FROM audit WHERE sequence BETWEEN 7 AND 12"), 7),
    "reorder": (lambda audit: audit.swap(7, 11), 7),
}


def test_audit_verify(rotated):
    done = rotated.run("audit", "verify")
    assert done.returncode == 0 and "the chain is whole" in done.stdout
    answer = rotated.json("audit", "verify")
    assert answer["ok"] is True and answer["entries"] == 21 and re.fullmatch("[0-9a-f]{64}", answer["head"])
    assert json.loads(rotated.run("history", "--limit", "1", "--format", "json").stdout)["hash"] == answer["head"]


@pytest.mark.parametrize("what", TAMPERINGS)
def test_audit_tampering(rotated, what):
    tamper, number = TAMPERINGS[what]
    audit = Audit(rotated)
    assert audit.count == 21
    tamper(audit)
    audit.database.close()
    done = rotated.run("audit", "verify")
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert re.search(rf"\bentry {number}\b", done.stderr), done.stderr
    answer = rotated.json("audit", "verify", codes=(1,))
    assert answer["ok"] is False and f"entry {number}" in answer["problem"]


def test_the_database_refuses_changes_of_the_trail(rotated):
    database = sqlite3.connect(rotated.folder / "var/keyturn.db", isolation_level=None)
    for statement in ("UPDATE audit SET actor = 'eve'", "DELETE FROM audit WHERE sequence = 3"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            database.execute(statement)


# --- explain and next

def test_explain(workspace):
    workspace.policy("key", policy(
        rotate='{every: 20d, renewBefore: 5d, timezone: Europe/Oslo, window: {from: "02:00", to: "04:00"}}'))
    assert workspace.run("run", "--once", at=START).returncode == 0
    assert workspace.run("rotate", "team/key", at=START).returncode == 0
    answer = workspace.json("explain", "team/key", at=START)
    settings = {entry["name"]: (entry["value"], entry["origin"]) for entry in answer["settings"]}
    assert settings["lifetime"] == ("30d", "schedules/key.yaml:4")
    assert settings["rotate.renewBefore"] == ("5d", "schedules/key.yaml:5")
    assert settings["grace"] == ("2h", "schedules/key.yaml:6")
    assert settings["rotate.timezone"] == ("Europe/Oslo", "schedules/key.yaml:5")
    at = datetime.datetime.fromisoformat(answer["at"])
    assert at.hour == 1 and at.minute == 0, "02:00 in Oslo before the change to summer time"
    assert any("window" in line for line in answer["why"])
    assert answer["state"] == "ok"
    gate = next(gate for gate in answer["gates"] if gate["gate"] == "grace-passed")
    assert (gate["version"], gate["verdict"]) == (1, "blocked") and RFC3339.match(gate["opensAt"])
    text = workspace.run("explain", "team/key", at=START).stdout
    assert "gate grace-passed: blocked" in text and "+01:00" in text
    # A policy without a word of its own on renewBefore says that it is a default.
    workspace.policy("key", policy(rotate="{every: 20d}"))
    answer = workspace.json("explain", "team/key", at=START)
    assert {"name": "rotate.renewBefore", "value": "10d", "origin": "default"} in answer["settings"]
    assert {"name": "rotate.timezone", "value": "UTC", "origin": "default"} in answer["settings"]


@pytest.mark.parametrize("expression, zone", [
    ("0 3 * * mon", "UTC"), ("*/15 9-17 * * 1-5", "America/New_York"), ("0 0 1,15 * 5", "Asia/Kathmandu"),
    ("@monthly", "Europe/Oslo"), ("30 2 29 2 *", "UTC")])
def test_next_agrees_with_another_implementation(workspace, expression, zone):
    begin = datetime.datetime(2027, 6, 1, 10, 0, tzinfo=UTC)
    done = workspace.run("next", expression, "--timezone", zone, "--from", "2027-06-01T10:00:00Z", "--count", "7",
                         config=False)
    assert done.returncode == 0, done.stderr
    reference = croniter.croniter(expression, begin.astimezone(zoneinfo.ZoneInfo(zone)))
    expected = [reference.get_next(datetime.datetime) for _ in range(7)]
    lines = done.stdout.splitlines()
    assert [datetime.datetime.fromisoformat(line) for line in lines] == expected
    for line, time in zip(lines, expected):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:00(Z|[+-]\d\d:\d\d)", line)
        assert datetime.datetime.fromisoformat(line).utcoffset() == time.utcoffset(), "the offset is the zone's"


def test_next_over_changes_of_the_clock(workspace):
    def times(expression, begin, count):
        done = workspace.run("next", expression, "--timezone", "Europe/Oslo", "--from", begin, "--count", str(count),
                             config=False)
        return done.stdout.split()
    # 02:30 does not exist on 2027-03-28 and exists twice on 2027-10-31.
    assert times("30 2 * * *", "2027-03-26T12:00:00Z", 3) == [
        "2027-03-27T02:30:00+01:00", "2027-03-28T03:00:00+02:00", "2027-03-29T02:30:00+02:00"]
    assert times("30 2 * * *", "2027-10-30T00:31:00Z", 2) == [
        "2027-10-31T02:30:00+02:00", "2027-11-01T02:30:00+01:00"]


def test_next_arguments(workspace):
    assert len(workspace.run("next", "@daily", config=False).stdout.split()) == 5
    answer = json.loads(workspace.run("next", "@daily", "--count", "2", "--format", "json", config=False).stdout)
    assert len(answer["times"]) == 2
    for arguments in (["61 * * * *"], ["* * * *"], ["@fortnightly"], ["@daily", "--timezone", "Mars/Olympus"],
                      ["@daily", "--from", "tomorrow"], ["@daily", "--count", "0"], ["@daily", "--count", "x"], []):
        done = workspace.run("next", *arguments, config=False)
        assert done.returncode == 64 and done.stderr and done.stdout == "", arguments
    done = workspace.run("next", "0 0 30 2 *", config=False)
    assert done.returncode == 64 and "never" in done.stderr


# --- pause, resume, rotate

def test_pause_and_resume(space):
    assert space.run("run", "--once", at=START).returncode == 0
    assert space.run("pause", "team/key", at=START + DAY).returncode == 0
    assert RFC3339.match(space.status("team/key", at=START)["pausedSince"])
    for days in (21, 26, 40):
        at = START + days * DAY
        assert space.run("run", "--once", at=at).returncode == 0
        assert space.stages("team/key", at=at) == {1: "current"}, "a paused secret was rotated"
        assert "paused" in space.run("explain", "team/key", at=at).stdout
    assert space.run("resume", "team/key", at=START + 41 * DAY).returncode == 0
    assert space.run("run", "--once", at=START + 41.1 * DAY).returncode == 0
    assert space.stages("team/key", at=START + 41.1 * DAY)[2] == "current"
    kinds = [json.loads(line)["kind"] for line in space.run("history", "--format", "json").stdout.splitlines()]
    assert kinds.count("secret.paused") == kinds.count("secret.resumed") == 1


def test_a_pause_holds_the_retirement_too(rotated):
    assert rotated.run("pause", "team/key", at=START).returncode == 0
    assert rotated.run("run", "--once", at=START + DAY).returncode == 0
    assert rotated.stages("team/key", at=START + DAY) == {1: "previous", 2: "current"}
    assert rotated.run("resume", "team/key", at=START + DAY).returncode == 0
    assert rotated.run("run", "--once", at=START + 1.1 * DAY).returncode == 0
    assert rotated.stages("team/key", at=START + 1.1 * DAY) == {1: "retired", 2: "current"}


def resumed(space):
    lines = space.run("history", "--format", "json").stdout.splitlines()
    return [json.loads(line)["kind"] for line in lines].count("secret.resumed")


@pytest.fixture
def quarantined(rotated):
    """The secret's next rotation needs a human, and version 1 is still in its grace."""
    rotated.configure(backends="broken: {type: command, run: [./missing], readsBack: false}\n")
    rotated.policy("key", policy().replace("{name: vault}", "{name: vault}, {name: broken}"))
    assert rotated.run("rotate", "team/key", at=START).returncode == 3
    rotated.configure()
    rotated.policy("key", policy())
    return rotated


@pytest.mark.parametrize("how", ["paused", "quarantined"])
def test_nothing_is_announced_for_a_secret_that_is_held(request, rotated, how):
    if how == "paused":
        assert rotated.run("pause", "team/key", at=START).returncode == 0
    else:
        request.getfixturevalue("quarantined")
    for days in (0, 1):
        at = START + days * DAY
        [entry] = rotated.json("report", at=at)["secrets"]
        assert (entry["action"], entry["rotateAt"]) == ("none", None)
        assert entry["reason"].startswith(f"{how}") and "keyturn resume team/key" in entry["reason"]
        text = rotated.run("report", at=at).stdout
        assert how in text and "retire" not in text and "grace" not in text
        status = rotated.status("team/key", at=at)
        assert status["nextRotation"] is None and bool(status["pausedSince"]) == (how == "paused")
        assert [version["retireAt"] for version in status["versions"]] == [None, None]
        text = rotated.run("status", "team/key", at=at).stdout
        assert f"next  none -: {how}" in text and "retires" not in text and "version 1  previous" in text
        answer = rotated.json("explain", "team/key", at=at)
        assert (answer["action"], answer["at"]) == ("none", None) and answer["why"][0].startswith(how)
        gate = answer["gates"][0]
        assert (gate["version"], gate["gate"], gate["verdict"], gate["opensAt"]) == (
            1, "secret-released", "blocked", None)
        assert gate["sentence"] == entry["reason"]
    assert rotated.run("resume", "team/key", at=START).returncode == 0
    assert rotated.json("explain", "team/key", at=START)["gates"][0]["gate"] == "successor-promoted"


def test_resume_is_audited_once(quarantined):
    done = quarantined.run("resume", "team/key", at=START)
    assert done.returncode == 0 and done.stderr == "team/key is resumed\n"
    assert resumed(quarantined) == 1
    done = quarantined.run("resume", "team/key", at=START)
    assert done.returncode == 0 and "neither paused nor quarantined" in done.stderr
    assert resumed(quarantined) == 1, "nothing was lifted"


def test_resume_lifts_a_pause_and_a_quarantine_at_once(quarantined):
    assert quarantined.run("pause", "team/key", at=START).returncode == 0
    assert quarantined.run("resume", "team/key", at=START).returncode == 0
    assert resumed(quarantined) == 1
    status = quarantined.status("team/key", at=START)
    assert status["quarantined"] is None and status["pausedSince"] is None
    assert quarantined.run("run", "--once", at=START + DAY / 24).returncode == 0


def test_rotate(space):
    assert space.run("run", "--once", at=START).returncode == 0
    first = space.vault_value("team/key")
    done = space.run("rotate", "team/key", at=START + DAY)
    assert done.returncode == 0 and done.stdout == "team/key: rotated\n"
    assert space.stages("team/key", at=START + DAY) == {1: "previous", 2: "current"}
    assert space.vault_value("team/key") != first
    # The schedule goes on from the new promotion.
    next_time = datetime.datetime.fromisoformat(space.status("team/key", at=START + DAY)["nextRotation"])
    assert abs(next_time - (START + 21 * DAY)) < datetime.timedelta(minutes=1)
    # The old version stays readable through its grace, and is gone after it.
    assert space.run("vault", "show", "team/key", "--version", "1").stdout == first
    assert space.run("run", "--once", at=START + 1.2 * DAY).returncode == 0
    assert space.run("vault", "show", "team/key", "--version", "1").returncode == 1
    assert space.json("rotate", "team/key", at=START + 2 * DAY)["secrets"][0]["result"] == "rotated"


def test_rotate_compromised(space):
    assert space.run("run", "--once").returncode == 0
    done = space.run("rotate", "team/key", "--compromised")
    assert done.returncode == 0, done.stderr
    assert space.stages("team/key") == {1: "retired", 2: "current"}, "the old key is still there"
    assert not (space.vault / "team/key/1.age").exists()
    assert "rotation.requested-compromised" in space.run("history").stdout


# --- adopt

SHAPES = {
    "text": ("the key itself\n", "the key itself"),
    "apiKey": (json.dumps({"apiKey": "k-1", "validUntil": "2027-04-20T00:00:00Z"}), "k-1"),
    "authToken": (json.dumps({"authToken": "k-2", "validUntil": 1808179200}), "k-2"),
    "value": (json.dumps({"value": "k-3", "keyId": "id-3", "validUntil": "1808179200"}), "k-3"),
    "quotes": (json.dumps({"value": 'k"\\\u00e6\n4'}), 'k"\\\u00e6\n4'),
}


def private(space, text, permissions=0o600):
    path = space.folder / "downloaded"
    path.write_text(text)
    path.chmod(permissions)
    return str(path)


@pytest.mark.parametrize("shape", SHAPES)
def test_adopt(space, shape):
    text, value = SHAPES[shape]
    done = space.run("adopt", "team/key", "--from", private(space, text), at=START)
    assert done.returncode == 0, done.stderr
    assert value not in done.stdout + done.stderr
    [version] = space.status("team/key", at=START)["versions"]
    assert (version["number"], version["stage"]) == (1, "current")
    if "validUntil" in text:
        assert version["expiresAt"] == "2027-04-20T00:00:00Z"
    if shape == "value":
        assert version["keyId"] == "id-3"
    # It is not rotated at once.
    assert space.run("run", "--once", at=START).returncode == 0
    assert space.run("run", "--once", at=START + DAY).returncode == 0
    assert space.stages("team/key", at=START + DAY) == {1: "current"}
    due = datetime.datetime.fromisoformat(space.status("team/key", at=START)["nextRotation"])
    assert due > START + 18 * DAY
    assert space.run("run", "--once", at=due + DAY / 24).returncode == 0
    assert space.stages("team/key", at=due + DAY / 24) == {1: "previous", 2: "current"}
    assert "version.adopted" in space.run("history").stdout


def test_adopt_an_access_key(workspace):
    workspace.configure(issuers="iam: {type: aws-iam-access-key, region: eu-west-1, "
                        "credentials: {accessKeyId: {env: A}, secretAccessKey: {env: B}}}\n")
    workspace.policy("key", policy().replace("issuer: passwords", "issuer: iam\nissue: {user: robot}"))
    text = json.dumps({"accessKeyId": "AKIAEXAMPLE", "secretAccessKey": "very secret"})
    done = workspace.run("adopt", "team/key", "--from", private(workspace, text))
    assert done.returncode == 0, done.stderr
    assert workspace.status("team/key")["versions"][0]["keyId"] == "AKIAEXAMPLE"


def test_adopt_from_standard_input(space):
    done = subprocess.run(space.command("adopt", "team/key", "--from", "-"), input="a key", capture_output=True,
                          text=True, env=space.full_environment())
    assert done.returncode == 0, done.stderr
    assert space.stages("team/key") == {1: "current"}


@pytest.mark.parametrize("permissions", [0o644, 0o640, 0o604, 0o660])
def test_adopt_refuses_a_file_that_others_can_read(space, permissions):
    done = space.run("adopt", "team/key", "--from", private(space, "a key", permissions))
    assert done.returncode == 77 and "chmod 600" in done.stderr
    assert space.status("team/key")["versions"] == []


def test_adopt_refuses(space):
    expired = json.dumps({"apiKey": "k", "validUntil": "2027-02-01T00:00:00Z"})
    for text, word in ((expired, "expired"), ("", "no key"), ("  \n", "no key"), ("{}", "none of"),
                       ('{"apiKey": 3}', "JSON"),
                       ('{"apiKey": "k", "validUntil": "soon"}', "JSON"), ('{"apiKey"', "JSON")):
        done = space.run("adopt", "team/key", "--from", private(space, text), at=START)
        assert done.returncode == 1 and word in done.stderr, (text, done.returncode, done.stderr)
        assert space.status("team/key", at=START)["versions"] == []
    assert space.run("adopt", "team/key", "--from", str(space.folder / "absent")).returncode == 65
    assert space.run("adopt", "team/other", "--from", private(space, "a key")).returncode in (1, 64)
    assert space.run("adopt", "team/key").returncode == 64
    link = space.folder / "link"
    link.symlink_to(private(space, "a key"))
    assert space.run("adopt", "team/key", "--from", str(link)).returncode != 0

    assert space.run("run", "--once", at=START).returncode == 0
    done = space.run("adopt", "team/key", "--from", private(space, "a key"), at=START)
    assert done.returncode == 1 and "already" in done.stderr
    assert space.stages("team/key", at=START) == {1: "current"}


# --- the vault

def test_vault(workspace):
    workspace.policy("a", policy("team/a"))
    workspace.policy("b", policy("b.c/d/e_f-1").replace(
        "{name: vault}", '{name: vault, template: " x {{value}}\\n\\n"}'))
    assert workspace.run("vault", "list").stdout == ""
    assert workspace.run("run", "--once").returncode == 0
    assert workspace.run("rotate", "team/a").returncode == 0
    answer = workspace.json("vault", "list")
    assert answer == {"secrets": [{"secret": "b.c/d/e_f-1", "versions": [1], "current": 1},
                                  {"secret": "team/a", "versions": [1, 2], "current": 2}]}
    assert re.search(r"^team/a\s+2\s+1 2$", workspace.run("vault", "list").stdout, re.M)

    shown = workspace.run("vault", "show", "b.c/d/e_f-1", text=False)
    assert shown.returncode == 0 and shown.stderr == b""
    assert re.fullmatch(rb" x [\w-]{32}\n\n", shown.stdout), "the value is not byte for byte what was stored"
    for number in (1, 2):
        value = workspace.run("vault", "show", "team/a", "--version", str(number)).stdout
        assert value == workspace.stock_age(workspace.vault / f"team/a/{number}.age") and len(value) == 32
    assert workspace.run("vault", "show", "team/a").stdout == value
    for arguments in (["team/none"], ["team/a", "--version", "3"], ["team/a", "--version", "0"]):
        done = workspace.run("vault", "show", *arguments)
        assert done.returncode == 1 and done.stdout == "" and done.stderr, arguments
    for name in ("../var/identity.txt", "/etc/passwd", "team", "team/../team/a"):
        done = workspace.run("vault", "show", name)
        assert done.returncode not in (0, 2) and done.stdout == "", name


def test_vault_files(rotated):
    folder = rotated.vault / "team/key"
    assert sorted(path.name for path in folder.iterdir()) == [".keyturn.json", "1.age", "2.age", "current"]
    assert os.readlink(folder / "current") == "2.age"
    assert mode(folder / "1.age") == mode(folder / "2.age") == 0o600
    for path in (rotated.vault, rotated.vault / "team", folder):
        assert mode(path) == 0o700
    assert mode(rotated.folder / "var/keyturn.db") == 0o600


def test_vault_export(rotated):
    target = rotated.folder / "export"
    done = rotated.run("vault", "export", str(target))
    assert done.returncode == 0, done.stderr
    [path] = done.stdout.splitlines()
    assert path == str(target / "team/key.2.age") and mode(pathlib.Path(path)) == 0o600
    assert rotated.stock_age(path) == rotated.vault_value("team/key")
    before = pathlib.Path(path).read_bytes()
    done = rotated.run("vault", "export", str(target))
    assert done.returncode == 1 and "exists already" in done.stderr
    assert pathlib.Path(path).read_bytes() == before


def test_several_vaults(workspace):
    workspace.configure(
        backends=f"second: {{type: file-vault, directory: var/second, recipients: [{workspace.recipient}]}}\n")
    workspace.policy("key", policy().replace("[{name: vault}]", "[{name: second}]"))
    assert workspace.run("run", "--once").returncode == 0
    done = workspace.run("vault", "list")
    assert done.returncode == 64 and "second" in done.stderr and "vault" in done.stderr
    assert "team/key" in workspace.run("vault", "list", "--backend", "second").stdout
    assert workspace.run("vault", "list", "--backend", "third").returncode == 64


def test_orphans_list(space):
    done = space.run("orphans", "list")
    assert done.returncode == 0 and done.stdout == ""
    assert space.json("orphans", "list") == {"orphans": []}


# --- the command line itself

COMMANDS = ["init", "validate", "report", "run", "rotate", "status", "explain", "history", "audit verify", "vault list",
            "vault show", "vault export", "adopt", "next", "orphans list", "orphans revoke", "orphans adopt", "pause",
            "resume", "rollback", "drift", "doctor", "issuers", "backends", "schema"]
STATUSES = {"report": [0, 2], "run": [0, 1, 3, 75], "rotate": [0, 1, 3], "validate": [0, 65, 69],
            "audit verify": [0, 1], "drift": [0, 1, 69], "doctor": [0, 1, 3, 65, 69], "issuers": [0, 64], "backends": [0, 64],
            "schema": [0, 64, 65]}


@pytest.mark.parametrize("command", COMMANDS)
def test_help(workspace, command):
    done = workspace.run(*command.split(), "--help", config=False)
    assert done.returncode == 0 and done.stderr == ""
    assert f"USAGE: keyturn {command}" in done.stdout
    example = re.search(r"Examples?:\n((?:  .*\n)+)", done.stdout)
    assert example, "there is no example"
    assert f"keyturn {command}" in example[1] or "keyturn --config" in example[1]
    for name in ("--config", "--format", "--no-color", "--log-level"):
        assert name in done.stdout
    if command in STATUSES:
        said = done.stdout.split("Exit statuses")[1].split("Example")[0]
        for status in STATUSES[command]:
            assert re.search(rf"\b{status}\b", said), status
    # The library does not wrap the line of usage.
    assert all(len(line) <= 80 or line.startswith("USAGE:") for line in done.stdout.splitlines())


def test_help_names_every_command(workspace):
    done = workspace.run("--help", config=False)
    listed = re.findall(r"^  (\w+)  +[A-Z]", done.stdout.split("SUBCOMMANDS:")[1], re.M)
    assert set(listed) == {command.split()[0] for command in COMMANDS}
    for status in (0, 1, 2, 3, 64, 65, 69, 75, 77):
        assert re.search(rf"\b{status}\b", done.stdout.split("Exit statuses")[1])


def test_version(workspace):
    done = workspace.run("--version", config=False)
    assert done.returncode == 0 and re.fullmatch(r"\d+\.\d+\.\d+\n", done.stdout)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(workspace, tmp_path, shell):
    done = workspace.run("--generate-completion-script", shell, config=False)
    assert done.returncode == 0 and len(done.stdout) > 1000
    for command in ("validate", "rotate", "orphans"):
        assert command in done.stdout
    script = tmp_path / f"completion.{shell}"
    script.write_text(done.stdout)
    # Only bash is sure to be there; the others are checked where they are installed.
    checker = {"bash": ["bash", "-n"], "zsh": ["zsh", "-n"], "fish": ["fish", "--no-execute"]}[shell]
    if shell == "bash" or shutil.which(shell):
        checked = subprocess.run([*checker, str(script)], capture_output=True, text=True)
        assert checked.returncode == 0 and checked.stderr == "", checked.stderr


@pytest.mark.parametrize("arguments", [
    ["bogus"], ["reprot"], ["report", "--withn", "3d"], ["report", "extra"], ["run", "--onec"],
    ["status", "--format", "xml"], ["status", "--log-level", "loud"], ["rotate"], ["run", "--once", "--wait", "soon"],
    ["history", "a/b", "c/d"]])
def test_wrong_usage(space, arguments):
    done = space.run(*arguments)
    assert done.returncode == 64, (done.stdout, done.stderr)
    assert done.stdout == "" and done.stderr.strip()
    assert not (space.folder / "var/keyturn.db").exists()


def test_missing_configuration(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KEYTURN_")}
    for arguments in (["validate"], ["run", "--once"], ["report", "--config", "absent.yaml"]):
        done = subprocess.run([BINARY, *arguments], cwd=tmp_path, capture_output=True, text=True, env=environment)
        assert done.returncode == 65, (arguments, done.returncode)
        assert "keyturn init" in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_configuration_is_found(space, tmp_path):
    assert space.run("validate", config=False).returncode == 0, "in the present folder"
    done = subprocess.run([BINARY, "validate"], cwd=tmp_path, capture_output=True,
                          env=space.full_environment({"KEYTURN_CONFIG": str(space.folder / "keyturn.yaml")}))
    assert done.returncode == 0, "by KEYTURN_CONFIG"
    other = space.folder / "other"
    other.mkdir()
    done = space.run("validate", environment={"KEYTURN_SCHEDULES": str(other)})
    assert done.stderr == "0 policies, no errors\n", "KEYTURN_SCHEDULES goes before the file"
    assert space.run("run", "--once", environment={"KEYTURN_STATE": "sqlite:elsewhere/state.db"}).returncode == 0
    assert (space.folder / "elsewhere/state.db").exists() and not (space.folder / "var/keyturn.db").exists()


def test_an_identity_that_others_can_read(space):
    for permissions in (0o644, 0o640, 0o604):
        space.identity.chmod(permissions)
        done = space.run("run", "--once")
        assert done.returncode == 77 and "chmod 600" in done.stderr, permissions
        assert not space.vault.exists()
    space.identity.chmod(0o600)
    assert space.run("run", "--once").returncode == 0
    space.identity.chmod(0o644)
    done = space.run("vault", "show", "team/key")
    assert done.returncode == 77 and done.stdout == ""


def test_a_state_that_others_can_read(space):
    assert space.run("run", "--once").returncode == 0
    (space.folder / "var/keyturn.db").chmod(0o644)
    done = space.run("run", "--once")
    assert done.returncode == 77 and "chmod 600" in done.stderr


@pytest.mark.parametrize("content", ["", "no identity\n", "AGE-SECRET-KEY-1WRONG\n"])
def test_a_broken_identity(space, content):
    space.identity.write_text(content)
    done = space.run("run", "--once")
    assert done.returncode == 65 and "identity" in done.stderr
    assert content.strip() == "" or content.strip() not in done.stderr
    space.identity.unlink()
    assert space.run("run", "--once").returncode == 65


def test_validate_online(space):
    done = space.run("validate", "--online")
    assert done.returncode == 0, done.stderr
    space.configure(backends=f"bao: {{type: vault-kv2, address: 'http://127.0.0.1:{free_port()}', timeout: 2s, "
                    "auth: {token: {env: BAO}}}\n")
    space.policy("key", policy().replace("{name: vault}", "{name: vault}, {name: bao}"))
    assert space.run("validate").returncode == 0, "offline nothing is asked"
    done = space.run("validate", "--online", environment={"BAO": "x"})
    assert done.returncode == 69, (done.stdout, done.stderr)
    assert "team/key" in done.stderr and "bao" in done.stderr
    done = space.run("validate", "--online")
    assert done.returncode == 65 and "BAO" in done.stderr, "a reference that leads nowhere"


def tree(space):
    """Everything below the workspace, what it is, and when a file was last changed; but for what SQLite needs to read."""
    return {str(path.relative_to(space.folder)): (path.lstat().st_mode, path.is_file() and path.lstat().st_mtime_ns)
            for path in space.folder.rglob("*") if not path.name.startswith("keyturn.db-")}


def test_validate_online_changes_nothing(space):
    space.configure(backends="files: {type: file, directory: out/files}\n")
    space.policy("key", policy().replace("{name: vault}", "{name: vault}, {name: files, path: a/b/c, mode: '0644'}"))
    before = tree(space)
    done = space.run("validate", "--online")
    assert done.returncode == 0, done.stderr
    assert tree(space) == before, "on a fresh installation"
    assert space.run("run", "--once").returncode == 0
    before = tree(space)
    assert space.run("validate", "--online").returncode == 0
    assert tree(space) == before, "on one at work"


def test_validate_online_looks_where_folders_would_be_made(space):
    space.configure(backends="files: {type: file, directory: keyturn.yaml}\n")
    space.policy("key", policy().replace("{name: vault}", "{name: vault}, {name: files, path: a/b}"))
    done = space.run("validate", "--online")
    assert done.returncode == 65 and "keyturn.yaml is in the way: it is not a folder" in done.stderr


def test_validate_online_hides_nothing(space):
    port = free_port()
    for name, permissions in (("open", 0o644), ("short", 0o600)):
        (space.folder / name).write_text("whsec_CANARY")
        (space.folder / name).chmod(permissions)
    dead = f"dead: {{type: vault-kv2, address: 'http://127.0.0.1:{port}', timeout: 2s, auth: {{token: {{env: T}}}}}}\n"
    unset = f"unset: {{type: vault-kv2, address: 'http://127.0.0.1:{port}', auth: {{token: {{env: NOT_SET}}}}}}\n"
    regionless = "regionless: {type: aws-secrets-manager}\n"
    issuer = f"iam: {{type: aws-iam-access-key, endpoint: 'http://127.0.0.1:{port}', timeout: 2s}}\n"
    sinks = ("short: {type: webhook, url: 'http://127.0.0.1/', signingKey: {file: short}}\n"
             "open: {type: webhook, url: {file: open}}\n")
    space.environment = {"T": "x", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}

    def ask(code, **configuration):
        space.configure(**configuration)
        names = [line.split(":")[0] for line in configuration.get("backends", "").splitlines()]
        text = "---\n".join(
            policy(f"team/{index}", more="issue: {user: u}\n" if "issuers" in configuration else "").replace(
                "[{name: vault}]", f"[{{name: vault}}, {', '.join(f'{{name: {name}}}' for name in names)}]")
            for index in range(2))
        space.policy("key", text.replace("issuer: passwords", "issuer: iam") if "issuers" in configuration else text)
        assert space.run("validate").returncode == 0
        done = space.run("validate", "--online")
        assert done.returncode == code, done.stderr
        answer = space.json("validate", "--online", codes=(code,))
        assert answer["ok"] is False and answer["policies"] == 2
        for finding in answer["findings"]:
            assert set(finding) == {"system", "secret", "code", "message", "advice"}
            assert finding["system"] in done.stderr and finding["message"] in done.stderr
        assert "CANARY" not in done.stdout + done.stderr
        return [(finding["system"], finding["code"], finding["secret"]) for finding in answer["findings"]]

    everything = ask(69, issuers=issuer, backends=dead + unset + regionless, alerts=sinks)
    assert everything == [
        ("backend 'regionless'", "misconfigured", None), ("alert sink 'open'", "forbidden", None),
        ("alert sink 'short'", "misconfigured", None), ("backend 'dead'", "unreachable", "team/0"),
        ("backend 'unset'", "misconfigured", "team/0"), ("issuer 'iam'", "unreachable", "team/0")]
    # What is out of reach goes before a lacking right, and that before a misconfiguration.
    assert ask(77, backends=unset, alerts=sinks) == [
        ("alert sink 'open'", "forbidden", None), ("alert sink 'short'", "misconfigured", None),
        ("backend 'unset'", "misconfigured", "team/0")]
    assert ask(65, backends=unset) == [("backend 'unset'", "misconfigured", "team/0")]
    space.identity.chmod(0o644)
    assert ask(77) == [("identity", "forbidden", None), ("backend 'vault'", "forbidden", "team/0")]
    space.identity.chmod(0o600)
    (space.folder / "var/keyturn.db").write_text("no database")
    (space.folder / "var/keyturn.db").chmod(0o600)
    assert ask(65)[0][0] == "state"


@pytest.mark.parametrize("kind", ["listable", "unlistable"])
def test_validate_online_asks_a_program_that_issues(space, kind):
    program = space.folder / "issue"
    program.write_text("#!/bin/sh\ncat >> asked\necho '{\"error\": {\"code\": \"forbidden\"}}'\n")
    program.chmod(0o700)
    space.configure(issuers=f"own: {{type: command, run: [./issue], kind: {kind}}}\n")
    space.policy("key", policy(more="issue: {parameters: {role: reader}}\n").replace(
        "issuer: passwords", "issuer: own"))
    done = space.run("validate", "--online")
    if kind == "unlistable":
        assert done.returncode == 0 and not (space.folder / "asked").exists(), done.stderr
    else:
        assert done.returncode == 77 and "team/key, issuer 'own'" in done.stderr
        asked = json.loads((space.folder / "asked").read_text())
        assert asked == {"operation": "list", "parameters": {"parameters": {"role": "reader"}}}


def test_validate_online_asks_for_the_user(site, aws):
    aws.add_user("someone")
    site.policy("key", policy(more="issue: {user: someone}\n").replace("issuer: passwords", "issuer: iam"))
    assert site.run("validate", "--online").returncode == 0
    site.policy("key", policy(more="issue: {user: no-one}\n").replace("issuer: passwords", "issuer: iam"))
    done = site.run("validate", "--online")
    assert done.returncode == 65 and "issuer 'iam'" in done.stderr and "no such user" in done.stderr
    assert aws.keys("someone") == {}


# --- colour and streams

ESCAPE = "\x1b["


def terminal(space, *arguments, environment=None):
    """The command's output on a terminal."""
    leader, follower = pty.openpty()
    child = subprocess.Popen(space.command(*arguments), stdin=subprocess.DEVNULL, stdout=follower, stderr=follower,
                             env=space.full_environment({"TERM": "xterm", **(environment or {})}))
    os.close(follower)
    output = b""
    while True:
        try:
            part = os.read(leader, 4096)
        except OSError:
            break
        if not part:
            break
        output += part
    os.close(leader)
    assert child.wait(60) == 0
    return output.decode()


def test_colour(space):
    for command in (["report"], ["status"], ["explain", "team/key"], ["validate"], ["vault", "list"]):
        done = space.run(*command, environment={"TERM": "xterm"})
        assert ESCAPE not in done.stdout + done.stderr, command
    assert ESCAPE in terminal(space, "report")
    assert ESCAPE not in terminal(space, "report", environment={"NO_COLOR": "1"})
    assert ESCAPE not in terminal(space, "report", "--no-color")
    assert ESCAPE not in terminal(space, "report", environment={"TERM": "dumb"})
    assert ESCAPE not in terminal(space, "report", "--format", "json")


def shown(output):
    """The lines that are left on a terminal."""
    return [line.rstrip("\r").split("\r\x1b[K")[-1] for line in output.split("\n")]


def test_progress(space):
    for index in range(3):
        space.policy(f"k{index}", policy(f"team/k{index}"))
    output = terminal(space, "run", "--once")
    for done in range(5):
        assert f"\r\x1b[K{done} of 4 done" in output
    assert not any("of 4 done" in line for line in shown(output)), output
    assert sum("rotated" in line for line in shown(output)) == 4
    assert sum("new version is current" in line for line in shown(output)) == 4
    output = terminal(space, "rotate", "team/k0", "team/k1")
    assert "1 of 2 done" in output and not any("of 2 done" in line for line in shown(output))
    # Nothing is due: nothing is shown.
    assert "done" not in terminal(space, "run", "--once")
    assert "\r\x1b[K" not in terminal(space, "rotate", "team/k0", environment={"TERM": "dumb"})
    done = space.run("rotate", "team/k0")
    assert "of 1 done" not in done.stderr and ESCAPE not in done.stderr


def test_progress_is_no_part_of_the_data(space):
    """Standard error alone is a terminal."""
    leader, follower = pty.openpty()
    child = subprocess.Popen(
        space.command("run", "--once", "--format", "json"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=follower, env=space.full_environment({"TERM": "xterm"}))
    os.close(follower)
    data, _ = child.communicate(timeout=60)
    said = os.read(leader, 65536).decode()
    os.close(leader)
    assert json.loads(data)["secrets"][0]["result"] == "rotated"
    assert "0 of 1 done" in said and shown(said)[-1] == ""


def test_a_reader_that_goes_away(rotated):
    child = rotated.start("history", "--format", "json")
    child.stdout.close()
    assert child.wait(60) == 0 and child.stderr.read() == ""


def test_data_and_messages_are_kept_apart(space):
    done = space.run("run", "--once")
    assert done.stdout == "team/key: rotated\n" and "new version is current" in done.stderr
    done = space.run("run", "--once")
    assert done.stdout == "" and done.stderr == "nothing was due\n"
    answer = space.json("run", "--once")
    assert answer == {"secrets": [], "compromised": [], "paused": []}
