"""What `validate` finds, where it says it is, and what it can't be made to choke on."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

from diagnostics import Place, crashed, marked, read, validate
from workspace import BINARY, Workspace

SYSTEMS = dict(
    issuers="""\
iam: {type: aws-iam-access-key, region: eu-west-1}
two: {type: command, run: [./two], keyLimit: 2}
program: {type: command, run: [./program], kind: unlistable}
""",
    backends="""\
bao: {type: vault-kv2, address: 'https://127.0.0.1:8200', auth: {token: {env: BAO}}}
files: {type: file, directory: files}
""",
    alerts="ops: {type: command, run: [./alert]}\n")

GOOD = """\
secret: team/good
issuer: passwords
lifetime: 30d
rotate: {every: 20d}
backends: [{name: vault}]
"""


@pytest.fixture
def space(workspace):
    workspace.configure(**SYSTEMS)
    return workspace


def policy(**changes):
    """A right policy with other lines in place of some of its own; `None` leaves one out."""
    fields = {"secret": "team/key", "issuer": "passwords", "lifetime": "30d", "rotate": "{every: 20d}",
              "grace": "1d", "backends": "[{name: vault}]", **changes}
    return "".join(f"{name}: {value}\n" for name, value in fields.items() if value is not None)


# --- all at once, each in its place

TWELVE = """\
# Twelve mistakes, each of another kind.
secret: team/one
issuer: «passwrods
lifetime: 30d
rotate:
  every: «30
  «timezones: UTC
  timezone: «Europe/Olso
backends:
  - {name: «valut}
alerts: [«opps]
verify:
  - {type: «isuer}
---
secret: «Team/Two
issuer: passwords
issue: {length: «4}
lifetime: 30d
rotate: {cron: «"0 25 * * *"}
backends: [{name: files, mode: «"0777"}]
«retires: {observe: 1d}
"""
TWELVE_MESSAGES = [
    r"no issuer 'passwrods'; did you mean 'passwords'\?", r"'every' is not a duration",
    r"unknown field 'timezones' in 'rotate'; did you mean 'timezone'\?",
    r"no time zone 'Europe/Olso'; did you mean 'Europe/Oslo'\?", r"no backend 'valut'; did you mean 'vault'\?",
    r"no alert sink 'opps'; did you mean 'ops'\?", r"unknown check 'isuer' in 'verify'; did you mean 'issuer'\?",
    r"'secret' is not a name", r"'length' of 'issue' must lie between 8 and 4096", r"'cron': ",
    r"'mode' of backend 'files' must be one of", r"unknown field 'retires' in a policy; did you mean 'retire'\?",
]


def test_every_mistake_of_a_file_is_shown_at_once(space):
    done, found, expected = validate(space, {"twelve.yaml": TWELVE})
    assert done.returncode == 65
    assert [place for place, _ in found] == expected
    assert len(found) == len(TWELVE_MESSAGES) == 12
    for (_, message), pattern in zip(found, TWELVE_MESSAGES, strict=True):
        assert re.search(pattern, message), (pattern, message)
    assert space.run("report").returncode == space.run("run", "--once").returncode == 65


def test_all_files_and_documents_at_once(space):
    done, found, expected = validate(space, {
        "a.yaml": "issuer: passwords\n" + GOOD.replace("issuer: passwords\n", "").replace("30d", "«thirty days"),
        "sub/b.yml": "---\n" + GOOD.replace("team/good", "team/b") + "---\n" + GOOD.replace("team/good", "«no name")
        + "---\n" + GOOD.replace("name: vault", "name: «volt"),
        "sub/deeper/c.yaml": GOOD.replace("secret: team/good", "«secert: team/c").replace("«", "", 0),
        "notes.txt": "not: [a policy", ".hidden.yaml": "not: [a policy", "old.yaml~": "not: [a policy"})
    assert done.returncode == 65
    # A policy without a name lacks it, besides the name that is unknown.
    lacking = Place("schedules/sub/deeper/c.yaml", 1, 1)
    assert sorted(place for place, _ in found) == sorted([*expected, lacking])
    assert {place.file for place, _ in found} == {
        "schedules/a.yaml", "schedules/sub/b.yml", "schedules/sub/deeper/c.yaml"}


def test_errors_as_json(space):
    space.policy("one", marked(TWELVE, "")[0])
    answer = space.json("validate", codes=(65,))
    assert set(answer) == {"diagnostics", "findings", "policies", "ok"} and answer["ok"] is False
    assert len(answer["diagnostics"]) == 12
    for entry in answer["diagnostics"]:
        assert set(entry) == {"file", "line", "column", "severity", "message"} and entry["severity"] == "error"
    space.policy("one", GOOD)
    assert space.json("validate") == {"diagnostics": [], "findings": [], "policies": 1, "ok": True}


UNKNOWN = {
    # where: (configuration or policy, the field written, the field meant)
    "policy": (policy(onwer="x").replace("onwer", "«onwer"), "owner"),
    "rotate": (policy(rotate="{every: 20d, «renewBefor: 5d}"), "renewBefore"),
    "window": (policy(rotate='{every: 20d, window: {day: mon, from: "01:00", to: "02:00"}}').replace("day:", "«day:"),
               "days"),
    "backend": (policy(backends="[{name: vault, «pth: a}]"), "path"),
    "file": (policy(backends="[{name: files, «relaod: [true]}]"), "reload"),
    "verify": (policy(verify="[{type: command, run: [./x], «timeuot: 5s}]"), "timeout"),
    "retire": (policy(retire="{«observ: 1d}"), "observe"),
    "issue": (policy(issue="{«lenght: 20}"), "length"),
    "classes": (policy(issue="{classes: {«digit: 2}}"), "digits"),
}


@pytest.mark.parametrize("where", UNKNOWN)
def test_unknown_fields_get_the_nearest_name(space, where):
    text, meant = UNKNOWN[where]
    done, found, expected = validate(space, {"key.yaml": text})
    assert done.returncode == 65
    assert [place for place, _ in found] == expected
    assert f"did you mean '{meant}'?" in found[0][1]


CONFIGURATION = """state: sqlite:var/keyturn.db
«schedule: schedules
identity: {file: var/identity.txt, «flie: x}
issuers:
  passwords: {type: random, «lenght: 20}
  other: {type: «randon}
  third: «random
