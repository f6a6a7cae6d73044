"""Google Cloud as it is used for real: Secret Manager read by `latest` and by alias, keys of service accounts; the
vendor's own clients write what Keyturn reads, and read what Keyturn writes."""
import json
import pathlib
import re
import time
import uuid

import google.auth.exceptions
import google.auth.transport.requests
import google.oauth2.credentials
import pytest
from google.api_core import exceptions
from google.cloud import secretmanager
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceRestTransport
from google.oauth2 import service_account
from googleapiclient.discovery import build

from disclosure import must_disclose_none
from kill_walk import killed_at_each_request, must_be_settled
from peers.fault_proxy import FaultProxy
from peers.gcp import PROJECT, SCOPE, Google, crc32c
from peers.pki import Authority
from workspace import must, retire

RIGHTS = pathlib.Path(__file__).resolve().parents[2] / "deploy/rights"
ENABLED, DISABLED, DESTROYED = (secretmanager.SecretVersion.State[name] for name in ("ENABLED", "DISABLED", "DESTROYED"))


@pytest.fixture(scope="module")
def google_cloud(scratch):
    folder = scratch / "gcp"
    folder.mkdir()
    server = Google(Authority(folder, "gcp-ca"))
    yield server
    server.stop()


@pytest.fixture
def gcp(google_cloud):
    google_cloud.rights, google_cloud.delay, google_cloud.policies = None, 0.0, set()
    google_cloud.page, google_cloud.quota, google_cloud.limited = 2, False, 0
    google_cloud.tells = True
    google_cloud.refused_calls.clear()
    return google_cloud


@pytest.fixture
def proxy(gcp):
    made = FaultProxy(gcp.plain_port, gcp.certificate)
    yield made
    made.stop()


def configure(space, gcp, address=None, auth=None, more="", delay="3s", pace=1000):
    address = address or gcp.address
    auth = auth if auth is not None else f"auth: {{serviceAccountKey: {{env: KT_GCP_KEY}}, tokenEndpoint: '{address}/token'}}"
    common = ", ".join(filter(None, [f"endpoint: '{address}'", auth, f"caFile: {gcp.ca}"]))
    space.configure(
        issuers=f"accounts: {{type: gcp-service-account-key, listingDelay: {delay}, {common}}}\n",
        backends=f"gcp: {{type: gcp-secret-manager, project: {PROJECT}, {common}, changesPerSecond: {pace}{more}}}\n"
        f"alias: {{type: gcp-secret-manager, project: {PROJECT}, alias: current, {common}, changesPerSecond: {pace}{more}}}\n")
    space.environment = {"KT_GCP_KEY": gcp.own}


@pytest.fixture
def space(workspace, gcp):
    configure(workspace, gcp)
    return workspace


def token(gcp, file):
    """A login by the vendor's library."""
    credentials = service_account.Credentials.from_service_account_info(json.loads(file), scopes=[SCOPE])
    credentials.refresh(google.auth.transport.requests.Request())
    return google.oauth2.credentials.Credentials(credentials.token)


def logs_in(gcp, file):
    try:
        return bool(token(gcp, file).token)
    except google.auth.exceptions.RefreshError:
        return False


class Vendor:
    """The vendor's client of Secret Manager, as somebody else."""

    def __init__(self, gcp):
        account = gcp.add_account()
        self.client = secretmanager.SecretManagerServiceClient(transport=SecretManagerServiceRestTransport(
            host=f"127.0.0.1:{gcp.plain_port}", credentials=token(gcp, gcp.add_key(account)), url_scheme="http"))

    @staticmethod
    def path(name):
        return f"projects/{PROJECT}/secrets/{name}"

    def get(self, name, version="latest"):
        answer = self.client.access_secret_version(name=f"{self.path(name)}/versions/{version}")
        assert answer.payload.data_crc32c == crc32c(answer.payload.data)
        return answer.payload.data.decode()

    def make(self, name, **about):
        return self.client.create_secret(
            parent=f"projects/{PROJECT}", secret_id=name, secret={"replication": {"automatic": {}}, **about})

    def add(self, name, text):
        return self.client.add_secret_version(
            parent=self.path(name), payload={"data": text.encode(), "data_crc32c": crc32c(text.encode())})

    def secret(self, name):
        return self.client.get_secret(name=self.path(name))

    def move(self, name, alias, version):
        secret = self.secret(name)
        secret.version_aliases[alias] = version
        self.client.update_secret(secret=secret, update_mask={"paths": ["version_aliases"]})

    def states(self, name):
        return {int(version.name.split("/")[-1]): version.state
                for version in self.client.list_secret_versions(parent=self.path(name))}


