"""AWS as it is used for real: labels of Secrets Manager, the two keys of an IAM user, credentials, signatures."""
import datetime
import hashlib
import json
import os
import random
import re
import signal
import string
import threading
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.exceptions
import botocore.utils
import pytest

from peers.aws import EVERYTHING
from peers.fault_proxy import FaultProxy
from peers.ministack import MiniStack
from workspace import must, retire

REFERENCES = "credentials: {accessKeyId: {env: KT_AWS_ID}, secretAccessKey: {env: KT_AWS_SECRET}}"


def configure(space, endpoint, credentials=REFERENCES, more=""):
    tail = f", {credentials}" if credentials else ""
    space.configure(
        issuers=f"iam: {{type: aws-iam-access-key, region: eu-west-1, endpoint: '{endpoint}'{tail}}}\n",
        backends=f"aws: {{type: aws-secrets-manager, region: eu-west-1, endpoint: '{endpoint}'{tail}}}\n{more}")


@pytest.fixture
def proxy(aws):
    made = FaultProxy(aws.port)
    made.calls = []

    def record(method, path, headers, body):
        made.calls.append((method, path, headers, body))
    made.record = record
    yield made
    made.stop()


@pytest.fixture
def space(workspace, aws):
    configure(workspace, aws.endpoint)
    workspace.environment = {"KT_AWS_ID": aws.key_id, "KT_AWS_SECRET": aws.secret_key}
    return workspace


def password(space, name=None, more="", backend="{name: aws}"):
    name = name or f"app/{uuid.uuid4().hex[:10]}"
    space.policy("key", f"secret: {name}\nissuer: passwords\nlifetime: 30d\nrotate: {{every: 20d}}\ngrace: 1s\n"
                 f"{more}backends: [{backend}]\n")
    return name


def user_key(space, aws, more="", grace="1s"):
    user = f"u{uuid.uuid4().hex[:10]}"
    aws.add_user(user)
    name = f"cloud/{user}"
    space.policy("key", f"secret: {name}\nissuer: iam\nissue: {{user: {user}}}\nlifetime: 30d\n"
                 f"rotate: {{every: 20d}}\ngrace: {grace}\n{more}backends: [{{name: vault}}]\n")
    return user, name


def current_key(space, name):
    return json.loads(space.vault_value(name))


# Secrets Manager.

def labels(aws, name):
    """Version ids by label."""
    stages = aws.client("secretsmanager").describe_secret(SecretId=name)["VersionIdsToStages"]
    found = {}
    for version, carried in stages.items():
        for label in carried:
            assert label not in found, stages
            found[label] = version
    return found


def expected_token(instance, name, version):
    """RFC 9562, version 8, over installation, secret and version."""
    raw = bytearray(hashlib.sha256(f"keyturn\n{instance}\n{name}\n{version}".encode()).digest()[:16])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(raw)))


def test_labels_from_first_to_last(space, aws):
    name = password(space)
    must(space.run("run", "--once"))
    tags = {tag["Key"]: tag["Value"] for tag in aws.client("secretsmanager").describe_secret(SecretId=name)["Tags"]}
    assert tags["keyturn:secret"] == name
    ids = {number: expected_token(tags["keyturn:instance"], name, number) for number in (1, 2, 3)}
    assert labels(aws, name) == {"AWSCURRENT": ids[1]}
    first = aws.value(name)

    must(space.run("rotate", name))
    assert labels(aws, name) == {"AWSCURRENT": ids[2], "AWSPREVIOUS": ids[1]}
    assert aws.value(name, "AWSPREVIOUS") == first != aws.value(name)
    second = aws.value(name)

    must(space.run("rotate", name))
    found = labels(aws, name)
    assert found["AWSCURRENT"] == ids[3] and found["AWSPREVIOUS"] == ids[2]
    assert aws.value(name, "AWSPREVIOUS") == second
    retire(space)
    assert space.stages(name) == {1: "retired", 2: "retired", 3: "current"}
    assert labels(aws, name) == {"AWSCURRENT": ids[3]}, "a dead version still carries a label"


