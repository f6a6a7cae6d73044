"""An AWS emulator that checks signatures, their dates (five minutes either way) and inactive keys."""
import pathlib
import sys
import urllib.error
import urllib.request

import boto3

from .aws import CONFIG, EVERYTHING
from .process import Server, free_port


class MiniStack:
    def __init__(self, folder):
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.server = Server(
            "ministack", [str(pathlib.Path(sys.executable).parent / "ministack")], folder, self._answers,
            {"AUTH": "true", "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(self.port)})
        # The key `test` bypasses the checks, so that it serves for nothing but this.
        iam = self.client("iam", "test", "test")
        iam.create_user(UserName="keyturn")
        iam.put_user_policy(UserName="keyturn", PolicyName="all", PolicyDocument=EVERYTHING)
        key = iam.create_access_key(UserName="keyturn")["AccessKey"]
        self.key_id, self.secret_key = key["AccessKeyId"], key["SecretAccessKey"]

    def _answers(self):
        try:
            urllib.request.urlopen(self.endpoint + "/_ministack/health", timeout=5).read()
        except urllib.error.HTTPError:
            pass
        return True

    def client(self, service, key_id=None, secret=None):
        return boto3.client(
            service, region_name="eu-west-1", endpoint_url=self.endpoint, config=CONFIG,
            aws_access_key_id=key_id or self.key_id, aws_secret_access_key=secret or self.secret_key)

    def stop(self):
        self.server.stop()