@pytest.fixture(scope="module")
def vendor(google_cloud):
    return Vendor(google_cloud)


def keys_api(gcp):
    """The vendor's client of IAM, as somebody else."""
    credentials = token(gcp, gcp.add_key(gcp.add_account()))
    service = build("iam", "v1", credentials=credentials, client_options={"api_endpoint": gcp.plain}, static_discovery=True)
    return service.projects().serviceAccounts().keys()


def vendor_list(api, account):
    answer = api.list(name=f"projects/-/serviceAccounts/{account}", keyTypes="USER_MANAGED").execute()
    return {key["name"].split("/")[-1]: key for key in answer.get("keys", [])}


def password(space, more="", entry="", grace="1s", backend="gcp"):
    name = f"app-{uuid.uuid4().hex[:10]}"
    space.policy("key", f"secret: {name}\nissuer: passwords\nlifetime: 30d\nrotate: {{every: 20d}}\ngrace: {grace}\n"
                 f"{more}backends: [{{name: {backend}{entry}}}]\n")
    return name


def account_key(space, gcp, grace="1s", more="", backend="gcp"):
    account = gcp.add_account()
    name = f"accounts/{account.split('@')[0]}"
    space.policy("key", f"secret: {name}\nissuer: accounts\nissue: {{account: {account}}}\nlifetime: 30d\n"
                 f"rotate: {{every: 20d}}\ngrace: {grace}\n{more}"
                 f"backends: [{{name: vault}}, {{name: {backend}, path: {name.replace('/', '-')}}}]\n")
    return account, name


# Secret Manager.

@pytest.mark.parametrize("backend", ["gcp", "alias"])
def test_the_vendor_reads_what_we_write_over_two_renewals(space, gcp, vendor, backend):
    name = password(space, backend=backend)
    read = "latest" if backend == "gcp" else "current"
    must(space.run("validate", "--online"))
    must(space.run("run", "--once"))
    values = [vendor.get(name, read)]
    assert len(values[0]) == 32
    secret = vendor.secret(name)
    assert dict(secret.labels) == {"managed-by": "keyturn"} and "automatic" in secret.replication
    mark = secret.annotations["keyturn-version-1"].split(" ")
    assert mark[:3] == [name, "1", "1"] and uuid.UUID(mark[3]) and len(mark) == 4
    for number in (2, 3):
        must(space.run("rotate", name))
        assert vendor.get(name, read) not in values
        values.append(vendor.get(name, read))
        assert vendor.secret(name).annotations[f"keyturn-version-{number}"].split(" ")[1] == str(number)
    # In their grace the old ones can still be read by number.
    assert vendor.states(name) == {1: ENABLED, 2: ENABLED, 3: ENABLED}
    assert vendor.get(name, "2") == values[1]
    retire(space)
    assert space.stages(name) == {1: "retired", 2: "retired", 3: "current"}
    assert vendor.states(name) == {1: DESTROYED, 2: DESTROYED, 3: ENABLED}
    assert list(vendor.secret(name).annotations) == ["keyturn-version-3"]
    assert vendor.get(name, read) == values[2]
    assert space.json("drift")["findings"] == []


@pytest.mark.parametrize("backend", ["gcp", "alias"])
def test_one_secret_is_not_changed_more_often_than_google_allows(space, gcp, backend):
    name = password(space, backend=backend)
    configure(space, gcp, pace=2)
    gcp.quota = True
    must(space.run("run", "--once"))
    time.sleep(1)
    must(space.run("rotate", name))
    assert gcp.limited == 0
    # Where it happens all the same, since others change it too, it is a matter of waiting.
    gcp.changes[name] = [time.monotonic() + 1] * 2
    must(space.run("rotate", name, "--wait", "60s"))
    assert gcp.limited > 0 and space.stages(name)[3] == "current"


