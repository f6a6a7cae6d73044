"""Momento as far as its public documents and protocol tell: keys of both generations, and caches that take them.

The account's API for keys and the HTTP API of caches answer over HTTP/1.1, `auth.Auth`, `token.Token` and `cache_client.Scs`
over gRPC, with the vendor's own stubs (`momento-wire-types`), so that the vendor's clients can speak to it. As a program it
serves until its standard input ends: see `main`.
"""
import base64
import http.server
import json
import secrets
import socket
import struct
import sys
import threading
import time
import urllib.parse
from concurrent import futures

import grpc
from momento_wire_types import (
    auth_pb2, auth_pb2_grpc, cacheclient_pb2, cacheclient_pb2_grpc, token_pb2, token_pb2_grpc)

CELL = "cell-1-eu-west-1-1.prod.a.momentohq.com"


def jwt(claims):
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
    head = part(b'{"alg":"EdDSA","typ":"JWT"}')
    return f"{head}.{part(json.dumps(claims).encode())}.{part(secrets.token_bytes(64))}"


def wrapped(key, endpoint=CELL):
    return base64.b64encode(json.dumps({"endpoint": endpoint, "api_key": key}).encode()).decode()


def unwrapped(text):
    return json.loads(base64.b64decode(text))["api_key"]


class Refusal(Exception):
    def __init__(self, code):
        self.code = code