def test_pending_label_is_ours(space, aws):
    """While the new version is verified it can be read by its label, and AWSCURRENT is the old one."""
    name = password(space)
    must(space.run("run", "--once"))
    before = labels(aws, name)
    refuse = space.folder / "refuse"
    refuse.write_text("#!/bin/sh\ncat >/dev/null\nexit 75\n")
    refuse.chmod(0o700)
    password(space, name, f"verify: [{{type: command, run: [./refuse]}}]\n")
    process = space.start("rotate", name, "--wait", "0")
    deadline = time.monotonic() + 20
    while "keyturn-pending" not in labels(aws, name):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    during = labels(aws, name)
    assert during["AWSCURRENT"] == before["AWSCURRENT"] and "AWSPENDING" not in during
    assert aws.value(name, "keyturn-pending") != aws.value(name)
    process.kill()
    process.communicate()
    refuse.write_text("#!/bin/sh\ncat >/dev/null\n")
    must(space.run("run", "--once"))
    assert labels(aws, name) == {"AWSCURRENT": during["keyturn-pending"], "AWSPREVIOUS": before["AWSCURRENT"]}


def test_token_stays_the_same_over_retries(space, aws, proxy):
    name = password(space)
    must(space.run("run", "--once"))
    configure(space, proxy.address)
    proxy.fail("lost", "PutSecretValue", times=2)
    must(space.run("rotate", name, "--wait", "60s"))
    tokens = [json.loads(body)["ClientRequestToken"] for _, _, headers, body in proxy.calls
              if dict(headers).get("X-Amz-Target", "").endswith("PutSecretValue")]
    assert tokens and len(set(tokens)) == 1
    assert labels(aws, name)["AWSCURRENT"] == tokens[0]
    stages = aws.client("secretsmanager").describe_secret(SecretId=name)["VersionIdsToStages"]
    assert len(stages) == 2, stages


def test_pending_label_of_others_is_left_alone(space, aws):
    name = password(space)
    must(space.run("run", "--once"))
    theirs = aws.client("secretsmanager").put_secret_value(
        SecretId=name, SecretString="theirs", VersionStages=["AWSPENDING", "canary"])["VersionId"]
    for _ in range(2):
        must(space.run("rotate", name))
    retire(space)
    found = labels(aws, name)
    assert found["AWSPENDING"] == found["canary"] == theirs
    assert aws.value(name, "AWSPENDING") == "theirs"


def test_secret_without_a_value(space, aws):
    """As other tools lay it out before there is a value."""
    name = password(space)
    aws.client("secretsmanager").create_secret(Name=name, Tags=[{"Key": "owner", "Value": "terraform"}])
    must(space.run("run", "--once"))
    assert len(aws.value(name)) == 32
    tags = aws.client("secretsmanager").describe_secret(SecretId=name)["Tags"]
    assert {"Key": "owner", "Value": "terraform"} in tags


def test_foreign_value_is_not_replaced(space, aws):
    name = password(space)
    aws.client("secretsmanager").create_secret(Name=name, SecretString="somebody else's")
    done = must(space.run("run", "--once", "--wait", "0"), 1, 3)
    assert "did not put there" in done.stderr and "somebody" not in done.stdout + done.stderr
    assert aws.value(name) == "somebody else's"
    password(space, name, backend="{name: aws, overwrite: true}")
    must(space.run("resume", name))
    must(space.run("run", "--once", "--wait", "0"))
    assert len(aws.value(name)) == 32
    assert aws.value(name, "AWSPREVIOUS") == "somebody else's"


def test_secret_that_the_service_rotates(space, aws):
    name = password(space)
    client = aws.client("secretsmanager")
    client.create_secret(Name=name, SecretString="service's own")
    try:
        client.rotate_secret(SecretId=name, RotationLambdaARN="arn:aws:lambda:eu-west-1:123456789012:function:f",
                             RotationRules={"AutomaticallyAfterDays": 30}, RotateImmediately=False)
    except botocore.exceptions.ClientError:
        pass
    assert client.describe_secret(SecretId=name)["RotationEnabled"]
    done = must(space.run("run", "--once", "--wait", "0"), 1, 3)
    assert "rotated or owned by another service" in done.stderr
    assert space.stages(name) == {}, "a key was made that could not be stored"
    assert aws.value(name) == "service's own"
    assert "rotated or owned" in must(space.run("validate", "--online"), 65).stderr


