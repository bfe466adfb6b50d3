"""A real registry of images on loopback, and a second engine, which stands for another machine."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import requests

from tests.fakes.servers import free_port

LOGIN = ("builder", "not-a-secret")
"""The user and the password of a registry that wants a login."""
_HTPASSWD = "$2b$04$V9euRPD8Ew7heXOmNtieGe1dVrSSjZXO380PYN7wWqpDQa8W5Fl4u"
"""bcrypt of that password."""
_CONFIG = """version: 0.1
log: {{accesslog: {{disabled: true}}, level: warn}}
storage:
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}"}}
"""
_AUTH = 'auth: {{htpasswd: {{realm: test, path: "{path}"}}}}\n'
_ENGINE = """
folder=$1
shift
ip link set lo up
[ ! -d /run/containerd ] || mount -t tmpfs none /run/containerd
"$@" > /dev/null 2>&1 &
exec dockerd --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/pid" \
  --host "unix://$folder/sock" --bridge none --iptables=false --ip-forward=false
"""
_MANIFESTS = "application/vnd.docker.distribution.manifest.v2+json"


def registry_program(folder: Path) -> str:
    """Return the path of docker-registry: the machine's, or that of Debian's package, unpacked into a folder.

    To install the package would start a service on all addresses of the machine.
    """
    if path := shutil.which("docker-registry"):
        return path
    subprocess.run(["apt-get", "download", "docker-registry"], cwd=folder, check=True, capture_output=True)
    (package,) = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)
    return str(folder / "usr/bin/docker-registry")


class Registry:
    """A registry that runs; `address` is HOST/PATH for the settings, `command` the words that started it."""

    def __init__(self, command: Sequence[str], port: int, login: tuple[str, str] | None, log_path: Path) -> None:
        self.command, self.host, self._login, self._log_path = command, f"127.0.0.1:{port}", login, log_path
        self.address = f"{self.host}/some/path"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(self.command, stdout=log, stderr=log)
        for _ in range(100):
            with suppress(requests.ConnectionError):
                requests.get(f"http://{self.host}/v2/", timeout=5)
                return
            time.sleep(0.1)
        raise RuntimeError(f"the registry did not start: {self._log_path.read_text()[-1000:]}")

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()

    def tags(self, name: str) -> list[str]:
        answer = requests.get(f"http://{self.host}/v2/some/path/{name}/tags/list", auth=self._login, timeout=10)
        return sorted(answer.json().get("tags") or [])

    def copy(self, name: str, tag: str, to: str) -> None:
        """Put the image of a tag under another name, as whoever may write to the registry can."""
        base = f"http://{self.host}/v2/some/path"
        found = self._asked("GET", f"{base}/{name}/manifests/{tag}", headers={"Accept": _MANIFESTS})
        manifest = found.json()
        for part in (manifest["config"], *manifest["layers"]):
            query = f"mount={part['digest']}&from=some/path/{name}"
            self._asked("POST", f"{base}/{to}/blobs/uploads/?{query}")
        headers = {"Content-Type": found.headers["Content-Type"]}
        self._asked("PUT", f"{base}/{to}/manifests/{tag}", data=found.content, headers=headers)

    def drop(self, name: str, tag: str) -> None:
        """Delete the image of a tag."""
        base = f"http://{self.host}/v2/some/path/{name}/manifests"
        found = self._asked("HEAD", f"{base}/{tag}", headers={"Accept": _MANIFESTS})
        self._asked("DELETE", f"{base}/{found.headers['Docker-Content-Digest']}")

    def _asked(self, method: str, url: str, **more: Any) -> requests.Response:
        answer = requests.request(method, url, auth=self._login, timeout=10, **more)
        answer.raise_for_status()
        return answer


@contextmanager
def running_registry(program: str, folder: Path, login: tuple[str, str] | None = None) -> Iterator[Registry]:
    """Start docker-registry in a new folder, and end it at the end of the block."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    config = _CONFIG.format(root=folder / "images", port=port)
    if login:
        (folder / "htpasswd").write_text(f"{login[0]}:{_HTPASSWD}\n")
        config += _AUTH.format(path=folder / "htpasswd")
    (folder / "config.yml").write_text(config)
    command = [program, "serve", str(folder / "config.yml")]
    registry = Registry(command, port, login, folder / "log")
    try:
        registry.start()
        yield registry
    finally:
        registry.kill()


def engine_lack() -> str:
    """Return what the machine lacks for a second engine."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if os.getuid() != 0:
        return "only root may start an engine"
    missing = [name for name in ("dockerd", "ip", "unshare") if not shutil.which(name, path=path)]
    return f"{', '.join(missing)} not found" if missing else ""


@contextmanager
def second_engine(registry: Registry) -> Iterator[str]:
    """Start another Docker engine, without images, and yield its DOCKER_HOST; all of it ends with the block.

    It has a network of its own, because it would remove the bridge of the machine's engine; the registry serves the
    same images there at the same address. Its folder has a short name: a socket's path has 107 characters at most.
    """
    folder = Path(mkdtemp(prefix="engine-"))
    spaces = ["--mount", "--net", "--pid", "--mount-proc"]
    command = ["unshare", *spaces, "--fork", "--kill-child", "bash", "-c", _ENGINE, "dockerd"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, str(folder), *registry.command], stdout=log, stderr=log)
    host = f"unix://{folder}/sock"
    try:
        for _ in range(1200):
            environ = os.environ | {"DOCKER_HOST": host}
            if not subprocess.run(["docker", "version"], env=environ, capture_output=True, check=False).returncode:
                break
            time.sleep(0.1)
        else:
            raise RuntimeError(f"the engine did not start: {(folder / 'log').read_text()[-2000:]}")
        yield host
    finally:
        process.kill()  # and with it, all processes of its namespace
        process.wait()
        shutil.rmtree(folder)
