"""Google Cloud in one process: tokens for service accounts, Secret Manager, IAM's keys, a metadata server.

It answers as the vendor's documentation describes, is driven by the vendor's own clients in the tests, and checks what
it is shown: assertions (by the vendor's verifier), tokens, checksums, etags.
"""
import base64
import datetime
import json
import re
import secrets
import threading
import time
import urllib.parse

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

from .listener import Listener, reply

PROJECT, NUMBER = "acme-project", "123456789012"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
AUDIENCE = "https://oauth2.googleapis.com/token"


class Refused(Exception):
    def __init__(self, http_status, status, details=None):
        self.status = http_status
        self.body = {"error": {"code": http_status, "message": f"made up: {status}", "status": status}}
        if details:
            self.body["error"]["details"] = details


class Version:
    def __init__(self, number, data):
        self.number, self.data, self.state, self.etag, self.created = number, data, "ENABLED", new_etag(), time.time()
        self.destroyed = None

    def shown(self, name):
        shown = {"name": f"projects/{NUMBER}/secrets/{name}/versions/{self.number}", "state": self.state,
                 "createTime": iso(self.created, ".123456"), "etag": self.etag,
                 "clientSpecifiedPayloadChecksum": True, "replicationStatus": {"automatic": {}}}
        return shown | ({"destroyTime": iso(self.destroyed)} if self.destroyed else {})


class Secret:
    def __init__(self, body):
        self.labels, self.annotations = body.get("labels") or {}, body.get("annotations") or {}
        self.replication, self.aliases = body["replication"], body.get("versionAliases") or {}
        self.versions, self.etag, self.created = [], new_etag(), time.time()

    def shown(self, name):
        return {"name": f"projects/{NUMBER}/secrets/{name}", "createTime": iso(self.created), "etag": self.etag,
                "labels": self.labels, "annotations": self.annotations, "replication": self.replication,
                "versionAliases": self.aliases}