backends:
  bao: {type: vault-kv2, address: «127.0.0.1, «tokn: x}
  vault: {type: file-vault, «directroy: var/vault, recipients: «[]}
limits: {«perissuer: 8, concurrency: «0}
"""


def test_every_mistake_of_the_configuration(space):
    text, expected = marked(CONFIGURATION, "keyturn.yaml")
    (space.folder / "keyturn.yaml").write_text(text)
    done = space.run("validate")
    found = dict(read(done.stdout))
    assert done.returncode == 65
    # What lacks a required field is told at its beginning.
    lacking = {place for place, message in found.items() if "lacks" in message}
    assert sorted(found.keys() - lacking) == sorted(expected)
    assert {place.line for place in lacking} == {9, 10} or lacking == {Place("keyturn.yaml", 10, 10)}
    for line, meant in ((2, "schedules"), (3, "file"), (5, "length"), (6, "random"), (10, "directory"),
                        (11, "perIssuer")):
        assert any(place.line == line and f"did you mean '{meant}'?" in text for place, text in found.items()), line


LITERALS = {
    "token": dict(backends="bao: {type: vault-kv2, address: 'https://127.0.0.1:8200', auth: {token: «LITERAL}}\n"),
    "access key": dict(issuers="iam: {type: aws-iam-access-key, credentials: {accessKeyId: «LITERAL, "
                       "secretAccessKey: {env: B}}}\n"),
    "signing key": dict(alerts="ops: {type: webhook, url: 'https://127.0.0.1/', signingKey: «LITERAL}\n"),
    "two references": dict(alerts="ops: {type: webhook, url: 'https://127.0.0.1/', signingKey: «{env: A, file: B}}\n"),
    "unknown reference": dict(
        alerts="ops: {type: webhook, url: 'https://127.0.0.1/', signingKey: «{value: LITERAL}}\n"),
}


@pytest.mark.parametrize("what", LITERALS)
def test_a_literal_where_a_reference_belongs(space, what):
    space.configure(**LITERALS[what])
    path = space.folder / "keyturn.yaml"
    text, expected = marked(path.read_text().replace("LITERAL", "hunter2-is-no-secret"), "keyturn.yaml")
    path.write_text(text)
    done = space.run("validate")
    found = read(done.stdout)
    assert done.returncode == 65 and [place for place, _ in found] == expected
    assert "reference" in found[0][1] and "{env: NAME}" in found[0][1]
    assert "hunter2" not in done.stdout + done.stderr, "the secret is repeated"


MISPLACED = {
    "an identity as recipient": "backends: {v: {type: file-vault, directory: v, recipients: [IDENTITY]}}",
    "a token as the name of a variable":
        "backends: {b: {type: vault-kv2, address: 'https://h', auth: {token: {env: hvs.CANARY-4711}}}}",
    "a token as a command": "alerts: {o: {type: webhook, url: 'https://h/', signingKey: {command: CANARY-4711}}}",
    "a token as a secret's name": "alerts: {o: {type: webhook, url: 'https://h/', signingKey: {vault: CANARY-4711}}}",
    "a token as the login": "backends: {b: {type: vault-kv2, address: 'https://h', auth: CANARY-4711}}",
    "a password in an address": "alerts: {o: {type: webhook, url: 'https://keyturn:CANARY-4711@h/'}}",
    "a credential in a plain address": "alerts: {o: {type: webhook, url: 'http://h.example.org/CANARY-4711'}}",
    "a token where a number belongs": "issuers: {i: {type: random, length: CANARY-4711}}",
    "a token where a duration belongs": "alerts: {o: {type: command, run: [./x], timeout: CANARY-4711}}",
    "a token in a broken line": "alerts: {o: {type: command, run: [./x], token: 'CANARY-4711}}",
    "a token in an unknown field": "alerts: {o: {type: command, run: [./x], password: CANARY-4711}}",
    "a token as the identity": "identity: CANARY-4711",
    "a token in place of a system": "alerts: {o: CANARY-4711}",
}


@pytest.mark.parametrize("what", MISPLACED)
def test_a_misplaced_secret_is_never_repeated(space, what):
    path = space.folder / "keyturn.yaml"
    lines = [] if MISPLACED[what].startswith("identity") else ["identity: {file: var/identity.txt}"]
    identity = next(line for line in space.identity.read_text().splitlines() if line.startswith("AGE-SECRET-KEY-"))
    path.write_text("\n".join([*lines, MISPLACED[what].replace("IDENTITY", identity)]) + "\n")
    for arguments in (["validate"], ["validate", "--online"], ["validate", "--format", "json"], ["report"],
                      ["run", "--once", "--log-level", "trace"]):
        done = space.run(*arguments)
        assert done.returncode == 65, (arguments, done.stdout, done.stderr)
        said = (done.stdout + done.stderr).upper()
        assert "CANARY" not in said and identity[16:] not in said, (arguments, said)


# --- what would only fail later

LATER = {
    "a recipient that is none": (
        dict(backends="v: {type: file-vault, directory: v, recipients: [RECIPIENT, «age1nonsense, «age1]}\n"),
        "backends 'v': not an age recipient"),
    "no login": (
        dict(backends="b: {type: vault-kv2, address: 'https://h', auth: «{}}\n"),
        "'auth' of backends 'b': it needs 'token', 'appRole', 'kubernetes' or 'jwt'"),
    "two logins": (
        dict(backends="b: {type: vault-kv2, address: 'https://h', "
             "auth: {token: {env: A}, appRole: «{roleId: r, secretId: {env: B}}}}\n"),
        "'auth' of backends 'b': it has both 'token' and 'appRole'"),
    "a certificate without its key": (
        dict(backends="b: {type: vault-kv2, address: 'https://h', auth: {token: {env: A}}, certificateFile: «c.pem}\n"),
        "'certificateFile' needs 'keyFile'"),
    "a key without its certificate": (
        dict(backends="b: {type: vault-kv2, address: 'https://h', auth: {token: {env: A}}, keyFile: «c.pem}\n"),
        "'keyFile' needs 'certificateFile'"),
    "an access key id without its secret": (
        dict(issuers="i: {type: aws-iam-access-key, credentials: {accessKeyId: «{env: A}}}\n"),
        "'credentials' of issuers 'i': 'accessKeyId' needs 'secretAccessKey'"),
    "a secret access key without its id": (
        dict(backends="a: {type: aws-secrets-manager, region: x, credentials: {secretAccessKey: «{env: A}}}\n"),
        "'secretAccessKey' needs 'accessKeyId'"),
    "a session token alone": (
        dict(backends="a: {type: aws-secrets-manager, region: x, credentials: {sessionToken: «{env: A}}}\n"),
        "'sessionToken' needs 'accessKeyId'"),
    "a plain address of a backend": (
        dict(backends="b: {type: vault-kv2, address: «'http://bao.example.org:8200', auth: {token: {env: A}}}\n"),
        "'address' of backends 'b' is plain http to another machine.*allowInsecure: true"),
    "plain addresses of an issuer": (
        dict(issuers="i: {type: aws-iam-access-key, endpoint: «'http://10.0.0.1:1', stsEndpoint: «'HTTP://sts', "
             "allowInsecure: false}\n"), "is plain http to another machine"),
    "a plain address of a sink": (
        dict(alerts="o: {type: webhook, url: «http://hooks.example.org/x}\n"), "is plain http to another machine"),
    "a host that only begins like this machine": (
        dict(alerts="o: {type: webhook, url: «http://127.0.0.1.example.org/x}\n"), "is plain http"),
}


@pytest.mark.parametrize("what", LATER)
def test_settings_that_could_only_fail_later(space, what):
    configuration, message = LATER[what]
    space.configure(**configuration)
    path = space.folder / "keyturn.yaml"
    text, expected = marked(path.read_text().replace("RECIPIENT", space.recipient), "keyturn.yaml")
    path.write_text(text)
    done = space.run("validate")
    found = read(done.stdout)
    assert done.returncode == 65 and [place for place, _ in found] == expected, found
    assert all(re.search(message, words) for _, words in found), found
    assert space.run("run", "--once").returncode == 65


def test_checks_that_could_only_fail_later(space):
    done, found, expected = validate(space, {"key.yaml": policy(verify="""
  - {type: http, url: «http://api.example.org/}
  - {type: http, url: 'https://api.example.org/', value: «'{{value'}
  - {type: http, url: 'https://api.example.org/', value: «'{{value|nonsense}}'}
  - {type: http, url: 'https://api.example.org/', status: «[]}
""")})
    assert done.returncode == 65 and [place for place, _ in found] == expected, found
    assert "plain http" in found[0][1] and "'value'" in found[1][1] and "at least 1 entry" in found[3][1]


def test_plain_addresses_that_are_fine(space):
    space.configure(
        issuers="i: {type: aws-iam-access-key, endpoint: 'http://10.0.0.1:1', allowInsecure: true}\n",
        backends="b: {type: vault-kv2, address: 'http://localhost:8200', auth: {token: {env: A}}}\n"
        "c: {type: vault-kv2, address: 'http://[::1]:8200', auth: {token: {env: A}}}\n",
        alerts="o: {type: webhook, url: 'http://127.4.5.6/'}\np: {type: webhook, url: {env: B}}\n")
    space.policy("key", policy(verify="[{type: http, url: 'http://api.example.org/', allowInsecure: true}]"))
    done = space.run("validate")
    assert (done.returncode, done.stdout) == (0, "")


def test_no_region_anywhere_is_a_warning(space):
    """The daemon may run with another environment."""
    space.configure(backends="a: {type: aws-secrets-manager}\nb: {type: aws-secrets-manager, region: eu-west-1}\n")
    done = space.run("validate")
    assert done.returncode == 0
    [(place, message)] = read(done.stdout)
    assert place == Place("keyturn.yaml", 8, 6) and message.startswith("warning: backends 'a': it has no 'region'")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        assert space.run("validate", environment={name: "eu-north-1"}).stdout == ""
    [entry] = space.json("validate")["diagnostics"]
    assert entry["severity"] == "warning"


# --- what arithmetic can prove

PROOFS = {
    "renewBefore as long as the lifetime": (
        policy(rotate="{every: 20d, renewBefore: «30d}"), r"'renewBefore' \(30d\) must be shorter than the lifetime"),
    "renewBefore without an expiry": (
        policy(lifetime="never", allowNoExpiry="true", rotate="{every: 20d, renewBefore: «5d}"), r"no meaning"),
    "the grace outlives the old key": (
        policy(grace="«11d", rotate="{every: 20d, renewBefore: 10d}"), r"grace \(11d\) does not fit.*10d after"),
    "the grace outlives the old key with cron": (
        policy(grace="«6d", rotate='{cron: "0 3 1 * *", renewBefore: 5d}'), r"grace \(6d\) does not fit.*5d after"),
    "a window that opens too seldom": (
        policy(lifetime="5d", grace="1h", rotate='{every: 3d, renewBefore: 1d, '
               'window: «{days: sun, from: "02:00", to: "03:00", onConflict: window}}'),
        r"would expire before it is replaced.*20\d\d-\d\d-\d\dT.*expires.*20\d\d-\d\d-\d\dT"),
    "a window that never opens in time in its zone": (
        policy(lifetime="20h", grace="1h", rotate='{every: 10h, renewBefore: 2h, timezone: Europe/Oslo, '
               'window: «{from: "02:00", to: "03:00", onConflict: window}}'), r"would expire before it is replaced"),
    "a cron time that never comes": (
        policy(lifetime="never", allowNoExpiry="true", rotate='{cron: «"0 0 30 2 *"}'), r"never"),
    "no room for current, pending and previous": (
        policy(issuer="two", grace="«20d", lifetime="60d", rotate="{every: 20d, renewBefore: 25d}"),
        r"allows 2 keys.*shorter than the time between rotations"),
    "no room for a key that is observed": (
        policy(issuer="iam", issue="{user: u}", grace="«2d", rotate="{every: 5d}", retire="{observe: 3d}"),
        r"allows 2 keys.*grace, whenUnused and observe together"),
    "never without consent": (policy(lifetime="«never"), r"allowNoExpiry: true"),
    "every and cron": (policy(rotate='{every: 20d, cron: «"0 3 * * 1"}'), r"both 'every' and 'cron'"),
    "neither every nor cron": (policy(rotate="«{renewBefore: 5d}"), r"needs 'every' or 'cron'"),
    "every of a few seconds": (policy(rotate="{every: «30s}"), r"a minute or more"),
    "jitter as long as every": (policy(rotate="{every: 2d, jitter: «2d}"), r"'jitter' \(2d\) must be shorter"),
    "after names nobody": (policy(after="«[team/kee]") + "---\n" + policy(secret="team/kea", backends="[{name: bao}]"),
                           r"'team/kee', which has no policy; did you mean 'team/ke[ay]'"),
    "an unknown issuer": (policy(issuer="«pasword"), r"no issuer 'pasword'; did you mean 'passwords'"),
    "an unknown backend": (policy(backends="[{name: «bao2}]"), r"no backend 'bao2'; did you mean 'bao'"),
    "an unknown alert": (policy(alerts="[ops, «opps]"), r"no alert sink 'opps'; did you mean 'ops'"),
    "a backend twice": (policy(backends="[{name: vault}, «{name: vault, path: team/other}]"), r"named twice"),
    "required and best effort": (
        policy(backends="[{name: vault, required: true, «bestEffort: true}]"), r"both required and best effort"),
    "issue that the issuer does not know": (policy(issue="{format: «sha1}"), r"'format' of 'issue' must be one of"),
    "issue that contradicts itself": (
        policy(issue="{length: 8, classes: «{digits: 9}}"), r"more characters than the length allows"),
    "issue that lacks what is required": ("«" + policy(issuer="iam"), r"lacks 'user'"),
    "issue with an odd user": (policy(issuer="iam", issue='{user: «"a b/c"}'), r"a user's name holds"),
    "a target that the backend does not know": (
        policy(backends="[{name: files, mode: «0777}]"), r"must be one of 0600"),
    "a path out of the folder": (policy(backends="[{name: files, «path: ../x}]"), r"must stay below"),
    "an absolute path": (policy(backends="[{name: files, «path: /etc/x}]"), r"must stay below"),
    "a path out of the vault": (policy(backends="[{name: vault, «path: ../x}]"), r"'path' of backend 'vault'"),
    "a template that is not closed": (policy(backends="[{name: vault, template: «'a {{value'}]"), r"never closed"),
    "a template with an unknown field": (
        policy(backends="[{name: vault, template: «'{{valu}}'}]"), r"no field 'valu'; did you mean 'value'"),
    "a template with an unknown filter": (
        policy(backends="[{name: vault, template: «'{{value|rot13}}'}]"), r"unknown filter"),
    "whenUnused where the issuer does not tell": (policy(retire="{whenUnused: «6h}"), r"does not tell"),
    "observe where the issuer can't disable": (policy(retire="{observe: «6h}"), r"can't disable"),
    "a window of no length": (
        policy(rotate='{every: 20d, window: «{from: "02:00", to: "02:00"}}'), r"'window'"),
    "a day that is none": (
        policy(rotate='{every: 20d, window: {days: «mon-fry, from: "02:00", to: "03:00"}}'), r"'days' of 'window'"),
    "a zone that is none": (policy(rotate="{every: 20d, timezone: «CEST}"), r"no time zone 'CEST'"),
    "no text where one belongs": (policy(secret="«[a]"), r"'secret' must be a text"),
    "a list where a map belongs": (policy(rotate="«[every, 20d]"), r"'rotate' must be a map"),
}


@pytest.mark.parametrize("what", PROOFS)
def test_proof(space, what):
    text, message = PROOFS[what]
    done, found, expected = validate(space, {"key.yaml": text})
    assert done.returncode == 65, done.stdout
    assert [place for place, _ in found] == expected, found
    assert re.search(message, found[0][1]), found
    # Beside what is wrong all the rest is right: without the mark's value nothing is complained about.
    assert len(found) == 1


def test_secrets_and_targets_are_unique(space):
    done, found, expected = validate(space, {
        "a.yaml": policy(secret="team/a"),
        "b.yaml": policy(secret="«team/a", backends="[{name: bao}]") + "---\n"
        + policy(secret="team/b", backends="[«{name: vault, path: team/a}]")})
    assert done.returncode == 65 and [place for place, _ in found] == expected
    assert "has a policy already, in schedules/a.yaml:1" in found[0][1]
    assert "'team/a' in backend 'vault' belongs to secret 'team/a' already" in found[1][1]


@pytest.mark.parametrize("length", [1, 2, 3, 500])
def test_a_circle_in_after(space, length):
    names = [f"team/k{index}" for index in range(length)]
    documents = [policy(secret=name, after=f"[{names[(index + 1) % length]}]") for index, name in enumerate(names)]
    documents.append(policy(secret="team/outside", after="[team/k0]"))
    space.policy("all", "---\n".join(documents))
    done = space.run("validate")
    found = read(done.stdout)
    assert done.returncode == 65 and len(found) == 1, found
    assert "leads in a circle" in found[0][1] and "team/k0" in found[0][1] and "team/outside" not in found[0][1]
    space.policy("all", "---\n".join(documents).replace("[team/k0]", "[]", 1) if length > 1 else policy())
    assert space.run("validate").returncode == 0


def test_what_is_just_right_is_accepted(space):
    """The neighbours of the proofs above: a rule that refuses too much fails here."""
    texts = [
        policy(rotate="{every: 20d, renewBefore: 29d}", grace="1d"),
        policy(grace="10d", rotate="{every: 20d, renewBefore: 10d}"),
        policy(lifetime="never", allowNoExpiry="true"),
        policy(lifetime="5d", grace="1h", rotate='{every: 3d, renewBefore: 1d, '
               'window: {days: sun, from: "02:00", to: "03:00", onConflict: deadline}}'),
        policy(lifetime="30d", rotate='{cron: "@weekly", window: {from: "22:00", to: "02:00"}}'),
        policy(issuer="iam", issue="{user: u}", grace="1d", rotate="{every: 5d}", retire="{observe: 3d}"),
        policy(backends="[{name: vault, template: '{\"k\": \"{{value}}\", \"b\": \"{{value|base64}}\"}'}]"),
        policy(issuer="program", backends="[{name: vault, template: '{{anything}}'}]"),
        policy(description="'ÆØÅ 日本語'", owner="'null'"),
    ]
    for index, text in enumerate(texts):
        space.policy("key", text)
        done = space.run("validate")
        assert done.returncode == 0 and done.stdout == "", (index, done.stdout)
        assert done.stderr == "1 policy, no errors\n"


# --- what it can't be made to choke on

def must_refuse(space, code=65, seconds=20):
    """`validate` ends in time with a clear error, and neither crashes nor begins anything."""
    for arguments in (["validate"], ["run", "--once"]):
        done = space.run(*arguments, timeout=seconds)
        assert not crashed(done.returncode), (arguments, done.returncode, done.stderr)
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        assert "Fatal" not in done.stderr and "Swift" not in done.stderr
    assert not (space.folder / "var/keyturn.db").exists() and not space.vault.exists()
    return space.run("validate").stdout


def laughs():
    lines = ["a0: &a0 [lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    return "\n".join(lines) + "\n"


POISON = {
    "duplicate key": (GOOD + "issuer: passwords\n", "more than once"),
    "duplicate key further in": (GOOD.replace("{every: 20d}", "{every: 20d, every: 3d}"), "more than once"),
    "tab": (GOOD + "verify:\n\t- {type: issuer}\n", "not YAML"),
    "anchor": (GOOD.replace("{every: 20d}", "&x {every: 20d}"), "anchors are not allowed"),
    "alias": (GOOD.replace("{every: 20d}", "*x"), "not YAML|aliases"),
    "merge": ("<<: {secret: team/x}\n" + GOOD, "unknown field"),
    "billion laughs": (laughs(), "anchors are not allowed"),
    "alias to itself": ("secret: &a [*a]\n", "anchors are not allowed|not YAML"),
    "deep flow": ("x: " + "[" * 200_000 + "]" * 200_000, "deeper than"),
    "deep blocks": ("".join("  " * depth + "a:\n" for depth in range(2_000)), "deeper than|larger than"),
    "deep lists": ("- " * 100_000 + "a\n", "deeper than"),
    "not closed": ("secret: [a, {b: c\n", "not YAML"),
    "a scalar": ("hello\n", "must be a map"),
    "a list": ("- a\n- b\n", "must be a map"),
    "a tag": ("!!binary aGVsbG8=\n", "must be a map"),
    "a key that is a map": ("{a: b}: c\n", "must be a text"),
    "an enormous number": (GOOD.replace("30d", "9" * 5_000 + "d"), "not a duration"),
    "an enormous name": (GOOD.replace("team/good", "a" * 100_000), "longer than"),
    "a long line": (GOOD + "description: " + "x" * 2_000_000 + "\n", "larger than"),
    "controls": (GOOD + "description: a\x07b\n", "not YAML"),
    "zero byte": (GOOD + "description: a\0b\n", "not YAML"),
    "not UTF-8": (GOOD.encode() + b"description: \xe6\xf8\xe5\n", "not UTF-8"),
    "UTF-16": (GOOD.encode("utf-16"), "not UTF-8|not YAML"),
    "overlong UTF-8": (GOOD.encode() + b"description: \xc0\xaf\n", "not UTF-8"),
    "garbage": (bytes((index * 7919 + index // 3) % 256 for index in range(10_000)), "not UTF-8|not YAML"),
    "huge": (b"# comment\n" * 5_000_000, "larger than"),
}


@pytest.mark.parametrize("where", ["policy", "configuration"])
@pytest.mark.parametrize("poison", POISON)
def test_poison(space, poison, where):
    content, message = POISON[poison]
    content = content if isinstance(content, bytes) else content.encode()
    space.policy("good", GOOD.replace("team/good", "team/other"))
    path = space.folder / ("schedules/bad.yaml" if where == "policy" else "keyturn.yaml")
    path.write_bytes(content)
    shown = must_refuse(space)
    found = read(shown)
    name = "schedules/bad.yaml" if where == "policy" else "keyturn.yaml"
    files = {place.file for place, _ in found}
    # A configuration that can be read in part may lack the systems that the good policy names.
    assert files == {name} or where == "configuration" and name in files
    if where == "policy" or "field" not in message:
        # As a configuration some of it is right YAML with other mistakes.
        assert any(re.search(message, text) for _, text in found) or where == "configuration", found
    assert all(len(text) < 600 for _, text in found), "the message repeats the file"


@pytest.mark.parametrize("change", ["crlf", "bom", "bom and crlf", "no newline at the end", "document marks"])
def test_other_ways_to_write_the_same(space, change):
    content = GOOD.encode()
    if "crlf" in change:
        content = content.replace(b"\n", b"\r\n")
    if "bom" in change:
        content = b"\xef\xbb\xbf" + content
    if "newline" in change:
        content = content.rstrip(b"\n")
    if "marks" in change:
        content = b"%YAML 1.1\n---\n" + content + b"...\n---\n# nothing\n"
    (space.folder / "schedules/key.yaml").write_bytes(content)
    done = space.run("validate")
    assert done.returncode == 0, done.stdout
    assert done.stderr == "1 policy, no errors\n"
    configuration = space.folder / "keyturn.yaml"
    begin = b"\xef\xbb\xbf" if "bom" in change else b""
    newline = b"\r\n" if "crlf" in change else b"\n"
    configuration.write_bytes(begin + configuration.read_bytes().replace(b"\n", newline))
    assert space.run("validate").returncode == 0


def test_empty_files(space):
    (space.folder / "schedules/empty.yaml").write_text("")
    (space.folder / "schedules/comments.yaml").write_text("# nothing yet\n---\n---\n")
    space.policy("good", GOOD)
    done = space.run("validate")
    assert done.returncode == 0 and done.stderr == "1 policy, no errors\n"
    (space.folder / "keyturn.yaml").write_text("")
    assert "the configuration is empty" in must_refuse(space)


def test_a_folder_in_place_of_a_file(space):
    (space.folder / "schedules/folder.yaml").mkdir()
    (space.folder / "schedules/folder.yaml/good.yaml").write_text(GOOD)
    done = space.run("validate")
    assert done.returncode == 0 and done.stderr == "1 policy, no errors\n"
    (space.folder / "keyturn.yaml").unlink()
    (space.folder / "keyturn.yaml").mkdir()
    assert read(must_refuse(space))[0][0].file == "keyturn.yaml"


def test_a_file_in_place_of_the_schedules_folder(space):
    shutil.rmtree(space.folder / "schedules")
    assert "the schedules folder can't be read" in must_refuse(space)
    (space.folder / "schedules").write_text(GOOD)
    assert "the schedules folder can't be read" in must_refuse(space)


@pytest.mark.parametrize("kind", ["loop", "dangling"])
def test_a_link_that_leads_nowhere(space, kind):
    """A policy that can't be reached is told; left out silently, its secret would never rotate again."""
    space.policy("good", GOOD)
    link = space.folder / "schedules/link.yaml"
    link.symlink_to("link.yaml" if kind == "loop" else "gone.yaml")
    found = read(must_refuse(space))
    assert [place for place, _ in found] == [Place("schedules/link.yaml", 1, 1)]
    link.unlink()
    link.symlink_to("good.yaml")
    assert "has a policy already" in space.run("validate").stdout, "a link to a policy is read"


def test_links_between_folders(space):
    (space.folder / "schedules/sub").mkdir()
    (space.folder / "schedules/sub/up").symlink_to("..")
    space.policy("good", GOOD)
    assert space.run("validate").stderr == "1 policy, no errors\n"


def test_a_pipe_is_not_waited_for(space):
    space.policy("good", GOOD)
    os.mkfifo(space.folder / "schedules/pipe.yaml")
    must_refuse(space, seconds=10)


# --- what may not be read

@pytest.fixture
def nobody():
    """A workspace that another user owns, and the command run as that user."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="keyturn-nobody-"))
    folder.chmod(0o755)
    binary = folder / "keyturn"
    shutil.copy(BINARY, binary)
    binary.chmod(0o755)
    space = Workspace(folder / "site")
    space.configure()
    space.policy("good", GOOD)
    root = os.geteuid() == 0
    if root:
        for path in [space.folder, *space.folder.rglob("*")]:
            os.chown(path, 65534, 65534)
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if root else []

    def run(*arguments):
        return subprocess.run(
            [*prefix, str(binary), *arguments, "--config", str(space.folder / "keyturn.yaml")], capture_output=True,
            text=True, timeout=60, cwd=space.folder, stdin=subprocess.DEVNULL, env=space.full_environment())
    space.run_as_nobody = run
    yield space
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o700)
    shutil.rmtree(folder)


def test_the_other_user_can_work(nobody):
    done = nobody.run_as_nobody("run", "--once")
    assert done.returncode == 0, done.stderr
    assert nobody.run_as_nobody("vault", "show", "team/good").returncode == 0


@pytest.mark.parametrize("name", ["schedules/good.yaml", "keyturn.yaml"])
def test_a_file_that_may_not_be_read(nobody, name):
    (nobody.folder / name).chmod(0)
    done = nobody.run_as_nobody("validate")
    assert done.returncode == 65
    assert re.search(rf"^{re.escape(name)}:1:1: .*can't be read.*[Pp]ermission", done.stdout, re.M), done.stdout


def test_a_folder_that_may_not_be_read(nobody):
    (nobody.folder / "schedules").chmod(0)
    done = nobody.run_as_nobody("validate")
    assert done.returncode == 65 and "schedules:1:1: the schedules folder can't be read" in done.stdout
    (nobody.folder / "schedules").chmod(0o700)
    hidden = nobody.folder / "schedules/sub"
    hidden.mkdir(mode=0)
    done = nobody.run_as_nobody("validate")
    assert done.returncode == 65, "policies below a folder that can't be read are left out silently"
    assert "schedules/sub" in done.stdout


def test_an_identity_that_may_not_be_read(nobody):
    nobody.identity.chmod(0o000)
    done = nobody.run_as_nobody("run", "--once")
    assert done.returncode == 77 and "identity" in done.stderr
    nobody.identity.chmod(0o600)
    assert nobody.run_as_nobody("run", "--once").returncode == 0


@pytest.mark.parametrize("what", ["database", "folder", "read-only folder"])
def test_a_state_that_may_not_be_used(nobody, what):
    assert nobody.run_as_nobody("run", "--once").returncode == 0
    if what == "database":
        for path in (nobody.folder / "var").glob("keyturn.db*"):
            path.chmod(0)
    else:
        (nobody.folder / "state").mkdir()
        for path in (nobody.folder / "var").glob("keyturn.db*"):
            path.rename(nobody.folder / "state" / path.name)
        for path in [nobody.folder / "state", *(nobody.folder / "state").iterdir()]:
            os.chown(path, 65534, 65534)
        nobody.environment = {"KEYTURN_STATE": f"sqlite:{nobody.folder}/state/keyturn.db"}
        (nobody.folder / "state").chmod(0 if what == "folder" else 0o500)
        if what == "read-only folder":
            # A new database can't be made there; without its lock nothing is worked on.
            for path in (nobody.folder / "state").iterdir():
                path.unlink()
    done = nobody.run_as_nobody("run", "--once")
    assert done.returncode == 77, (done.returncode, done.stderr)
    assert re.search("permission", done.stderr, re.I) and "state" in done.stderr, done.stderr
    if what != "read-only folder":
        assert nobody.run_as_nobody("status").returncode == 77, "a state that can't be read is not an empty one"
        assert nobody.run_as_nobody("report").returncode == 77
