"""What keeps old keys alive: clocks that disagree, a health check that fails, a state that is older than its backends."""
import datetime
import json
import uuid

# The wall clock alone is moved; the machine's uptime goes on as it does.
WALL_ALONE = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "KEYTURN_CLOCK_TOLERANCE": "5m"}


def now():
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)


def later(**by):
    return now() + datetime.timedelta(**by)


def history(space, *arguments):
    done = space.run("history", *arguments, "--format", "json")
    return [json.loads(line) for line in done.stdout.splitlines()]


def gates(space, secret, at=None, **environment):
    done = space.run("explain", secret, "--format", "json", at=at, environment=environment)
    return {gate["gate"]: gate["verdict"] for gate in json.loads(done.stdout)["gates"]}


def test_a_leap_of_the_clock_retires_nothing(workspace):
    workspace.configure(alerts="ops: {type: command, run: [./tell]}")
    tell = workspace.folder / "tell"
    tell.write_text("#!/bin/sh\ncat >> told\necho >> told\n")
    tell.chmod(0o755)
    workspace.policy("p", "secret: team/key\nissuer: passwords\nlifetime: 90d\nrotate: {every: 60d}\ngrace: 2h\n"
                          "backends: [{name: vault}]\n")
    assert workspace.run("run", "--once").returncode == 0
    assert workspace.run("rotate", "team/key").returncode == 0
    done = workspace.run("run", "--once", at=later(days=1), environment=WALL_ALONE)
    assert done.returncode == 0 and "the clocks disagree" in done.stderr, done.stderr
    assert workspace.stages("team/key") == {1: "previous", 2: "current"}
    assert gates(workspace, "team/key", at=later(days=1), **WALL_ALONE)["clock-sane"] == "blocked"
    for _ in range(2):
        workspace.run("run", "--once", at=later(days=1), environment=WALL_ALONE)
    told = [json.loads(line) for line in (workspace.folder / "told").read_text().splitlines() if line]
    assert [alert["type"] for alert in told] == ["keyturn.clock.disagrees"]
    assert "leapt forward by" in told[0]["data"]["summary"]
    # The clock is set right again, and the grace goes on from where it was.
    done = workspace.run("run", "--once", environment={"KEYTURN_CLOCK_TOLERANCE": "5m"})
    assert done.returncode == 0 and "the clocks agree again" in done.stderr, done.stderr
    assert workspace.stages("team/key") == {1: "previous", 2: "current"}
    kinds = [entry["kind"] for entry in history(workspace)]
    assert kinds.count("clock.disagrees") == 1 and kinds.count("clock.agrees") == 1


def test_a_person_accepts_a_clock_that_leapt(workspace):
    workspace.policy("p", "secret: team/key\nissuer: passwords\nlifetime: 90d\nrotate: {every: 60d}\ngrace: 2h\n"
                          "backends: [{name: vault}]\n")
    assert workspace.run("run", "--once").returncode == 0
    assert workspace.run("rotate", "team/key").returncode == 0
    ahead = later(days=3)
    workspace.run("run", "--once", at=ahead, environment=WALL_ALONE)
    done = workspace.run("resume", "--clock", at=ahead, environment=WALL_ALONE)
    assert done.returncode == 0, done.stderr
    done = workspace.run("run", "--once", at=ahead, environment=WALL_ALONE)
    assert "the clocks agree again" in done.stderr, done.stderr
    # Three days that did not pass use up no grace.
    assert workspace.stages("team/key") == {1: "previous", 2: "current"}
    verdicts = gates(workspace, "team/key", at=ahead, **WALL_ALONE)
    assert verdicts["clock-sane"] == "not-asked" and verdicts["grace-passed"] == "blocked"


def test_a_server_with_another_time_stops_retiring(site):
    name = f"team/{uuid.uuid4().hex[:8]}"
    site.policy("p", f"secret: {name}\nissuer: passwords\nlifetime: 90d\nrotate: {{every: 60d}}\ngrace: 2h\n"
                     "backends: [{name: bao}]\n")
    assert site.run("run", "--once").returncode == 0
    assert site.run("rotate", name).returncode == 0
    # All of this machine's clocks move together, as after a start with a wrong one; the server's does not.
    done = site.run("run", "--once", at=later(days=1), environment={"KEYTURN_CLOCK_TOLERANCE": "5m"})
    assert done.returncode == 0 and "ahead of that of 127.0.0.1" in done.stderr, done.stderr
    assert site.stages(name) == {1: "previous", 2: "current"}
    done = site.run("run", "--once", at=later(days=1, hours=1), environment={"KEYTURN_CLOCK_TOLERANCE": "36500d"})
    assert done.returncode == 0, done.stderr
    assert site.stages(name) == {1: "retired", 2: "current"}


