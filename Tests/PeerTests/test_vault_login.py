"""OpenBao as it is run for real: AppRole with least rights, tokens that end, seals, namespaces, other writers."""
import base64
import json
import re
import time
import uuid

import pytest

from peers.fault_proxy import FaultProxy
from peers.openbao import OpenBao
from workspace import retire

# What the documentation lists as the least rights, for secrets below app/.
RIGHTS = """
path "MOUNT/data/app/*" { capabilities = ["create", "read", "update"] }
path "MOUNT/metadata/app/*" { capabilities = ["create", "read", "update"] }
path "MOUNT/destroy/app/*" { capabilities = ["update"] }
"""


class Role:
    """An AppRole login with the least rights, in the root or another namespace."""

    def __init__(self, bao, ttl="1h", namespace=None, mount="secret"):
        self.bao, self.namespace = bao, namespace
        self.name = f"r{uuid.uuid4().hex[:8]}"
        headers = {"namespace": namespace}
        _, methods = bao.call("GET", "sys/auth", **headers)
        if "approle/" not in methods["data"]:
            assert bao.call("POST", "sys/auth/approle", {"type": "approle"}, **headers)[0] == 204
        assert bao.call("PUT", f"sys/policies/acl/{self.name}", {"policy": RIGHTS.replace("MOUNT", mount)},
                        **headers)[0] in (200, 204)
        path = f"auth/approle/role/{self.name}"
        assert bao.call("POST", path, {"token_policies": [self.name], "token_ttl": ttl, "token_max_ttl": ttl},
                        **headers)[0] == 204
        self.role_id = bao.call("GET", f"{path}/role-id", **headers)[1]["data"]["role_id"]
        self.secret_id = bao.call("POST", f"{path}/secret-id", {}, **headers)[1]["data"]["secret_id"]

    def auth(self):
        return f"auth: {{appRole: {{roleId: {self.role_id}, secretId: {{env: KT_SECRET_ID}}}}}}"


def policy(space, more="", backends="[{name: bao}]", name=None):
    name = name or f"app/{uuid.uuid4().hex[:10]}"
    space.policy("key", f"secret: {name}\nissuer: passwords\nlifetime: 30d\nrotate: {{every: 20d}}\ngrace: 1s\n"
                 f"{more}backends: {backends}\n")
    return name


def use(space, address, auth="auth: {token: {env: KT_BAO}}", more=""):
    space.configure(backends=f"bao: {{type: vault-kv2, address: '{address}', {auth}{more}}}\n")
    space.environment = {**space.environment, "KT_BAO": "root"}


def login_as(space, role, address, more=""):
    use(space, address, role.auth(), more)
    space.environment = {**space.environment, "KT_SECRET_ID": role.secret_id}


@pytest.fixture
def proxy(bao):
    made = FaultProxy(bao.port)
    made.calls = []
    made.record = lambda method, path, headers, body: made.calls.append((method, path))
    yield made
    made.stop()


@pytest.fixture
def own_bao(tmp_path):
    server = OpenBao(tmp_path)
    yield server
    server.stop()


def script(space, name, text):
    path = space.folder / name
    path.write_text(f"#!/bin/sh\ncat >/dev/null\n{text}\n")
    path.chmod(0o700)
    return f"verify: [{{type: command, run: ['./{name}'], timeout: 30s}}]\n"


# Logins.