def test_secret_that_is_to_be_deleted(space, aws):
    name = password(space)
    must(space.run("run", "--once"))
    client = aws.client("secretsmanager")
    client.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    done = must(space.run("rotate", name, "--wait", "0"), 1, 3)
    assert "to be deleted" in done.stderr and "restore it" in done.stdout + done.stderr
    assert space.stages(name) == {1: "current"}
    client.restore_secret(SecretId=name)
    must(space.run("resume", name))
    must(space.run("run", "--once"))
    assert space.stages(name)[2] == "current"


# IAM.

def test_foreign_key_beside_ours_stays(space, aws):
    user, name = user_key(space, aws)
    must(space.run("run", "--once"))
    ours = current_key(space, name)
    foreign = aws.client("iam").create_access_key(UserName=user)["AccessKey"]
    done = must(space.run("rotate", name, "--wait", "0"), 1, 3)
    assert "two access keys" in done.stderr
    assert f"{foreign['AccessKeyId']} (not Keyturn's)" in done.stderr
    assert f"{ours['accessKeyId']} (kept by Keyturn)" in done.stderr
    assert set(aws.keys(user)) == {foreign["AccessKeyId"], ours["accessKeyId"]}
    assert aws.accepts(foreign["AccessKeyId"], foreign["SecretAccessKey"])
    assert aws.accepts(ours["accessKeyId"], ours["secretAccessKey"])
    assert space.stages(name) == {1: "current"}

    aws.client("iam").delete_access_key(UserName=user, AccessKeyId=foreign["AccessKeyId"])
    must(space.run("resume", name))
    must(space.run("run", "--once"))
    assert space.stages(name) == {1: "previous", 2: "current"}


def test_adopted_key_is_retired(space, aws):
    user, name = user_key(space, aws)
    old = aws.client("iam").create_access_key(UserName=user)["AccessKey"]
    file = space.folder / "downloaded.json"
    file.write_text(json.dumps({"accessKeyId": old["AccessKeyId"], "secretAccessKey": old["SecretAccessKey"]}))
    file.chmod(0o644)
    done = space.run("adopt", name, "--from", str(file))
    assert done.returncode != 0 and "others may read" in done.stderr and old["SecretAccessKey"] not in done.stderr
    file.chmod(0o600)
    must(space.run("adopt", name, "--from", str(file)))
    must(space.run("run", "--once"))
    assert space.stages(name) == {1: "current"}, "an adopted key is rotated in its time, not at once"
    must(space.run("rotate", name))
    assert aws.accepts(old["AccessKeyId"], old["SecretAccessKey"]), "it has its grace"
    retire(space)
    key = current_key(space, name)
    assert list(aws.keys(user)) == [key["accessKeyId"]]
    assert space.stages(name) == {1: "retired", 2: "current"}


def test_disabled_and_observed_before_it_goes(space, aws):
    user, name = user_key(space, aws, "retire: {observe: 3s}\n")
    must(space.run("run", "--once"))
    old = current_key(space, name)["accessKeyId"]
    must(space.run("rotate", name))
    retire(space)
    assert aws.keys(user)[old] == "Inactive" and space.stages(name) == {1: "disabled", 2: "current"}
    time.sleep(3.2)
    must(space.run("run", "--once"))
    assert old not in aws.keys(user) and space.stages(name) == {1: "retired", 2: "current"}


def test_compromised_key_is_not_observed(space, aws):
    user, name = user_key(space, aws, "retire: {observe: 24h, whenUnused: 6h}\n", grace="2h")
    must(space.run("run", "--once"))
    old = current_key(space, name)
    aws.accepts(old["accessKeyId"], old["secretAccessKey"])
    must(space.run("rotate", name, "--compromised"))
    assert old["accessKeyId"] not in aws.keys(user)
    assert space.stages(name) == {1: "retired", 2: "current"}


