"""Where a peer in the test's own process listens: a free port, HTTP/1.1 with any method, TLS where it has a certificate."""
import http.server
import json
import ssl
import threading


class Listener:
    def __init__(self, serve, certificate=None, clients=None):
        """`serve` is called with the handler and the body of each request, and answers by `reply`; where it raises, the
        connection is closed. `certificate` has the paths of the server's certificate and key, `clients` that of the
        authority of those that clients may show."""
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Otherwise the body of each answer waits 40 ms for the client to acknowledge its head.
            disable_nagle_algorithm = True

            def log_message(self, *_):
                pass

            def answer(self):
                serve(self, self.rfile.read(int(self.headers.get("Content-Length") or 0)))

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.address = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            if clients:
                context.load_verify_locations(clients)
                context.verify_mode = ssl.CERT_OPTIONAL
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def reply(handler, status, answer=None, kind="application/json", headers=None):
    """Sends bytes as they are, None as nothing, and all else as JSON."""
    content = b"" if answer is None else answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    handler.send_response(status)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    if kind:
        handler.send_header("Content-Type", kind)
    # An answer without content has no length to tell (RFC 9110, 8.6).
    if content or status != 204:
        handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)
