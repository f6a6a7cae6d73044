"""The `file` backend: who may read the file, that it is never seen half, and that the consumer is told."""
import datetime
import os
import pwd
import stat
import threading

import pytest

from scripted import Scripted

START = datetime.datetime(2027, 3, 1, 12, 0, 0, tzinfo=datetime.timezone.utc)
HOUR = datetime.timedelta(hours=1)


@pytest.fixture
def site(workspace):
    workspace.configure(backends="files: {type: file, directory: files}\n")
    workspace.target = workspace.folder / "files/team/key"
    return workspace


def policy(site, target="", issue="", more=""):
    site.policy("key", f"secret: team/key\nissuer: passwords\n{issue}lifetime: 30d\nrotate: {{every: 20d}}\ngrace: 1h\n"
                       f"backends: [{{name: files{target}}}{more}]\n")


def permissions(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_value_lies_there(site):
    policy(site, ", template: 'PASSWORD={{value}}'", more=", {name: vault}")
    assert site.run("run", "--once").returncode == 0
    assert site.target.read_text() == f"PASSWORD={site.vault_value('team/key')}"
    assert permissions(site.target) == 0o600
    assert permissions(site.target.parent) == permissions(site.folder / "files") == 0o700
    assert site.run("rotate", "team/key").returncode == 0
    assert site.target.read_text() == f"PASSWORD={site.vault_value('team/key')}"
    assert [path.name for path in site.target.parent.iterdir()] == ["key"], "something temporary was left"


@pytest.mark.parametrize("mode", ["0600", "0640", "0644", "0400", "0440", "0444"])
def test_mode(site, mode):
    policy(site, f', mode: "{mode}"')
    for command in (["run", "--once"], ["rotate", "team/key"]):
        done = site.run(*command)
        assert done.returncode == 0, done.stderr
        assert permissions(site.target) == int(mode, 8)


def test_owner_and_group(site):
    if os.geteuid() != 0:
        pytest.fail("only root can give files away; run this test as root")
    nobody = pwd.getpwnam("nobody")
    policy(site, ', owner: nobody, group: "7", mode: "0640"')
    assert site.run("run", "--once").returncode == 0
    info = site.target.stat()
    assert (info.st_uid, info.st_gid, permissions(site.target)) == (nobody.pw_uid, 7, 0o640)
    policy(site, ', owner: "1234"')
    done = site.run("rotate", "team/key")
    assert done.returncode == 0, done.stdout
    assert site.target.stat().st_uid == 1234 and permissions(site.target) == 0o600


def test_a_policy_may_be_edited_between_rotations(site):
    """Another mode, template or reload command is no reason to take our own value for somebody else's."""
    for target in (', mode: "0644"', ", template: 'a={{value}}'", ", template: 'b={{value}}', reload: ['true']", ""):
        policy(site, target)
        done = site.run("rotate", "team/key")
        assert done.returncode == 0, (target, done.stdout)
    assert len(site.target.read_text()) == 32 and permissions(site.target) == 0o600


def test_an_owner_that_is_none(site):
    policy(site, ", owner: no-such-user")
    done = site.run("run", "--once")
    assert done.returncode == 3 and "no user 'no-such-user'" in done.stdout + done.stderr
    assert not site.target.exists()
    assert site.status("team/key")["versions"] == [], "what can be checked is checked before a key is made"


def test_a_reader_sees_the_old_or_the_new(site):
    """Readers as fast as they can while the value is replaced again and again: never nothing, never a part."""
    policy(site, issue="issue: {length: 4096}\n")
    assert site.run("run", "--once").returncode == 0
    stop, seen, wrong, reads = threading.Event(), set(), [], [0]

    def read():
        while not stop.is_set():
            try:
                value = site.target.read_bytes()
            except OSError as error:
                wrong.append(error)
                return
            reads[0] += 1
            if len(value) != 4096:
                wrong.append(len(value))
            seen.add(value)
    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(12):
            assert site.run("rotate", "team/key").returncode == 0
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert wrong == []
    assert 12 <= len(seen) <= 13 and reads[0] > 100, (len(seen), reads)


def test_the_consumer_is_told_after_the_value_is_there(site):
    reload = site.folder / "reload"
    reload.write_text(f"#!/bin/sh\ncat {site.target} >> {site.folder}/told\necho >> {site.folder}/told\n")
    reload.chmod(0o755)
    policy(site, ", reload: [./reload]")
    values = []
    for command in (["run", "--once"], ["rotate", "team/key"]):
        done = site.run(*command)
        assert done.returncode == 0, done.stderr
        values.append(site.target.read_text())
    assert (site.folder / "told").read_text().splitlines() == values


def test_a_reload_that_fails_is_told_and_tried_again(site):
    reload = Scripted(site.folder / "reload")
    policy(site, f", reload: ['{reload.program}']")
    reload.fail("input", times=2, status=7)
    done = site.run("run", "--once", "--wait", "0", at=START)
    assert done.returncode == 1
    assert "reload command ended with status 7" in done.stdout + done.stderr
    value = site.target.read_text()
    assert len(value) == 32, "the new value is in place"
    status = site.status("team/key", at=START)
    assert status["rotation"]["step"] == "promote:files" and "status 7" in status["rotation"]["lastError"]
    done = site.run("run", "--once", "--wait", "0", at=START + HOUR)
    assert done.returncode == 1
    done = site.run("run", "--once", "--wait", "0", at=START + 2 * HOUR)
    assert done.returncode == 0 and len(reload.questions()) == 3
    assert site.stages("team/key", at=START + 2 * HOUR) == {1: "current"}
    assert site.target.read_text() == value, "another key was made"


def test_a_reload_that_is_mended_in_the_policy(site):
    """What a person mends while the secret is quarantined counts after `resume`."""
    policy(site, ", reload: [./absent]")
    done = site.run("run", "--once", "--wait", "0")
    assert done.returncode == 3 and "can't be started" in done.stdout + done.stderr
    assert site.status("team/key")["quarantined"]
    policy(site, ", reload: ['true']")
    assert site.run("resume", "team/key").returncode == 0
    done = site.run("run", "--once")
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert site.stages("team/key") == {1: "current"}


@pytest.mark.parametrize("path", ["../key", "a/../../key", "/etc/keyturn-test", "a//b", "./a", "a/", ".", "'a\\x00b'"])
def test_a_path_that_leads_out(site, path):
    policy(site, f", path: {path}" if not path.startswith("'") else ', path: "a\\0b"')
    done = site.run("validate")
    assert done.returncode == 65 and "'path'" in done.stdout
    assert site.run("run", "--once").returncode == 65
    assert not (site.folder / "files").exists() and not (site.folder / "key").exists()


def test_a_value_of_somebody_elses_is_not_replaced(site):
    policy(site)
    site.target.parent.mkdir(parents=True)
    site.target.write_text("mine")
    done = site.run("run", "--once", "--wait", "0")
    assert done.returncode == 3 and "did not put there" in done.stdout + done.stderr
    assert site.target.read_text() == "mine"
    policy(site, ", overwrite: true")
    assert site.run("resume", "team/key").returncode == 0
    done = site.run("run", "--once")
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert len(site.target.read_text()) == 32


def test_a_value_changed_by_somebody_in_between(site):
    policy(site)
    assert site.run("run", "--once").returncode == 0
    site.target.write_text("changed by hand")
    done = site.run("rotate", "team/key", "--wait", "0")
    assert done.returncode == 3, (done.stdout, done.stderr)
    assert site.target.read_text() == "changed by hand"


def test_a_link_is_not_followed(site):
    policy(site)
    site.target.parent.mkdir(parents=True)
    outside = site.folder / "outside"
    outside.write_text("")
    site.target.symlink_to(outside)
    done = site.run("run", "--once", "--wait", "0")
    assert done.returncode != 0, done.stdout
    assert outside.read_text() == ""


def test_a_folder_in_the_way(site):
    policy(site)
    site.target.mkdir(parents=True)
    done = site.run("run", "--once", "--wait", "0")
    assert done.returncode in (1, 3) and str(site.target) in done.stdout + done.stderr
    site.target.rmdir()
    assert site.run("resume", "team/key").returncode == 0
    done = site.run("run", "--once")
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert len(site.target.read_text()) == 32
