"""`keyturn run`: rotates when it is time, stops in good order, reads its policies again, and is alone on its state."""
import json
import os
import signal
import sqlite3

import pytest

from scripted import Daemon, Scripted, ScriptedBackend, ScriptedIssuer, until

DAY = 86_400
POLICY = """\
secret: team/key
issuer: passwords
lifetime: 30d
rotate: {every: 20d, renewBefore: 5d}
grace: 1h
backends: [{name: vault}]
"""


@pytest.fixture
def daemons(workspace):
    """Starts daemons on the workspace, and sees to it that none is left."""
    started = []

    def start(**options):
        started.append(Daemon(workspace, f"daemon{len(started)}", **options))
        return started[-1]
    yield start
    for daemon in started:
        if daemon.process.poll() is None:
            daemon.process.kill()
            daemon.process.wait()


@pytest.fixture
def scripted(workspace):
    """A workspace whose policy uses an issuer, a backend and an alert sink that can be told to misbehave."""
    workspace.issuer = ScriptedIssuer(workspace.folder / "issuer")
    workspace.store = ScriptedBackend(workspace.folder / "store")
    workspace.sink = Scripted(workspace.folder / "sink")
    workspace.configure(
        issuers=f"program: {{type: command, run: [{workspace.issuer.program}], timeout: 60s}}\n",
        backends=f"store: {{type: command, run: [{workspace.store.program}], timeout: 60s}}\n",
        alerts=f"ops: {{type: command, run: [{workspace.sink.program}]}}\n")
    workspace.policy("key", POLICY.replace("passwords", "program").replace("vault}", "vault}, {name: store}"))
    return workspace


def kinds(space):
    return [json.loads(line)["kind"] for line in space.run("history", "--format", "json").stdout.splitlines()]


def test_rotates_when_it_is_due(workspace, daemons):
    workspace.policy("key", POLICY)
    daemon = daemons(clock=True)
    daemon.wait_for("new version is current", 1)
    assert workspace.stages("team/key") == {1: "current"}
    first = workspace.vault_value("team/key")
    # It looks at the clock again within 15 s, whatever was planned.
    daemon.ahead(20 * DAY - 3600)
    daemon.ahead(20 * DAY + 60)
    daemon.wait_for("new version is current", 2)
    assert workspace.stages("team/key") == {1: "previous", 2: "current"}
    assert workspace.vault_value("team/key") != first
    daemon.ahead(20 * DAY + 2 * 3600)
    daemon.wait_for("old version is retired")
    assert workspace.stages("team/key") == {1: "retired", 2: "current"}
    assert daemon.stop()[0] == 0
    assert daemon.said("new version is current") == 2


def test_a_short_interval_on_the_true_clock(workspace, daemons):
    workspace.policy("key", POLICY.replace("every: 20d", "every: 1m").replace("grace: 1h", "grace: 10s"))
    daemon = daemons()
    daemon.wait_for("new version is current", 2, timeout=100)
    promoted = [version["promotedAt"] for version in workspace.status("team/key")["versions"]]
    assert len(promoted) == 2 and promoted[0] < promoted[1]
    daemon.wait_for("old version is retired")
    assert daemon.stop()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_when_nothing_is_under_way(workspace, daemons, number):
    workspace.policy("key", POLICY)
    daemon = daemons()
    daemon.wait_for("new version is current")
    code, seconds = daemon.stop(number)
    assert code == 0 and seconds < 5
    assert "stopped" in daemon.log.read_text()


@pytest.mark.parametrize("operation", ["create", "promote"])
def test_a_step_in_flight_is_finished(scripted, daemons, operation):
    """A step that ends in time is recorded; the next start goes on behind it, with the same key."""
    program = scripted.issuer if operation == "create" else scripted.store
    program.fail(operation, after=True, sleep=3)
    daemon = daemons()
    until(lambda: program.questions(operation), f"the {operation}")
    code, seconds = daemon.stop()
    assert code == 0 and seconds < 10
    assert len(scripted.issuer.keys()) == 1
    again = daemons()
    until(lambda: scripted.stages("team/key") == {1: "current"}, "the end of the rotation")
    must_serve_the_only_key(scripted)
    assert len(scripted.issuer.questions("create")) == 1
    assert again.stop()[0] == 0