class Momento:
    def __init__(self, now=time.time, per_second=None, certificate=None):
        """`certificate` has the paths of a certificate and its key, for gRPC over TLS."""
        self.now = now
        self.per_second = per_second
        self.lock = threading.Lock()
        self.operations = []  # when each operation on keys came in
        self.calls = []  # the names of gRPC calls
        self.metadata = []
        self.global_keys = {}
        self.cell_keys = {}
        self.caches = {"payments", "sessions"}
        # Role: whether it manages keys, and the caches that it may read.
        self.roles = {"operator": (True, {"payments", "sessions"}), "reader": (False, {"payments"}),
                      "blind": (False, set())}
        self.page_size = 100
        self.lose = set()  # names of gRPC calls that are carried out, and whose answer is lost
        self.hang = set()  # the same, but nothing ever comes
        self.unlisted = 0  # how many lists still leave out the newest key
        self.refuse = {}  # gRPC status codes by the name of the call
        self.admin_key = self.make_global("operator", "Keyturn's own", None)[0]
        self.admin_v1 = wrapped(self.make_cell("super-user", 10 ** 8)[0])
        self.http = Quiet(("127.0.0.1", 0), handler(self))
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.port = self.http.server_address[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.grpc = grpc.server(futures.ThreadPoolExecutor(16))
        auth_pb2_grpc.add_AuthServicer_to_server(Auth(self), self.grpc)
        token_pb2_grpc.add_TokenServicer_to_server(Token(self), self.grpc)
        cacheclient_pb2_grpc.add_ScsServicer_to_server(Caches(self), self.grpc)
        if certificate:
            chain, key = (path.read_bytes() for path in certificate)
            inner = self.grpc.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
        else:
            inner = self.grpc.add_insecure_port("127.0.0.1:0")
        self.grpc.start()
        self.relay = Relay(inner)
        self.grpc_port = self.relay.port
        self.grpc_address = f"{'https' if certificate else 'http'}://127.0.0.1:{self.grpc_port}"

    def stop(self):
        self.http.shutdown()
        self.http.server_close()
        self.relay.stop()
        self.grpc.stop(0)

    # Keys.

    def make_global(self, role, description, expiry):
        identifier = secrets.token_hex(12)
        claims = {"t": "g", "jti": identifier, "iat": int(self.now())}
        text = jwt(claims if expiry is None else {**claims, "exp": expiry})
        info = {"key_id": identifier, "account_id": "a-1", "description": description, "role_id": role,
                "issued_at_epoch_seconds": int(self.now())}
        if expiry is not None:
            info["expires_at_epoch_seconds"] = expiry
        with self.lock:
            self.global_keys[text] = info
        return text, info

    def make_cell(self, rights, lifetime):
        now = int(self.now())
        claims = {"iat": now, "sub": "user", "jti": secrets.token_hex(8)}
        text = jwt(claims if lifetime is None else {**claims, "exp": now + lifetime})
        about = {"rights": rights, "lifetime": lifetime, "until": 0 if lifetime is None else now + lifetime,
                 "refresh": secrets.token_urlsafe(32), "description": ""}
        with self.lock:
            self.cell_keys[text] = about
        return text, about

    def rights(self, key):
        """What a key may do; refuses one that is not known, or dead."""
        with self.lock:
            info, about = self.global_keys.get(key), self.cell_keys.get(key)
        if info:
            if info.get("expires_at_epoch_seconds", self.now() + 1) <= self.now():
                raise Refusal(401)
            return self.roles[info["role_id"]]
        if about:
            if about["until"] and about["until"] <= self.now():
                raise Refusal(401)
            return about["rights"]
        raise Refusal(401)

    def may_read(self, key, cache, item):
        rights = self.rights(key)
        if rights == "super-user":
            return True
        if isinstance(rights, tuple):
            return cache in rights[1]
        for permission in rights:
            if permission.WhichOneof("kind") != "cache_permissions":
                continue
            caches = permission.cache_permissions
            named = caches.WhichOneof("cache") == "all_caches" or caches.cache_selector.cache_name == cache
            selector = caches.item_selector
            covered = {"key": selector.key == item, "key_prefix": item.startswith(selector.key_prefix)}.get(
                selector.WhichOneof("kind") if caches.WhichOneof("cache_item") == "item_selector" else None, True)
            if named and covered and caches.role in (1, 2):
                return True
        return False

    def read(self, key, cache, item):
        if not self.may_read(key, cache, item):
            raise Refusal(403)
        if cache not in self.caches:
            raise Refusal((404, "Cache Not Found"))
        raise Refusal((404, "Key Not Found"))

    def accepts(self, text, cache="payments", item=b"any"):
        """Whether a consumer's key reads a cache."""
        key = text if text.count(".") == 2 else unwrapped(text)
        try:
            return self.may_read(key, cache, item)
        except Refusal:
            return False

    def marked(self, secret):
        """The ids of the keys that carry a secret's lineage."""
        with self.lock:
            return {info["key_id"] for info in self.global_keys.values()
                    if info["description"].startswith(f"keyturn:{secret}:")}

    def cell_keys_of(self, secret):
        with self.lock:
            return [text for text, about in self.cell_keys.items()
                    if about["description"].startswith(f"keyturn:{secret}:")]

    def operation(self):
        """Counts one; more in a second than the account may do are refused."""
        with self.lock:
            now = time.monotonic()
            self.operations.append(now)
            if self.per_second and sum(then > now - 1 for then in self.operations) > self.per_second:
                raise Refusal(429)


class Quiet(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


WORDS = {400: "Bad Request", 401: "Unauthenticated", 403: "PermissionDenied", 404: "NotFound", 429: "TooManyRequests"}


def handler(momento):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_):
            pass

        def answer(self, status, content, kind="application/json"):
            body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def serve(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(url.query))
            key = self.headers.get("Authorization", "")
            try:
                if url.path.startswith("/cache/"):
                    momento.read(key, urllib.parse.unquote(url.path[7:]), query["key"].encode())
                self.answer(200, keys(momento, self.command, url.path, query, key, body))
            except Refusal as refusal:
                if isinstance(refusal.code, tuple):
                    return self.answer(refusal.code[0], refusal.code[1], "text/plain")
                self.answer(refusal.code, {"code": WORDS[refusal.code], "message": "made up"})

        do_GET = do_POST = do_PUT = do_DELETE = serve

    return Handler


def keys(momento, method, path, query, key, body):
    """https://docs.momentohq.com/platform/authentication/api-keys-http-api"""
    momento.operation()
    rights = momento.rights(key)
    if not isinstance(rights, tuple) or not rights[0]:
        raise Refusal(403)
    if (method, path) == ("POST", "/api-keys"):
        order = json.loads(body)
        expiry = order["expiry"]
        if expiry != "never" and (not isinstance(expiry, int) or expiry <= momento.now()):
            raise Refusal(400)
        if order["role_id"] not in momento.roles:
            raise Refusal(404)
        text, info = momento.make_global(order["role_id"], order["description"], None if expiry == "never" else expiry)
        return {"api_key": text, "key_info": info}
    if (method, path) == ("GET", "/api-keys"):
        limit = int(query.get("limit", 100))
        if not 1 <= limit <= 100:
            raise Refusal(400)
        with momento.lock:
            listed = list(momento.global_keys.values())
            if momento.unlisted > 0:
                momento.unlisted -= 1
                listed.pop()
        begin = int(query.get("next_token", "p0")[1:])
        end = begin + min(limit, momento.page_size)
        return {"key_info": listed[begin:end], **({"next_token": f"p{end}"} if end < len(listed) else {})}
    if method == "DELETE" and path.startswith("/api-keys/"):
        with momento.lock:
            found = [text for text, info in momento.global_keys.items()
                     if info["key_id"] == urllib.parse.unquote(path[10:])]
            if found:
                del momento.global_keys[found[0]]
                return {}
        raise Refusal(404)
    raise Refusal(404)


class Service:
    def __init__(self, momento):
        self.momento = momento

    def begin(self, name, context):
        with self.momento.lock:
            self.momento.calls.append(name)
            self.momento.metadata.append(dict(context.invocation_metadata()))
            code = self.momento.refuse.get(name)
        if code is not None:
            context.abort(code, "made up: ä")
        try:
            self.momento.operation()
        except Refusal:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "made up")

    def end(self, name, answer):
        """Gives the answer back, unless it is to be lost."""
        if name in self.momento.lose:
            self.momento.lose.discard(name)
            self.momento.relay.cut()
        if name in self.momento.hang:
            self.momento.hang.discard(name)
            time.sleep(5)
        return answer


