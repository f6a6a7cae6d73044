"""AWS emulators that check signatures, with boto3 as the foreign client."""
import pathlib
import sys
import urllib.error
import urllib.request

import boto3
import botocore.config
import botocore.exceptions

from .process import Server, free_port

CONFIG = botocore.config.Config(retries={"max_attempts": 3}, connect_timeout=10, read_timeout=30)
EVERYTHING = ('{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}')


class AWS:
    """moto: IAM and its two-key limit, STS, Secrets Manager; signatures are checked after the first four calls."""

    def __init__(self, folder, environment=None):
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.server = Server(
            "moto",
            [str(pathlib.Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(self.port)],
            folder, self._answers, {"INITIAL_NO_AUTH_ACTION_COUNT": "3", **(environment or {})})
        iam = self.client("iam", "first", "first")
        iam.create_user(UserName="keyturn")
        iam.put_user_policy(UserName="keyturn", PolicyName="all", PolicyDocument=EVERYTHING)
        key = iam.create_access_key(UserName="keyturn")["AccessKey"]
        self.key_id, self.secret_key = key["AccessKeyId"], key["SecretAccessKey"]

    def _answers(self):
        try:
            urllib.request.urlopen(self.endpoint + "/moto-api/", timeout=5).read()
        except urllib.error.HTTPError:
            pass
        return True

    def client(self, service, key_id=None, secret=None):
        return boto3.client(
            service, region_name="eu-west-1", endpoint_url=self.endpoint, config=CONFIG,
            aws_access_key_id=key_id or self.key_id, aws_secret_access_key=secret or self.secret_key)

    def add_user(self, name):
        iam = self.client("iam")
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=EVERYTHING)

    def keys(self, user):
        return {key["AccessKeyId"]: key["Status"]
                for key in self.client("iam").list_access_keys(UserName=user)["AccessKeyMetadata"]}

    def value(self, name, stage="AWSCURRENT"):
        """What a consumer reads now; None when there is nothing."""
        try:
            return self.client("secretsmanager").get_secret_value(SecretId=name, VersionStage=stage)["SecretString"]
        except botocore.exceptions.ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return None
            raise

    def accepts(self, key_id, secret):
        """Whether the key works at its issuer: known, active, and its signature right."""
        try:
            self.client("sts", key_id, secret).get_caller_identity()
            return True
        except botocore.exceptions.ClientError:
            return False

    def stop(self):
        self.server.stop()