@pytest.mark.parametrize("operation", ["create", "promote", "read"])
def test_a_step_that_hangs_is_parked(scripted, daemons, operation):
    """A step that does not end is cut off within 10 s. Nothing is lost, and the next start ends with one key."""
    program = scripted.issuer if operation == "create" else scripted.store
    program.fail(operation, after=True, sleep=50)
    daemon = daemons()
    until(lambda: program.questions(operation), f"the {operation}")
    code, seconds = daemon.stop()
    assert code == 0 and seconds < 12, seconds
    child = program.questions(operation)[0]["pid"]
    until(lambda: not os.path.exists(f"/proc/{child}"), "the end of the program")
    # What a backend serves is read before a key is made, and again after it was promoted.
    assert len(scripted.issuer.keys()) == (operation != "read")
    again = daemons()
    again.wait_for("new version is current")
    must_serve_the_only_key(scripted)
    if operation != "create":
        assert len(scripted.issuer.questions("create")) == 1, "a key that was there was made again"
    assert again.stop()[0] == 0


def must_serve_the_only_key(space):
    [key] = space.issuer.keys().values()
    assert space.vault_value("team/key") == space.store.value("team/key") == key["value"]
    assert [stage for stage in space.stages("team/key").values() if stage == "current"] == ["current"]
    assert space.run("audit", "verify").returncode == 0


def test_killed_in_the_middle(scripted, daemons):
    """After kill -9 the next start goes on at once: the claims of a dead process hold nobody up."""
    scripted.store.fail("promote", after=True, sleep=50)
    daemon = daemons()
    until(lambda: scripted.store.questions("promote"), "the promote")
    daemon.stop(signal.SIGKILL)
    os.kill(scripted.store.questions("promote")[0]["pid"], signal.SIGKILL)
    done = scripted.run("run", "--once")
    assert done.returncode == 0 and "team/key: rotated" in done.stdout, (done.stdout, done.stderr)
    must_serve_the_only_key(scripted)
    assert len(scripted.issuer.questions("create")) == 1


def test_a_reload_brings_new_policies(workspace, daemons):
    workspace.policy("key", POLICY)
    daemon = daemons()
    daemon.wait_for("new version is current", 1)
    workspace.policy("other", POLICY.replace("team/key", "team/other"))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("reloaded")
    daemon.wait_for("new version is current", 2)
    assert workspace.stages("team/other") == {1: "current"}
    # A policy that is gone leaves its key alone.
    (workspace.folder / "schedules/key.yaml").unlink()
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("reloaded", 2)
    assert workspace.stages("team/key") == {1: "current"}
    assert workspace.vault_value("team/key")
    assert daemon.stop()[0] == 0


def test_a_reload_that_is_wrong_changes_nothing(scripted, daemons):
    daemon = daemons(clock=True)
    daemon.wait_for("new version is current", 1)
    scripted.policy("bad", POLICY.replace("team/key", "team/bad").replace("20d", "twenty days"))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("reload refused")
    assert "schedules/bad.yaml:4:" in daemon.log.read_text(), "it is said what is wrong, and where"
    [alert] = until(lambda: scripted.sink.questions("keyturn.reload.failed"), "the alert")
    assert alert["data"]["severity"] == "error" and "keyturn validate" in alert["data"]["advice"]
    # The old policies are in force: the next rotation comes by them.
    daemon.ahead(20 * DAY + 60)
    daemon.wait_for("new version is current", 2)
    scripted.policy("bad", POLICY.replace("team/key", "team/bad"))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("new version is current", 3)
    assert scripted.stages("team/bad") == {1: "current"}
    assert daemon.stop()[0] == 0


def test_a_reload_without_a_configuration(scripted, daemons):
    daemon = daemons()
    daemon.wait_for("new version is current")
    (scripted.folder / "keyturn.yaml").rename(scripted.folder / "away.yaml")
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("reload refused")
    until(lambda: scripted.sink.questions("keyturn.reload.failed"), "the alert")
    (scripted.folder / "away.yaml").rename(scripted.folder / "keyturn.yaml")
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("reloaded")
    assert daemon.stop()[0] == 0


def test_alone_on_the_state(workspace, daemons):
    workspace.policy("key", POLICY)
    daemon = daemons()
    daemon.wait_for("new version is current")
    for arguments in (["run"], ["run", "--once"]):
        done = workspace.run(*arguments)
        assert done.returncode == 75, (arguments, done.returncode, done.stderr)
        assert f"process {daemon.process.pid}" in done.stderr
    assert daemon.stop()[0] == 0
    assert workspace.run("run", "--once").returncode == 0