def test_app_role_with_least_rights(workspace, bao, proxy):
    role = Role(bao)
    login_as(workspace, role, proxy.address)
    name = policy(workspace)
    assert workspace.run("validate", "--online").returncode == 0
    done = workspace.run("run", "--once")
    assert done.returncode == 0, done.stderr
    first = bao.value(name)
    assert first
    assert workspace.run("rotate", name).returncode == 0
    assert bao.value(name) not in (None, first)
    retire(workspace)
    assert workspace.stages(name) == {1: "retired", 2: "current"}
    assert bao.versions(name)["1"]["destroyed"] is True
    # Exactly the calls that the rights above cover; whatever else comes needs a right more.
    calls = {(method, re.sub(r"\?.*", "", path)) for method, path in proxy.calls}
    assert calls == {
        ("POST", "/v1/auth/approle/login"), ("GET", "/v1/sys/internal/ui/mounts/secret"),
        ("POST", "/v1/sys/capabilities-self"), ("GET", f"/v1/secret/data/{name}"), ("POST", f"/v1/secret/data/{name}"),
        ("GET", f"/v1/secret/metadata/{name}"), ("POST", f"/v1/secret/metadata/{name}"),
        ("POST", f"/v1/secret/destroy/{name}")}


def test_missing_right_is_seen_before_a_key_is_made(workspace, bao):
    role = Role(bao)
    login_as(workspace, role, bao.address)
    name = policy(workspace, name=f"other/{uuid.uuid4().hex[:8]}")
    done = workspace.run("run", "--once", "--wait", "0")
    assert done.returncode in (1, 3) and "may not read and write" in done.stderr, done.stderr
    assert workspace.stages(name) == {}


@pytest.mark.parametrize("part", ["secret", "role"])
def test_refused_login(workspace, bao, part):
    role = Role(bao)
    login_as(workspace, role, bao.address)
    if part == "secret":
        workspace.environment = {**workspace.environment, "KT_SECRET_ID": str(uuid.uuid4())}
    else:
        use(workspace, bao.address, role.auth().replace(role.role_id, str(uuid.uuid4())))
    policy(workspace)
    done = workspace.run("run", "--once", "--wait", "0")
    assert done.returncode in (1, 3), done.stderr
    assert "AppRole login was refused" in done.stderr and role.secret_id not in done.stderr


def test_token_that_ends_in_the_middle(workspace, bao, proxy):
    """Two thirds of its life after the login, a new one is fetched."""
    role = Role(bao, ttl="3s")
    login_as(workspace, role, proxy.address)
    name = policy(workspace, script(workspace, "slow", "sleep 4"))
    done = workspace.run("run", "--once", "--wait", "0")
    assert done.returncode == 0, done.stderr
    assert bao.value(name)
    assert sum(path.endswith("/login") for _, path in proxy.calls) >= 2
    assert "step failed" not in done.stderr


def test_token_that_is_revoked_in_the_middle(workspace, bao, proxy):
    """A 403 that came from a dead token leads to one login and no failure."""
    role = Role(bao)
    login_as(workspace, role, proxy.address)
    revoke = (f"curl -fsS -X PUT -H 'X-Vault-Token: root' "
              f"{bao.address}/v1/sys/leases/revoke-prefix/auth/approle/login")
    name = policy(workspace, script(workspace, "revoke", revoke))
    done = workspace.run("run", "--once", "--wait", "0")
    assert done.returncode == 0, done.stderr
    assert bao.value(name)
    assert sum(path.endswith("/login") for _, path in proxy.calls) == 2


def test_token_file_is_read_again(workspace, bao):
    """A token that an agent renews in a file is picked up after the refusal."""
    _, made = bao.call("POST", "auth/token/create", {"ttl": "1h"})
    token = workspace.folder / "token"
    token.write_text(made["auth"]["client_token"] + "\n")
    token.chmod(0o600)
    use(workspace, bao.address, "auth: {token: {file: token}}")
    _, second = bao.call("POST", "auth/token/create", {"ttl": "1h"})
    swap = (f"curl -fsS -X PUT -H 'X-Vault-Token: root' -d '{{\"token\": \"{made['auth']['client_token']}\"}}' "
            f"{bao.address}/v1/auth/token/revoke\nprintf %s {second['auth']['client_token']} > token")
    name = policy(workspace, script(workspace, "swap", swap))
    done = workspace.run("run", "--once", "--wait", "0")
    assert done.returncode == 0, done.stderr
    assert bao.value(name)


# Sealed.

