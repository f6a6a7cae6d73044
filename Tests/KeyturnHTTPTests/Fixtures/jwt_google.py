"""Signs with google-auth, as a second opinion for the tests of Google's service account keys.

Reads questions on standard input, one JSON object a line. `{"make": 2048}` asks for a key file; `{"file": "the JSON of a
key file", "scope": "...", "at": 1800000000, "ours": "an assertion"}` for google-auth's own assertion of that time, and
for what it makes of ours: its signature of what we signed, and what our header and claims say.

Needs google-auth with cryptography (pip install google-auth cryptography).
"""

import datetime
import functools
import json
import sys
import uuid

try:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from google.auth import _helpers, crypt, jwt
    from google.oauth2 import service_account
except ImportError:
    sys.exit("google-auth is not installed for " + sys.executable)


def make(bits):
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    email = f"a{uuid.uuid4().hex[:8]}@p.iam.gserviceaccount.com"
    return {"file": json.dumps({
        "type": "service_account", "private_key_id": uuid.uuid4().hex, "private_key": pem, "client_email": email,
        "token_uri": "https://oauth2.googleapis.com/token"})}


@functools.cache
def load(file):
    info = json.loads(file)
    key = serialization.load_pem_private_key(info["private_key"].encode(), None).public_key()
    return service_account.Credentials.from_service_account_info(info), key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def judge(question):
    credentials, public = load(question["file"])
    credentials = credentials.with_scopes([question["scope"]])
    _helpers.utcnow = lambda: datetime.datetime.fromtimestamp(
        question["at"], datetime.timezone.utc).replace(tzinfo=None)
    theirs = credentials._make_authorization_grant_assertion().decode()
    header, claims, content, signature = jwt._unverified_decode(question["ours"])
    their_header, their_claims, _, _ = jwt._unverified_decode(theirs)
    return {
        "isSame": header == their_header and claims == their_claims,
        "isValid": crypt.verify_signature(content, signature, public),
        "signature": _helpers.unpadded_urlsafe_b64encode(credentials.signer.sign(content)).decode()}


for line in sys.stdin:
    if line.strip():
        asked = json.loads(line)
        print(json.dumps(make(asked["make"]) if asked.get("make") else judge(asked)))
