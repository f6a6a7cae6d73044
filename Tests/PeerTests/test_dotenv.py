"""The `dotenv` backend: what python-dotenv and the shell read, and what the vendor's own command wrote."""
import pathlib
import stat
import subprocess
import sys

import pytest
from dotenv import dotenv_values, set_key

OTHERS = "# of the application\nDATABASE=postgresql://localhost/app\n\nexport GREETING=\"good 'day'\n\" # two lines\n"


@pytest.fixture
def site(workspace):
    workspace.configure(
        issuers="odd: {type: command, run: [./odd]}\n", backends="env: {type: dotenv, directory: files}\n")
    workspace.target = workspace.folder / "files/app/.env"
    workspace.target.parent.mkdir(parents=True)
    return workspace


def policy(site, name="team/key", variable="API_KEY", target="", more="", issuer="passwords"):
    site.policy(variable, f"secret: {name}\nissuer: {issuer}\nlifetime: 30d\nrotate: {{every: 20d}}\ngrace: 1h\n"
                          f"backends: [{{name: env, path: app/.env#{variable}{target}}}, {{name: vault}}]\n{more}")


def write(site, text, mode=0o600):
    site.target.write_text(text)
    site.target.chmod(mode)


def shell(site, variable):
    done = subprocess.run(["sh", "-c", f'. "{site.target}"; printf %s "${variable}"'], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def consumed(site, variable="API_KEY"):
    """What both readers get, who must agree."""
    value = dotenv_values(site.target).get(variable)
    assert (value or "") == shell(site, variable)
    return value


def test_one_variable_among_others(site):
    write(site, OTHERS, 0o400)
    policy(site)
    for command in (["run", "--once"], ["rotate", "team/key"], ["rotate", "team/key"]):
        done = site.run(*command)
        assert done.returncode == 0, done.stderr
        assert consumed(site) == site.vault_value("team/key")
        assert site.target.read_text().startswith(OTHERS)
        assert stat.S_IMODE(site.target.stat().st_mode) == 0o400
    assert [path.name for path in site.target.parent.iterdir()] == [".env"]
    assert site.run("drift").returncode == 0


def test_several_variables_of_one_file(site):
    write(site, OTHERS)
    for number in range(6):
        policy(site, f"team/key{number}", f"KEY_{number}")
    done = site.run("run", "--once")
    assert done.returncode == 0, done.stderr
    done = site.run("rotate", *[f"team/key{number}" for number in range(6)])
    assert done.returncode == 0, done.stderr
    for number in range(6):
        assert consumed(site, f"KEY_{number}") == site.vault_value(f"team/key{number}")


@pytest.mark.parametrize("value", ["it's", 'say "hi" \\\\', "a b # c", "x$HOME`id`", "1\n2\n\n3", "C:\\new\\table", "é ✓ #"])
def test_odd_values(site, value):
    import json
    odd = site.folder / "odd"
    odd.write_text(
        f"#!{sys.executable}\nimport json, sys\nquestion = json.load(sys.stdin)\n"
        "answers = {'create': {'keyId': 'k', 'value': " + repr(value) + "}, 'list': {'keys': []}, 'check': {'status': 'works'}}\n"
        "print(json.dumps(answers.get(question['operation'], {})))\n")
    odd.chmod(0o700)
    write(site, OTHERS)
    policy(site, issuer="odd")
    done = site.run("run", "--once")
    assert done.returncode == 0, done.stderr
    assert consumed(site) == value == site.vault_value("team/key")
    assert json.dumps(value)[1:-1] not in done.stderr


def test_what_the_vendor_wrote_is_a_conflict(site):
    write(site, OTHERS)
    policy(site)
    assert site.run("run", "--once").returncode == 0
    # `dotenv set` writes the file in its own way.
    done = subprocess.run(
        [pathlib.Path(sys.executable).parent / "dotenv", "-f", site.target, "set", "API_KEY", "theirs # x"], capture_output=True)
    assert done.returncode == 0
    done = site.run("rotate", "team/key", "--wait", "0")
    assert done.returncode == 3 and "theirs # x" not in done.stderr, done.stderr
    assert consumed(site) == "theirs # x"
    policy(site, target=", overwrite: true")
    site.run("resume", "team/key")
    done = site.run("run", "--once")
    assert done.returncode == 0, done.stderr
    assert consumed(site) == site.vault_value("team/key")
    # And it finds ours in its place.
    set_key(site.target, "OTHER", "more")
    assert consumed(site) == site.vault_value("team/key")
    assert site.run("drift").returncode == 0


def test_a_file_that_is_none_is_named_and_left_alone(site):
    text = OTHERS + "if true; then echo; fi\n"
    write(site, text)
    policy(site)
    done = site.run("run", "--once", "--wait", "0")
    assert done.returncode in (1, 3) and f"{site.target}, line 6: " in done.stderr, done.stderr
    assert site.target.read_text() == text
    assert site.stages("team/key") == {}, "a key was made that can't be put anywhere"
    write(site, OTHERS, 0o644)
    done = site.run("doctor")
    assert "others may read" in done.stdout, done.stdout


def test_reload_is_told_after_the_file_is_there(site):
    write(site, OTHERS)
    tell = site.folder / "tell"
    tell.write_text(f'#!/bin/sh\n. "{site.target}"; printf "%s\\n" "$API_KEY" >> "{site.folder}/told"\n')
    tell.chmod(0o700)
    policy(site, target=", reload: [./tell]")
    assert site.run("run", "--once").returncode == 0
    assert site.run("rotate", "team/key").returncode == 0
    assert (site.folder / "told").read_text().splitlines()[-1] == site.vault_value("team/key")
