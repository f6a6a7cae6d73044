"""Keys of interfaces that are described in the configuration: one made for the test, and tokens of OpenBao."""
import json
import time

import pytest

from peers.key_service import KeyService
from workspace import run

POLICY = """\
secret: {name}
issuer: {issuer}
issue: {{parameters: {parameters}}}
lifetime: 30d
rotate: {{every: 20d}}
grace: 1s
verify: [{{type: issuer}}]
backends: [{{name: vault, template: '{template}'}}]
"""
# Tokens are made with a mark in their metadata, are tried at their own lookup, and are ended by their accessor. They
# can't be listed with the mark, so that a lost one is reported.
BAO = """\
tokens:
  type: http
  url: {address}
  headers: {{X-Vault-Token: '{{{{own}}}}'}}
  credentials: [{{name: own, secret: {{env: KT_BAO}}}}]
  create:
    path: /v1/auth/token/create
    json: {{meta: {{keyturn: '{{{{lineage}}}}'}}, explicit_max_ttl: '{{{{lifetimeSeconds}}}}', ttl: 720h, no_parent: true,
           policies: '{{{{policies}}}}'}}
  answer: {{value: /auth/client_token, keyId: /auth/accessor}}
  check: {{path: /v1/auth/token/lookup-self, headers: {{X-Vault-Token: '{{{{value}}}}'}}}}
  revoke: {{method: POST, path: /v1/auth/token/revoke-accessor, json: {{accessor: '{{{{keyId}}}}'}}}}
  errors: {{"400": notFound}}
"""


@pytest.fixture
def service():
    peer = KeyService()
    yield peer
    peer.stop()


@pytest.fixture
def space(workspace, service):
    workspace.configure(issuers=service.configuration("api"))
    workspace.environment["KT_API"] = service.own
    workspace.policy("key", POLICY.format(
        name="app/key", issuer="api", parameters="{scopes: [read, write]}",
        template='{"id": "{{client}}", "key": "{{value}}"}'))
    return workspace


def key(space):
    return json.loads(space.vault_value("app/key"))["key"]


def test_renewals(space, service):
    run(space, "validate", "--online")
    seen = []
    for turn in range(3):
        run(space, "rotate", "app/key")
        seen.append(key(space))
        assert service.accepts(seen[-1])
        if turn:
            assert service.accepts(seen[-2])
            time.sleep(1.2)
            run(space, "run", "--once")
            assert not service.accepts(seen[-2])
    assert len(set(seen)) == 3 and len(service.marked("app/key")) == 1
    assert json.loads(space.vault_value("app/key"))["id"] == "c-" + next(iter(service.keys))
    assert not [path for _, path in service.requests if any(text in path for text in seen)]


def test_a_lost_answer_leaves_no_orphan(space, service):
    run(space, "run", "--once")
    # More than a page of keys of others.
    for number in range(3):
        service.keys[f"other-{number}"] = {"note": f"keyturn:other/key:{number + 1}:{'0' * 32}", "token": "x"}
    service.lose = 1
    done = run(space, "rotate", "app/key", "--wait", "60s")
    assert "unknown outcome resolved" in done.stderr
    time.sleep(1.2)
    run(space, "run", "--once")
    known = {version["keyId"] for version in space.status("app/key")["versions"] if version["stage"] == "current"}
    assert service.marked("app/key") == known and service.accepts(key(space))
    assert len(service.keys) == 4, "keys of others are left alone"


def test_refusals_are_told(space, service):
    space.environment["KT_API"] = "CANARY"
    done = run(space, "run", "--once", "--wait", "0", code=3)
    assert "our credential was refused" in done.stderr and "CANARY" not in done.stdout + done.stderr
    space.environment["KT_API"] = service.own
    space.policy("key", POLICY.format(
        name="app/key", issuer="api", parameters="{scops: [read]}", template="{{value}}"))
    done = run(space, "validate", code=65)
    assert "'create' of the issuer asks for a parameter 'scopes'" in done.stdout


def test_tokens_of_OpenBao(workspace, bao):
    workspace.configure(issuers=BAO.format(address=bao.address))
    workspace.environment["KT_BAO"] = "root"
    workspace.policy("key", POLICY.format(
        name="app/token", issuer="tokens", parameters="{policies: [default]}", template="{{value}}"))
    run(workspace, "validate")
    seen = []
    for turn in range(3):
        run(workspace, "rotate", "app/token")
        seen.append(workspace.vault_value("app/token"))
        status, answer = bao.call("GET", "auth/token/lookup-self", token=seen[-1])
        assert status == 200 and answer["data"]["policies"] == ["default"]
        assert answer["data"]["meta"]["keyturn"].startswith(f"keyturn:app/token:{turn + 1}:")
        assert 0 < answer["data"]["explicit_max_ttl"] == 30 * 86400
        if turn:
            time.sleep(1.2)
            run(workspace, "run", "--once")
            assert bao.call("GET", "auth/token/lookup-self", token=seen[-2])[0] == 403
    # Gone already is as good as revoked.
    accessor = workspace.status("app/token")["versions"][-1]["keyId"]
    assert bao.call("POST", "auth/token/revoke-accessor", {"accessor": accessor})[0] == 204
    run(workspace, "rotate", "app/token", "--compromised")


# The version before is looked for by its tag where the store knows one; OpenBao's second version has none.
STORES = """\
kv2:
  type: http
  url: {address}
  headers: {{X-Vault-Token: '{{{{own}}}}'}}
  credentials: [{{name: own, secret: {{env: KT_BAO}}}}]
  write: {{method: POST, path: '/v1/secret/data/{{{{path}}}}', json: {{data: {{word: '{{{{value}}}}'}}}}}}
  read: {{path: '/v1/secret/data/{{{{path}}}}', value: /data/data/word}}
kv1:
  type: http
  url: {address}
  headers: {{X-Vault-Token: '{{{{own}}}}'}}
  credentials: [{{name: own, secret: {{env: KT_BAO}}}}]
  write: {{path: '/v1/plain/{{{{path}}}}', json: {{word: '{{{{value}}}}', version: '{{{{version}}}}'}}}}
  read: {{path: '/v1/plain/{{{{path}}}}', value: /data/word}}
"""


def test_stores_of_OpenBao(workspace, bao):
    bao.call("POST", "sys/mounts/plain", {"type": "kv", "options": {"version": "1"}})
    workspace.configure(backends=STORES.format(address=bao.address))
    workspace.environment["KT_BAO"] = "root"
    workspace.policy("key", "secret: described/key\nissuer: passwords\nlifetime: 30d\nrotate: {every: 20d}\ngrace: 1s\n"
                     "backends: [{name: kv2}, {name: kv1, path: a b/key}, {name: vault}]\n")
    run(workspace, "validate", "--online")
    for turn in range(1, 4):
        run(workspace, "rotate", "described/key")
        value = workspace.vault_value("described/key")
        assert bao.value("described/key", "word") == value
        assert bao.call("GET", "plain/a%20b/key")[1]["data"] == {"word": value, "version": turn}
    # A foreign value is left alone.
    bao.call("POST", "secret/data/described/key", {"data": {"word": "theirs"}})
    done = run(workspace, "rotate", "described/key", "--wait", "0", code=3)
    assert "conflict" in done.stdout + done.stderr and bao.value("described/key", "word") == "theirs"
    assert "theirs" not in done.stdout + done.stderr
