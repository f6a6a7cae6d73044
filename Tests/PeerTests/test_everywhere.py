"""Keys of both of Momento's generations, put into every store at once and read back by the vendors' own clients."""
import dataclasses
import datetime
import json
import typing
import uuid

import pytest

import test_azure
import test_gcp
import test_kubernetes
from conftest import references
from crash_harness import CREDENTIALS
from peers.azure import VAULT, Azure
from peers.fault_proxy import FaultProxy
from peers.gcp import PROJECT, Google
from peers.kubernetes_api import KubernetesAPI
from peers.momento import CELL, Momento, unwrapped
from peers.pki import Authority

DAY = datetime.timedelta(days=1)
LATER = datetime.timedelta(minutes=10)
POLICY = """\
secret: {name}
issuer: {issuer}
issue: {issue}
lifetime: 30d
rotate: {{every: 20d}}
grace: 2d
verify: [{{type: issuer}}]
backends:
  - {{name: vault}}
  - {{name: aws}}
  - {{name: bao}}
  - {{name: azure, path: {flat}}}
  - {{name: gcp, path: {flat}}}
  - {{name: kube, path: "{flat}#key"}}
"""
SECOND = "momento", "{role: reader, check: {cache: payments}}"
FIRST = "momento-v1", "{permissions: [{cache: payments, role: readonly}]}"
# The request with which each store takes a value.
WRITES = {"aws": "secretsmanager.PutSecretValue", "bao": "POST /v1/secret/data/", "azure": "PUT /secrets/",
          "gcp": ":addVersion", "kube": "PATCH /api/v1/namespaces/payments/secrets/"}


@dataclasses.dataclass
class Store:
    """One store as its vendor's client sees it."""
    read: typing.Callable  # what a consumer reads by the secret's name
    before: typing.Callable = None  # and the value before, where the store keeps one that can be asked for


