"""Every fault that an outside system can show, at every system that Keyturn speaks HTTP to.

Each fault makes a pass fail with a clear error and a documented exit code; once it is gone, the rotation ends with one
key, the same in every backend, and nothing left over at the issuer.
"""
import json
import os
import random
import re
import time
import uuid

import pytest

from conftest import references, systems
from crash_harness import DEPTH, IAM, MomentoKeys, Passwords, World, spread
from peers.fault_proxy import Dropped, FaultProxy, certificate

SYSTEMS = {
    # system: word of a request that a rotation can't do without, after the first rotation
    "iam": "Action=CreateAccessKey",
    "aws": "PutSecretValue",
    "bao": "/v1/secret/data/",
}
PASSING = {
    "429": dict(kind=429, headers={"Retry-After": "1"}), "500": dict(kind=500), "503": dict(kind=503),
    "reset": dict(kind="reset"), "lost": dict(kind="lost"), "timeout": dict(kind="timeout"),
    "truncated": dict(kind="truncated"), "oversized": dict(kind="oversized"), "garbage": dict(kind="garbage"),
    "empty": dict(kind="empty"),
}
# 403 and 404 are permanent; 409 is a conflict with somebody else.
PERMANENT = {"403": dict(kind=403), "400": dict(kind=400), "409": dict(kind=409), "404": dict(kind=404)}
WORDS = {
    "429": r"slow down|429|rate", "500": r"500", "503": r"503", "reset": r"connection|reset|closed",
    "lost": r"connection|reset|closed|unknown|lost", "timeout": r"did not answer|timed? ?out|in time|within",
    "truncated": r"cut|short|truncated|broke off|connection|not what|XML", "oversized": r"large|bytes|big",
    "garbage": r"not|XML", "empty": r"not|XML", "403": r"403|refuse|denie|right|may not",
    "400": r"400|refuse", "409": r"409|conflict|changed|exists", "404": r"404|no such|not there|not found|nothing",
}


class FaultySite:
    """A user's folder where one system is reached through the proxy."""

    def __init__(self, workspace, bao, aws, system, proxy_certificate=None):
        self.space, self.aws, self.bao = workspace, aws, bao
        self.user = f"f{uuid.uuid4().hex[:10]}"
        aws.add_user(self.user)
        self.name = f"cloud/{self.user}"
        upstream = bao.port if system == "bao" else aws.port
        self.proxy = FaultProxy(upstream, proxy_certificate)
        self.configuration = systems(bao, aws)
        plain = bao.address if system == "bao" else aws.endpoint
        section = "issuers" if system == "iam" else "backends"
        lines = self.configuration[section].splitlines()
        index = next(i for i, line in enumerate(lines) if line.startswith(f"{system}:"))
        lines[index] = lines[index].replace(plain, self.proxy.address).replace("type:", "timeout: 1s, type:", 1)
        self.healthy = dict(self.configuration)
        self.configuration[section] = "\n".join(lines) + "\n"
        workspace.configure(**self.configuration)
        workspace.environment = references(aws)
        workspace.policy("key", f"""
secret: {self.name}
issuer: iam
issue: {{user: {self.user}}}
lifetime: 30d
rotate: {{every: 20d}}
grace: 1h
verify: [{{type: issuer}}]
backends: [{{name: vault}}, {{name: bao, format: json}}, {{name: aws}}]
""")

    def values(self):
        _, answer = self.bao.call("GET", f"secret/data/{self.name}")
        return [json.loads(self.space.vault_value(self.name)), answer["data"]["data"],
                json.loads(self.aws.value(self.name))]

    def must_serve(self, number):
        """Every consumer has the same key, and it works; the issuer holds what the state knows."""
        values = self.values()
        assert values[0] == values[1] == values[2]
        assert self.aws.accepts(values[0]["accessKeyId"], values[0]["secretAccessKey"])
        stages = self.space.stages(self.name)
        assert [n for n, stage in stages.items() if stage == "current"] == [number], stages
        known = {version["keyId"] for version in self.space.status(self.name)["versions"]
                 if version["stage"] in ("pending", "current", "previous", "disabled")}
        assert set(self.aws.keys(self.user)) == known

    def finish(self):
        """Passes until nothing is under way."""
        for _ in range(12):
            done = self.space.run("run", "--once", "--wait", "30s")
            entry = self.space.status(self.name)
            if entry["quarantined"]:
                assert done.returncode == 3
                assert self.space.run("resume", self.name).returncode == 0
            elif entry["rotation"] is None and done.returncode == 0:
                return
            else:
                time.sleep(1)
        raise AssertionError((done.stdout, done.stderr, entry))