class Google:
    def __init__(self, authority):
        """`authority` is a `pki.Authority`."""
        self.ca = str(authority.file)
        self.certificate = tuple(map(str, authority.issue("gcp", ("127.0.0.1", "localhost"))))
        self.lock = threading.RLock()
        self.tokens = {}  # token: (account, end)
        self.logins = []  # key ids, or "machine", in the order of their logins
        self.life = 3599
        self.skew = 0  # how far assertions may be dated from now, in seconds
        self.secrets = {}
        self.quota, self.changes, self.limited = False, {}, 0  # whether changes of one secret are counted
        self.page = 2  # how many versions a list gives at once
        self.accounts = {}  # keys by account: {key id: about}
        self.delay = 0.0  # after which a new key is known everywhere, in seconds
        self.policies = set()  # the constraints in force
        self.rights = None  # what Keyturn's account may do; None: everything
        self.tells = True  # whether it says which rights are missing, when asked
        self.refused_calls = []
        self.listeners = secure, plain = Listener(self.serve, self.certificate), Listener(self.serve)
        self.port, self.plain_port = secure.port, plain.port
        self.address, self.plain = secure.address, plain.address
        self.account = self.add_account("keyturn")
        self.own = self.add_key(self.account)

    def serve(self, handler, body):
        try:
            status, answer = 200, self.handle(handler, body)
        except Refused as refused:
            status, answer = refused.status, refused.body
        reply(handler, status, answer, headers={"Metadata-Flavor": "Google"} if "/computeMetadata/" in handler.path else {})

    def stop(self):
        for listener in self.listeners:
            listener.stop()

    # What requests come to.

    def handle(self, handler, body):
        address = urllib.parse.urlsplit(handler.path)
        query = {name: values[0] for name, values in urllib.parse.parse_qs(address.query).items()}
        path = urllib.parse.unquote(address.path)
        with self.lock:
            if path == "/token":
                return self.token(dict(urllib.parse.parse_qsl(body.decode())))
            if path.startswith("/computeMetadata/v1/instance/service-accounts/"):
                return self.machine(handler, path)
            account = self.admit(handler)
            parsed = json.loads(body) if body else {}
            if found := re.fullmatch(rf"/v1/projects/(?:-|{PROJECT})/serviceAccounts/([^/]+)/keys(?:/([^/:]+))?(?::(\w+))?", path):
                return self.keys(account, handler.command, *found.groups(), query, parsed)
            if found := re.fullmatch(rf"/v1/projects/(?:{PROJECT}|{NUMBER})/secrets(?:/([^/:]+))?(.*)", path):
                return self.manager(account, handler.command, found[1], found[2], query, parsed)
            raise Refused(404, "NOT_FOUND")

    def may(self, account, right):
        """Raises when Keyturn's account lacks it; others may do everything."""
        if self.rights is not None and account == self.account and right not in self.rights:
            self.refused_calls.append(right)
            raise Refused(403, "PERMISSION_DENIED")

    # Tokens.

    def grant(self, account, by):
        token = "ya29." + secrets.token_urlsafe(40)
        self.tokens[token] = account, time.time() + self.life
        self.logins.append(by)
        return {"access_token": token, "expires_in": self.life, "token_type": "Bearer"}

    def token(self, form):
        def refuse(word, words):
            refused = Refused(400, word)
            refused.body = {"error": word, "error_description": f"made up: {words}"}
            raise refused
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            refuse("unsupported_grant_type", "")
        assertion = form.get("assertion", "")
        try:
            header, claims = jwt.decode_header(assertion), jwt.decode(assertion, verify=False)
            account, key = claims["iss"], header["kid"]
        except (ValueError, KeyError):
            refuse("invalid_request", "no assertion")
        about = self.accounts.get(account, {}).get(key)
        if about is None or about["disabled"] or time.time() < about["known"] or time.time() > about["end"]:
            refuse("invalid_grant", "Invalid JWT Signature.")
        try:
            jwt.decode(assertion, certs={key: about["public"]}, audience=AUDIENCE, clock_skew_in_seconds=self.skew)
        except ValueError:
            refuse("invalid_grant", "Invalid JWT Signature.")
        if claims.get("scope") != SCOPE or claims["exp"] - claims["iat"] > 3600:
            refuse("invalid_scope", "")
        return self.grant(account, key)

    def machine(self, handler, path):
        if handler.headers.get("Metadata-Flavor") != "Google" or handler.headers.get("X-Forwarded-For"):
            raise Refused(403, "PERMISSION_DENIED")
        if not path.endswith("/default/token"):
            raise Refused(404, "NOT_FOUND")
        return self.grant(self.account, "machine")

    def admit(self, handler):
        token = (handler.headers.get("Authorization") or "").removeprefix("Bearer ")
        account, end = self.tokens.get(token, (None, 0))
        if account is None or end < time.time():
            raise Refused(401, "UNAUTHENTICATED")
        return account

    # Secret Manager.

    def manager(self, account, method, name, rest, query, body):
        if name is None:
            self.may(account, "secretmanager.secrets.create")
            name = query["secretId"]
            if name in self.secrets:
                raise Refused(409, "ALREADY_EXISTS")
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", name) or not body.get("replication"):
                raise Refused(400, "INVALID_ARGUMENT")
            self.secrets[name] = Secret(body)
            return self.secrets[name].shown(name)
        secret = self.secrets.get(name)
        if rest == ":testIamPermissions":
            asked = body["permissions"]
            lacks = self.tells and self.rights is not None and account == self.account
            return {"permissions": [right for right in asked if secret and (not lacks or right in self.rights)]}
        verbs = {("GET", ""): "secrets.get", ("PATCH", ""): "secrets.update", ("DELETE", ""): "secrets.delete",
                 ("POST", ":addVersion"): "versions.add", ("GET", "/versions"): "versions.list"}
        found = re.fullmatch(r"/versions/([A-Za-z0-9_-]+)(?::(access|enable|disable|destroy))?", rest)
        right = verbs.get((method, rest)) or (f"versions.{found[2] or 'get'}" if found else None)
        if right is None:
            raise Refused(404, "NOT_FOUND")
        self.may(account, f"secretmanager.{right}")
        if secret is None:
            raise Refused(404, "NOT_FOUND")
        if right in ("secrets.update", "versions.add") and self.quota and account == self.account:
            recent = [at for at in self.changes.get(name, []) if at > time.monotonic() - 1]
            self.changes[name] = [*recent, time.monotonic()]
            if len(recent) >= 2:
                self.limited += 1
                raise Refused(429, "RESOURCE_EXHAUSTED")
        if right == "secrets.get":
            return secret.shown(name)
        if right == "secrets.delete":
            del self.secrets[name]
            return {}
        if right == "secrets.update":
            return self.change(name, secret, query["updateMask"].split(","), body)
        if right == "versions.add":
            data = base64.b64decode(body["payload"]["data"], validate=True)
            told = body["payload"].get("dataCrc32c")
            if len(data) > 65536 or (told is not None and int(told) != crc32c(data)):
                raise Refused(400, "INVALID_ARGUMENT")
            secret.versions.append(Version(len(secret.versions) + 1, data))
            return secret.versions[-1].shown(name)
        if right == "versions.list":
            start, size = int(query.get("pageToken", 0)), min(int(query.get("pageSize") or 25), self.page)
            newest = secret.versions[::-1]
            page = {"versions": [version.shown(name) for version in newest[start:start + size]],
                    "totalSize": len(newest)}
            return page | ({"nextPageToken": str(start + size)} if start + size < len(newest) else {})
        number = str(len(secret.versions)) if found[1] == "latest" else secret.aliases.get(found[1], found[1])
        version = next((version for version in secret.versions if str(version.number) == str(number)), None)
        if version is None:
            raise Refused(404, "NOT_FOUND")
        if right == "versions.get":
            return version.shown(name)
        if right == "versions.access":
            if version.state != "ENABLED":
                raise Refused(400, "FAILED_PRECONDITION")
            return {"name": version.shown(name)["name"],
                    "payload": {"data": base64.b64encode(version.data).decode(), "dataCrc32c": str(crc32c(version.data))}}
        if body.get("etag", version.etag) != version.etag or version.state == "DESTROYED":
            raise Refused(400, "FAILED_PRECONDITION")
        version.state = {"enable": "ENABLED", "disable": "DISABLED", "destroy": "DESTROYED"}[found[2]]
        version.etag = new_etag()
        if found[2] == "destroy":
            version.data, version.destroyed = None, time.time()
        return version.shown(name)

    def change(self, name, secret, fields, body):
        if body.get("etag", secret.etag) != secret.etag:
            raise Refused(400, "FAILED_PRECONDITION")
        annotations = (body.get("annotations") or {}) if "annotations" in fields else secret.annotations
        if sum(len(text.encode()) for pair in annotations.items() for text in pair) > 16384 or any(
                not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", key) for key in annotations):
            raise Refused(400, "INVALID_ARGUMENT")
        aliases = secret.aliases
        for field in fields:
            if field in ("versionAliases", "version_aliases"):
                aliases = body.get("versionAliases") or {}
        numbers = {str(version.number) for version in secret.versions}
        if any(not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,62}", key) or str(value) not in numbers
               for key, value in aliases.items()):
            raise Refused(400, "INVALID_ARGUMENT")
        secret.annotations, secret.aliases = annotations, {key: str(value) for key, value in aliases.items()}
        if "labels" in fields:
            secret.labels = body.get("labels") or {}
        secret.etag = new_etag()
        return secret.shown(name)

    # Keys of service accounts.

    def add_account(self, name=None):
        account = f"{name or 'a' + secrets.token_hex(5)}@{PROJECT}.iam.gserviceaccount.com"
        self.accounts[account] = {}
        return account

    def add_key(self, account, start=None):
        """A key made by somebody; the JSON file."""
        key, pair = secrets.token_hex(20), rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = pair.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
        file = json.dumps({
            "type": "service_account", "project_id": PROJECT, "private_key_id": key, "private_key": pem,
            "client_email": account, "client_id": "104857600000000000000", "token_uri": f"{self.plain}/token",
            "universe_domain": "googleapis.com"}, indent=2) + "\n"
        now = time.time()
        self.accounts[account][key] = {
            "file": file, "public": pair.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
            "start": start or now, "known": 0 if start else now + self.delay, "disabled": False,
            "end": datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.timezone.utc).timestamp()}
        return file

    def keys(self, caller, method, account, key, verb, query, body):
        right = {"GET": "list" if key is None else "get", "DELETE": "delete"}.get(method, verb or "create")
        self.may(caller, f"iam.serviceAccountKeys.{right}")
        account = urllib.parse.unquote(account)
        if account not in self.accounts:
            raise Refused(404, "NOT_FOUND")
        all_keys, now = self.accounts[account], time.time()

        def shown(key):
            about = all_keys[key]
            shown = {"name": f"projects/{PROJECT}/serviceAccounts/{account}/keys/{key}",
                     "validAfterTime": iso(about["start"]), "validBeforeTime": iso(about["end"]),
                     "keyAlgorithm": "KEY_ALG_RSA_2048", "keyOrigin": "GOOGLE_PROVIDED", "keyType": "USER_MANAGED"}
            return shown | ({"disabled": True} if about["disabled"] else {})
        if right == "list":
            listed = [shown(key) for key, about in all_keys.items() if now >= about["known"]]
            return {"keys": listed} if listed else {}
        if right == "create":
            constraint = "constraints/iam.disableServiceAccountKeyCreation"
            if constraint in self.policies:
                raise Refused(400, "FAILED_PRECONDITION", [{
                    "@type": "type.googleapis.com/google.rpc.PreconditionFailure",
                    "violations": [{"type": constraint, "subject": account, "description": "made up"}]}])
            if len(all_keys) >= 10:
                raise Refused(400, "FAILED_PRECONDITION")
            made = self.add_key(account)
            key = json.loads(made)["private_key_id"]
            return shown(key) | {"privateKeyType": "TYPE_GOOGLE_CREDENTIALS_FILE",
                                 "privateKeyData": base64.b64encode(made.encode()).decode()}
        if key not in all_keys or now < all_keys[key]["known"]:
            raise Refused(404, "NOT_FOUND")
        if right == "get":
            return shown(key)
        if right == "delete":
            del all_keys[key]
        else:
            all_keys[key]["disabled"] = right == "disable"
        return {}

    # What a consumer, or another hand, sees.

    def value(self, name, alias=None):
        with self.lock:
            secret = self.secrets.get(name)
            if secret is None or not secret.versions or (alias and alias not in secret.aliases):
                return None
            version = secret.versions[int(secret.aliases[alias]) - 1] if alias else secret.versions[-1]
            return version.data.decode() if version.state == "ENABLED" else None

    def accepts(self, file):
        info = json.loads(file)
        with self.lock:
            about = self.accounts[info["client_email"]].get(info["private_key_id"])
            return about is not None and not about["disabled"] and about["known"] <= time.time() < about["end"]


def crc32c(data):
    """By the definition, bit by bit."""
    total = 0xFFFFFFFF
    for byte in data:
        total ^= byte
        for _ in range(8):
            total = (total >> 1) ^ 0x82F63B78 if total & 1 else total >> 1
    return total ^ 0xFFFFFFFF


def new_etag():
    return f'"{secrets.token_hex(7)}"'


def iso(moment, fraction=""):
    return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).strftime(f"%Y-%m-%dT%H:%M:%S{fraction}Z")
