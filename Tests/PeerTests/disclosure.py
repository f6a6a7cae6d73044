"""What Keyturn says and keeps, searched for what nobody may read there."""
from workspace import must


def must_disclose_none(space, name, values):
    """Of `values()`, which are asked for after a rotation, none is in what the commands say or in the files below `var`."""
    said = ""
    for words in (["run", "--once", "--log-level", "debug"], ["rotate", name, "--log-level", "debug"],
                  ["status"], ["history"], ["explain", name]):
        done = must(space.run(*words))
        said += done.stdout + done.stderr
    kept = b"".join(path.read_bytes() for path in (space.folder / "var").rglob("*") if path.is_file())
    found = list(values())
    assert found
    for value in found:
        assert value not in said and value.encode() not in kept
