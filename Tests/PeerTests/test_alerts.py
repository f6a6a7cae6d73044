"""Alerts: signed as Standard Webhooks asks for, told once, delivered at least once, and without a value in them."""
import base64
import datetime
import json
import os
import signal
import time

import pytest
import standardwebhooks

from receiver import Receiver
from scripted import Daemon, Scripted, ScriptedIssuer, until

START = datetime.datetime(2027, 3, 1, 12, 0, 0, tzinfo=datetime.timezone.utc)
DAY = datetime.timedelta(days=1)
HOUR = datetime.timedelta(hours=1)
KEY = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NEXT_KEY = "whsec_" + base64.b64encode(bytes(range(100, 124))).decode()
POLICY = """\
secret: team/key
owner: the-oncall
issuer: program
lifetime: 30d
rotate: {every: 20d, renewBefore: 5d}
grace: 2h
verify: [{type: issuer}]
backends: [{name: vault}]
"""


@pytest.fixture
def receiver():
    receiver = Receiver().start()
    yield receiver
    receiver.stop()


@pytest.fixture
def site(workspace, receiver):
    workspace.issuer = ScriptedIssuer(workspace.folder / "issuer")
    workspace.environment = {"HOOK_KEY": KEY, "NEXT_HOOK_KEY": NEXT_KEY}
    workspace.receiver = receiver
    configure(workspace)
    workspace.policy("key", POLICY)
    return workspace


def configure(space, alerts=None, kind="listable"):
    space.configure(
        issuers=f"program: {{type: command, run: [{space.issuer.program}], kind: {kind}, timeout: 20s}}\n",
        alerts=alerts or f"ops: {{type: webhook, url: '{space.receiver.url}', signingKey: {{env: HOOK_KEY}}}}\n")


def once(space, at, codes=(0,), wait="0"):
    done = space.run("run", "--once", "--wait", wait, at=at)
    assert done.returncode in codes, (done.returncode, done.stdout, done.stderr)
    return done


def events(space, kind):
    return [event for event in space.receiver.accepted() if event["type"] == f"keyturn.{kind}"]


# --- the form

def test_a_webhook_is_signed(site):
    site.issuer.fail("create", print=json.dumps({"error": {"code": "unavailable"}}))
    done = site.run("run", "--once", "--wait", "0")
    assert done.returncode == 1, done.stderr
    message = site.receiver.next()
    headers = message["headers"]
    assert headers["content-type"] == "application/json"
    event = standardwebhooks.Webhook(KEY).verify(message["body"], headers)
    assert event == json.loads(message["body"])
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    assert headers["webhook-id"] == event["data"]["id"]
    for wrong in ({**headers, "webhook-id": "msg_other"},
                  {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}):
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            standardwebhooks.Webhook(KEY).verify(message["body"], wrong)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(NEXT_KEY).verify(message["body"], headers)


def test_two_keys_while_a_receiver_changes_over(site):
    configure(site, f"ops: {{type: webhook, url: '{site.receiver.url}', signingKey: {{env: HOOK_KEY}}, "
                    "nextSigningKey: {env: NEXT_HOOK_KEY}}\n")
    site.issuer.fail("create", print=json.dumps({"error": {"code": "unavailable"}}))
    assert site.run("run", "--once", "--wait", "0").returncode == 1
    message = site.receiver.next()
    for key in (KEY, NEXT_KEY):
        standardwebhooks.Webhook(key).verify(message["body"], message["headers"])
    assert len(message["headers"]["webhook-signature"].split()) == 2


def test_the_payload(site):
    site.issuer.fail("create", print=json.dumps({"error": {"code": "unavailable", "message": "leak-of-a-value"}}))
    once(site, START, (1,))
    event = json.loads(site.receiver.next()["body"])
    assert set(event) == {"type", "timestamp", "data"}
    assert event["type"] == "keyturn.rotation.failed"
    assert datetime.datetime.fromisoformat(event["timestamp"]) - START < HOUR
    data = event["data"]
    assert (data["secret"], data["owner"], data["version"], data["step"], data["reason"], data["severity"]) == (
        "team/key", "the-oncall", 1, "issue", "unavailable", "error")
    assert data["summary"] and "leak-of-a-value" not in json.dumps(event)


def test_a_wrong_signing_key(site):
    site.environment["HOOK_KEY"] = "not a key"
    site.issuer.fail("create", print=json.dumps({"error": {"code": "unavailable"}}))
    done = once(site, START, (1,))
    assert "alert not delivered" in done.stderr and "whsec_" in done.stderr and "not a key" not in done.stderr
    assert site.receiver.seen == [], "an alert went out unsigned"


