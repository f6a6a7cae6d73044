"""Passwords of Redis users on a real server, used by the vendor's client."""
import hashlib
import json
import pathlib
import re
import time

import pytest
import redis

from peers.pki import Authority
from peers.redis import Redis
from renewals import fifty_rotations
from workspace import run

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server():
    peer = Redis()
    yield peer
    peer.stop()


def configure(space, *servers, more="", addresses=None, save=None, user=None):
    addresses = addresses or [server.address for server in servers]
    space.configure(
        issuers=f"cache: {{type: redis-acl, addresses: {json.dumps(addresses)}, password: {{env: KT_REDIS}}"
        + (f", save: {save}" if save else "") + (f", user: {user}" if user else "") + f"{more}}}\n",
        backends="files: {type: file, directory: var/files}\n")
    space.environment["KT_REDIS"] = servers[0].admin_password


def policy(space, issue, grace="2d", backends="[{name: files}]", name="app/cache"):
    space.policy("cache", f"secret: {name}\nissuer: cache\nissue: {{{issue}}}\nlifetime: 30d\nrotate: {{every: 20d}}\n"
                          f"grace: {grace}\nverify: [{{type: issuer}}]\nbackends: {backends}\n")


def value(space, name="app/cache"):
    return (space.folder / "var/files" / name).read_text()


@pytest.fixture
def space(workspace, server):
    configure(workspace, server)
    return workspace


def test_nobody_is_refused_during_fifty_rotations(space, server):
    user = server.add_user()
    policy(space, f"user: {user}, alphabet: ascii")

    def only(_, newest):
        assert server.hashes(user) == [hashlib.sha256(newest.encode()).hexdigest()]
    watcher, watched = server.monitor()
    try:
        seen, _ = fifty_rotations(
            space, space.folder / "var/files/app/cache", lambda password: server.accepts(user, password),
            lambda _: True, only)
    finally:
        watcher.terminate()
        watcher.wait()
    # Nothing that the server writes down or shows holds a password.
    shown = server.log.read_text() + watched.read_text() + server.acl_file.read_text()
    shown += json.dumps([entry["command"].decode(errors="replace") if isinstance(entry["command"], bytes)
                         else str(entry["command"]) for entry in server.admin().slowlog_get(10000)])
    assert "PING" in watched.read_text().upper()
    assert not [password for password in seen if password in shown]
    # It would know all of that again after a restart.
    server.restart()
    assert server.accepts(user, seen[-1]) and not server.accepts(user, seen[-2])


def test_what_consumers_get_over_TLS_and_the_socket(space, server):
    user = server.add_user()
    template = '{"a": "{{user}}", "b": "{{password}}", "c": "{{host}}:{{port}}", "d": "{{url}}"}'
    configure(space, server, addresses=[server.tls_address, f"unix:{server.folder}/socket"], more=f", caFile: {server.ca}")
    policy(space, f"user: {user}, format: url", backends=f"[{{name: files}}, {{name: vault, template: '{template}'}}]")
    run(space, "validate", "--online")
    run(space, "run", "--once")
    url = value(space)
    assert redis.Redis.from_url(url, ssl_ca_certs=str(server.ca)).ping()
    parts = json.loads(space.vault_value("app/cache"))
    assert parts["a"] == user and parts["c"] == f"127.0.0.1:{server.tls_port}" and parts["d"] == url
    assert server.accepts(user, parts["b"])
    [version] = space.status("app/cache")["versions"]
    assert version["keyId"] == hashlib.sha256(parts["b"].encode()).hexdigest()[:16]


def test_taken_over_compromised_and_foreign_passwords(space, server, tmp_path):
    user = server.add_user("on ~* +@all >by-hand >of-a-friend")
    policy(space, f"user: {user}")
    file = tmp_path / "old"
    file.write_text("by-hand")
    file.chmod(0o600)
    run(space, "adopt", "app/cache", "--from", str(file))
    run(space, "rotate", "app/cache")
    first = value(space)
    assert server.accepts(user, first) and server.accepts(user, "by-hand")
    run(space, "rollback", "app/cache")
    assert value(space) == "by-hand"
    run(space, "rotate", "app/cache", "--compromised")
    assert not server.accepts(user, "by-hand") and server.accepts(user, value(space))
    assert server.accepts(user, "of-a-friend"), "others' passwords are left alone"