def test_sealed_server(workspace, own_bao):
    use(workspace, own_bao.address)
    name = policy(workspace, backends="[{name: vault}, {name: bao}]")
    assert own_bao.call("PUT", "sys/seal", {})[0] == 204
    done = workspace.run("run", "--once", "--wait", "0")
    assert done.returncode == 1 and "503" in done.stderr, done.stderr
    assert "seal" in done.stdout + done.stderr
    assert workspace.stages(name) == {}, "a key was made that could not be stored"
    own_bao.unseal()
    done = workspace.run("run", "--once")
    assert done.returncode == 0, done.stderr
    assert own_bao.value(name) == workspace.vault_value(name)


def test_sealed_in_the_middle(workspace, own_bao):
    """Sealed between verification and promotion: the same key goes on once it is unsealed."""
    use(workspace, own_bao.address)
    name = policy(workspace, backends="[{name: vault}, {name: bao}]")
    assert workspace.run("run", "--once").returncode == 0
    before = own_bao.value(name)
    seal = f"curl -fsS -X PUT -H 'X-Vault-Token: root' {own_bao.address}/v1/sys/seal"
    policy(workspace, script(workspace, "seal", seal), "[{name: vault}, {name: bao}]", name)
    done = workspace.run("rotate", name, "--wait", "0")
    assert done.returncode == 1 and "503" in done.stderr, done.stderr
    policy(workspace, "", "[{name: vault}, {name: bao}]", name)
    staged = {path.name for path in (workspace.vault / name).glob("*.age")}
    assert staged == {"1.age", "2.age"}
    second = workspace.stock_age(workspace.vault / name / "2.age")
    own_bao.unseal()
    assert own_bao.value(name) == before, "the old value is still there"
    deadline = time.monotonic() + 30
    while workspace.stages(name)[2] != "current":
        assert time.monotonic() < deadline
        time.sleep(0.5)
        assert workspace.run("run", "--once", "--wait", "20s").returncode == 0
    assert own_bao.value(name) == workspace.vault_value(name) == second


# Namespaces.

