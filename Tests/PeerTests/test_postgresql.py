"""Passwords of PostgreSQL roles on a real server, used by its own client library."""
import datetime
import json
import pathlib
import re
import subprocess
import time
import urllib.parse

import psycopg
import pytest
from psycopg import sql

from peers.pki import Authority
from peers.postgresql import BINARIES
from renewals import fifty_rotations
from workspace import run

ROOT = pathlib.Path(__file__).parents[2]


def configure(space, postgres, more="", **changed):
    settings = {"host": "127.0.0.1", "port": postgres.port, "user": "keyturn", "password": "{env: KT_PG}",
                "sslMode": "verify-full", "caFile": postgres.ca, **changed}
    parts = ", ".join(f"{name}: {value}" for name, value in settings.items() if value is not None)
    space.configure(issuers=f"db: {{type: postgresql-role, {parts}{more}}}\n",
                    backends="files: {type: file, directory: var/files}\n")
    space.environment["KT_PG"] = postgres.admin_password


def policy(space, issue, backends="[{name: files}]", grace="2d", more="", name="app/db"):
    space.policy("db", f"secret: {name}\nissuer: db\nissue: {{{issue}}}\nlifetime: 30d\nrotate: {{every: 20d}}\n"
                       f"grace: {grace}\nverify: [{{type: issuer}}]\nbackends: {backends}\n{more}")


def quoted(names):
    return json.dumps(names)


def value(space, name="app/db"):
    return (space.folder / "var/files" / name).read_text()


@pytest.fixture
def space(workspace, postgres):
    configure(workspace, postgres)
    return workspace


def test_nobody_is_refused_during_fifty_rotations(space, postgres):
    roles = postgres.add_roles()
    # The certificate does not live for as long as this takes by the clock of the test.
    configure(space, postgres, sslMode="disable")
    policy(space, f"users: {quoted(roles)}, format: url, alphabet: ascii")

    def only(turn, _):
        assert list(postgres.verifiers(roles)) == [roles[turn % 2]]
    seen, end = fifty_rotations(
        space, space.folder / "var/files/app/db", postgres.opens, lambda turn: roles[turn % 2], only)
    # The server's log has every statement, and none of the passwords.
    log = postgres.log.read_text()
    for url in seen:
        password = urllib.parse.unquote(url.split(":")[2].split("@")[0])
        assert len(password) == 32 and password not in log and url not in log
    assert len(re.findall(rf'ALTER ROLE "?{roles[0]}"? PASSWORD \'SCRAM-SHA-256\$4096:', log)) == 26
    run(space, "audit", "verify", at=end)


def test_what_the_server_keeps_and_consumers_get(space, postgres):
    roles = postgres.add_roles(name='we"ird; DROP ROLE keyturn; --')
    template = ('{"login": "{{user}}", "word": "{{password}}", "at": "{{host}}:{{port}}/{{database}}", "all": "{{url}}"}')
    policy(space, f"users: {quoted(roles)}, iterations: 12000, validUntil: true, length: 40",
           backends=f"[{{name: files}}, {{name: vault, template: '{template}'}}]")
    run(space, "run", "--once")
    pair = json.loads(value(space))
    assert set(pair) == {"user", "password"} and pair["user"] == roles[0] and len(pair["password"]) == 40
    assert postgres.login(**pair) == roles[0]
    whole = json.loads(space.vault_value("app/db"))
    assert whole["login"] == roles[0] and whole["word"] == pair["password"]
    assert whole["at"] == f"127.0.0.1:{postgres.port}/postgres" and postgres.opens(whole["all"]) == roles[0]
    assert re.fullmatch(r"SCRAM-SHA-256\$12000:.*", postgres.verifiers(roles)[roles[0]])
    [end] = postgres.rows("SELECT rolvaliduntil FROM pg_roles WHERE rolname = {}", roles[0])[0]
    [version] = space.status("app/db")["versions"]
    assert f"{end.astimezone(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}" == version["expiresAt"]
    assert version["keyId"].startswith(f"{roles[0]}/")


