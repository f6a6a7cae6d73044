"""An API server with Secrets in it, as far as kubectl, the official Python client and Keyturn ask for: versions of
objects, field managers with server-side apply, rights, tokens and client certificates."""
import base64
import copy
import json
import re
import threading
import time
import urllib.parse

from .listener import Listener, reply

MERGE = ("application/merge-patch+json", "application/strategic-merge-patch+json")


class Refused(Exception):
    def __init__(self, code, reason, message="", causes=(), kind="secrets"):
        self.status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
                       "reason": reason, "message": message or reason,
                       "details": {"kind": kind, "causes": [{"reason": cause} for cause in causes]}}


def leaves(secret):
    """The fields that managers own here, as paths, with their values."""
    found = {("data", key): value for key, value in (secret.get("data") or {}).items()}
    for name in ("annotations", "labels"):
        found |= {("metadata", name, key): value for key, value in (secret["metadata"].get(name) or {}).items()}
    return found


class KubernetesAPI:
    def __init__(self, authority=None):
        """With an authority of `peers.pki` it speaks TLS, and takes certificates of it for whom they name."""
        self.lock = threading.RLock()
        self.namespaces = {"default", "payments"}
        self.secrets = {}
        self.owners = {}  # by secret: {(manager, operation): {path}}
        self.version = 1000
        self.tokens = {"root": "root"}  # who holds which
        self.rights = {"root": {("*", "*", "*")}}  # by account: namespace, name, verb
        self.requests = []
        self.listener = Listener(
            self.serve, authority and authority.issue("kube-apiserver"), authority and authority.file)
        self.port, self.address = self.listener.port, self.listener.address

    def serve(self, handler, body):
        try:
            code, answer = self.answer(handler, body)
        except Refused as refused:
            code, answer = refused.status["code"], refused.status
        reply(handler, code, answer)

    def stop(self):
        self.listener.stop()

    # Who asks, and may they.

    def account(self, handler):
        token = (handler.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token in self.tokens:
            return self.tokens[token]
        certificate = getattr(handler.connection, "getpeercert", lambda: None)()
        if certificate and not token:
            return dict(pair[0] for pair in certificate["subject"])["commonName"]
        raise Refused(401, "Unauthorized", kind="")

    def may(self, account, namespace, name, verb):
        return any(all(mine in ("*", theirs) for mine, theirs in zip(right, (namespace, name, verb)))
                   for right in self.rights.get(account, ()))

    def demand(self, account, namespace, name, verb):
        if not self.may(account, namespace, name, verb):
            raise Refused(403, "Forbidden", f"{account} cannot {verb} {namespace}/{name}")

    # Requests.

    def answer(self, handler, body):
        url = urllib.parse.urlsplit(handler.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        with self.lock:
            self.requests.append((handler.command, url.path, query, handler.headers.get("Content-Type")))
            if url.path in DISCOVERY:
                return 200, DISCOVERY[url.path]
            account = self.account(handler)
            if url.path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
                review = json.loads(body)
                asked = review["spec"]["resourceAttributes"]
                allowed = self.may(account, asked["namespace"], asked.get("name", ""), asked["verb"])
                return 201, {**review, "status": {"allowed": allowed}}
            match = re.fullmatch(r"/api/v1/namespaces/([^/]+)/secrets(?:/([^/]+))?", url.path)
            if not match:
                raise Refused(404, "NotFound", kind="")
            namespace, name = match[1], match[2]
            verb = {"GET": "get" if name else "list", "POST": "create", "PUT": "update", "PATCH": "patch",
                    "DELETE": "delete"}[handler.command]
            self.demand(account, namespace, name or "", verb)
            if namespace not in self.namespaces:
                raise Refused(404, "NotFound", kind="namespaces" if handler.command != "GET" else "secrets")
            agent = (handler.headers.get("User-Agent") or "unknown").split("/")[0]
            manager = query.get("fieldManager", agent)
            return self.act(handler, account, namespace, name, body, manager, query)

    def act(self, handler, account, namespace, name, body, manager, query):
        place = namespace, name
        method, kind = handler.command, (handler.headers.get("Content-Type") or "").split(";")[0]
        present = self.secrets.get(place)
        if method == "POST":
            wanted = self.parsed(body)
            place = namespace, wanted["metadata"]["name"]
            if place in self.secrets:
                raise Refused(409, "AlreadyExists")
            return 201, self.store(place, wanted, manager)
        if method == "PATCH" and kind == "application/apply-patch+yaml":
            if present is None:
                # Making one needs the right to, which is not named after it.
                self.demand(account, namespace, "", "create")
            return (200 if present else 201), self.apply(place, self.parsed(body), manager, query.get("force") == "true")
        if name is None:
            items = [self.shown(at) for at in self.secrets if at[0] == namespace]
            return 200, {"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": items}
        if present is None:
            raise Refused(404, "NotFound", f'secrets "{name}" not found')
        if method == "GET":
            return 200, self.shown(place)
        if method == "DELETE":
            del self.secrets[place], self.owners[place]
            return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        wanted = self.parsed(body)
        version = wanted.get("metadata", {}).get("resourceVersion")
        if version and version != present["metadata"]["resourceVersion"]:
            raise Refused(409, "Conflict", "the object has been modified")
        if method == "PATCH":
            if kind not in MERGE:
                raise Refused(415, "UnsupportedMediaType")
            wanted = merged(copy.deepcopy(present), wanted)
        return 200, self.store(place, wanted, manager)

    @staticmethod
    def parsed(body):
        try:
            secret = json.loads(body)
        except ValueError:
            import yaml
            secret = yaml.safe_load(body)
        data = secret.get("data") or {}
        for key, text in (secret.pop("stringData", None) or {}).items():
            data[key] = base64.b64encode(text.encode()).decode()
        for value in data.values():
            if value is not None:
                base64.b64decode(value, validate=True)
        if data:
            secret["data"] = data
        return secret

    # What is stored, and whose it is.

    def shown(self, place):
        secret = copy.deepcopy(self.secrets[place])
        secret["metadata"]["managedFields"] = [
            {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1",
             "fieldsV1": tree(paths)} for (manager, operation), paths in self.owners[place].items() if paths]
        return secret

    def store(self, place, wanted, manager):
        """An update: fields that it changes are the writer's from then on, and no longer anybody else's."""
        present = self.secrets.get(place)
        before = leaves(present) if present else {}
        if present and present.get("immutable") and (wanted.get("data") or {}) != (present.get("data") or {}):
            raise Refused(422, "Invalid", "data: field is immutable when `immutable` is set")
        after = leaves(wanted)
        changed = {path for path, value in after.items() if before.get(path) != value}
        owners = self.owners.setdefault(place, {})
        for mine in owners.values():
            mine -= changed | (before.keys() - after.keys())
        owners.setdefault((manager, "Update"), set()).update(changed)
        return self.put(place, wanted)

    def apply(self, place, wanted, manager, force):
        present = self.secrets.get(place)
        version = wanted["metadata"].pop("resourceVersion", None)
        if version and (present is None or version != present["metadata"]["resourceVersion"]):
            raise Refused(409, "Conflict", "the object has been modified")
        new = copy.deepcopy(present) if present else {"metadata": {"name": place[1], "namespace": place[0]}}
        owners = self.owners.setdefault(place, {})
        fields, before = leaves(wanted), leaves(new)
        if present and present.get("immutable") and any(before.get(path) != value for path, value in fields.items()
                                                        if path[0] == "data"):
            raise Refused(422, "Invalid", "data: field is immutable when `immutable` is set")
        mine = owners.get((manager, "Apply"), set())
        for path, value in fields.items():
            others = [owner for owner, paths in owners.items() if path in paths and owner != (manager, "Apply")]
            if others and before.get(path) != value:
                if not force:
                    raise Refused(409, "Conflict", f"conflict with {others}", ["FieldManagerConflict"])
                for owner in others:
                    owners[owner].discard(path)
            assign(new, path, value)
        # What it no longer names, and nobody else has, goes.
        for path in mine - fields.keys():
            if not any(path in paths for owner, paths in owners.items() if owner != (manager, "Apply")):
                assign(new, path, None)
        owners[manager, "Apply"] = set(fields)
        return self.put(place, new)

    def put(self, place, secret):
        secret = copy.deepcopy(secret)
        secret["metadata"].pop("managedFields", None)
        self.version += 1
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        old = self.secrets.get(place, {"metadata": {}})["metadata"]
        secret |= {"kind": "Secret", "apiVersion": "v1", "type": secret.get("type", "Opaque")}
        secret["metadata"] |= {"namespace": place[0], "resourceVersion": str(self.version),
                               "uid": old.get("uid", f"00000000-0000-4000-8000-{self.version:012}"),
                               "creationTimestamp": old.get("creationTimestamp", now)}
        self.secrets[place] = secret
        return self.shown(place)

    def value(self, namespace, name, key):
        with self.lock:
            encoded = self.secrets.get((namespace, name), {}).get("data", {}).get(key)
        return None if encoded is None else base64.b64decode(encoded).decode()


def assign(secret, path, value):
    inner = secret
    for part in path[:-1]:
        if inner.get(part) is None:
            inner[part] = {}
        inner = inner[part]
    if value is None:
        inner.pop(path[-1], None)
    else:
        inner[path[-1]] = value


def tree(paths):
    root = {}
    for path in paths:
        inner = root
        for part in path:
            inner = inner.setdefault(f"f:{part}", {})
    return root


def merged(old, patch):
    """RFC 7396."""
    for key, value in patch.items():
        if value is None:
            old.pop(key, None)
        elif isinstance(value, dict):
            old[key] = merged(old.get(key) if isinstance(old.get(key), dict) else {}, value)
        else:
            old[key] = value
    return old


RESOURCES = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": [
    {"name": "secrets", "singularName": "secret", "namespaced": True, "kind": "Secret",
     "verbs": ["create", "delete", "get", "list", "patch", "update"]}]}
DISCOVERY = {
    "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": RESOURCES,
    "/version": {"major": "1", "minor": "33", "gitVersion": "v1.33.0"},
}
