"""TLS as users meet it: private authorities, bad certificates, client certificates, proxies, redirects, HTTP/2."""
import json
import re
import uuid

import pytest

from conftest import references
from peers.connect_proxy import ConnectProxy
from peers.nginx import Nginx, secure
from peers.pki import Authority

HOST = "vault.keyturn.test"  # known to no resolver; only a proxy can lead there


class Front:
    """nginx before OpenBao and the AWS emulator."""

    def __init__(self, folder, bao, aws):
        folder.mkdir()
        self.authority, self.other = Authority(folder, "authority"), Authority(folder, "other")
        good = self.authority.issue("good", ("127.0.0.1", HOST))
        self.client, self.stranger = self.authority.issue("client"), self.other.issue("stranger")
        to_bao = f"location / {{ proxy_pass http://127.0.0.1:{bao.port}; }}"
        to_aws = f"location / {{ proxy_pass http://127.0.0.1:{aws.port}; }}"
        asks = f"ssl_verify_client on; ssl_client_certificate {self.authority.file};"
        old = "ssl_protocols TLSv1 TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0;"
        sites = {
            "bao": ("ssl http2", secure(good, to_bao)),
            "aws": ("ssl http2", secure(good, to_aws)),
            "http1": ("ssl", secure(good, to_bao)),
            "expired": ("ssl", secure(self.authority.issue("expired", expired=True), to_bao)),
            "elsewhere": ("ssl", secure(self.authority.issue("elsewhere", ("other.keyturn.test",)), to_bao)),
            "old": ("ssl", secure(good, old + to_bao)),
            "mutual": ("ssl", secure(good, asks + to_bao)),
            "landing": ("", to_bao),
        }
        for status in (301, 302, 303, 307, 308):
            sites[f"redirect{status}"] = (
                "ssl", secure(good, f"location / {{ return {status} http://127.0.0.1:PORT(landing)$request_uri; }}"))
        self.nginx = Nginx(folder / "nginx", sites)

    def address(self, site):
        return f"https://127.0.0.1:{self.nginx.ports[site]}"


@pytest.fixture(scope="session")
def front(scratch, bao, aws):
    made = Front(scratch / "tls", bao, aws)
    yield made
    made.nginx.stop()


@pytest.fixture
def site(workspace, front, aws):
    front.nginx.forget()
    workspace.environment = references(aws)
    return workspace


def configure(space, address, more=""):
    auth = "auth: {token: {env: KT_BAO}}"
    space.configure(backends=f"bao: {{type: vault-kv2, address: '{address}', {auth}{more}}}\n")


def policy(space, backends="[{name: bao}]", issuer="passwords", issue=""):
    name = f"tls/{uuid.uuid4().hex[:10]}"
    space.policy("key", f"secret: {name}\nissuer: {issuer}\n{issue}lifetime: 30d\nrotate: {{every: 20d}}\n"
                 f"backends: {backends}\n")
    return name


def test_private_authority_at_every_system(site, front, bao, aws):
    user = f"t{uuid.uuid4().hex[:8]}"
    aws.add_user(user)
    credentials = "credentials: {accessKeyId: {env: KT_AWS_ID}, secretAccessKey: {env: KT_AWS_SECRET}}"
    trust = f"caFile: {front.authority.file}"
    at_aws = f"region: eu-west-1, endpoint: '{front.address('aws')}', {credentials}, {trust}"
    site.configure(
        issuers=f"iam: {{type: aws-iam-access-key, {at_aws}}}\n",
        backends=f"bao: {{type: vault-kv2, address: '{front.address('bao')}', "
        f"auth: {{token: {{env: KT_BAO}}}}, {trust}}}\n"
        f"aws: {{type: aws-secrets-manager, {at_aws}}}\n")
    name = policy(site, "[{name: bao, format: json}, {name: aws}]", "iam", f"issue: {{user: {user}}}\n")
    done = site.run("run", "--once")
    assert done.returncode == 0, done.stderr
    key = json.loads(aws.value(name))
    assert aws.accepts(key["accessKeyId"], key["secretAccessKey"])
    assert bao.value(name, "accessKeyId") == key["accessKeyId"]

    # HTTP/2 where it is offered, and one connection for many requests, but for those that may not be repeated.
    for system, fresh in (("bao", "POST /v1/"), ("aws", None)):
        lines = front.nginx.lines(system)
        assert len(lines) > 5 and {line.protocol for line in lines} == {"HTTP/2.0"}, lines
        reused = [line for line in lines if fresh is None or not f"{line.method} {line.path}".startswith(fresh)]
        assert len(reused) > 3 and len({line.connection for line in reused}) < len(reused), lines
        assert max(int(line.number) for line in lines) >= 2, lines


def test_http1_where_nothing_else_is_offered(site, front, bao):
    configure(site, front.address("http1"), f", caFile: {front.authority.file}")
    name = policy(site)
    assert site.run("run", "--once").returncode == 0
    assert bao.value(name)
    lines = front.nginx.lines("http1")
    assert {line.protocol for line in lines} == {"HTTP/1.1"}
    assert len({line.connection for line in lines}) < len(lines), "every request opened a connection"