class Everywhere:
    def __init__(self, space, folder, bao, aws):
        self.space, self.bao, self.aws = space, bao, aws
        # The servers live now, and Keyturn weeks later.
        self.start = self.now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
        self.authority = Authority(folder, "authority", days=120)
        self.momento = Momento(now=lambda: self.now.timestamp())
        self.azure, self.gcp, self.kube = Azure(self.authority, folder), Google(self.authority), KubernetesAPI()
        self.gcp.skew = 120 * 86400
        self.proxies = {
            "momento": FaultProxy(self.momento.port), "aws": FaultProxy(aws.port), "bao": FaultProxy(bao.port),
            "azure": FaultProxy(self.azure.plain_port, self.azure.certificate),
            "gcp": FaultProxy(self.gcp.plain_port, self.gcp.certificate),
            "kube": FaultProxy(self.kube.port, tuple(map(str, self.authority.issue("kube"))))}
        mark = uuid.uuid4().hex[:8]
        self.second, self.first = f"second/{mark}", f"first/{mark}"
        self.configure()
        azure, google = test_azure.vendor(self.azure), test_gcp.Vendor(self.gcp)
        self.stores = {
            "vault": Store(space.vault_value, self.vault_before),
            "aws": Store(aws.value, lambda name: aws.value(name, "AWSPREVIOUS")),
            "bao": Store(self.command, lambda name: self.command(name, self.number(name) - 1)),
            "azure": Store(
                lambda name: azure.get_secret(flat(name)).value, lambda name: self.azure_before(azure, name)),
            "gcp": Store(
                lambda name: google.get(flat(name)), lambda name: google.get(flat(name), self.number(name) - 1)),
            "kube": Store(lambda name: test_kubernetes.read(space, "key", flat(name))),
        }

    def stop(self):
        for server in (*self.proxies.values(), self.momento, self.azure, self.gcp, self.kube):
            server.stop()

    def configure(self):
        at = {name: proxy.address for name, proxy in self.proxies.items()}
        caches = f"cacheAddress: '{at['momento']}'"
        issuers = (
            f"momento: {{type: momento, apiKey: {{env: KT_MOMENTO}}, endpoint: {CELL}, "
            f"address: '{at['momento']}', {caches}}}\n"
            f"momento-v1: {{type: momento-v1, apiKey: {{env: KT_MOMENTO_V1}}, address: '{self.momento.grpc_address}', "
            f"{caches}}}\n")
        backends = (
            f"aws: {{type: aws-secrets-manager, region: eu-west-1, endpoint: '{at['aws']}', "
            f"credentials: {CREDENTIALS}}}\n"
            f"bao: {{type: vault-kv2, address: '{at['bao']}', auth: {{token: {{env: KT_BAO}}}}}}\n"
            f"azure: {{type: azure-key-vault, vault: '{at['azure']}', resource: '{VAULT}', "
            f"{test_azure.login(self.azure, at['azure'])}}}\n"
            f"gcp: {{type: gcp-secret-manager, project: {PROJECT}, endpoint: '{at['gcp']}', "
            f"auth: {{serviceAccountKey: {{env: KT_GCP_KEY}}, tokenEndpoint: '{at['gcp']}/token'}}, "
            f"caFile: {self.gcp.ca}, changesPerSecond: 1000}}\n"
            "kube: {type: kubernetes-secret, kubeconfig: kubeconfig}\n")
        test_kubernetes.kubeconfig(
            self.space.folder / "kubeconfig", at["kube"],
            cluster={"certificate-authority": str(self.authority.file)})
        self.space.configure(issuers=issuers, backends=backends)
        self.space.environment = references(self.aws) | {
            "KT_MOMENTO": self.momento.admin_key, "KT_MOMENTO_V1": self.momento.admin_v1,
            "KT_AZURE_SECRET": self.azure.secret, "KT_GCP_KEY": self.gcp.own}
        for name, (issuer, issue) in ((self.second, SECOND), (self.first, FIRST)):
            self.space.policy(flat(name), POLICY.format(name=name, flat=flat(name), issuer=issuer, issue=issue))

    # What the vendors' clients read.

    def number(self, name):
        return max(self.space.stages(name, at=self.now))

    def vault_before(self, name):
        return self.space.stock_age(self.space.vault / name / f"{self.number(name) - 1}.age")

    def command(self, name, version=None):
        return self.bao.cli("kv", "get", "-mount=secret", "-field=value",
                            *([f"-version={version}"] if version else []), name)

    def azure_before(self, client, name):
        wanted = str(self.number(name) - 1)
        version, = (found.version for found in client.list_properties_of_secret_versions(flat(name))
                    if found.tags["keyturn-version"] == wanted)
        return client.get_secret(flat(name), version).value

    def values(self, name, which="read"):
        return {store: getattr(how, which)(name) for store, how in self.stores.items() if getattr(how, which)}

    def read(self, name, which="read"):
        """The one value that all stores have."""
        value, = set(self.values(name, which).values())
        assert value
        return value

    def written(self, name):
        """How often a value was written, where the store counts."""
        return {"bao": len(self.bao.versions(name)), "azure": len(self.azure.vault[flat(name)]),
                "gcp": len(self.gcp.secrets[flat(name)].versions)}

    # What Keyturn does, and knows.

    def once(self, now, code=0):
        self.now = now
        done = self.space.run("run", "--once", "--wait", "0", at=now)
        assert done.returncode == code, (now, done.returncode, done.stdout, done.stderr)

    def known(self, name):
        return {version["keyId"] for version in self.space.status(name, at=self.now)["versions"]
                if version["stage"] in ("pending", "current", "previous")}

    def orphans(self, now):
        return self.space.json("orphans", "list", at=now)["orphans"]


def flat(name):
    return name.replace("/", "-")


@pytest.fixture
def site(workspace, tmp_path, bao, aws):
    folder = tmp_path / "servers"
    folder.mkdir()
    made = Everywhere(workspace, folder, bao, aws)
    yield made
    made.stop()


