"""OpenBao in development mode: KV version 2 at secret/, AppRole where a test asks for it."""
import json
import os
import pathlib
import subprocess
import sys
import urllib.error
import urllib.request

from .process import Server, free_port


class OpenBao:
    def __init__(self, folder):
        self.log = folder / "openbao.log"
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.binary = str(pathlib.Path(sys.executable).parent / "bao")
        self.server = Server(
            "openbao",
            [self.binary, "server", "-dev", "-dev-root-token-id=root", "-dev-no-store-token",
             f"-dev-listen-address=127.0.0.1:{self.port}"],
            folder, lambda: self.call("GET", "sys/health")[0] == 200)

    def call(self, method, path, body=None, token="root", namespace=None):
        request = urllib.request.Request(
            f"{self.address}/v1/{path}", method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Vault-Token": token, **({"X-Vault-Namespace": namespace} if namespace else {})})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            return error.code, None

    def cli(self, *arguments):
        """The vendor's own command, as a consumer would use it."""
        environment = {**os.environ, "BAO_ADDR": self.address, "BAO_TOKEN": "root"}
        done = subprocess.run([self.binary, *arguments], capture_output=True, text=True, env=environment, timeout=60)
        return done.stdout if done.returncode == 0 else None

    def value(self, path, field="value"):
        """What a consumer reads now; None when there is nothing."""
        status, answer = self.call("GET", f"secret/data/{path}")
        return answer["data"]["data"].get(field) if status == 200 else None

    def versions(self, path):
        status, answer = self.call("GET", f"secret/metadata/{path}")
        return answer["data"]["versions"] if status == 200 else {}

    def unseal(self):
        key = self.log.read_text().split("Unseal Key: ")[1].split()[0]
        assert self.call("PUT", "sys/unseal", {"key": key})[1]["sealed"] is False

    def stop(self):
        self.server.stop()