def test_a_pending_version_is_not_seen_by_who_reads_the_alias(space, gcp, vendor):
    name = password(space, backend="alias")
    must(space.run("run", "--once"))
    first = vendor.get(name, "current")
    text = (space.folder / "schedules/key.yaml").read_text()
    space.policy("key", text + "verify: [{type: command, run: ['false']}]\n")
    must(space.run("rotate", name, "--wait", "0"), 1, 3)
    assert vendor.get(name, "current") == first
    assert vendor.states(name)[1] == ENABLED
    assert vendor.secret(name).annotations.get("keyturn-version-2", "pending").endswith("pending")
    space.policy("key", text)
    space.run("resume", name)
    must(space.run("run", "--once", "--wait", "60s"))
    assert vendor.get(name, "current") != first


@pytest.mark.parametrize("backend", ["gcp", "alias"])
def test_what_the_vendor_writes_is_seen_and_not_replaced(space, gcp, vendor, backend):
    name = password(space, backend=backend)
    read = "latest" if backend == "gcp" else "current"
    vendor.make(name, labels={"team": "payments"}, annotations={"owner": "ann"})
    vendor.add(name, "somebody else's")
    vendor.move(name, "current", 1)
    done = must(space.run("run", "--once", "--wait", "0"), 1, 3)
    assert "did not put there" in done.stderr and "somebody" not in done.stdout + done.stderr
    assert vendor.get(name, read) == "somebody else's"
    space.policy("key", (space.folder / "schedules/key.yaml").read_text().replace(
        f"{{name: {backend}}}", f"{{name: {backend}, overwrite: true}}"))
    must(space.run("resume", name))
    must(space.run("run", "--once", "--wait", "0"))
    ours = vendor.get(name, read)
    assert len(ours) == 32
    secret = vendor.secret(name)
    assert dict(secret.labels) == {"team": "payments"} and secret.annotations["owner"] == "ann"
    # Drift: somebody writes another value; it is found, named and put right.
    made = vendor.add(name, "set by hand")
    vendor.move(name, "current", int(made.name.split("/")[-1]))
    assert space.run("drift").returncode == 1
    must(space.run("drift", "--repair", name))
    assert vendor.get(name, read) == ours
    assert vendor.states(name)[1] == ENABLED, "another's version is no business of ours"


def test_a_disabled_current_version_is_an_outage_that_is_repaired(space, gcp, vendor):
    name = password(space)
    must(space.run("run", "--once"))
    ours = vendor.get(name)
    vendor.client.disable_secret_version(name=f"{vendor.path(name)}/versions/1")
    with pytest.raises(exceptions.BadRequest):
        vendor.get(name)
    must(space.run("drift", "--repair", name), 0, 1)
    assert vendor.get(name) == ours


@pytest.mark.parametrize("backend", ["gcp", "alias"])
def test_a_restored_state_is_known_by_the_annotations(space, gcp, backend):
    name, alias = password(space, backend=backend, grace="1h"), "current" if backend == "alias" else None
    must(space.run("run", "--once"))
    space.keep_state()
    must(space.run("rotate", name))
    serving = gcp.value(name, alias)
    space.put_state_back()
    done = space.run("rotate", name, "--wait", "0")
    assert done.returncode != 0 and "ahead of the state" in done.stderr, done.stderr
    assert gcp.value(name, alias) == serving
    done = must(space.run("adopt", "--restored"))
    assert "generation 2" in done.stderr and gcp.value(name, alias) == serving
    must(space.run("run", "--once"))
    must(space.run("rotate", name))
    assert gcp.value(name, alias) != serving
    newest = gcp.secrets[name].annotations[f"keyturn-version-{len(gcp.secrets[name].versions)}"].split(" ")
    assert int(newest[1]) > 2 and newest[2] == "2", newest


@pytest.mark.parametrize("backend", ["gcp", "alias"])
@pytest.mark.parametrize("kind", ["lost", "reset", "timeout", 429, 503])
def test_a_write_without_an_answer_is_written_once(space, gcp, vendor, proxy, backend, kind):
    name = password(space, backend=backend)
    must(space.run("run", "--once"))
    configure(space, gcp, proxy.address, more=", timeout: 1s")
    rule = proxy.fail(kind, f"/secrets/{name}:addVersion", times=1, headers={"Retry-After": "1"})
    must(space.run("rotate", name, "--wait", "60s"))
    assert rule.hits == 1
    assert vendor.states(name) == {1: ENABLED, 2: ENABLED}
    assert vendor.get(name, "latest" if backend == "gcp" else "current") == vendor.get(name, "2")
    assert space.stages(name)[2] == "current"


