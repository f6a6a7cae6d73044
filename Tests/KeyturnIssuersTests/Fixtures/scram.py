"""SCRAM-SHA-256 verifiers by RFC 5802 in Python's own library, one for each line of JSON."""
import base64
import hashlib
import hmac
import json
import sys

for line in sys.stdin:
    question = json.loads(line)
    password, salt = question["password"].encode(), bytes.fromhex(question["salt"])
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, question["iterations"])
    client = hmac.digest(salted, b"Client Key", "sha256")
    server = hmac.digest(salted, b"Server Key", "sha256")
    text = [base64.b64encode(part).decode() for part in (salt, hashlib.sha256(client).digest(), server)]
    print(json.dumps({"verifier": f"SCRAM-SHA-256${question['iterations']}:{text[0]}${text[1]}:{text[2]}"}))