def test_key_in_use_is_not_retired(space, aws):
    user, name = user_key(space, aws, "retire: {whenUnused: 2h}\n")
    must(space.run("run", "--once"))
    old = current_key(space, name)
    must(space.run("rotate", name))
    # A consumer that has not noticed.
    assert aws.accepts(old["accessKeyId"], old["secretAccessKey"])
    time.sleep(1.2)
    space.run("run", "--once", "--wait", "0")
    assert space.stages(name) == {1: "previous", 2: "current"} and old["accessKeyId"] in aws.keys(user)
    assert "was used within the last 2h" in space.run("explain", name).stdout + space.run("status", name).stdout
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=100)
    space.run("run", "--once", "--wait", "0", at=later)
    assert old["accessKeyId"] in aws.keys(user)
    must(space.run("run", "--once", "--wait", "0", at=later + datetime.timedelta(minutes=30)))
    assert old["accessKeyId"] not in aws.keys(user)


def test_key_that_another_made_after_a_kill_is_not_taken_for_ours(space, aws, proxy):
    """Killed before AWS heard of the call; hours later an administrator makes a key, and nobody has used it yet."""
    user, name = user_key(space, aws)
    configure(space, proxy.address)
    holder = {}

    def before(_):
        if proxy.calls and b"Action=CreateAccessKey" in proxy.calls[-1][3]:
            # The clock's wrapper and the command alike.
            os.killpg(holder["process"].pid, signal.SIGKILL)
            holder["process"].wait()
            time.sleep(0.2)
    rule = proxy.fail("reset", "Action=CreateAccessKey")
    proxy.before = before
    started = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=3)
    process = space.start("run", "--once", "--wait", "0", at=started)
    holder["process"] = process
    process.communicate(timeout=60)
    while rule.hits == 0:
        time.sleep(0.05)
    assert rule.hits == 1 and aws.keys(user) == {}
    proxy.before = None
    proxy.heal()
    theirs = aws.client("iam").create_access_key(UserName=user)["AccessKey"]["AccessKeyId"]
    done = must(space.run("run", "--once", "--wait", "0"), 1, 3)
    assert theirs in aws.keys(user), "a foreign key was revoked"
    assert theirs in done.stderr
    orphans = space.json("orphans", "list")["orphans"]
    assert [orphan["state"] for orphan in orphans] == ["undecided"]

    # A person settles it, and the rotation goes on beside it.
    must(space.run("orphans", "adopt", orphans[0]["id"]))
    must(space.run("resume", name))
    must(space.run("run", "--once"))
    assert space.stages(name) == {1: "current"}
    assert set(aws.keys(user)) == {theirs, current_key(space, name)["accessKeyId"]}


def test_lost_answer_leaves_no_orphan(space, aws, proxy):
    user, name = user_key(space, aws)
    configure(space, proxy.address)
    proxy.fail("lost", "Action=CreateAccessKey", times=1)
    done = must(space.run("run", "--once", "--wait", "60s"))
    assert "unknown outcome resolved" in done.stderr
    assert list(aws.keys(user)) == [current_key(space, name)["accessKeyId"]]


# Credentials.

def wrong(text):
    return text[:-1] + ("a" if text[-1] != "a" else "b")


