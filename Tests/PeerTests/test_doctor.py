"""`keyturn doctor`: every fault becomes a finding with the command that mends it, none ends it, and it changes nothing."""
import datetime
import json
import os
import signal
import sqlite3
import subprocess
import uuid

import pytest

from programs import CommandIssuer
from scripted import Daemon, Scripted, ScriptedBackend, until

UTC = datetime.timezone.utc
POLICY = ("secret: {name}\nissuer: {issuer}\nlifetime: 30d\nrotate: {{every: 20d}}\ngrace: 1s\n"
          "backends: [{{name: {backend}}}]\n")
SECTIONS = ["configuration", "files", "state", "lock", "systems", "clock", "orphans", "drift", "secrets", "alerts",
            "leftovers"]


def policy(name="team/key", issuer="passwords", backend="vault"):
    return POLICY.format(name=name, issuer=issuer, backend=backend)


@pytest.fixture
def space(workspace):
    workspace.policy("p", policy())
    assert workspace.run("run", "--once").returncode == 0
    return workspace


def doctor(space, *arguments, code=None, at=None):
    """Findings by section that are no mere notes, and the whole answer."""
    done = space.run("doctor", *arguments, "--format", "json", at=at)
    answer = json.loads(done.stdout)
    assert [part["section"] for part in answer["sections"]] == SECTIONS, "no part is missing, whatever is broken"
    found = {}
    for finding in answer["findings"]:
        if finding["severity"] != "note" and not finding["mended"]:
            found.setdefault(finding["section"], []).append(finding)
            assert finding["mend"], finding
    assert answer["ok"] == (not found)
    assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return found, answer, done


