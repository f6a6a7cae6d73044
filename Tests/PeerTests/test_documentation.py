"""What the documentation says, tried: its examples run, its tables are those of the program, its rights suffice.

A comment before a fenced block says what is done with it: `<!-- run -->`, `<!-- run: exit N -->`,
`<!-- file: NAME -->`, `<!-- validate: WHAT -->`, `<!-- example: NAME -->`.
"""
import json
import os
import pathlib
import re
import shutil
import sqlite3
import subprocess
import tempfile
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from workspace import BINARY, Workspace

ROOT = pathlib.Path(__file__).resolve().parents[2]
ARTICLES = ROOT / "Sources/keyturn/Documentation.docc"
DOCUMENTS = [ROOT / "README.md", *sorted(ARTICLES.glob("*.md"))]
SOURCES = {path: path.read_text() for path in sorted((ROOT / "Sources").rglob("*.swift"))}


class Block:
    def __init__(self, document, line, marker, language, text):
        self.document, self.line, self.language, self.text = document, line, language, text
        self.action, _, self.argument = (marker or "").partition(": ")

    def __repr__(self):
        return f"{self.document.name}:{self.line}"


def blocks(document):
    """Every fenced block with the comment before it."""
    found, marker, body, start = [], None, None, None
    for number, line in enumerate(document.read_text().splitlines(), 1):
        if body is not None:
            if line == "```":
                found.append(Block(document, start, marker, language, "\n".join(body) + "\n"))
                marker, body = None, None
            else:
                body.append(line)
        elif line.startswith("```"):
            language, body, start = line[3:], [], number
        elif line.startswith("<!-- "):
            marker = line.removeprefix("<!-- ").removesuffix(" -->")
        elif line.strip():
            marker = None
    assert body is None, f"{document.name}: a block that begins in line {start} is not closed"
    return found


ALL = [block for document in DOCUMENTS for block in blocks(document)]


def marked(action):
    return [block for block in ALL if block.action == action]


def example(name):
    [block] = [block for block in marked("example") if block.argument == name]
    return block.text


def tables(text):
    """Every table as a list of rows, each a list of cells; the heading is the first."""
    rows, found = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            found.append([rows[0], *rows[2:]])
            rows = []
    return found


def table(document, heading):
    """The rows of the one table whose heading begins so."""
    headings = heading.split("|")
    [found] = [rows for rows in tables(document.read_text()) if rows[0][:len(headings)] == headings]
    return found[1:]


def keyturn(*arguments, **more):
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=60, **more)


# Examples of policies and configurations


def test_documents_name_no_place_of_a_machine():
    for document in [*DOCUMENTS, ROOT / "CHANGELOG.md"]:
        assert not re.search(r"/(work|tmp|root)/", document.read_text()), document


@pytest.mark.parametrize("block", marked("validate"), ids=repr)
def test_yaml_in_the_documentation_validates(block, tmp_path):
    environment = dict(os.environ)
    if block.argument == "policy":
        configuration = ROOT / "deploy/keyturn.example.yaml"
        (tmp_path / "policy.yaml").write_text(block.text)
        environment["KEYTURN_SCHEDULES"] = str(tmp_path)
    else:
        configuration = tmp_path / "keyturn.yaml"
        identity = "" if block.argument == "configuration" else "identity: {file: identity.txt}\n"
        configuration.write_text(identity + block.text)
        (tmp_path / "schedules").mkdir()
    done = keyturn("validate", "--config", str(configuration), env=environment)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_example_policies_validate():
    done = keyturn("validate", "--config", str(ROOT / "deploy/keyturn.example.yaml"))
    assert (done.returncode, done.stdout) == (0, ""), done.stdout
    policies = sum(path.read_text().count("\nsecret:") for path in (ROOT / "schedules").rglob("*.yaml"))
    assert done.stderr.startswith(f"{policies} policies")
    assert {path.parent.name for path in (ROOT / "schedules").rglob("*.yaml")} == {"payments", "platform", "web"}
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    assert f"{words[policies].capitalize()} more policies, of three teams" in (ROOT / "README.md").read_text()


# Commands that are shown


