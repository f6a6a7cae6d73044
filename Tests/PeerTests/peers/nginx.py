"""nginx before another server: TLS of several kinds, client certificates, redirects, HTTP/2, and a log of it all."""
import collections
import pathlib
import shutil
import socket
import time

from .process import Server, free_port

Line = collections.namedtuple("Line", "port protocol connection number method path status client")


class Nginx:
    """Every site is a name with the directives of its server block; `ports` says where it listens on loopback, and
    PORT(name) in a directive stands for another site's port."""

    def __init__(self, folder, sites):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.ports = {name: free_port() for name in sites}
        self.log = self.folder / "access.log"
        servers = "".join(
            f"  server {{\n    listen 127.0.0.1:{self.ports[name]} {options};\n    {body}\n  }}\n"
            for name, (options, body) in sites.items())
        for name, port in self.ports.items():
            servers = servers.replace(f"PORT({name})", str(port))
        path = self.folder / "nginx.conf"
        temporary = "".join(
            f"  {kind}_temp_path {self.folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        path.write_text(f"""
daemon off;
pid {self.folder}/nginx.pid;
error_log {self.folder}/error.log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
{temporary}
  log_format told '$server_port|$server_protocol|$connection|$connection_requests|'
    '$request_method|$uri|$status|$ssl_client_s_dn';
  access_log {self.log} told;
  proxy_http_version 1.1;
  proxy_set_header Host $http_host;
{servers}}}
""")
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        self.server = Server(
            "nginx", [program, "-p", str(self.folder), "-e", f"{self.folder}/error.log", "-c", str(path)], self.folder,
            self._listens)

    def _listens(self):
        for port in self.ports.values():
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
        return True

    def lines(self, site):
        """The requests that a site has answered since the last `forget`; what was no request is left out."""
        time.sleep(0.1)
        lines = [Line(*line.split("|")) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line.port == str(self.ports[site]) and line.method]

    def forget(self):
        time.sleep(0.1)
        with open(self.log, "r+") as file:
            file.truncate()

    def stop(self):
        self.server.stop()


def secure(certificate, more=""):
    return f"ssl_certificate {certificate[0]}; ssl_certificate_key {certificate[1]}; {more}"
