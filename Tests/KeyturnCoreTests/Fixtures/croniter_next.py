"""Answers what croniter says is the next run, as a second opinion for the tests of cron expressions.

Reads cases on standard input, one JSON object a line:
    {"expression": "0 3 * * 1", "zone": "Europe/Oslo", "after": 1700000000}
and writes, for each, the next run as seconds since 1970, or null when croniter finds none, or what croniter refuses:
    {"next": 1700445600}
    {"error": "..."}

Needs croniter (pip install croniter) and Python 3.9 or newer.
"""

import datetime
import json
import sys
import zoneinfo

try:
    from croniter import CroniterBadDateError, CroniterError, croniter
except ImportError:
    sys.exit("croniter is not installed for " + sys.executable + "; run: " + sys.executable + " -m pip install croniter")


def answer(case):
    zone = zoneinfo.ZoneInfo(case["zone"])
    start = datetime.datetime.fromtimestamp(case["after"], tz=zone)
    try:
        # implement_cron_bug: a day field that begins with * is joined by AND, as Vixie cron does.
        run = croniter(case["expression"], start, implement_cron_bug=True).get_next(datetime.datetime)
    except CroniterBadDateError:
        return {"next": None}
    except CroniterError as error:
        return {"error": str(error)}
    return {"next": int(run.timestamp())}


for line in sys.stdin:
    if line.strip():
        print(json.dumps(answer(json.loads(line))))
