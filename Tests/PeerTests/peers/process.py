"""A server as a child process: started, waited for, stopped by its pid."""
import os
import signal
import socket
import subprocess
import time


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    def __init__(self, name, argv, folder, ready, environment=None):
        self.log = open(folder / f"{name}.log", "wb")
        self.process = subprocess.Popen(
            argv, cwd=folder, stdout=self.log, stderr=self.log, start_new_session=True,
            env={**os.environ, **(environment or {})})
        self.name = name
        deadline = time.monotonic() + 90
        while not self._is_ready(ready):
            if self.process.poll() is not None or time.monotonic() > deadline:
                text = (folder / f"{name}.log").read_text(errors="replace")[-2000:]
                self.stop()
                raise RuntimeError(f"{name} did not start:\n{text}")
            time.sleep(0.1)

    @staticmethod
    def _is_ready(ready):
        try:
            return ready()
        except OSError:
            return False

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.log.close()
