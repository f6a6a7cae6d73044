"""Azure as it is used for real: a key vault, application passwords, storage account keys; the vendor's own clients
write what Keyturn reads, and read what Keyturn writes."""
import json
import pathlib
import re
import time
import uuid

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import ClientSecretCredential
from azure.keyvault.secrets import SecretClient
from azure.storage.blob import BlobServiceClient

from disclosure import must_disclose_none
from kill_walk import killed_at_each_request, must_be_settled
from peers.azure import ARM, GRAPH, VAULT, Azure
from peers.fault_proxy import FaultProxy
from peers.pki import Authority
from workspace import must, retire

RIGHTS = pathlib.Path(__file__).resolve().parents[2] / "deploy/rights"


@pytest.fixture(scope="module")
def azure(scratch):
    folder = scratch / "azure"
    folder.mkdir()
    server = Azure(Authority(folder, "azure-ca"), folder)
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def unrestricted(azure):
    azure.rights, azure.delay, azure.identity = None, 0.0, None
    azure.refused_calls.clear()
    yield


@pytest.fixture
def proxy(azure):
    made = FaultProxy(azure.plain_port, azure.certificate)
    yield made
    made.stop()


def login(azure, address=None):
    return (f"auth: {{clientSecret: {{tenantId: {azure.tenant}, clientId: {azure.client_id}, "
            f"secret: {{env: KT_AZURE_SECRET}}}}, authorityHost: '{address or azure.address}'}}, caFile: {azure.ca}")


def configure(space, azure, address=None, auth=None, more=""):
    address = address or azure.address
    auth = auth or login(azure, address)
    space.configure(
        issuers=f"apps: {{type: azure-entra-password, graph: '{address}', resource: '{GRAPH}', listingDelay: 3s, "
        f"tenantId: {azure.tenant}, {auth}}}\n"
        f"storage: {{type: azure-storage-key, management: '{address}', resource: '{ARM}', {auth}}}\n",
        backends=f"kv: {{type: azure-key-vault, vault: '{address}', resource: '{VAULT}', {auth}}}\n{more}")
    space.environment = {"KT_AZURE_SECRET": azure.secret}


@pytest.fixture
def space(workspace, azure):
    configure(workspace, azure)
    return workspace


def vendor(azure, secret=None):
    """The vendor's clients, through the vendor's login."""
    credential = ClientSecretCredential(
        azure.tenant, azure.client_id, secret or azure.secret, authority=azure.address,
        disable_instance_discovery=True, connection_verify=azure.ca)
    return SecretClient(
        azure.address, credential, verify_challenge_resource=False, connection_verify=azure.ca, retry_total=0)


def application_logs_in(azure, client_id, text):
    credential = ClientSecretCredential(
        azure.tenant, client_id, text, authority=azure.address, disable_instance_discovery=True,
        connection_verify=azure.ca)
    try:
        return bool(credential.get_token(f"{GRAPH}/.default").token)
    except ClientAuthenticationError:
        return False


def account_opens(azure, account, key):
    client = BlobServiceClient(
        azure.address, credential={"account_name": account, "account_key": key}, connection_verify=azure.ca,
        retry_total=0)
    try:
        client.get_service_properties()
        return True
    except (ClientAuthenticationError, HttpResponseError):
        return False


def password(space, more="", entry="", grace="1s"):
    name = f"app-{uuid.uuid4().hex[:10]}"
    space.policy("key", f"secret: {name}\nissuer: passwords\nlifetime: 30d\nrotate: {{every: 20d}}\ngrace: {grace}\n"
                 f"{more}backends: [{{name: kv{entry}}}]\n")
    return name


def application(space, azure, grace="1s", more=""):
    client_id = azure.add_application()
    name = f"apps/{client_id[:8]}"
    space.policy("key", f"secret: {name}\nissuer: apps\nissue: {{clientId: {client_id}}}\nlifetime: 30d\n"
                 f"rotate: {{every: 20d}}\ngrace: {grace}\n{more}"
                 f"backends: [{{name: vault}}, {{name: kv, path: {name.replace('/', '-')}}}]\n")
    return client_id, name


