"""The audit trail against somebody who can write to the database: what was done is found, and named."""
import base64
import json
import re
import sqlite3
import subprocess

import pytest

from scripted import until

POLICY = "secret: team/{}\nissuer: passwords\nlifetime: 30d\nrotate: {{every: 20d}}\nbackends: [{{name: vault}}]\n"


@pytest.fixture
def trail(workspace):
    """A workspace with a signed trail, and a checkpoint file elsewhere."""
    workspace.configure(extra="audit: {signingKey: {file: var/audit.key}, checkpoints: elsewhere/checkpoints.jsonl}\n")
    (workspace.folder / "elsewhere").mkdir()
    for name in ("a", "b"):
        workspace.policy(name, POLICY.format(name))
        assert workspace.run("run", "--once").returncode == 0
    workspace.state = workspace.folder / "var/keyturn.db"
    workspace.filed = workspace.folder / "elsewhere/checkpoints.jsonl"
    workspace.key = workspace.run("audit", "key").stdout.strip()
    workspace.entries = workspace.json("audit", "verify")["entries"]
    return workspace


def tamper(space, *statements):
    with sqlite3.connect(space.state) as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f'DROP TRIGGER "{name}"')
        for statement in statements:
            database.execute(statement)


def problems(space, *arguments):
    done = space.run("audit", "verify", *arguments)
    assert done.returncode == (1 if done.stdout and "the chain is whole" not in done.stdout else 0), done.stderr
    found = space.json("audit", "verify", *arguments, codes=(done.returncode,))
    assert found["ok"] == (done.returncode == 0)
    assert [finding["problem"] for finding in found["findings"]] == (
        done.stdout.splitlines() if done.returncode else [])
    if done.returncode:
        assert f"the audit trail is broken: {found['problem']}" in done.stderr
    return [finding["problem"] for finding in found["findings"]]


def export(space, *arguments):
    done = space.run("audit", "export", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def check_export(space, lines, *arguments):
    file = space.folder / "export.jsonl"
    file.write_text("".join(f"{line}\n" for line in lines))
    return problems(space, "--file", str(file), *arguments)


def test_a_whole_trail(trail):
    assert problems(trail) == []
    found = trail.json("audit", "verify")
    assert found["checkpoints"] == 2 and found["uncovered"] == 0 and found["coveredUpTo"] == found["entries"]
    assert found["publicKeys"] == [trail.key] and found["keyKnown"]
    assert trail.run("pause", "team/a").returncode == 0
    found = trail.json("audit", "verify")
    assert found["uncovered"] == 1
    assert f"entry {found['entries']} is not covered yet" in trail.run("audit", "verify").stdout
    assert trail.filed.stat().st_mode & 0o027 == 0
    assert (trail.folder / "var/audit.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("statement, problem", [
    ("DELETE FROM audit WHERE sequence = 5", "entry 5 is missing; the next one found is 6"),
    ("DELETE FROM audit WHERE sequence BETWEEN 5 AND 7", "entry 5 is missing, and all up to 7; the next one found is 8"),
    ("DELETE FROM audit WHERE sequence = 1", "entry 1 is missing; the next one found is 2"),
    *((f"UPDATE audit SET {change} WHERE sequence = 5", "entry 5 was changed after it was written") for change in (
        "at = at + 1", "kind = 'x'", "secret = 'team/c'", "secret = NULL", "version = 9", "version = NULL",
        "step = 'x'", "step = NULL", "actor = 'x'", "detail = '{\"a\":\"b\"}'", "hash = 'x'", "previous_hash = 'x'",
        "at = 'x'", "version = x'00'", "detail = 'x'", "secret = '../x'")),
    ("UPDATE audit SET sequence = 0 WHERE sequence = 5", "entry 0 was put in: the trail begins with entry 1"),
    ("UPDATE audit SET sequence = -9223372036854775807 WHERE sequence = 5",
     "entry -9223372036854775807 was put in: the trail begins with entry 1"),
    ("UPDATE audit SET sequence = 9223372036854775807 WHERE sequence = 5",
     "entry 5 is missing; the next one found is 6"),
])
def test_what_was_done_to_an_entry_is_named(trail, statement, problem):
    tamper(trail, statement)
    assert problems(trail)[0].startswith(problem)


