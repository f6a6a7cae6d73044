"""Programs of the user's as issuer, backend and check: the protocol, and every way in which a program can fail."""
import datetime
import json
import os
import signal
import time

import pytest

from scripted import ScriptedBackend, ScriptedIssuer, until

START = datetime.datetime(2027, 3, 1, 12, 0, 0, tzinfo=datetime.timezone.utc)
HOUR = datetime.timedelta(hours=1)


@pytest.fixture
def site(workspace):
    workspace.issuer = ScriptedIssuer(workspace.folder / "issuer")
    workspace.store = ScriptedBackend(workspace.folder / "store")
    configure(workspace)
    workspace.policy("key", policy())
    return workspace


def configure(space, issuer="disables: true", backend="stages: false"):
    space.configure(
        issuers=f"program: {{type: command, run: [{space.issuer.program}], timeout: 20s, {issuer}}}\n",
        backends=f"store: {{type: command, run: [{space.store.program}], timeout: 20s, {backend}}}\n")


def policy(more="", backends="[{name: vault}, {name: store, path: place/of/key}]"):
    return ("secret: team/key\nissuer: program\nissue: {parameters: {scope: [read, 3], deep: {a: null, b: 1.5}}}\n"
            f"lifetime: 30d\nrotate: {{every: 20d}}\ngrace: 2h\nverify: [{{type: issuer}}]\n{more}"
            f"backends: {backends}\n")


def once(space, at=START, codes=(0,), wait="0"):
    done = space.run("run", "--once", "--wait", wait, at=at)
    assert done.returncode in codes, (done.returncode, done.stdout, done.stderr)
    return done


def must_end_well(space, at=START + HOUR, keys=1):
    """The next passes end with one key, everywhere, and nothing left over at the issuer."""
    for index in range(6):
        if space.status("team/key", at=at)["quarantined"]:
            assert space.run("resume", "team/key", at=at).returncode == 0
        if once(space, at, (0, 1, 3)).returncode == 0:
            break
        at += HOUR
    value = space.vault_value("team/key")
    assert space.store.value("place/of/key") == value
    assert space.issuer.accepts(value)
    assert len(space.issuer.keys()) == keys, "a key too many, or too few"
    stages = space.stages("team/key", at=at)
    assert list(stages.values()).count("current") == 1 and "pending" not in stages.values()


# --- the protocol

def test_the_questions(site):
    once(site)
    [create] = site.issuer.questions("create")
    assert {name: create[name] for name in ("secret", "version", "lifetimeSeconds", "parameters")} == {
        "secret": "team/key", "version": 1, "lifetimeSeconds": 30 * 86_400,
        "parameters": {"parameters": {"scope": ["read", 3], "deep": {"a": None, "b": 1.5}}}}
    assert create["lineage"].startswith("keyturn:team/key:1:")
    assert site.issuer.questions("check")[0]["value"] == site.vault_value("team/key")
    [promote] = site.store.questions("promote")
    assert (promote["path"], promote["secret"], promote["version"], promote.get("replaces")) == (
        "place/of/key", "team/key", 1, None)
    assert promote["value"] == site.vault_value("team/key") and len(promote["idempotencyKey"]) == 64
    assert site.store.questions("stage") == []
    # Everything that can be asked before is asked before the key is made.
    assert site.store.questions("probe")[0]["at"] < create["at"]

    assert site.run("rotate", "team/key", at=START).returncode == 0
    second = site.store.questions("promote")[1]
    assert (second["version"], second["replaces"]) == (2, 1)
    assert second["idempotencyKey"] != promote["idempotencyKey"]
    once(site, START + 3 * HOUR)
    [revoke] = site.issuer.questions("revoke")
    assert revoke["version"] == 1 and revoke["keyId"].startswith("k") and "value" not in revoke
    [prune] = site.store.questions("prune")
    assert (prune["path"], prune["version"], prune["receipt"]) == ("place/of/key", 1, {"number": "1"})
    assert len(site.issuer.keys()) == 1
    assert list(site.store.store()["place/of/key"]["versions"]) == ["2"]


def test_a_backend_that_stages(site):
    configure(site, backend="stages: true")
    once(site)
    order = [question["operation"] for question in site.store.questions()]
    assert order.index("stage") < order.index("promote")
    checked = site.issuer.questions("check")[0]["at"]
    assert site.store.questions("stage")[0]["at"] < checked < site.store.questions("promote")[0]["at"]
    assert site.store.questions("promote")[0]["receipt"] == {"number": "1"}