def storage_policy(space, azure, account, name, first="", grace="1s"):
    space.policy("key", f"secret: {name}\nissuer: storage\nissue:\n  subscription: {azure.subscription}\n"
                 f"  resourceGroup: payments\n  account: {account}\n  blobEndpoint: '{azure.address}'\n{first}"
                 f"lifetime: 30d\nrotate: {{every: 20d}}\ngrace: {grace}\n"
                 f"backends: [{{name: vault}}, {{name: kv, path: {name}}}]\n")


def storage(space, azure, **more):
    account = azure.add_account()
    storage_policy(space, azure, account, account, **more)
    return account


# Key Vault.

def test_the_vendor_reads_what_we_write_over_two_renewals(space, azure):
    name = password(space)
    must(space.run("validate", "--online"))
    must(space.run("run", "--once"))
    client = vendor(azure)
    values = [client.get_secret(name).value]
    assert len(values[0]) == 32
    first = client.get_secret(name).properties
    assert first.tags["keyturn-secret"] == name and first.tags["keyturn-version"] == "1"
    assert first.tags["keyturn-generation"] == "1" and uuid.UUID(first.tags["keyturn-instance"])
    assert abs((first.expires_on - first.created_on).total_seconds() - 30 * 86400) < 60
    for number in (2, 3):
        must(space.run("rotate", name))
        found = client.get_secret(name)
        assert found.value not in values and found.properties.tags["keyturn-version"] == str(number)
        values.append(found.value)
    # In their grace the old ones can still be read by version.
    versions = {found.tags["keyturn-version"]: found for found in client.list_properties_of_secret_versions(name)}
    assert len(versions) == 3 and versions["2"].enabled and versions["3"].enabled
    assert client.get_secret(name, versions["2"].version).value == values[1]
    retire(space)
    assert space.stages(name) == {1: "retired", 2: "retired", 3: "current"}
    versions = {found.tags["keyturn-version"]: found for found in client.list_properties_of_secret_versions(name)}
    assert {number: found.enabled for number, found in versions.items()} == {"1": False, "2": False, "3": True}
    assert client.get_secret(name).value == values[2]
    assert space.json("drift")["findings"] == []


def test_what_the_vendor_writes_is_seen_and_not_replaced(space, azure):
    name = password(space)
    client = vendor(azure)
    client.set_secret(name, "somebody else's", tags={"owner": "payments"}, content_type="text/plain")
    done = must(space.run("run", "--once", "--wait", "0"), 1, 3)
    assert "did not put there" in done.stderr and "somebody" not in done.stdout + done.stderr
    assert client.get_secret(name).value == "somebody else's"
    space.policy("key", (space.folder / "schedules/key.yaml").read_text().replace(
        "{name: kv}", "{name: kv, overwrite: true}"))
    must(space.run("resume", name))
    must(space.run("run", "--once", "--wait", "0"))
    found = client.get_secret(name)
    assert len(found.value) == 32
    assert found.properties.tags["owner"] == "payments" and found.properties.content_type == "text/plain"
    # Drift: somebody sets another value; it is found, named and put right.
    ours = found.value
    client.set_secret(name, "set by hand")
    assert space.run("drift").returncode == 1
    must(space.run("drift", "--repair", name))
    assert client.get_secret(name).value == ours


def test_a_name_in_the_recycle_bin_is_told_before_a_key_is_made(space, azure):
    name = password(space)
    client = vendor(azure)
    client.set_secret(name, "old")
    client.begin_delete_secret(name)
    done = must(space.run("validate", "--online"), 1, 65, 69, 77)
    assert "recycle bin" in done.stdout + done.stderr
    done = must(space.run("run", "--once", "--wait", "0"), 1, 3)
    assert "recycle bin" in done.stderr and "az keyvault secret recover" in done.stdout + done.stderr
    assert space.status(name)["versions"] == []
    client.purge_deleted_secret(name)
    must(space.run("resume", name), 0, 1)
    must(space.run("run", "--once", "--wait", "10s"))
    assert len(client.get_secret(name).value) == 32