@pytest.mark.parametrize("login", ["token", "approle"])
def test_namespace(workspace, bao, login):
    namespace = f"team-{uuid.uuid4().hex[:6]}"
    assert bao.call("POST", f"sys/namespaces/{namespace}", {})[0] in (200, 204)
    assert bao.call("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "2"}}, namespace=namespace)[0] == 204
    more = f", namespace: {namespace}, mount: kv"
    if login == "approle":
        login_as(workspace, Role(bao, namespace=namespace, mount="kv"), bao.address, more)
    else:
        use(workspace, bao.address, more=more)
    name = policy(workspace)
    done = workspace.run("run", "--once")
    assert done.returncode == 0, done.stderr
    status, answer = bao.call("GET", f"kv/data/{name}", namespace=namespace)
    assert status == 200 and len(answer["data"]["data"]["value"]) == 32
    assert bao.call("GET", f"kv/data/{name}")[0] != 200, "it went to the root namespace"


# Other writers.

def put(bao, name, data):
    assert bao.call("POST", f"secret/data/{name}", {"data": data})[0] == 200


def foreign(bao, name):
    return bao.call("GET", f"secret/data/{name}")[1]["data"]["data"]


def test_foreign_value_is_not_overwritten(workspace, bao):
    use(workspace, bao.address)
    name = policy(workspace)
    put(bao, name, {"value": "somebody else's"})
    done = workspace.run("run", "--once", "--wait", "0")
    assert done.returncode in (1, 3) and "did not put there" in done.stderr, done.stderr
    assert "somebody" not in done.stdout + done.stderr
    assert foreign(bao, name) == {"value": "somebody else's"}
    assert workspace.status(name)["quarantined"]
    # It stays with a person.
    assert workspace.run("run", "--once", "--wait", "0").returncode in (0, 3)
    assert foreign(bao, name) == {"value": "somebody else's"}

    policy(workspace, backends="[{name: bao, overwrite: true}]", name=name)
    assert workspace.run("resume", name).returncode == 0
    done = workspace.run("run", "--once", "--wait", "0")
    assert done.returncode == 0, done.stderr
    assert len(bao.value(name)) == 32
    assert workspace.stages(name) == {1: "current"}


def test_writer_in_the_very_moment(workspace, bao, proxy):
    """Between our look and our write: `cas` refuses ours, the second look finds the stranger."""
    use(workspace, proxy.address)
    name = policy(workspace)
    assert workspace.run("run", "--once").returncode == 0
    writes = []

    def record(method, path, headers, body):
        if method == "POST" and path == f"/v1/secret/data/{name}":
            if not writes:
                put(bao, name, {"value": "theirs"})
            writes.append(json.loads(body)["options"])
    proxy.record = record
    done = workspace.run("rotate", name)
    assert done.returncode == 3, (done.returncode, done.stderr)
    assert writes == [{"cas": 1}]
    assert "changed while it was written" in done.stderr and "did not put there" in done.stderr
    assert foreign(bao, name) == {"value": "theirs"}
    assert workspace.stages(name) == {1: "current", 2: "pending"}


def test_field_beside_ours_is_not_dropped(workspace, bao):
    """A field that somebody added to our key is a change that a person looks at."""
    use(workspace, bao.address)
    name = policy(workspace)
    assert workspace.run("run", "--once").returncode == 0
    mixed = {"value": bao.value(name), "extra": "mine"}
    put(bao, name, mixed)
    done = workspace.run("rotate", name, "--wait", "0")
    assert done.returncode == 3, (done.returncode, done.stderr)
    assert foreign(bao, name) == mixed


@pytest.mark.parametrize("how", ["delete", "destroy", "metadata"])
def test_current_version_is_gone(workspace, bao, how):
    use(workspace, bao.address)
    name = policy(workspace)
    assert workspace.run("run", "--once").returncode == 0
    if how == "delete":
        assert bao.call("DELETE", f"secret/data/{name}")[0] == 204
    elif how == "destroy":
        assert bao.call("PUT", f"secret/destroy/{name}", {"versions": [1]})[0] == 204
    else:
        assert bao.call("DELETE", f"secret/metadata/{name}")[0] == 204
    assert bao.value(name) is None
    done = workspace.run("rotate", name, "--wait", "0")
    assert done.returncode == 0, done.stderr
    assert len(bao.value(name)) == 32
    retire(workspace)
    assert workspace.stages(name) == {1: "retired", 2: "current"}
    assert bao.value(name), "pruning took the current value away"


def test_old_key_stays_while_the_new_one_is_missing(workspace, bao):
    """The gate before retirement reads every backend back."""
    use(workspace, bao.address)
    name = policy(workspace)
    assert workspace.run("run", "--once").returncode == 0
    assert workspace.run("rotate", name).returncode == 0
    assert bao.call("DELETE", f"secret/data/{name}")[0] == 204
    time.sleep(1.2)
    done = workspace.run("run", "--once", "--wait", "0")
    assert workspace.stages(name)[1] == "previous", (done.stdout, done.stderr)
    assert "not every backend has the new value" in workspace.run("status", name).stdout


# Mounts and forms.

def test_kv_version_1_is_refused(workspace, bao):
    mount = f"old{uuid.uuid4().hex[:6]}"
    assert bao.call("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "1"}})[0] == 204
    use(workspace, bao.address, more=f", mount: {mount}")
    name = policy(workspace)
    done = workspace.run("run", "--once", "--wait", "0")
    assert done.returncode in (1, 3) and "not a KV version 2 engine" in done.stderr, done.stderr
    assert workspace.stages(name) == {}
    assert "KV version 2" in workspace.run("validate", "--online").stderr


def test_mount_that_is_not_there(workspace, bao):
    use(workspace, bao.address, more=", mount: nowhere")
    name = policy(workspace)
    done = workspace.run("run", "--once", "--wait", "0")
    assert done.returncode in (1, 3) and "nowhere" in done.stderr, done.stderr
    assert workspace.stages(name) == {}


def test_marks_beside_the_key(workspace, bao):
    use(workspace, bao.address)
    name = policy(workspace)
    theirs = {"custom_metadata": {"team": "pay"}, "max_versions": 7}
    assert bao.call("POST", f"secret/metadata/{name}", theirs)[0] == 204
    assert workspace.run("run", "--once").returncode == 0
    assert workspace.run("rotate", name).returncode == 0
    data = bao.call("GET", f"secret/metadata/{name}")[1]["data"]
    marks = dict(data["custom_metadata"])
    instance = marks.pop("keyturn-instance")
    assert uuid.UUID(instance)
    assert marks == {"team": "pay", "keyturn-secret": name, "keyturn-version": "2", "keyturn-generation": "1",
                     "keyturn-kv-version": "2"}
    assert data["max_versions"] == 7 and bao.value(name) not in json.dumps(data)


@pytest.mark.parametrize("template", [
    '{"user": "app", "password": "{{value}}"}',
    '{"password": "{{value}}", "port": 5432, "ratio": 0.1, "tls": true, "note": null, "hosts": ["a", {"b": 1}]}',
    '{"password": "{{value}}", "large": 9007199254740992, "negative": -9007199254740992, "text": "123456789012345678"}',
    '{"ключ": "{{value}}", "quote\\"d": "a\\\\b\\u20ac", "": "empty name"}',
    '{"coded": "{{value|base64}}", "nested": {"whole": {{value|json}}}}',
])
def test_json_members_become_fields(workspace, bao, template):
    use(workspace, bao.address)
    quoted = template.replace("'", "''")
    name = policy(workspace, backends=f"[{{name: bao, format: json, template: '{quoted}'}}, {{name: vault}}]")
    for _ in range(2):
        done = workspace.run("rotate", name, "--wait", "0")
        assert done.returncode == 0, done.stderr
        value = workspace.vault_value(name)
        text = template.replace("{{value|base64}}", base64.b64encode(value.encode()).decode())
        wanted = json.loads(text.replace("{{value|json}}", json.dumps(value)).replace("{{value}}", value))
        assert foreign(bao, name) == wanted
    # Told apart from a foreign change, whatever the order of members.
    retire(workspace)
    assert workspace.stages(name) == {1: "retired", 2: "current"}


@pytest.mark.parametrize("number", ["9007199254740993", "1234567890123456789", "18446744073709551615", "-1" + "0" * 30])
def test_number_that_the_server_would_round(workspace, bao, number):
    """The server keeps numbers as doubles; what it would change is refused, and not stored changed."""
    use(workspace, bao.address)
    backend = f"{{name: bao, format: json, template: '{{\"p\": \"{{{{value}}}}\", \"n\": [{number}]}}'}}"
    name = policy(workspace, backends=f"[{backend}]")
    done = workspace.run("run", "--once", "--wait", "0")
    assert done.returncode in (1, 3) and "would round" in done.stderr, done.stderr
    assert bao.call("GET", f"secret/data/{name}")[0] == 404


def test_json_that_is_no_object(workspace, bao):
    use(workspace, bao.address)
    name = policy(workspace, backends="[{name: bao, format: json}]")
    done = workspace.run("run", "--once", "--wait", "0")
    assert done.returncode in (1, 3) and "not a JSON object" in done.stderr, done.stderr
    assert bao.value(name) is None


def test_other_field(workspace, bao):
    use(workspace, bao.address, more=", field: password")
    name = policy(workspace)
    other = f"{name}-b"
    workspace.policy("other", f"secret: {other}\nissuer: passwords\nlifetime: 30d\nrotate: {{every: 20d}}\n"
                     f"backends: [{{name: bao, field: token}}]\n")
    assert workspace.run("run", "--once").returncode == 0
    assert set(foreign(bao, name)) == {"password"} and set(foreign(bao, other)) == {"token"}
