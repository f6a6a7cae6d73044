"""Ninety simulated days of `run --once`, twice a day, over twenty policies.

An independent model says at each pass what must have happened; the vendors' own clients read what consumers get.
"""
import dataclasses
import datetime
import json
import os

import croniter
import pytest

from conftest import references, systems
from peers.aws import AWS
from programs import CommandIssuer
from workspace import Workspace

DAY = datetime.timedelta(days=1)
HOUR = datetime.timedelta(hours=1)
# A pass takes a while, and times in answers are whole seconds.
SLACK = datetime.timedelta(minutes=1)
START = datetime.datetime(2027, 1, 4, 5, 0, 0, tzinfo=datetime.timezone.utc)
DAYS = int(os.environ.get("KEYTURN_TEST_DAYS", "90"))


@dataclasses.dataclass
class Case:
    name: str
    issuer: str
    backends: tuple
    every: int = 0  # days
    cron: str = ""
    lifetime: int = 30
    renew: int = 5
    grace: int = 36  # hours
    observe: int = 0  # hours
    issue: str = ""
    jitter: int = 0  # hours
    extra: str = ""
    # The model.
    number: int = 0
    promoted: datetime.datetime = None
    leaving: dict = dataclasses.field(default_factory=dict)

    def yaml(self):
        recurrence = f"cron: '{self.cron}'" if self.cron else f"every: {self.every}d"
        jitter = f", jitter: {self.jitter}h" if self.jitter else ""
        retire = f"retire: {{observe: {self.observe}h}}\n" if self.observe else ""
        backends = ", ".join(
            "{name: bao, format: json}" if name == "bao" and self.issuer == "iam" else f"{{name: {name}}}"
            for name in self.backends)
        return (f"secret: {self.name}\nissuer: {self.issuer}\nlifetime: {self.lifetime}d\n{self.issue}"
                f"rotate: {{{recurrence}, renewBefore: {self.renew}d, timezone: UTC{jitter}}}\n"
                f"grace: {self.grace}h\n{retire}{self.extra}backends: [{backends}]\n")

    def due(self):
        """The span in which the policy's words put the next rotation."""
        if self.cron:
            recurrence = croniter.croniter(self.cron, self.promoted).get_next(datetime.datetime)
        else:
            recurrence = self.promoted + self.every * DAY
        latest = min(recurrence, self.promoted + (self.lifetime - self.renew) * DAY)
        return latest - self.jitter * HOUR, latest


def cases(users):
    many = ("vault", "bao", "aws")
    return [
        Case("rand/plain", "passwords", many, every=7),
        Case("rand/hex", "passwords", many, every=3, issue="issue: {format: hex, length: 40}\n", grace=12),
        Case("rand/uuid", "passwords", ("bao", "aws"), every=10, issue="issue: {format: uuid}\n"),
        Case("rand/ed25519", "passwords", ("vault", "bao"), every=14, issue="issue: {format: ed25519}\n"),
        Case("rand/p256", "passwords", ("vault", "aws"), every=20, issue="issue: {format: p256}\n", grace=72),
        Case("rand/renewal", "passwords", many, every=365, lifetime=9, renew=2),
        Case("rand/weekly", "passwords", many, cron="0 3 * * 1", lifetime=30, renew=3),
        Case("rand/monthly", "passwords", ("vault",), cron="30 2 1,15 * *", lifetime=40, renew=3),
        Case("rand/jitter", "passwords", ("vault", "bao"), every=6, jitter=30),
        Case("rand/best-effort", "passwords", ("vault", "aws"), every=8),
        Case(f"iam/{users[0]}", "iam", many, every=7, issue=f"issue: {{user: {users[0]}}}\n"),
        Case(f"iam/{users[1]}", "iam", ("bao",), every=12, issue=f"issue: {{user: {users[1]}}}\n", observe=24),
        Case(f"iam/{users[2]}", "iam", ("aws", "vault"), every=365, lifetime=10, renew=3,
             issue=f"issue: {{user: {users[2]}}}\n", grace=24),
        Case(f"iam/{users[3]}", "iam", many, cron="0 0 * * 3", issue=f"issue: {{user: {users[3]}}}\n",
             extra="verify: [{type: issuer}]\n"),
        Case("cmd/a", "program", many, every=5, extra="verify: [{type: issuer}]\n"),
        Case("cmd/b", "program", ("bao", "aws"), every=9, observe=48),
        Case("cmd/c", "program", ("vault",), every=2, grace=13),
        Case("cmd/d", "program", many, every=365, lifetime=6, renew=1, grace=12),
        Case("cmd/e", "program", ("vault", "bao"), cron="15 4 */4 * *"),
        Case("cmd/f", "program", ("aws",), every=11, jitter=20),
    ]