@pytest.mark.parametrize("source", ["environment", "shared-file", "profile", "file", "command", "session"])
def test_credentials(space, aws, source):
    credentials, environment = "", {}
    if source == "environment":
        environment = {"AWS_ACCESS_KEY_ID": aws.key_id, "AWS_SECRET_ACCESS_KEY": aws.secret_key}
    elif source in ("shared-file", "profile"):
        named = "default" if source == "shared-file" else "rotation"
        file = space.folder / "credentials"
        file.write_text(
            f"# a comment\n[other]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = other\n\n[{named}]\n"
            f"aws_access_key_id={aws.key_id}\naws_secret_access_key = {aws.secret_key}\n")
        file.chmod(0o600)
        environment = {"AWS_SHARED_CREDENTIALS_FILE": str(file)}
        if source == "profile":
            credentials = "credentials: {profile: rotation}"
            environment.update({"AWS_ACCESS_KEY_ID": "AKIAOTHER", "AWS_SECRET_ACCESS_KEY": "other"})
    elif source == "file":
        for part, text in (("id", aws.key_id), ("secret", aws.secret_key)):
            (space.folder / part).write_text(text + "\n")
            (space.folder / part).chmod(0o600)
        credentials = "credentials: {accessKeyId: {file: id}, secretAccessKey: {file: secret}}"
    elif source == "command":
        tool = space.folder / "tool"
        tool.write_text(f"#!/bin/sh\ncase $1 in id) echo {aws.key_id};; *) echo {aws.secret_key};; esac\n")
        tool.chmod(0o700)
        credentials = "credentials: {accessKeyId: {command: [./tool, id]}, secretAccessKey: {command: [./tool, key]}}"
    else:
        role = f"r{uuid.uuid4().hex[:8]}"
        iam = aws.client("iam")
        trust = json.dumps({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}]})
        arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        iam.put_role_policy(RoleName=role, PolicyName="all", PolicyDocument=EVERYTHING)
        session = aws.client("sts").assume_role(RoleArn=arn, RoleSessionName="rotation")["Credentials"]
        environment = {"AWS_ACCESS_KEY_ID": session["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
                       "AWS_SESSION_TOKEN": session["SessionToken"]}
    configure(space, aws.endpoint, credentials)
    space.environment = environment
    name = password(space)
    must(space.run("run", "--once"))
    assert len(aws.value(name)) == 32


@pytest.mark.parametrize("system", ["aws", "iam"])
def test_wrong_signature(space, aws, system):
    space.environment = {**space.environment, "KT_AWS_SECRET": wrong(aws.secret_key)}
    name = password(space) if system == "aws" else user_key(space, aws)[1]
    done = must(space.run("run", "--once", "--wait", "0"), 1, 3)
    assert "credential" in done.stderr and "clock" in done.stdout
    assert aws.secret_key not in done.stdout + done.stderr
    assert wrong(aws.secret_key) not in done.stdout + done.stderr
    assert space.stages(name) == {}


def test_no_credentials(space, aws):
    configure(space, aws.endpoint, "")
    space.environment = {"HOME": str(space.folder)}
    password(space)
    done = must(space.run("run", "--once", "--wait", "0"), 1, 3)
    assert "no AWS credentials" in done.stderr


@pytest.fixture(scope="module")
def ministack(scratch):
    server = MiniStack(scratch)
    yield server
    server.stop()


@pytest.mark.parametrize("minutes", [-10, 10])
def test_clock_skew_is_named(workspace, ministack, minutes):
    """The emulator refuses signatures that are more than five minutes off, at Secrets Manager."""
    configure(workspace, ministack.endpoint)
    workspace.environment = {"KT_AWS_ID": ministack.key_id, "KT_AWS_SECRET": ministack.secret_key}
    name = password(workspace)
    now = datetime.datetime.now(datetime.timezone.utc)
    done = must(workspace.run(
        "run", "--once", "--wait", "0", at=now + datetime.timedelta(minutes=minutes)), 1, 3)
    assert "clock" in done.stdout + done.stderr, (done.stdout, done.stderr)
    workspace.run("resume", name)
    must(workspace.run("run", "--once"))
    assert workspace.stages(name) == {1: "current"}


# Signatures.

def recomputed(method, url, headers, body, secret, token):
    """What botocore would have signed the captured request with."""
    given = {name.lower(): value for name, value in headers}
    match = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([^,]+), "
        r"Signature=([0-9a-f]{64})", given["authorization"])
    key_id, day, region, service, signed, signature = match.groups()
    names = signed.split(";")
    assert names == sorted(names) and {"host", "x-amz-date"} <= set(names)
    assert {name for name in given if name.startswith("x-amz-")} <= set(names)
    assert ("x-amz-security-token" in names) == (token is not None)
    assert given.get("x-amz-security-token") == token
    assert given["x-amz-date"].startswith(day)
    request = botocore.awsrequest.AWSRequest(
        method=method, url=url, data=body, headers={name: given[name] for name in names})
    request.context["timestamp"] = given["x-amz-date"]
    auth = botocore.auth.SigV4Auth(botocore.credentials.Credentials(key_id, secret, token), service, region)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    return signature, auth.signature(text, request)