def test_a_disabled_current_version_is_an_outage_that_a_rotation_ends(space, azure):
    name = password(space)
    must(space.run("run", "--once"))
    client = vendor(azure)
    client.update_secret_properties(name, client.get_secret(name).properties.version, enabled=False)
    with pytest.raises(HttpResponseError):
        client.get_secret(name)
    # Also the tags stay where only another attribute changes.
    [version] = client.list_properties_of_secret_versions(name)
    assert version.tags["keyturn-version"] == "1"
    must(space.run("drift", "--repair", name), 0, 1)
    assert len(client.get_secret(name).value) == 32


@pytest.mark.parametrize("kind", ["lost", "reset", "timeout", 429, 503])
def test_a_write_without_an_answer_is_written_once(space, azure, proxy, kind):
    name = password(space)
    must(space.run("run", "--once"))
    configure(space, azure, proxy.address, more="")
    (space.folder / "keyturn.yaml").write_text((space.folder / "keyturn.yaml").read_text().replace(
        "type: azure-key-vault", "timeout: 1s, type: azure-key-vault"))
    rule = proxy.fail(kind, f"PUT /secrets/{name}", times=1, headers={"Retry-After": "1"})
    must(space.run("rotate", name, "--wait", "60s"))
    assert rule.hits == 1
    versions = list(vendor(azure).list_properties_of_secret_versions(name))
    assert sorted(version.tags["keyturn-version"] for version in versions) == ["1", "2"]
    assert space.stages(name)[2] == "current"


def test_the_rights_in_deploy_suffice(space, azure):
    """Each call of a rotation is one that the documents name, and each that they name is needed."""
    words = {"getSecret": "get", "readMetadata": "list", "setSecret": "set", "update": "update"}
    role = json.loads((RIGHTS / "azure-key-vault.json").read_text())
    azure.rights = {words[action.split("/")[3]] for action in role["DataActions"]}
    role = json.loads((RIGHTS / "azure-storage-key.json").read_text())
    azure.rights |= {action.split("/")[2] for action in role["Actions"]}
    [graph] = json.loads((RIGHTS / "azure-entra-password.json").read_text())
    assert [access["id"] for access in graph["resourceAccess"]] == ["18a4783c-866b-4cc7-a460-3d5e5662c884"]
    rights = set(azure.rights)
    account = storage(space, azure, first="  firstKey: key2\n")
    must(space.run("run", "--once"))
    must(space.run("rotate", account))
    retire(space)
    assert space.stages(account) == {1: "retired", 2: "current"} and azure.refused_calls == []
    for missing in rights:
        azure.rights = rights - {missing}
        assert space.run("rotate", account, "--compromised", "--wait", "0").returncode in (1, 3), missing
        azure.rights = None
        space.run("resume", account)
        must(space.run("run", "--once", "--wait", "60s"), 0, 1)
    must(space.run("rotate", account), 0, 1)
    assert account_opens(azure, account, space.vault_value(account)) and azure.value(account) == space.vault_value(account)


def test_errors_name_the_cause_and_nothing_else(space, azure, proxy):
    name = password(space)
    must(space.run("run", "--once"))
    configure(space, azure, proxy.address)
    for kind, code, words in ((403, 3, "right"), (("echo", 409), 3, "changed"), (400, 3, "refused")):
        proxy.heal()
        proxy.fail(kind, f"PUT /secrets/{name}")
        done = space.run("rotate", name, "--wait", "0")
        assert done.returncode in (1, code) and re.search(words, done.stderr), done.stderr
        assert "made up" not in done.stderr and azure.secret not in done.stderr
        assert azure.value(name) not in done.stderr
        proxy.heal()
        space.run("resume", name)
        must(space.run("run", "--once", "--wait", "60s"))
    assert len({version.value for version in azure.vault[name]}) == len(azure.vault[name])


def test_a_vault_that_asks_for_a_token_for_another_service_gets_none(space, azure):
    name = password(space)
    (space.folder / "keyturn.yaml").write_text((space.folder / "keyturn.yaml").read_text().replace(
        f"resource: '{VAULT}', ", ""))
    before = len(azure.logins)
    done = must(space.run("validate", "--online"), 1, 65, 69, 77)
    assert "another service" in done.stdout + done.stderr
    must(space.run("run", "--once", "--wait", "0"), 1, 3)
    assert len(azure.logins) == before and name not in azure.vault