class Site:
    def __init__(self, folder, bao):
        self.clock = folder / "clock"
        self.set_clock(START)
        # The emulator lives in the simulated time too, since it dates keys.
        self.aws = AWS(folder, self.clock)
        self.bao = bao
        self.program = CommandIssuer(folder / "program")
        self.space = Workspace(folder / "site")
        parts = systems(bao, self.aws)
        parts["issuers"] += (f"program: {{type: command, run: ['{self.program.program}'], disables: true}}\n")
        self.space.configure(**parts)
        self.space.environment = references(self.aws)

    def set_clock(self, now):
        self.clock.write_text(f"@{now:%Y-%m-%d %H:%M:%S}\n")

    def read(self, case, backend, use_command):
        if backend == "vault":
            return self.space.vault_value(case.name)
        if backend == "aws":
            return self.aws.value(case.name)
        if case.issuer == "iam":
            _, answer = self.bao.call("GET", f"secret/data/{case.name}")
            return json.dumps(answer["data"]["data"])
        if use_command:
            return self.bao.cli("kv", "get", "-mount=secret", "-field=value", case.name)
        return self.bao.value(case.name)

    def works(self, case, value):
        if case.issuer == "iam":
            key = json.loads(value)
            return self.aws.accepts(key["accessKeyId"], key["secretAccessKey"])
        return self.program.accepts(value) if case.issuer == "program" else bool(value)


@pytest.mark.timeout(2400)
def test_ninety_days(tmp_path, bao):
    site = Site(tmp_path, bao)
    try:
        travel(site)
    finally:
        site.aws.stop()


def travel(site):
    users = [f"traveller-{index}" for index in range(4)]
    for user in users:
        site.aws.add_user(user)
    policies = cases(users)
    assert len(policies) == 20
    for case in policies:
        site.space.policy(case.name.replace("/", "-"), case.yaml())
    counts = {"passes": 0, "reads": 0, "rotations": 0, "retired": 0}
    for index in range(DAYS * 2):
        now = START + index * DAY / 2
        site.set_clock(now)
        done = site.space.run("run", "--once", at=now)
        assert done.returncode == 0, (now, done.stdout, done.stderr)
        counts["passes"] += 1
        status = site.space.status(at=now)
        for case in policies:
            check(site, case, status[case.name], now, counts, index)
        nothing_unknown(site, policies, status, users)
    assert counts["rotations"] > DAYS * 2
    print(counts)


def check(site, case, entry, now, counts, index):
    stages = {version["number"]: version["stage"] for version in entry["versions"]}
    current = [number for number, stage in stages.items() if stage == "current"]
    assert len(current) == 1 and "pending" not in stages.values(), (case.name, now, stages)
    number = current[0]
    promoted = next(
        datetime.datetime.fromisoformat(version["promotedAt"]) for version in entry["versions"]
        if version["stage"] == "current")
    if number != case.number:
        assert now <= promoted <= now + HOUR / 12, (case.name, promoted, now)
    if case.number == 0:
        assert number == 1
        case.number, case.promoted = 1, promoted
    elif number != case.number:
        assert number == case.number + 1, (case.name, now, stages)
        assert case.due()[0] <= promoted + SLACK, f"{case.name} rotated at {now}, before {case.due()}"
        case.leaving[case.number] = promoted
        case.number, case.promoted = number, promoted
        counts["rotations"] += 1
    else:
        assert case.due()[1] > now - SLACK, f"{case.name} did not rotate at {now}, though due by {case.due()[1]}"

    for old, since in list(case.leaving.items()):
        stage = stages.get(old, "retired")
        ends = since + case.grace * HOUR
        if now < ends - SLACK:
            assert stage == "previous", (case.name, old, stage, now, ends)
        elif case.observe and now >= ends + SLACK:
            if stage == "disabled":
                assert now < ends + case.observe * HOUR + DAY, (case.name, old, now)
            else:
                assert stage == "retired" and now >= ends + case.observe * HOUR, (case.name, old, stage, now, ends)
        elif now >= ends + SLACK:
            assert stage == "retired", (case.name, old, stage, now, ends)
        if stage == "retired":
            del case.leaving[old]
            counts["retired"] += 1

    values = set()
    for backend in case.backends:
        value = site.read(case, backend, use_command=index % 10 == 0)
        assert value, (case.name, backend, now)
        values.add(json.dumps(json.loads(value), sort_keys=True) if case.issuer == "iam" else value.strip("\n"))
        counts["reads"] += 1
    assert len(values) == 1, (case.name, now, "backends disagree")
    assert site.works(case, value), (case.name, now, "the consumer's key is refused")


def nothing_unknown(site, policies, status, users):
    """The issuers hold no key that the state does not know as live, and every key that the state calls live."""
    for issuer in ("iam", "program"):
        live = {version["keyId"] for case in policies if case.issuer == issuer
                for version in status[case.name]["versions"] if version["stage"] not in ("retired", "abandoned")}
        held = ({key for user in users for key in site.aws.keys(user)} if issuer == "iam"
                else set(site.program.keys()))
        assert held == live, (issuer, held - live, live - held)
