"""Backends that no longer hold what was promoted: found by `keyturn drift`, told without a value, put right."""
import json
import os
import signal
import uuid

import pytest

from scripted import Daemon, Scripted, ScriptedBackend, until

FOREIGN = "a-value-of-somebody-else"


def policy(name, backends, more=""):
    return (f"secret: {name}\nissuer: passwords\nlifetime: 30d\nrotate: {{every: 20d}}\ngrace: 1s\n{more}"
            f"backends: [{', '.join(f'{{name: {backend}}}' for backend in backends)}]\n")


def kinds(space, *arguments, codes=(0, 1)):
    answer = space.json("drift", *arguments, codes=codes)
    return {(finding["backend"], finding["kind"]) for finding in answer["findings"]}


@pytest.fixture
def name():
    return f"drift/{uuid.uuid4().hex[:8]}"


@pytest.fixture
def space(workspace, bao, name):
    """One secret in the vault, in OpenBao and in a plain file."""
    workspace.environment = {"KT_BAO": "root"}
    workspace.configure(backends=(
        f"bao: {{type: vault-kv2, address: '{bao.address}', auth: {{token: {{env: KT_BAO}}}}}}\n"
        "local: {type: file, directory: local}\n"))
    workspace.policy("p", policy(name, ["vault", "bao", "local"]))
    done = workspace.run("run", "--once")
    assert done.returncode == 0, done.stderr
    return workspace


def test_no_drift(space):
    done = space.run("drift")
    assert (done.returncode, done.stdout) == (0, "")
    assert "3 of 3 places answered, no drift found" in done.stderr


def test_nothing_to_compare(workspace):
    workspace.policy("p", policy("team/key", ["vault"]))
    done = workspace.run("drift")
    assert (done.returncode, done.stdout) == (0, "") and "no secret has a current version yet" in done.stderr
    assert not (workspace.folder / "var/keyturn.db").exists()
    assert workspace.run("drift", "--repair").returncode == 64
    assert workspace.run("drift", "team/none").returncode == 64


def test_every_backend_is_put_right(space, bao, name):
    value = space.vault_value(name)
    bao.call("POST", f"secret/data/{name}", {"data": {"value": FOREIGN}})
    (space.folder / "local" / name).unlink()
    (space.vault / name / "1.age").write_text("no age file")
    answer = space.json("drift", codes=(1,))
    found = {finding["backend"]: finding for finding in answer["findings"]}
    assert {backend: finding["kind"] for backend, finding in found.items()} == {
        "bao": "value-differs", "local": "value-missing", "vault": "value-differs"}
    assert all(finding["mend"] == f"keyturn drift --repair {name}" for finding in found.values())
    table = space.run("drift", name)
    assert table.returncode == 1
    done = space.run("drift", "--repair", name)
    assert done.returncode == 0, done.stdout + done.stderr
    for text in (json.dumps(answer), table.stdout, table.stderr, done.stdout, done.stderr,
                 space.run("history", "--format", "json").stdout):
        assert FOREIGN not in text and value not in text
    assert space.vault_value(name) == bao.value(name) == (space.folder / "local" / name).read_text() == value
    assert space.stages(name) == {1: "current"}
    events = [json.loads(line) for line in space.run("history", name, "--format", "json").stdout.splitlines()]
    assert [event["detail"].get("reason") for event in events if event["kind"] == "distribution.started"] == ["repair"]
    assert [event["actor"] for event in events if event["kind"] == "distribution.requested"] != ["engine"]
    assert space.run("audit", "verify").returncode == 0


def test_a_version_that_should_be_gone(space, name):
    assert space.run("rotate", name).returncode == 0
    first = (space.vault / name / "1.age").read_bytes()
    until(lambda: space.run("run", "--once").returncode == 0 and space.stages(name)[1] == "retired", "it is retired")
    (space.vault / name / "1.age").write_bytes(first)
    (space.vault / name / "1.age").chmod(0o600)
    (space.vault / name / "7.age").write_bytes(first)
    (space.vault / name / "7.age").chmod(0o600)
    assert kinds(space) == {("vault", "not-pruned"), ("vault", "unknown-version")}
    done = space.run("drift", "--fix", name)
    assert done.returncode == 1
    assert kinds(space) == {("vault", "unknown-version")}
    assert not (space.vault / name / "1.age").exists() and (space.vault / name / "7.age").exists()


def test_another_version_is_current(space, name):
    assert space.run("rotate", name).returncode == 0
    link = space.vault / name / "current"
    link.unlink()
    link.symlink_to("1.age")
    assert kinds(space) == {("vault", "current-disagrees")}
    assert space.run("drift", "--repair", name).returncode == 0
    assert os.readlink(link) == "2.age"


def test_a_pending_label_at_aws(site, aws, name):
    site.policy("p", policy(name, ["aws"]))
    assert site.run("run", "--once").returncode == 0
    assert kinds(site) == set()
    aws.client("secretsmanager").put_secret_value(
        SecretId=name, SecretString=FOREIGN, VersionStages=["keyturn-pending"],
        ClientRequestToken=str(uuid.uuid4()))
    assert kinds(site) == {("aws", "pending-left")}
    aws.client("secretsmanager").put_secret_value(SecretId=name, SecretString=FOREIGN)
    assert kinds(site) == {("aws", "pending-left"), ("aws", "value-differs")}
    site.run("drift", "--repair", name)
    # A label that no version of ours carries is left to a person.
    assert kinds(site) == {("aws", "pending-left")}
    assert aws.value(name) != FOREIGN