def test_a_version_that_does_not_work_is_taken_back(site):
    configure(site, backend="stages: true")
    once(site)
    first = site.vault_value("team/key")
    site.issuer.fail("check", print='{"status": "refused"}')
    done = site.run("rotate", "team/key", "--wait", "0", at=START + HOUR)
    must_end_well(site, START + 2 * HOUR, keys=2)
    assert site.store.questions("unstage"), done.stderr
    assert first in {key["value"] for key in site.issuer.keys().values()}
    refused = next(question for question in site.issuer.questions("check") if question["version"] == 2)
    assert not site.issuer.accepts(refused["value"]), "the key that nobody can use is still there"


def test_observe_disables_first(site):
    site.policy("key", policy("retire: {observe: 6h}\n"))
    once(site)
    assert site.run("rotate", "team/key", at=START).returncode == 0
    once(site, START + 3 * HOUR)
    assert site.stages("team/key", at=START + 3 * HOUR) == {1: "disabled", 2: "current"}
    assert [key["enabled"] for key in site.issuer.keys().values()] == [False, True]
    once(site, START + 10 * HOUR)
    assert site.stages("team/key", at=START + 10 * HOUR) == {1: "retired", 2: "current"}
    assert len(site.issuer.keys()) == 1


def test_what_a_program_gets_to_see(site):
    """Neither values nor our own environment stand where others could read them."""
    (site.folder / "spy").write_text(
        f"#!/bin/sh\ntr '\\0' '\\n' < /proc/self/environ > {site.folder}/environ\n"
        f"tr '\\0' ' ' < /proc/$$/cmdline > {site.folder}/arguments\ncat > /dev/null\n")
    (site.folder / "spy").chmod(0o755)
    site.policy("key", policy("").replace(
        "verify: [{type: issuer}]", "verify: [{type: issuer}, {type: command, run: [./spy, --stdin]}]"))
    site.environment = {"UNRELATED_SECRET": "hunter2", "HOME": "/nowhere"}
    once(site)
    environment = (site.folder / "environ").read_text()
    assert "hunter2" not in environment and "UNRELATED_SECRET" not in environment
    assert "HOME=/nowhere" in environment and "PATH=" in environment
    value = site.vault_value("team/key")
    assert value not in environment + (site.folder / "arguments").read_text()


# --- every way to fail

# name: (fault, code in the status, whether the outcome is unknown)
FAULTS = {
    "crash": (dict(signal=signal.SIGKILL), "local", True),
    "segfault": (dict(signal=signal.SIGSEGV), "local", True),
    "status": (dict(status=9), "local", True),
    "nothing": (dict(), "badAnswer", True),
    "garbage": (dict(print="\\x00\\xff not json {"), "badAnswer", True),
    "other JSON": (dict(print='["a list"]'), "badAnswer", True),
    "two answers": (dict(print='{"a": 1}\n{"b": 2}'), "badAnswer", True),
    "oversized": (dict(flood=1 << 20), "badAnswer", True),
    "hangs": (dict(sleep=60), "timedOut", True),
    "unavailable": (dict(print='{"error": {"code": "unavailable"}}'), "unavailable", False),
    "rate limited": (dict(print='{"error": {"code": "rateLimited", "retryAfter": 600}}'), "rateLimited", False),
    "retryable": (dict(print='{"error": {"code": "conflict", "retryable": true}}'), "conflict", False),
    "forbidden": (dict(print='{"error": {"code": "forbidden"}}'), "forbidden", False),
    "unknown code": (dict(print='{"error": {"code": "whatever"}}'), "badRequest", False),
    "not retryable": (dict(print='{"error": {"code": "unavailable", "retryable": false}}'), "unavailable", False),
    "refusal with a status": (dict(print='{"error": {"code": "unavailable"}}', status=3), "unavailable", False),
}
PERMANENT = {"forbidden", "unknown code", "not retryable"}


def fail(space, program, operation, name, after=False):
    """Arms a fault, and gives the code that must be told."""
    fault, code, _ = FAULTS[name]
    if name == "hangs":
        limit = "timeout: 20s"
        path = space.folder / "keyturn.yaml"
        path.write_text(path.read_text().replace(limit, "timeout: 1s"))
    program.fail(operation, after=after, **fault)
    return code


