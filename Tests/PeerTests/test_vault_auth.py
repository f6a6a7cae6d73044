"""Logins to OpenBao by signed tokens and as Kubernetes service accounts, tokens that are renewed, nodes of a cluster."""
import http.server
import json
import re
import threading
import time
import uuid

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from peers.fault_proxy import FaultProxy
from peers.pki import Authority
from test_vault_login import RIGHTS, policy, script, use
from workspace import must, retire


class Signer:
    """Somebody who signs tokens, and the mounts of OpenBao that believe it."""

    def __init__(self, bao):
        self.bao = bao
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.mount = f"jwt-{uuid.uuid4().hex[:8]}"
        self.public = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
        self.done("POST", f"sys/auth/{self.mount}", {"type": "jwt"})
        self.done("POST", f"auth/{self.mount}/config", {"jwt_validation_pubkeys": [self.public]})
        self.done("PUT", f"sys/policies/acl/{self.mount}", {"policy": RIGHTS.replace("MOUNT", "secret")})

    def done(self, *arguments):
        status, _ = self.bao.call(*arguments)
        assert status in (200, 204), (status, arguments)

    def role(self, name="keyturn", **more):
        self.done("POST", f"auth/{self.mount}/role/{name}", {
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["keyturn-test"], "bound_subject": "ci",
            "token_policies": [self.mount], "token_ttl": "1h", "token_max_ttl": "24h", **more})

    def no_renewal(self):
        """A policy that takes away what the usual one gives."""
        self.done("PUT", f"sys/policies/acl/{self.mount}-ends", {
            "policy": 'path "auth/token/renew-self" { capabilities = ["deny"] }'})
        return f"{self.mount}-ends"

    def token(self, seconds=3600, **claims):
        now = int(time.time())
        return jwt.encode({"sub": "ci", "aud": "keyturn-test", "iat": now - 10, "nbf": now - 10, "exp": now + seconds,
                           "jti": uuid.uuid4().hex, **claims}, self.key, algorithm="ES256")


@pytest.fixture
def signer(bao):
    made = Signer(bao)
    made.role()
    return made


@pytest.fixture
def proxy(bao):
    made = FaultProxy(bao.port)
    made.calls = []
    made.record = lambda method, path, headers, body: made.calls.append((method, path))
    yield made
    made.stop()


def count(proxy, ending):
    return sum(path.endswith(ending) for _, path in proxy.calls)


def write(space, name, text, mode=0o644):
    (space.folder / name).write_text(text)
    (space.folder / name).chmod(mode)


# Signed tokens.

@pytest.mark.parametrize("source", ["file", "reference", "default role"])
def test_signed_token(workspace, bao, proxy, signer, source):
    if source == "reference":
        auth = f"auth: {{jwt: {{role: keyturn, mount: {signer.mount}, token: {{env: KT_JWT}}}}}}"
        workspace.environment = {"KT_JWT": signer.token()}
    else:
        role = "role: keyturn, "
        if source == "default role":
            signer.done("POST", f"auth/{signer.mount}/config", {
                "jwt_validation_pubkeys": [signer.public], "default_role": "keyturn"})
            role = ""
        # Laid down by somebody else, behind a link, for all to read.
        write(workspace, "laid-down", signer.token() + "\n")
        (workspace.folder / "jwt").symlink_to("laid-down")
        auth = f"auth: {{jwt: {{{role}mount: {signer.mount}, tokenFile: jwt}}}}"
    use(workspace, proxy.address, auth)
    name = policy(workspace)
    must(workspace.run("validate", "--online"))
    must(workspace.run("run", "--once"))
    must(workspace.run("rotate", name))
    retire(workspace)
    assert workspace.stages(name) == {1: "retired", 2: "current"} and bao.value(name)
    assert bao.versions(name)["1"]["destroyed"] is True
    calls = {re.sub(r"\?.*", "", path) for _, path in proxy.calls}
    assert calls == {f"/v1/auth/{signer.mount}/login", "/v1/sys/internal/ui/mounts/secret", "/v1/sys/capabilities-self",
                     *(f"/v1/secret/{part}/{name}" for part in ("data", "metadata", "destroy"))}


@pytest.mark.parametrize("wrong", [
    {"seconds": -3600}, {"sub": "somebody"}, {"aud": "another"}, {"key": True}, {"garbage": True}])