def test_a_failing_health_check_switches_the_old_key_on_again(site, aws):
    user = f"u{uuid.uuid4().hex[:8]}"
    aws.add_user(user)
    healthy = site.folder / "healthy"
    check = site.folder / "check"
    check.write_text("#!/bin/sh\ncat > /dev/null\ntest -e healthy\n")
    check.chmod(0o755)
    healthy.touch()
    name = f"cloud/{user}"
    site.policy("p", f"secret: {name}\nissuer: iam\nissue: {{user: {user}}}\nlifetime: 90d\nrotate: {{every: 60d}}\n"
                     "grace: 2h\nretire: {observe: 1d, health: [{type: command, run: [./check]}]}\n"
                     "verify: [{type: issuer}]\nbackends: [{name: vault}]\n")
    done = site.run("validate")
    assert done.returncode == 0, done.stderr
    assert site.run("run", "--once").returncode == 0
    [old] = aws.keys(user)
    assert site.run("rotate", name).returncode == 0
    site.run("run", "--once", at=later(hours=3))
    assert aws.keys(user)[old] == "Inactive" and site.stages(name)[1] == "disabled"
    healthy.unlink()
    site.run("run", "--once", at=later(hours=5))
    assert aws.keys(user)[old] == "Active" and site.stages(name)[1] == "previous"
    healthy.touch()
    site.run("run", "--once", at=later(days=4))
    assert aws.keys(user)[old] == "Active", "it stays until a person has looked"
    done = site.run("status", name)
    assert done.returncode == 0 and "switched on again" in site.run("explain", name).stdout
    assert site.run("resume", name, at=later(days=4)).returncode == 0
    site.run("run", "--once", at=later(days=4, minutes=1))
    assert aws.keys(user)[old] == "Inactive"
    done = site.run("run", "--once", at=later(days=6))
    assert done.returncode == 0, done.stderr
    assert old not in aws.keys(user) and site.stages(name)[1] == "retired"
    steps = [(entry["kind"], entry["step"]) for entry in history(site, name)]
    for step in ("disable", "enable", "revoke", "prove-refused"):
        assert ("step.succeeded", step) in steps, steps


def test_a_restored_state_revokes_nothing_until_it_is_accepted(site, bao, aws):
    """Yesterday's state is put back: the keys made since then are found, reported and left alone."""
    user = f"u{uuid.uuid4().hex[:8]}"
    aws.add_user(user)
    name = f"cloud/{user}"
    site.policy("p", f"secret: {name}\nissuer: iam\nissue: {{user: {user}}}\nlifetime: 90d\nrotate: {{every: 60d}}\n"
                     "grace: 2h\nverify: [{type: issuer}]\n"
                     "backends: [{name: vault}, {name: bao, format: json}, {name: aws}]\n")
    assert site.run("run", "--once").returncode == 0
    assert site.run("rotate", name).returncode == 0
    site.keep_state()
    site.run("run", "--once", at=later(hours=3))
    assert site.stages(name)[1] == "retired"
    assert site.run("rotate", name, at=later(hours=3)).returncode == 0
    serving = json.loads(site.vault_value(name))
    alive = aws.keys(user)
    assert site.stages(name) == {1: "retired", 2: "previous", 3: "current"} and len(alive) == 2
    site.put_state_back()

    def untouched():
        assert aws.keys(user) == alive
        assert json.loads(site.vault_value(name)) == serving
        assert bao.value(name, "accessKeyId") == serving["accessKeyId"]
        assert json.loads(aws.value(name)) == serving
    done = site.run("run", "--once", at=later(hours=4))
    assert "ahead of the state" in done.stderr, done.stderr
    untouched()
    assert gates(site, name, at=later(hours=4))["state-newest"] == "blocked"
    assert site.run("rotate", name, at=later(hours=4)).returncode != 0
    for days in (1, 30):
        site.run("run", "--once", at=later(days=days))
        untouched()
    done = site.run("adopt", "--restored", at=later(days=30))
    assert done.returncode == 0 and "generation 2" in done.stderr, (done.returncode, done.stdout, done.stderr)
    untouched()
    # What was served all the while is the current version now, and the one before it gets its grace anew.
    versions = {version["number"]: version for version in site.status(name)["versions"]}
    assert versions[3]["stage"] == "current" and versions[3]["keyId"] == serving["accessKeyId"]
    assert versions[2]["stage"] == "previous"
    done = site.run("run", "--once", at=later(days=30, minutes=1))
    assert done.returncode == 0, done.stderr
    untouched()
    assert site.stages(name)[1] == "retired"
    done = site.run("run", "--once", at=later(days=30, hours=3))
    assert done.returncode == 0, done.stderr
    assert site.stages(name) == {1: "retired", 2: "retired", 3: "previous", 4: "current"}
    fresh = json.loads(site.vault_value(name))
    assert aws.accepts(fresh["accessKeyId"], fresh["secretAccessKey"]) and json.loads(aws.value(name)) == fresh
    assert serving["accessKeyId"] in aws.keys(user)
    done = site.run("run", "--once", at=later(days=30, hours=6))
    assert done.returncode == 0, done.stderr
    assert list(aws.keys(user)) == [fresh["accessKeyId"]]
