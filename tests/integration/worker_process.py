"""A worker of remote execution, for tests and measurements."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.integration.execution_server import ExecutionServer

ROOT = Path(__file__).parents[2]


class WorkerProcess:
    """`pibuild worker`, as a person starts it. It ends with the process that started it."""

    def __init__(
        self, server: ExecutionServer, folder: Path, name: str, *, jobs: int = 1, target: str = "pi-one"
    ) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        words = ["--target", target, "--server", server.url, "--name", name, "--jobs", str(jobs), "-v"]
        words += ["--certificate", str(server.certificates / "worker.pem")]
        with self.log.open("wb") as log:
            command = ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "pibuild", "worker", *words]
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def ready(self) -> "WorkerProcess":
        """Wait until it asks for actions."""
        self.wait_for(f"{self.name}: ready")
        return self

    def wait_for(self, text: str, count: int = 1, deadline_s: float = 300) -> None:
        """Wait until the log has a text so many times."""
        end_s = time.monotonic() + deadline_s
        while self.text().count(text) < count:
            assert time.monotonic() < end_s, self.text()[-3000:]
            assert self.process.poll() is None, self.text()[-3000:]
            time.sleep(0.2)

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def actions(self) -> int:
        counts = re.findall(rf"{self.name}: (\d+) actions", self.text())
        return int(counts[-1]) if counts else 0

    @property
    def container(self) -> str:
        """The id of its container."""
        listed = subprocess.run(["docker", "ps", "-q"], capture_output=True, text=True, check=True).stdout.split()
        for container in listed:
            shown = subprocess.run(["docker", "inspect", container], capture_output=True, text=True, check=False).stdout
            if f'"PIBUILD_REMOTE_NAME={self.name}"' in shown:
                return container
        raise LookupError(f"{self.name} has no container")

    def kill_container(self) -> None:
        """End the worker as a machine ends that loses power."""
        subprocess.run(["docker", "kill", self.container], check=True, stdout=subprocess.DEVNULL)

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)
