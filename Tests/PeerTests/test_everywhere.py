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
from conftest import references, systems
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
        self.momento_proxy = FaultProxy(self.momento.port)
        self.azure, self.gcp, self.kube = (
            Azure(self.authority, folder), Google(self.authority), KubernetesAPI(self.authority))
        self.gcp.skew = 120 * 86400
        mark = uuid.uuid4().hex[:8]
        self.second, self.first = f"second/{mark}", f"first/{mark}"
        self.configure()
        azure, google = test_azure.vendor(self.azure), test_gcp.Vendor(self.gcp)
        self.stores = {
            "vault": Store(space.vault_value, self.vault_before),
            "aws": Store(aws.value, lambda name: aws.value(name, "AWSPREVIOUS")),
            "bao": Store(lambda name: self.command(name), lambda name: self.command(name, self.number(name) - 1)),
            "azure": Store(lambda name: azure.get_secret(flat(name)).value, lambda name: self.azure_before(azure, name)),
            "gcp": Store(lambda name: google.get(flat(name)), lambda name: google.get(flat(name), self.number(name) - 1)),
            "kube": Store(lambda name: test_kubernetes.read(space, "key", flat(name))),
        }

    def stop(self):
        for server in (self.momento_proxy, self.momento, self.azure, self.gcp, self.kube):
            server.stop()

    def configure(self):
        parts = systems(self.bao, self.aws)
        caches = f"cacheAddress: '{self.momento.address}'"
        issuers = (
            f"momento: {{type: momento, apiKey: {{env: KT_MOMENTO}}, endpoint: {CELL}, "
            f"address: '{self.momento_proxy.address}', {caches}}}\n"
            f"momento-v1: {{type: momento-v1, apiKey: {{env: KT_MOMENTO_V1}}, address: '{self.momento.grpc_address}', "
            f"{caches}}}\n")
        backends = parts["backends"] + (
            f"azure: {{type: azure-key-vault, vault: '{self.azure.address}', resource: '{VAULT}', "
            f"{test_azure.login(self.azure)}}}\n"
            f"gcp: {{type: gcp-secret-manager, project: {PROJECT}, endpoint: '{self.gcp.address}', "
            f"auth: {{serviceAccountKey: {{env: KT_GCP_KEY}}, tokenEndpoint: '{self.gcp.address}/token'}}, "
            f"caFile: {self.gcp.ca}, changesPerSecond: 1000}}\n"
            "kube: {type: kubernetes-secret, kubeconfig: kubeconfig}\n")
        test_kubernetes.kubeconfig(
            self.space.folder / "kubeconfig", self.kube.address,
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

    def read(self, name, which="read"):
        """The one value that all stores have."""
        values = {store: getattr(how, which)(name) for store, how in self.stores.items() if getattr(how, which)}
        value, = set(values.values())
        assert value
        return value

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


def instant(text):
    return datetime.datetime.fromisoformat(text)


@pytest.fixture
def site(workspace, tmp_path, bao, aws):
    folder = tmp_path / "servers"
    folder.mkdir()
    made = Everywhere(workspace, folder, bao, aws)
    yield made
    made.stop()


@pytest.mark.parametrize("lost", [False, True], ids=["every-answer-arrives", "the-answer-of-each-create-is-lost"])
def test_both_generations_in_every_store_over_two_renewals(site, lost):
    momento, seen, ends = site.momento, {site.second: [], site.first: []}, []
    for turn in range(3):
        now = site.start + turn * (20 * DAY + datetime.timedelta(hours=1))
        if lost:
            # The key is made, and nobody hears of it; all consumers go on with the one that they have.
            rule = site.momento_proxy.fail("lost", word="POST /api-keys", times=1)
            momento.lose.add("GenerateApiToken")
            site.once(now, code=1)
            assert rule.hits == 1 and not momento.lose
            for name in seen if turn else ():
                assert site.read(name) == seen[name][-1] and momento.accepts(seen[name][-1])
            now += LATER
        site.once(now)
        for name, values in seen.items():
            value = site.read(name)
            assert value not in values and momento.accepts(value)
            if turn:
                # Through the grace the one before works, for who has it still.
                assert site.read(name, "before") == values[-1] and momento.accepts(values[-1])
            values.append(value)
        # No orphan of the second generation; of the first a reported one, which has an end.
        assert momento.marked(site.second) == site.known(site.second)
        orphans = site.orphans(now)
        assert {orphan["secret"] for orphan in orphans} <= {site.first}
        assert len(momento.cell_keys_of(site.first)) == (turn + 1) * (1 + lost)
        if lost:
            text, = set(momento.cell_keys_of(site.first)) - set(map(unwrapped, seen[site.first])) - {
                text for text, _ in ends}
            orphan, = (orphan for orphan in orphans if orphan["version"] == turn + 1)
            assert orphan["state"] == "possible"
            end = instant(orphan["until"])
            spare = end.timestamp() - momento.cell_keys[text]["until"]
            assert 0 <= spare <= LATER.total_seconds(), "it is reported as long as it lives, and not much longer"
            ends.append((text, end))
        # What is over is no longer listed.
        assert [orphan["version"] for orphan in orphans] == [
            number for number, (_, end) in enumerate(ends, 1) if end > now]
        if turn:
            site.once(now + 3 * DAY)
            assert not momento.accepts(seen[site.second][-2]) and momento.accepts(seen[site.second][-1])
            assert len(momento.marked(site.second)) == 1
            for name, values in seen.items():
                assert site.space.stages(name, at=site.now) == {
                    **{number: "retired" for number in range(1, turn + 1)}, turn + 1: "current"}
                assert site.read(name) == values[-1]
            assert momento.marked(site.second) == site.known(site.second)
            # Nothing but its expiry ends an old one of the first generation, and the trail says when that is.
            *_, told = history(site, "version.retired")
            assert momento.accepts(seen[site.first][-2])
            assert instant(told["acceptedUntil"]).timestamp() == momento.cell_keys[
                unwrapped(seen[site.first][-2])]["until"]
    assert momento.calls == ["GenerateApiToken"] * (3 * (1 + lost))
    # In the end all that were reported have ended by themselves.
    for text, end in ends:
        site.now = end - LATER
        assert momento.accepts(text)
        site.now = end
        assert not momento.accepts(text)
    if lost:
        assert [orphan["version"] for orphan in site.orphans(end - LATER)] == [3] and site.orphans(end) == []


def history(site, kind):
    done = site.space.run("history", site.first, "--format", "json", at=site.now)
    return [entry["detail"] for entry in map(json.loads, done.stdout.splitlines()) if entry["kind"] == kind]