# Logins.

def test_a_wrong_secret_is_told_from_one_that_is_over(space, azure):
    name = password(space)
    space.environment = {"KT_AZURE_SECRET": "wrong~secret"}
    done = must(space.run("run", "--once", "--wait", "0"), 1, 3)
    assert "AADSTS7000215" in done.stderr and "wrong~secret" not in done.stderr and "made up" not in done.stderr
    # The vendor's client is refused the same way.
    with pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
        vendor(azure, "wrong~secret").get_secret(name)
    azure.applications[azure.client_id]["k"] = {
        "text": "old~secret", "name": "", "start": 0, "end": time.time() - 60, "known": 0}
    space.environment = {"KT_AZURE_SECRET": "old~secret"}
    space.run("resume", name)
    done = must(space.run("run", "--once", "--wait", "0"), 1, 3)
    assert "AADSTS7000222" in done.stderr and "has expired" in done.stdout + done.stderr
    space.environment = {"KT_AZURE_SECRET": azure.secret}
    space.run("resume", name)
    must(space.run("run", "--once", "--wait", "10s"))
    assert len(azure.value(name)) == 32


def test_one_login_serves_a_pass(space, azure):
    password(space)
    before = len(azure.logins)
    must(space.run("run", "--once"))
    assert len(azure.logins) == before + 1


