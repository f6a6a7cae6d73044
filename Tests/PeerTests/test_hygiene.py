"""What keeps values in, tried from outside: memory, files, folders, and documents that are meant to choke a reader."""
import os
import resource
import subprocess

import pytest

from diagnostics import crashed, read
from workspace import BINARY, Workspace

MEGABYTE = (1 << 20) - 1000


def laughs():
    lines, previous = ["a: &a [x, x, x, x, x, x, x, x, x]"], "a"
    for name in "bcdefghijklmnop":
        lines.append(f"{name}: &{name} [" + ", ".join([f"*{previous}"] * 9) + "]")
        previous = name
    return "\n".join(lines) + "\n"


BOMBS = {
    "brackets": "[" * MEGABYTE, "braces": "{" * MEGABYTE, "dashes": "- " * (MEGABYTE // 2),
    "questions": "? " * (MEGABYTE // 2), "laughs": laughs(),
    "indents": "".join(" " * depth + "a:\n" for depth in range(1300)),
    "indented dashes": "".join(" " * depth + "-\n" for depth in range(1300)),
    "names": "".join(f"k{number}: 1\n" for number in range(MEGABYTE // 10)),
    "documents": "---\na: 1\n" * (MEGABYTE // 9), "one name": "a: 1\n" * (MEGABYTE // 5),
    "merges": "<<: 1\n" * (MEGABYTE // 6), "a long name": "a" * MEGABYTE + ": 1\n", "quotes": '"' * MEGABYTE,
    "tags": "!a " * (MEGABYTE // 3), "directives": "%YAML 1.1\n" * (MEGABYTE // 10),
    "a long list": "after: [" + "a," * (MEGABYTE // 2) + "a]\n", "too large": "# x\n" * (1 << 18) + "a: 1\n",
}


def bounded(seconds):
    """The kernel ends what computes for longer: a bound that a busy machine does not move."""
    def apply():
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    return apply


@pytest.mark.parametrize("place", ["schedules/bomb.yaml", "keyturn.yaml"])
@pytest.mark.parametrize("bomb", BOMBS)
def test_documents_that_choke_a_reader_are_refused_with_their_place(workspace, bomb, place):
    (workspace.folder / place).write_text(BOMBS[bomb])
    done = subprocess.run(
        workspace.command("validate"), capture_output=True, text=True, timeout=300, cwd=workspace.folder,
        preexec_fn=bounded(30), env=workspace.full_environment())
    assert not crashed(done.returncode) and done.returncode == 65, (done.returncode, done.stderr[-500:])
    found = read(done.stdout)
    assert 1 <= len(found) <= 1100
    assert all(where.file == place and where.line >= 1 and where.column >= 1 for where, _ in found)
    if bomb == "laughs":
        assert "anchors are not allowed" in done.stdout
    if bomb in ("brackets", "braces", "dashes", "indents"):
        assert "collections lie deeper than 32 levels" in done.stdout


def test_files_that_others_may_write_to_are_not_obeyed(workspace):
    workspace.policy("a", "secret: team/a\nissuer: passwords\nlifetime: 30d\nrotate: {every: 20d}\n"
                          "backends: [{name: vault}]\n")
    for path in (workspace.folder / "keyturn.yaml", workspace.folder / "schedules/a.yaml"):
        mode = path.stat().st_mode & 0o777
        path.chmod(0o666)
        for command in (["validate"], ["run", "--once"]):
            done = workspace.run(*command)
            assert done.returncode == 65 and "others may write to it; mend it with `chmod o-w" in done.stdout + done.stderr
        path.chmod(mode)
    assert workspace.run("run", "--once").returncode == 0


@pytest.mark.parametrize("folder", ["var", "."])
def test_folders_in_which_others_could_swap_files_are_refused(workspace, folder):
    workspace.policy("a", "secret: team/a\nissuer: passwords\nlifetime: 30d\nrotate: {every: 20d}\n"
                          "backends: [{name: vault}]\n")
    assert workspace.run("run", "--once").returncode == 0
    path = workspace.folder / folder
    path.chmod(0o777)
    done = workspace.run("rotate", "team/a")
    assert done.returncode == 77, done.stderr
    assert "others may write to the folder" in done.stderr and "chmod go-w" in done.stderr
    path.chmod(0o700)
    assert workspace.run("rotate", "team/a").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_no_process_of_the_same_user_can_look_into_the_daemon(tmp_path):
    """Its memory and its environment belong to root alone, though it does not run as root."""
    import pathlib
    import shutil
    import tempfile
    nobody = 65534
    folder = pathlib.Path(tempfile.mkdtemp(prefix="keyturn-nobody-"))
    try:
        binary = folder / "keyturn"
        shutil.copy(BINARY, binary)
        folder.chmod(0o755)
        space = Workspace(folder / "site")
        space.configure()
        space.policy("a", "secret: team/a\nissuer: passwords\nlifetime: 30d\nrotate: {every: 20d}\n"
                          "backends: [{name: vault}]\n")
        for path in [space.folder, *space.folder.rglob("*")]:
            os.chown(path, nobody, nobody)
        daemon = subprocess.Popen(
            [binary, "run", "--config", space.folder / "keyturn.yaml"], user=nobody, group=nobody, extra_groups=[],
            cwd=space.folder, stderr=subprocess.PIPE, text=True, env={"PATH": os.environ["PATH"], "TOKEN": "CANARY"})
        for line in daemon.stderr:
            if "new version is current" in line:
                break
        try:
            for name in ("environ", "mem", "maps", "stack"):
                done = subprocess.run(
                    ["cat", f"/proc/{daemon.pid}/{name}"], user=nobody, group=nobody, extra_groups=[], capture_output=True)
                assert done.returncode != 0 and b"CANARY" not in done.stdout, name
            # Its own child is no secret to the same user: the test sees what it looks for.
            other = subprocess.Popen(["sleep", "60"], user=nobody, group=nobody, extra_groups=[], env={"TOKEN": "CANARY"})
            done = subprocess.run(["cat", f"/proc/{other.pid}/environ"], user=nobody, group=nobody, extra_groups=[],
                                  capture_output=True)
            other.kill()
            other.wait()
            assert b"CANARY" in done.stdout
        finally:
            daemon.terminate()
            assert daemon.wait(60) == 0
            daemon.stderr.close()
    finally:
        shutil.rmtree(folder)
