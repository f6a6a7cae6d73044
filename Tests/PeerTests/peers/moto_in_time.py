"""moto whose keys and versions are dated by a clock that a test sets: the file CLOCK holds `@YYYY-MM-DD HH:MM:SS`, UTC.

The same could be had by preloading a library that fakes the time for the whole process; it makes each request five times
as slow.

    python moto_in_time.py CLOCK [MOTO ARGUMENTS]
"""
import datetime
import pathlib
import sys

import moto.core.utils

CLOCK = pathlib.Path(sys.argv[1])


def utcnow():
    return datetime.datetime.strptime(CLOCK.read_text().strip(), "@%Y-%m-%d %H:%M:%S")


# Before the services bind it to a name of their own.
moto.core.utils.utcnow = utcnow

import moto.server  # noqa: E402

if __name__ == "__main__":
    moto.server.main(sys.argv[2:])
