"""`pibuild lock`: the versions of the packages that images are made of."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pibuild.commands.options import CommandParser, Invocation, add_general

if TYPE_CHECKING:
    from pibuild.model import Userland

SUMMARY = "renew the package versions in the locks of images"
USAGE = "[OPTION...]"
EXAMPLES = ("pibuild lock", "pibuild lock --check")


def add_arguments(parser: CommandParser) -> None:
    """Add the options of `lock`."""
    group = parser.add_argument_group("output")
    group.add_argument("--check", action="store_true", help="write nothing; exit with code 6 if a lock would change")
    add_general(parser)


def run(invocation: Invocation) -> int:
    """Write dockerfiles/*/packages.lock and print each package whose version changed: old → new."""
    import tempfile
    from datetime import UTC, datetime
    from pathlib import Path

    from pibuild.adapters.debian import Debian
    from pibuild.adapters.http import Http
    from pibuild.build.image_locks import ArchiveIndexes, renewed_locks
    from pibuild.config.dockerfiles import load_base
    from pibuild.config.package_locks import differences, lock_text
    from pibuild.config.project_files import project_folder
    from pibuild.errors import ImageError
    from pibuild.files import folder_errors, write_atomically

    console, environ, folder = invocation.console, invocation.environ, project_folder("dockerfiles")
    rows: list[dict[str, str | None]] = []
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as state:
        state_dir = Path(state)
        debian = Debian(Http(environ, note=console.note), environ, state_dir=state_dir / "debian", note=console.note)
        suite = load_base(folder).suite
        indexes = ArchiveIndexes(debian, environ, own_suite=suite, state_dir=state_dir, note=console.note)
        locks = renewed_locks(folder, _userlands(), indexes)
    for lock in locks:
        changed = differences(lock.before, lock.after)
        if not changed:
            continue
        name = f"{lock.path.parent.name}/{lock.path.name}"
        lines += [name, *(f"  {difference}" for difference in changed)]
        rows += [{"lock": name, **difference.facts()} for difference in changed]
        if not invocation.args.check:
            with folder_errors(folder, kind=ImageError, setting="a checkout of pibuild"):
                write_atomically(lock.path, lock_text(lock.after, datetime.now(UTC)))
    console.result("\n".join(lines) or "no lock changes", {"changes": rows})
    return ImageError.exit_code if invocation.args.check and rows else 0


def _userlands() -> "Iterator[Userland]":
    """Yield the systems of devices that are made of Debian's packages."""
    from pibuild.config.pis import load_pis
    from pibuild.config.project_files import project_folder
    from pibuild.config.targets import load_targets
    from pibuild.emulate.device_choice import userland

    for system in load_pis().systems:
        for target in (*load_targets(project_folder("toolchains")).values(), None):
            if system.in_debian and (target or 64 in system.bits):
                yield userland(system, target, None)