def test_every_server_gets_it(space, server):
    """Users are not replicated: one that is out of reach holds the rotation up, and the others are not left with a
    password that nobody knows."""
    other = Redis()
    try:
        user = server.add_user()
        other.admin().execute_command("ACL", "SETUSER", user, "on", "+@all")
        other.admin().execute_command("ACL", "SETUSER", "default", f">{server.admin_password}")
        configure(space, server, other)
        policy(space, f"user: {user}", grace="1s")
        run(space, "run", "--once")
        first = value(space)
        assert server.accepts(user, first) and other.accepts(user, first)
        other.admin().execute_command("ACL", "SETUSER", "default", f"<{server.admin_password}")
        done = run(space, "rotate", "app/cache", "--wait", "0", code=3)
        assert f"Redis at 127.0.0.1:{other.port} does not let Keyturn in" in done.stderr
        assert value(space) == first and len(server.hashes(user)) == 1
        other.admin().execute_command("ACL", "SETUSER", "default", f">{server.admin_password}")
        # Now it fails at the second in the middle.
        run(space, "resume", "app/cache")
        other.acl_file.unlink()
        other.acl_file.mkdir()
        done = run(space, "rotate", "app/cache", "--wait", "0", code=3)
        assert "does not keep its users" in done.stderr and value(space) == first
        other.acl_file.rmdir()
        run(space, "resume", "app/cache")
        run(space, "rotate", "app/cache")
        time.sleep(1.5)
        run(space, "run", "--once")
        last = hashlib.sha256(value(space).encode()).hexdigest()
        assert server.hashes(user) == [last] and other.hashes(user) == [last], "no password was left behind"
    finally:
        other.stop()


@pytest.mark.parametrize("kept, save", [("config-file", "config-file"), ("never", "never")])
def test_what_a_restart_forgets(workspace, kept, save):
    peer = Redis(kept)
    try:
        user = peer.add_user("on ~* +@all >first")
        peer.admin().config_rewrite()
        configure(workspace, peer, save=save)
        policy(workspace, f"user: {user}")
        warned = run(workspace, "validate").stdout
        assert ("forgets the new passwords" in warned) == (save == "never")
        run(workspace, "run", "--once")
        assert peer.accepts(user, value(workspace))
        peer.restart()
        assert peer.accepts(user, value(workspace)) == (save == "config-file")
        # Without a file for it the usual way is refused, and leaves nothing behind.
        configure(workspace, peer)
        policy(workspace, f"user: {user}", name="app/other")
        done = run(workspace, "rotate", "app/other", "--wait", "0", code=3)
        assert "does not keep its users" in done.stderr
    finally:
        peer.stop()


def test_faults_are_told_apart(space, server, tmp_path):
    user = server.add_user()

    def fails(words, issue=f"user: {user}", **changed):
        configure(space, server, **changed)
        policy(space, issue)
        done = space.run("validate", "--online")
        assert done.returncode != 0 and words in done.stdout + done.stderr, (words, done.stdout, done.stderr)
        assert server.hashes(user) == []

    fails("has no user nobody", "user: nobody")
    fails("is switched off", f"user: {server.add_user('off >x')}")
    fails("needs no password", f"user: {server.add_user('on nopass +@all')}")
    fails("does not let Keyturn in", user="somebody")
    server.admin().execute_command("ACL", "SETUSER", "poor", "on", f">{server.admin_password}", "+ping")
    fails("lacks a right", user="poor")
    fails("no connection to", addresses=["redis://127.0.0.1:1"])
    stranger = Authority(tmp_path, "stranger")
    fails("certificate", addresses=[server.tls_address], more=f", caFile: {stranger.file}")
    fails("no connection in time", addresses=[f"rediss://127.0.0.1:{server.port}"])


def test_rights_suffice(space, server):
    line = (ROOT / "deploy/rights/redis-acl.acl").read_text()
    words = re.fullmatch(r"user keyturn (on #\S+ .*)\n", line)[1].split()
    words[1] = ">" + server.admin_password
    server.admin().execute_command("ACL", "SETUSER", "keyturn", *words)
    user = server.add_user()
    configure(space, server, user="keyturn")
    policy(space, f"user: {user}")
    run(space, "validate", "--online")
    run(space, "run", "--once")
    first = value(space)
    run(space, "rotate", "app/cache", "--compromised")
    assert server.accepts(user, value(space)) and not server.accepts(user, first)
    for right in [word for word in words if word.startswith("+")]:
        server.admin().execute_command("ACL", "SETUSER", "keyturn", "-" + right[1:])
        done = space.run("rotate", "app/cache", "--wait", "0")
        assert done.returncode == 3 and "lacks a right" in done.stderr, (right, done.stderr)
        server.admin().execute_command("ACL", "SETUSER", "keyturn", right)
        run(space, "resume", "app/cache")
    run(space, "rotate", "app/cache", "--compromised")
    assert server.hashes(user) == [hashlib.sha256(value(space).encode()).hexdigest()]
