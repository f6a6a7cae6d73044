"""Kills the command at any moment and holds what is left against the promises.

An issuer or a backend joins with one class and one entry in `ISSUERS` or `BACKENDS`: how it is configured, how a
consumer reads it without Keyturn, and which keys it holds. Secrets are made for every issuer, each in two backends,
unless a test says which it wants.
"""
import collections
import hashlib
import itertools
import json
import os
import pathlib
import random
import signal
import sqlite3
import subprocess
import threading
import time
import uuid

from dotenv import dotenv_values

from conftest import references
from peers.fault_proxy import Dropped, FaultProxy
from peers.github import GitHub
from peers.kubernetes_api import KubernetesAPI
from peers.key_service import KeyService
from peers.momento import CELL, Momento
from peers.postgresql import PostgreSQL
from peers.redis import Redis
from peers.system_calls import SystemCalls
from programs import CommandIssuer, Ambush
from workspace import Workspace

GRACE = 1.0
SECRETS = int(os.environ.get("KEYTURN_TEST_SECRETS", "2"))  # of each issuer
LIVE = ("pending", "current", "previous", "disabled")


class Issuer:
    """One issuer as the harness knows it. `keys` is None where nobody can list them."""
    name = ""
    json = False  # whether its value is a JSON object
    reports = False  # whether Keyturn can only report what became of a key whose answer was lost
    serves_itself = False  # whether a server is started for it alone

    def __init__(self, world):
        self.world = world

    def configuration(self):
        return ""

    def environment(self):
        """What its references lead to."""
        return {}

    def issue(self, subject):
        """What the policy says under `issue`, as YAML."""
        return ""

    def works(self, subject, value):
        raise NotImplementedError

    def keys(self, subject):
        return None

    def account(self, subject, entry, versions, told):
        """Asserts what can be counted where keys have no names; `told` counts those that are reported."""

    def secret(self, value):
        """The part of a value that nobody may see."""
        return value


class Passwords(Issuer):
    name = "passwords"

    def works(self, subject, value):
        return len(value) == 32


class IAM(Issuer):
    name = "iam"
    json = True

    def configuration(self):
        return (f"iam: {{type: aws-iam-access-key, region: eu-west-1, endpoint: '{self.world.aws_proxy.address}', "
                f"credentials: {CREDENTIALS}}}")

    def issue(self, subject):
        subject.user = f"u{uuid.uuid4().hex[:10]}"
        self.world.aws.add_user(subject.user)
        return f"issue: {{user: {subject.user}}}\n"

    def works(self, subject, value):
        key = json.loads(value)
        return self.world.aws.accepts(key["accessKeyId"], key["secretAccessKey"])

    def keys(self, subject):
        return set(self.world.aws.keys(subject.user))

    def secret(self, value):
        return json.loads(value)["secretAccessKey"]


class Program(Issuer):
    name = "program"
    more = "disables: true"

    def configuration(self):
        self.program = CommandIssuer(self.world.programs / self.name)
        self.ambush = Ambush(self.program.program)
        return f"{self.name}: {{type: command, run: ['{self.ambush.program}'], timeout: 2s, {self.more}}}"

    def works(self, subject, value):
        return self.program.accepts(value)

    def keys(self, subject):
        return {key for key, about in self.program.keys().items() if about["secret"] == subject.name}


class Blind(Program):
    """The same, of which Keyturn does not know that it could list its keys."""
    name = "blind"
    more = "kind: unlistable"
    reports = True


class MomentoKeys(Issuer):
    """Momento's second generation, over its own proxy."""
    name = "momento"

    def configuration(self):
        self.momento = self.world.momento
        return (f"momento: {{type: momento, apiKey: {{env: KT_MOMENTO}}, endpoint: {CELL}, "
                f"address: '{self.world.momento_proxy.address}', cacheAddress: '{self.world.momento_proxy.address}'}}")

    def issue(self, subject):
        return "issue: {role: reader, check: {cache: payments}}\n"

    def works(self, subject, value):
        return self.momento.accepts(value)

    def keys(self, subject):
        return self.momento.marked(subject.name)


