"""A server of PostgreSQL over TLS, which logs every statement, and asks every role but a few for a password."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import uuid

import psycopg
from psycopg import sql

from .pki import Authority
from .process import Server, free_port

BINARIES = max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
# `trusting` needs no password, `barred` is never let in.
ACCESS = """\
local all admin trust
host all trusting 127.0.0.1/32 trust
host all barred 127.0.0.1/32 reject
host all all 127.0.0.1/32 scram-sha-256
"""


class PostgreSQL:
    def __init__(self):
        # The server does not run as root, and another user has to get to its folder.
        self.as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="keyturn-postgresql-"))
        self.port = free_port()
        authority = Authority(self.folder, "authority")
        self.ca = authority.file
        self.certificate, self.key = authority.issue("server")
        data = self.folder / "data"
        if self.as_user:
            for path in [self.folder, *self.folder.iterdir()]:
                shutil.chown(path, "postgres", "postgres")
            self.folder.chmod(0o755)
        subprocess.run(
            [*self.as_user, BINARIES / "initdb", "-D", data, "-U", "admin", "--no-sync", "--locale=C.UTF-8", "-A", "trust"],
            check=True, capture_output=True, cwd=self.folder)
        (data / "pg_hba.conf").write_text(ACCESS)
        options = {
            "port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder, "fsync": "off",
            "log_statement": "all", "log_connections": "on", "ssl": "on", "ssl_cert_file": self.certificate,
            "ssl_key_file": self.key, "max_connections": 50}
        self.log = self.folder / "postgresql.log"
        self.server = Server(
            "postgresql", [*self.as_user, str(BINARIES / "postgres"), "-D", str(data), *(
                word for name, value in options.items() for word in ("-c", f"{name}={value}"))],
            self.folder, lambda: self.rows("SELECT 1") == [(1,)])
        self.admin_password = uuid.uuid4().hex
        self.run("CREATE ROLE keyturn LOGIN CREATEROLE PASSWORD {}", self.admin_password)

    def rows(self, statement, *arguments):
        """What the server's own administrator is told, at its socket."""
        try:
            with psycopg.connect(host=str(self.folder), port=self.port, user="admin", dbname="postgres",
                                 autocommit=True) as connection:
                found = connection.execute(sql.SQL(statement).format(
                    *(argument if isinstance(argument, sql.Composable) else sql.Literal(argument)
                      for argument in arguments)))
                return found.fetchall() if found.description else []
        except psycopg.OperationalError as error:
            raise OSError(str(error)) from None

    run = rows

    def add_roles(self, count=2, options="LOGIN", name=None):
        mark = uuid.uuid4().hex[:8]
        names = [f"{name or 'app'}_{letter}_{mark}" for letter in "ab"[:count]]
        for role in names:
            self.run(f"CREATE ROLE {{}} {options}", sql.Identifier(role))
        return names

    def opens(self, url=None, **parts):
        """Whether a consumer gets in, and as whom."""
        try:
            with psycopg.connect(url or "", connect_timeout=20, sslmode="verify-full", sslrootcert=str(self.ca),
                                 **parts) as connection:
                return connection.execute("SELECT current_user").fetchone()[0]
        except psycopg.OperationalError as error:
            assert "password authentication failed" in str(error), error
            return None

    def login(self, user, password):
        return self.opens(host="127.0.0.1", port=self.port, user=user, password=password, dbname="postgres")

    def verifiers(self, roles):
        """What it keeps of the passwords of roles that have one."""
        return {name: verifier for name, verifier in self.rows(
            "SELECT rolname, rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL") if name in roles}

    def stop(self):
        self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
