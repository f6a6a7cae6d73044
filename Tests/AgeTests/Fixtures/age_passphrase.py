"""Runs the stock `age` with a passphrase, which it takes from a terminal alone.

    age_passphrase.py PASSPHRASE age -p -o OUTPUT INPUT
    age_passphrase.py PASSPHRASE age -d -o OUTPUT INPUT
"""

import os
import pty
import sys

passphrase, command = sys.argv[1], sys.argv[2:]
process, terminal = pty.fork()
if process == 0:
    os.execvp(command[0], command)
seen = b""
while True:
    try:
        got = os.read(terminal, 1024)
    except OSError:
        # The other side of the terminal is gone.
        break
    if not got:
        break
    seen += got
    if seen.rstrip().endswith(b":") and b"passphrase" in seen.lower():
        seen = b""
        os.write(terminal, passphrase.encode() + b"\n")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
