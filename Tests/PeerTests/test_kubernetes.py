"""Keys of Kubernetes Secrets: an API server that kubectl and the official Python client drive, too."""
import base64
import json
import pathlib
import shutil
import subprocess
import time

import kubernetes
import pytest
import yaml

from peers.fault_proxy import FaultProxy
from peers.kubernetes_api import KubernetesAPI
from peers.pki import Authority
from workspace import must

RIGHTS = pathlib.Path(__file__).resolve().parents[2] / "deploy/rights/kubernetes-secret.yaml"


@pytest.fixture
def api():
    server = KubernetesAPI()
    yield server
    server.stop()


@pytest.fixture
def secure(tmp_path):
    folder = tmp_path / "pki"
    folder.mkdir()
    authority = Authority(folder, "cluster-ca")
    server = KubernetesAPI(authority)
    server.authority = authority
    yield server
    server.stop()


def kubeconfig(path, server, user=None, cluster=None):
    path.write_text(yaml.safe_dump({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "one", "user": "me", "namespace": "payments"}}],
        "clusters": [{"name": "one", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "me", "user": user if user is not None else {"token": "root"}}]}))
    path.chmod(0o600)
    return path


def use(space, server, more="", **parts):
    kubeconfig(space.folder / "kubeconfig", server, **parts)
    space.configure(backends=f"kube: {{type: kubernetes-secret, kubeconfig: kubeconfig{more}}}\n")


@pytest.fixture
def space(workspace, api):
    use(workspace, api.address)
    return workspace


def policy(space, key="api-key", name="team/key", target="", path=None, more="grace: 1s\n"):
    space.policy(key, f"secret: {name}\nissuer: passwords\nlifetime: 30d\nrotate: {{every: 20d}}\n{more}"
                 f"backends: [{{name: kube, path: {path or f'gateway#{key}'}{target}}}, {{name: vault}}]\n")


def client(space):
    """The official client, with the same kubeconfig."""
    return kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(str(space.folder / "kubeconfig")))


def read(space, key="api-key", name="gateway", namespace="payments"):
    try:
        data = client(space).read_namespaced_secret(name, namespace).data or {}
    except kubernetes.client.ApiException as error:
        assert error.status == 404
        return None
    return base64.b64decode(data[key]).decode() if key in data else None


def kubectl(space, *arguments, stdin=None, codes=(0,)):
    done = subprocess.run(
        ["kubectl", "--kubeconfig", space.folder / "kubeconfig", "--cache-dir", space.folder / "cache", *arguments],
        capture_output=True, text=True, input=stdin, timeout=60)
    assert done.returncode in codes, (done.stdout, done.stderr)
    return done.stdout


def test_the_official_client_reads_what_is_written(space, api):
    policy(space)
    must(space.run("validate", "--online"))
    assert read(space) is None
    must(space.run("run", "--once"))
    first = read(space)
    assert first == space.vault_value("team/key")
    must(space.run("rotate", "team/key"))
    assert read(space) == space.vault_value("team/key") != first
    stored = client(space).read_namespaced_secret("gateway", "payments")
    assert stored.type == "Opaque"
    mark = json.loads(stored.metadata.annotations["keyturn.dev/api-key"])
    assert mark["secret"] == "team/key" and mark["version"] == 2 and mark["generation"] == 1
    [fields] = [entry for entry in stored.metadata.managed_fields if entry.manager == "keyturn-api-key"]
    assert fields.operation == "Apply" and list(fields.fields_v1["f:data"]) == ["f:api-key"]
    time.sleep(1.2)
    must(space.run("run", "--once", "--wait", "5s"))
    assert space.stages("team/key") == {1: "retired", 2: "current"}
    must(space.run("drift"))
    must(space.run("doctor"))


def test_other_keys_of_the_secret_stay(space, api):
    client(space).create_namespaced_secret("payments", kubernetes.client.V1Secret(
        metadata=kubernetes.client.V1ObjectMeta(name="gateway", labels={"app": "gateway"}, annotations={"a": "b"}),
        type="example.org/credentials", string_data={"user": "gateway", "api-key": ""}))
    policy(space)
    policy(space, "other-key", "team/other")
    must(space.run("run", "--once"))
    must(space.run("rotate", "team/key", "team/other"))
    stored = client(space).read_namespaced_secret("gateway", "payments")
    assert stored.type == "example.org/credentials"
    assert stored.metadata.labels == {"app": "gateway"} and stored.metadata.annotations["a"] == "b"
    assert set(stored.data) == {"user", "api-key", "other-key"} and read(space, "user") == "gateway"
    assert read(space) == space.vault_value("team/key")
    assert read(space, "other-key") == space.vault_value("team/other")
    # What kubectl and the client change elsewhere in it is no reason to stop.
    client(space).patch_namespaced_secret("gateway", "payments", {"stringData": {"more": "x"}})
    must(space.run("rotate", "team/key"))
    assert read(space, "more") == "x" and read(space) == space.vault_value("team/key")


