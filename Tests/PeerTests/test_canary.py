"""No secret value anywhere but where it belongs: marked values are planted, everything is made to fail, all is
searched.

Values come in from every issuer, from `adopt` and from Keyturn's own credentials. Then every output, database, file,
argument, environment and alert is searched for each of them in every form that a slip would give it.
"""
import base64
import http.server
import json
import os
import pathlib
import resource
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid

import pytest

from peers.fault_proxy import FaultProxy
from test_vault_login import Role

# Writes down what the program was given, for the search, and does as its name says.
PROGRAM = '''#!%s
import json, os, sys
folder = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(folder, "children"), "ab") as file:
    for part in ("cmdline", "environ"):
        file.write(open("/proc/self/" + part, "rb").read() + b"\\n")
sent = sys.stdin.buffer.read()
role = os.path.basename(__file__)
def state(name, default):
    path = os.path.join(folder, name)
    return json.load(open(path)) if os.path.exists(path) else default
def say(answer):
    json.dump(answer, sys.stdout)
mood = state("mood", "")
if role == "issuer":
    question = json.loads(sent)
    keys = state("keys", {})
    if question["operation"] == "create":
        values = state("canaries", [])
        value = values.pop(0)
        json.dump(values, open(os.path.join(folder, "canaries"), "w"))
        sys.stderr.write(value)
        if mood == "refuses":
            say({"error": {"code": value, "message": value, "retryable": False}})
            sys.exit(1)
        if mood == "garbage":
            print("it is", value)
            sys.exit(0)
        made = "id%%d" %% (len(keys) + len(state("revoked", [])))
        keys[made] = question["lineage"]
        json.dump(keys, open(os.path.join(folder, "keys"), "w"))
        say({"keyId": made, "value": value, "fields": {"extra": value + "-field"}})
    elif question["operation"] == "list":
        say({"keys": [{"keyId": k, "lineage": v} for k, v in keys.items()]})
    elif question["operation"] == "check":
        sys.stderr.write(question["value"])
        status = "refused" if question.get("keyId") in state("revoked", []) else "works"
        say({"status": status if mood != "odd" else question["value"]})
    else:
        revoked = state("revoked", []) + [question.get("keyId")]
        json.dump(revoked, open(os.path.join(folder, "revoked"), "w"))
        keys.pop(question.get("keyId"), None)
        json.dump(keys, open(os.path.join(folder, "keys"), "w"))
        say({})
elif role == "store":
    question = json.loads(sent)
    held = state("held", {})
    if question["operation"] == "promote":
        if mood == "store-fails":
            say({"error": {"code": question["value"], "message": question["value"]}})
            sys.exit(1)
        held[question["path"]] = question["value"]
        json.dump(held, open(os.path.join(folder, "held"), "w"))
        say({"receipt": {}})
    elif question["operation"] == "read":
        say({"found": question["path"] in held, "value": held.get(question["path"])})
    else:
        say({})
elif role == "verify":
    sys.stdout.buffer.write(sent)
    sys.stderr.buffer.write(sent)
    sys.exit(1 if mood == "verify-fails" else 0)
elif role == "token":
    sys.stderr.write(open(os.path.join(folder, "own-token")).read())
    sys.stdout.write(open(os.path.join(folder, "own-token")).read())
elif role == "alarm":
    open(os.path.join(folder, "alarms"), "ab").write(sent + b"\\n")
    sys.exit(1 if mood == "alarm-fails" else 0)
''' % sys.executable


def forms(value):
    """The byte strings that give a value away, whole or from an odd place in a longer text."""
    raw = value.encode()
    found = {raw, raw.hex().encode(), raw.hex().upper().encode(), urllib.parse.quote(value, safe="").encode(),
             urllib.parse.quote_plus(value).encode(), urllib.parse.quote(value).encode(),
             json.dumps(value)[1:-1].encode(), json.dumps(value, ensure_ascii=False)[1:-1].encode(),
             json.dumps(value)[1:-1].replace("/", "\\/").encode(), repr(value)[1:-1].encode(),
             value.encode("utf-16-le")}
    for offset in range(3):
        # The middle of the base64 of any text in which the value stands at this offset.
        text = base64.b64encode(b"\0" * offset + raw)
        middle = text[4 if offset else 0: len(text) - 4]
        found |= {middle, middle.replace(b"+", b"-").replace(b"/", b"_")}
    return found


class Search:
    def __init__(self):
        self.values = {}

    def plant(self, name, value):
        assert len(value) >= 12
        self.values[name] = forms(value)
        return value

    def hits(self, name, content):
        if isinstance(content, str):
            content = content.encode()
        return [(name, planted) for planted, texts in self.values.items() if any(text in content for text in texts)]