class MomentoCellKeys(Issuer):
    """Its first generation, of which nothing can be listed or revoked; the calls for keys pass no proxy."""
    name = "momento-v1"
    reports = True

    def configuration(self):
        self.momento = self.world.momento
        return (f"momento-v1: {{type: momento-v1, apiKey: {{env: KT_MOMENTO_V1}}, "
                f"address: '{self.momento.grpc_address}', cacheAddress: '{self.world.momento_proxy.address}'}}")

    def issue(self, subject):
        return "issue: {permissions: [{cache: payments, role: readonly}]}\n"

    def works(self, subject, value):
        return self.momento.accepts(value)

    def account(self, subject, entry, versions, told):
        made = len(self.momento.cell_keys_of(subject.name))
        open_question = bool(entry and entry["rotation"])
        assert made <= len(versions) + told() + open_question, (subject.name, made, versions)


class Roles(Issuer):
    """Two roles of PostgreSQL that take turns; no proxy sees what is said."""
    name = "postgresql"
    serves_itself = True

    def configuration(self):
        self.server = self.world.server(PostgreSQL)
        return (f"postgresql: {{type: postgresql-role, host: 127.0.0.1, port: {self.server.port}, user: keyturn, "
                f"password: {{env: KT_POSTGRESQL}}}}")

    def environment(self):
        return {"KT_POSTGRESQL": self.server.admin_password}

    def issue(self, subject):
        subject.roles = self.server.add_roles()
        return f"issue: {{users: {json.dumps(subject.roles)}, format: url}}\n"

    def works(self, subject, value):
        return self.server.opens(value) in subject.roles

    def account(self, subject, entry, versions, told):
        held = self.server.verifiers(subject.roles)
        known = {version["keyId"].split("/")[0] for version in versions if version["stage"] in LIVE}
        if not (entry and entry["rotation"]):
            assert set(held) <= known, (subject.name, set(held), versions)

    def secret(self, value):
        return value.split(":")[2].split("@")[0]


class Users(Issuer):
    """Users of Redis, which may have several passwords; no proxy sees what is said."""
    name = "redis"
    serves_itself = True

    def configuration(self):
        self.server = self.world.server(Redis)
        return (f"redis: {{type: redis-acl, addresses: ['{self.server.address}'], "
                f"password: {{env: KT_REDIS}}}}")

    def environment(self):
        return {"KT_REDIS": self.server.admin_password}

    def issue(self, subject):
        subject.user = self.server.add_user()
        return f"issue: {{user: {subject.user}}}\n"

    def works(self, subject, value):
        return self.server.accepts(subject.user, value)

    def keys(self, subject):
        return {text[:16] for text in self.server.hashes(subject.user)}


class Interface(Issuer):
    """One that is described in the configuration, with a list; no proxy sees what is said."""
    name = "http"
    serves_itself = True

    def configuration(self):
        self.service = self.world.server(KeyService)
        return self.service.configuration(self.name).rstrip()

    def environment(self):
        return {"KT_API": self.service.own}

    def issue(self, subject):
        return "issue: {parameters: {scopes: [read, write]}}\n"

    def works(self, subject, value):
        return self.service.accepts(value)

    def keys(self, subject):
        return self.service.marked(subject.name)


class Backend:
    name = ""

    def __init__(self, world):
        self.world = world

    def configuration(self):
        return ""

    def target(self, subject):
        """More members of the policy's entry."""
        return ""

    def read(self, subject):
        """What a consumer gets, by a foreign client; None when there is nothing."""
        raise NotImplementedError

    def settled(self, subject, versions):
        """Asserts that nothing lies around; `versions` are stages by number."""


class Vault(Backend):
    name = "vault"

    def read(self, subject):
        return self.world.space.vault_value(subject.name)

    def settled(self, subject, versions):
        names = {path.name for path in (self.world.space.vault / subject.name).iterdir()}
        files = {f"{number}.age" for number, stage in versions.items() if stage in LIVE}
        assert names == files | {"current", ".keyturn.json"}, (subject.name, names, versions)


class Bao(Backend):
    name = "bao"

    def configuration(self):
        return (f"bao: {{type: vault-kv2, address: '{self.world.bao_proxy.address}', "
                f"auth: {{token: {{env: KT_BAO}}}}}}")

    def target(self, subject):
        return ", format: json" if subject.issuer.json else ""

    def read(self, subject):
        status, answer = self.world.bao.call("GET", f"secret/data/{subject.name}")
        if status != 200:
            return None
        data = answer["data"]["data"]
        return json.dumps(data) if subject.issuer.json else data["value"]


