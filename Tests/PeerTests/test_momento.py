"""Momento's keys on the real program: what it stores is read by the vendor's own client, which then uses it."""
import datetime
import json
import re
import warnings

import grpc
import pytest
from momento import CacheClient, Configurations, CredentialProvider
from momento.responses import CacheGet
from momento_wire_types import auth_pb2, auth_pb2_grpc

from peers.fault_proxy import FaultProxy
from peers.momento import CELL, Momento, jwt, unwrapped, wrapped
from peers.pki import Authority

START = datetime.datetime(2027, 3, 1, 8, 0, tzinfo=datetime.timezone.utc)
DAY = datetime.timedelta(days=1)
V2 = """\
secret: {name}
issuer: momento
issue: {{role: reader, check: {{cache: payments}}}}
lifetime: 30d
rotate: {{every: 20d}}
grace: 2d
verify: [{{type: issuer}}]
backends: [{{name: vault}}]
"""
V1 = """\
secret: {name}
issuer: cell
issue:
  permissions:
    - {{cache: payments, role: readonly}}
    - {{cache: payments, role: subscribeonly, topic: {{prefix: price-}}}}
  renew: {renew}
lifetime: 30d
rotate: {{every: 20d}}
grace: 2d
verify: [{{type: issuer}}]
backends: [{{name: vault}}]
"""


@pytest.fixture
def momento():
    peer = Momento()
    yield peer
    peer.stop()


class Site:
    def __init__(self, space, momento):
        self.space, self.momento = space, momento
        space.environment = {"MOMENTO_KEY": momento.admin_key, "MOMENTO_V1": momento.admin_v1}
        self.configure()

    def configure(self, address=None, more="", grpc_address=None, cell_key="{env: MOMENTO_V1}", extra=""):
        caches = f"cacheAddress: '{self.momento.address}'"
        self.space.configure(
            issuers=f"momento: {{type: momento, apiKey: {{env: MOMENTO_KEY}}, endpoint: {CELL}, "
            f"address: '{address or self.momento.address}', {caches}}}\n"
            f"cell: {{type: momento-v1, apiKey: {cell_key}, address: '{grpc_address or self.momento.grpc_address}', "
            f"{caches}{more}}}\n", extra=extra)

    def at(self, time):
        self.momento.now = time.timestamp
        return self

    def run(self, *arguments, time=None, code=0):
        if time:
            self.at(time)
        done = self.space.run(*arguments, at=time)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    def known(self, secret, time=None):
        return {version["keyId"] for version in self.space.status(secret, at=time)["versions"]
                if version["stage"] in ("pending", "current", "previous")}


@pytest.fixture
def site(workspace, momento):
    return Site(workspace, momento)