@pytest.mark.parametrize("case", ["no-authority", "wrong-authority", "expired", "elsewhere", "old"])
def test_untrusted_servers_get_nothing(site, front, bao, case):
    where = {"no-authority": "bao", "wrong-authority": "bao"}.get(case, case)
    trust = {"no-authority": "", "wrong-authority": f", caFile: {front.other.file}"}.get(
        case, f", caFile: {front.authority.file}")
    configure(site, front.address(where), trust)
    name = policy(site)
    done = site.run("run", "--once", "--wait", "0")
    assert done.returncode in (1, 3), done.stderr
    told = done.stdout + done.stderr
    assert re.search("TLS|certificate", told), told
    assert "127.0.0.1" in told
    assert front.nginx.lines(where) == [], "a request was sent to a server that is not trusted"
    assert bao.value(name) is None
    online = site.run("validate", "--online")
    assert online.returncode != 0 and re.search("TLS|certificate", online.stdout + online.stderr)


def test_unreadable_authority_is_named(site, front):
    configure(site, front.address("bao"), ", caFile: /nonexistent/ca.pem")
    policy(site)
    done = site.run("run", "--once", "--wait", "0")
    assert done.returncode in (1, 3) and "authorities" in done.stderr, done.stderr


def test_client_certificate(site, front, bao):
    trust = f", caFile: {front.authority.file}"
    certificate, key = front.client
    configure(site, front.address("mutual"), f"{trust}, certificateFile: {certificate}, keyFile: {key}")
    name = policy(site)
    done = site.run("run", "--once")
    assert done.returncode == 0, done.stderr
    assert bao.value(name)
    assert {line.client for line in front.nginx.lines("mutual")} == {"CN=client"}


@pytest.mark.parametrize("case", ["none", "stranger", "missing-key"])
def test_client_certificate_is_needed(site, front, bao, case):
    more = f", caFile: {front.authority.file}"
    if case == "stranger":
        more += f", certificateFile: {front.stranger[0]}, keyFile: {front.stranger[1]}"
    if case == "missing-key":
        more += f", certificateFile: {front.client[0]}, keyFile: /nonexistent/key.pem"
    configure(site, front.address("mutual"), more)
    name = policy(site)
    done = site.run("run", "--once", "--wait", "0")
    assert done.returncode in (1, 3), done.stderr
    assert bao.value(name) is None
    assert all(line.status == "400" for line in front.nginx.lines("mutual"))
    if case == "missing-key":
        assert "client certificate" in done.stderr and front.nginx.lines("mutual") == []


def test_plain_http_leaves_the_machine_only_when_allowed(site, front):
    """A proxy stands in the way of every request, so that none could leave the machine; it hears of none either."""
    recorder = ConnectProxy(1)
    try:
        site.environment = {**site.environment, "http_proxy": recorder.address, "https_proxy": recorder.address}
        configure(site, "http://example.invalid:8200")
        policy(site)
        done = site.run("run", "--once", "--wait", "0")
        assert done.returncode == 65, done.stderr
        assert "is plain http to another machine" in done.stderr and "allowInsecure: true" in done.stderr
        assert recorder.heads == []

        configure(site, "http://example.invalid:8200", ", allowInsecure: true")
        done = site.run("run", "--once", "--wait", "0")
        assert done.returncode in (1, 3)
        assert recorder.heads and all(" http://example.invalid:8200/v1/" in head for head in recorder.heads)
    finally:
        recorder.stop()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(site, front, status):
    configure(site, front.address(f"redirect{status}"), f", caFile: {front.authority.file}")
    policy(site)
    done = site.run("run", "--once", "--wait", "0")
    assert done.returncode in (1, 3), done.stderr
    assert "redirect" in done.stderr, done.stderr
    assert front.nginx.lines(f"redirect{status}")
    assert front.nginx.lines("landing") == [], "a redirect was followed with our token"


def test_proxy_of_the_environment(site, front, bao):
    """The name is resolved by the proxy; it sees a tunnel and no credential."""
    proxy = ConnectProxy(front.nginx.ports["bao"])
    try:
        configure(site, f"https://{HOST}", f", caFile: {front.authority.file}")
        site.environment = {**site.environment, "https_proxy": proxy.address}
        name = policy(site)
        done = site.run("run", "--once")
        assert done.returncode == 0, done.stderr
        assert bao.value(name)
        assert proxy.heads and all(head.startswith(f"CONNECT {HOST}:443 ") for head in proxy.heads)
        assert not any(re.search("x-vault|root", head, re.I) for head in proxy.heads)
        assert {line.protocol for line in front.nginx.lines("bao")} == {"HTTP/2.0"}

        # no_proxy is obeyed: the name is looked up here, where nobody knows it.
        proxy.heads.clear()
        site.environment = {**site.environment, "no_proxy": HOST}
        done = site.run("rotate", name, "--wait", "0")
        assert done.returncode == 1 and "resolved" in done.stderr, done.stderr
        assert proxy.heads == []
    finally:
        proxy.stop()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_loopback_needs_no_proxy(site, front, bao, scheme):
    """Neither kind of request to this machine goes through a proxy, which would take a token off it."""
    proxy = ConnectProxy(front.nginx.ports["bao"])
    try:
        configure(
            site, bao.address if scheme == "http" else front.address("bao"),
            f", caFile: {front.authority.file}" if scheme == "https" else "")
        site.environment = {
            **site.environment, "http_proxy": proxy.address, "https_proxy": proxy.address, "ALL_PROXY": proxy.address}
        name = policy(site)
        done = site.run("run", "--once")
        assert done.returncode == 0, done.stderr
        assert bao.value(name)
        assert proxy.heads == []
    finally:
        proxy.stop()
