"""Rotations that are killed at one request after the other, and what has to be true whatever the moment was."""
import threading
import time

from peers.fault_proxy import Dropped
from workspace import must, retire


def killed_at_each_request(space, proxy, name, moment, served, works):
    """Rotates `name` until a rotation has come to its end, each time with the process killed one request later: `before`
    the server carries the request out, or `after` it has. Yields the number of the request and the current value when a
    restart has brought the rotation to its end.

    `served` reads what consumers read at the store behind the proxy, and `works` says whether that gets them in."""
    number = killed = 0
    while True:
        number += 1
        retire(space)
        struck = kill_at(space, proxy, name, moment, number)
        # A consumer reads a key that works, whatever the moment was.
        value = served()
        assert value is not None and works(value), number
        done = space.run("run", "--once", "--wait", "60s")
        assert done.returncode == 0, (number, done.returncode, done.stderr)
        if not struck:
            break
        killed += 1
        status = space.status(name)
        assert status["rotation"] is None and not status["quarantined"], (number, status)
        current = space.vault_value(name)
        assert served() == current, number
        assert len([stage for stage in space.stages(name).values() if stage in ("current", "pending")]) == 1
        yield number, current
    assert killed > 8, killed


def kill_at(space, proxy, name, moment, number):
    """Whether the rotation made as many requests."""
    process = space.start("rotate", name, "--compromised", "--wait", "0", stderr=None)
    first, struck = proxy.requests, threading.Event()

    def passes(request):
        if request == first + number and process.poll() is None:
            process.kill()
            process.wait()
            struck.set()
            if moment == "before":
                raise Dropped
    setattr(proxy, moment, passes)
    process.wait(60)
    proxy.before = proxy.after = None
    while proxy.in_flight:
        time.sleep(0.01)
    return struck.is_set()


def must_be_settled(space):
    """The record is whole, and the issuer has no key that the state does not know."""
    must(space.run("audit", "verify"))
    assert space.json("orphans", "list")["orphans"] == []
