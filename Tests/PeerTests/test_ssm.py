"""SecureStrings of Parameter Store, in moto, with boto3 as the foreign client."""
import json
import time
import uuid

import botocore.exceptions
import pytest

from peers.fault_proxy import FaultProxy
from workspace import must

REFERENCES = "credentials: {accessKeyId: {env: KT_AWS_ID}, secretAccessKey: {env: KT_AWS_SECRET}}"


def configure(space, endpoint, more=""):
    space.configure(backends=f"ssm: {{type: aws-ssm-parameter, region: eu-west-1, endpoint: '{endpoint}', {REFERENCES}{more}}}\n")


@pytest.fixture
def space(workspace, aws):
    configure(workspace, aws.endpoint)
    workspace.environment = {"KT_AWS_ID": aws.key_id, "KT_AWS_SECRET": aws.secret_key}
    return workspace


@pytest.fixture
def proxy(aws):
    made = FaultProxy(aws.port)
    yield made
    made.stop()


def password(space, target="", name=None, issuer="passwords"):
    name = name or f"app/{uuid.uuid4().hex[:10]}"
    space.policy("key", f"secret: {name}\nissuer: {issuer}\nlifetime: 30d\nrotate: {{every: 20d}}\ngrace: 1s\n"
                 f"backends: [{{name: ssm, path: /{name}{target}}}, {{name: vault}}]\n")
    return name


def read(aws, name):
    try:
        return aws.client("ssm").get_parameter(Name=f"/{name}", WithDecryption=True)["Parameter"]
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "ParameterNotFound"
        return None


def tags(aws, name):
    listed = aws.client("ssm").list_tags_for_resource(ResourceType="Parameter", ResourceId=f"/{name}")["TagList"]
    return {tag["Key"].removeprefix("keyturn:"): tag["Value"] for tag in listed}


def test_from_first_to_last(space, aws):
    name = password(space)
    must(space.run("validate", "--online"))
    assert read(aws, name) is None
    must(space.run("run", "--once"))
    values = []
    for number in (1, 2, 3):
        found = read(aws, name)
        assert found["Type"] == "SecureString" and found["Version"] == number
        assert found["Value"] == space.vault_value(name) not in values
        values.append(found["Value"])
        assert tags(aws, name) | {"instance": ""} == {
            "secret": name, "version": str(number), "parameter-version": str(number), "generation": "1", "instance": ""}
        if number < 3:
            must(space.run("rotate", name))
    history = aws.client("ssm").get_parameter_history(Name=f"/{name}", WithDecryption=True)["Parameters"]
    assert [entry["Value"] for entry in history] == values
    time.sleep(1.2)
    must(space.run("run", "--once", "--wait", "5s"))
    assert space.stages(name) == {1: "retired", 2: "retired", 3: "current"}
    must(space.run("drift"))
    must(space.run("doctor"))


def test_key_tier_and_what_others_set(space, aws):
    configure(space, aws.endpoint, ", kmsKeyId: alias/payments, tier: Advanced")
    name = password(space)
    must(space.run("run", "--once"))
    client = aws.client("ssm")

    def described():
        [found] = client.describe_parameters(
            ParameterFilters=[{"Key": "Name", "Values": [f"/{name}"]}])["Parameters"]
        return found["KeyId"], found["Tier"], found.get("Description")
    assert described() == ("alias/payments", "Advanced", "Kept by Keyturn")
    client.add_tags_to_resource(ResourceType="Parameter", ResourceId=f"/{name}", Tags=[{"Key": "owner", "Value": "payments"}])
    client.label_parameter_version(Name=f"/{name}", ParameterVersion=1, Labels=["known-good"])
    must(space.run("rotate", name))
    assert described()[:2] == ("alias/payments", "Advanced")
    assert tags(aws, name)["owner"] == "payments"
    history = client.get_parameter_history(Name=f"/{name}")["Parameters"]
    assert [entry["Labels"] for entry in history] == [["known-good"], []]


def test_a_foreign_value_is_a_conflict(space, aws):
    name = password(space)
    must(space.run("run", "--once"))
    aws.client("ssm").put_parameter(Name=f"/{name}", Value="theirs", Type="SecureString", Overwrite=True)
    done = must(space.run("drift"), 1)
    assert name in done.stdout
    done = must(space.run("rotate", name, "--wait", "0"), 3)
    assert "theirs" not in done.stdout + done.stderr
    assert read(aws, name)["Value"] == "theirs"
    password(space, ", overwrite: true", name)
    must(space.run("resume", name))
    must(space.run("run", "--once"))
    assert read(aws, name)["Value"] == space.vault_value(name)


@pytest.mark.parametrize("operation", ["PutParameter", "AddTagsToResource"])
def test_a_lost_answer_is_resolved(space, aws, proxy, operation):
    name = password(space)
    must(space.run("run", "--once"))
    configure(space, proxy.address)
    rule = proxy.fail("lost", f"AmazonSSM.{operation}", times=1)
    must(space.run("rotate", name, "--wait", "60s"))
    assert rule.hits == 1
    found = read(aws, name)
    assert found["Version"] == 2 and found["Value"] == space.vault_value(name)
    assert tags(aws, name)["parameter-version"] == "2"


def test_rollback_writes_the_old_value_again(space, aws):
    name = password(space)
    space.policy("key", (space.folder / "schedules/key.yaml").read_text().replace("grace: 1s", "grace: 1h"))
    must(space.run("run", "--once"))
    first = read(aws, name)["Value"]
    must(space.run("rotate", name))
    must(space.run("rollback", name))
    found = read(aws, name)
    assert found["Value"] == first and found["Version"] == 3
    assert tags(aws, name)["version"] == "1" and tags(aws, name)["parameter-version"] == "3"


def test_a_restored_state_is_noticed(space, aws):
    """The tags say that a later write was made than the state knows."""
    name = password(space)
    space.policy("key", (space.folder / "schedules/key.yaml").read_text().replace("grace: 1s", "grace: 1h"))
    must(space.run("run", "--once"))
    space.keep_state()
    must(space.run("rotate", name))
    space.put_state_back()
    serving = read(aws, name)["Value"]
    done = space.run("rotate", name, "--wait", "0")
    assert done.returncode != 0 and "ahead of the state" in done.stderr, (done.stdout, done.stderr)
    assert read(aws, name)["Value"] == serving
    done = must(space.run("adopt", "--restored"))
    assert "generation 2" in done.stderr and read(aws, name)["Value"] == serving
    must(space.run("run", "--once"))
    must(space.run("rotate", name))
    assert read(aws, name)["Value"] == space.vault_value(name) != serving and tags(aws, name)["generation"] == "2"


def test_names_are_checked_offline(space):
    space.policy("key", "secret: app/key\nissuer: passwords\nlifetime: 30d\nrotate: {every: 20d}\nbackends: [{name: ssm}]\n")
    done = must(space.run("validate"), 65)
    assert "'/app/key'" in done.stdout


def test_json_templates(space, aws):
    name = password(space, """, template: '{"password": "{{value}}"}'""")
    must(space.run("run", "--once"))
    assert json.loads(read(aws, name)["Value"]) == {"password": space.vault_value(name)}
