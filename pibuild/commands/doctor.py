"""`pibuild doctor`: is this machine fit to build, and if not, what to do about each fault.

Every check really tries the thing; none changes anything outside a temporary folder.
"""

import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pibuild.commands.options import CommandParser, Invocation, add_general, add_mirrors
from pibuild.console import size
from pibuild.errors import PibuildError

if TYPE_CHECKING:
    from pibuild.config.settings import Settings

SUMMARY = "check the engine, disk, memory and network, with a remedy for each fault"
USAGE = "[OPTION...]"
EXAMPLES = ("pibuild doctor",)

_GB = 1_000_000_000
_WANTED_DISK_BYTES = 12 * _GB
_WANTED_MEMORY_BYTES = 2 * _GB
_DEADLINE_S = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One look: what was found, and the remedy where it is not well."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
    required: bool = True


def add_arguments(parser: CommandParser) -> None:
    """Add the options of `doctor`."""
    add_mirrors(parser.add_argument_group("network"))
    add_general(parser)


def run(invocation: Invocation) -> int:
    """Make every check and print it; return 0, or 4 if something that every build needs is missing."""
    settings, environ, console = invocation.settings, invocation.environ, invocation.console
    looks: tuple[Callable[[], Finding], ...] = (
        lambda: _engine(environ),
        lambda: _memory(environ),
        lambda: _disk(settings),
        _processor,
        lambda: _base(environ),
        lambda: _reach(
            "Debian packages",
            ["apt-get", "indextargets"],
            environ,
            "configure apt, or use a Debian machine",
            required=False,
        ),
        lambda: _reach(
            "PyPI",
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", "{tmp}", "six==1.17.0"],
            environ,
            "set pip's index-url and the proxy (pip config list)",
        ),
        lambda: _reach(
            "npm",
            ["npm", "view", "is-number@7.0.0", "version"],
            environ,
            "apt-get install npm; only recipes with Bazel want it",
            required=False,
        ),
        lambda: _git(settings, environ),
    )
    findings = [look() for look in looks]
    lines = [
        f"{'✓' if one.ok else '✗' if one.required else '-'} {one.name}: {one.found}"
        + ("" if one.ok else f"\n    {one.remedy}")
        for one in findings
    ]
    console.result("\n".join(lines), [asdict(one) for one in findings])
    return 4 if any(one.required and not one.ok for one in findings) else 0


def _engine(environ: Mapping[str, str]) -> Finding:
    from pibuild.adapters.docker import Engine

    try:
        engine = Engine(environ)
    except PibuildError as error:
        return Finding(name="Docker engine", ok=False, found=f"{error.what} ({error.found})", remedy=error.hint)
    return Finding(name="Docker engine", ok=True, found=f"{engine.version}, {engine.cpus} processors")


def _memory(environ: Mapping[str, str]) -> Finding:
    from pibuild.adapters.docker import Engine

    try:
        memory_bytes = Engine(environ).memory_bytes
    except PibuildError:
        return Finding(name="memory", ok=False, found="unknown without an engine", remedy="start the engine first")
    ok = memory_bytes >= _WANTED_MEMORY_BYTES
    return Finding(
        name="memory", ok=ok, found=size(memory_bytes), remedy=f"give the engine {size(_WANTED_MEMORY_BYTES)} or more"
    )


def _disk(settings: "Settings") -> Finding:
    folder = Path(settings.store.folder).expanduser() if settings.store.folder else Path.home()
    while not folder.exists():
        folder = folder.parent
    free_bytes = shutil.disk_usage(folder).free
    return Finding(
        name="disk",
        ok=free_bytes >= _WANTED_DISK_BYTES,
        found=f"{size(free_bytes)} free under {folder}",
        remedy=f"make room: images, sources and artifacts want {size(_WANTED_DISK_BYTES)} (pibuild clean --artifacts)",
    )


def _processor() -> Finding:
    machine = platform.machine()
    return Finding(
        name="processor",
        ok=machine in ("x86_64", "AMD64"),
        found=f"{machine}; the emulator is in the image and needs no help from the kernel",
        remedy="the images are for x86-64: set DOCKER_HOST to such an engine",
    )


def _base(environ: Mapping[str, str]) -> Finding:
    from pibuild.config.dockerfiles import load_base
    from pibuild.config.project_files import project_folder

    base = load_base(project_folder("dockerfiles"))
    found = shutil.which("mmdebstrap", path=environ.get("PATH"))
    return Finding(
        name="base image",
        ok=found is not None,
        required=False,
        found=f"mmdebstrap for {base.suite} is here" if found else "mmdebstrap is missing",
        remedy="needed only where no registry of images is reached: apt-get install mmdebstrap",
    )


def _git(settings: "Settings", environ: Mapping[str, str]) -> Finding:
    if settings.mirrors:
        return Finding(name="git", ok=True, found=f"mirrors: {', '.join(settings.mirrors)}", required=False)
    return _reach(
        "git upstream",
        ["git", "ls-remote", "--exit-code", "https://github.com/google/ruy.git", "HEAD"],
        environ,
        "only a second place for most sources; set `mirrors:` to folders of bare clones, or the proxy",
        required=False,
    )


def _reach(name: str, command: list[str], environ: Mapping[str, str], remedy: str, *, required: bool = True) -> Finding:
    with tempfile.TemporaryDirectory() as folder:
        words = [word.replace("{tmp}", folder) for word in command]
        try:
            ended = subprocess.run(
                words,
                env={**environ, "GIT_TERMINAL_PROMPT": "0"},
                capture_output=True,
                text=True,
                timeout=_DEADLINE_S,
                check=False,
            )
        except FileNotFoundError:
            return Finding(name=name, ok=False, found=f"{words[0]} is not installed", remedy=remedy, required=required)
        except subprocess.TimeoutExpired:
            return Finding(
                name=name, ok=False, found=f"no answer within {_DEADLINE_S} s", remedy=remedy, required=required
            )
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["no word"])[-1]
        return Finding(name=name, ok=False, found=last, remedy=remedy, required=required)
    return Finding(name=name, ok=True, found="reached", required=required)