def test_entries_that_changed_places_are_named(trail):
    tamper(trail, "UPDATE audit SET sequence = 100000 WHERE sequence = 4",
           "UPDATE audit SET sequence = 4 WHERE sequence = 7", "UPDATE audit SET sequence = 7 WHERE sequence = 100000")
    assert problems(trail)[:2] == ["entry 4 was replaced by what was written as entry 7",
                                   "entry 7 was replaced by what was written as entry 4"]


def test_the_newest_entries_cut_off_are_missed_by_the_checkpoints(trail):
    for left in (trail.entries - 1, 5, 0):
        tamper(trail, f"DELETE FROM audit WHERE sequence > {left}")
        [problem] = problems(trail)
        assert re.fullmatch(
            rf"the trail is cut off: the checkpoint of \S+Z over entry {trail.entries} says there were {trail.entries}"
            rf" entries; {left} are left", problem), problem


def test_the_file_elsewhere_knows_what_the_database_has_forgotten(trail):
    tamper(trail, "DELETE FROM audit WHERE sequence > 12", "DELETE FROM audit_checkpoints")
    found = problems(trail)
    assert any(problem.startswith("the trail is cut off") for problem in found)
    assert any("was removed from the state; the checkpoint file has it" in problem for problem in found)
    # No pass signs what is left, and rotations go on.
    done = trail.run("rotate", "team/a")
    assert done.returncode == 0
    assert "the audit trail is not signed" in done.stderr and "it was signed before" in done.stderr
    trail.filed.unlink()
    # Then nothing but a copy elsewhere tells.
    assert problems(trail) == []
    assert "no checkpoint covers them" in trail.run("audit", "verify").stdout


def test_a_chain_computed_anew_is_found(trail):
    script = "import hashlib, json, sqlite3, sys\n" \
        "d = sqlite3.connect(sys.argv[1])\n" \
        "for (t,) in d.execute(\"SELECT name FROM sqlite_master WHERE type = 'trigger'\").fetchall():\n" \
        "    d.execute(f'DROP TRIGGER \"{t}\"')\n" \
        "d.execute(\"UPDATE audit SET actor = 'somebody' WHERE sequence = 8\")\n" \
        "previous = '0' * 64\n" \
        "for row in d.execute('SELECT * FROM audit ORDER BY sequence').fetchall():\n" \
        "    n, at, kind, secret, version, step, actor, detail = row[:8]\n" \
        "    parts = [n, previous, at, kind, secret or '', '' if version is None else version, step or '', actor]\n" \
        "    for pair in sorted(json.loads(detail).items()): parts += pair\n" \
        "    texts = [str(part).encode() for part in parts]\n" \
        "    digest = hashlib.sha256(b''.join(b'%d:%s' % (len(t), t) for t in texts)).hexdigest()\n" \
        "    d.execute('UPDATE audit SET previous_hash = ?, hash = ? WHERE sequence = ?', (previous, digest, n))\n" \
        "    previous = digest\n" \
        "d.commit()\n"
    subprocess.run(["python3", "-c", script, trail.state], check=True)
    [problem] = problems(trail)
    assert re.search(r"over entry (\d+) has another hash: entry \1, or one before it, was rewritten after that", problem)
    with sqlite3.connect(trail.state) as database:
        database.execute("DELETE FROM audit_checkpoints")
    assert any("was rewritten after that" in problem for problem in problems(trail))