def tree(folder):
    """Every file with mode, content and time; SQLite's own helpers come and go with each reader, and touch the folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.name.endswith(("-wal", "-shm")):
            continue
        information = path.lstat()
        if path.is_dir():
            found[str(path)] = information.st_mode
            continue
        content = os.readlink(path) if path.is_symlink() else path.read_bytes()
        found[str(path)] = (information.st_mode, information.st_mtime_ns, content)
    return found


def dump(database):
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return list(connection.iterdump())


def test_all_is_well(space):
    found, answer, done = doctor(space, code=0)
    assert found == {} and answer["ok"]
    table = space.run("doctor")
    assert table.returncode == 0 and len(table.stdout.splitlines()) == len(SECTIONS) + 1


def test_before_the_first_run(workspace):
    workspace.policy("p", policy())
    assert doctor(workspace, code=0)[0] == {}
    assert not (workspace.folder / "var/keyturn.db").exists() and not workspace.vault.exists()


def break_everything_that_can_be_mended(space):
    space.identity.chmod(0o644)
    (space.folder / "var/keyturn.db").chmod(0o640)
    (space.folder / "keyturn.yaml").chmod(0o664)
    (space.vault / "team/key/1.age").chmod(0o644)
    leftover = space.vault / "team/key/.keyturn-tmp-1"
    leftover.write_text("half")
    leftover.chmod(0o600)
    os.utime(leftover, (0, 0))
    return leftover


def test_it_changes_nothing_and_fixes_what_is_safe(space):
    leftover = break_everything_that_can_be_mended(space)
    files, state = tree(space.folder), dump(space.folder / "var/keyturn.db")
    found, _, _ = doctor(space, code=1)
    assert len(found["files"]) == 4 and len(found["leftovers"]) == 1
    assert {finding["mend"] for finding in found["files"]} == {
        f"chmod 600 {space.identity}", f"chmod 600 {space.folder}/var/keyturn.db",
        f"chmod 644 {space.folder}/keyturn.yaml", f"chmod -R go-rwx {space.vault}"}
    assert all(finding["fixable"] for finding in found["files"] + found["leftovers"])
    assert tree(space.folder) == files and dump(space.folder / "var/keyturn.db") == state
    found, answer, done = doctor(space, "--fix", code=0)
    assert found == {} and done.stderr.count("mended: ") == 5
    assert sum(finding["mended"] for finding in answer["findings"]) == 5
    assert not leftover.exists() and space.identity.stat().st_mode & 0o777 == 0o600
    assert dump(space.folder / "var/keyturn.db") == state
    doctor(space, code=0)


def test_a_configuration_that_everybody_may_write_to_is_not_read(space):
    (space.folder / "keyturn.yaml").chmod(0o666)
    found, answer, _ = doctor(space, code=65)
    [finding] = found["configuration"]
    assert f"chmod o-w {space.folder}/keyturn.yaml" in finding["sentence"]


def test_a_young_temporary_file_is_left_alone(space):
    young = space.vault / "team/key/.keyturn-tmp-2"
    young.write_text("at work")
    young.chmod(0o600)
    assert doctor(space, "--fix", code=0)[0] == {}
    assert young.exists()


def test_a_missing_identity(space):
    space.identity.unlink()
    found, _, _ = doctor(space)
    assert "can't be read" in found["files"][0]["sentence"]
    assert "drift" not in found


def test_a_damaged_state(space):
    database = space.folder / "var/keyturn.db"
    for _ in range(30):
        assert space.run("rotate", "team/key").returncode == 0
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = database.stat().st_size
    with open(database, "r+b") as file:
        for page in range(2, size // 4096):
            file.seek(page * 4096 + 1000)
            file.write(b"\xff" * 2000)
    found, _, _ = doctor(space, code=1)
    assert found["state"] and all("backup" in finding["mend"] for finding in found["state"])
    database.write_bytes(b"this is no database at all" * 100)
    found, _, _ = doctor(space, code=1)
    assert "state" in found


def test_a_changed_audit_trail(space):
    with sqlite3.connect(space.folder / "var/keyturn.db") as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute("UPDATE audit SET actor = 'nobody' WHERE sequence = 2")
    found, _, _ = doctor(space, code=1)
    assert ["audit trail is broken" in finding["sentence"] for finding in found["state"]] == [True]


def test_bad_configuration(space):
    space.policy("q", "secret: team/other\nissuer: nobody\n")
    found, answer, _ = doctor(space, code=65)
    assert any("nobody" in finding["sentence"] for finding in found["configuration"])
    skipped = {part["section"] for part in answer["sections"] if part["state"] == "skipped"}
    assert skipped == {"systems", "clock", "orphans", "drift"}
    space.identity.chmod(0o644)
    assert "files" in doctor(space, code=65)[0], "the rest is looked at all the same"
    (space.folder / "keyturn.yaml").write_text("[not: a: configuration")
    assert doctor(space, code=65)[0].keys() == {"configuration"}


def test_out_of_reach(space):
    space.environment = {"TOKEN": "t"}
    space.configure(
        backends="dead: {type: vault-kv2, address: 'http://127.0.0.1:9', auth: {token: {env: TOKEN}}}\n")
    space.policy("q", policy("team/dead", backend="dead"))
    found, _, _ = doctor(space, code=69)
    assert "backend 'dead'" in found["systems"][0]["sentence"]
    # 69 goes before 3.
    assert space.run("run", "--once", "--wait", "0").returncode == 1
    found, _, _ = doctor(space, code=69)
    assert "team/dead is failing" in found["secrets"][0]["sentence"]


def test_quarantined_and_paused(space, tmp_path):
    backend = ScriptedBackend(tmp_path / "backend")
    space.configure(backends=f"prog: {{type: command, run: ['{backend.program}']}}\n")
    space.policy("q", policy("team/stuck", backend="prog"))
    backend.fail("promote", print=json.dumps({"error": {"code": "forbidden", "message": "no"}}))
    assert space.run("run", "--once", "--wait", "0").returncode == 3
    assert space.run("pause", "team/key").returncode == 0
    found, answer, _ = doctor(space, code=3)
    [finding] = found["secrets"]
    assert finding["secret"] == "team/stuck" and finding["mend"] == "keyturn resume team/stuck"
    assert any(finding["secret"] == "team/key" and "paused" in finding["sentence"] for finding in answer["findings"])


def test_who_holds_the_state(space):
    daemon = Daemon(space)
    try:
        found, answer, _ = doctor(space, code=0)
        assert f"process {daemon.process.pid} drives the rotations" in [
            finding["sentence"] for finding in answer["findings"]]
    finally:
        assert daemon.stop()[0] == 0


def test_what_a_dead_process_left(space, tmp_path):
    """A claim on a secret and an answer that nobody knows."""
    backend = ScriptedBackend(tmp_path / "backend")
    space.configure(backends=f"prog: {{type: command, run: ['{backend.program}'], timeout: 60s}}\n")
    space.policy("q", policy("team/slow", backend="prog"))
    backend.fail("promote", sleep=60)
    process = space.start("run", "--once")
    until(lambda: backend.questions("promote"), "it is asked to promote")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    backend.heal()
    found, _, _ = doctor(space, code=1)
    [lease] = found["lock"]
    assert lease["fixable"] and f":{process.pid}" in lease["sentence"]
    waiting = [finding["sentence"] for finding in found["secrets"]]
    assert any("the answer to `promote:prog` of version 1 is not known" in sentence for sentence in waiting)
    found, _, done = doctor(space, "--fix", code=1)
    assert "lock" not in found and done.stderr.startswith("mended: the claim of ")
    done = space.run("run", "--once")
    assert done.returncode == 0 and "unknown outcome resolved" in done.stderr
    doctor(space, code=0)


def test_keys_that_nobody_uses(space, tmp_path):
    program = CommandIssuer(tmp_path / "program")
    space.configure(issuers=f"program: {{type: command, run: ['{program.program}']}}\n")
    space.policy("q", policy("team/made", issuer="program"))
    assert space.run("run", "--once").returncode == 0
    mark = f"keyturn:team/made:9:{uuid.uuid4().hex}"
    keys = program.keys()
    [mine] = keys
    keys["lost"] = {**keys[mine], "lineage": mark}
    keys["other"] = {**keys[mine], "lineage": "of somebody else"}
    (program.folder / "keys.json").write_text(json.dumps(keys))
    found, _, _ = doctor(space, code=1)
    [finding] = found["orphans"]
    assert finding["mend"] == f"keyturn orphans revoke {mark} --key-id lost"
    # Its mark is asked for, and a key that a version uses is never revoked.
    assert space.run("orphans", "revoke", mark, "--key-id", "other").returncode == 64
    assert space.run("orphans", "revoke", mark, "--key-id", mine).returncode == 64
    assert set(program.keys()) == {mine, "lost", "other"}
    assert space.run(*finding["mend"].split()[1:]).returncode == 0
    assert set(program.keys()) == {mine, "other"}
    doctor(space, code=0)


def test_orphans_past_their_end(space, tmp_path):
    program = Scripted(tmp_path / "program")
    program.fail("*", times=99, sleep=5)
    space.configure(issuers=f"slow: {{type: command, run: ['{program.program}'], timeout: 1s, kind: unlistable}}\n")
    space.policy("q", policy("team/lost", issuer="slow"))
    assert space.run("run", "--once", "--wait", "4s").returncode in (1, 3)
    assert space.json("orphans", "list")["orphans"]
    found, _, _ = doctor(space)
    assert found["orphans"] and not any(finding["fixable"] for finding in found["orphans"])
    later = datetime.datetime.now(UTC) + datetime.timedelta(days=90)
    found, answer, _ = doctor(space, at=later)
    ended = [finding for finding in answer["findings"] if finding["section"] == "orphans"]
    assert ended and all(finding["fixable"] and finding["severity"] == "note" for finding in ended)
    _, answer, _ = doctor(space, "--fix", at=later)
    assert all(finding["mended"] for finding in answer["findings"] if finding["section"] == "orphans")
    with sqlite3.connect(space.folder / "var/keyturn.db") as connection:
        assert {state for (state,) in connection.execute("SELECT state FROM orphans")} == {"closed"}


def test_a_clock_that_is_wrong(space, bao):
    space.environment = {"TOKEN": "root"}
    space.configure(
        backends=f"bao: {{type: vault-kv2, address: '{bao.address}', auth: {{token: {{env: TOKEN}}}}}}\n")
    space.policy("q", policy(f"clock/{uuid.uuid4().hex[:8]}", backend="bao"))
    assert space.run("run", "--once").returncode == 0
    assert "clock" not in doctor(space)[0]
    for seconds, severity in ((60, "warning"), (-60, "warning"), (3600, "error")):
        at = datetime.datetime.now(UTC) + datetime.timedelta(seconds=seconds)
        [finding] = doctor(space, at=at)[0]["clock"]
        assert finding["severity"] == severity
        assert ("ahead of" if seconds > 0 else "behind") in finding["sentence"]


def test_alerts_that_wait(space, tmp_path):
    sink = Scripted(tmp_path / "sink")
    sink.fail("*", times=99, status=1)
    space.configure(
        issuers="broken: {type: command, run: [/bin/false]}\n",
        alerts=f"ops: {{type: command, run: ['{sink.program}']}}\n")
    space.policy("q", policy("team/broken", issuer="broken"))
    assert space.run("run", "--once", "--wait", "0").returncode in (1, 3)
    found, _, _ = doctor(space)
    assert "for sink 'ops'" in found["alerts"][0]["sentence"]


def test_drift_and_an_old_version_that_stays(space, tmp_path):
    program = CommandIssuer(tmp_path / "program")
    space.configure(issuers=f"program: {{type: command, run: ['{program.program}']}}\n")
    space.policy("q", policy("team/made", issuer="program"))
    assert space.run("run", "--once").returncode == 0
    assert space.run("rotate", "team/made").returncode == 0
    (space.vault / "team/key/current").unlink()
    later = datetime.datetime.now(UTC) + datetime.timedelta(hours=3)
    found, _, _ = doctor(space, code=1, at=later)
    assert [finding["mend"] for finding in found["drift"]] == ["keyturn drift --repair team/key"]
    assert any("version 1 that should be retired" in finding["sentence"] for finding in found["secrets"])


def test_credentials_that_others_can_read(space):
    token = space.folder / "token"
    token.write_text("t")
    token.chmod(0o644)
    space.configure(backends="b: {type: vault-kv2, address: 'http://127.0.0.1:9', auth: {token: {file: token}}}\n")
    found, _, _ = doctor(space, "--fix", code=1)
    [finding] = found["files"]
    assert finding["mend"] == f"chmod 600 {token}" and not finding["fixable"]
    assert token.stat().st_mode & 0o777 == 0o644


def test_no_value_is_shown(space):
    value = space.vault_value("team/key")
    (space.vault / "team/key/current").unlink()
    for words in (("doctor",), ("doctor", "--format", "json"), ("drift",)):
        done = subprocess.run(space.command(*words), capture_output=True, text=True, cwd=space.folder)
        assert value not in done.stdout + done.stderr