def test_refused_signed_token(workspace, bao, signer, wrong):
    if wrong.pop("key", False):
        signer.key = ec.generate_private_key(ec.SECP256R1())
    token = "CANARY" if wrong.pop("garbage", False) else signer.token(**wrong)
    write(workspace, "jwt", token)
    use(workspace, bao.address, f"auth: {{jwt: {{role: keyturn, mount: {signer.mount}, tokenFile: jwt}}}}")
    policy(workspace)
    done = must(workspace.run("run", "--once", "--wait", "0"), 1, 3)
    assert "the JWT login was refused" in done.stderr and token not in done.stderr + done.stdout


def test_token_file_that_is_replaced(workspace, bao, proxy, signer):
    """Each login takes what the file holds by then."""
    signer.role(token_ttl="3s", token_max_ttl="3s")
    first, second = signer.token(), signer.token()
    write(workspace, "jwt", first)
    shown = []

    def record(method, path, headers, body):
        if path.endswith("/login"):
            shown.append(json.loads(body)["jwt"])
    proxy.record = record
    use(workspace, proxy.address, f"auth: {{jwt: {{role: keyturn, mount: {signer.mount}, tokenFile: jwt}}}}")
    swap = script(workspace, "swap", f"sleep 4; printf %s {second} > jwt")
    name = policy(workspace, swap)
    done = must(workspace.run("run", "--once", "--wait", "0"))
    assert bao.value(name) and "step failed" not in done.stderr
    assert shown == [first, second]


def test_missing_token_file(workspace, bao, signer):
    use(workspace, bao.address, f"auth: {{jwt: {{role: keyturn, mount: {signer.mount}, tokenFile: jwt}}}}")
    policy(workspace)
    done = must(workspace.run("run", "--once", "--wait", "0"), 1, 3)
    assert "the JWT in" in done.stderr and "can't be read" in done.stderr


# Tokens that are renewed.

def login(space, proxy, signer):
    write(space, "jwt", signer.token())
    use(space, proxy.address, f"auth: {{jwt: {{role: keyturn, mount: {signer.mount}, tokenFile: jwt}}}}")


def test_renewed_before_it_runs_out(workspace, bao, proxy, signer):
    signer.role(token_ttl="4s", token_max_ttl="1h")
    login(workspace, proxy, signer)
    name = policy(workspace, script(workspace, "slow", "sleep 3.5"))
    done = must(workspace.run("run", "--once", "--wait", "0"))
    assert bao.value(name) and "step failed" not in done.stderr
    assert count(proxy, "/login") == 1 and count(proxy, "/renew-self") == 1


@pytest.mark.parametrize("why", ["most it may last", "batch", "refused"])
def test_login_where_it_cannot_be_renewed(workspace, bao, proxy, signer, why):
    if why == "most it may last":
        signer.role(token_ttl="4s", token_max_ttl="4s")
    elif why == "batch":
        signer.role(token_ttl="4s", token_max_ttl="4s", token_type="batch")
    else:
        signer.role(token_ttl="4s", token_max_ttl="1h", token_policies=[signer.mount, signer.no_renewal()])
    login(workspace, proxy, signer)
    name = policy(workspace, script(workspace, "slow", "sleep 3.5"))
    done = must(workspace.run("run", "--once", "--wait", "0"))
    assert bao.value(name) and "step failed" not in done.stderr
    assert count(proxy, "/login") == 2, proxy.calls
    assert count(proxy, "/renew-self") == (0 if why == "batch" else 1)


# Service accounts of Kubernetes.