@pytest.fixture
def faulty(workspace, bao, aws):
    sites = []

    def make(system, proxy_certificate=None):
        sites.append(FaultySite(workspace, bao, aws, system, proxy_certificate))
        return sites[-1]
    yield make
    for site in sites:
        site.proxy.stop()


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("fault", [*PASSING, *PERMANENT])
def test_fault(faulty, system, fault):
    site = faulty(system)
    done = site.space.run("run", "--once")
    assert done.returncode == 0, done.stderr
    site.must_serve(1)
    secrets = [value for value in site.values()[0].values()]

    rule = site.proxy.fail(word=SYSTEMS[system], **{**PASSING, **PERMANENT}[fault])
    done = site.space.run("rotate", site.name, "--wait", "0")
    assert rule.hits > 0
    assert done.returncode in (1, 3), (done.returncode, done.stderr)
    told = done.stdout + done.stderr
    assert re.search(WORDS[fault], told, re.I), told
    assert "made up" not in told and "it is not what was asked" not in told, "the raw answer is repeated"
    secret = secrets[1]
    assert secret not in told
    # Whatever happened, every consumer is served.
    for value in site.values():
        assert site.aws.accepts(value["accessKeyId"], value["secretAccessKey"])

    site.proxy.heal()
    site.finish()
    site.must_serve(max(site.space.stages(site.name)))


@pytest.mark.parametrize("system", SYSTEMS)
def test_tls_failure(faulty, scratch, system):
    site = faulty(system, certificate(scratch))
    done = site.space.run("run", "--once", "--wait", "0")
    assert done.returncode in (1, 3), done.stderr
    assert re.search("certificate|TLS", done.stdout + done.stderr)
    assert site.proxy.requests == 0, "something was sent to a server that is not trusted"
    site.space.configure(**site.healthy)
    site.finish()
    site.must_serve(max(site.space.stages(site.name)))


@pytest.mark.parametrize("system", SYSTEMS)
def test_connection_refused(faulty, system):
    site = faulty(system)
    site.proxy.stop()
    done = site.space.run("run", "--once", "--wait", "0")
    assert done.returncode in (1, 3), done.stderr
    assert re.search("connect|reach", done.stdout + done.stderr), done.stderr
    site.space.configure(**site.healthy)
    site.finish()
    site.must_serve(max(site.space.stages(site.name)))


@pytest.mark.parametrize("system", SYSTEMS)
def test_wrong_credential(faulty, aws, system):
    site = faulty(system)
    wrong = {"KT_BAO": "wrong"} if system == "bao" else {"KT_AWS_SECRET": "wrong"}
    good = dict(site.space.environment)
    site.space.environment = {**good, **wrong}
    done = site.space.run("run", "--once", "--wait", "0")
    assert done.returncode in (1, 3), done.stderr
    assert re.search("credential|token", done.stdout + done.stderr), done.stderr
    site.space.environment = good
    site.finish()
    site.must_serve(max(site.space.stages(site.name)))


@pytest.mark.timeout(7200 if DEPTH == "all" else 900)
@pytest.mark.parametrize("issuer", [IAM, Passwords, MomentoKeys], ids=["iam", "passwords", "momento"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_every_connection_is_reset(tmp_path, bao, aws, capsys, issuer, moment):
    """At each request of a rotation in turn, before the server carried it out or after that, a TCP reset is the answer;
    every other time at the next request, too, which may be a repetition."""
    seed = int(os.environ.get("KEYTURN_TEST_SEED", random.randrange(1_000_000)))
    world = World(tmp_path, bao, aws, seed, kinds=[issuer])
    arguments = "rotate", world.subjects[0].name, "--compromised", "--wait", "0"
    proxies = world.proxies
    tried = failed = 0
    try:
        world.restart("30s")
        world.kill_at(moment, 100_000, *arguments)
        there = world.seen
        for number in spread(there, world.random):
            seen = [0]

            def passes(_):
                seen[0] += 1
                if number <= seen[0] <= number + number % 2:
                    raise Dropped
            for proxy in proxies:
                setattr(proxy, moment, passes)
            done = world.space.run(*arguments)
            for proxy in proxies:
                proxy.before = proxy.after = None
            if seen[0] < number:
                break
            tried += 1
            failed += done.returncode
            assert done.returncode in (0, 1), (number, done.returncode, done.stderr)
            world.recovers(number)
        world.settle()
    finally:
        world.stop()
        with capsys.disabled():
            print(f"\nresets {moment} the effect, {issuer.name}, seed {seed}: {tried} of {there} requests, "
                  f"{failed} passes failed, {world.counts['reads']} reads")
    assert tried
