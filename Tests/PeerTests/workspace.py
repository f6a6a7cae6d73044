"""A user's folder: configuration, policies, and the keyturn command run in it."""
import json
import os
import pathlib
import shutil
import subprocess
import time

BINARY = os.environ["KEYTURN_BINARY"]


def forget_ended_clocks():
    """Removes what killed programs left of their faked clocks: no later one of the same pid would start."""
    for path in pathlib.Path("/dev/shm").glob("*faketime_s*_*"):
        if not pathlib.Path("/proc", path.name.rpartition("_")[2]).exists():
            path.unlink(missing_ok=True)


class Workspace:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.environment = {}
        done = self.run("init", str(self.folder), config=False)
        assert done.returncode == 0, done.stderr
        for example in (self.folder / "schedules").glob("*.y*ml"):
            example.unlink()
        self.identity = self.folder / "var/identity.txt"
        text = self.identity.read_text()
        self.recipient = text.split("public key: ")[1].split()[0]
        self.vault = self.folder / "var/vault"

    def configure(self, issuers="", backends="", alerts="", extra=""):
        def section(name, text):
            lines = "".join(f"  {line}\n" for line in text.strip().splitlines())
            return f"{name}:\n{lines}" if lines else ""
        (self.folder / "keyturn.yaml").write_text(
            "state: sqlite:var/keyturn.db\nschedules: schedules\nidentity: {file: var/identity.txt}\n"
            + section("issuers", "passwords: {type: random, length: 32}\n" + issuers)
            + section("backends", f"vault: {{type: file-vault, directory: var/vault, recipients: [{self.recipient}]}}\n"
                      + backends)
            + section("alerts", alerts) + extra)

    def travel(self):
        """From here on the clock is not what the servers and the machine show, which is what the clock guard is there
        to find."""
        self.environment["KEYTURN_CLOCK_TOLERANCE"] = "36500d"

    def policy(self, name, text):
        (self.folder / "schedules" / f"{name}.yaml").write_text(text)

    def command(self, *arguments, config=True, at=None):
        travel = []
        if at is not None:
            forget_ended_clocks()
            travel = ["faketime", "-f", f"@{at:%Y-%m-%d %H:%M:%S}"]
            self.travel()
        return [*travel, BINARY, *arguments, *(["--config", str(self.folder / "keyturn.yaml")] if config else [])]

    def run(self, *arguments, config=True, at=None, timeout=120, environment=None, text=True):
        return subprocess.run(
            self.command(*arguments, config=config, at=at), capture_output=True, text=text, timeout=timeout,
            cwd=self.folder, stdin=subprocess.DEVNULL, env=self.full_environment(environment))

    def full_environment(self, more=None):
        base = {name: value for name, value in os.environ.items()
                if not name.startswith(("AWS_", "KEYTURN_", "BAO_", "VAULT_"))}
        return {**base, "TZ": "UTC", **self.environment, **(more or {})}

    def start(self, *arguments, environment=None, stderr=subprocess.PIPE, at=None):
        return subprocess.Popen(
            self.command(*arguments, at=at), stdout=subprocess.PIPE, stderr=stderr, cwd=self.folder, text=True,
            stdin=subprocess.DEVNULL, start_new_session=True, env=self.full_environment(environment))

    def json(self, *arguments, at=None, codes=(0,)):
        done = self.run(*arguments, "--format", "json", at=at)
        assert done.returncode in codes, (done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def status(self, secret=None, at=None):
        secrets = self.json("status", *([secret] if secret else []), at=at)["secrets"]
        return secrets[0] if secret else {entry["secret"]: entry for entry in secrets}

    def stages(self, secret, at=None):
        return {version["number"]: version["stage"] for version in self.status(secret, at)["versions"]}

    def keep_state(self):
        """Copies the state, as a backup of the machine would."""
        (self.folder / "backup").mkdir()
        for file in (self.folder / "var").glob("keyturn.db*"):
            shutil.copy2(file, self.folder / "backup")

    def put_state_back(self):
        """The state is what it was when it was kept."""
        for file in (self.folder / "var").glob("keyturn.db*"):
            file.unlink()
        for file in (self.folder / "backup").iterdir():
            shutil.copy2(file, self.folder / "var")

    def stock_age(self, file):
        """A vault file opened by the stock tool, without Keyturn."""
        done = subprocess.run(["age", "-d", "-i", str(self.identity), str(file)], capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    def vault_value(self, path):
        """What a consumer of the file vault reads now; None when there is nothing."""
        current = self.vault / path / "current"
        return self.stock_age(current) if current.exists() else None


def must(done, *codes):
    """That it ended with one of the codes, or with 0."""
    assert done.returncode in (codes or (0,)), (done.returncode, done.stdout, done.stderr)
    return done


def run(space, *arguments, code=0, at=None):
    return must(space.run(*arguments, at=at), code)


def retire(space):
    """The pass after a grace of a second."""
    time.sleep(1.2)
    return must(space.run("run", "--once", "--wait", "5s"))
