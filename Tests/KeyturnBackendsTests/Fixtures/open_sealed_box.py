"""Opens sealed boxes with PyNaCl."""
import base64
import json
import sys

from nacl.public import PrivateKey, SealedBox

for line in sys.stdin:
    question = json.loads(line)
    key = PrivateKey(base64.b64decode(question["privateKey"]))
    print(json.dumps({"message": base64.b64encode(SealedBox(key).decrypt(base64.b64decode(question["box"]))).decode()}))