class SecretsManager(Backend):
    name = "aws"

    def configuration(self):
        self.client = self.world.aws.client("secretsmanager")
        return (f"aws: {{type: aws-secrets-manager, region: eu-west-1, "
                f"endpoint: '{self.world.aws_proxy.address}', credentials: {CREDENTIALS}}}")

    def read(self, subject):
        try:
            return self.client.get_secret_value(SecretId=subject.name, VersionStage="AWSCURRENT")["SecretString"]
        except self.client.exceptions.ResourceNotFoundException:
            return None

    def settled(self, subject, versions):
        stages = self.client.describe_secret(SecretId=subject.name)["VersionIdsToStages"]
        labels = collections.Counter(label for carried in stages.values() for label in carried)
        assert labels["AWSCURRENT"] == 1 and labels["keyturn-pending"] == 0, (subject.name, stages)


class ParameterStore(Backend):
    name = "ssm"

    def configuration(self):
        self.client = self.world.aws.client("ssm")
        return (f"ssm: {{type: aws-ssm-parameter, region: eu-west-1, "
                f"endpoint: '{self.world.aws_proxy.address}', credentials: {CREDENTIALS}}}")

    def target(self, subject):
        return f", path: /{subject.name}"

    def read(self, subject):
        try:
            return self.client.get_parameter(Name=f"/{subject.name}", WithDecryption=True)["Parameter"]["Value"]
        except self.client.exceptions.ParameterNotFound:
            return None

    def settled(self, subject, versions):
        listed = self.client.list_tags_for_resource(ResourceType="Parameter", ResourceId=f"/{subject.name}")["TagList"]
        tags = {tag["Key"]: tag["Value"] for tag in listed}
        newest = self.client.get_parameter(Name=f"/{subject.name}")["Parameter"]["Version"]
        assert tags["keyturn:parameter-version"] == str(newest), (subject.name, tags, newest)


class KubernetesSecrets(Backend):
    """All secrets are keys of one Secret."""
    name = "kube"

    def configuration(self):
        config = self.world.space.folder / "kubeconfig"
        config.write_text(json.dumps({
            "current-context": "one", "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
            "clusters": [{"name": "one", "cluster": {"server": self.world.kube_proxy.address}}],
            "users": [{"name": "one", "user": {"token": "root"}}]}))
        config.chmod(0o600)
        return "kube: {type: kubernetes-secret, kubeconfig: kubeconfig, namespace: payments}"

    def key(self, subject):
        return subject.name.replace("/", ".")

    def target(self, subject):
        return f", path: keys#{self.key(subject)}"

    def read(self, subject):
        return self.world.kube.value("payments", "keys", self.key(subject))

    def settled(self, subject, versions):
        annotations = self.world.kube.secrets["payments", "keys"]["metadata"]["annotations"]
        marked = [mark for mark in map(json.loads, annotations.values()) if mark["secret"] == subject.name]
        assert [versions[mark["version"]] for mark in marked] == ["current"], (subject.name, marked, versions)


class ActionsSecrets(Backend):
    """Nobody reads them back but a workflow, for which the server stands in."""
    name = "github"

    def configuration(self):
        self.hub = self.world.github
        return (f"github: {{type: github-actions-secret, address: '{self.world.github_proxy.address}', "
                f"token: {{env: KT_GITHUB}}}}")

    def secret(self, subject):
        return "KEY_" + subject.name.translate(str.maketrans("/-", "__")).upper()

    def target(self, subject):
        return f", path: octo/app#{self.secret(subject)}"

    def read(self, subject):
        return self.hub.value(self.secret(subject))

    def settled(self, subject, versions):
        variable = self.hub.variables["/repos/octo/app/actions", f"{self.secret(subject)}_KEYTURN"]
        note = json.loads(variable["value"])
        assert "intended" not in note and versions[note["done"]["version"]] == "current", (subject.name, note, versions)


class Files(Backend):
    name = "files"

    def configuration(self):
        return "files: {type: file, directory: var/files}"

    def path(self, subject):
        return self.world.space.folder / "var/files" / subject.name

    def read(self, subject):
        path = self.path(subject)
        return path.read_text() if path.exists() else None

    def settled(self, subject, versions):
        assert [path.name for path in self.path(subject).parent.glob(".keyturn-tmp-*")] == []


