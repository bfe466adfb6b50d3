"""A machine with pibuild: a folder with its settings, store, site, history and key, and how commands run on it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any

from model import ViolationError
from small_project import PYTHON, TARGET, VERSIONS

from pibuild.console import Console
from pibuild.signing.key_files import machine_key, public_pem, public_text
from pibuild.store.local import Store

_DEADLINE_S = 120.0
_STEP_KILL = Path(__file__).with_name("step_kill.py")
BUILD = ("build", "--recipe", "thing", "--release", VERSIONS[1], "--target", TARGET, "--python", PYTHON)
NIGHT = ("nightly",)
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere"}
"""Variables of a machine without an engine: its artifacts can only come from its store or from another machine."""
GOOD_NIGHT = (0, 3)
"""Exit codes: all proven; nothing to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    """As subprocess has it: negative for a signal."""
    out: str
    err: str
    wall_s: float


class Machine:
    """One machine. The paths in its settings are absolute, so a copy of its folder needs `set_up` again."""

    def __init__(self, folder: Path, project_dir: Path, environ: Mapping[str, str]) -> None:
        """Take a folder that a machine has, or is to have. `environ` adds variables, such as those of an engine."""
        self.folder, self._project_dir, self.extra = folder, project_dir, dict(environ)
        self.store_dir, self.site_dir = folder / "store", folder / "site"
        self.public_key_path = folder / "site.pub"

    def set_up(
        self,
        *,
        versions: Sequence[str] = VERSIONS,
        remote: str = "",
        trust: Sequence[str] | None = None,
        destination: str = "",
        registry: str = "",
    ) -> None:
        """Write the settings, and the keys if there are none."""
        self.folder.mkdir(parents=True, exist_ok=True)
        key = machine_key(self.folder / "site.pem")
        self.public_key_path.write_bytes(public_pem(key))
        store: dict[str, Any] = {"folder": str(self.store_dir), "key": str(self.folder / "machine.pem")}
        store |= {"remote": remote} if remote else {}
        store |= {"trust": list(trust)} if trust is not None else {}
        publish: dict[str, Any] = {"site": str(self.site_dir), "key": str(self.folder / "site.pem")}
        publish |= {"to": [{"rclone": destination}]} if destination else {}
        cells = {"recipe": "thing", "versions": list(versions), "targets": [TARGET], "pythons": [PYTHON]}
        settings: dict[str, Any] = {"store": store, "publish": publish, "nightly": {"cells": [cells]}}
        settings |= {"images": {"registry": registry, "push": True}} if registry else {}
        (self.folder / "pibuild.yaml").write_text(json.dumps(settings))

    @property
    def public(self) -> str:
        """The public key of the machine, as `store: trust:` takes it."""
        return public_text(machine_key(self.folder / "machine.pem").public_key())

    @cached_property
    def store_id(self) -> str:
        """The name that marks the store's containers and volumes."""
        store = Store(self.store_dir, Console(err=StringIO()))
        store.close()
        return store.id

    @property
    def has_engine(self) -> bool:
        """Whether its commands reach an engine."""
        return self.extra.get("DOCKER_HOST") != NO_ENGINE["DOCKER_HOST"]

    @property
    def environ(self) -> dict[str, str]:
        """The variables of a command."""
        inherited = {name: os.environ[name] for name in ("PATH", "LANG", "DOCKER_HOST") if name in os.environ}
        own = {
            "HOME": str(self.folder),
            "PYTHONPATH": str(self._project_dir),
            "PYTHONDONTWRITEBYTECODE": "1",
            "no_proxy": "127.0.0.1",
        }
        return inherited | own | self.extra

    def start(self, *words: str, step: int | None = None, **environ: str) -> "Running":
        """Start a command; with `step` it is killed there (step_kill)."""
        program = ["-m", "pibuild"] if step is None else [str(_STEP_KILL)]
        more = {} if step is None else {"FAULT_STEP": str(step)}
        return Running([sys.executable, *program, *words], self.folder, self.environ | more | environ)

    def start_script(self, path: Path, *words: str) -> "Running":
        """Start a script that uses pibuild's modules."""
        return Running([sys.executable, str(path), *words], self.folder, self.environ)

    def run(self, *words: str, deadline_s: float = _DEADLINE_S, **environ: str) -> Ended:
        """Run a command to its end. Raises ViolationError if it does not end, or ends with a traceback."""
        return self.start(*words, **environ).ended(deadline_s)

    def must(self, *words: str, codes: Sequence[int] = (0,), deadline_s: float = _DEADLINE_S, **environ: str) -> Ended:
        """Run a command that must succeed."""
        ended = self.run(*words, deadline_s=deadline_s, **environ)
        if ended.code not in codes:
            raise ViolationError(f"`pibuild {' '.join(words)}` ended with {ended.code}:\n{ended.err}")
        return ended

    def steps(self, *words: str) -> int:
        """Run a command, which must succeed, and return the number of its steps."""
        count_path = self.folder / "steps"
        ended = self.start(*words, step=0, FAULT_COUNT=str(count_path)).ended(_DEADLINE_S)
        if ended.code not in GOOD_NIGHT:
            raise ViolationError(f"`pibuild {' '.join(words)}` ended with {ended.code}:\n{ended.err}")
        return int(count_path.read_text())

    def copied(self, folder: Path) -> "Machine":
        """Return a copy of this machine in another folder; its settings still name this one's folders."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Machine(folder, self._project_dir, self.extra)


class Running:
    """A command that runs."""

    def __init__(self, command: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> None:
        """Start it in a process group of its own."""
        self._words, self._began_s = list(command[1:]), time.monotonic()
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def kill_after(self, seconds: float, *, with_children: bool) -> bool:
        """Kill it after a time, unless it has ended; return whether it was killed."""
        if not self.wait(seconds):
            (os.killpg if with_children else os.kill)(self.process.pid, signal.SIGKILL)
        return self.ended(_DEADLINE_S).code == -signal.SIGKILL

    def wait(self, seconds: float) -> bool:
        """Wait for its end, but not longer than this; return whether it has ended."""
        try:
            with self._ended_with_this_process():
                self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    @contextmanager
    def _ended_with_this_process(self) -> Iterator[None]:
        """If this process is interrupted, end the command as well, so that it removes its containers."""
        try:
            yield
        except KeyboardInterrupt:
            self.process.terminate()
            self.process.communicate(timeout=_DEADLINE_S)
            raise

    def ended(self, deadline_s: float) -> Ended:
        """Wait for its end. Raises ViolationError if it does not end, or ends with a traceback."""
        try:
            with self._ended_with_this_process():
                out, err = self.process.communicate(timeout=deadline_s)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            out, err = self.process.communicate()
            raise ViolationError(f"{self._words} did not end within {deadline_s:.0f} s:\n{err}") from None
        wall_s = time.monotonic() - self._began_s
        if "Traceback (most recent call last)" in err:
            raise ViolationError(f"{self._words} ended with a traceback:\n{err}")
        return Ended(code=self.process.returncode, out=out, err=err, wall_s=wall_s)
