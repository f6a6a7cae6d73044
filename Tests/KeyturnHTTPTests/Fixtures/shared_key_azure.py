"""Signs requests with the signer of azure-storage-blob, as a second opinion for the tests of Azure's Shared Key.

Reads requests on standard input, one JSON object a line:
    {"method": "GET", "url": "https://a.blob.core.windows.net/?comp=list", "headers": [["x-ms-version", "2021-08-06"]],
     "length": 0, "account": "a", "key": "base64", "date": "Sun, 06 Nov 1994 08:49:37 GMT"}
and writes, for each, the header that it would send:
    {"authorization": "SharedKey a:..."}

Needs azure-storage-blob (pip install azure-storage-blob).
"""

import json
import sys
import types

try:
    from azure.core.pipeline.transport import HttpRequest
    from azure.storage.blob._shared.authentication import SharedKeyCredentialPolicy
except ImportError:
    sys.exit("azure-storage-blob is not installed for " + sys.executable)


def authorization(case):
    headers = {name: value for name, value in case["headers"]}
    headers["x-ms-date"] = case["date"]
    if case["length"]:
        headers["Content-Length"] = str(case["length"])
    request = HttpRequest(case["method"], case["url"], headers=headers)
    context = types.SimpleNamespace(transport=None)
    SharedKeyCredentialPolicy(case["account"], case["key"]).on_request(
        types.SimpleNamespace(http_request=request, context=context))
    return request.headers["Authorization"]


for line in sys.stdin:
    if line.strip():
        print(json.dumps({"authorization": authorization(json.loads(line))}))
