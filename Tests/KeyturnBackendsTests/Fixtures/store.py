"""A program that stores values, as the tests of the backend `command` use one: files in a folder, questions in JSON."""

import json
import pathlib
import sys

root = pathlib.Path(sys.argv[1])
question = json.load(sys.stdin)
operation = question["operation"]
place = root / question["path"].replace("/", "%")
place.mkdir(parents=True, exist_ok=True)
current = place / "current"


def file(version):
    return place / f"v{version}"


answer = {}
if operation in ("stage", "promote"):
    file(question["version"]).write_text(question["value"])
    answer = {"receipt": {"v": str(question["version"])}}
if operation == "promote":
    current.write_text(question["value"])
elif operation == "read":
    wanted = file(question["version"]) if "version" in question else current
    answer = {"found": wanted.exists()}
    if wanted.exists():
        answer["value"] = wanted.read_text()
elif operation in ("unstage", "prune"):
    wanted = file(question["version"])
    if wanted.exists() and not (current.exists() and current.read_text() == wanted.read_text()):
        wanted.unlink()
print(json.dumps(answer))