def test_forged_checkpoints(trail):
    with sqlite3.connect(trail.state) as database:
        [[signature]] = database.execute(
            f"SELECT signature FROM audit_checkpoints WHERE sequence = {trail.entries}").fetchall()
    flipped = bytes([signature[0] ^ 1]) + signature[1:]
    newest = f"WHERE sequence = {trail.entries}"
    for change, problem in (
            (f"signature = x'{flipped.hex()}'", "was changed, or forged: its signature is not that of"),
            ("signature = 'x'", "was changed, or forged"), ("at = 'x'", "can't be read any more: it was changed"),
            ("entries = entries - 1", "was changed, or forged"), ("at = at + 1", "was changed, or forged"),
            ("instance = 'x'", "was changed, or forged"), ("head = 'x'", "was changed, or forged"),
            ("key = 'x'", "can't be read any more: it was changed")):
        with sqlite3.connect(trail.state) as database:
            [good] = database.execute(f"SELECT * FROM audit_checkpoints {newest}").fetchall()
        tamper(trail, f"UPDATE audit_checkpoints SET {change} {newest}")
        found = problems(trail)
        assert any(problem in line for line in found), (change, found)
        with sqlite3.connect(trail.state) as database:
            database.execute(f"DELETE FROM audit_checkpoints {newest}")
            database.execute("INSERT INTO audit_checkpoints VALUES (?, ?, ?, ?, ?, ?, ?)", good)
    assert problems(trail) == []
    lines = trail.filed.read_text().splitlines()
    trail.filed.write_text("\n".join([lines[0].replace('"entries":', '"entries":1'), *lines[1:]]) + "\n")
    assert any("was changed, or forged" in line for line in problems(trail))
    trail.filed.write_text("\n".join(["{}", *lines]) + "\n")
    assert problems(trail) == ["line 1 of the checkpoint file was changed: it is no checkpoint"]
    trail.filed.write_text("\n".join([*lines, lines[0][:40]]))
    assert problems(trail) == [], "what a crash cuts off is nobody's doing"


def test_the_wrong_key_is_told(trail):
    assert problems(trail, "--public-key", trail.key) == []
    openssl = trail.folder / "other.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", openssl], check=True)
    openssl.chmod(0o600)
    trail.configure(extra="audit: {signingKey: {file: other.pem}}\n")
    other = trail.run("audit", "key").stdout.strip()
    assert other != trail.key and other.startswith("ed25519:")
    found = problems(trail)
    assert found and all(f"was signed by another key, {trail.key}" in problem for problem in found)
    assert problems(trail, "--public-key", trail.key) == []
    assert problems(trail, "--public-key", trail.key, "--public-key", other) == []
    assert trail.run("audit", "verify", "--public-key", "ed25519:AAAA").returncode == 64


def test_exports(trail):
    lines = export(trail)
    kinds = [json.loads(line)["type"] for line in lines]
    assert kinds[0] == "trail" and kinds[-1] == "end" and kinds.count("checkpoint") == 2
    assert kinds.count("entry") == trail.entries
    assert check_export(trail, lines) == []
    where = {json.loads(line)["sequence"]: index for index, line in enumerate(lines) if '"type":"entry"' in line}
    for number in (1, 5, trail.entries):
        without = [line for index, line in enumerate(lines) if index != where[number]]
        assert any(f"entry {number} " in problem or "is cut off" in problem for problem in check_export(trail, without))
        doubled = [*lines[:where[number] + 1], *lines[where[number]:]]
        assert f"entry {number} is there again, behind entry {number}" in check_export(trail, doubled)
        entry = json.loads(lines[where[number]])
        for name in entry:
            if name == "type":
                continue
            changed = {**entry, name: {"a": "b"} if name == "detail" else 7 if name in ("version", "sequence") else
                       "2020-01-01T00:00:00.000Z" if name == "at" else "x"}
            copy = list(lines)
            copy[where[number]] = json.dumps(changed, sort_keys=True, separators=(",", ":"))
            assert check_export(trail, copy), (number, name)
    moved = list(lines)
    moved.insert(where[9], moved.pop(where[5]))
    assert "entry 5 was moved: it stands behind entry 9" in check_export(trail, moved)
    for end in range(1, len(lines)):
        found = check_export(trail, lines[:end])
        assert any("the export is cut off behind entry" in problem for problem in found), (end, found)
        # The end forged as well: the checkpoints elsewhere know.
        count = sum('"type":"entry"' in line for line in lines[:end])
        forged = [*lines[:end], json.dumps({"entries": count, "type": "end"}, separators=(",", ":"))]
        found = check_export(trail, forged, "--checkpoints", str(trail.filed))
        assert (found == []) == (count == trail.entries), (end, found)
    spelled = [*lines[:3], " " + lines[3], *lines[4:]]
    assert any("is not as it was exported" in problem for problem in check_export(trail, spelled))