def retired(space, version):
    deadline = time.monotonic() + 60
    while space.stages("app/db")[version] != "retired":
        assert time.monotonic() < deadline
        time.sleep(0.5)
        run(space, "run", "--once")


def test_taken_over_rolled_back_and_compromised(space, postgres, tmp_path):
    roles = postgres.add_roles()
    postgres.run("ALTER ROLE {} PASSWORD 'made by hand'", sql.Identifier(roles[1]))
    policy(space, f"users: {quoted(roles)}", grace="8s")
    file = tmp_path / "old.txt"
    file.write_text("made by hand")
    file.chmod(0o600)
    run(space, "adopt", "app/db", "--from", str(file))
    run(space, "rotate", "app/db")
    first = json.loads(value(space))
    assert first["user"] == roles[0] and postgres.login(**first), "the one in use was found out"
    assert postgres.login(roles[1], "made by hand")
    run(space, "rollback", "app/db")
    assert value(space) == "made by hand" and postgres.login(roles[1], "made by hand")
    # There is room for two, so that the one that was rolled back goes first.
    retired(space, 2)
    assert postgres.login(**first) is None
    run(space, "rotate", "app/db")
    retired(space, 1)
    second = json.loads(value(space))
    assert second["user"] == roles[0] and postgres.login(**second)
    assert postgres.login(roles[1], "made by hand") is None and list(postgres.verifiers(roles)) == [roles[0]]
    # A leaked one goes at once, and also before the next one is made.
    for first in ("revoke-last", "revoke-first"):
        policy(space, f"users: {quoted(roles)}", more=f"retire: {{onCompromise: {first}}}\n")
        leaked = json.loads(value(space))
        with psycopg.connect(host="127.0.0.1", port=postgres.port, dbname="postgres", **leaked):
            run(space, "rotate", "app/db", "--compromised")
        assert postgres.login(**leaked) is None
        now = json.loads(value(space))
        assert now["user"] != leaked["user"] and postgres.login(**now)


def test_a_role_in_use_is_not_locked_out(space, postgres):
    roles = postgres.add_roles()
    postgres.run("ALTER ROLE {} PASSWORD 'by hand'", sql.Identifier(roles[0]))
    policy(space, f"users: {quoted(roles)}")
    with psycopg.connect(host="127.0.0.1", port=postgres.port, user=roles[0], password="by hand", dbname="postgres"):
        done = run(space, "run", "--once", "--wait", "0", code=3)
        assert "is in use, and a new password would lock its users out" in done.stderr
    assert postgres.login(roles[0], "by hand")
    # With the idle one first it goes.
    policy(space, f"users: {quoted(roles[::-1])}")
    run(space, "resume", "app/db")
    run(space, "run", "--once")
    assert json.loads(value(space))["user"] == roles[1] and postgres.login(roles[0], "by hand")


def test_a_single_role_changes_at_once_and_is_warned_of(space, postgres):
    [role] = postgres.add_roles(1)
    policy(space, f"user: {role}")
    done = run(space, "validate")
    assert "stops before consumers have the new one" in done.stdout and "warning" in done.stdout
    run(space, "run", "--once")
    first = value(space)
    assert len(first) == 32 and postgres.login(role, first) == role
    run(space, "rotate", "app/db")
    assert postgres.login(role, first) is None and postgres.login(role, value(space)) == role
    run(space, "rotate", "app/db", "--compromised")
    assert postgres.login(role, value(space)) == role, "the end of the old one does not end the new one"


