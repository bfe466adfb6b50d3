"""`pibuild doctor`: is this machine fit to build, and if not, what to do about each fault.

Every check really tries the thing; none changes anything outside a temporary folder.
"""

from collections.abc import Callable, Iterator, Mapping
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

_UPSTREAM = "https://github.com/google/ruy.git"
_GB = 1_000_000_000
_WANTED_DISK_BYTES = 12 * _GB
_WANTED_MEMORY_BYTES = 2 * _GB


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check, and the remedy if it failed."""

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
    findings = list(_findings(invocation.settings, invocation.environ))
    lines = [
        f"{'✓' if finding.ok else '✗' if finding.required else '-'} {finding.name}: {finding.found}"
        + ("" if finding.ok or not finding.remedy else f"\n    {finding.remedy}")
        for finding in findings
    ]
    invocation.console.result("\n".join(lines), [asdict(finding) for finding in findings])
    return 4 if any(finding.required and not finding.ok for finding in findings) else 0


def _findings(settings: "Settings", environ: Mapping[str, str]) -> Iterator[Finding]:
    import tempfile

    from pibuild.adapters.debian import Debian
    from pibuild.adapters.git import Git
    from pibuild.adapters.http import Http
    from pibuild.adapters.npm import Npm
    from pibuild.adapters.pypi import Pypi

    yield from _engine(environ)
    yield _disk(settings)
    yield _processor()
    yield _base(environ)
    http = Http(environ, note=lambda _text: None)
    with tempfile.TemporaryDirectory() as folder:
        debian = Debian(http, environ, state_dir=Path(folder), note=lambda _text: None)
        yield _reached("Debian packages", debian.check, "check apt's sources and proxy, or use a Debian machine")
    yield _reached("PyPI", Pypi(http, environ).check, "check pip's index-url and proxy: pip config list", required=True)
    yield _reached("npm", Npm(environ).check, "apt-get install npm; only recipes with Bazel need it")
    if settings.mirrors:
        yield Finding(name="git", ok=True, found=f"mirrors: {', '.join(settings.mirrors)}", required=False)
    else:
        remedy = "only a second place for most sources: set `mirrors:` to folders of bare clones, or the proxy"
        yield _reached("git upstream", lambda: Git(environ).resolve(_UPSTREAM, "master"), remedy)


def _reached(name: str, check: Callable[[], object], remedy: str, *, required: bool = False) -> Finding:
    """Make a check that asks the network; what it returns, if that is a text, says who answered."""
    try:
        answer = check()
    except PibuildError as error:
        found = ": ".join(part for part in (error.what, error.found) if part)
        return Finding(name=name, ok=False, found=found, remedy=remedy, required=required)
    return Finding(name=name, ok=True, found=f"{answer or 'the registry'} answers", required=required)


def _engine(environ: Mapping[str, str]) -> Iterator[Finding]:
    from pibuild.adapters.docker import Engine

    try:
        engine = Engine(environ)
    except PibuildError as error:
        found = f"{error.what} ({error.found})" if error.found else error.what
        yield Finding(name="Docker engine", ok=False, found=found, remedy=error.hint)
        yield Finding(name="memory", ok=False, found="unknown without an engine")
        return
    yield Finding(name="Docker engine", ok=True, found=f"{engine.version}, {engine.cpus} processors")
    yield Finding(
        name="memory",
        ok=engine.memory_bytes >= _WANTED_MEMORY_BYTES,
        found=size(engine.memory_bytes),
        remedy=f"give the engine {size(_WANTED_MEMORY_BYTES)} or more",
    )


def _disk(settings: "Settings") -> Finding:
    import shutil

    from pibuild.config.settings import store_folder

    try:
        folder = store_folder(settings)
    except PibuildError as error:
        return Finding(name="disk", ok=False, found=error.what, remedy=error.hint)
    while not folder.exists():
        folder = folder.parent
    free_bytes = shutil.disk_usage(folder).free
    return Finding(
        name="disk",
        ok=free_bytes >= _WANTED_DISK_BYTES,
        found=f"{size(free_bytes)} free under {folder}",
        remedy=f"make room: images, sources and artifacts need {size(_WANTED_DISK_BYTES)} (pibuild clean --artifacts)",
    )


def _processor() -> Finding:
    import platform

    machine = platform.machine()
    return Finding(
        name="processor",
        ok=machine in ("x86_64", "AMD64"),
        found=f"{machine}; the emulator is in the image and needs no help from the kernel",
        remedy="the images are for x86-64: set DOCKER_HOST to such an engine",
    )


def _base(environ: Mapping[str, str]) -> Finding:
    import shutil

    from pibuild.config.dockerfiles import load_base
    from pibuild.config.project_files import project_folder

    base = load_base(project_folder("dockerfiles"))
    is_here = shutil.which("mmdebstrap", path=environ.get("PATH")) is not None
    return Finding(
        name="base image",
        ok=is_here,
        required=False,
        found=f"mmdebstrap for {base.suite} is installed" if is_here else "mmdebstrap is missing",
        remedy="needed only if no registry of images is reachable: apt-get install mmdebstrap",
    )