def must_be_told(space, done, name, code, at=START):
    """Passing errors are tried again, permanent ones wait for a person; the cause has a stable word."""
    assert done.returncode == (3 if name in PERMANENT else 1), (done.returncode, done.stdout, done.stderr)
    status = space.status("team/key", at=at)
    assert bool(status["quarantined"]) == (name in PERMANENT)
    assert status["rotation"]["lastError"].startswith(f"{code}: "), status["rotation"]
    assert "not json" not in done.stdout + done.stderr and "xxxx" not in done.stdout + done.stderr
    assert len(done.stdout + done.stderr) < 5_000


@pytest.mark.parametrize("name", FAULTS)
def test_the_issuer_fails_before_it_made_a_key(site, name):
    code = fail(site, site.issuer, "create", name)
    done = once(site, START, (1, 3))
    must_be_told(site, done, name, code)
    assert site.issuer.keys() == {} and site.vault_value("team/key") is None
    must_end_well(site)


@pytest.mark.parametrize("name", [name for name, (_, _, unknown) in FAULTS.items() if unknown])
def test_the_issuer_fails_after_it_made_a_key(site, name):
    """The key's text is lost. The program is asked what it made, and the orphan is revoked before another is made."""
    code = fail(site, site.issuer, "create", name, after=True)
    done = once(site, START, (1, 3))
    must_be_told(site, done, name, code)
    [lost] = site.issuer.keys()
    must_end_well(site)
    assert site.issuer.questions("list"), "the issuer was not asked what became of it"
    assert [question["keyId"] for question in site.issuer.questions("revoke")] == [lost]
    assert len(site.issuer.questions("create")) == 2


# A refusal says that nothing was stored; all else may come after it was.
@pytest.mark.parametrize("name, after", [(name, after) for name, (_, _, unknown) in FAULTS.items()
                                         for after in ((False, True) if unknown else (False,))])
def test_the_backend_fails(site, name, after):
    once(site)
    first = site.vault_value("team/key")
    code = fail(site, site.store, "promote", name, after)
    done = site.run("rotate", "team/key", "--wait", "0", at=START + HOUR)
    must_be_told(site, done, name, code, START + HOUR)
    # Whatever happened, the value that the consumers have works.
    for value in (site.store.value("place/of/key"), site.vault_value("team/key")):
        assert site.issuer.accepts(value)
    must_end_well(site, START + 2 * HOUR, keys=2)
    assert len(site.issuer.questions("create")) == 2, "a key that was there was made again"
    assert site.vault_value("team/key") != first


@pytest.mark.parametrize("name", ["crash", "garbage", "hangs", "unavailable"])
@pytest.mark.parametrize("operation", ["probe", "read", "prune", "check", "revoke"])
def test_other_steps_fail(site, operation, name):
    once(site)
    program = site.issuer if operation in ("check", "revoke") else site.store
    fail(site, program, operation, name)
    site.run("rotate", "team/key", "--wait", "0", at=START + HOUR)
    for hours in range(2, 9):
        once(site, START + hours * HOUR, (0, 1))
        stages = site.stages("team/key", at=START + hours * HOUR)
        if stages == {1: "retired", 2: "current"}:
            break
    assert stages == {1: "retired", 2: "current"}, stages
    must_end_well(site, START + 9 * HOUR)
    assert len(site.issuer.questions("create")) == 2
    assert site.run("audit", "verify").returncode == 0


def test_a_program_that_is_absent(site):
    configure(site)
    site.issuer.program.unlink()
    done = once(site, START, (3,))
    assert "can't be started" in done.stdout + done.stderr
    assert site.status("team/key", at=START)["quarantined"]


def test_retry_after_is_obeyed(site):
    site.issuer.fail("create", print='{"error": {"code": "rateLimited", "retryAfter": 600}}')
    once(site, START, (1,))
    due = datetime.datetime.fromisoformat(site.status("team/key", at=START)["rotation"]["nextAttempt"])
    assert datetime.timedelta(seconds=590) < due - START < datetime.timedelta(seconds=700)
    once(site, START + datetime.timedelta(seconds=300), (0, 1))
    assert len(site.issuer.questions("create")) == 1
    once(site, START + datetime.timedelta(seconds=700))
    assert len(site.issuer.questions("create")) == 2