def test_an_export_that_begins_later(trail):
    lines = export(trail, "--after", "12")
    assert json.loads(lines[1])["sequence"] == 13
    assert check_export(trail, lines) == []
    assert check_export(trail, lines, "--checkpoints", str(trail.filed)) == []
    lines[0] = lines[0].replace('"after":12', '"after":11')
    assert "entry 12 is missing; the next one found is 13" in check_export(trail, lines)
    assert trail.run("audit", "export", "--after", "99999").returncode == 1
    assert trail.run("audit", "export", "--after", "-1").returncode == 64


def test_an_export_needs_no_configuration(trail, tmp_path):
    file = tmp_path / "trail.jsonl"
    file.write_text("".join(f"{line}\n" for line in export(trail)))
    done = trail.run("audit", "verify", "--file", str(file), config=False, environment={"KEYTURN_CONFIG": "/nowhere"})
    assert done.returncode == 0, done.stderr
    assert f"no key is known here to hold the signatures against; if it is yours, give --public-key {trail.key}" \
        in done.stderr
    done = trail.run("audit", "verify", "--file", str(file), "--public-key", trail.key, config=False,
                     environment={"KEYTURN_CONFIG": "/nowhere"})
    assert done.returncode == 0 and done.stderr == ""


def test_openssl_accepts_a_signature(trail, tmp_path):
    """The statement and the signature are what the documentation says, by somebody else's code."""
    checkpoint = json.loads(trail.filed.read_text().splitlines()[-1])
    statement = "keyturn audit checkpoint 1\n" + "".join(
        f"{checkpoint[name]}\n" for name in ("instance", "at", "sequence", "entries", "head"))
    (tmp_path / "statement").write_text(statement)
    (tmp_path / "signature").write_bytes(base64.b64decode(checkpoint["signature"]))
    spki = bytes.fromhex("302a300506032b6570032100") + base64.b64decode(checkpoint["key"].removeprefix("ed25519:"))
    (tmp_path / "key.der").write_bytes(spki)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.der", "-keyform", "DER", "-rawin", "-in",
               "statement", "-sigfile", "signature"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    (tmp_path / "statement").write_text(statement + "\n")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode != 0
    # The private key's file is theirs too.
    derived = subprocess.run(["openssl", "pkey", "-in", trail.folder / "var/audit.key", "-pubout", "-outform", "DER"],
                             check=True, capture_output=True).stdout
    assert derived == spki


def test_without_a_key_it_goes_on_unsigned(workspace):
    workspace.policy("a", POLICY.format("a"))
    assert workspace.run("run", "--once").returncode == 0
    done = workspace.run("audit", "verify")
    assert done.returncode == 0 and "no checkpoint covers them" in done.stdout
    done = workspace.run("audit", "key")
    assert done.returncode == 65 and "keyturn audit key --create" in done.stderr
    workspace.configure(extra="audit: {signingKey: {file: keys/audit.pem}}\n")
    # Named and not there: said before anything is done.
    done = workspace.run("run", "--once")
    assert done.returncode == 65 and "keyturn audit key --create" in done.stderr
    made = workspace.run("audit", "key", "--create")
    assert made.returncode == 0
    assert (workspace.folder / "keys/audit.pem").stat().st_mode & 0o777 == 0o600
    assert workspace.run("audit", "key", "--create").stdout == made.stdout, "it is never overwritten"
    assert workspace.run("run", "--once").returncode == 0
    assert ": all are covered" in workspace.run("audit", "verify").stdout
    (workspace.folder / "keys/audit.pem").chmod(0o644)
    assert workspace.run("run", "--once").returncode == 77


def test_the_daemon_signs_when_it_ends_and_while_it_runs(trail):
    daemon = trail.start("run", "--log-level", "debug")
    for line in daemon.stderr:
        if "started" in line:
            break
    def is_signed():
        return trail.json("audit", "verify")["coveredUpTo"] > trail.entries
    for _ in range(60):
        assert trail.run("pause", "team/a").returncode == 0
        assert trail.run("resume", "team/a").returncode == 0
        if is_signed():
            break
    # It looks every few seconds.
    until(is_signed, "120 entries are enough for a checkpoint", 60)
    assert trail.run("pause", "team/b").returncode == 0
    daemon.terminate()
    assert daemon.wait(60) == 0
    daemon.stderr.close()
    daemon.stdout.close()
    found = trail.json("audit", "verify")
    assert found["ok"] and found["uncovered"] == 0