def test_reads_work_beside_it(scripted, daemons):
    scripted.store.fail("promote", after=True, sleep=2)
    daemon = daemons()
    until(lambda: scripted.store.questions("promote"), "the promote")
    # In the middle of a rotation.
    assert scripted.status("team/key")["rotation"]["step"]
    for arguments in (["report"], ["history"], ["explain", "team/key"], ["audit", "verify"], ["validate"],
                      ["vault", "list"], ["orphans", "list"]):
        done = scripted.run(*arguments)
        assert done.returncode == 0, (arguments, done.stderr)
    daemon.wait_for("new version is current")
    assert scripted.stages("team/key") == {1: "current"}
    assert daemon.stop()[0] == 0


def test_pause_works_beside_it(workspace, daemons):
    workspace.policy("key", POLICY)
    workspace.policy("other", POLICY.replace("team/key", "team/other"))
    daemon = daemons(clock=True)
    daemon.wait_for("new version is current", 2)
    assert workspace.run("pause", "team/key").returncode == 0
    daemon.ahead(20 * DAY + 60)
    daemon.wait_for("new version is current", 3)
    assert workspace.stages("team/key") == {1: "current"}
    assert workspace.stages("team/other") == {1: "previous", 2: "current"}
    assert daemon.stop()[0] == 0
    assert kinds(workspace).count("secret.paused") == 1


# --- states that can't be used

def with_state(workspace):
    workspace.policy("key", POLICY)
    assert workspace.run("run", "--once").returncode == 0
    return workspace.folder / "var/keyturn.db"


COMMANDS = [["run", "--once"], ["run"], ["status"], ["report"], ["history"], ["pause", "team/key"]]


def test_a_state_of_a_newer_keyturn(workspace):
    path = with_state(workspace)
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("INSERT INTO grdb_migrations VALUES ('999 what is to come')")
    database.close()
    for arguments in COMMANDS:
        done = workspace.run(*arguments)
        assert done.returncode == 65, (arguments, done.returncode, done.stderr)
        assert "newer Keyturn" in done.stderr and "999 what is to come" in done.stderr
    assert workspace.run("validate").returncode == 0


def damage(path, kind):
    content = bytearray(path.read_bytes())
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)
    if kind == "garbage":
        content = bytearray(b"this is no database" * 1000)
    elif kind == "cut":
        content = content[:4096 + 100]
    elif kind == "overwritten pages":
        for index in range(4096, len(content)):
            content[index] = 0xA5
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["garbage", "cut", "overwritten pages"])
def test_a_damaged_state(workspace, kind):
    path = with_state(workspace)
    before = workspace.vault_value("team/key")
    sqlite3.connect(path, isolation_level=None).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damage(path, kind)
    for arguments in COMMANDS:
        done = workspace.run(*arguments)
        assert done.returncode == 1, (arguments, done.returncode, done.stderr)
        assert "the state is damaged" in done.stderr and "backup" in done.stderr, (arguments, done.stderr)
        assert "SELECT" not in done.stderr and "Fatal" not in done.stderr
    assert workspace.vault_value("team/key") == before


def test_a_damaged_record(workspace):
    path = with_state(workspace)
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("UPDATE versions SET state = '{\"number\": 1'")
    database.close()
    for arguments in (["run", "--once"], ["status"], ["report"]):
        done = workspace.run(*arguments)
        assert done.returncode == 1 and "damaged" in done.stderr, (arguments, done.returncode, done.stderr)


def test_another_database(workspace):
    """A database of somebody else's is refused, not taken over."""
    workspace.policy("key", POLICY)
    path = workspace.folder / "var/keyturn.db"
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("CREATE TABLE secrets (mine TEXT)")
    database.execute("INSERT INTO secrets VALUES ('precious')")
    path.chmod(0o600)
    done = workspace.run("run", "--once")
    assert done.returncode not in (0, 2) and done.returncode < 128, done.stderr
    assert "state" in done.stderr
    assert database.execute("SELECT mine FROM secrets").fetchall() == [("precious",)]


def test_a_state_that_is_a_folder_or_a_link(workspace):
    workspace.policy("key", POLICY)
    path = workspace.folder / "var/keyturn.db"
    path.mkdir()
    done = workspace.run("run", "--once")
    assert done.returncode in (1, 77) and "state" in done.stderr, done.stderr
    path.rmdir()
    (workspace.folder / "elsewhere.db").write_text("")
    path.symlink_to(workspace.folder / "elsewhere.db")
    done = workspace.run("run", "--once")
    assert done.returncode in (1, 77) and "state" in done.stderr, done.stderr
    assert (workspace.folder / "elsewhere.db").read_text() == ""