def test_what_others_write_is_a_conflict(space, api):
    policy(space)
    must(space.run("run", "--once"))
    client(space).patch_namespaced_secret("gateway", "payments", {"stringData": {"api-key": "theirs"}})
    assert "team/key" in must(space.run("drift"), 1).stdout
    done = must(space.run("rotate", "team/key", "--wait", "0"), 3)
    assert "theirs" not in done.stdout + done.stderr and read(space) == "theirs"
    policy(space, target=", overwrite: true")
    must(space.run("resume", "team/key"))
    must(space.run("run", "--once"))
    assert read(space) == space.vault_value("team/key")
    must(space.run("drift"))


def test_kubectl_reads_and_writes(workspace, secure):
    """It sends no token over plain http."""
    space = workspace
    use(space, secure.address, cluster={"certificate-authority-data": encoded(secure.authority.file)})
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "gateway"}, "stringData": {"user": "x"}}
    kubectl(space, "create", "--validate=false", "-f", "-", stdin=json.dumps(manifest))
    policy(space)
    must(space.run("run", "--once"))
    shown = kubectl(space, "get", "secret", "gateway", "-o", "jsonpath={.data.api-key}")
    assert base64.b64decode(shown).decode() == space.vault_value("team/key")
    kubectl(space, "patch", "secret", "gateway", "--type", "merge", "-p", '{"stringData": {"api-key": "theirs"}}')
    must(space.run("rotate", "team/key", "--wait", "0"), 3)
    assert read(space) == "theirs"


def test_a_field_that_another_manager_applies(space, api):
    """Somebody else applies the very value: theirs from then on, until `overwrite` takes it back."""
    policy(space)
    must(space.run("run", "--once"))
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "gateway", "namespace": "payments"},
            "data": {"api-key": base64.b64encode(space.vault_value("team/key").encode()).decode()}}
    with api.lock:
        api.apply(("payments", "gateway"), body, "helm", False)
    done = must(space.run("rotate", "team/key", "--wait", "0"), 3)
    assert "field manager" in done.stderr + done.stdout
    policy(space, target=", overwrite: true")
    must(space.run("resume", "team/key"))
    must(space.run("run", "--once"))
    assert read(space) == space.vault_value("team/key")


def test_rights_suffice_and_are_needed(space, api):
    """What deploy/rights gives an account is what rotations use, no more."""
    documents = list(yaml.safe_load_all(RIGHTS.read_text()))
    role, binding = documents
    assert role["kind"] == "Role" and binding["kind"] == "RoleBinding"
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == "payments"
    api.tokens["limited"] = "limited"
    api.rights["limited"] = {
        ("payments", name, verb) for rule in role["rules"] if rule["resources"] == ["secrets"]
        for name in rule.get("resourceNames", [""]) for verb in rule["verbs"]}
    [name] = {right[1] for right in api.rights["limited"] if right[1]}
    use(space, api.address, user={"token": "limited"})
    policy(space, path=f"{name}#api-key")
    must(space.run("validate", "--online"))
    must(space.run("run", "--once"))
    must(space.run("rotate", "team/key", "--compromised"))
    assert api.value("payments", name, "api-key") == space.vault_value("team/key")
    policy(space, path="elsewhere#api-key", name="team/other", key="other")
    assert space.run("validate", "--online").returncode == 77
    for right in [right for right in api.rights["limited"] if right[2] == "patch"]:
        api.rights["limited"].discard(right)
        done = must(space.run("rotate", "team/key", "--wait", "0"), 1, 3)
        assert "kubernetes-secret.yaml" in done.stdout + done.stderr


# Logins.

def encoded(path):
    return base64.b64encode(path.read_bytes()).decode()


@pytest.mark.parametrize("form", ["data", "files"])
def test_client_certificates(workspace, secure, form):
    certificate, key = secure.authority.issue("keyturn", hosts=("keyturn",))
    secure.rights["keyturn"] = {("payments", "*", "*")}
    if form == "data":
        cluster = {"certificate-authority-data": encoded(secure.authority.file)}
        user = {"client-certificate-data": encoded(certificate), "client-key-data": encoded(key)}
    else:
        shutil.copy(secure.authority.file, workspace.folder / "ca.pem")
        cluster = {"certificate-authority": "ca.pem"}
        user = {"client-certificate": str(certificate), "client-key": str(key)}
    use(workspace, secure.address, user=user, cluster=cluster)
    policy(workspace)
    must(workspace.run("run", "--once"))
    assert read(workspace) == workspace.vault_value("team/key")
    # A certificate of nobody.
    elsewhere = secure.authority.folder / "other"
    elsewhere.mkdir()
    stranger = Authority(elsewhere, "other-ca").issue("keyturn", hosts=("keyturn",))
    use(workspace, secure.address, cluster=cluster,
        user={"client-certificate-data": encoded(stranger[0]), "client-key-data": encoded(stranger[1])})
    must(workspace.run("rotate", "team/key", "--wait", "0"), 1, 3)
    policy(workspace, "again", "team/again")
    use(workspace, secure.address, cluster=cluster, user={})
    done = must(workspace.run("validate", "--online"), 1, 77)
    assert "does not know it" in done.stdout + done.stderr


