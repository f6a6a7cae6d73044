"""A server of Redis with an ACL file, over plain TCP, TLS and a socket."""
import pathlib
import shutil
import subprocess
import tempfile
import uuid

import redis

from .pki import Authority
from .process import Server, free_port


class Redis:
    def __init__(self, users="acl-file"):
        """`users` says where they are kept: `acl-file`, `config-file` or `never`."""
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="keyturn-redis-"))
        self.port, self.tls_port = free_port(), free_port()
        self.address, self.tls_address = f"redis://127.0.0.1:{self.port}", f"rediss://127.0.0.1:{self.tls_port}"
        authority = Authority(self.folder, "authority")
        self.ca = authority.file
        certificate, key = authority.issue("server")
        self.admin_password = uuid.uuid4().hex
        self.log = self.folder / "log"
        self.acl_file = self.folder / "users.acl"
        self.config = self.folder / "redis.conf"
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.folder}", 'save ""', "loglevel debug",
                 f"logfile {self.log}", f"tls-port {self.tls_port}", f"tls-cert-file {certificate}",
                 f"tls-key-file {key}", f"tls-ca-cert-file {self.ca}", "tls-auth-clients no",
                 f"unixsocket {self.folder}/socket", "slowlog-log-slower-than 0", "slowlog-max-len 10000"]
        admin = f"user default on >{self.admin_password} ~* &* +@all"
        if users == "acl-file":
            self.acl_file.write_text(admin + "\n")
            lines.append(f"aclfile {self.acl_file}")
        else:
            lines.append(admin)
        self.config.write_text("\n".join(lines) + "\n")
        self.start()

    def start(self):
        def ready():
            try:
                return self.admin().ping()
            except redis.ConnectionError as error:
                raise OSError(str(error)) from None
        self.server = Server("redis", ["redis-server", str(self.config)], self.folder, ready)

    def restart(self):
        self.server.stop()
        self.start()

    def admin(self):
        return redis.Redis(port=self.port, password=self.admin_password, decode_responses=True)

    def add_user(self, rules="on ~* &* +@all -@admin"):
        name = f"app-{uuid.uuid4().hex[:10]}"
        self.admin().execute_command("ACL", "SETUSER", name, *rules.split())
        return name

    def hashes(self, user):
        return self.admin().acl_getuser(user)["passwords"]

    def accepts(self, user, password):
        """Whether the vendor's client gets in and is served."""
        client = redis.Redis(port=self.port, username=user, password=password)
        try:
            return client.ping()
        except redis.AuthenticationError:
            return False
        finally:
            client.close()

    def monitor(self):
        """A program that writes down every command that the server gets."""
        file = open(self.folder / "monitor", "wb")
        return subprocess.Popen(
            ["redis-cli", "-p", str(self.port), "-a", self.admin_password, "--no-auth-warning", "monitor"],
            stdout=file, stderr=file), self.folder / "monitor"

    def stop(self):
        self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
