"""Programs of a user's, for the `command` issuer: a key server that remembers its keys in one file."""
import json
import pathlib
import stat
import sys

ISSUER = '''#!%s
import fcntl, json, os, secrets, sys, time
folder = os.path.dirname(os.path.abspath(__file__))
question = json.load(sys.stdin)
with open(os.path.join(folder, "lock"), "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    path = os.path.join(folder, "keys.json")
    keys = json.load(open(path)) if os.path.exists(path) else {}
    operation = question["operation"]
    def save():
        with open(path + ".new", "w") as file:
            json.dump(keys, file)
        os.rename(path + ".new", path)
    answer = {}
    if operation == "create":
        identifier = "k" + secrets.token_hex(6)
        keys[identifier] = {"value": "cmd-" + secrets.token_hex(12), "lineage": question["lineage"],
                            "secret": question["secret"], "enabled": True}
        save()
        answer = {"keyId": identifier, "value": keys[identifier]["value"]}
    elif operation == "list":
        answer = {"keys": [{"keyId": k, "lineage": v["lineage"]} for k, v in keys.items()]}
    elif operation == "check":
        works = any(v["value"] == question["value"] and v["enabled"] for v in keys.values())
        answer = {"status": "works" if works else "refused"}
    elif operation == "revoke":
        keys.pop(question["keyId"], None)
        save()
    elif operation in ("disable", "enable"):
        keys[question["keyId"]]["enabled"] = operation == "enable"
        save()
print(json.dumps(answer))
'''


class CommandIssuer:
    """A program that issues keys, and the oracle of what it accepts."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.program = self.folder / "issuer"
        self.program.write_text(ISSUER % sys.executable)
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)

    def keys(self):
        path = self.folder / "keys.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def accepts(self, value):
        return any(key["value"] == value and key["enabled"] for key in self.keys().values())


AMBUSH = """#!%s
import os, signal, subprocess, sys
folder = os.path.dirname(os.path.abspath(__file__))
text = sys.stdin.read()
plan = os.path.join(folder, "ambush")
left, when = open(plan).read().split() if os.path.exists(plan) else ("", "")
if left:
    with open(plan + ".new", "w") as file:
        file.write(f"{int(left) - 1} {when}")
    os.rename(plan + ".new", plan)
if left == "1" and when == "before":
    os.kill(os.getppid(), signal.SIGKILL)
    sys.exit(1)
answer = subprocess.run([os.path.join(folder, "issuer")], input=text, capture_output=True, text=True).stdout
if left == "1" and when == "after":
    os.kill(os.getppid(), signal.SIGKILL)
print(answer)
"""


class Ambush:
    """A program before another one in its folder, which kills who called it, at one call by its number."""

    def __init__(self, program):
        self.program = program.with_name("ambusher")
        self.program.write_text(AMBUSH % sys.executable)
        self.program.chmod(0o755)
        self.plan = program.with_name("ambush")

    def lay(self, number, when):
        self.number = number
        self.plan.write_text(f"{number} {when}")

    def lift(self):
        """How many calls there were since."""
        if not self.plan.exists():
            return 0
        left = int(self.plan.read_text().split()[0])
        self.plan.unlink()
        return self.number - left
