"""Does compile actions for a server, in a container of a toolchain image that has no network.

action_worker.py    Environment: PIBUILD_REMOTE_SOCKET, PIBUILD_REMOTE_IMAGE, PIBUILD_REMOTE_JOBS, PIBUILD_REMOTE_NAME.
The parts are started again when they end, as they do when the server restarts. SIGTERM lets running actions end.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

from remote_session import HERE, Forwarder, capabilities

_CACHE, _SOCKET = "/work/cas", "/work/cas.sock"
_LONGEST_PAUSE_S = 10
_TELL_S = 5


class Worker:
    """The storage's proxy and the worker, as processes."""

    def __init__(self):
        environ = os.environ
        self.over, self._processes = threading.Event(), {}
        self._told, self._told_at_s, self._problem = 0, 0.0, ""
        self._forwarder = Forwarder(environ["PIBUILD_REMOTE_SOCKET"])
        remote = f"http://127.0.0.1:{self._forwarder.port}"
        self._commands = {
            "casd": [
                f"{HERE}/bin/buildbox-casd",
                f"--cas-remote={remote}",
                "--retry-limit=4",
                f"--bind=unix:{_SOCKET}",
                "--quota-high=" + environ.get("PIBUILD_REMOTE_CACHE", "8G"),
                _CACHE,
            ],
            "worker": [
                f"{HERE}/bin/buildbox-worker",
                f"--bots-remote={remote}",
                "--bots-retry-limit=4",
                f"--cas-remote=unix:{_SOCKET}",
                f"--buildbox-run={HERE}/bridge",
                "--runner-arg=--clearenv",
                f"--platform=container-image={environ['PIBUILD_REMOTE_IMAGE']}",
                f"--concurrent-jobs={environ['PIBUILD_REMOTE_JOBS']}",
                "--max-wait-time=10",
                "--graceful-shutdown-timeout=" + environ.get("PIBUILD_REMOTE_GRACE_S", "300"),
                "--log-level=warning",
                environ["PIBUILD_REMOTE_NAME"],
            ],
        }

    def run(self):
        """Run until SIGTERM."""
        print("started", flush=True)
        pause_s, was_there = 1, None
        while not self.over.is_set():
            is_there = self._is_there()
            if is_there != was_there:
                print("ready" if is_there else f"waiting for the server: {self._problem}", flush=True)
                was_there = is_there
            began_s = time.monotonic()
            if is_there:
                self._round()
            pause_s = 1 if time.monotonic() - began_s > 60 else min(2 * pause_s, _LONGEST_PAUSE_S)
            self.over.wait(pause_s)

    def _is_there(self):
        try:
            capabilities(self._forwarder)
        except OSError as error:
            self._problem = str(error)
            return False
        return True

    def _tell(self):
        """Print how many actions have been done, when there are more, every few seconds at most."""
        if time.monotonic() < self._told_at_s + _TELL_S:
            return
        self._told_at_s = time.monotonic()
        with contextlib.suppress(OSError), open("/work/actions") as file:
            costs_s = [float(line) for line in file if line.endswith("\n")]
            if len(costs_s) != self._told:
                self._told = len(costs_s)
                print(f"{self._told} actions, {sum(costs_s):.0f} s of CPU", flush=True)

    def _round(self):
        """Run both parts until one of them ends."""
        for name, command in self._commands.items():
            self._processes[name] = subprocess.Popen(command)
            deadline_s = time.monotonic() + 30
            while name == "casd" and not os.path.exists(_SOCKET) and time.monotonic() < deadline_s:
                time.sleep(0.05)
        while not self.over.is_set() and all(process.poll() is None for process in self._processes.values()):
            self.over.wait(0.5)
            self._tell()
        for name in ("worker", "casd"):  # the worker ends its actions first
            self._processes[name].terminate()
            self._processes[name].wait()
        if os.path.exists(_SOCKET):
            os.unlink(_SOCKET)
        if not self.over.is_set():
            print("the worker's connection ended; it begins again", flush=True)


if __name__ == "__main__":
    worker = Worker()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.over.set())
    worker.run()
    print("ended", flush=True)
    sys.exit(0)
