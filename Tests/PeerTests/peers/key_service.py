"""An interface for keys as a vendor might have one, with a list of two keys to a page."""
import json
import secrets
import threading
import urllib.parse

from .listener import Listener, reply


class KeyService:
    def __init__(self):
        self.keys, self.lock, self.own = {}, threading.Lock(), secrets.token_hex(16)
        self.lose = 0  # how many creations are carried out, and their answers lost
        self.requests = []

        self.listener = Listener(self.serve)
        self.port, self.address = self.listener.port, self.listener.address

    def serve(self, handler, body):
        if handler.command not in ("GET", "POST", "DELETE"):
            reply(handler, 501)
            return
        answer = self.answer(handler.command, handler.path, handler.headers, json.loads(body) if body else None)
        if answer is None:
            handler.close_connection = True
        else:
            reply(handler, *answer, kind=None)

    def answer(self, method, path, headers, body):
        parts = urllib.parse.urlsplit(path)
        with self.lock:
            self.requests.append((method, path))
            if parts.path == "/me":
                return (200, {}) if self.accepts(headers.get("X-Api-Key")) else (401, {"error": "no"})
            if headers.get("Authorization") != f"Bearer {self.own}":
                return 401, {"error": "no"}
            if method == "POST":
                assert body["note"] and body["scopes"] == ["read", "write"] and body["ttl"] > 0, body
                identifier, token = secrets.token_hex(8), secrets.token_urlsafe(24)
                self.keys[identifier] = {"note": body["note"], "token": token}
                if self.lose:
                    self.lose -= 1
                    return None
                return 201, {"key": {"id": identifier, "secret": token}, "client": "c-" + identifier}
            if method == "DELETE":
                known = self.keys.pop(parts.path.rsplit("/", 1)[1], None)
                return (200, {}) if known else (404, {})
            begin = int(urllib.parse.parse_qs(parts.query).get("cursor", ["0"])[0])
            items = [{"id": name, "note": about["note"]} for name, about in self.keys.items()]
            return 200, {"items": items[begin:begin + 2], "cursor": str(begin + 2) if begin + 2 < len(items) else None}

    def accepts(self, token):
        return any(about["token"] == token for about in self.keys.values())

    def marked(self, secret):
        return {name for name, about in self.keys.items() if about["note"].startswith(f"keyturn:{secret}:")}

    def configuration(self, name, address=None, own="{env: KT_API}"):
        """An issuer over this interface."""
        return (f"{name}:\n  type: http\n  url: {address or self.address}\n  listingDelay: 3s\n"
                "  headers: {Authorization: 'Bearer {{token}}'}\n"
                f"  credentials: [{{name: token, secret: {own}}}]\n"
                "  create: {path: /keys, json: {note: '{{lineage}}', ttl: '{{lifetimeSeconds}}', "
                "scopes: '{{scopes}}'}}\n"
                "  answer: {value: /key/secret, keyId: /key/id, fields: {client: /client}}\n"
                "  list: {path: /keys, query: {cursor: '{{page}}'}, items: /items, keyId: /id, lineage: /note, "
                "nextPage: /cursor}\n"
                "  check: {path: /me, headers: {X-Api-Key: '{{value}}'}}\n"
                "  revoke: {path: '/keys/{{keyId}}'}\n")

    def stop(self):
        self.listener.stop()