# --- the events

def test_failed_once_and_recovered(site):
    site.issuer.fail("create", times=6, print=json.dumps({"error": {"code": "unavailable"}}))
    at = START
    for _ in range(5):
        once(site, at, (1,))
        at += HOUR
    assert site.receiver.types() == ["keyturn.rotation.failed"], "told once, however often it fails"
    for _ in range(3):
        at += HOUR
        if once(site, at, (0, 1)).returncode == 0:
            break
    assert site.stages("team/key", at=at) == {1: "current"}
    assert site.receiver.types() == ["keyturn.rotation.failed", "keyturn.recovered"]
    [recovered] = events(site, "recovered")
    assert recovered["data"]["resolves"] == "rotation.failed" and recovered["data"]["severity"] == "info"
    # The next failure is a new one.
    site.issuer.fail("create", print=json.dumps({"error": {"code": "unavailable"}}))
    once(site, START + 21 * DAY, (1,))
    assert len(events(site, "rotation.failed")) == 2
    assert len({event["data"]["id"] for event in site.receiver.accepted()}) == 3


def test_overdue_expired_and_recovered(site):
    once(site, START)
    site.issuer.fail("create", times=50, print=json.dumps({"error": {"code": "unavailable"}}))
    told = []
    for days in (20.1, 21, 22, 24, 26, 29, 29.99, 30.01, 31, 32):
        once(site, START + days * DAY, (1,))
        told.append((days, site.receiver.types()))
    assert told[0][1] == ["keyturn.rotation.failed"]
    first = {kind: next(days for days, types in told if f"keyturn.{kind}" in types)
             for kind in ("rotation.overdue", "key.expired")}
    assert 20.1 < first["rotation.overdue"] < 26, first
    assert first["key.expired"] == 30.01
    assert sorted(told[-1][1]) == ["keyturn.key.expired", "keyturn.rotation.failed", "keyturn.rotation.overdue"]
    assert events(site, "key.expired")[0]["data"]["severity"] == "critical"
    site.issuer.heal()
    once(site, START + 33 * DAY)
    assert site.stages("team/key", at=START + 33 * DAY)[2] == "current"
    assert {event["data"]["resolves"] for event in events(site, "recovered")} == {
        "key.expired", "rotation.failed", "rotation.overdue"}


def test_a_paused_secret_is_still_watched(site):
    once(site, START)
    assert site.run("pause", "team/key", at=START + DAY).returncode == 0
    for days in (20.1, 22, 26, 31, 32):
        once(site, START + days * DAY)
    assert site.receiver.types() == ["keyturn.rotation.overdue", "keyturn.key.expired"]
    assert len(site.issuer.keys()) == 1


def test_retire_blocked(site):
    once(site, START)
    assert site.run("rotate", "team/key", at=START).returncode == 0
    site.issuer.fail("revoke", times=4, print=json.dumps({"error": {"code": "unavailable"}}))
    for hours in (3, 4, 5, 6):
        once(site, START + hours * HOUR, (1,))
    [blocked] = events(site, "retire.blocked")
    data = blocked["data"]
    assert (data["version"], data["step"], data["severity"]) == (1, "revoke", "warning")
    once(site, START + 8 * HOUR)
    assert site.stages("team/key", at=START + 8 * HOUR) == {1: "retired", 2: "current"}
    assert [event["data"]["resolves"] for event in events(site, "recovered")] == ["retire.blocked"]
    assert site.receiver.types() == ["keyturn.retire.blocked", "keyturn.recovered"]


def test_a_backend_without_the_new_value_blocks_the_retirement(site):
    once(site, START)
    assert site.run("rotate", "team/key", at=START).returncode == 0
    (site.vault / "team/key/current").unlink()
    for hours in (3, 4, 6):
        once(site, START + hours * HOUR, (0, 1))
    assert site.stages("team/key", at=START)[1] == "previous", "a consumer would be left without a key"
    [blocked] = events(site, "retire.blocked")
    assert blocked["data"]["reason"] == "backends-confirmed" and "vault" in blocked["data"]["summary"]
    os.symlink("2.age", site.vault / "team/key/current")
    once(site, START + 12 * HOUR)
    assert site.stages("team/key", at=START + 12 * HOUR)[1] == "retired"
    assert [event["data"]["resolves"] for event in events(site, "recovered")] == ["retire.blocked"]


