"""A Docker engine of the campaign's own, on a small disk of its own: it may be stopped, killed and filled up.

It runs in namespaces of its own, under a loop that starts it again as systemd would. So nothing of it survives, and it
leaves the network of the machine's engine alone.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_DISK_BYTES = 3_000_000_000
"""The file has holes: only what is written takes room."""
_SUPERVISOR = """
exec 2>> "$1/log"
[ ! -d /run/containerd ] || mount -t tmpfs none /run/containerd
while :; do
  rm -f "$1/pid" "$1/exec/containerd/containerd.pid"
  dockerd --data-root "$1/disk/data" --exec-root "$1/exec" --pidfile "$1/pid" --host "unix://$1/sock" \
    --bridge none --iptables=false --ip-forward=false --storage-driver overlay2 >> "$1/log" 2>&1 &
  wait $!
  sleep 0.3
done
"""


class OwnEngine:
    """An engine in a folder. `environ` leads commands to it."""

    def __init__(self, folder: Path, process: "subprocess.Popen[bytes]") -> None:
        """Take the process that keeps the engine running."""
        self.folder, self._process = folder, process
        self.environ = {"DOCKER_HOST": f"unix://{folder}/sock"}
        self.disk_dir = folder / "disk"
        self._image = ""

    def end(self, number: signal.Signals) -> None:
        """Send a signal to the engine alone; it is started again at once."""
        for pid in self._pids("dockerd"):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def end_containerd(self) -> None:
        """Kill what runs the containers."""
        for pid in self._pids("containerd"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def wait_until_ready(self) -> None:
        """Wait until it answers and, if it has an image, runs a container."""
        probe = ("run", "--rm", "--network", "none", self._image, "true") if self._image else ("version",)
        for _ in range(300):
            if self._docker(*probe).returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError(f"the engine did not start:\n{(self.folder / 'log').read_text()[-2000:]}")

    def take_image(self, reference: str) -> None:
        """Copy an image from the machine's engine."""
        with subprocess.Popen(["docker", "save", reference], stdout=subprocess.PIPE) as saving:
            subprocess.run(
                ["docker", "load", "--quiet"],
                stdin=saving.stdout,
                env=os.environ | self.environ,
                check=True,
                stdout=subprocess.DEVNULL,
            )
        self._image = reference

    @contextmanager
    def filled(self, free_bytes: int) -> Iterator[None]:
        """Leave so many bytes of its disk until the end of the block."""
        path = self.disk_dir / "filler"
        size = max(shutil.disk_usage(self.disk_dir).free - free_bytes, 1)
        subprocess.run(["fallocate", "--length", str(size), str(path)], check=True)
        try:
            yield
        finally:
            path.unlink()

    def _docker(self, *words: str) -> "subprocess.CompletedProcess[bytes]":
        environ = os.environ | self.environ
        return subprocess.run(["docker", *words], env=environ, capture_output=True, check=False, timeout=30)

    def _pids(self, program: str) -> list[int]:
        """Return the processes of a program that belong to this engine, by the folders in their command lines."""
        pids = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                words = path.read_bytes().decode(errors="replace").split("\0")
                if Path(words[0]).name == program and any(str(self.folder) in word for word in words):
                    pids.append(int(path.parent.name))
        return pids


@contextmanager
def own_engine(folder: Path) -> Iterator[OwnEngine]:
    """Start an engine in a new folder, and end it, with all that it started, at the end of the block."""
    folder.mkdir()
    (folder / "disk").mkdir()
    with (folder / "disk.img").open("wb") as file:
        file.truncate(_DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(folder / "disk.img")], check=True)
    subprocess.run(["mount", "-o", "loop", str(folder / "disk.img"), str(folder / "disk")], check=True)
    try:
        command = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        process = subprocess.Popen([*command, "bash", "-c", _SUPERVISOR, "supervisor", str(folder)])
        engine = OwnEngine(folder, process)
        try:
            engine.wait_until_ready()
            yield engine
        finally:
            process.kill()
            process.wait()
    finally:
        _unmount(folder / "disk")


def _unmount(folder: Path) -> None:
    """Unmount a disk whose last users are ending."""
    for _ in range(50):
        if subprocess.run(["umount", str(folder)], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def lack() -> str:
    """Return what the machine lacks for an engine of its own."""
    if os.getuid() != 0:
        return "only root may start an engine"
    programs = ("dockerd", "unshare", "mkfs.ext4", "fallocate")
    missing = [name for name in programs if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]
    return f"{', '.join(missing)} not found" if missing else ""
