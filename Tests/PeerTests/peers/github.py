"""GitHub's REST interface for secrets and variables of Actions, which PyGithub drives, too. Like GitHub it opens sealed
boxes with a key of its own, tells no value, and dates changes to the second."""
import base64
import datetime
import json
import re
import threading
import urllib.parse

from nacl.public import PrivateKey, SealedBox

from .listener import Listener, reply


class GitHub:
    """`rights` are the permissions of the token: those of deploy/rights, unless a test takes some away."""

    def __init__(self):
        self.lock = threading.RLock()
        self.token = "github_pat_CANARY"
        self.rights = {"secrets": "write", "variables": "write"}
        self.keys = PrivateKey.generate()
        self.key_number = 568250167242549743
        self.secrets, self.variables = {}, {}
        self.requests = []
        # A second passes with each change, so that the tests need not wait for one.
        self.now = datetime.datetime(2027, 1, 1, tzinfo=datetime.timezone.utc)
        self.repositories = {"octo/app": {"id": 1, "name": "app", "full_name": "octo/app"}}
        self.listener = Listener(self.serve)
        self.port, self.address = self.listener.port, self.listener.address

    def stop(self):
        self.listener.stop()

    def serve(self, handler, body):
        reply(handler, *self.answer(handler, body), "application/json; charset=utf-8")

    def answer(self, handler, body):
        url = urllib.parse.urlsplit(handler.path)
        with self.lock:
            self.requests.append((handler.command, url.path))
            word, _, token = (handler.headers.get("Authorization") or "").partition(" ")
            if word.lower() not in ("bearer", "token") or token != self.token:
                return 401, {"message": "Bad credentials", "status": "401"}
            if not handler.headers.get("User-Agent"):
                return 403, {"message": "Request forbidden by administrative rules."}
            match = re.fullmatch(r"/repos/([^/]+/[^/]+)", url.path)
            if match and match[1] in self.repositories:
                found = self.repositories[match[1]]
                return 200, {**found, "url": f"{self.address}{url.path}", "owner": {"login": "octo"}}
            match = re.fullmatch(
                r"(/orgs/[^/]+/actions|/repos/[^/]+/[^/]+/actions|/repos/[^/]+/[^/]+/environments/[^/]+)"
                r"/(secrets|variables)(?:/([^/]+))?(/repositories)?", url.path)
            if not match:
                return 404, {"message": "Not Found"}
            base, kind, name, rest = match.groups()
            right = self.rights.get(kind)
            if right is None or (handler.command != "GET" and right != "write"):
                return 403, {"message": "Resource not accessible by personal access token"}
            wanted = json.loads(body) if body else {}
            if kind == "secrets":
                return self.secret(handler.command, base, name, rest, wanted)
            return self.variable(handler.command, base, name, wanted)

    def secret(self, method, base, name, rest, wanted):
        if name == "public-key":
            return 200, {"key_id": str(self.key_number), "key": base64.b64encode(bytes(self.keys.public_key)).decode()}
        place = base, name
        present = self.secrets.get(place)
        if method == "PUT":
            if wanted.get("key_id") != str(self.key_number):
                return 422, {"message": "The key_id is not the latest"}
            value = SealedBox(self.keys).decrypt(base64.b64decode(wanted["encrypted_value"])).decode()
            self.write(place, value, wanted)
            return (204, None) if present else (201, {})
        if present is None:
            return 404, {"message": "Not Found"}
        if rest:
            ids = present["selected"]
            return 200, {"total_count": len(ids), "repositories": [{"id": number} for number in ids]}
        if method == "DELETE":
            del self.secrets[place]
            return 204, None
        about = {"name": name, "created_at": present["created"], "updated_at": present["changed"]}
        if base.startswith("/orgs/"):
            about["visibility"] = present["visibility"]
        return 200, about

    def write(self, place, value, wanted=None):
        self.now += datetime.timedelta(seconds=1)
        changed = f"{self.now:%Y-%m-%dT%H:%M:%SZ}"
        self.secrets[place] = {
            "value": value, "changed": changed, "created": self.secrets.get(place, {}).get("created", changed),
            "visibility": (wanted or {}).get("visibility"), "selected": (wanted or {}).get("selected_repository_ids", [])}

    def variable(self, method, base, name, wanted):
        if method == "POST":
            place = base, wanted["name"]
            if place in self.variables:
                return 409, {"message": "Already exists"}
            self.variables[place] = wanted
            return 201, {}
        if name is None:
            mine = [value for at, value in self.variables.items() if at[0] == base]
            return 200, {"total_count": len(mine), "variables": mine}
        if (base, name) not in self.variables:
            return 404, {"message": "Not Found"}
        if method == "PATCH":
            self.variables[base, name] |= wanted
            return 204, None
        return 200, self.variables[base, name]

    def value(self, name, base="/repos/octo/app/actions"):
        """What a workflow gets; None when there is nothing."""
        with self.lock:
            stored = self.secrets.get((base, name))
        return stored and stored["value"]
