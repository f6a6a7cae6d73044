"""The main job against real servers, every value read by the vendors' own clients."""
import json
import uuid


def test_password_reaches_every_backend(site, bao, aws):
    name = f"pay/db-{uuid.uuid4().hex[:8]}"
    site.policy("db", f"""
secret: {name}
issuer: passwords
lifetime: 30d
rotate: {{every: 20d}}
grace: 2h
backends: [{{name: vault}}, {{name: bao}}, {{name: aws}}]
""")
    assert site.run("validate").returncode == 0
    done = site.run("validate", "--online")
    assert done.returncode == 0, done.stderr
    done = site.run("run", "--once")
    assert done.returncode == 0, done.stderr
    first = site.vault_value(name)
    assert len(first) == 32
    assert bao.value(name) == first
    assert bao.cli("kv", "get", "-mount=secret", "-field=value", name) == first
    assert aws.value(name) == first
    assert site.stages(name) == {1: "current"}

    assert site.run("rotate", name).returncode == 0
    second = site.vault_value(name)
    assert second != first
    assert bao.value(name) == second and aws.value(name) == second
    assert aws.value(name, "AWSPREVIOUS") == first
    assert site.stages(name) == {1: "previous", 2: "current"}


def test_iam_key_works_wherever_it_is_read(site, bao, aws):
    user = f"u{uuid.uuid4().hex[:8]}"
    aws.add_user(user)
    site.policy("iam", f"""
secret: cloud/{user}
issuer: iam
issue: {{user: {user}}}
lifetime: 30d
rotate: {{every: 20d}}
grace: 1h
verify: [{{type: issuer}}]
backends:
  - {{name: vault}}
  - {{name: bao, format: json}}
  - {{name: aws}}
""")
    done = site.run("run", "--once")
    assert done.returncode == 0, done.stderr
    key = json.loads(site.vault_value(f"cloud/{user}"))
    assert aws.accepts(key["accessKeyId"], key["secretAccessKey"])
    assert bao.value(f"cloud/{user}", "accessKeyId") == key["accessKeyId"]
    assert json.loads(aws.value(f"cloud/{user}")) == key
    assert list(aws.keys(user)) == [key["accessKeyId"]]


def test_a_foreign_key_is_never_deleted_to_make_room(site, aws):
    user = f"u{uuid.uuid4().hex[:8]}"
    aws.add_user(user)
    foreign = {aws.client("iam").create_access_key(UserName=user)["AccessKey"]["AccessKeyId"] for _ in range(2)}
    site.policy("iam", f"""
secret: cloud/{user}
issuer: iam
issue: {{user: {user}}}
lifetime: 30d
rotate: {{every: 20d}}
grace: 1h
backends: [{{name: vault}}]
""")
    done = site.run("run", "--once")
    assert done.returncode in (1, 3), done.stderr
    assert "two access keys" in done.stderr
    assert set(aws.keys(user)) == foreign