def odd_path(choose):
    letters = string.ascii_letters + string.digits + "-._~!$&'()*+,;=:@"
    segments = ["".join(choose.choices(letters, k=choose.randint(1, 8)))
                for _ in range(choose.randint(0, 4))]
    extra = choose.choice(["", "", "%20", "%2F", "%C3%A9", "%E2%82%AC%7E", "a%2Bb"])
    path = "/" + "/".join(urllib.parse.quote(s, safe="!$&'()*+,;=:@~") for s in segments if s not in (".", ".."))
    return (path + extra + choose.choice(["", "/"])).replace("'", "")


def odd_query(choose):
    letters = string.ascii_letters + string.digits + "-._~ /+é€="
    pairs = [(urllib.parse.quote("".join(choose.choices(letters, k=choose.randint(1, 6))), safe="-._~"),
              urllib.parse.quote("".join(choose.choices(letters, k=choose.randint(0, 6))), safe="-._~"))
             for _ in range(choose.randint(1, 4))]
    return "&".join(f"{name}={value}" for name, value in pairs)


def test_signatures_are_those_of_botocore(workspace, aws):
    """Every request of real rotations, and of questions to addresses with odd paths and queries."""
    choose = random.Random(20261124)
    captured = []
    proxy = FaultProxy(aws.port)
    proxy.record = lambda method, path, headers, body: captured.append((method, path, headers, body))
    try:
        configure(workspace, proxy.address)
        workspace.environment = {"KT_AWS_ID": aws.key_id, "KT_AWS_SECRET": aws.secret_key}
        allowed = string.ascii_letters + string.digits + "/_+=.@-"
        for index in range(12):
            user = f"sig+{index},=.@_-" + uuid.uuid4().hex[:6]
            aws.add_user(user)
            path = f"sig/{index}" + "".join(choose.choices(allowed, k=12)).strip("/")
            workspace.policy(
                f"iam{index}", f"secret: sig/iam{index}\nissuer: iam\nissue: {{user: '{user}'}}\nlifetime: 30d\n"
                f"rotate: {{every: 20d}}\nverify: [{{type: issuer}}]\nbackends:\n  - name: aws\n    path: '{path}'\n"
                f"    template: '{{\"é€ {index}\": \"{{{{secretAccessKey}}}}\", \"𝄞\": \"{{{{accessKeyId}}}}\"}}'\n")
        must(workspace.run("run", "--once"))
        check_all(captured, proxy.address, aws.secret_key, None)
        rotations = len(captured)
        assert rotations > 100

        # Addresses whose answers do not matter; one question to each is enough.
        for file in (workspace.folder / "schedules").glob("iam[1-9]*.yaml"):
            file.unlink()
        for index in range(110):
            captured.clear()
            path = odd_path(choose) + ("?" + odd_query(choose) if index % 2 else "")
            region = choose.choice(["eu-west-1", "us-gov-east-1", "cn-north-1"])
            key = "".join(choose.choices(string.ascii_letters + string.digits + "/+", k=40))
            token = "".join(choose.choices(string.ascii_letters + "+/=", k=200)) if index % 3 == 0 else None
            workspace.configure(
                issuers=f"iam: {{type: aws-iam-access-key, region: {region}, endpoint: '{proxy.address}{path}'}}\n",
                backends=f"aws: {{type: aws-secrets-manager, region: {region}, endpoint: '{proxy.address}{path}'}}\n")
            workspace.environment = {
                "AWS_ACCESS_KEY_ID": f"AKIA{uuid.uuid4().hex[:16].upper()}", "AWS_SECRET_ACCESS_KEY": key,
                **({"AWS_SESSION_TOKEN": token} if token else {})}
            done = workspace.run("validate", "--online")
            assert captured, (path, done.stderr)
            check_all(captured, proxy.address, key, token)
            rotations += len(captured)
        print(f"{rotations} signatures compared")
        assert rotations >= 200
    finally:
        proxy.stop()


