"""Signs requests with botocore, as a second opinion for the tests of AWS Signature Version 4.

Reads requests on standard input, one JSON object a line:
    {"method": "POST", "url": "https://h/p?a=1", "headers": [["X-A", "1"]], "body": "base64", "accessKeyID": "AK",
     "secretAccessKey": "...", "region": "eu-west-1", "service": "iam", "stamp": "20150830T123600Z"}
and perhaps a "sessionToken"; writes, for each, the header that botocore would send:
    {"authorization": "AWS4-HMAC-SHA256 Credential=..."}

Needs botocore (pip install botocore).
"""

import base64
import json
import sys

try:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
except ImportError:
    sys.exit("botocore is not installed for " + sys.executable + "; run: " + sys.executable + " -m pip install botocore")


def authorization(case):
    credentials = Credentials(case["accessKeyID"], case["secretAccessKey"], case.get("sessionToken"))
    request = AWSRequest(method=case["method"], url=case["url"], data=base64.b64decode(case["body"]))
    for name, value in case["headers"]:
        request.headers[name] = value
    request.context["timestamp"] = case["stamp"]
    signer = SigV4Auth(credentials, case["service"], case["region"])
    # The steps of add_auth, at a time of our own.
    signer._modify_request_before_signing(request)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(request, signer.signature(text, request))
    return request.headers["Authorization"]


for line in sys.stdin:
    if line.strip():
        print(json.dumps({"authorization": authorization(json.loads(line))}))