def test_a_possible_orphan(site):
    """The program dies after it made a key, and nobody can list what it made."""
    configure(site, kind="unlistable")
    site.issuer.fail("create", after=True, signal=signal.SIGKILL)
    once(site, START, (1,))
    at = START + HOUR
    once(site, at)
    assert site.stages("team/key", at=at) == {1: "current"}
    [orphan] = events(site, "orphan.possible")
    assert "possibly orphaned until 2027-03-31T12:" in orphan["data"]["summary"]
    assert "keyturn orphans list" in orphan["data"]["advice"]
    once(site, at + HOUR)
    assert len(events(site, "orphan.possible")) == 1
    [listed] = site.json("orphans", "list", at=at)["orphans"]
    assert (listed["secret"], listed["version"], listed["state"]) == ("team/key", 1, "possible")
    assert len(site.issuer.keys()) == 2, "the lost one and the one in use; neither is touched"
    assert site.issuer.accepts(site.vault_value("team/key"))
    # When its life is over it is no orphan any more.
    assert site.json("orphans", "list", at=START + 31 * DAY)["orphans"] == []


def test_a_listable_orphan_is_revoked(site):
    site.issuer.fail("create", after=True, signal=signal.SIGKILL)
    once(site, START, (1,))
    assert len(site.issuer.keys()) == 1
    once(site, START + HOUR)
    assert len(site.issuer.keys()) == 1 and site.issuer.accepts(site.vault_value("team/key"))
    assert events(site, "orphan.possible") == []


def test_quarantined(site):
    site.issuer.fail("create", print=json.dumps({"error": {"code": "forbidden"}}))
    once(site, START, (3,))
    for hours in (1, 2):
        once(site, START + hours * HOUR, (3,))
    assert sorted(site.receiver.types()) == ["keyturn.rotation.failed", "keyturn.secret.quarantined"]
    [event] = events(site, "secret.quarantined")
    assert event["data"]["severity"] == "critical"
    assert len(site.issuer.questions("create")) == 1, "a quarantined secret is not tried again"
    assert site.run("resume", "team/key", at=START + 3 * HOUR).returncode == 0
    once(site, START + 4 * HOUR)
    assert {event["data"]["resolves"] for event in events(site, "recovered")} == {
        "rotation.failed", "secret.quarantined"}


# --- delivery

def test_a_receiver_that_is_away(site):
    site.receiver.stop()
    site.issuer.fail("create", print=json.dumps({"error": {"code": "unavailable"}}))
    done = once(site, START, (1,))
    assert "alert not delivered" in done.stderr
    for hours in (1, 5, 20, 40):
        once(site, START + hours * HOUR)
    site.receiver.start()
    once(site, START + 50 * HOUR)
    assert site.receiver.types() == ["keyturn.rotation.failed", "keyturn.recovered"], "in order"
    failed = site.receiver.accepted()[0]
    assert datetime.datetime.fromisoformat(failed["timestamp"]) - START < HOUR, "the time at which it happened"
    message = site.receiver.seen[0]
    sent = datetime.datetime.fromtimestamp(int(message["headers"]["webhook-timestamp"]), datetime.timezone.utc)
    assert datetime.timedelta() <= sent - (START + 50 * HOUR) < HOUR, "the time at which it was sent"
    once(site, START + 60 * HOUR)
    assert len(site.receiver.seen) == 2, "once it has arrived it is not sent again"


@pytest.mark.parametrize("answer", [429, 500, 503])
def test_a_receiver_that_is_in_trouble(site, answer):
    site.receiver.answers = [answer, answer]
    site.issuer.fail("create", print=json.dumps({"error": {"code": "unavailable"}}))
    once(site, START, (1,))
    assert len(site.receiver.seen) == 1
    for hours in (1, 2, 3):
        once(site, START + hours * HOUR)
    assert [message["answer"] for message in site.receiver.seen] == [answer, answer, 204, 204]
    first = site.receiver.seen[:3]
    assert len({message["headers"]["webhook-id"] for message in first}) == 1, "a repeat is known by its id"
    assert len({message["body"] for message in first}) == 1
    assert site.receiver.types() == ["keyturn.rotation.failed", "keyturn.recovered"]


def test_an_answer_that_got_lost(site):
    """The receiver has it, and Keyturn does not know: it comes again with the same id."""
    configure(site, f"ops: {{type: webhook, url: '{site.receiver.url}', signingKey: {{env: HOOK_KEY}}, timeout: 1s}}\n")
    site.receiver.gate.clear()
    site.issuer.fail("create", print=json.dumps({"error": {"code": "unavailable"}}))
    once(site, START, (1,))
    site.receiver.gate.set()
    once(site, START + HOUR)
    ids = [message["headers"]["webhook-id"] for message in site.receiver.seen]
    assert ids[0] == ids[1] and len(set(ids)) == 2