@pytest.mark.parametrize("kind", ["machine", "app", "workload", "environment"])
def test_other_logins(space, azure, tmp_path, kind):
    tail = f"caFile: {azure.ca}"
    environment = {"KT_AZURE_SECRET": azure.secret, "https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    if kind == "machine":
        auth = f"auth: {{managedIdentity: {{endpoint: 'http://127.0.0.1:{azure.plain_port}'}}}}, {tail}"
    elif kind == "app":
        auth = f"auth: {{managedIdentity: {{}}}}, {tail}"
        azure.identity = "header~" + uuid.uuid4().hex
        environment |= {"IDENTITY_ENDPOINT": f"http://127.0.0.1:{azure.plain_port}/msi/token",
                        "IDENTITY_HEADER": azure.identity}
    elif kind == "workload":
        token = tmp_path / "token"
        token.write_text("federated~" + uuid.uuid4().hex)
        azure.applications[azure.client_id]["f"] = {
            "text": token.read_text(), "name": "", "start": 0, "end": time.time() + 3600, "known": 0}
        auth = f"auth: {{workloadIdentity: {{}}, authorityHost: '{azure.address}'}}, {tail}"
        environment |= {"AZURE_TENANT_ID": azure.tenant, "AZURE_CLIENT_ID": azure.client_id,
                        "AZURE_FEDERATED_TOKEN_FILE": str(token)}
    else:
        auth = tail
        environment |= {"AZURE_TENANT_ID": azure.tenant, "AZURE_CLIENT_ID": azure.client_id,
                        "AZURE_CLIENT_SECRET": azure.secret, "AZURE_AUTHORITY_HOST": azure.address}
    configure(space, azure, auth=auth)
    space.environment = environment
    name = password(space)
    done = must(space.run("run", "--once"))
    assert len(vendor(azure).get_secret(name).value) == 32
    if azure.identity:
        assert azure.identity not in done.stdout + done.stderr
        space.environment["IDENTITY_HEADER"] = "wrong"
        assert space.run("validate", "--online").returncode != 0


# Application passwords.

def test_application_passwords_over_two_renewals(space, azure):
    client_id, name = application(space, azure)
    must(space.run("validate", "--online"))
    must(space.run("run", "--once"))
    values = [space.vault_value(name)]
    for _ in range(2):
        assert vendor(azure).get_secret(name.replace("/", "-")).value == values[-1]
        assert application_logs_in(azure, client_id, values[-1])
        must(space.run("rotate", name))
        values.append(space.vault_value(name))
    assert len(set(values)) == 3
    assert all(application_logs_in(azure, client_id, value) for value in values)
    retire(space)
    assert [application_logs_in(azure, client_id, value) for value in values] == [False, False, True]
    [(key, about)] = azure.applications[client_id].items()
    assert re.fullmatch(rf"keyturn:{name}:3:[0-9a-f]{{32}}", about["name"])
    assert abs(about["end"] - about["start"] - 30 * 86400) < 60
    current = [version for version in space.status(name)["versions"] if version["stage"] == "current"]
    assert [version["keyId"] for version in current] == [key]


def test_a_new_password_that_is_not_known_everywhere_is_waited_for(space, azure):
    client_id, name = application(space, azure)
    must(space.run("run", "--once"))
    first = space.vault_value(name)
    azure.delay = 4
    started = time.monotonic()
    must(space.run("rotate", name, "--wait", "60s"))
    assert time.monotonic() - started > 3.5, "it was promoted before it worked"
    assert space.vault_value(name) != first and azure.accepts(client_id, space.vault_value(name))


@pytest.mark.parametrize("delay", [0, 2])
@pytest.mark.parametrize("kind", ["lost", "reset"])
def test_a_lost_password_is_found_by_its_mark_and_removed(space, azure, proxy, kind, delay):
    client_id, name = application(space, azure, grace="1h")
    must(space.run("run", "--once"))
    theirs = str(uuid.uuid4())
    azure.applications[client_id][theirs] = {
        "text": "by~hand", "name": "made by hand", "start": 0, "end": time.time() + 86400, "known": 0}
    configure(space, azure, proxy.address)
    azure.delay = delay
    rule = proxy.fail(kind, "/addPassword", times=1)
    must(space.run("rotate", name, "--wait", "60s"), 0, 1)
    must(space.run("run", "--once", "--wait", "60s"))
    assert rule.hits == 1 and space.stages(name) == {1: "previous", 2: "current"}
    known = {version["keyId"] for version in space.status(name)["versions"]}
    assert set(azure.applications[client_id]) == known | {theirs}, "an orphan is left, or another's was removed"
    assert azure.accepts(client_id, space.vault_value(name))


def test_rights_that_graph_denies_are_named(space, azure):
    _, name = application(space, azure)
    azure.rights = {"get", "set", "list"}
    done = must(space.run("run", "--once", "--wait", "0"), 1, 3)
    assert "Application.ReadWrite.OwnedBy" in done.stdout + done.stderr and "made up" not in done.stderr


# Storage accounts.

def test_storage_keys_alternate_over_two_renewals(space, azure):
    account = storage(space, azure, first="  firstKey: key2\n")
    untouched = azure.accounts[account]["key1"]["value"]
    must(space.run("validate", "--online"))
    must(space.run("run", "--once"))
    first = space.vault_value(account)
    assert azure.accounts[account]["key2"]["value"] == first and account_opens(azure, account, first)
    assert azure.accounts[account]["key1"]["value"] == untouched
    assert vendor(azure).get_secret(account).value == first
    for number, slot in ((2, "key1"), (3, "key2")):
        old = space.vault_value(account)
        must(space.run("rotate", account))
        new = space.vault_value(account)
        assert azure.accounts[account][slot]["value"] == new != old
        assert account_opens(azure, account, new) and account_opens(azure, account, old), "the grace is not kept"
        retire(space)
        assert space.stages(account)[number] == "current" and space.stages(account)[number - 1] == "retired"
        assert account_opens(azure, account, new) and not account_opens(azure, account, old)
    assert vendor(azure).get_secret(account).value == space.vault_value(account)


def test_no_storage_key_is_overwritten_while_nobody_knows_which_is_in_use(space, azure, tmp_path):
    account = storage(space, azure)
    before = json.dumps(azure.accounts[account])
    done = must(space.run("run", "--once", "--wait", "0"), 1, 3)
    assert "keyturn adopt" in done.stdout + done.stderr and json.dumps(azure.accounts[account]) == before
    # The policy says it, then.
    storage_policy(space, azure, account, account, first="  firstKey: key1\n")
    space.run("resume", account)
    must(space.run("run", "--once", "--wait", "30s"))
    assert azure.accounts[account]["key1"]["value"] == space.vault_value(account)
    assert azure.accounts[account]["key2"]["value"] in before
    # Or the key in use is taken over.
    account = storage(space, azure)
    file = tmp_path / "key"
    file.write_text(azure.accounts[account]["key2"]["value"])
    file.chmod(0o600)
    must(space.run("adopt", account, "--from", str(file)))
    must(space.run("run", "--once"))
    must(space.run("rotate", account))
    new = space.vault_value(account)
    assert azure.accounts[account]["key1"]["value"] == new
    assert azure.accounts[account]["key2"]["value"] == file.read_text(), "the key in use was overwritten"
    # Somebody makes a new key by hand: neither is the current one, and nothing is touched.
    azure.accounts[account] = {slot: azure.new_key() for slot in ("key1", "key2")}
    before = json.dumps(azure.accounts[account])
    done = must(space.run("rotate", account, "--wait", "0"), 1, 3)
    assert json.dumps(azure.accounts[account]) == before, done.stderr


@pytest.mark.parametrize("kind", ["lost", "reset", 503])
def test_a_lost_storage_key_is_made_again_in_the_same_slot(space, azure, proxy, kind):
    account = storage(space, azure, first="  firstKey: key2\n", grace="1h")
    must(space.run("run", "--once"))
    first = space.vault_value(account)
    configure(space, azure, proxy.address)
    rule = proxy.fail(kind, "/regenerateKey", times=1, headers={"Retry-After": "1"})
    must(space.run("rotate", account, "--wait", "60s"))
    assert rule.hits == 1
    assert azure.accounts[account]["key2"]["value"] == first, "the key in use was overwritten"
    assert azure.accounts[account]["key1"]["value"] == space.vault_value(account)
    assert space.stages(account) == {1: "previous", 2: "current"}


def test_the_grace_of_a_storage_key_ends_before_the_next_rotation(space, azure):
    storage(space, azure, first="  firstKey: key2\n", grace="20d")
    done = must(space.run("validate"), 65)
    assert "allows 2 keys" in done.stdout + done.stderr


def test_no_key_is_shown_anywhere(space, azure):
    account = storage(space, azure, first="  firstKey: key2\n")
    must_disclose_none(space, account, lambda: {
        key["value"] for key in azure.accounts[account].values()} | {azure.secret, *azure.tokens})


# A process that dies.

@pytest.mark.timeout(900)
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("kind", ["passwords", "apps", "storage"])
def test_killed_at_every_request(space, azure, proxy, monkeypatch, kind, moment):
    """At each request of a rotation, before the server carries it out or after that; a restart brings it to its end with
    one current key, the same everywhere, and none left over."""
    if kind == "apps":
        subject, name = application(space, azure)
    elif kind == "storage":
        subject = name = storage(space, azure, first="  firstKey: key2\n")
    else:
        subject = name = password(space)
        space.policy("key", (space.folder / "schedules/key.yaml").read_text().replace(
            "[{name: kv}]", "[{name: vault}, {name: kv}]"))
    must(space.run("run", "--once"))
    configure(space, azure, proxy.address)
    text = (space.folder / "keyturn.yaml").read_text()
    (space.folder / "keyturn.yaml").write_text(text.replace("listingDelay: 3s", "listingDelay: 1s"))
    # Or each rotation would make more requests than the one before, and there would be no end of them.
    monkeypatch.setattr(azure, "page", 25)
    entry = name.replace("/", "-")
    works = {"passwords": bool, "apps": lambda value: azure.accepts(subject, value),
             "storage": lambda value: account_opens(azure, subject, value)}[kind]
    for number, current in killed_at_each_request(
            space, proxy, name, moment, served=lambda: azure.value(entry), works=works):
        if kind == "apps":
            retire(space)
            left = {about["text"] for about in azure.applications[subject].values()}
            assert left == {current}, (number, "a password is left over")
        elif kind == "storage":
            assert works(current), number
    newest = list(vendor(azure).list_properties_of_secret_versions(entry))
    retired = {n for n, stage in space.stages(name).items() if stage == "retired"}
    assert not any(found.enabled for found in newest if int(found.tags["keyturn-version"]) in retired)
    must_be_settled(space)