def test_the_rights_in_deploy_suffice(space, gcp, vendor):
    """Each right that the documents name is needed, and no other."""
    files = {name: (RIGHTS / f"{name}.yaml").read_text() for name in ("gcp-secret-manager", "gcp-service-account-key")}
    rights = {right for text in files.values() for right in re.findall(r"^- ((?:iam|secretmanager)\.\S+)$", text, re.M)}
    assert len(rights) == 12, rights
    gcp.rights = set(rights)
    account, name = account_key(space, gcp, more="retire: {observe: 1s}\n")
    must(space.run("run", "--once"))
    must(space.run("validate", "--online"))
    must(space.run("rotate", name))
    for _ in range(3):
        retire(space)
    assert space.stages(name) == {1: "retired", 2: "current"} and gcp.refused_calls == []
    assert len(gcp.accounts[account]) == 1
    for missing in rights - {"secretmanager.secrets.create", "iam.serviceAccountKeys.enable"}:
        gcp.rights = rights - {missing}
        if missing.startswith("secretmanager."):
            # Before a key is made Google is asked which rights are missing.
            keys = set(gcp.accounts[account])
            done = must(space.run("rotate", name, "--wait", "0"), 1, 3)
            assert missing in done.stderr or "lacks the right" in done.stderr, (missing, done.stderr)
            assert set(gcp.accounts[account]) == keys
            space.run("resume", name)
        gcp.tells = False
        gcp.refused_calls.clear()
        space.run("rotate", name, "--wait", "0")
        for _ in range(3):
            time.sleep(1.2)
            space.run("run", "--once", "--wait", "0")
        assert missing in gcp.refused_calls, missing
        gcp.rights, gcp.tells = None, True
        space.run("resume", name)
        must(space.run("run", "--once", "--wait", "60s"), 0, 1)
    # A rollback while the old key is observed switches it on again.
    gcp.rights = set(rights)
    account, name = account_key(space, gcp, more="retire: {observe: 30m}\n", backend="alias")
    must(space.run("run", "--once", "--wait", "10s"))
    must(space.run("rotate", name))
    retire(space)
    assert space.stages(name) == {1: "disabled", 2: "current"}
    gcp.rights = rights - {"iam.serviceAccountKeys.enable"}
    assert space.run("rollback", name).returncode != 0
    assert gcp.refused_calls[-1] == "iam.serviceAccountKeys.enable"
    gcp.rights = None
    space.run("rollback", name)
    gcp.rights = rights - {"secretmanager.secrets.create"}
    fresh = password(space)
    must(space.run("run", "--once", "--wait", "0"), 1, 3)
    assert gcp.refused_calls[-1] == "secretmanager.secrets.create" and fresh not in gcp.secrets


def test_errors_name_the_cause_and_nothing_else(space, gcp, vendor, proxy):
    name = password(space)
    must(space.run("run", "--once"))
    configure(space, gcp, proxy.address)
    for kind, words in ((403, "right"), (("echo", 409), "changed"), (400, "refused")):
        proxy.heal()
        proxy.fail(kind, f"/secrets/{name}:addVersion")
        done = space.run("rotate", name, "--wait", "0")
        assert done.returncode in (1, 3) and re.search(words, done.stderr), done.stderr
        assert "made up" not in done.stderr and "PRIVATE KEY" not in done.stderr
        assert gcp.value(name) not in done.stderr
        proxy.heal()
        space.run("resume", name)
        must(space.run("run", "--once", "--wait", "60s"))


# Logins.

def test_a_key_that_google_does_not_know_is_told(space, gcp):
    name = password(space)
    account = gcp.add_account()
    dead = gcp.add_key(account)
    gcp.accounts[account].clear()
    space.environment = {"KT_GCP_KEY": dead}
    done = must(space.run("run", "--once", "--wait", "0"), 1, 3)
    assert "invalid_grant" in done.stderr and account in done.stderr
    assert "PRIVATE" not in done.stderr and "made up" not in done.stderr
    # The vendor's library is refused the same way.
    assert not logs_in(gcp, dead)
    space.environment = {"KT_GCP_KEY": gcp.own}
    space.run("resume", name)
    must(space.run("run", "--once", "--wait", "10s"))
    assert len(gcp.value(name)) == 32


def test_one_login_serves_a_pass(space, gcp):
    password(space)
    before = len(gcp.logins)
    must(space.run("run", "--once"))
    assert len(gcp.logins) == before + 1