def check_all(captured, address, secret, token):
    for method, path, headers, body in captured:
        given = {name.lower(): value for name, value in headers}
        used = secret
        if f"/{given['authorization'].split('/')[3]}/" == "/sts/" and token is None:
            continue  # signed with the new key itself, which the issuer's answer holds
        ours, theirs = recomputed(method, address + path, headers, body, used, token)
        assert ours == theirs, (method, path, given)


# Roles, and what a machine gives out. The emulator checks each signature against the key that it gave out itself.

@pytest.fixture(scope="module")
def role(aws):
    """A role that may do everything."""
    iam = aws.client("iam")
    arn = iam.create_role(RoleName="turn", AssumeRolePolicyDocument=json.dumps({
        "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"},
                                                "Action": "sts:AssumeRole"}]}))["Role"]["Arn"]
    iam.put_role_policy(RoleName="turn", PolicyName="all", PolicyDocument=EVERYTHING)
    return arn


def asked(proxy, action):
    return [urllib.parse.parse_qs(body.decode()) for _, _, _, body in proxy.calls if f"Action={action}&".encode() in body]


def test_a_role_is_taken_on(workspace, aws, proxy, role):
    configure(workspace, f"http://127.0.0.1:{proxy.port}", (
        "credentials: {accessKeyId: {env: KT_AWS_ID}, secretAccessKey: {env: KT_AWS_SECRET}, "
        f"stsEndpoint: 'http://127.0.0.1:{proxy.port}', "
        f"assumeRole: {{roleArn: '{role}', externalId: 'our:id', duration: 15m}}}}"))
    workspace.environment = {"KT_AWS_ID": aws.key_id, "KT_AWS_SECRET": aws.secret_key}
    name = password(workspace)
    must(workspace.run("run", "--once"))
    assert len(aws.value(name)) == 32
    [question] = asked(proxy, "AssumeRole")
    assert question["RoleArn"] == [role] and question["DurationSeconds"] == ["900"]
    assert question["ExternalId"] == ["our:id"] and question["RoleSessionName"] == ["keyturn"]
    tokens = {dict((name.lower(), value) for name, value in headers).get("x-amz-security-token") for _, _, headers, body in proxy.calls if b"Action=" not in body}
    assert len(tokens) == 1 and None not in tokens, "every call to the store is made as the role"


