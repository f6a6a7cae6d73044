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