@pytest.mark.parametrize("kind", ["file", "environment", "machine", "machine-environment"])
def test_other_logins(space, gcp, vendor, tmp_path, kind):
    file = tmp_path / "key.json"
    file.write_text(gcp.own.replace(gcp.plain, gcp.address))
    file.chmod(0o600)
    environment = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    auth = ""
    if kind == "file":
        auth, environment = f"auth: {{serviceAccountKey: {{file: '{file}'}}}}", {}
    elif kind == "environment":
        environment = {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}
    elif kind == "machine":
        auth = f"auth: {{metadata: {{endpoint: '{gcp.plain}'}}}}"
    else:
        environment |= {"GCE_METADATA_HOST": gcp.plain.removeprefix("http://")}
    configure(space, gcp, auth=auth)
    # The API itself is on this machine, where no proxy is asked.
    space.environment = environment
    name = password(space)
    must(space.run("run", "--once"))
    assert len(vendor.get(name)) == 32
    assert (gcp.logins[-1] == "machine") == kind.startswith("machine") or len(gcp.logins) > 1
    if kind in ("file", "environment"):
        file.chmod(0o644)
        done = space.run("validate", "--online")
        assert done.returncode != 0 and "chmod 600" in done.stdout + done.stderr


# Keys of service accounts.

@pytest.mark.parametrize("backend", ["gcp", "alias"])
def test_keys_over_two_renewals(space, gcp, vendor, backend):
    account, name = account_key(space, gcp, backend=backend)
    api, read = keys_api(gcp), "latest" if backend == "gcp" else "current"
    must(space.run("validate", "--online"))
    must(space.run("run", "--once"))
    files = []
    for number in range(3):
        files.append(vendor.get(name.replace("/", "-"), read))
        assert space.vault_value(name) == files[-1] and logs_in(gcp, files[-1])
        assert json.loads(files[-1])["client_email"] == account
        if number < 2:
            must(space.run("rotate", name))
    assert len(set(files)) == 3 and all(logs_in(gcp, file) for file in files)
    assert len(vendor_list(api, account)) == 3
    retire(space)
    assert [logs_in(gcp, file) for file in files] == [False, False, True]
    assert list(vendor_list(api, account)) == [json.loads(files[2])["private_key_id"]]
    current = [version for version in space.status(name)["versions"] if version["stage"] == "current"]
    assert [version["keyId"] for version in current] == list(vendor_list(api, account))


def test_an_old_key_is_disabled_while_it_is_observed(space, gcp):
    account, name = account_key(space, gcp, more="retire: {observe: 30m}\n")
    api = keys_api(gcp)
    must(space.run("run", "--once"))
    first = space.vault_value(name)
    must(space.run("rotate", name))
    retire(space)
    listed = vendor_list(api, account)
    assert listed[json.loads(first)["private_key_id"]]["disabled"] and not logs_in(gcp, first)
    assert space.stages(name) == {1: "disabled", 2: "current"}
    must(space.run("rollback", name))
    assert space.vault_value(name) == first and logs_in(gcp, first)
    assert "disabled" not in vendor_list(api, account)[json.loads(first)["private_key_id"]]


def test_a_new_key_that_is_not_known_everywhere_is_waited_for(space, gcp):
    account, name = account_key(space, gcp)
    must(space.run("run", "--once"))
    first = space.vault_value(name)
    gcp.delay = 4
    started = time.monotonic()
    must(space.run("rotate", name, "--wait", "60s"))
    assert time.monotonic() - started > 3.5, "it was promoted before it worked"
    assert space.vault_value(name) != first and gcp.accepts(space.vault_value(name))


@pytest.mark.parametrize("delay", [0, 2])
@pytest.mark.parametrize("kind", ["lost", "reset"])
def test_a_lost_key_is_found_and_removed(space, gcp, proxy, kind, delay):
    account, name = account_key(space, gcp, grace="1h")
    must(space.run("run", "--once"))
    theirs = json.loads(gcp.add_key(account, start=time.time() - 86400))["private_key_id"]
    configure(space, gcp, proxy.address)
    gcp.delay = delay
    rule = proxy.fail(kind, "POST /v1/projects/-/serviceAccounts", times=1)
    must(space.run("rotate", name, "--wait", "60s"), 0, 1)
    must(space.run("run", "--once", "--wait", "60s"))
    assert rule.hits == 1 and space.stages(name) == {1: "previous", 2: "current"}
    known = {version["keyId"] for version in space.status(name)["versions"]}
    assert set(gcp.accounts[account]) == known | {theirs}, "an orphan is left, or another's was removed"
    assert gcp.accepts(space.vault_value(name))