class Watch:
    """Runs commands, keeps their output, and looks at arguments, environment and limits of the running process."""

    def __init__(self, space):
        self.space = space
        self.outputs, self.processes = [], []

    def start(self, *arguments):
        return subprocess.Popen(
            self.space.command(*arguments, "--log-level", "trace"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL, cwd=self.space.folder, env=self.space.full_environment(),
            start_new_session=True, preexec_fn=generous_cores)

    def look(self, process):
        proc = pathlib.Path(f"/proc/{process.pid}")
        try:
            self.processes.append((proc / "cmdline").read_bytes() + b"\n" + (proc / "environ").read_bytes())
        except OSError:
            pass

    def finish(self, name, process):
        stdout, stderr = process.communicate(timeout=120)
        self.outputs.append((name, stdout + b"\n" + stderr))
        return process.returncode, stdout.decode(), stderr.decode()

    def run(self, *arguments):
        process = self.start(*arguments)
        self.look(process)
        time.sleep(0.03)
        self.look(process)
        return self.finish(" ".join(arguments), process)


def generous_cores():
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


class Receiver:
    """A webhook receiver that answers with what it got until it is told to accept."""

    def __init__(self):
        receiver = self
        self.accepts = False
        self.got = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                receiver.got.append(f"{self.path}\n{self.headers}".encode() + body)
                self.send_response(204 if receiver.accepts else 500)
                self.send_header("Content-Length", "0" if receiver.accepts else str(len(body)))
                self.end_headers()
                if not receiver.accepts:
                    self.wfile.write(body)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def canary(name):
    """Characters that each form escapes in its own way."""
    return f"CANARY-{name}-{secrets.token_hex(8)}/+=\"\\é&%'<"


def private(path, text):
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.stop()


@pytest.fixture
def proxies(bao, aws):
    made = FaultProxy(bao.port), FaultProxy(aws.port)
    yield made
    for proxy in made:
        proxy.stop()


def test_the_search_finds_what_is_there():
    search = Search()
    value = search.plant("planted", canary("planted"))
    for text in (value, json.dumps({"a": value}), base64.b64encode(value.encode()).decode(), value.encode().hex(),
                 urllib.parse.quote(value, safe=""), repr([value]),
                 base64.b64encode(b"x" + json.dumps({"k": "v"}).encode()[:4] + value.encode() + b"yz").decode(),
                 base64.urlsafe_b64encode(b"xy" + value.encode()).decode()):
        assert search.hits("here", f"some {text} text"), text
    assert not search.hits("here", "CANARY-planted-and nothing else")


def test_no_value_where_it_does_not_belong(workspace, bao, aws, proxies, receiver, tmp_path):
    search, watch = Search(), Watch(workspace)
    folder = tmp_path / "programs"
    folder.mkdir()
    for role in ("issuer", "store", "verify", "token", "alarm"):
        (folder / role).write_text(PROGRAM)
        (folder / role).chmod(0o700)

    def mood(word):
        (folder / "mood").write_text(json.dumps(word))

    own = plant_own_credentials(search, workspace, folder, bao, aws)
    issued = [search.plant(f"issued {index}", canary(f"issued{index}")) for index in range(40)]
    (folder / "canaries").write_text(json.dumps(issued))
    temporary = workspace.folder / "tmp"
    temporary.mkdir()
    workspace.environment = {"TMPDIR": str(temporary)}
    configure(workspace, folder, proxies, receiver, own)
    policies(workspace, aws, folder)

    everything(watch, workspace, mood, proxies, receiver, search, tmp_path)
    plant_what_was_made(search, workspace)
    inspect(search, watch, workspace, folder, receiver, temporary)


def plant_own_credentials(search, workspace, folder, bao, aws):
    _, made = bao.call("POST", "auth/token/create", {"ttl": "1h"})
    token = search.plant("bao token", made["auth"]["client_token"])
    (folder / "own-token").write_text(token)
    role = Role(bao)
    search.plant("AppRole secret id", role.secret_id)
    search.plant("AWS secret key", aws.secret_key)
    signing = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    search.plant("signing key", signing)
    search.plant("signing key inside", signing.removeprefix("whsec_"))
    address = search.plant("webhook address", f"hook-{secrets.token_hex(12)}")
    identity = workspace.identity.read_text()
    search.plant("identity", next(line for line in identity.splitlines() if line.startswith("AGE-SECRET-KEY-")))
    search.plant("audit key", (workspace.folder / "var/audit.key").read_text().splitlines()[1])
    where = workspace.folder / "own"
    where.mkdir()
    private(where / "secret-id", role.secret_id)
    private(where / "aws-secret", aws.secret_key)
    private(where / "signing", signing + "\n")
    return dict(role=role, address=address, where=where, key_id=aws.key_id)


def configure(workspace, folder, proxies, receiver, own):
    to_bao, to_aws = (proxy.address for proxy in proxies)
    where = own["where"]
    private(where / "aws-id", own["key_id"])
    private(where / "hook", f"http://127.0.0.1:{receiver.port}/{own['address']}")
    credentials = "credentials: {accessKeyId: {file: own/aws-id}, secretAccessKey: {file: own/aws-secret}}"
    workspace.configure(
        issuers=f"program: {{type: command, run: ['{folder}/issuer'], timeout: 5s}}\n"
        f"iam: {{type: aws-iam-access-key, region: eu-west-1, endpoint: '{to_aws}', {credentials}}}\n",
        backends=f"bao: {{type: vault-kv2, address: '{to_bao}', auth: {{token: {{command: ['{folder}/token']}}}}}}\n"
        f"role: {{type: vault-kv2, address: '{to_bao}', auth: {{appRole: {{roleId: {own['role'].role_id}, "
        f"secretId: {{file: own/secret-id}}}}}}}}\n"
        f"aws: {{type: aws-secrets-manager, region: eu-west-1, endpoint: '{to_aws}', {credentials}}}\n"
        f"store: {{type: command, run: ['{folder}/store']}}\n",
        alerts=f"hook: {{type: webhook, url: {{file: own/hook}}, signingKey: {{file: own/signing}}}}\n"
        f"alarm: {{type: command, run: ['{folder}/alarm']}}\n",
        extra="audit: {signingKey: {file: var/audit.key}, checkpoints: checkpoints.jsonl}\n")


def policies(workspace, aws, folder):
    user = f"c{uuid.uuid4().hex[:8]}"
    aws.add_user(user)
    mark = uuid.uuid4().hex[:6]
    verify = f"verify: [{{type: issuer}}, {{type: command, run: ['{folder}/verify']}}]\n"
    common = "lifetime: 30d\nrotate: {every: 20d}\ngrace: 1s\n"
    for name, issuer, more, backends in (
        (f"app/program-{mark}", "program", verify, "[{name: vault}, {name: bao}, {name: aws}, {name: store}]"),
        (f"app/role-{mark}", "program", verify, "[{name: role, format: json, template: '{\"v\": \"{{value}}\"}'}]"),
        (f"app/random-{mark}", "passwords", verify, "[{name: vault}, {name: bao}, {name: store}]"),
        (f"app/iam-{mark}", "iam", f"issue: {{user: {user}}}\n", "[{name: vault}, {name: aws}]"),
        (f"app/template-{mark}", "program", "", "[{name: bao, template: '{{value}} {{nothing}}'}, {name: vault}]"),
        (f"app/adopted-{mark}", "program", "", "[{name: vault}, {name: bao, overwrite: true}]"),
    ):
        workspace.policy(
            name.replace("/", "-"), f"secret: {name}\nissuer: {issuer}\n{common}{more}backends: {backends}\n")


def everything(watch, workspace, mood, proxies, receiver, search, tmp_path):
    """Every command, in health and in every kind of trouble, at the finest log level."""
    to_bao, to_aws = proxies
    secrets_named = sorted(path.stem.replace("-", "/", 1) for path in (workspace.folder / "schedules").glob("*.yaml"))
    adopted = next(name for name in secrets_named if "adopted" in name)
    text = search.plant("adopted", canary("adopted"))
    file = private(tmp_path / "adopted.json", json.dumps({"apiKey": text}))
    assert watch.run("adopt", adopted, "--from", str(file))[0] == 0
    broken = private(tmp_path / "broken.json", json.dumps({"apiKey": [search.plant("broken", canary("broken"))]}))
    assert watch.run("adopt", secrets_named[0], "--from", str(broken))[0] == 1
    watch.run("validate")
    watch.run("validate", "--online")

    def look_round():
        for command in (["status"], ["report"], ["history"], ["orphans", "list"], ["vault", "list"]):
            watch.run(*command)
            watch.run(*command, "--format", "json")
        for name in secrets_named:
            watch.run("explain", name)

    code, out, error = watch.run("run", "--once", "--wait", "0")
    assert code in (1, 3) and "has no field 'nothing'" in out + error
    for name in secrets_named:
        if "template" not in name:
            assert workspace.status(name)["versions"][-1]["stage"] == "current", (name, out, error)
    look_round()

    troubles = [(word, None) for word in ("refuses", "garbage", "odd", "verify-fails", "store-fails", "alarm-fails")]
    troubles += [("", (to_bao, kind)) for kind in (403, ("echo", 200), ("echo", 400), ("echo", 503))]
    troubles += [("", (to_aws, kind)) for kind in (403, ("echo", 200), ("echo", 400), ("echo", 503))]
    rules = []
    for word, fault in troubles:
        mood(word)
        rule = fault[0].fail(fault[1]) if fault else None
        code, out, error = watch.run("rotate", *secrets_named, "--wait", "0")
        assert code in (1, 3), (word, fault, out, error)
        rules.append(rule)
        to_bao.heal()
        to_aws.heal()
        mood("")
        watch.run("status", "--format", "json")
        watch.run("resume", *secrets_named)
        if fault:
            watch.run("run", "--once", "--wait", "5s")
    # A system that was just in trouble is left alone for a while, so that not every fault is met.
    assert sum(rule.hits > 0 for rule in rules if rule) >= 6, [rule.hits for rule in rules if rule]
    look_round()

    # The daemon: a reload with mistakes, a kill that leaves the write-ahead log, an end by a fault.
    receiver.accepts = True
    daemon = watch.start("run")
    time.sleep(1.5)
    watch.look(daemon)
    limits = pathlib.Path(f"/proc/{daemon.pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"], "a crash may leave a core file"
    literal = search.plant("literal", canary("literal").replace("'", ""))
    good = (workspace.folder / "keyturn.yaml").read_text()
    (workspace.folder / "keyturn.yaml").write_text(good.replace("{file: own/aws-secret}", f"'{literal}'"))
    daemon.send_signal(signal.SIGHUP)
    time.sleep(1)
    code, out, error = watch.run("validate")
    assert code == 65 and "reference" in out + error
    watch.run("validate", "--format", "json")
    (workspace.folder / "keyturn.yaml").write_text(good)
    daemon.send_signal(signal.SIGSEGV)
    code, out, error = watch.finish("run", daemon)
    assert code == -signal.SIGSEGV and "crashed" not in out + error, "a report of the crash may show memory"
    for _ in range(3):
        watch.run("resume", *secrets_named)
        watch.run("run", "--once", "--wait", "20s")
        time.sleep(1.2)
    watch.run("rotate", secrets_named[0], "--compromised")
    watch.run("pause", secrets_named[0])
    assert watch.run("audit", "verify")[0] == 0
    code, exported, _ = watch.run("audit", "export")
    assert code == 0 and exported.count('"type":"entry"') > 100 and '"type":"checkpoint"' in exported
    (workspace.folder / "trail.jsonl").write_text(exported)
    assert watch.run("audit", "verify", "--file", str(workspace.folder / "trail.jsonl"))[0] == 0
    watch.run("audit", "key")
    watch.run("vault", "export", str(tmp_path / "exported"))
    look_round()


def plant_what_was_made(search, workspace):
    """Random values and IAM keys are known only now."""
    count = 0
    for file in workspace.vault.rglob("*.age"):
        value = workspace.stock_age(file)
        count += 1
        if value.startswith("{"):
            search.plant(f"IAM key of {file}", json.loads(value)["secretAccessKey"])
        else:
            search.plant(f"value of {file}", value)
    assert count >= 5


def inspect(search, watch, workspace, folder, receiver, temporary):
    hits = []
    for name, output in watch.outputs:
        hits += search.hits(f"output of {name}", output)
    for content in watch.processes:
        hits += search.hits("arguments and environment of keyturn", content)
    hits += search.hits("arguments and environment of programs", (folder / "children").read_bytes())
    assert len(receiver.got) >= 4
    for content in receiver.got:
        # The address itself is where it must be: in the request's first line.
        hits += search.hits("alert at the webhook", content.split(b"\n", 1)[1])
    hits += search.hits("alert at the program", (folder / "alarms").read_bytes())
    searched = 0
    for path in [*workspace.folder.rglob("*"), *(folder.parent / "exported").rglob("*")]:
        if not path.is_file() or path.is_symlink():
            continue
        own = path.is_relative_to(workspace.folder / "own") or path in (workspace.identity, workspace.folder / "var/audit.key")
        if not own:
            hits += search.hits(str(path), path.read_bytes())
            searched += 1
    assert hits == []
    names = {path.name for path in (workspace.folder / "var").iterdir()}
    assert "keyturn.db" in names and searched > 12
    assert list(temporary.iterdir()) == [], "something was left in TMPDIR"
    assert not [path for path in workspace.folder.rglob("*") if path.name.startswith(("core", ".keyturn-tmp-"))]
    assert sum(b"step failed" in output for _, output in watch.outputs) > 10, "too little went wrong"
