"""The printed JSON Schema agrees with `validate`: what one of them takes by its shape, the other takes; and the lists of
what is built in agree with the documentation."""
import copy
import json
import os
import pathlib
import re
import subprocess

import jsonschema
import pytest
import yaml

from test_documentation import ROOT, marked
from workspace import BINARY

EXAMPLE = ROOT / "deploy/keyturn.example.yaml"


class Text(yaml.SafeLoader):
    """Leaves every word as it is written but for booleans and whole numbers, as Keyturn reads YAML."""


Text.yaml_implicit_resolvers = {}
Text.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$"), list("tf"))
Text.add_implicit_resolver("tag:yaml.org,2002:int", re.compile("^-?[0-9]+$"), list("-0123456789"))


def schema(*arguments):
    done = subprocess.run([BINARY, "schema", *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    parsed = json.loads(done.stdout)
    jsonschema.Draft7Validator.check_schema(parsed)
    return jsonschema.Draft7Validator(parsed)


@pytest.fixture(scope="module")
def policy_schema():
    return schema("policy", "--config", EXAMPLE)


@pytest.fixture(scope="module")
def configuration_schema():
    return schema("configuration")


def complaints(validator, document):
    return [f"{list(error.absolute_path)}: {error.message}" for error in validator.iter_errors(document)]


def documents(text):
    return [document for document in yaml.load_all(text, Text) if document is not None]


@pytest.mark.parametrize("block", [b for b in marked("validate") if b.argument in ("policy", "configuration")], ids=repr)
def test_examples_of_the_documentation(block, policy_schema, configuration_schema):
    validator = policy_schema if block.argument == "policy" else configuration_schema
    for document in documents(block.text):
        assert complaints(validator, document) == []


def test_examples_of_the_repository(policy_schema, configuration_schema):
    policies = sorted((ROOT / "schedules").rglob("*.y*ml"))
    assert len(policies) >= 3
    for file in policies:
        for document in documents(file.read_text()):
            assert complaints(policy_schema, document) == [], file
    assert complaints(configuration_schema, *documents(EXAMPLE.read_text())) == []


def test_what_init_writes(workspace, configuration_schema, tmp_path):
    done = subprocess.run([BINARY, "init", str(tmp_path / "new")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    configuration = tmp_path / "new/keyturn.yaml"
    assert complaints(configuration_schema, *documents(configuration.read_text())) == []
    validator = schema("policy", "--config", configuration)
    for file in (tmp_path / "new/schedules").glob("*.y*ml"):
        for document in documents(file.read_text()):
            assert complaints(validator, document) == []


POLICY = {
    "secret": "team/key", "description": "d", "owner": "o", "issuer": "app-passwords",
    "issue": {"length": 40}, "lifetime": "30d",
    "rotate": {"every": "7d", "timezone": "UTC", "renewBefore": "8d", "jitter": "1h",
               "window": {"days": "mon-sun", "from": "09:00", "to": "17:00", "onConflict": "deadline"}},
    "grace": "1d", "backends": [{"name": "vault", "path": "a/b", "template": "{{value}}", "required": True,
                                 "overwrite": False}],
    "verify": [{"type": "http", "url": "https://example.org/", "header": "Authorization"}],
    "retire": {"onCompromise": "revoke-last"}, "after": ["team/other"], "alerts": [],
}

CONFIGURATION = {
    "state": "sqlite:var/keyturn.db", "schedules": "schedules", "identity": {"file": "var/identity.txt"},
    "issuers": {"passwords": {"type": "random", "length": 32},
                "iam": {"type": "aws-iam-access-key", "region": "eu-west-1", "timeout": "30s",
                        "credentials": {"accessKeyId": {"env": "ID"}, "secretAccessKey": {"file": "secret"}}},
                "tokens": {"type": "command", "run": ["./issue"], "disables": True}},
    "backends": {"vault": {"type": "file-vault", "directory": "var/vault", "recipients": []},
                 "bao": {"type": "vault-kv2", "address": "https://bao.example.org", "auth": {"token": {"env": "T"}}}},
    "alerts": {"ops": {"type": "webhook", "url": {"env": "URL"}, "signingKey": {"env": "KEY"}}},
    "limits": {"concurrency": 5, "maxRotationsPerHour": 3}, "clock": {"tolerance": "5m"}, "drift": {"every": "1d"},
}


def walk(value, path=()):
    """The way to every value."""
    yield path
    if isinstance(value, (dict, list)):
        for key, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield from walk(member, (*path, key))


def changed(document, path, change):
    document = copy.deepcopy(document)
    holder = document
    for step in path[:-1]:
        holder = holder[step]
    change(holder, path[-1])
    return document


def variants(document):
    """Everything taken away, replaced by another shape, or joined by an unknown member, one at a time."""
    for path in walk(document):
        words = "/".join(map(str, path))
        holder = document
        for step in path:
            holder = holder[step]
        if isinstance(holder, dict):
            yield f"unknown in {words}", changed(
                document, (*path, "no-such-field"), lambda holder, key: holder.update({key: "x"}))
        if not path:
            continue
        yield f"without {words}", changed(document, path, lambda holder, key: holder.pop(key))
        # YAML's own types, which Keyturn gives no heed to where it wants a text, are left alone: quotes mend them.
        number = [] if isinstance(holder, str) else [("number", 123456), ("flag", True)]
        for name, value in [("text", "words of a kind"), *number, ("list", ["x"]),
                            ("map", {"x": "y"})]:
            def replace(holder, key, value=value):
                holder[key] = value
            yield f"{name} for {words}", changed(document, path, replace)


class Site:
    def __init__(self, space):
        self.space = space
        space.run("init", str(space.folder), config=False)

    def verdict(self, configuration, policies):
        (self.space.folder / "keyturn.yaml").write_text(yaml.safe_dump(configuration))
        for old in (self.space.folder / "schedules").glob("*"):
            old.unlink()
        for number, policy in enumerate(policies):
            self.space.policy(f"p{number}", yaml.safe_dump(policy))
        done = self.space.run("validate", "--format", "json")
        assert done.returncode in (0, 65), done.stderr
        return [entry["message"] for entry in json.loads(done.stdout)["diagnostics"] if entry["severity"] == "error"]


def recipients(space, configuration):
    configuration = copy.deepcopy(configuration)
    configuration["backends"]["vault"]["recipients"] = [space.recipient]
    return configuration



def test_a_policy_that_the_schema_refuses_is_refused(workspace):
    """Each document that the schema refuses has an error of `validate` too: an editor is never stricter."""
    site = Site(workspace)
    configuration = recipients(workspace, CONFIGURATION)
    policy = {**POLICY, "issuer": "passwords"}
    other = {"secret": "team/other", "issuer": "passwords", "lifetime": "30d", "rotate": {"every": "7d"},
             "backends": [{"name": "vault"}]}
    assert site.verdict(configuration, [policy, other]) == []
    validator = schema("policy", "--config", workspace.folder / "keyturn.yaml")
    assert complaints(validator, policy) == []
    refused = 0
    for words, variant in variants(policy):
        errors = complaints(validator, variant)
        if not errors:
            continue
        refused += 1
        assert site.verdict(configuration, [variant, other]), (words, errors)
    assert refused > 100


def test_an_unknown_or_missing_field_is_seen_by_both(workspace, configuration_schema):
    site = Site(workspace)
    configuration = recipients(workspace, CONFIGURATION)
    assert site.verdict(configuration, []) == []
    assert complaints(configuration_schema, configuration) == []
    counted = {"both": 0, "schema": 0}
    for words, variant in variants(configuration):
        errors = complaints(configuration_schema, variant)
        found = site.verdict(variant, [])
        if errors:
            assert found, (words, errors)
            counted["both"] += 1
        if words.startswith("unknown"):
            assert bool(errors) == bool(found), (words, errors, found)
            counted["schema"] += 1
    assert counted["both"] > 150 and counted["schema"] > 12, counted


def test_without_a_configuration_any_name_is_taken(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KEYTURN_")}
    done = subprocess.run(
        [BINARY, "schema", "policy"], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    validator = jsonschema.Draft7Validator(json.loads(done.stdout))
    assert complaints(validator, {**POLICY, "issuer": "whatever", "backends": [{"name": "else", "own": 1}]}) == []
    assert complaints(validator, {**POLICY, "rotate": {"every": "1d", "cron": "0 0 * * *"}}) != []


def test_a_configuration_that_is_named_and_can_not_be_read(tmp_path):
    done = subprocess.run(
        [BINARY, "schema", "policy", "--config", str(tmp_path / "none.yaml")], capture_output=True, text=True,
        timeout=60)
    assert done.returncode == 65 and "none.yaml" in done.stderr


@pytest.mark.parametrize("what, place", [("issuers", "configuration"), ("backends", "configuration")])
def test_what_is_built_in(what, place):
    listed = json.loads(subprocess.run(
        [BINARY, what, "--format", "json"], capture_output=True, text=True, check=True, timeout=60).stdout)[what]
    assert [entry["type"] for entry in listed] == sorted(entry["type"] for entry in listed)
    readme = pathlib.Path(ROOT / "README.md").read_text()
    for entry in listed:
        assert f"`{entry['type']}`" in readme, f"the README does not name {entry['type']}"
        jsonschema.Draft7Validator.check_schema(entry[place])
        shown = subprocess.run([BINARY, what, entry["type"]], capture_output=True, text=True, timeout=60)
        assert shown.returncode == 0
        for name in entry[place]["properties"]:
            assert f"\n{name} " in shown.stdout, (entry["type"], name)


def test_a_type_that_is_none():
    done = subprocess.run([BINARY, "backends", "vault-kv"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 64 and "did you mean 'vault-kv2'" in done.stderr
