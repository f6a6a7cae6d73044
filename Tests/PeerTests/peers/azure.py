"""Azure in one process: tokens of Entra ID, a key vault, Graph's application passwords, keys of storage accounts.

It answers as the vendor's documentation describes, is driven by the vendor's own clients in the tests, and checks what
it is shown: client secrets, tokens and the resource they are for, signatures with account keys (by the vendor's signer).
"""
import base64
import datetime
import json
import os
import re
import secrets
import threading
import time
import types
import urllib.parse
import uuid

from azure.core.pipeline.transport import HttpRequest
from azure.storage.blob._shared.authentication import SharedKeyCredentialPolicy

from .listener import Listener, reply

VAULT, GRAPH, ARM = "https://vault.azure.net", "https://graph.microsoft.com", "https://management.azure.com"


class Refused(Exception):
    def __init__(self, status, code, inner=None, headers=None):
        self.status, self.headers = status, headers or {}
        error = {"code": code, "message": f"made up: {code}"}
        if inner:
            error["innererror"] = {"code": inner}
        self.body = {"error": error}


class Version:
    def __init__(self, name, body):
        attributes = body.get("attributes") or {}
        self.name, self.id, self.value = name, uuid.uuid4().hex, body["value"]
        self.enabled = attributes.get("enabled", True)
        self.exp, self.nbf = attributes.get("exp"), attributes.get("nbf")
        self.tags, self.content_type = body.get("tags") or {}, body.get("contentType")
        self.created = int(time.time())

    def bundle(self, host, with_value):
        attributes = {"enabled": self.enabled, "created": self.created, "updated": self.created,
                      "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90}
        attributes |= {name: value for name, value in (("exp", self.exp), ("nbf", self.nbf)) if value is not None}
        bundle = {"id": f"https://{host}/secrets/{self.name}/{self.id}", "attributes": attributes, "tags": self.tags}
        if self.content_type is not None:
            bundle["contentType"] = self.content_type
        return bundle | ({"value": self.value} if with_value else {})


class Azure:
    def __init__(self, authority, folder):
        """`authority` is a `pki.Authority`."""
        self.tenant, self.client_id, self.secret = str(uuid.uuid4()), str(uuid.uuid4()), "own~" + secrets.token_urlsafe(24)
        self.ca = str(authority.file)
        self.certificate = tuple(map(str, authority.issue("azure", ("127.0.0.1", "localhost"))))
        self.lock = threading.RLock()
        self.tokens = {}  # token: (client id, scope, end)
        self.logins = []  # client ids, in the order of their logins
        self.life = 3599
        self.vault = {}  # versions by name, the oldest first
        self.page = 2  # versions in one answer at most
        self.bin = {}
        self.applications = {self.client_id: {}}  # passwords by key id
        self.delay = 0.0  # after which a new password is known everywhere, in seconds
        self.rights = None  # what Keyturn's identity may do; None: everything
        self.refused_calls = []
        self.calls = []
        self.accounts = {}  # keys by account
        self.subscription = str(uuid.uuid4())
        self.identity = None  # the header that an app's identity asks for
        self.listeners = secure, plain = Listener(self.serve, self.certificate), Listener(self.serve)
        self.port, self.plain_port = secure.port, plain.port
        self.address = secure.address

    def serve(self, handler, body):
        try:
            answer = self.handle(handler, body)
            status, headers = 204 if answer is None else 200, {}
        except Refused as refused:
            status, answer, headers = refused.status, refused.body, refused.headers
        reply(handler, status, answer, "application/xml" if isinstance(answer, bytes) else "application/json", headers)

    def stop(self):
        for listener in self.listeners:
            listener.stop()

    # What requests come to.

    def handle(self, handler, body):
        address = urllib.parse.urlsplit(handler.path)
        query = {name: values[0] for name, values in urllib.parse.parse_qs(address.query).items()}
        path = urllib.parse.unquote(address.path)
        with self.lock:
            self.calls.append((handler.command, path))
            if found := re.fullmatch(r"/([^/]+)/oauth2/v2.0/token", path):
                return self.token(found[1], dict(urllib.parse.parse_qsl(body.decode())))
            if path.endswith("/.well-known/openid-configuration"):
                base = f"https://{handler.headers['Host']}/{self.tenant}"
                return {"issuer": f"{base}/v2.0", "token_endpoint": f"{base}/oauth2/v2.0/token",
                        "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                        "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode"}
            if path == "/metadata/identity/oauth2/token":
                return self.machine(handler, query)
            if path == "/msi/token":
                return self.app(handler, query)
            if query.get("comp") == "properties":
                return self.blob(handler)
            scope = VAULT if path.startswith(("/secrets", "/deletedsecrets")) else GRAPH if path.startswith(
                "/v1.0/") else ARM
            self.admit(handler, scope)
            parsed = json.loads(body) if body else {}
            words = path.strip("/").split("/")
            if scope == VAULT:
                if not re.fullmatch(r"7\.[0-9]|20[0-9-]+", query.get("api-version", "")):
                    raise Refused(400, "BadParameter")
                return self.secrets(handler, words, query, parsed)
            if scope == GRAPH:
                return self.graph(handler.command, path, query, parsed)
            return self.storage(handler.command, words, query, parsed)

    def may(self, right):
        """Raises when Keyturn's identity lacks it."""
        if self.rights is not None and right not in self.rights:
            self.refused_calls.append(right)
            raise Refused(403, "Forbidden", "ForbiddenByRbac")

    # Tokens.

    def grant(self, client_id, scope):
        token = f"{client_id}.{secrets.token_hex(16)}"
        self.tokens[token] = client_id, scope, time.time() + self.life
        self.logins.append(client_id)
        return token

    def token(self, tenant, form):
        client_id, shown = form.get("client_id"), form.get("client_secret") or form.get("client_assertion")

        def refuse(number, word="invalid_client", status=401):
            refused = Refused(status, word)
            refused.body = {"error": word, "error_description": f"AADSTS{number}: made up", "error_codes": [number]}
            raise refused
        if tenant != self.tenant:
            refuse(90002, "invalid_request", 400)
        if client_id not in self.applications:
            refuse(700016, "unauthorized_client", 400)
        if form.get("grant_type") != "client_credentials":
            refuse(70003, "unsupported_grant_type", 400)
        own = {self.secret: None} if client_id == self.client_id else {}
        now = time.time()
        for about in self.applications[client_id].values():
            if about["text"] == shown and now > about["end"]:
                refuse(7000222)
        valid = {about["text"] for about in self.applications[client_id].values() if now >= about["known"]}
        if shown not in valid | set(own):
            refuse(7000215)
        return {"token_type": "Bearer", "expires_in": self.life, "ext_expires_in": self.life,
                "access_token": self.grant(client_id, form["scope"].removesuffix("/.default"))}

    def machine(self, handler, query):
        if handler.headers.get("Metadata") != "true" or handler.headers.get("X-Forwarded-For"):
            raise Refused(400, "invalid_request")
        end = int(time.time()) + self.life
        return {"access_token": self.grant(self.client_id, query["resource"]), "expires_in": str(self.life),
                "expires_on": str(end), "resource": query["resource"], "token_type": "Bearer"}

    def app(self, handler, query):
        if not self.identity or handler.headers.get("X-IDENTITY-HEADER") != self.identity:
            raise Refused(401, "Unauthorized")
        return {"access_token": self.grant(self.client_id, query["resource"]), "token_type": "Bearer",
                "expires_on": str(int(time.time()) + self.life), "resource": query["resource"]}

    def admit(self, handler, scope):
        token = (handler.headers.get("Authorization") or "").removeprefix("Bearer ")
        client_id, granted, end = self.tokens.get(token, (None, None, 0))
        if client_id is None or granted != scope or end < time.time():
            challenge = (f'Bearer authorization="https://login.microsoftonline.com/{self.tenant}", '
                         f'resource="{VAULT}"')
            raise Refused(401, "Unauthorized", headers={"WWW-Authenticate": challenge} if scope == VAULT else None)
        if client_id != self.client_id:
            raise Refused(403, "Forbidden", "ForbiddenByRbac")

    # Key Vault.

    def secrets(self, handler, words, query, body):
        method, host = handler.command, handler.headers["Host"]
        kind, name = words[0], words[1] if len(words) > 1 else None
        if kind == "deletedsecrets":
            self.may("get" if method == "GET" else "recover" if method == "POST" else "purge")
            if name not in self.bin:
                raise Refused(404, "SecretNotFound")
            newest = self.bin[name][-1]
            if method == "GET":
                return newest.bundle(host, False) | {
                    "recoveryId": f"https://{host}/deletedsecrets/{name}", "deletedDate": int(time.time()),
                    "scheduledPurgeDate": int(time.time()) + 90 * 86400}
            if method == "POST":
                self.vault[name] = self.bin.pop(name)
                return newest.bundle(host, False)
            del self.bin[name]
            return None
        versions = self.vault.get(name, [])
        if method == "PUT":
            self.may("set")
            if not re.fullmatch(r"[0-9a-zA-Z-]{1,127}", name) or len(body["value"].encode()) > 25600:
                raise Refused(400, "BadParameter")
            tags = body.get("tags") or {}
            if len(tags) > 15 or any(len(text) > 256 for pair in tags.items() for text in pair):
                raise Refused(400, "BadParameter")
            if name in self.bin:
                raise Refused(409, "Conflict", "ObjectIsDeletedButRecoverable")
            made = Version(name, body)
            self.vault.setdefault(name, []).append(made)
            return made.bundle(host, True)
        if not versions:
            self.may("list" if words[-1] == "versions" else "get")
            raise Refused(404, "SecretNotFound")
        if method == "DELETE":
            self.may("delete")
            self.bin[name] = self.vault.pop(name)
            return self.bin[name][-1].bundle(host, False) | {
                "recoveryId": f"https://{host}/deletedsecrets/{name}", "deletedDate": int(time.time()),
                "scheduledPurgeDate": int(time.time()) + 90 * 86400}
        if len(words) == 3 and words[2] == "versions":
            self.may("list")
            # By id, which is no order of time.
            ordered = sorted(versions, key=lambda version: version.id)
            start, size = int(query.get("$skiptoken", 0)), min(int(query.get("maxresults", 25)), self.page)
            more = start + size < len(ordered)
            link = (f"https://{host}/secrets/{name}/versions?api-version={query['api-version']}"
                    f"&$skiptoken={start + size}&maxresults={size}")
            return {"value": [version.bundle(host, False) for version in ordered[start:start + size]],
                    "nextLink": link if more else None}
        wanted = words[2] if len(words) > 2 else ""
        found = next((version for version in versions if version.id == wanted), None) if wanted else versions[-1]
        if found is None:
            raise Refused(404, "SecretNotFound")
        if method == "PATCH":
            self.may("update")
            attributes = body.get("attributes") or {}
            found.enabled = attributes.get("enabled", found.enabled)
            found.exp = attributes.get("exp", found.exp)
            found.tags = body.get("tags", found.tags)
            found.content_type = body.get("contentType", found.content_type)
            return found.bundle(host, False)
        self.may("get")
        if not found.enabled:
            raise Refused(403, "Forbidden", "SecretDisabled")
        return found.bundle(host, True)

    # Graph.

    def graph(self, method, path, query, body):
        found = re.fullmatch(r"/v1\.0/applications\(appId='([0-9a-f-]+)'\)(?:/(addPassword|removePassword))?", path)
        if not found or found[1] not in self.applications:
            raise Refused(404, "Request_ResourceNotFound")
        passwords, now = self.applications[found[1]], time.time()
        if self.rights is not None and "passwords" not in self.rights:
            raise Refused(403, "Authorization_RequestDenied")

        def shown(key, about):
            return {"keyId": key, "displayName": about["name"], "hint": about["text"][:3], "secretText": None,
                    "customKeyIdentifier": None, "startDateTime": iso(about["start"]), "endDateTime": iso(about["end"])}
        if method == "GET":
            return {"passwordCredentials": [
                shown(key, about) for key, about in passwords.items() if now >= about["known"]]}
        if found[2] == "addPassword":
            wanted = body["passwordCredential"]
            end = datetime.datetime.fromisoformat(wanted["endDateTime"]).timestamp()
            key, text = str(uuid.uuid4()), secrets.token_urlsafe(30)
            passwords[key] = {"text": text, "name": wanted.get("displayName"), "start": now, "end": end,
                              "known": now + self.delay}
            return shown(key, passwords[key]) | {"secretText": text}
        if passwords.get(body["keyId"], {"known": now + 1})["known"] > now:
            raise Refused(400, "Request_BadRequest")
        del passwords[body["keyId"]]
        return None

    # Storage.

    def add_account(self):
        account = f"acct{secrets.token_hex(6)}"
        self.accounts[account] = {slot: self.new_key() for slot in ("key1", "key2")}
        return account

    @staticmethod
    def new_key():
        return {"value": base64.b64encode(os.urandom(64)).decode(), "creationTime": iso(time.time(), ".1234567")}

    def storage(self, method, words, query, body):
        if method != "POST" or words[0] != "subscriptions" or words[1] != self.subscription or "api-version" not in query:
            raise Refused(404, "SubscriptionNotFound")
        account, operation = words[-2:]
        if account not in self.accounts:
            raise Refused(404, "ResourceNotFound")
        keys = self.accounts[account]
        if self.rights is not None and operation not in self.rights:
            raise Refused(403, "AuthorizationFailed")
        if operation == "regenerateKey":
            keys[body["keyName"]] = self.new_key()
        return {"keys": [{"keyName": slot, "permissions": "FULL", **key} for slot, key in keys.items()]}

    def blob(self, handler):
        """Any key of the account signs; which account it is, the header says."""
        found = re.fullmatch(r"SharedKey ([a-z0-9]+):(.+)", handler.headers.get("Authorization") or "")
        for key in self.accounts.get(found[1], {}).values() if found else ():
            if vendor_signature(handler.command, f"https://{handler.headers['Host']}{handler.path}",
                                dict(handler.headers.items()), found[1], key["value"]) == found[2]:
                return b'<?xml version="1.0" encoding="utf-8"?><StorageServiceProperties />'
        raise Refused(403, "AuthenticationFailed", headers={"x-ms-error-code": "AuthenticationFailed"})

    # What a consumer, or another hand, sees.

    def value(self, name):
        """What is read by name: nothing in place of a newest version that is disabled."""
        with self.lock:
            versions = self.vault.get(name)
            return versions[-1].value if versions and versions[-1].enabled else None

    def add_application(self):
        client_id = str(uuid.uuid4())
        self.applications[client_id] = {}
        return client_id

    def accepts(self, client_id, text):
        with self.lock:
            now = time.time()
            return any(about["text"] == text and about["known"] <= now < about["end"]
                       for about in self.applications[client_id].values())


def vendor_signature(method, url, headers, account, key):
    """By the signer of azure-storage-blob."""
    request = HttpRequest(method, url, headers={
        name.lower() if name.lower().startswith("x-ms-") else name: value for name, value in headers.items()
        if name.lower() not in ("authorization", "host", "user-agent", "accept")})
    wrapped = types.SimpleNamespace(http_request=request, context=types.SimpleNamespace(transport=None))
    SharedKeyCredentialPolicy(account, key).on_request(wrapped)
    return request.headers["Authorization"].split(":", 1)[1]


def iso(moment, fraction=""):
    return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).strftime(f"%Y-%m-%dT%H:%M:%S{fraction}Z")
