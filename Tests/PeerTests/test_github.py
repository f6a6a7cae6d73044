"""Secrets of GitHub Actions, at a server that PyGithub drives, too."""
import json

import github
import pytest

from peers.fault_proxy import FaultProxy
from peers.github import GitHub
from workspace import must


@pytest.fixture
def hub():
    server = GitHub()
    yield server
    server.stop()


def use(space, address, hub):
    space.configure(backends=f"github: {{type: github-actions-secret, address: '{address}', token: {{env: KT_GITHUB}}}}\n")
    space.environment = {"KT_GITHUB": hub.token}


@pytest.fixture
def space(workspace, hub):
    use(workspace, hub.address, hub)
    return workspace


def policy(space, path="octo/app#API_KEY", target="", name="team/key", more="grace: 1s\n"):
    space.policy("key", f"secret: {name}\nissuer: passwords\nlifetime: 30d\nrotate: {{every: 20d}}\n{more}"
                 f"backends: [{{name: github, path: '{path}'{target}}}, {{name: vault}}]\n")


def repository(hub):
    """The same repository as PyGithub sees it."""
    return github.Github(base_url=hub.address, auth=github.Auth.Token(hub.token)).get_repo("octo/app")


def note(hub, name="API_KEY", base="/repos/octo/app/actions"):
    return json.loads(hub.variables[base, f"{name}_KEYTURN"]["value"])


@pytest.mark.parametrize("path,base", [
    ("octo/app#API_KEY", "/repos/octo/app/actions"), ("octo/app/production#API_KEY", "/repos/octo/app/environments/production"),
    ("octo#API_KEY", "/orgs/octo/actions")])
def test_from_first_to_last(space, hub, path, base):
    policy(space, path)
    must(space.run("validate", "--online"))
    assert hub.secrets == {} == hub.variables
    must(space.run("run", "--once"))
    assert hub.value("API_KEY", base) == space.vault_value("team/key")
    assert note(hub, base=base)["done"]["version"] == 1
    must(space.run("rotate", "team/key"))
    assert hub.value("API_KEY", base) == space.vault_value("team/key")
    done = note(hub, base=base)
    assert done["done"] == {"version": 2, "generation": 1, "updatedAt": hub.secrets[base, "API_KEY"]["changed"]}
    assert "intended" not in done and space.vault_value("team/key") not in json.dumps(done)
    must(space.run("rollback", "team/key"), 0, 1, 3)
    must(space.run("drift"))
    must(space.run("doctor"), 0, 1)


def test_what_the_vendors_client_sees_and_writes(space, hub):
    policy(space)
    must(space.run("run", "--once"))
    seen = repository(hub).get_secret("API_KEY")
    assert f"{seen.updated_at:%Y-%m-%dT%H:%M:%SZ}" == note(hub)["done"]["updatedAt"]
    assert repository(hub).get_variable("API_KEY_KEYTURN").value == json.dumps(note(hub), separators=(",", ":"), sort_keys=True)
    # It seals with PyNaCl, and the server opens both alike.
    repository(hub).create_secret("API_KEY", "theirs")
    assert hub.value("API_KEY") == "theirs"
    done = must(space.run("rotate", "team/key", "--wait", "0"), 3)
    assert "somebody else" in done.stdout + done.stderr and hub.value("API_KEY") == "theirs"
    policy(space, target=", overwrite: true")
    must(space.run("resume", "team/key"))
    must(space.run("run", "--once"))
    assert hub.value("API_KEY") == space.vault_value("team/key")


def test_a_secret_of_somebody_elses_is_not_taken(space, hub):
    repository(hub).create_secret("API_KEY", "theirs")
    policy(space)
    must(space.run("run", "--once", "--wait", "0"), 1, 3)
    assert hub.value("API_KEY") == "theirs" and hub.variables == {}


@pytest.fixture
def proxy(hub):
    made = FaultProxy(hub.port)
    yield made
    made.stop()


@pytest.mark.parametrize("word", ["PUT ", "PATCH ", "public-key"])
def test_a_lost_answer_is_resolved(space, hub, proxy, word):
    policy(space)
    must(space.run("run", "--once"))
    use(space, proxy.address, hub)
    rule = proxy.fail("lost", word, times=2)
    must(space.run("rotate", "team/key", "--wait", "90s"))
    assert rule.hits == 2
    assert hub.value("API_KEY") == space.vault_value("team/key")
    assert note(hub)["done"]["version"] == 2 and "intended" not in note(hub)
    must(space.run("rotate", "team/key", "--wait", "60s"))
    assert hub.value("API_KEY") == space.vault_value("team/key")


def test_rights(space, hub):
    policy(space)
    for right in ("secrets", "variables"):
        hub.rights = {"secrets": "write", "variables": "write"}
        del hub.rights[right]
        done = must(space.run("validate", "--online"), 77)
        assert "deploy/rights/github-actions-secret.txt" in done.stdout + done.stderr
        done = must(space.run("run", "--once", "--wait", "0"), 1, 3)
        assert space.stages("team/key") == {}, "no key is made that could not be stored"
        space.run("resume", "team/key")
    hub.rights = {"secrets": "write", "variables": "write"}
    space.environment = {"KT_GITHUB": "github_pat_wrong"}
    done = must(space.run("validate", "--online"), 1, 77)
    assert "`token`" in done.stdout + done.stderr and "github_pat_wrong" not in done.stdout + done.stderr


def test_names_are_checked_offline(space):
    for path in ("octo/app", "octo/app#key", "octo/app#GITHUB_KEY"):
        policy(space, path)
        must(space.run("validate"), 65)


def test_templates(space, hub):
    policy(space, target=""", template: '{"a": "{{value}}"}'""")
    must(space.run("run", "--once"))
    assert json.loads(hub.value("API_KEY")) == {"a": space.vault_value("team/key")}