def test_servers_are_verified(workspace, secure):
    policy(workspace)
    for cluster, more, works in (
            ({}, "", False), ({"insecure-skip-tls-verify": True}, "", False),
            ({"insecure-skip-tls-verify": True}, ", allowInsecure: true", True), ({}, ", allowInsecure: true", False),
            ({"certificate-authority-data": encoded(secure.authority.file)}, "", True)):
        use(workspace, secure.address, more, cluster=cluster)
        done = workspace.run("validate", "--online")
        assert (done.returncode == 0) == works, (cluster, more, done.stdout, done.stderr)
        if not works:
            assert "certificate" in done.stdout + done.stderr or "allowInsecure" in done.stdout + done.stderr


def test_in_a_pod(workspace, secure):
    """The token of the service account is replaced behind its link while Keyturn runs."""
    pod = workspace.folder / "pod"
    (pod / "..data").mkdir(parents=True)
    for name, text in (("token", "first\n"), ("namespace", "payments"), ("ca.crt", secure.authority.file.read_text())):
        (pod / "..data" / name).write_text(text)
        (pod / name).symlink_to(f"..data/{name}")
    secure.tokens = {"first": "pod"}
    secure.rights["pod"] = {("payments", "*", "*")}
    workspace.configure(backends="kube: {type: kubernetes-secret, serviceAccount: pod}\n")
    workspace.environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT_HTTPS": str(secure.port)}
    swap = workspace.folder / "swap"
    swap.write_text("#!/bin/sh\ncat >/dev/null\nprintf second > pod/..data/token\n")
    swap.chmod(0o700)
    policy(workspace, more="grace: 1s\nverify: [{type: command, run: [./swap]}]\n")
    serve = secure.act

    def act(handler, account, *rest):
        if account == "pod" and handler.headers["Authorization"] == "Bearer second":
            secure.tokens.pop("first", None)
        return serve(handler, account, *rest)
    secure.act = act
    secure.tokens["second"] = "pod"
    must(workspace.run("run", "--once"))
    assert "first" not in secure.tokens, "the new token was used"
    assert secure.value("payments", "gateway", "api-key") == workspace.vault_value("team/key")


def test_programs_are_not_run(workspace, api):
    program = workspace.folder / "login"
    program.write_text("#!/bin/sh\ntouch ran\n")
    program.chmod(0o700)
    use(workspace, api.address, user={"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": str(program), "interactiveMode": "Never"}})
    policy(workspace)
    done = must(workspace.run("run", "--once", "--wait", "0"), 1, 3)
    assert "'exec'" in done.stderr + done.stdout
    assert not (workspace.folder / "ran").exists()


# Faults.

@pytest.fixture
def proxy(api):
    made = FaultProxy(api.port)
    yield made
    made.stop()


def test_a_lost_answer_is_resolved(space, api, proxy):
    policy(space)
    must(space.run("run", "--once"))
    use(space, proxy.address)
    rule = proxy.fail("lost", "force=false", times=1)
    must(space.run("rotate", "team/key", "--wait", "60s"))
    assert rule.hits == 1
    use(space, api.address)
    assert read(space) == space.vault_value("team/key")
    assert space.stages("team/key")[2] == "current"


def test_a_change_in_between_is_tried_again(space, api, proxy):
    policy(space)
    must(space.run("run", "--once"))
    use(space, proxy.address)
    seen = []

    def record(method, path, headers, body):
        seen.append(method)
        if method == "PATCH" and seen.count("PATCH") == 1:
            with api.lock:
                secret = json.loads(json.dumps(api.secrets["payments", "gateway"]))
                secret["data"]["theirs"] = "eA=="
                api.store(("payments", "gateway"), secret, "kubectl")
    proxy.record = record
    must(space.run("rotate", "team/key", "--wait", "60s"))
    assert seen.count("PATCH") >= 2
    use(space, api.address)
    assert read(space) == space.vault_value("team/key") and read(space, "theirs") == "x"


def test_no_such_namespace(space, api):
    policy(space, path="nowhere/gateway#api-key")
    done = must(space.run("run", "--once", "--wait", "0"), 1, 3)
    assert "namespace" in done.stdout + done.stderr