@pytest.mark.parametrize("lost", ["nothing", "create", "create and write"])
def test_both_generations_in_every_store_over_two_renewals(site, lost):
    seen, ends = {site.second: [], site.first: []}, []
    for turn in range(3):
        now = site.start + turn * (20 * DAY + datetime.timedelta(hours=1))
        if lost != "nothing":
            lose_creates(site, now, seen)
            now += LATER
        if lost == "create and write":
            lose_writes(site, now, seen)
            now += LATER
        site.once(now)
        for name, values in seen.items():
            values.append(site.read(name))
            assert len(set(values)) == turn + 1 and site.momento.accepts(values[-1])
            assert set(site.written(name).values()) == {turn + 1}, "nothing is written twice"
            if turn:
                # Through its grace the one before works, for who has it still.
                assert site.read(name, "before") == values[-2] and site.momento.accepts(values[-2])
        assert len(site.momento.cell_keys_of(site.first)) == (turn + 1) * (1 if lost == "nothing" else 2)
        if lost != "nothing":
            ends.append(reported(site, turn + 1, {*map(unwrapped, seen[site.first]), *(text for text, _ in ends)}))
        # No orphan of the second generation; those of the first are listed until they have ended.
        assert site.momento.marked(site.second) == site.known(site.second)
        assert [(orphan["secret"], orphan["version"]) for orphan in site.orphans(now)] == [
            (site.first, number) for number, (_, end) in enumerate(ends, 1) if end > now]
        if turn:
            retire(site, now + 3 * DAY, turn + 1, seen)
    for text, end in ends:
        site.now = end - LATER
        assert site.momento.accepts(text)
        site.now = end
        assert not site.momento.accepts(text)
    if ends:
        assert [orphan["version"] for orphan in site.orphans(end - LATER)] == [3] and site.orphans(end) == []


def lose_creates(site, now, seen):
    """Both keys are made, and nobody hears of them: consumers go on with those that they have."""
    rule = site.proxies["momento"].fail("lost", word="POST /api-keys", times=1)
    site.momento.lose.add("GenerateApiToken")
    site.once(now, code=1)
    assert rule.hits == 1 and not site.momento.lose
    assert len(site.momento.marked(site.second) - site.known(site.second)) == 1
    for name, values in seen.items():
        assert not values or site.read(name) == values[-1] and site.momento.accepts(values[-1])


def lose_writes(site, now, seen):
    """Each store takes a value, and its answer is lost: consumers have the new key in some, the old one in others."""
    rules = {store: site.proxies[store].fail("lost", word=word, times=1) for store, word in WRITES.items()}
    site.once(now, code=1)
    assert {store: rule.hits for store, rule in rules.items()} == dict.fromkeys(WRITES, 1)
    for name, values in seen.items():
        assert not values or all(map(site.momento.accepts, site.values(name).values()))


def reported(site, number, others):
    """The key of the first generation that nobody got, and when it ends as Keyturn tells."""
    text, = set(site.momento.cell_keys_of(site.first)) - others
    orphan, = (orphan for orphan in site.orphans(site.now) if orphan["version"] == number)
    assert orphan["state"] == "possible"
    end = datetime.datetime.fromisoformat(orphan["until"])
    spare = end.timestamp() - site.momento.cell_keys[text]["until"]
    assert 0 <= spare < LATER.total_seconds(), "it is reported for as long as it lives, and not much longer"
    return text, end


def retire(site, now, number, seen):
    """The grace is over: the second generation's old key is revoked; the first's ends when the trail says."""
    site.once(now)
    for name, values in seen.items():
        assert site.space.stages(name, at=now) == {
            **{old: "retired" for old in range(1, number)}, number: "current"}
        assert site.read(name) == values[-1] and site.momento.accepts(values[-1])
    assert not site.momento.accepts(seen[site.second][-2])
    assert site.momento.marked(site.second) == site.known(site.second) and len(site.known(site.second)) == 1
    old = seen[site.first][-2]
    done = site.space.run("history", site.first, "--format", "json", at=now)
    *_, told = (entry for entry in map(json.loads, done.stdout.splitlines()) if entry["kind"] == "version.retired")
    assert told["version"] == number - 1 and site.momento.accepts(old)
    until = datetime.datetime.fromisoformat(told["detail"]["acceptedUntil"])
    assert until.timestamp() == site.momento.cell_keys[unwrapped(old)]["until"]