def test_a_program_that_hangs_is_ended_with_its_children(site):
    marker = site.folder / "children"
    inner = site.issuer.folder / "program"
    inner.write_text(f"#!/bin/sh\ntrap '' TERM\nsleep 300 &\necho $! > {marker}\necho $$ >> {marker}\ncat\nwait\n")
    path = site.folder / "keyturn.yaml"
    path.write_text(path.read_text().replace("timeout: 20s", "timeout: 1s"))
    begin = time.monotonic()
    done = site.run("run", "--once", "--wait", "0")
    assert done.returncode == 1 and "did not end within" in done.stdout + done.stderr
    assert time.monotonic() - begin < 30
    for pid in marker.read_text().split():
        until(lambda pid=pid: not os.path.exists(f"/proc/{pid}") or "Z" == open(
            f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0], f"the end of process {pid}")


@pytest.mark.parametrize("size", [0, 1, 60_000])
def test_values_of_any_size(site, size):
    site.issuer.fail("create", print=json.dumps({"keyId": "big", "value": "v" * size}))
    site.issuer.fail("check", times=9, print='{"status": "works"}')
    done = once(site, START, (0, 1, 3))
    if size == 0:
        assert done.returncode == 1 and "without a value" in done.stdout + done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert site.store.value("place/of/key") == site.vault_value("team/key") == "v" * size


def test_a_value_with_every_character(site):
    value = "".join(map(chr, range(1, 0x250))) + "\u2028\U0001f511"
    site.issuer.fail("create", print=json.dumps({"keyId": "odd", "value": value, "fields": {"user": 'a"b\\'}}))
    site.issuer.fail("check", times=9, print='{"status": "works"}')
    site.policy("key", policy(backends="[{name: vault, template: '{\"v\": \"{{value}}\", \"u\": \"{{user}}\"}'}, "
                                       "{name: store, path: place/of/key}]"))
    once(site)
    assert site.store.value("place/of/key") == value
    assert json.loads(site.vault_value("team/key")) == {"v": value, "u": 'a"b\\'}
    shown = site.run("vault", "show", "team/key", text=False).stdout
    assert json.loads(shown.decode()) == {"v": value, "u": 'a"b\\'}


@pytest.mark.parametrize("answer", ["works", "cannotTell", "notYet", "refused", "perhaps"])
def test_answers_of_check(site, answer):
    site.issuer.fail("check", print=json.dumps({"status": answer}))
    done = once(site, START, (0, 1, 3))
    if answer in ("works", "cannotTell", "notYet"):
        assert done.returncode == 0, (done.stdout, done.stderr)
        # Two good answers after a bad one.
        assert len(site.issuer.questions("check")) == (3 if answer == "notYet" else 1)
    elif answer == "perhaps":
        assert done.returncode == 1
        assert site.status("team/key", at=START)["rotation"]["lastError"].startswith("badAnswer")
    must_end_well(site)
    assert len(site.issuer.questions("create")) == (2 if answer == "refused" else 1)


@pytest.mark.parametrize("status", [0, 1, 75])
def test_a_command_check(site, status):
    """0 is yes, 75 not yet, anything else no; the key comes on standard input alone."""
    (site.folder / "check").write_text(
        f"#!/bin/sh\ncat > {site.folder}/got.$$\nmkdir {site.folder}/once 2>/dev/null && exit {status}\nexit 0\n")
    (site.folder / "check").chmod(0o755)
    site.policy("key", policy().replace("{type: issuer}", "{type: issuer}, {type: command, run: [./check]}"))
    once(site, START, (0, 1))
    must_end_well(site)
    got = [path.read_text() for path in site.folder.glob("got.*")]
    assert site.vault_value("team/key") in got
    assert len(set(got)) == (2 if status == 1 else 1), "a refused key is replaced, another is asked about again"


def test_a_backend_that_does_not_read_back(site):
    configure(site, backend="readsBack: false")
    once(site)
    assert site.store.questions("read") == []
    assert site.run("rotate", "team/key", at=START).returncode == 0
    once(site, START + 3 * HOUR)
    must_end_well(site, START + 4 * HOUR)


def test_a_backend_that_lies(site):
    """It says that it stored the value and shows another: nothing is retired on its word."""
    once(site)
    site.store.fail("promote", print='{"receipt": {"number": "2"}}')
    done = site.run("rotate", "team/key", "--wait", "0", at=START)
    assert done.returncode == 1, (done.stdout, done.stderr)
    once(site, START + 3 * HOUR, (0, 1))
    for value in (site.store.value("place/of/key"), site.vault_value("team/key")):
        assert site.issuer.accepts(value)
    once(site, START + 4 * HOUR, (0, 1))
    must_end_well(site, START + 8 * HOUR)