def test_what_does_not_answer(space, name):
    text = (space.folder / "keyturn.yaml").read_text()
    address = text.split("address: '")[1].split("'")[0]
    (space.folder / "keyturn.yaml").write_text(text.replace(address, "http://127.0.0.1:9"))
    (space.folder / "local" / name).write_text(FOREIGN)
    assert kinds(space, codes=(1,)) == {("bao", "not-asked"), ("local", "value-differs")}
    assert space.run("drift", "--repair", name).returncode == 1
    assert kinds(space, codes=(1,)) == {("bao", "not-asked")}
    space.policy("p", policy(name, ["bao"]))
    done = space.run("drift")
    assert done.returncode == 69 and "0 of 1 places answered" in done.stderr


def test_a_rotation_that_met_a_foreign_value(space, bao, name):
    bao.call("POST", f"secret/data/{name}", {"data": {"value": FOREIGN}})
    assert space.run("rotate", name, "--wait", "0").returncode == 3
    done = space.run("drift", "--repair", name)
    assert done.returncode == 3 and f"keyturn resume {name}" in done.stderr
    assert space.run("resume", name).returncode == 0
    assert space.run("run", "--once").returncode == 0
    assert bao.value(name) == space.vault_value(name) != FOREIGN


def test_beside_a_daemon(space, bao, name):
    daemon = Daemon(space)
    try:
        value = bao.value(name)
        bao.call("POST", f"secret/data/{name}", {"data": {"value": FOREIGN}})
        assert kinds(space) == {("bao", "value-differs")}
        done = space.run("drift", "--repair", name)
        assert done.returncode == 0, done.stderr
        assert "the running daemon was asked for it" in done.stderr
        assert bao.value(name) == value
    finally:
        assert daemon.stop()[0] == 0


def test_the_daemon_looks_by_itself(workspace, tmp_path):
    sink = Scripted(tmp_path / "sink")
    workspace.configure(
        backends="local: {type: file, directory: local}\n",
        alerts=f"ops: {{type: command, run: ['{sink.program}']}}\n", extra="drift: {every: 1h}\n")
    workspace.policy("p", policy("team/key", ["local"]))
    assert workspace.run("run", "--once").returncode == 0
    file = workspace.folder / "local/team/key"
    value = file.read_text()
    file.write_text(FOREIGN)

    def told():
        return [question["type"] for question in sink.questions()]
    daemon = Daemon(workspace, clock=True)
    try:
        until(lambda: told() == ["keyturn.drift.found"], "drift is told")
        daemon.ahead(3700)
        file.write_text(value)
        daemon.ahead(7400)
        until(lambda: told() == ["keyturn.drift.found", "keyturn.recovered"], "its end is told")
        [data] = [question["data"] for question in sink.questions("keyturn.drift.found")]
        assert data["secret"] == "team/key" and "keyturn drift --repair team/key" in data["advice"]
    finally:
        assert daemon.stop()[0] == 0


def test_killed_in_the_middle(workspace, tmp_path):
    """The answer to a promote is lost with the process: `status` says so, and the next pass tells how it ended."""
    backend = ScriptedBackend(tmp_path / "backend")
    workspace.configure(backends=f"slow: {{type: command, run: ['{backend.program}'], timeout: 60s}}\n")
    workspace.policy("p", policy("team/key", ["slow"]))
    assert workspace.run("run", "--once").returncode == 0
    value = backend.value("team/key")
    store = backend.store()
    store["team/key"]["versions"]["1"] = FOREIGN
    (backend.folder / "store.json").write_text(json.dumps(store))
    backend.fail("promote", after=True, sleep=60)
    process = workspace.start("drift", "--repair", "team/key")
    until(lambda: backend.value("team/key") == value, "the value is back")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    backend.heal()
    status = workspace.status("team/key")
    assert [(unknown["step"], unknown["version"]) for unknown in status["unknown"]] == [("promote:slow", 1)]
    sentence = "the answer to `promote:slow` of version 1 is not known; backend 'slow' is asked at the next pass"
    assert status["unknown"][0]["sentence"] == sentence and status["resolved"] is None
    assert sentence in workspace.run("status").stdout
    done = workspace.run("run", "--once")
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stderr.splitlines() if "unknown outcome resolved" in line]
    for fact in ("secret=team/key", "step=promote:slow", "version=1", "outcome=repeated",
                 'found="the backend has the new value already"', 'action="the step was taken again"'):
        assert fact in line, line
    status = workspace.status("team/key")
    assert status["unknown"] == [] and status["resolved"]["outcome"] == "repeated"
    assert status["resolved"]["step"] == "promote:slow"
    assert "resolved" in workspace.run("status").stdout
    events = [json.loads(line) for line in workspace.run("history", "--format", "json").stdout.splitlines()]
    [event] = [event for event in events if event["kind"] == "step.resolved"]
    assert (event["step"], event["version"], event["detail"]["outcome"]) == ("promote:slow", 1, "repeated")
    assert kinds(workspace) == set()
