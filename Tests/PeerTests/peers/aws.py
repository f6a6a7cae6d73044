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

    name = "moto"
    program = "moto_server"
    arguments = ("-H", "127.0.0.1", "-p", "{port}")
    environment = {"INITIAL_NO_AUTH_ACTION_COUNT": "3"}
    health = "/moto-api/"
    # The key of the calls that are not checked.
    first_key = "first"

    def __init__(self, folder, clock=None):
        """With `clock`, a file, keys are dated by the time that it holds."""
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.clients = {}

        def filled(text):
            return text.format(port=self.port)
        program = [str(pathlib.Path(sys.executable).parent / self.program)]
        if clock:
            program = [sys.executable, str(pathlib.Path(__file__).parent / "moto_in_time.py"), str(clock)]
        self.server = Server(
            self.name, [*program, *map(filled, self.arguments)], folder, self._answers,
            {name: filled(value) for name, value in self.environment.items()})
        iam = self.client("iam", self.first_key, self.first_key)
        iam.create_user(UserName="keyturn")
        iam.put_user_policy(UserName="keyturn", PolicyName="all", PolicyDocument=EVERYTHING)
        key = iam.create_access_key(UserName="keyturn")["AccessKey"]
        self.key_id, self.secret_key = key["AccessKeyId"], key["SecretAccessKey"]

    def _answers(self):
        try:
            urllib.request.urlopen(self.endpoint + self.health, timeout=5).read()
        except urllib.error.HTTPError:
            pass
        return True

    def client(self, service, key_id=None, secret=None):
        """One client for each service and key: making one costs more than a call."""
        wanted = service, key_id or self.key_id, secret or self.secret_key
        if wanted not in self.clients:
            self.clients[wanted] = boto3.client(
                service, region_name="eu-west-1", endpoint_url=self.endpoint, config=CONFIG,
                aws_access_key_id=wanted[1], aws_secret_access_key=wanted[2])
        return self.clients[wanted]

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