class Dotenv(Backend):
    """All secrets are variables of one file."""
    name = "env"

    def configuration(self):
        self.file = self.world.space.folder / "var/env/app/.env"
        return "env: {type: dotenv, directory: var/env}"

    def variable(self, subject):
        return "KEY_" + subject.name.translate(str.maketrans("/-", "__"))

    def target(self, subject):
        return f", path: app/.env#{self.variable(subject)}"

    def read(self, subject):
        return dotenv_values(self.file).get(self.variable(subject)) if self.file.exists() else None

    def settled(self, subject, versions):
        assert [path.name for path in self.file.parent.iterdir()] == [".env"]


class Described(Backend):
    """OpenBao once more, as an interface that the configuration describes."""
    name = "described"

    def configuration(self):
        return (f"described: {{type: http, url: '{self.world.bao_proxy.address}', "
                "headers: {X-Vault-Token: '{{own}}'}, credentials: [{name: own, secret: {env: KT_BAO}}], "
                "write: {method: POST, path: '/v1/secret/data/described/{{path}}', json: {data: {word: '{{value}}'}}}, "
                "read: {path: '/v1/secret/data/described/{{path}}', value: /data/data/word}}")

    def read(self, subject):
        return self.world.bao.value(f"described/{subject.name}", "word")


CREDENTIALS = "{accessKeyId: {env: KT_AWS_ID}, secretAccessKey: {env: KT_AWS_SECRET}}"
ISSUERS = [Passwords, IAM, Program, Blind, MomentoKeys, MomentoCellKeys, Roles, Users, Interface]
BACKENDS = [Vault, Bao, SecretsManager, ParameterStore, KubernetesSecrets, ActionsSecrets, Files, Dotenv, Described]
# How many points of each walk are tried at least, spread over all; `all` tries each.
DEPTH = os.environ.get("KEYTURN_TEST_POINTS", "2")


# Where a process is killed, besides a moment of its life and a request, `before` or `after` the server carried it out:
# a program that it runs, before or after that did its work; or a system call that changes its journal or other files.
POINTS = {
    "before": None, "after": None, "program before": None, "program after": None,
    "journal": ("journal", "kill"), "torn write": ("journal", "tear"), "power cut": ("commit", "kill"),
    "files": ("files", "kill"),
}


class Subject:
    """One secret under test."""

    def __init__(self, number, issuer, backends):
        self.name = f"{issuer.name}/s{number}-{issuer.world.mark}"
        self.issuer, self.backends = issuer, backends
        self.served = set()  # backends in which a consumer has once found a key

    def policy(self):
        backends = ", ".join(f"{{name: {backend.name}{backend.target(self)}}}" for backend in self.backends)
        return (f"secret: {self.name}\nissuer: {self.issuer.name}\n{self.issuer.issue(self)}lifetime: 30d\n"
                f"rotate: {{every: 20d}}\ngrace: {int(GRACE)}s\nverify: [{{type: issuer}}]\nbackends: [{backends}]\n")


