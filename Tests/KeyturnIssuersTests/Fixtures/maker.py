"""A program that makes keys, as the tests of the issuer `command` use one: keys in a file, questions in JSON."""

import json
import pathlib
import sys

store = pathlib.Path(sys.argv[1])
keys = json.loads(store.read_text()) if store.exists() else {}
question = json.load(sys.stdin)
operation = question["operation"]
key = keys.get(question.get("keyId"))
answer = {}
if operation == "create":
    name = f"key-{len(keys) + 1}"
    value = f"made \"{name}\" ✓"
    keys[name] = {"lineage": question["lineage"], "value": value, "enabled": True, "gone": False}
    answer = {"keyId": name, "value": value, "fields": {"user": question["secret"]}}
elif operation == "list":
    answer = {
        "keys": [
            {"keyId": name, "lineage": found["lineage"], "createdAt": "2027-01-15T08:00:00Z"}
            for name, found in keys.items()
            if not found["gone"]
        ]
    }
elif operation == "check":
    works = key is not None and key["enabled"] and not key["gone"] and key["value"] == question["value"]
    answer = {"status": "works" if works else "refused"}
elif operation == "lastUse":
    answer = {"lastUsedAt": None}
elif key is None or key["gone"]:
    answer = {"error": {"code": "notFound"}}
elif operation == "revoke":
    key["gone"] = True
else:
    key["enabled"] = operation == "enable"
store.write_text(json.dumps(keys))
print(json.dumps(answer))