def vendor(momento, text, endpoint=None):
    """What the vendor's client gets for an item that is not there, with a consumer's key."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        provider = (CredentialProvider.from_api_key_v2(text, endpoint) if endpoint
                    else CredentialProvider.from_string(text))
    assert provider.cache_endpoint == f"cache.{CELL}"
    provider.cache_endpoint = provider.control_endpoint = provider.token_endpoint = "127.0.0.1"
    provider.port = momento.grpc_port
    with CacheClient(Configurations.Laptop.latest(), provider, datetime.timedelta(seconds=60)) as client:
        return client.get("payments", "nothing")


def test_second_generation_over_two_renewals(site, momento):
    site.space.policy("key", V2.format(name="pay/cache"))
    site.run("validate", "--online", time=START)
    seen = []
    for turn in range(3):
        site.run("run", "--once", time=START + turn * 20 * DAY + datetime.timedelta(hours=turn))
        seen.append(site.space.vault_value("pay/cache"))
        assert isinstance(vendor(momento, seen[-1], CELL), CacheGet.Miss)
        # The one before lives through its grace, and is revoked then.
        if turn:
            assert momento.accepts(seen[turn - 1])
            later = START + turn * 20 * DAY + 3 * DAY
            site.run("run", "--once", time=later)
            assert not momento.accepts(seen[turn - 1])
            assert isinstance(vendor(momento, seen[turn - 1], CELL), CacheGet.Error)
            assert site.known("pay/cache", later) == momento.marked("pay/cache")
    assert len(set(seen)) == 3
    assert len(momento.marked("pay/cache")) == 1
    descriptions = [info["description"] for info in momento.global_keys.values()]
    assert sum(bool(re.fullmatch(r"keyturn:pay/cache:3:[0-9a-f]{32}", text)) for text in descriptions) == 1


@pytest.mark.parametrize("renew", ["generate", "refresh"])
def test_first_generation_over_two_renewals(site, momento, renew):
    site.space.policy("key", V1.format(name="pay/cache", renew=renew))
    site.run("validate", "--online", time=START)
    seen = []
    for turn in range(3):
        site.run("run", "--once", time=START + turn * 20 * DAY + datetime.timedelta(hours=turn))
        seen.append(site.space.vault_value("pay/cache"))
        assert isinstance(vendor(momento, seen[-1]), CacheGet.Miss)
    assert len(set(seen)) == 3
    assert momento.calls == ["GenerateApiToken", *[f"{renew.capitalize()}ApiToken"] * 2]
    # Nothing ends the one before but its expiry, and that is said.
    later = START + 43 * DAY
    site.run("run", "--once", time=later)
    assert site.space.stages("pay/cache", at=later) == {1: "retired", 2: "retired", 3: "current"}
    assert momento.accepts(seen[1]) and not momento.accepts(seen[0])
    history = [json.loads(line) for line in site.space.run(
        "history", "pay/cache", "--format", "json", at=later).stdout.splitlines()]
    retired = [entry["detail"] for entry in history if entry["kind"] == "version.retired"]
    assert retired == [{}, {"acceptedUntil": f"{START + 50 * DAY:%Y-%m-%d}T09:00:00Z"}]
    # The vendor's own stub goes on with what we keep of the refresh.
    site.space.policy("key", V1.format(name="pay/cache", renew="refresh").replace(
        "{name: vault}", "{name: vault, template: '{\"key\": \"{{apiKey}}\", \"token\": \"{{refreshToken}}\"}'}"))
    site.run("rotate", "pay/cache", time=later)
    pair = json.loads(site.space.vault_value("pay/cache"))
    with grpc.insecure_channel(f"127.0.0.1:{momento.grpc_port}") as channel:
        answer = auth_pb2_grpc.AuthStub(channel).RefreshApiToken(
            auth_pb2._RefreshApiTokenRequest(api_key=pair["key"], refresh_token=pair["token"]))
    assert answer.endpoint == CELL and isinstance(vendor(momento, wrapped(answer.api_key)), CacheGet.Miss)


def test_gRPC_over_TLS(workspace, tmp_path):
    authority = Authority(tmp_path, "authority")
    momento = Momento(certificate=authority.issue("momento"))
    try:
        site = Site(workspace, momento)
        site.configure(more=f", caFile: '{authority.file}'")
        site.space.policy("key", V1.format(name="pay/cache", renew="generate"))
        site.run("run", "--once")
        assert momento.accepts(site.space.vault_value("pay/cache"))
        # Nobody else is believed.
        stranger = Authority(tmp_path, "stranger")
        site.configure(more=f", caFile: '{stranger.file}'")
        done = site.run("rotate", "pay/cache", "--wait", "0", code=3)
        assert "certificate" in done.stderr and momento.calls == ["GenerateApiToken"]
    finally:
        momento.stop()


# Lost answers.


def test_second_generation_leaves_no_orphan(site, momento):
    site.space.policy("key", V2.format(name="pay/cache"))
    proxy = FaultProxy(momento.port)
    try:
        site.configure(address=proxy.address)
        rule = proxy.fail("lost", word="POST /api-keys", times=1)
        done = site.run("run", "--once", "--wait", "0", code=1)
        assert rule.hits == 1 and len(momento.marked("pay/cache")) == 1
        # For a moment the list does not show it.
        momento.unlisted = 1
        done = site.space.run("run", "--once", "--wait", "60s")
        assert done.returncode == 0, done.stderr
        assert momento.marked("pay/cache") == site.known("pay/cache")
        assert momento.accepts(site.space.vault_value("pay/cache"))
        assert site.space.json("orphans", "list")["orphans"] == []
        assert site.run("doctor", "--format", "json").returncode == 0
    finally:
        proxy.stop()


@pytest.mark.parametrize("renew", ["generate", "refresh"])
def test_first_generation_reports_what_may_be_lost(site, momento, renew):
    site.space.policy("key", V1.format(name="pay/cache", renew=renew))
    if renew == "refresh":
        site.run("run", "--once")
    momento.calls.clear()
    call = f"{renew.capitalize()}ApiToken"
    momento.lose.add(call)
    site.run("rotate" if renew == "refresh" else "run", *(["pay/cache"] if renew == "refresh" else ["--once"]),
             "--wait", "0", code=1)
    assert momento.calls == [call]
    done = site.run("run", "--once", "--wait", "30s")
    assert momento.calls == [call, call]
    orphan, = site.space.json("orphans", "list")["orphans"]
    assert orphan["secret"] == "pay/cache" and orphan["state"] == "possible"
    end = datetime.datetime.fromisoformat(orphan["until"])
    assert datetime.timedelta(days=30) <= end - datetime.datetime.now(datetime.timezone.utc) < datetime.timedelta(days=30.1)
    assert "possibly orphaned until" in site.run("doctor", code=1).stdout + done.stderr
    assert momento.accepts(site.space.vault_value("pay/cache"))
    for entry in momento.cell_keys.values():
        assert entry["refresh"] not in done.stdout + done.stderr


def test_a_key_that_is_given_up_and_cannot_be_ended_is_reported(site, momento):
    program = site.space.folder / "refuse"
    program.write_text("#!/bin/sh\ncat >/dev/null\nexit 1\n")
    program.chmod(0o700)
    site.space.policy("key", V1.format(name="pay/cache", renew="generate").replace(
        "{type: issuer}", "{type: command, run: [./refuse]}"))
    done = site.space.run("run", "--once", "--wait", "20s")
    assert done.returncode in (1, 3), done.stderr
    orphans = site.space.json("orphans", "list")["orphans"]
    assert len(orphans) == len(momento.cell_keys_of("pay/cache")) > 0
    assert all("no call that ends it" in orphan["detail"] and orphan["until"] for orphan in orphans)


def test_a_compromised_key_that_cannot_be_ended_is_not_called_ended(site, momento):
    site.space.policy("key", V1.format(name="pay/cache", renew="refresh"))
    site.run("run", "--once")
    leaked = site.space.vault_value("pay/cache")
    done = site.run("rotate", "pay/cache", "--compromised", code=1)
    told = done.stdout + done.stderr
    assert "nobody can end it before its expiry" in told, told
    # What leaked is not what the next one is made of.
    assert momento.calls == ["GenerateApiToken", "GenerateApiToken"]
    fresh = site.space.vault_value("pay/cache")
    assert fresh != leaked and momento.accepts(fresh)


# Keys of the console.


def test_the_consoles_file_is_adopted_and_renewed(site, momento):
    """A super-user key, which only the console can make: it renews itself, and makes the keys of others."""
    site.configure(cell_key="{vault: platform/momento}")
    site.space.policy("admin", """\