class World:
    def __init__(self, folder, bao, aws, seed, kinds=None, site=None):
        """`kinds` are the issuers of the secrets, each of which lies in every backend then. `site` is the user's folder,
        with state and vault."""
        self.folder = pathlib.Path(folder)
        self.programs = self.folder / "programs"
        self.programs.mkdir(parents=True)
        # The servers may know secrets of other tests.
        self.mark = uuid.uuid4().hex[:8]
        self.bao, self.aws = bao, aws
        self.bao_proxy, self.aws_proxy = FaultProxy(bao.port), FaultProxy(aws.port)
        self.momento = Momento()
        self.momento_proxy = FaultProxy(self.momento.port)
        self.kube = KubernetesAPI()
        self.kube_proxy = FaultProxy(self.kube.port)
        self.github = GitHub()
        self.github_proxy = FaultProxy(self.github.port)
        self.proxies = (
            self.bao_proxy, self.aws_proxy, self.momento_proxy, self.kube_proxy, self.github_proxy)
        self.random = random.Random(seed)
        self.counts = collections.Counter()
        self.space = Workspace(site or self.folder / "site")
        self.servers = {}
        self.issuers = [kind(self) for kind in ISSUERS if kinds is None or kind in kinds or not kind.serves_itself]
        self.backends = [kind(self) for kind in BACKENDS]
        self.space.configure(
            issuers="".join(f"{system.configuration()}\n" for system in self.issuers),
            backends="".join(f"{system.configuration()}\n" for system in self.backends))
        self.space.environment = {
            **references(aws), "KT_MOMENTO": self.momento.admin_key, "KT_MOMENTO_V1": self.momento.admin_v1,
            "KT_GITHUB": self.github.token}
        for issuer in self.issuers:
            self.space.environment |= issuer.environment()
        self.subjects = []
        self.database = self.space.folder / "var/keyturn.db"
        self.audit = AuditReader(self.database)
        self.calls = SystemCalls(self.folder, self.database, self.space.folder / "var")
        self.duration, self.requests = 1.0, 40
        # Three lost answers in a row of an issuer that only reports are for a person, and random kills may come to that.
        for issuer in [issuer for issuer in self.issuers if not issuer.reports] * SECRETS if kinds is None else []:
            number = len(self.subjects)
            self.add_subject(
                issuer, [self.backends[(number + step) % len(self.backends)] for step in (number // 3, number // 3 + 1)])
        for kind in kinds or []:
            self.add_subject(next(issuer for issuer in self.issuers if type(issuer) is kind), self.backends)

    def add_subject(self, issuer, backends):
        subject = Subject(len(self.subjects), issuer, backends)
        self.space.policy(subject.name.replace("/", "-"), subject.policy())
        self.subjects.append(subject)

    def stop(self):
        for proxy in self.proxies:
            proxy.stop()
        self.momento.stop()
        self.kube.stop()
        self.github.stop()
        for server in self.servers.values():
            server.stop()

    def server(self, kind):
        """The one of this kind, started when it is first asked for."""
        if kind not in self.servers:
            self.servers[kind] = kind()
        return self.servers[kind]

    # Runs and kills.

    def measure(self):
        """How long a rotation of everything takes, and how many requests it makes."""
        before = sum(proxy.requests for proxy in self.proxies)
        begun = time.monotonic()
        done = self.space.run("rotate", *[subject.name for subject in self.subjects])
        assert done.returncode == 0, done.stderr
        self.duration = time.monotonic() - begun
        self.requests = sum(proxy.requests for proxy in self.proxies) - before

    def run_and_kill(self, *arguments):
        """Starts the command and kills it at a random moment or request; False when it ended before."""
        kind = self.random.choice(["time", "time", "before", "after"])
        if kind == "time":
            moment = self.random.uniform(0.05, self.duration)
        else:
            # As many requests as are made in a random part of the time.
            moment = self.random.randint(1, max(1, int(self.requests * 0.8)))
        return self.kill_at(kind, moment, *arguments)

    def kill_at(self, kind, moment, *arguments):
        """Starts the command and kills it at a moment, or at a request, a program's run or a system call by its number:
        see `POINTS`. False when it ended before."""
        log = self.folder / "killed.log"
        environment = self.calls.environment(*POINTS[kind], moment) if isinstance(POINTS.get(kind), tuple) else {}
        with open(log, "w") as stderr:
            assassin = Assassin(self, kind, moment)
            assassin.strike(self.space.start(*arguments, stderr=stderr, environment=environment), self.duration * 3)
        self.seen = self.calls.counted() if environment else assassin.seen
        text = log.read_text()
        self.counts["unknown outcomes resolved"] += text.count("unknown outcome")
        if not assassin.struck:
            self.counts["ended before the kill"] += 1
            return False
        self.counts["kills"] += 1
        self.counts[f"kills by {kind}"] += 1
        self.settle_outside()
        if kind == "power cut":
            self.counts["writes taken away"] += self.calls.cut_power()
        return True

    def settle_outside(self):
        """Waits until what the killed process had sent off has come to its end at the servers and in its programs."""
        deadline = time.monotonic() + 30
        while any(proxy.in_flight for proxy in self.proxies) or children_of(self.programs):
            assert time.monotonic() < deadline, "a request or a program does not end"
            time.sleep(0.01)

    def restart(self, wait="0"):
        """A pass to its end. What is left over may only be waiting for the issuer to be able to tell."""
        done = self.space.run("run", "--once", "--wait", wait)
        self.counts["restarts"] += 1
        self.counts["unknown outcomes resolved"] += done.stderr.count("unknown outcome")
        status = self.space.status()
        waiting = {name: entry for name, entry in status.items() if entry["rotation"]}
        for name, entry in waiting.items():
            assert "too early to tell" in (entry["rotation"]["lastError"] or ""), (entry, done.stderr)
        assert done.returncode == (1 if waiting else 0) or (waiting and done.returncode == 0), (
            done.stdout, done.stderr, self.space.run("explain", *status).stdout)
        return status

    def recovers(self, point, restarted=False):
        """Asserts that all promises hold as it stands, and that a restart brings every rotation to its end.

        `restarted` says that nothing was interrupted. The pass lasts long enough for a key that a listing may show late."""
        self.check(restarted)
        status = self.restart("40s")
        assert all(entry["rotation"] is None for entry in status.values()), (point, status)
        self.check(restarted=True)

    # Promises.

    def check(self, restarted):
        status = self.space.status()
        if not restarted:
            interrupted = sum(1 for entry in status.values() if entry["rotation"])
            self.counts["kills mid-rotation"] += bool(interrupted)
            self.counts["rotations interrupted"] += interrupted
        self.audit.verify()
        stored = b"".join(path.read_bytes() for path in self.database.parent.glob(self.database.name + "*"))
        for subject in self.subjects:
            entry = status.get(subject.name)
            versions = entry["versions"] if entry else []
            assert not (entry and entry["quarantined"]), entry
            self.check_stages(subject, versions)
            self.check_consumers(subject, versions, stored)
            self.check_keys(subject, entry, versions, restarted)

    def check_stages(self, subject, versions):
        stages = collections.Counter(version["stage"] for version in versions)
        assert stages["current"] <= 1 and stages["pending"] <= 1, (subject.name, versions)
        assert not subject.served or stages["current"] == 1 or stages["pending"] == 1, (subject.name, versions)

    def check_consumers(self, subject, versions, stored):
        """Every consumer reads a key that its issuer accepts, from the first time on that there was one. The state holds
        it sealed."""
        values = {backend: backend.read(subject) for backend in subject.backends}
        must = any(version["stage"] == "current" for version in versions)
        for backend, value in values.items():
            self.counts["reads"] += 1
            if value is None:
                assert backend.name not in subject.served and not must, (subject.name, backend.name, versions)
            else:
                subject.served.add(backend.name)
        for value in {canonical(subject, value) for value in values.values() if value is not None}:
            assert subject.issuer.works(subject, value), (subject.name, versions, "a consumer's key is refused")
            assert subject.issuer.secret(value).encode() not in stored, (subject.name, "a value lies open in the state")

    def check_keys(self, subject, entry, versions, restarted):
        """The issuer holds what the state knows, and while a rotation is under way one key more at most."""
        held = subject.issuer.keys(subject)

        def told():
            return sum(orphan["secret"] == subject.name for orphan in self.space.json("orphans", "list")["orphans"])
        if held is None:
            return subject.issuer.account(subject, entry, versions, told)
        known = {version["keyId"] for version in versions if version["stage"] in LIVE}
        if subject.issuer.reports:
            open_question = bool(entry and entry["rotation"])
            assert len(held - known) <= told() + open_question, (subject.name, held, versions)
            held &= known
        if entry and entry["rotation"]:
            assert len(held - known) <= 1, (subject.name, held, versions)
        elif restarted:
            assert held == known, (subject.name, held, versions)
        else:
            # Killed after a revocation and before its record.
            assert held <= known and {v["keyId"] for v in versions if v["stage"] == "current"} <= held, (
                subject.name, held, versions)

    def settle(self):
        """Everything is brought to its end, and nothing may be left over anywhere."""
        deadline = time.monotonic() + 60
        while any(entry["rotation"] for entry in self.restart("20s").values()):
            assert time.monotonic() < deadline, "a rotation does not end"
            time.sleep(0.5)
        time.sleep(GRACE + 0.2)
        # A fresh write everywhere, after which no leftover of a killed one may lie there.
        done = self.space.run("rotate", *[subject.name for subject in self.subjects])
        assert done.returncode == 0, done.stderr
        time.sleep(GRACE + 0.2)
        status = self.restart()
        self.check(restarted=True)
        for subject in self.subjects:
            versions = {version["number"]: version["stage"] for version in status[subject.name]["versions"]}
            live = sorted(stage for stage in versions.values() if stage in LIVE)
            assert live == ["current"], (subject.name, versions)
            values = {canonical(subject, backend.read(subject)) for backend in subject.backends}
            assert len(values) == 1, (subject.name, "backends disagree")
            for backend in subject.backends:
                backend.settled(subject, versions)
        reports = {subject.name for subject in self.subjects if subject.issuer.reports}
        orphans = self.space.json("orphans", "list")["orphans"]
        assert {orphan["secret"] for orphan in orphans} <= reports, orphans
        assert self.space.run("audit", "verify").returncode == 0
        leftovers = [path for path in self.space.vault.rglob(".keyturn-tmp-*")]
        assert not leftovers, leftovers


def spread(there, choose):
    """Numbers from 1 to `there`, as many as `DEPTH` says; without an end when that is all."""
    if DEPTH == "all":
        return itertools.count(1)
    step = max(1, there // int(DEPTH))
    return range(1 + choose.randrange(step), there + 1, step)


def canonical(subject, value):
    return json.dumps(json.loads(value), sort_keys=True) if subject.issuer.json else value.strip("\n")


class Assassin:
    """Kills one process, at a moment or when a request passes, or sees whether it is killed by what it called."""

    def __init__(self, world, kind, moment):
        self.world, self.kind, self.moment = world, kind, moment
        self.struck = False
        self.seen = 0
        self.lock = threading.Lock()
        self.process = None

    def strike(self, process, patience):
        self.process = process
        proxies = self.world.proxies
        if self.kind in ("before", "after"):
            for proxy in proxies:
                setattr(proxy, self.kind, self.request_passes)
        elif self.kind.startswith("program "):
            self.world.subjects[0].issuer.ambush.lay(self.moment, self.kind.removeprefix("program "))
        try:
            if self.kind == "time":
                time.sleep(self.moment)
                self.kill()
            process.wait(timeout=patience + 2)
        except subprocess.TimeoutExpired:
            # A daemon that has nothing more to ask.
            self.kill()
        finally:
            for proxy in proxies:
                proxy.before = proxy.after = None
            if self.kind.startswith("program "):
                self.seen = self.world.subjects[0].issuer.ambush.lift()
        process.communicate()
        # By how it ended, and not by whether the thread that killed it has come so far as to say so.
        self.struck = process.returncode == -signal.SIGKILL

    def request_passes(self, _):
        with self.lock:
            self.seen += 1
            if self.seen < self.moment:
                return
            self.kill()
            # What a dead process did not send does not arrive.
            if self.kind == "before":
                raise Dropped

    def kill(self):
        if self.process.poll() is None and not self.struck:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.struck = self.process.returncode == -signal.SIGKILL


def children_of(folder):
    """Whether a program of this folder still runs: programs outlive the process that asked them."""
    wanted = str(folder).encode()
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if wanted in path.read_bytes():
                return True
        except OSError:
            pass
    return False


class AuditReader:
    """Checks the hash chain from the database itself, each entry once, by a second writing of its rule."""

    def __init__(self, path):
        self.path = path
        self.last, self.head = 0, "0" * 64
        self.kinds = collections.Counter()

    def verify(self):
        database = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=20)
        try:
            rows = database.execute(
                "SELECT sequence, at, kind, secret, version, step, actor, detail, previous_hash, hash FROM audit "
                "WHERE sequence > ? ORDER BY sequence", (self.last,)).fetchall()
            assert database.execute("SELECT count(*) FROM audit WHERE sequence = ? AND hash = ?", (
                self.last, self.head)).fetchone()[0] == (1 if self.last else 0), "an entry vanished"
        finally:
            database.close()
        for sequence, at, kind, secret, version, step, actor, detail, previous, digest in rows:
            assert sequence == self.last + 1 and previous == self.head, (sequence, self.last)
            words = [str(sequence), previous, str(at), kind, secret or "", "" if version is None else str(version),
                     step or "", actor]
            for name, value in sorted(json.loads(detail).items()):
                words += [name, value]
            text = b"".join(f"{len(word.encode())}:".encode() + word.encode() for word in words)
            assert hashlib.sha256(text).hexdigest() == digest, (sequence, "the entry does not match its hash")
            self.last, self.head = sequence, digest
            self.kinds[kind] += 1