def test_faults_are_told_apart(space, postgres, tmp_path):
    roles = postgres.add_roles()

    def fails(words, issue=f"users: {quoted(roles)}", code=69, **changed):
        configure(space, postgres, **changed)
        policy(space, issue)
        done = space.run("validate", "--online")
        assert done.returncode != 0 and words in done.stdout + done.stderr, (words, done.stdout, done.stderr)
        assert "app_a" not in postgres.verifiers(roles)

    fails("has no role nobody", 'users: ["nobody", "else"]')
    [sleeper, other] = postgres.add_roles(options="NOLOGIN")
    fails("may not log in", f"users: {quoted([sleeper, other])}")
    fails("may not change the role admin", f'users: ["admin", "{roles[0]}"]')
    fails("Keyturn is not let in", user=roles[0])
    fails("may not change the role", user="trusting")
    fails("there is no such database", database="nowhere")
    fails("could not be trusted", caFile=Authority(tmp_path, "stranger").file)
    fails("is out of reach", port=1)
    fails("asks Keyturn for a password", password=None)
    # A password that proves nothing, and a role that is never let in.
    configure(space, postgres)
    for role, words in (("trusting", "lets the role trusting in without a password"),
                        ("barred", "does not let the role barred in from here")):
        policy(space, f'users: ["{role}", "{roles[0]}"]', name=f"app/{role}")
        done = space.run("run", "--once", "--wait", "0")
        assert done.returncode != 0 and words in done.stderr, done.stderr
        assert not (space.folder / f"var/files/app/{role}").exists()
    # Passwords that end by themselves before ours would.
    postgres.run("ALTER ROLE {} VALID UNTIL '2020-01-01'", sql.Identifier(roles[0]))
    policy(space, f"users: {quoted(roles)}", name="app/old")
    assert "end before the new one would" in run(space, "run", "--once", "--wait", "0", code=3).stderr
    policy(space, f"users: {quoted(roles)}, validUntil: true", name="app/old")
    run(space, "resume", "app/old")
    run(space, "rotate", "app/old")
    assert postgres.login(**json.loads(value(space, "app/old"))) == roles[0]


@pytest.mark.parametrize("mode", ["ACCESS EXCLUSIVE", "SHARE"], ids=["login", "statement"])
def test_a_session_that_is_ended_from_outside(space, postgres, mode):
    """While it logs in, which reads the roles, or in the middle of its statement, which writes them."""
    roles = postgres.add_roles()
    policy(space, f"users: {quoted(roles)}")
    with psycopg.connect(host=str(postgres.folder), port=postgres.port, user="admin", dbname="postgres") as lock:
        lock.execute(f"LOCK TABLE pg_catalog.pg_authid IN {mode} MODE")
        process = space.start("run", "--once", "--wait", "60s")
        deadline = time.monotonic() + 30
        while not postgres_waits(lock):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        lock.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted")
    assert process.wait(90) == 0, process.stderr.read()
    assert postgres.login(**json.loads(value(space))) == roles[0]


def postgres_waits(connection):
    return connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()[0] > 0


def test_rights_suffice(space, postgres):
    roles = postgres.add_roles()
    script = (ROOT / "deploy/rights/postgresql-role.sql").read_text()
    script = script.replace("keyturn LOGIN", "least LOGIN").replace("TO keyturn", "TO least").replace(
        "app_a, app_b", ", ".join(roles))
    subprocess.run(
        [BINARIES / "psql", "-v", "ON_ERROR_STOP=1", "-h", postgres.folder, "-p", str(postgres.port), "-U", "admin",
         "-d", "postgres"], input=script, text=True, check=True, capture_output=True)
    postgres.run("ALTER ROLE least PASSWORD {}", postgres.admin_password)
    configure(space, postgres, user="least")
    policy(space, f"users: {quoted(roles)}")
    run(space, "validate", "--online")
    run(space, "run", "--once")
    run(space, "rotate", "app/db", "--compromised")
    assert postgres.login(**json.loads(value(space))) == roles[1]
    # Without it nothing goes.
    postgres.run("ALTER ROLE least NOCREATEROLE")
    assert "may not change the role" in run(space, "rotate", "app/db", "--wait", "0", code=3).stderr
