"""A real server of remote execution on loopback: PostgreSQL, casd as the storage, BuildGrid, and nginx in front.

The configuration is the one that ci/remote gives to users. `python -m tests.integration.execution_server FOLDER` starts
a server and waits.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pibuild.build.context import BuildContext, open_context
from pibuild.build.remote_programs import CASD, pinned_programs, unpacked
from pibuild.config.project_files import files_digest
from pibuild.config.settings_sources import load_settings
from pibuild.console import Console
from pibuild.signals import raise_interrupts
from pibuild.trees.stored_tree import stored_members

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "ci" / "remote"
_DEADLINE_S = 60.0


class ExecutionServer:
    """All parts of a server, each a process of this machine; `close` ends them."""

    def __init__(self, folder: Path, *, casd: Path, nginx: Sequence[str], python: Path) -> None:
        """Start everything; `nginx` is a command, and `python` one that has BuildGrid."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._casd, self._nginx, self.python = folder, casd, list(nginx), python
        self._database_dir = Path(tempfile.mkdtemp(prefix="pibuild-database-"))  # pytest's folders are for one user
        self.certificates = folder / "certificates"
        subprocess.run([CONFIGURATION / "certificates", self.certificates, "localhost", "127.0.0.1"], check=True)
        self.ports = dict(zip(("database", "storage", "scheduler", "front"), _free_ports(4), strict=True))
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        return f"grpcs://localhost:{self.ports['front']}"

    def requirements(self) -> int:
        """Return how many different sets of properties the actions had that were sent so far."""
        query = "select count(distinct platform_requirements) from jobs"
        code = "import psycopg2, sys; c = psycopg2.connect(sys.argv[1]).cursor(); c.execute(sys.argv[2]); "
        code += "print(*c.fetchone())"
        address = f"postgresql://buildgrid@127.0.0.1:{self.ports['database']}/postgres"
        command = [str(self.python), "-c", code, address, query]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU seconds of each part so far, with those of the processes that it started."""
        parents, spent_s = dict[int, int](), dict[int, float]()
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it ended meanwhile
                words = path.read_text().rpartition(")")[2].split()
                process = int(path.parent.name)
                parents[process] = int(words[1])
                spent_s[process] = sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK")
        tops = {process.pid: name for name, process in self._running.items()}
        found = dict.fromkeys(self._running, 0.0)
        for process, cpu_s in spent_s.items():
            top = process
            while top not in tops and top in parents:
                top = parents[top]
            if top in tops:
                found[tops[top]] += cpu_s
        return found

    def start(self) -> None:
        """Start the parts that do not run."""
        for name, begin in (
            ("database", self._start_database),
            ("storage", self._start_storage),
            ("scheduler", self._start_scheduler),
            ("front", self._start_front),
        ):
            if name not in self._running:
                begin()
                self._wait_for(name)

    def stop(self, *names: str) -> None:
        """End some parts, as a machine that is switched off does."""
        for name in names:
            process = self._running.pop(name)
            if name == "database":
                process.send_signal(signal.SIGINT)
                process.wait()
            else:
                kill_group(process)

    def close(self) -> None:
        """End everything."""
        self.stop(*reversed(self._running))
        shutil.rmtree(self._database_dir, ignore_errors=True)

    def _start_database(self) -> None:
        data, programs = self._database_dir, _postgres_programs()
        user: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
        if not (data / "PG_VERSION").exists():
            if user:  # PostgreSQL refuses to run as root
                os.chown(data, 65534, 65534)
            initdb: list[str | Path] = [programs / "initdb", "-D", data, "-U", "buildgrid", "-A", "trust", "--no-sync"]
            subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, **user)
        words: list[str | Path] = [programs / "postgres", "-D", data, "-k", data, "-h", "127.0.0.1"]
        words += ["-p", str(self.ports["database"])]
        self._run("database", [*words, "-c", "fsync=off", "-c", "max_connections=100"], **user)

    def _start_storage(self) -> None:
        address = f"127.0.0.1:{self.ports['storage']}"
        self._run("storage", [self._casd, f"--bind={address}", "--quota-high=5G", self.folder / "storage"])

    def _start_scheduler(self) -> None:
        environ = dict(os.environ) | {
            "DATABASE": f"postgresql+psycopg2://buildgrid@127.0.0.1:{self.ports['database']}/postgres",
            "STORAGE": f"http://127.0.0.1:{self.ports['storage']}",
            "LISTEN": f"127.0.0.1:{self.ports['scheduler']}",
        }
        bgd = self.python.parent / "bgd"
        subprocess.run([bgd, "migrate", "apply", environ["DATABASE"]], check=True, stdout=subprocess.DEVNULL)
        self._run("scheduler", [bgd, "server", "start", CONFIGURATION / "scheduler.yml"], env=environ)

    def _start_front(self) -> None:
        text = (CONFIGURATION / "front.conf.in").read_text()
        values = {
            "LISTEN": f"127.0.0.1:{self.ports['front']}",
            "CERTIFICATES": str(self.certificates),
            "SCHEDULER": f"127.0.0.1:{self.ports['scheduler']}",
            "STORAGE": f"127.0.0.1:{self.ports['storage']}",
            "STATE": str(self.folder),
        }
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)
        (self.folder / "front.conf").write_text(text)
        words = ["-c", str(self.folder / "front.conf"), "-e", str(self.folder / "nginx.log")]
        self._run("front", [*self._nginx, *words])

    def _run(self, name: str, command: Sequence[str | Path], **options: Any) -> None:
        self._running[name] = started_group(command, self.folder / f"{name}.log", **options)

    def _wait_for(self, name: str) -> None:
        """Wait until a part takes connections."""
        deadline_s = time.monotonic() + _DEADLINE_S
        while time.monotonic() < deadline_s and self._running[name].poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[name]), 1):
                return
            time.sleep(0.1)
        raise RuntimeError(f"{name} does not start:\n{(self.folder / f'{name}.log').read_text()[-3000:]}")


def started_group(command: Sequence[str | Path], log_path: Path, **options: Any) -> "subprocess.Popen[bytes]":
    """Start a program in a process group of its own."""
    with log_path.open("ab") as log:
        words = list(map(str, command))
        return subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True, **options)


def kill_group(process: "subprocess.Popen[bytes]") -> None:
    """Kill a program with the processes that it started: nginx's would outlive it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _postgres_programs() -> Path:
    """Return the folder of PostgreSQL's programs, of the newest version that is installed."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if installed:
        return installed[-1].parent
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    raise RuntimeError("PostgreSQL is not installed: apt-get install postgresql")


def has_postgres() -> bool:
    """Return whether PostgreSQL is installed."""
    try:
        return bool(_postgres_programs()) and (os.getuid() != 0 or pwd.getpwuid(65534).pw_uid == 65534)
    except RuntimeError:
        return False


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def server_programs(folder: Path, context: BuildContext) -> dict[str, Any]:
    """Return the programs of a server: those that are pinned for containers, and BuildGrid in a Python of its own."""
    pinned = pinned_programs()
    libraries = [source for name, source in pinned.items() if name != CASD]
    nginx = unpacked(libraries, ("nginx",), context)
    (entry,) = context.fetcher.measure_all([pinned[CASD]])
    for member in stored_members(entry.path):
        with member.open() as file:
            (folder / "casd").write_bytes(file.read())
    (folder / "casd").chmod(0o755)
    python = context.store.root / "buildgrid" / files_digest(CONFIGURATION, [CONFIGURATION / "requirements.txt"])[:16]
    if not (python / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", python], check=True)
        pip: list[str | Path] = [python / "bin" / "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "-r", CONFIGURATION / "requirements.txt"], check=True)
        (python / "done").touch()
    loader = nginx / "lib" / "ld-linux-x86-64.so.2"
    return {
        "casd": folder / "casd",
        "nginx": (str(loader), "--library-path", str(nginx / "lib"), str(nginx / "libexec" / "nginx")),
        "python": python / "bin" / "python",
    }


def main(folder: Path) -> None:
    """Run a server until it is interrupted."""
    raise_interrupts()
    folder.mkdir(parents=True, exist_ok=True)
    with open_context(load_settings({}, os.environ, folder), os.environ, Console()) as context:
        server = ExecutionServer(folder, **server_programs(folder, context))
        print(server.url, server.ports, flush=True)
        try:
            threading.Event().wait()
        finally:
            server.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
