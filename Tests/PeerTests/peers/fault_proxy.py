"""A proxy before a real server, which answers in its place, or cuts the answer, as a test asks.

A rule matches requests by a word in the request line, the headers or the body, and is used up after some of them.
"""
import http.client
import socket
import struct
import subprocess
import threading
import time

from .listener import Listener, reply


class Rule:
    def __init__(self, kind, word=b"", times=1_000_000, skip=0, headers=None):
        self.kind, self.word, self.times, self.skip, self.headers = kind, word, times, skip, headers or {}
        self.hits = 0


class Dropped(Exception):
    """Raised by the hook `before`: the request goes no further."""


class FaultProxy:
    def __init__(self, upstream_port, certificate=None):
        self.upstream = upstream_port
        self.rules = []
        self.lock = threading.Lock()
        self.requests = 0
        self.before = None  # called with the number of each request before it is passed on; may raise Dropped
        self.after = None  # called with it when the server has answered, before the answer goes back
        self.record = None  # called with method, path, headers and body of each request
        self.more_headers = {}  # added to every answer, and taken off every request
        self.in_flight = 0

        self.listener = Listener(self.serve, certificate)
        self.port, self.address = self.listener.port, self.listener.address

    def serve(self, handler, body):
        with self.lock:
            self.in_flight += 1
        try:
            self.handle(handler, body)
        except Dropped:
            self.reset(handler)
        finally:
            with self.lock:
                self.in_flight -= 1

    def stop(self):
        self.listener.stop()

    def fail(self, kind, word="", times=1_000_000, skip=0, headers=None):
        with self.lock:
            self.rules.append(Rule(kind, word.encode(), times, skip, headers))
            return self.rules[-1]

    def heal(self):
        with self.lock:
            self.rules.clear()

    def rule(self, text):
        with self.lock:
            for rule in self.rules:
                if rule.word in text and rule.times > 0:
                    if rule.skip > 0:
                        rule.skip -= 1
                        continue
                    rule.times -= 1
                    rule.hits += 1
                    return rule
        return None

    def handle(self, handler, body):
        with self.lock:
            self.requests += 1
            number = self.requests
        if self.record:
            self.record(handler.command, handler.path, list(handler.headers.items()), body)
        if self.before:
            self.before(number)
        head = f"{handler.command} {handler.path}\n{handler.headers}".encode()
        rule = self.rule(head + body)
        kind = rule.kind if rule else None
        if kind == "reset":
            return self.reset(handler)
        if kind == "timeout":
            time.sleep(3)
            return self.reset(handler)
        if isinstance(kind, tuple):  # ("echo", status): everything that was sent comes back
            return self.answer(handler, kind[1], {"Content-Type": "application/json"}, head + body)
        if isinstance(kind, int):
            return self.answer(handler, kind, rule.headers, b'{"errors":["made up"],"message":"made up"}')
        status, headers, content = self.ask(handler, body)
        if self.after:
            self.after(number)
        if kind == "lost":  # carried out, and the answer never arrives
            return self.reset(handler)
        if kind == "truncated":
            handler.send_response(status)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(content) + 500))
            handler.end_headers()
            handler.wfile.write(content[: len(content) // 2])
            handler.wfile.flush()
            return self.reset(handler, hard=False)
        if kind == "oversized":
            return self.answer(handler, status, {}, b'{"pad":"' + b"x" * (20 * 1024 * 1024) + b'"}')
        if kind == "garbage":
            return self.answer(handler, status, {}, b"<html>\x00\xff it is not what was asked for")
        if kind == "empty":
            return self.answer(handler, status, {}, b"")
        self.answer(handler, status, {**headers, **self.more_headers}, content)

    def ask(self, handler, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=60)
        headers = {name: value for name, value in handler.headers.items()
                   if name.lower() != "connection" and name not in self.more_headers}
        connection.request(handler.command, handler.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        kept = {name: value for name, value in answer.getheaders()
                if name.lower() not in ("connection", "transfer-encoding", "content-length", "server", "date")}
        connection.close()
        return answer.status, kept, content

    @staticmethod
    def answer(handler, status, headers, content):
        try:
            reply(handler, status, content, kind=None, headers=headers)
        except OSError:
            handler.close_connection = True

    @staticmethod
    def reset(handler, hard=True):
        handler.close_connection = True
        if hard:
            try:
                handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:
                pass
        handler.connection.close()


def certificate(folder):
    """A certificate that nobody trusts, for 127.0.0.1."""
    paths = folder / "untrusted.pem", folder / "untrusted-key.pem"
    if not paths[0].exists():
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-out", str(paths[0]),
             "-keyout", str(paths[1])], check=True, capture_output=True)
    return str(paths[0]), str(paths[1])