WEB_IDENTITY = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{AccessKeyId}</AccessKeyId>
<SecretAccessKey>{SecretAccessKey}</SecretAccessKey><SessionToken>{Token}</SessionToken>
<Expiration>{Expiration}</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"""


class Machine:
    """Gives out credentials as the agents of containers and the metadata service of instances do, and as STS does for a
    web identity, which the emulator refuses for want of a signature. Botocore, which is asked as well, shows that it does."""

    def __init__(self, key):
        machine = self
        self.asked = []
        granted = {
            "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": key["AccessKeyId"],
            "SecretAccessKey": key["SecretAccessKey"], "Token": key["SessionToken"],
            "LastUpdated": "2020-01-01T00:00:00Z",
            "Expiration": (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=6)).strftime(
                "%Y-%m-%dT%H:%M:%SZ")}

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def reply(self, status, text):
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def do_PUT(self):
                life = self.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
                self.reply(200, "session") if life.isdigit() else self.reply(400, "")

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                machine.asked.append(urllib.parse.parse_qs(body))
                signed = "Authorization" in self.headers
                self.reply(400 if signed else 200, "" if signed else WEB_IDENTITY.format(**granted))

            def do_GET(self):
                machine.asked.append(self.path)
                roles = "/latest/meta-data/iam/security-credentials/"
                if self.path == "/container":
                    right = self.headers.get("Authorization") == "container token"
                    self.reply(200, json.dumps(granted)) if right else self.reply(403, "")
                elif self.headers.get("x-aws-ec2-metadata-token") != "session":
                    self.reply(401, "")
                elif self.path == roles:
                    self.reply(200, "turn")
                else:
                    self.reply(200, json.dumps(granted)) if self.path == roles + "turn" else self.reply(404, "")

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def machine(aws, role):
    made = Machine(aws.client("sts").assume_role(RoleArn=role, RoleSessionName="machine")["Credentials"])
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.mark.parametrize("kind", ["container", "instance"])
def test_what_the_machine_gives_out(workspace, aws, machine, monkeypatch, kind):
    if kind == "container":
        token = workspace.folder / "container-token"
        token.write_text("container token")
        more = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{machine.address}/container",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token)}
        provider = botocore.credentials.ContainerProvider(environ=more)
    else:
        more = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": machine.address}
        provider = botocore.credentials.InstanceMetadataProvider(
            botocore.utils.InstanceMetadataFetcher(base_url=machine.address))
    theirs = provider.load().get_frozen_credentials()
    machine.asked.clear()
    configure(workspace, aws.endpoint, None)
    workspace.environment = {**more, "HOME": str(workspace.folder)}
    name = password(workspace)
    must(workspace.run("run", "--once"))
    assert len(aws.value(name)) == 32
    assert machine.asked == (["/container"] if kind == "container" else [
        f"/latest/meta-data/iam/security-credentials/{part}" for part in ("", "turn")]), "asked once in a pass"
    assert theirs.access_key.startswith("ASIA")
    written = "".join(path.read_text(errors="replace") for path in workspace.folder.rglob("*") if path.is_file()
                      and path.name != "container-token")
    assert theirs.secret_key not in written and theirs.token not in written


def test_a_web_identity_is_taken_on(workspace, aws, machine, role, monkeypatch):
    """As a pod of EKS with a role of its service account has it: all of it in the environment."""
    token = workspace.folder / "token"
    token.write_text("header.payload.signature")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", machine.address)
    theirs = boto3.Session(region_name="eu-west-1").client("sts", config=botocore.config.Config(
        signature_version=botocore.UNSIGNED)).assume_role_with_web_identity(
            RoleArn=role, RoleSessionName="pod-1", WebIdentityToken=token.read_text())["Credentials"]
    [vendor] = machine.asked
    machine.asked.clear()
    configure(workspace, aws.endpoint, None)
    workspace.environment = {
        "AWS_ROLE_ARN": role, "AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_SESSION_NAME": "pod-1",
        "AWS_ENDPOINT_URL_STS": machine.address, "HOME": str(workspace.folder)}
    name = password(workspace)
    must(workspace.run("run", "--once"))
    assert len(aws.value(name)) == 32 and theirs["AccessKeyId"].startswith("ASIA")
    assert machine.asked == [vendor], "the vendor's client asks the same"
    token.unlink()
    done = must(workspace.run("rotate", name, "--wait", "0"), 1, 3)
    assert "the web identity token" in done.stderr and str(token) in done.stderr


def test_no_credentials_anywhere(workspace, aws):
    configure(workspace, aws.endpoint, None)
    workspace.environment = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9", "HOME": str(workspace.folder)}
    name = password(workspace)
    done = must(workspace.run("run", "--once", "--wait", "0"), 1, 3)
    assert "no AWS credentials" in done.stderr and "this machine gives out none" in done.stderr
    assert workspace.stages(name) == {}


@pytest.mark.parametrize("credentials, words", [
    ("profile: p, webIdentity: {roleArn: 'arn:aws:iam::1:role/x', tokenFile: t}", "exclude each other"),
    ("assumeRole: {roleArn: turn}", "'roleArn' must be like"),
    ("assumeRole: {}", "lacks 'roleArn'"),
    ("assumeRole: {roleArn: 'arn:aws:iam::1:role/x', duration: 5m}", "15m|900s"),
])
def test_credentials_that_can_not_be_meant(workspace, aws, credentials, words):
    configure(workspace, aws.endpoint, f"credentials: {{{credentials}}}")
    password(workspace)
    done = must(workspace.run("validate"), 65)
    assert re.search(words, done.stdout), done.stdout