class TokenReview:
    """The part of an API server that OpenBao asks whether a service account's token is good."""

    def __init__(self):
        self.accounts = {}  # by token
        review = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                token = asked["spec"]["token"]
                known = review.accounts.get(token)
                status = {"authenticated": False, "error": "no such token"}
                if known and self.path == "/apis/authentication.k8s.io/v1/tokenreviews":
                    namespace, name = known
                    status = {"authenticated": True, "user": {
                        "username": f"system:serviceaccount:{namespace}:{name}", "uid": "00000000-0000-4000-8000-000000000001",
                        "groups": ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]}}
                text = json.dumps({**asked, "status": status}).encode()
                self.send_response(201)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.key = ec.generate_private_key(ec.SECP256R1())

    def token(self, namespace, name):
        now = int(time.time())
        claims = {"iss": "https://kubernetes.default.svc", "sub": f"system:serviceaccount:{namespace}:{name}",
                  "iat": now - 10, "nbf": now - 10, "exp": now + 600, "jti": uuid.uuid4().hex,
                  "kubernetes.io": {"namespace": namespace, "serviceaccount": {
                      "name": name, "uid": "00000000-0000-4000-8000-000000000001"}}}
        token = jwt.encode(claims, self.key, algorithm="ES256")
        self.accounts[token] = namespace, name
        return token

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def cluster(bao, tmp_path):
    review = TokenReview()
    authority = Authority(tmp_path, "cluster-ca").file.read_text()
    review.mount = f"kubernetes-{uuid.uuid4().hex[:8]}"
    for arguments in (
            ("POST", f"sys/auth/{review.mount}", {"type": "kubernetes"}),
            ("POST", f"auth/{review.mount}/config", {
                "kubernetes_host": review.address, "token_reviewer_jwt": review.token("vault", "reviewer"),
                "disable_local_ca_jwt": True, "kubernetes_ca_cert": authority}),
            ("PUT", f"sys/policies/acl/{review.mount}", {"policy": RIGHTS.replace("MOUNT", "secret")}),
            ("POST", f"auth/{review.mount}/role/rotation", {
                "bound_service_account_names": ["keyturn"], "bound_service_account_namespaces": ["payments"],
                "token_policies": [review.mount], "token_ttl": "1h"})):
        status, _ = bao.call(*arguments)
        assert status in (200, 204), arguments
    yield review
    review.stop()


def test_service_account(workspace, bao, proxy, cluster):
    write(workspace, "token", cluster.token("payments", "keyturn"))
    use(workspace, proxy.address, f"auth: {{kubernetes: {{role: rotation, mount: {cluster.mount}, tokenFile: token}}}}")
    name = policy(workspace)
    must(workspace.run("run", "--once"))
    assert bao.value(name)
    # The token is replaced, and the old one dies with its pod.
    cluster.accounts.clear()
    write(workspace, "token", cluster.token("payments", "keyturn"))
    must(workspace.run("rotate", name))
    assert workspace.stages(name) == {1: "previous", 2: "current"}


@pytest.mark.parametrize("who", [("payments", "other"), ("elsewhere", "keyturn"), None])
def test_refused_service_account(workspace, bao, cluster, who):
    token = cluster.token(*(who or ("payments", "keyturn")))
    if who is None:
        cluster.accounts.pop(token)
    write(workspace, "token", token)
    use(workspace, bao.address, f"auth: {{kubernetes: {{role: rotation, mount: {cluster.mount}, tokenFile: token}}}}")
    policy(workspace)
    done = must(workspace.run("run", "--once", "--wait", "0"), 1, 3)
    assert "the Kubernetes login was refused" in done.stderr and token not in done.stderr + done.stdout


# Nodes of a cluster, as their answers are documented.

@pytest.mark.parametrize("status,words", [
    (412, "not caught up"), (472, "disaster recovery"), (473, "performance standby"), (429, "standby"), (307, "standby")])
def test_nodes_that_do_not_answer_are_named_and_tried_again(workspace, bao, proxy, status, words):
    use(workspace, proxy.address)
    name = policy(workspace)
    must(workspace.run("run", "--once"))
    proxy.fail(status, f"secret/data/{name}", headers={"Location": "http://127.0.0.1:1/"} if status == 307 else None)
    done = must(workspace.run("rotate", name, "--wait", "0"), 1)
    assert words in done.stdout + done.stderr and f"HTTP {status}" in done.stderr, (done.stdout, done.stderr)
    proxy.heal()
    must(workspace.run("run", "--once", "--wait", "60s"))
    assert workspace.stages(name)[2] == "current"


def test_a_node_that_catches_up_is_asked_again(workspace, bao, proxy):
    use(workspace, proxy.address)
    name = policy(workspace)
    rule = proxy.fail(412, f"secret/data/{name}", times=3)
    done = must(workspace.run("run", "--once", "--wait", "0"))
    assert rule.hits == 3 and "step failed" not in done.stderr
    assert bao.value(name)


def test_the_state_that_was_seen_is_named(workspace, bao, proxy):
    """The node before says how far it is; the next question asks for no less."""
    use(workspace, proxy.address)
    name = policy(workspace)
    seen = []
    proxy.record = lambda method, path, headers, body: seen.append(dict(headers).get("X-Vault-Index"))
    proxy.more_headers = {"X-Vault-Index": "an-index=="}
    must(workspace.run("run", "--once"))
    assert seen[0] is None and "an-index==" in seen[1:]