def test_a_key_that_may_be_anothers_is_left_to_a_person(space, gcp, proxy):
    account, name = account_key(space, gcp, grace="1h")
    must(space.run("run", "--once"))
    configure(space, gcp, proxy.address)
    proxy.fail("lost", "POST /v1/projects/-/serviceAccounts", times=1)
    made = []

    def meanwhile(method, path, *_):
        if method == "POST" and path.endswith("/keys") and not made:
            made.append(json.loads(gcp.add_key(account))["private_key_id"])
    proxy.record = meanwhile
    done = must(space.run("rotate", name, "--wait", "20s"), 1, 3)
    assert made and made[0] in done.stdout + done.stderr + json.dumps(space.status(name))
    assert len(gcp.accounts[account]) == 3, "a key was removed that may be another's"
    assert gcp.accepts(space.vault_value(name))


def test_a_full_account_and_a_policy_are_told_before_and_after(space, gcp):
    account, name = account_key(space, gcp)
    files = [gcp.add_key(account) for _ in range(10)]
    done = must(space.run("run", "--once", "--wait", "0"), 1, 3)
    assert "10 keys" in done.stderr and len(gcp.accounts[account]) == 10
    del gcp.accounts[account][json.loads(files[0])["private_key_id"]]
    gcp.policies = {"constraints/iam.disableServiceAccountKeyCreation"}
    space.run("resume", name)
    done = must(space.run("run", "--once", "--wait", "0"), 1, 3)
    assert "constraints/iam.disableServiceAccountKeyCreation" in done.stderr and "made up" not in done.stderr
    gcp.policies = set()
    space.run("resume", name)
    must(space.run("run", "--once", "--wait", "10s"))
    assert gcp.accepts(space.vault_value(name))


def test_a_downloaded_key_is_taken_over(space, gcp, tmp_path):
    account, name = account_key(space, gcp)
    file = tmp_path / "key.json"
    file.write_text(gcp.add_key(account, start=time.time() - 86400))
    file.chmod(0o600)
    must(space.run("adopt", name, "--from", str(file)))
    must(space.run("run", "--once"))
    assert space.vault_value(name).strip() == file.read_text().strip()
    must(space.run("rotate", name))
    retire(space)
    assert not logs_in(gcp, file.read_text()) and logs_in(gcp, space.vault_value(name))


def test_no_key_is_shown_anywhere(space, gcp):
    account, name = account_key(space, gcp)

    def values():
        files = [about["file"] for about in gcp.accounts[account].values()] + [gcp.own]
        return {json.loads(file)["private_key"].splitlines()[3] for file in files} | set(gcp.tokens)
    must_disclose_none(space, name, values)


# A process that dies.

@pytest.mark.timeout(900)
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("kind", ["latest", "alias", "keys"])
def test_killed_at_every_request(space, gcp, vendor, proxy, kind, moment):
    """At each request of a rotation, before the server carries it out or after that; a restart brings it to its end with
    one current key, the same everywhere, and none left over."""
    backend, alias = ("gcp", None) if kind == "latest" else ("alias", "current")
    if kind == "keys":
        account, name = account_key(space, gcp, backend=backend)
    else:
        name = password(space, backend=backend)
        space.policy("key", (space.folder / "schedules/key.yaml").read_text().replace(
            f"[{{name: {backend}}}]", f"[{{name: vault}}, {{name: {backend}}}]"))
    must(space.run("run", "--once"))
    configure(space, gcp, proxy.address, delay="1s")
    # Each rotation leaves a version in the list, and with small pages more and more requests to be killed at.
    gcp.page = 1000
    entry = name.replace("/", "-")
    for number, current in killed_at_each_request(
            space, proxy, name, moment, served=lambda: gcp.value(entry, alias),
            works=gcp.accepts if kind == "keys" else bool):
        if kind == "keys":
            retire(space)
            assert list(gcp.accounts[account]) == [json.loads(current)["private_key_id"]], (number, "a key is left over")
    retire(space)
    # Of every version that is over, nothing is left.
    assert [n for n, state in vendor.states(entry).items() if state != DESTROYED] == [
        int(vendor.secret(entry).version_aliases["current"]) if alias else len(vendor.states(entry))]
    assert len(vendor.secret(entry).annotations) == 1
    must_be_settled(space)
