"""A webhook receiver in this process: keeps what it gets, and can be told to fail or to be away."""
import http.server
import json
import queue
import threading

from peers.process import free_port


class Receiver:
    def __init__(self, port=None):
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}/hook"
        self.seen = []
        self.arrivals = queue.Queue()
        self.answers = []
        self.gate = threading.Event()
        self.gate.set()
        self.server = None

    def start(self):
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = receiver.answers.pop(0) if receiver.answers else 204
                message = {"headers": {name.lower(): value for name, value in self.headers.items()}, "body": body,
                           "path": self.path, "answer": answer}
                receiver.seen.append(message)
                receiver.arrivals.put(message)
                receiver.gate.wait(60)
                try:
                    self.send_response(answer)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def stop(self):
        if self.server:
            self.gate.set()
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def next(self, timeout=60):
        return self.arrivals.get(timeout=timeout)

    def accepted(self):
        """What was answered with success, as JSON."""
        return [json.loads(message["body"]) for message in self.seen if message["answer"] < 300]

    def types(self):
        return [event["type"] for event in self.accepted()]
