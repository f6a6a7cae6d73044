"""Errors with their places, as `validate` shows them, and texts in which the places are marked."""
import dataclasses
import re

MARK = "«"
LINE = re.compile(r"^(?P<file>[^:\n]+):(?P<line>\d+):(?P<column>\d+): (?P<message>.+)$")


@dataclasses.dataclass(frozen=True, order=True)
class Place:
    file: str
    line: int
    column: int


def marked(text, file):
    """The text without its marks, and the places of what followed each of them."""
    places, clean = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        while MARK in line:
            column = line.index(MARK)
            places.append(Place(file, number, column + 1))
            line = line.replace(MARK, "", 1)
        clean.append(line)
    return "\n".join(clean), places


def read(output):
    """Every line of the output as a place and its message; any other line is a failure."""
    found = []
    for line in output.splitlines():
        match = LINE.match(line)
        assert match, f"not file:line:column: message: {line!r}"
        found.append((Place(match["file"], int(match["line"]), int(match["column"])), match["message"]))
    return found


def validate(space, files, **options):
    """Writes marked policy files, runs `validate`, and gives what it said with the marks' places."""
    expected = []
    for name, text in files.items():
        clean, places = marked(text, f"schedules/{name}")
        path = space.folder / "schedules" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(clean)
        expected += places
    done = space.run("validate", **options)
    return done, read(done.stdout), sorted(expected)


def crashed(code):
    """Whether the command was ended by a signal, by itself or through a shell."""
    return code < 0 or code >= 128