def test_an_alert_is_given_up_in_the_end(site):
    site.receiver.answers = [404] * 4
    site.issuer.fail("create", print=json.dumps({"error": {"code": "unavailable"}}))
    once(site, START, (1,))
    once(site, START + 80 * HOUR)
    history = [json.loads(line) for line in site.run("history", "--format", "json").stdout.splitlines()]
    assert [entry["detail"]["alert"] for entry in history if entry["kind"] == "alert.given-up"] == ["rotation.failed"]


def test_a_command_sink(site):
    sink = Scripted(site.folder / "sink")
    configure(site, f"ops: {{type: command, run: [{sink.program}]}}\n")
    sink.fail("keyturn.rotation.failed", times=2, status=1)
    site.issuer.fail("create", print=json.dumps({"error": {"code": "unavailable"}}))
    once(site, START, (1,))
    for hours in (1, 2, 3):
        once(site, START + hours * HOUR)
    told = sink.questions()
    assert [event["type"] for event in told] == 3 * ["keyturn.rotation.failed"] + ["keyturn.recovered"]
    assert len({event["data"]["id"] for event in told[:3]}) == 1


@pytest.mark.parametrize("program", ["true", "false", "./absent"])
def test_a_sink_that_does_not_read(site, program):
    configure(site, f"ops: {{type: command, run: ['{program}']}}\n")
    site.issuer.fail("create", print=json.dumps({"error": {"code": "unavailable"}}))
    done = once(site, START, (1,))
    assert ("alert not delivered" in done.stderr) == (program != "true")
    once(site, START + HOUR)


def test_policies_choose_their_sinks(site):
    one, two = (Scripted(site.folder / name) for name in ("one", "two"))
    configure(site, f"one: {{type: command, run: [{one.program}]}}\ntwo: {{type: command, run: [{two.program}]}}\n")
    site.policy("key", POLICY + "alerts: [two]\n")
    site.policy("other", POLICY.replace("team/key", "team/other"))
    site.issuer.fail("create", times=2, print=json.dumps({"error": {"code": "unavailable"}}))
    once(site, START, (1,))
    assert [event["data"]["secret"] for event in one.questions()] == ["team/other"]
    assert sorted(event["data"]["secret"] for event in two.questions()) == ["team/key", "team/other"]


def test_no_value_in_any_alert(site):
    """Every kind of alert that the other tests bring about, searched for every value that there was."""
    once(site, START)
    assert site.run("rotate", "team/key", at=START).returncode == 0
    values = [key["value"] for key in site.issuer.keys().values()]
    leak = json.dumps({"error": {"code": "unavailable", "message": values[1]}, "value": values[1]})
    site.issuer.fail("revoke", times=3, print=leak)
    site.issuer.fail("check", times=3, print=leak)
    for hours in (3, 4, 5, 6, 7, 9, 12):
        once(site, START + hours * HOUR, (0, 1, 3))
    site.issuer.fail("create", times=2, print=values[1])
    for days in (21, 22, 26, 31, 32):
        once(site, START + days * DAY, (0, 1, 3))
    values += [key["value"] for key in site.issuer.keys().values()]
    bodies = b"".join(message["body"] + repr(message["headers"]).encode() for message in site.receiver.seen)
    assert len(site.receiver.seen) >= 3
    for value in values:
        assert value.encode() not in bodies
        for path in (site.folder / "var").rglob("*"):
            if path.is_file():
                assert value.encode() not in path.read_bytes(), path


def test_a_slow_sink_delays_no_rotation(site):
    """One receiver answers nothing for as long as it is let: rotations and the other sink go on."""
    other = Scripted(site.folder / "other")
    configure(site, f"slow: {{type: webhook, url: '{site.receiver.url}', timeout: 60s}}\n"
                    f"quick: {{type: command, run: [{other.program}]}}\n")
    site.receiver.gate.clear()
    site.policy("broken", POLICY.replace("team/key", "team/broken").replace("every: 20d", "every: 19d"))
    site.issuer.fail("create", times=1, print=json.dumps({"error": {"code": "forbidden"}}))
    daemon = Daemon(site)
    try:
        site.receiver.next()
        until(lambda: other.questions("keyturn.secret.quarantined"), "the other sink's alert")
        # While it hangs, a new secret is made, and the daemon hears of new policies.
        site.policy("more", POLICY.replace("team/key", "team/more"))
        daemon.signal(signal.SIGHUP)
        until(lambda: site.status().get("team/more", {}).get("versions"), "a rotation beside the slow sink")
        daemon.wait_for("new version is current", 2)
        assert site.receiver.accepted() and len(site.receiver.seen) == 1
    finally:
        code, seconds = daemon.stop()
    assert code == 0 and seconds < 12, "the slow sink holds up the end"
