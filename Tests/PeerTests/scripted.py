"""Programs for the `command` issuer, backend, check and alert sink that can be told to misbehave.

Each notes every question it gets. A fault is a member of `FAULTS`; it hits the next `times` questions of an operation,
before the program does what it was asked, or after it.
"""
import fcntl
import json
import os
import pathlib
import subprocess
import sys
import time

from programs import CommandIssuer

WRAPPER = '''#!%(python)s
import fcntl, json, os, signal, subprocess, sys, time
folder = os.path.dirname(os.path.abspath(__file__))
text = sys.stdin.read()
question = json.loads(text) if text.startswith("{") else {"operation": "input", "input": text}
operation = question.get("operation", question.get("type"))
def locked(name):
    file = open(os.path.join(folder, name), "a+")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file
with locked("questions") as log:
    log.write(json.dumps({"at": time.monotonic(), "pid": os.getpid(), **question}) + chr(10))
fault = None
with locked("faults") as file:
    file.seek(0)
    content = file.read()
    faults = json.loads(content) if content else []
    for entry in faults:
        if entry["operation"] in (operation, "*") and entry["times"] > 0:
            entry["times"] -= 1
            fault = entry
            break
    file.truncate(0)
    file.write(json.dumps(faults))
answer = ""
if fault is None or fault["after"]:
    answer = subprocess.run([os.path.join(folder, "inner")], input=text, capture_output=True, text=True).stdout
if fault is None:
    print(answer)
    sys.exit(0)
if "sleep" in fault:
    time.sleep(fault["sleep"])
    print(answer)
if "flood" in fault:
    sys.stdout.write("x" * fault["flood"])
if "print" in fault:
    print(fault["print"])
sys.stdout.flush()
if "signal" in fault:
    os.kill(os.getpid(), fault["signal"])
sys.exit(fault.get("status", 0))
'''

BACKEND = '''#!%(python)s
import fcntl, json, os, sys
folder = os.path.dirname(os.path.abspath(__file__))
question = json.load(sys.stdin)
with open(os.path.join(folder, "lock"), "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    path = os.path.join(folder, "store.json")
    store = json.load(open(path)) if os.path.exists(path) else {}
    operation = question["operation"]
    entry = store.setdefault(question["path"], {"versions": {}, "current": None})
    number = str(question.get("version"))
    answer = {}
    if operation in ("stage", "promote"):
        entry["versions"][number] = question["value"]
        answer = {"receipt": {"number": number}}
        if operation == "promote":
            entry["current"] = number
    elif operation == "read":
        wanted = entry["current"] if "version" not in question else number
        value = entry["versions"].get(wanted)
        answer = {"found": value is not None, "value": value}
    elif operation in ("unstage", "prune"):
        assert entry["current"] != number
        entry["versions"].pop(number, None)
    with open(path + ".new", "w") as file:
        json.dump(store, file)
    os.rename(path + ".new", path)
print(json.dumps(answer))
'''

ACKNOWLEDGE = "#!/bin/sh\ncat > /dev/null\necho '{}'\n"


def until(condition, what, timeout=30.0):
    """Asks until the answer is true, and gives it."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.05)


class Scripted:
    """A program of the user's between Keyturn and what really does the work."""

    def __init__(self, folder, inner=ACKNOWLEDGE):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        for name, text in (("program", WRAPPER), ("inner", inner)):
            path = self.folder / name
            path.write_text(text.replace("%(python)s", sys.executable))
            path.chmod(0o755)
        self.program = self.folder / "program"

    def fail(self, operation, times=1, after=False, **fault):
        with open(self.folder / "faults", "a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            content = file.read()
            faults = json.loads(content) if content else []
            file.truncate(0)
            file.write(json.dumps([*faults, {"operation": operation, "times": times, "after": after, **fault}]))

    def heal(self):
        (self.folder / "faults").unlink(missing_ok=True)

    def questions(self, operation=None):
        path = self.folder / "questions"
        lines = path.read_text().splitlines() if path.exists() else []
        asked = [json.loads(line) for line in lines]
        return [question for question in asked
                if operation in (None, question.get("operation"), question.get("type"))]


class ScriptedIssuer(Scripted):
    """Issues keys that only it knows; `keys` and `accepts` say what it would take."""

    def __init__(self, folder):
        inner = CommandIssuer(folder)
        super().__init__(folder, inner.program.read_text())
        self.keys, self.accepts = inner.keys, inner.accepts


class ScriptedBackend(Scripted):
    """Stores versions in a file of its own."""

    def __init__(self, folder):
        super().__init__(folder, BACKEND)

    def store(self):
        path = self.folder / "store.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def value(self, path):
        entry = self.store().get(path)
        return entry and entry["versions"].get(entry["current"])


class Daemon:
    """`keyturn run`, its log in a file, and a clock that can be set forward while it runs."""

    def __init__(self, space, name="daemon", clock=False, environment=None, log_folder=None):
        self.space = space
        self.log = (log_folder or space.folder) / f"{name}.log"
        environment = dict(environment or {})
        self.clock = space.folder / f"{name}.clock"
        if clock:
            self.ahead(0)
            space.travel()
            environment |= {
                "LD_PRELOAD": str(next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))),
                "FAKETIME_TIMESTAMP_FILE": str(self.clock), "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                # Where the library makes its shared memory itself, a Swift program loses sight of its arguments.
                "FAKETIME_SHARED": "/none /none"}
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                space.command("run"), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=space.folder,
                start_new_session=True, env=space.full_environment(environment))
        self.wait_for("started")

    def ahead(self, seconds):
        new = self.clock.with_suffix(".new")
        new.write_text(f"+{int(seconds)}\n")
        os.rename(new, self.clock)

    def said(self, word):
        return self.log.read_text().count(word)

    def wait_for(self, word, count=1, timeout=40):
        def there():
            assert self.process.poll() is None or self.said(word) >= count, self.log.read_text()
            return self.said(word) >= count
        until(there, f"'{word}' in the daemon's log", timeout)

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, number=15, timeout=30):
        """Its exit status and how many seconds it took."""
        begin = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout), time.monotonic() - begin
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