class Auth(Service, auth_pb2_grpc.AuthServicer):
    def caller(self, key, context):
        try:
            return self.momento.rights(key)
        except Refusal:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "made up")

    def GenerateApiToken(self, request, context):
        self.begin("GenerateApiToken", context)
        if self.caller(request.auth_token, context) != "super-user":
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "Insufficient permissions")
        if request.permissions.WhichOneof("kind") != "explicit":
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "Insufficient permissions")
        rights = list(request.permissions.explicit.permissions)
        subjects = [subject(permission) for permission in rights]
        if not rights or len(rights) > 20 or len(set(subjects)) < len(subjects):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "made up")
        expiry = request.WhichOneof("expiry")
        if expiry is None:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "made up")
        lifetime = request.expires.valid_for_seconds if expiry == "expires" else None
        text, about = self.momento.make_cell(rights, lifetime)
        about["description"] = request.description
        return self.end("GenerateApiToken", auth_pb2._GenerateApiTokenResponse(
            api_key=text, refresh_token=about["refresh"], endpoint=CELL, valid_until=about["until"]))

    def RefreshApiToken(self, request, context):
        self.begin("RefreshApiToken", context)
        self.caller(request.api_key, context)
        before = self.momento.cell_keys[request.api_key]
        if request.refresh_token != before["refresh"]:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "made up")
        text, about = self.momento.make_cell(before["rights"], before["lifetime"])
        return self.end("RefreshApiToken", auth_pb2._RefreshApiTokenResponse(
            api_key=text, refresh_token=about["refresh"], endpoint=CELL, valid_until=about["until"]))


def subject(permission):
    """A permission without its role."""
    kind = permission.WhichOneof("kind")
    bare = type(permission)()
    bare.CopyFrom(permission)
    getattr(bare, kind).role = 0
    return bare.SerializeToString(deterministic=True)