def normal(text, folder):
    """Without what differs from run to run: times, values, digests, places, widths of columns."""
    text = text.replace(str(folder), "/home/you")
    text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?( ?Z| ?[+-]\d\d:\d\d)", "TIME", text)
    text = re.sub(r"\b[0-9a-f]{64}\b", "DIGEST", text)
    text = re.sub(r"(?<![\w-])[\w-]{32}(?![\w-])", "VALUE", text)
    text = re.sub(r"\b\d+d \d+h\b", "SPAN", text)
    text = re.sub(r"\b\d+ entries\b", "N entries", text)
    return [re.sub(r" +", " ", line).rstrip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("document", sorted({block.document for block in marked("run")}), ids=lambda path: path.name)
def test_commands_in_the_documentation_run(document, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "keyturn").symlink_to(BINARY)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KEYTURN_", "AWS_"))}
    environment.update(PATH=f"{tools}:{environment['PATH']}", TZ="UTC")
    folder = scratch
    if document.name != "README.md":
        assert keyturn("init", str(scratch)).returncode == 0
    for block in (block for block in ALL if block.document == document):
        if block.action == "file":
            (folder / block.argument).write_text(block.text)
        if block.action != "run":
            continue
        expected = int(block.argument.removeprefix("exit ") or 0)
        for chunk in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, shown = chunk.partition("\n")
            done = subprocess.run(
                ["bash", "-c", f"{command}\nstatus=$?; pwd > '{tmp_path}/pwd'; exit $status"],
                cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
                stdin=subprocess.DEVNULL)
            assert done.returncode == expected, (block, command, done.stdout)
            folder = pathlib.Path((tmp_path / "pwd").read_text().strip())
            said = normal(done.stdout, scratch)
            for line in normal(shown, scratch):
                assert line in said, (block, command, line, said)


# Tables that must be those of the program


def described(module, kind):
    """Traits by type, as the sources say them."""
    found = {}
    for path, text in SOURCES.items():
        if module in str(path):
            for match in re.finditer(rf'= {kind}Description\(\s*type: "([\w-]+)"(.*)', text, re.DOTALL):
                found[match[1]] = match[2]
    return found


def offered(section, tmp_path):
    """The types that the program itself names."""
    (tmp_path / "keyturn.yaml").write_text(f"identity: {{file: i}}\n{section}: {{x: {{type: qqqqqqqqqqqqqqqqqqqq}}}}\n")
    done = keyturn("validate", "--config", str(tmp_path / "keyturn.yaml"))
    assert done.returncode == 65
    return set(re.search(r"there are (.*)", done.stdout)[1].split(", "))


def test_backends_are_those_of_the_program(tmp_path):
    rows = {row[0].strip("`"): row[1:] for row in table(ROOT / "README.md", "backend")}
    assert set(rows) == offered("backends", tmp_path)
    sources = described("KeyturnBackends", "Backend")
    assert set(sources) == set(rows)
    for name, text in sources.items():
        traits = r"traits: BackendTraits\(staging: \.(\w+), readsBack: (\w+), lists: (\w+), destroys: (\w+)\)"
        staging, *powers = re.search(traits, text).groups()
        shown = {"unseen": "unseen", "onPromote": "on promote"}[staging]
        assert rows[name][:4] == [shown, *("yes" if power == "true" else "no" for power in powers)], name


def test_issuers_are_those_of_the_program(tmp_path):
    rows = {row[0].strip("`"): row[1:] for row in table(ROOT / "README.md", "issuer")}
    assert set(rows) == offered("issuers", tmp_path)
    sources = described("KeyturnIssuers", "Issuer")
    assert set(sources) == set(rows)
    for name, text in sources.items():
        traits = re.search(r"traits: IssuerTraits\((.*?)\)", text, re.DOTALL)[1]

        def has(power):
            return "yes" if f"{power}: true" in traits else "no"
        limit = re.search(r"keyLimit: (\d+)", traits)
        shown = rows[name]
        assert f"kind: .{shown[0]}" in traits, name
        assert shown[5] == has("enforcesExpiry"), name
        if name == "command":
            assert shown[1:5] == ["as set", "yes", "as set", "as set"]
        else:
            assert shown[1] == (limit[1] if limit else "none"), name
            assert shown[2:5] == [has("checks"), has("disables"), has("reportsLastUse")], name


def test_alert_sinks_are_those_of_the_program(tmp_path):
    rows = [rows for rows in tables((ARTICLES / "Configuration.md").read_text()) if rows[0] == ["type", "keys"]]
    assert [{row[0].strip("`") for row in rows[1:]} for rows in rows] == [
        offered(section, tmp_path) for section in ("issuers", "backends", "alerts")]


def fields(schema):
    """The names of all members that a schema knows, with those of its parts."""
    for name, member in schema.get("properties", {}).items():
        yield name
        yield from fields(member)
    parts = [schema[key] for key in ("items", "additionalProperties", "then") if isinstance(schema.get(key), dict)]
    for part in [*parts, *schema.get("anyOf", []), *schema.get("allOf", [])]:
        yield from fields(part)


def schema(*arguments):
    done = keyturn("schema", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_parameter_is_documented():
    text = (ARTICLES / "Configuration.md").read_text() + (ARTICLES / "Policies.md").read_text()
    systems = [part for what in ("issuers", "backends") for entry in
               json.loads(keyturn(what, "--format", "json").stdout)[what] for part in entry.values()
               if isinstance(part, dict)]
    names = {name for part in [schema("configuration"), *systems] for name in fields(part)}
    assert len(names) > 60
    assert {name for name in names if not re.search(rf"[`{{. ]{name}[`.: ,}}]", text)} == set()


def test_every_field_of_a_policy_is_documented():
    names = set(fields(schema("policy", "--config", str(ROOT / "deploy/keyturn.example.yaml")))) - {"then"}
    assert {"secret", "renewBefore", "onConflict", "bestEffort", "observe"} <= names
    text = (ARTICLES / "Policies.md").read_text()
    assert {name for name in names if not re.search(rf"[`.{{ ]{name}[`.:, ]", text)} == set()


def test_every_command_is_documented():
    listed = re.findall(r"^  ([a-z]+)  +[A-Z]", keyturn("--help").stdout.split("SUBCOMMANDS:")[1], re.MULTILINE)
    assert len(listed) > 10
    headings = re.findall(r"^## (keyturn .*)$", (ARTICLES / "Commands.md").read_text(), re.MULTILINE)
    commands = "\n".join(row[0] for row in table(ROOT / "README.md", "command"))
    for name in listed:
        assert any(f"keyturn {name}" in heading for heading in headings), name
        assert f"keyturn {name}" in commands, name
        for inner in re.findall(r"^  ([a-z]+)  +[A-Z]", keyturn(name, "--help").stdout, re.MULTILINE):
            assert any(inner in heading for heading in headings), (name, inner)


def test_every_exit_status_is_documented():
    [source] = [text for path, text in SOURCES.items() if path.name == "ExitStatus.swift"]
    body = source.split("enum ExitStatus")[1].split("var code")[0]
    last, statuses = -1, set()
    for match in re.finditer(r"case \w+(?: = (\d+))?", body):
        last = int(match[1]) if match[1] else last + 1
        statuses.add(str(last))
    assert {row[0] for row in table(ROOT / "README.md", "exit status")} == statuses
    assert {row[0] for row in table(ARTICLES / "Commands.md", "status")} == statuses
    summary = re.sub(r"\s+", " ", keyturn("--help").stdout)
    assert all(re.search(rf"[:;] {status} ", summary) for status in statuses)


def test_words_are_documented():
    kinds = re.findall(r'case \w+ = "([\w.]+)"', next(
        text for path, text in SOURCES.items() if path.name == "AlertSink.swift"))
    assert len(kinds) == 12
    assert {row[0].strip("`") for row in table(ARTICLES / "Alerts.md", "kind")} == set(kinds)
    gates = re.search(r"enum RetirementGate.*?\n}", next(
        text for path, text in SOURCES.items() if path.name == "RetirementGate.swift"), re.DOTALL)[0]
    names = [match[2] or match[1] for match in re.finditer(r'case (\w+)(?: = "([\w-]+)")?', gates)]
    assert [row[0].strip("`") for row in table(ARTICLES / "Commands.md", "gate")] == names
    codes = re.search(r"enum Code.*?\n    }", next(
        text for path, text in SOURCES.items() if path.name == "SystemError.swift"), re.DOTALL)[0]
    known = {word.strip("` ") for row in table(ARTICLES / "Recovery.md", "word") for word in row[0].split(",")}
    assert known == set(re.findall(r"case (\w+)", codes))
    events = {kind for text in SOURCES.values() for kind in re.findall(
        r'"((?:rotation|rollback|step|version|distribution|secret|work|retire|orphan|alert|state|clock)\.[a-z-]+)"', text)} - {
            "rotation.failed", "rotation.overdue", "orphan.possible", "retire.observe",
            "retire.health"}
    for heading, file, name in (("outcome", "UnansweredStep.swift", "Outcome"), ("kind", "DriftFinding.swift", "Kind")):
        body = re.search(rf"enum {name}: .*?\n    }}", next(
            text for path, text in SOURCES.items() if path.name == file), re.DOTALL)[0]
        words = {match[2] or match[1] for match in re.finditer(r'case (\w+)(?: = "([\w-]+)")?', body)}
        assert {row[0].strip("`") for row in table(ARTICLES / "Recovery.md", heading)} == words
    sections = re.search(r"enum DoctorSection.*?case (.*?)\n}", next(
        text for path, text in SOURCES.items() if path.name == "DoctorFinding.swift"), re.DOTALL)[1]
    assert [row[0].strip("`") for row in table(ARTICLES / "Commands.md", "section")] == sections.split(", ")
    listed = next(row for row in json_rows("keyturn history") if row[0] == "kind")[1]
    assert set(re.findall(r"`([\w.-]+)`", listed)) == events


def test_every_fault_has_its_test():
    """Tests, variables and their defaults are those of the table."""
    rows = table(ARTICLES / "Faults.md", "fault|what happens|test")
    named = [match for row in rows for match in re.findall(r"`(\w+\.py)::(\w+)`", row[2])]
    assert len(named) > 20 and all("::" in row[2] for row in rows)
    for file, name in named:
        assert f"\ndef {name}(" in (ROOT / "Tests/PeerTests" / file).read_text(), (file, name)
    defaults = {}
    for path in (ROOT / "Tests/PeerTests").glob("*.py"):
        defaults |= dict(re.findall(r'"(KEYTURN_TEST_(?:KILLS|POINTS|DAMAGES|RACES))", "(\w+)"', path.read_text()))
    assert {row[0].strip("`"): row[2] for row in table(ARTICLES / "Faults.md", "variable")} == defaults


# JSON


def json_rows(heading):
    text = (ARTICLES / "JSON.md").read_text()
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)[1]
    [rows] = tables(section)
    return [[row[0].strip("`"), *row[1:]] for row in rows[1:]]


class Keys:
    """The keys that a section documents, held against what is printed: every one is in every object."""

    def __init__(self, heading):
        rows = json_rows(heading)
        self.known = {row[0] for row in rows}
        assert len(self.known) == len(rows)
        self.nullable = {row[0] for row in rows if "or `null`" in row[1]}
        self.seen = set()

    def check(self, value, prefix=""):
        known = self.known
        for name, member in value.items():
            path = prefix + name
            if isinstance(member, list):
                inner = [path + "[]."]
                assert any(key.startswith(path + "[]") for key in known), path
                if path + "[]" in known:
                    self.seen.add(path + "[]")
                for item in member:
                    if isinstance(item, dict):
                        self.check(item, inner[0])
                continue
            assert path in known, path
            assert member is not None or path in self.nullable, path
            self.seen.add(path)
            if isinstance(member, dict) and any(key.startswith(path + ".") for key in known):
                self.check(member, path + ".")
        for path in known:
            if path.startswith(prefix) and not re.search(r"[.\[]", path[len(prefix):].removesuffix("[]")):
                assert path.removesuffix("[]")[len(prefix):] in value, path

    def finish(self):
        assert self.seen == self.known


@pytest.mark.parametrize("what", ["issuers", "backends"])
def test_json_of_what_is_built_in(what):
    keys = Keys(f"keyturn {what}")
    done = keyturn(what, "--format", "json")
    assert done.returncode == 0, done.stderr
    keys.check(json.loads(done.stdout))
    keys.finish()


HANGS = "#!/bin/sh\ncat > /dev/null\nexec sleep 60\n"


LOSES = """#!/bin/sh
question=$(cat)
test -e lost && exit 1
case $question in *'"operation":"create"'*) touch lost; exec sleep 60 ;; esac
echo '{"keys": []}'
"""


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """A workspace in which everything that JSON can say is said."""
    space = Workspace(tmp_path_factory.mktemp("busy") / "site")
    program = space.folder / "hangs"
    program.write_text(HANGS)
    program.chmod(0o700)
    space.configure(
        issuers="slow: {type: command, run: [./hangs], timeout: 1s, kind: unlistable}\n"
        "lost: {type: command, run: [./loses], timeout: 1s}\n",
        backends="dead: {type: vault-kv2, address: 'http://127.0.0.1:9', auth: {token: {env: TOKEN}}}\n")
    space.environment = {"TOKEN": "t"}
    # Its answer to `create` is lost, and nobody can list what it made.
    program = space.folder / "loses"
    program.write_text(LOSES)
    program.chmod(0o700)
    space.policy("all", """
secret: team/well
owner: team
issuer: passwords
lifetime: 30d
rotate: {every: 20d}
grace: 2d
backends: [{name: vault}]
---
secret: team/pair
issuer: passwords
issue: {format: ed25519}
lifetime: 30d
rotate: {every: 20d}
backends: [{name: vault}]
---
secret: team/dead
issuer: passwords
lifetime: 30d
rotate: {every: 20d}
backends: [{name: vault}, {name: dead}]
---
secret: team/slow
issuer: slow
lifetime: 30d
rotate: {every: 20d}
backends: [{name: vault}]
---
secret: team/lost
issuer: lost
lifetime: 30d
rotate: {every: 20d}
backends: [{name: vault}]
""")
    space.passes = [space.json("run", "--once", "--wait", "5s", codes=(1, 3))]
    space.passes.append(space.json("rotate", "team/well"))
    space.passes.append(space.json("rotate", "team/well", "--compromised"))
    space.passes.append(space.json("rotate", "team/well"))
    assert space.run("pause", "--issuer", "slow", "--reason", "its answers take too long").returncode == 0
    space.passes.append(space.json("run", "--once", "--wait", "0", codes=(1, 3)))
    assert space.run("pause", "team/pair").returncode == 0
    return space


def test_json_of_report(busy):
    keys = Keys("keyturn report")
    keys.check(busy.json("report"))
    keys.check(busy.json("report", "--within", "100d"))
    keys.finish()


def test_json_of_status(busy):
    keys = Keys("keyturn status")
    keys.check(busy.json("status"))
    keys.finish()
    [unknown] = busy.status("team/lost")["unknown"]
    assert re.fullmatch(
        r"the answer to `issue` of version 1 is not known; the issuer is asked at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
        unknown["sentence"]), unknown
    assert unknown["askedAt"] in unknown["sentence"]


def test_json_of_validate(busy, tmp_path):
    keys = Keys("keyturn validate")
    keys.check(busy.json("validate"))
    keys.check(busy.json("validate", "--online", codes=(69,)))
    (tmp_path / "keyturn.yaml").write_text("x: 1\n")
    done = keyturn("validate", "--format", "json", "--config", str(tmp_path / "keyturn.yaml"))
    assert done.returncode == 65
    keys.check(json.loads(done.stdout))
    keys.finish()


def test_json_of_run_and_rotate(busy):
    keys = Keys("keyturn run --once, keyturn rotate, keyturn rollback")
    for summary in busy.passes:
        keys.check(summary)
    keys.finish()


def test_json_of_explain(busy):
    keys = Keys("keyturn explain")
    for secret in ("team/well", "team/pair", "team/dead"):
        keys.check(busy.json("explain", secret))
    keys.finish()


def test_json_of_history(busy):
    keys = Keys("keyturn history")
    for line in busy.run("history", "--format", "json").stdout.splitlines():
        keys.check(json.loads(line))
    keys.finish()


def test_json_of_drift_and_doctor(busy):
    keys = Keys("keyturn drift")
    current = busy.vault / "team/well/current"
    target = os.readlink(current)
    current.unlink()
    keys.check(busy.json("drift", codes=(1,)))
    busy.identity.chmod(0o640)
    doctor = Keys("keyturn doctor")
    doctor.check(busy.json("doctor", codes=(69,)))
    busy.identity.chmod(0o600)
    current.symlink_to(target)
    keys.finish()
    doctor.finish()


def test_json_of_orphans(busy):
    keys = Keys("keyturn orphans list")
    keys.check(busy.json("orphans", "list"))
    keys.finish()


def test_json_of_vault_and_next(busy):
    keys = Keys("keyturn vault list")
    keys.check(busy.json("vault", "list"))
    keys.finish()
    keys = Keys("keyturn next")
    keys.check(json.loads(keyturn("next", "@daily", "--format", "json").stdout))
    keys.finish()


def test_json_of_audit(busy, tmp_path):
    keys = Keys("keyturn audit verify")
    keys.check(busy.json("audit", "verify"))
    broken = tmp_path / "broken.db"
    with sqlite3.connect(busy.folder / "var/keyturn.db") as source, sqlite3.connect(broken) as copy:
        source.backup(copy)
    with sqlite3.connect(broken) as copy:
        for (name,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            copy.execute(f'DROP TRIGGER "{name}"')
        copy.execute("UPDATE audit SET actor = 'nobody' WHERE sequence = 2")
    broken.chmod(0o600)
    (busy.folder / "keyturn.yaml").write_text(
        (busy.folder / "keyturn.yaml").read_text() + "audit: {signingKey: {file: var/audit.key}}\n")
    assert busy.run("rotate", "team/well").returncode == 0
    keys.check(busy.json("audit", "verify"))
    done = busy.run("audit", "verify", "--format", "json", environment={"KEYTURN_STATE": f"sqlite:{broken}"})
    assert done.returncode == 1
    keys.check(json.loads(done.stdout))
    keys.finish()


def test_lines_of_an_audit_export(busy):
    """Every line has exactly the keys of its kind."""
    rows = json_rows("keyturn audit export")
    by_kind = {}
    for key, _, kinds in rows:
        for kind in kinds.replace("`", "").split(", "):
            by_kind.setdefault(kind, set()).add(key)
    text = (busy.folder / "keyturn.yaml").read_text()
    if "audit:" not in text:
        (busy.folder / "keyturn.yaml").write_text(text + "audit: {signingKey: {file: var/audit.key}}\n")
    assert busy.run("rotate", "team/well").returncode == 0
    seen = set()
    for line in busy.run("audit", "export").stdout.splitlines():
        entry = json.loads(line)
        assert set(entry) == by_kind[entry["type"]], entry
        seen.add(entry["type"])
    assert seen == set(by_kind)
    keys = Keys("keyturn audit key")
    keys.check(busy.json("audit", "key"))
    keys.finish()


# Programs that are shown


def install(space, name, text):
    folder = space.folder / "tools"
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(text)
    program.chmod(0o700)
    return program


def test_the_issuing_program_of_the_article(workspace):
    install(workspace, "issue-token", example("issue-token"))
    workspace.configure(issuers="tokens: {type: command, run: [tools/issue-token], disables: true}\n")
    [block] = [block for block in marked("example") if block.argument == "policy" and "CommandIssuer" in repr(block)]
    workspace.policy("token", block.text)
    assert workspace.run("run", "--once").returncode == 0
    first = workspace.vault_value("web/api-token")
    tokens = workspace.folder / "tools/tokens.json"
    assert len(json.loads(tokens.read_text())) == 1
    assert first not in tokens.read_text()
    assert workspace.run("rotate", "web/api-token", "--compromised").returncode == 0
    assert len(json.loads(tokens.read_text())) == 1
    assert workspace.vault_value("web/api-token") != first
    assert workspace.stages("web/api-token") == {1: "retired", 2: "current"}
    ask = json.dumps({"operation": "check", "value": first})
    done = subprocess.run([workspace.folder / "tools/issue-token"], input=ask, capture_output=True, text=True)
    assert json.loads(done.stdout) == {"status": "refused"}


def test_the_storing_program_of_the_article(workspace):
    install(workspace, "store", example("store"))
    workspace.configure(backends="documents: {type: command, run: [tools/store], stages: true}\n")
    [block] = [block for block in marked("example") if block.argument == "policy" and "CommandBackend" in repr(block)]
    workspace.policy("session", block.text)
    assert workspace.run("validate", "--online").returncode == 0
    assert workspace.run("run", "--once").returncode == 0
    assert workspace.run("rotate", "web/session-key").returncode == 0
    kept = json.loads((workspace.folder / "tools/documents/web/session-key.json").read_text())
    assert kept["current"] == "2" and sorted(kept["versions"]) == ["1", "2"]
    assert workspace.run("rotate", "web/session-key", "--compromised").returncode == 0
    kept = json.loads((workspace.folder / "tools/documents/web/session-key.json").read_text())
    assert kept["current"] == "3" and sorted(kept["versions"]) == ["3"]


def test_file_backend_with_template_and_reload(workspace):
    install(workspace, "reload", "#!/bin/sh\ncat > /dev/null\necho again >> \"$(dirname \"$0\")/reloads\"\n")
    workspace.configure(backends="local: {type: file, directory: local}\n")
    workspace.policy("plain", """
secret: web/plain
issuer: passwords
lifetime: 30d
rotate: {every: 20d}
backends:
  - {name: local, path: web.env, mode: "0640", template: "PASSWORD={{value}}\\n", reload: [tools/reload]}
""")
    assert workspace.run("run", "--once").returncode == 0
    file = workspace.folder / "local/web.env"
    first = file.read_text()
    assert re.fullmatch(r"PASSWORD=\w{32}\n", first)
    assert file.stat().st_mode & 0o777 == 0o640
    assert workspace.run("rotate", "web/plain").returncode == 0
    assert file.read_text() != first
    assert (workspace.folder / "tools/reloads").read_text() == "again\nagain\n"


FOLDERS = {
    # what the policy says: (mode of the file, mode of the folders that are made)
    "": (0o600, 0o700), 'mode: "0400"': (0o400, 0o700), 'mode: "0640"': (0o640, 0o750),
    'mode: "0440", group: GROUP': (0o440, 0o750), 'mode: "0644"': (0o644, 0o755),
    'mode: "0644", group: GROUP': (0o644, 0o755), "owner: USER": (0o600, 0o711),
}


@pytest.mark.parametrize("words", FOLDERS)
def test_who_may_read_a_file_gets_to_it(words):
    """The folder above is open to all; those below it are made by Keyturn."""
    root = os.geteuid() == 0
    user, group = (65534, 65534) if root else (os.geteuid(), os.getegid())
    place = pathlib.Path(tempfile.mkdtemp(prefix="keyturn-open-"))
    try:
        place.chmod(0o755)
        space = Workspace(place / "site")
        space.configure(backends=f"local: {{type: file, directory: {place}/out/deep}}\n")
        more = f", {words.replace('USER', str(user)).replace('GROUP', str(group))}" if words else ""
        space.policy("plain", f"""
secret: web/plain
issuer: passwords
lifetime: 30d
rotate: {{every: 20d}}
backends: [{{name: local, path: a/b{more}}}]
""")
        assert space.run("run", "--once").returncode == 0
        file = place / "out/deep/a/b"
        file_mode, folder_mode = FOLDERS[words]
        assert file.stat().st_mode & 0o777 == file_mode
        for folder in list(file.parents)[:3]:
            assert folder.stat().st_mode & 0o777 == folder_mode, folder
            if "GROUP" in words:
                assert folder.stat().st_gid == group
        if root:
            others = bool(file_mode & 0o004)
            may = {"owner": "USER" in words or others, "group": "GROUP" in words or others, "others": others}
            for who, (uid, gid) in {"owner": (65534, 1), "group": (1, 65534), "others": (1, 1)}.items():
                done = subprocess.run(
                    ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "cat", file],
                    capture_output=True)
                assert (done.returncode == 0) == may[who], (who, done.stderr)
        # A folder that was there stays as it is.
        file.parent.chmod(0o700)
        assert space.run("rotate", "web/plain").returncode == 0
        assert file.parent.stat().st_mode & 0o777 == 0o700
    finally:
        shutil.rmtree(place)


@pytest.mark.parametrize("kind, words", [("rsa", "Private-Key: (3072 bit"), ("ed25519", "ED25519"), ("p256", "P-256")])
def test_key_pairs_open_with_openssl(workspace, kind, words):
    workspace.configure(backends="local: {type: file, directory: local}\n")
    workspace.policy("pair", f"""
secret: web/pair
issuer: passwords
issue: {{format: {kind}}}
lifetime: 30d
rotate: {{every: 20d}}
backends:
  - {{name: vault}}
  - {{name: local, path: public.pem, template: "{{{{publicKey}}}}", mode: "0644"}}
""")
    assert workspace.run("run", "--once").returncode == 0
    private = subprocess.run(
        ["openssl", "pkey", "-noout", "-text"], input=workspace.vault_value("web/pair"), capture_output=True, text=True)
    assert private.returncode == 0 and words in private.stdout
    derived = subprocess.run(
        ["openssl", "pkey", "-pubout"], input=workspace.vault_value("web/pair"), capture_output=True, text=True)
    assert derived.stdout == (workspace.folder / "local/public.pem").read_text()


@pytest.fixture
def receiver():
    """A receiver of webhooks that keeps what it gets."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, got
    server.shutdown()
    server.server_close()


def test_alerts_are_what_the_article_says(workspace, receiver):
    port, got = receiver
    key = "whsec_" + subprocess.run(["openssl", "rand", "-base64", "32"], capture_output=True, text=True).stdout.strip()
    workspace.environment = {"KEY": key, "TOKEN": "t"}
    dead = "dead: {type: vault-kv2, address: 'http://127.0.0.1:9', auth: {token: {env: TOKEN}}}\n"
    workspace.configure(
        backends=dead, alerts=f"ops: {{type: webhook, url: 'http://127.0.0.1:{port}/', signingKey: {{env: KEY}}}}\n")
    policy = ("secret: team/key\nowner: team\nissuer: passwords\nlifetime: 30d\nrotate: {every: 20d}\n"
              "backends: [{name: %s}]\n")
    workspace.policy("key", policy % "dead")
    assert workspace.run("run", "--once", "--wait", "0").returncode == 1
    workspace.policy("key", policy % "vault")
    deadline = time.monotonic() + 60
    while workspace.stages("team/key") != {1: "current"} and time.monotonic() < deadline:
        workspace.run("run", "--once", "--wait", "0")
        time.sleep(0.5)
    assert [json.loads(body)["type"] for _, body in got] == ["keyturn.rotation.failed", "keyturn.recovered"]
    receiver_code = {}
    exec(example("verify.py"), receiver_code)
    [rows] = [rows for rows in tables((ARTICLES / "Alerts.md").read_text()) if rows[0] == ["key", "there", "holds"]]
    always = {row[0].strip("`") for row in rows[1:] if row[1] == "always"}
    sometimes = {row[0].strip("`") for row in rows[1:] if row[1] == "sometimes"}
    seen = set()
    for headers, body in got:
        assert receiver_code["is_genuine"](key, headers, body)
        assert not receiver_code["is_genuine"](key, headers, body + b" ")
        event = json.loads(body)
        keys = {"type", "timestamp"} | {f"data.{name}" for name in event["data"]}
        assert set(event) == {"type", "timestamp", "data"} and always <= keys <= always | sometimes
        seen |= keys
    assert seen == always | sometimes


def test_the_mailing_program_of_the_article(workspace, tmp_path):
    program = install(workspace, "mail-alert", example("mail-alert"))
    mail = tmp_path / "mail"
    mail.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {tmp_path}/words\ncat > {tmp_path}/body\n")
    mail.chmod(0o700)
    alert = json.dumps({"type": "keyturn.recovered", "data": {"summary": "it is \"over\""}})
    done = subprocess.run(
        [program], input=alert, text=True, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.returncode == 0
    assert (tmp_path / "words").read_text() == '-s\nkeyturn: it is "over"\nops@example.org\n'
    assert json.loads((tmp_path / "body").read_text()) == json.loads(alert)


# What lies in deploy


def test_rights_at_openbao_suffice(workspace, bao):
    status, _ = bao.call(
        "PUT", "sys/policies/acl/keyturn-least", {"policy": (ROOT / "deploy/rights/vault-kv2.hcl").read_text()})
    assert status in (200, 204)
    _, answer = bao.call("POST", "auth/token/create", {"policies": ["keyturn-least"], "no_default_policy": True})
    workspace.environment = {"TOKEN": answer["auth"]["client_token"]}
    workspace.configure(
        backends=f"bao: {{type: vault-kv2, address: '{bao.address}', auth: {{token: {{env: TOKEN}}}}}}\n")
    name = f"payments/{uuid.uuid4().hex[:8]}"
    workspace.policy("p", f"""
secret: {name}
issuer: passwords
lifetime: 30d
rotate: {{every: 20d}}
backends: [{{name: bao}}]
""")
    done = workspace.run("validate", "--online")
    assert done.returncode == 0, done.stderr
    assert workspace.run("run", "--once").returncode == 0
    done = workspace.run("rotate", name, "--compromised")
    assert done.returncode == 0, done.stderr
    assert workspace.stages(name) == {1: "retired", 2: "current"}
    assert bao.versions(name)["1"]["destroyed"]
    assert len(bao.value(name)) == 32
    # And they end where they should.
    workspace.policy("p", f"""
secret: {name}-elsewhere
issuer: passwords
lifetime: 30d
rotate: {{every: 20d}}
backends: [{{name: bao, path: platform/elsewhere}}]
""")
    assert workspace.run("validate", "--online").returncode == 77
    assert workspace.run("run", "--once").returncode == 3


def test_rights_at_aws_name_every_call(workspace, aws):
    """The emulator judges actions, not resources, so that the resources are opened for it."""
    user, subject = (f"u{uuid.uuid4().hex[:8]}" for _ in range(2))
    iam = aws.client("iam")
    iam.create_user(UserName=user)
    for name in ("aws-iam-access-key", "aws-secrets-manager", "aws-ssm-parameter"):
        document = json.loads((ROOT / f"deploy/rights/{name}.json").read_text())
        for statement in document["Statement"]:
            statement["Resource"] = "*"
        iam.put_user_policy(UserName=user, PolicyName=name, PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName=user)["AccessKey"]
    aws.add_user(subject)
    workspace.environment = {"KT_AWS_ID": key["AccessKeyId"], "KT_AWS_SECRET": key["SecretAccessKey"]}
    credentials = "credentials: {accessKeyId: {env: KT_AWS_ID}, secretAccessKey: {env: KT_AWS_SECRET}}"
    workspace.configure(
        issuers=f"iam: {{type: aws-iam-access-key, region: eu-west-1, endpoint: '{aws.endpoint}', {credentials}}}\n",
        backends=f"aws: {{type: aws-secrets-manager, region: eu-west-1, endpoint: '{aws.endpoint}', {credentials}}}\n"
                 f"ssm: {{type: aws-ssm-parameter, region: eu-west-1, endpoint: '{aws.endpoint}', {credentials}}}\n")
    workspace.policy("p", f"""
secret: payments/{subject}
issuer: iam
issue: {{user: {subject}}}
lifetime: 30d
rotate: {{every: 20d}}
grace: 1m
retire: {{whenUnused: 1m, observe: 1m}}
backends: [{{name: aws}}, {{name: ssm, path: /payments/{subject}}}]
""")
    done = workspace.run("run", "--once")
    assert done.returncode == 0, done.stdout + done.stderr
    done = workspace.run("rotate", f"payments/{subject}", "--compromised")
    assert done.returncode == 0, done.stdout + done.stderr
    assert workspace.stages(f"payments/{subject}") == {1: "retired", 2: "current"}
    [left] = aws.keys(subject)
    assert json.loads(aws.value(f"payments/{subject}"))["accessKeyId"] == left
    # Without any of the rights of the keys nothing goes.
    iam.delete_user_policy(UserName=user, PolicyName="aws-iam-access-key")
    assert workspace.run("rotate", f"payments/{subject}", "--wait", "0").returncode == 3


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_units_are_well_formed(tmp_path):
    units = []
    for path in (ROOT / "deploy/systemd").glob("keyturn*"):
        if path.suffix in (".service", ".timer"):
            units.append(tmp_path / path.name)
            units[-1].write_text(path.read_text().replace("/usr/local/bin/keyturn", BINARY))
    assert len(units) == 3
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_crontab_lines_are_commands():
    lines = [line for line in (ROOT / "deploy/keyturn.crontab").read_text().splitlines() if " keyturn " in line]
    lines = [line for line in lines if not line.startswith("#")]
    assert len(lines) == 2
    for line in lines:
        times, user, program, *words = " ".join(line.split()[:5]), *line.split()[5:]
        assert keyturn("next", times, "--count", "1").returncode == 0
        assert (user, program) == ("keyturn", "keyturn")
        # The configuration is not there, which is another complaint than one about the words.
        done = keyturn(*words)
        assert done.returncode == 65, done.stderr


def test_quickstart_runs_twice(tmp_path):
    """With a compiler that has nothing to do: what it builds is the binary under test."""
    stub = tmp_path / "bin"
    stub.mkdir()
    (stub / "swift").write_text(
        "#!/bin/sh\ncase \"$*\" in\n--version) echo \"Swift version ${STUB_VERSION:-6.3} (stub)\" ;;\n"
        f"*--show-bin-path*) echo '{tmp_path}/built' ;;\nesac\n")
    (stub / "swift").chmod(0o700)
    (tmp_path / "built").mkdir()
    (tmp_path / "built/keyturn").symlink_to(BINARY)
    environment = {**os.environ, "PATH": f"{stub}:{os.environ['PATH']}", "HOME": str(tmp_path / "home")}
    environment.pop("XDG_STATE_HOME", None)
    outputs = []
    for _ in range(2):
        done = subprocess.run(
            [ROOT / "deploy/quickstart"], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        outputs.append(done)
    assert "example/app-password: rotated" in outputs[0].stdout
    assert "example/app-password: rotated" not in outputs[1].stdout and "nothing was due" in outputs[1].stderr
    values = {re.search(r"^\$ age .*\n(.{32})$", done.stdout, re.MULTILINE)[1] for done in outputs}
    assert len(values) == 1
    done = subprocess.run(
        [ROOT / "deploy/quickstart"], capture_output=True, text=True, env={**environment, "STUB_VERSION": "5.9"})
    assert done.returncode == 1 and "too old" in done.stderr
    done = subprocess.run([ROOT / "deploy/quickstart", ROOT / "demo"], capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and "lies in the checkout" in done.stderr
    assert not (ROOT / "demo").exists()


@pytest.mark.skipif(shutil.which("docc") is None, reason="no DocC here")
def test_articles_lead_to_each_other(tmp_path):
    done = subprocess.run(
        ["docc", "convert", ARTICLES, "--fallback-display-name", "keyturn", "--fallback-bundle-identifier", "keyturn",
         "--output-dir", tmp_path / "out"], capture_output=True, text=True, timeout=120)
    # Without the compiler's symbols the module itself is the one name that is not known.
    warnings = re.findall(r"^(?:warning|error): .*", done.stdout + done.stderr, re.MULTILINE)
    assert [line for line in warnings if "No symbol matched 'keyturn'" not in line] == []
    assert done.returncode == 0


def test_links_lead_to_files():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target
    for document in DOCUMENTS:
        for article in re.findall(r"<doc:(\w+)>", document.read_text()):
            assert (ARTICLES / f"{article}.md").exists(), (document.name, article)