secret: platform/momento
issuer: cell
issue: {superUser: true, renew: refresh, check: {cache: payments}}
lifetime: 90d
rotate: {every: 60d}
grace: 7d
verify: [{type: issuer}]
backends: [{name: vault}]
""")
    site.space.policy("key", V1.format(name="pay/cache", renew="generate") + "after: [platform/momento]\n")
    site.at(START)
    text, about = momento.make_cell("super-user", 90 * 86400)
    file = site.space.folder / "momento_token.info.json"
    file.write_text(json.dumps({
        "apiKey": wrapped(text), "refreshToken": about["refresh"], "validUntil": str(about["until"])}))
    file.chmod(0o600)
    site.run("adopt", "platform/momento", "--from", str(file), time=START)
    site.run("run", "--once", time=START)
    assert site.space.vault_value("platform/momento") == wrapped(text)
    assert isinstance(vendor(momento, site.space.vault_value("pay/cache")), CacheGet.Miss)
    status = site.space.status("platform/momento", at=START)
    assert status["versions"][0]["expiresAt"] == f"{START + 90 * DAY:%Y-%m-%d}T08:00:00Z"
    for turn in (1, 2):
        now = START + turn * 60 * DAY + datetime.timedelta(hours=turn)
        site.run("run", "--once", time=now)
        admin = site.space.vault_value("platform/momento")
        assert momento.rights(unwrapped(admin)) == "super-user"
        assert isinstance(vendor(momento, site.space.vault_value("pay/cache")), CacheGet.Miss)
    assert momento.calls.count("RefreshApiToken") == 2
    assert unwrapped(admin) not in momento.global_keys and momento.cell_keys[text]["until"] < now.timestamp()


@pytest.mark.parametrize("shape", ["text", "apiKey", "authToken"])
def test_a_console_key_of_the_second_generation_is_taken_over(site, momento, shape):
    site.space.policy("key", V2.format(name="pay/cache"))
    site.at(START)
    text, info = momento.make_global("reader", "by hand", int((START + 30 * DAY).timestamp()))
    file = site.space.folder / "key.json"
    file.write_text(text if shape == "text" else json.dumps({shape: text, "validUntil": info["expires_at_epoch_seconds"]}))
    file.chmod(0o600)
    site.run("adopt", "pay/cache", "--from", str(file), *(["--key-id", info["key_id"]] if shape == "text" else []),
             time=START)
    site.run("run", "--once", time=START)
    assert site.space.vault_value("pay/cache") == text
    assert momento.marked("pay/cache") == set(), "it is not turned over at once"
    status = site.space.status("pay/cache", at=START)
    assert status["versions"][0]["expiresAt"] == f"{START + 30 * DAY:%Y-%m-%d}T08:00:00Z"
    assert status["versions"][0]["keyId"] == (info["key_id"] if shape == "text" else None)
    site.run("run", "--once", time=START + 21 * DAY)
    site.run("run", "--once", time=START + 24 * DAY)
    assert not momento.accepts(text) and momento.accepts(site.space.vault_value("pay/cache"))


@pytest.mark.parametrize("content, words", [
    ("not a key", "not a key of Momento"), ('{"apiKey": "CANARY"}', "not a key of Momento"),
    ('{"refreshToken": "CANARY"}', "neither apiKey nor authToken"), ("{", "console"),
    (json.dumps({"apiKey": wrapped(jwt({"exp": 1}))}), "expired"),
    (json.dumps({"apiKey": jwt({"t": "g"})}), "second generation"),
])
def test_other_files_are_not_adopted(site, content, words):
    site.space.policy("key", V1.format(name="pay/cache", renew="generate"))
    file = site.space.folder / "key.json"
    file.write_text(content)
    file.chmod(0o600)
    done = site.run("adopt", "pay/cache", "--from", str(file), code=1)
    assert words in done.stderr and "CANARY" not in done.stderr


# Policies, rights and pace.


@pytest.mark.parametrize("change, words, code", [
    ({"permissions:": "superUser: true\n  permissions:"}, "Momento's console", 65),
    ({"readonly}": "readonly}\n    - {cache: payments, role: readwrite}"}, "another role", 65),
    ({"lifetime: 30d": "lifetime: never"}, "allowNoExpiry", 65),
    ({"lifetime: 30d": "lifetime: 12h", "every: 20d": "every: 6h", "grace: 2d": "grace: 1h"}, "disposable tokens", 0),
    ({"role: readonly": "role: reads"}, "readwrite", 65),
])
def test_policies_are_checked(site, change, words, code):
    text = V1.format(name="pay/cache", renew="generate")
    for old, new in change.items():
        text = text.replace(old, new)
    site.space.policy("key", text)
    done = site.run("validate", code=code)
    assert words in done.stdout + done.stderr


def test_rights_that_are_too_narrow_are_told_and_make_no_further_key(site, momento):
    site.space.policy("key", V2.format(name="pay/cache").replace("role: reader", "role: blind"))
    done = site.run("run", "--once", "--wait", "0", code=3)
    assert "no right to read cache 'payments'" in done.stderr
    assert len(momento.marked("pay/cache")) == 1
    # A person mends the role, and the same key goes on.
    momento.roles["blind"] = (False, {"payments"})
    site.run("resume", "pay/cache")
    site.run("run", "--once", "--wait", "20s")
    assert momento.marked("pay/cache") == site.known("pay/cache")


@pytest.mark.parametrize("key", ["MOMENTO_KEY", "MOMENTO_V1"])
def test_a_wrong_credential_is_told(site, momento, key):
    name = V2 if key == "MOMENTO_KEY" else V1
    site.space.policy("key", name.format(name="pay/cache", renew="generate"))
    site.space.environment[key] = jwt({"t": "g"}) if key == "MOMENTO_KEY" else wrapped(jwt({"sub": "x"}))
    done = site.run("run", "--once", "--wait", "0", code=3)
    assert "our credential was refused" in done.stderr and site.space.environment[key] not in done.stderr
    assert len(momento.cell_keys) == 1


def test_the_accounts_pace_is_kept(workspace):
    momento = Momento(per_second=5)
    try:
        site = Site(workspace, momento)
        for number in range(12):
            site.space.policy(f"k{number}", V2.format(name=f"pay/cache{number}"))
        done = site.run("run", "--once", "--wait", "0")
        assert "too many" not in done.stderr
        assert len(momento.operations) == 12
        assert momento.operations[-1] - momento.operations[0] > 2
    finally:
        momento.stop()


def test_an_account_that_others_use_up_is_waited_for(site, momento):
    site.space.policy("key", V2.format(name="pay/cache"))
    proxy = FaultProxy(momento.port)
    try:
        site.configure(address=proxy.address)
        rule = proxy.fail(429, word="POST /api-keys", times=1, headers={"Retry-After": "2"})
        site.run("run", "--once", "--wait", "30s")
        assert rule.hits == 1 and momento.marked("pay/cache") == site.known("pay/cache")
    finally:
        proxy.stop()