class Token(Service, token_pb2_grpc.TokenServicer):
    def GenerateDisposableToken(self, request, context):
        self.begin("GenerateDisposableToken", context)
        text, about = self.momento.make_cell(
            list(request.permissions.explicit.permissions), request.expires.valid_for_seconds)
        return token_pb2._GenerateDisposableTokenResponse(api_key=text, endpoint=CELL, valid_until=about["until"])


class Caches(Service, cacheclient_pb2_grpc.ScsServicer):
    def Get(self, request, context):
        metadata = dict(context.invocation_metadata())
        try:
            self.momento.read(metadata.get("authorization", ""), metadata.get("cache", ""), request.cache_key)
        except Refusal as refusal:
            if refusal.code == (404, "Key Not Found"):
                return cacheclient_pb2._GetResponse(result=cacheclient_pb2.Miss)
            code = {401: grpc.StatusCode.UNAUTHENTICATED, 403: grpc.StatusCode.PERMISSION_DENIED}.get(
                refusal.code, grpc.StatusCode.NOT_FOUND)
            context.abort(code, "made up")


class Relay:
    """TCP in between, that can be cut."""

    def __init__(self, upstream):
        self.upstream = upstream
        self.open = set()
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.upstream))
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.open |= {client, server}
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self.pump, args=(source, sink), daemon=True).start()

    def pump(self, source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        with self.lock:
            self.open -= {source, sink}

    def cut(self):
        with self.lock:
            ends, self.open = self.open, set()
        for end in ends:
            try:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        self.listener.close()
        self.cut()


def spelled(rights):
    """Statements as text, read by the vendor's classes."""
    if rights == "super-user":
        return []
    lines = []
    for permission in rights:
        kind = permission.WhichOneof("kind")
        statement = getattr(permission, kind)
        cache = "*" if statement.WhichOneof("cache") == "all_caches" else statement.cache_selector.cache_name
        noun, group, selector = {
            "cache_permissions": ("items", "cache_item", "item_selector"),
            "topic_permissions": ("topic", "topic", "topic_selector"),
            "function_permissions": ("function", "function", "function_selector")}[kind]
        which = "*"
        if statement.WhichOneof(group) == selector:
            form = getattr(statement, selector).WhichOneof("kind")
            value = getattr(getattr(statement, selector), form)
            which = (value.decode() if isinstance(value, bytes) else value) + ("+" if form.endswith("prefix") else "")
        else:
            # Momento's clients name all topics and functions, and leave all items unsaid.
            assert (statement.WhichOneof(group) is None) == (noun == "items"), statement
        lines.append(f"cache={cache} role={statement.role} {noun}={which}")
    return lines


def main():
    """Serves at a time that stands still, says where as JSON, and does what it is told, a line of JSON at a time:
    `{"lose": [...]}`, `{"hang": [...]}`, `{"refuse": {CALL: STATUS NAME}}`, `{"now": SECONDS}`; `{}` asks for the state."""
    clock = [float(sys.argv[1])]
    momento = Momento(now=lambda: clock[0])
    print(json.dumps({"address": momento.address, "grpc": momento.grpc_address, "adminKey": momento.admin_key,
                      "adminV1": momento.admin_v1}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        momento.lose |= set(order.get("lose", []))
        momento.hang |= set(order.get("hang", []))
        momento.refuse = {name: grpc.StatusCode[code] for name, code in order.get("refuse", {}).items()}
        clock[0] = order.get("now", clock[0])
        print(json.dumps({
            "calls": momento.calls, "made": len(momento.cell_keys) - 1,
            "descriptions": [about["description"] for about in momento.cell_keys.values()],
            "permissions": spelled(list(momento.cell_keys.values())[-1]["rights"]),
            "authorization": [data.get("authorization") for data in momento.metadata],
        }), flush=True)
    momento.stop()


if __name__ == "__main__":
    main()
