"""The commands for wheels from anywhere: `verify` says what they are, `retag` gives them another claim."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from packaging.version import Version

from pibuild.config.project_files import project_folder
from pibuild.config.settings import Settings
from pibuild.config.targets import find_target, load_targets
from pibuild.console import Console
from pibuild.errors import PibuildError, ProofError, UsageError
from pibuild.files import folder_errors
from pibuild.verify.relabel import relabel
from pibuild.verify.requirement import misses
from pibuild.verify.text import as_facts, as_text
from pibuild.verify.verdicts import Inspection, inspect


def verify_all(
    paths: Sequence[Path],
    settings: Settings,
    environ: Mapping[str, str],
    console: Console,
    *,
    floor: str | None,
    run: bool,
    run_command: str | None,
) -> int:
    """Inspect wheels, each of which is told of as soon as it is known, JSON apart, which is one document.

    Give 0 if each is what it claims and runs on the target, or without one on some Pi; 9 if not. A file that can't be
    read is a UsageError, when all others are told of.
    """
    if floor is not None and not re.fullmatch(r"\d+\.\d+", floor):
        raise UsageError(f"{floor!r} is not a version of glibc", hint="--floor 2.28")
    target = find_target(settings.target, load_targets(project_folder("toolchains"))) if settings.target else None
    tag, oldest = target.platform_tag if target else None, Version(floor) if floor else None
    facts: list[dict[str, Any]] = []
    good, unreadable = True, None
    for path in files(paths):
        try:
            found = _inspected(path, tag, oldest)
        except UsageError as error:
            unreadable = unreadable or error
            continue
        text, facts = as_text(found), [*facts, as_facts(found)]
        good = good and not found.faults and bool(found.runs_on or settings.target)
        if run:
            result = _ran(path, found, settings, environ, console, run_command)
            text, facts[-1]["device"] = f"{text}\n  on the emulated Pi: {result['said']}", result
            good = good and result["ok"]
        del found  # holds all that the wheel unpacks to, and the next one is as large
        if not console.as_json:
            console.result(text, None)
    if console.as_json:
        console.result("", {"wheels": facts})
    if unreadable:
        raise unreadable
    return 0 if good else ProofError.exit_code


def _inspected(path: Path, platform_tag: str | None, floor: Version | None) -> Inspection:
    """Inspect a wheel; what it misses of what is asked of it is a fault, too."""
    try:
        found = inspect(path)
    except OSError as error:
        hint = "its permissions, or another copy of it"
        raise UsageError(f"{path} can't be read", found=error.strerror or str(error), hint=hint) from error
    return replace(found, faults=(*found.faults, *misses(found, platform_tag=platform_tag, floor=floor)))


def _ran(
    path: Path,
    found: Inspection,
    settings: Settings,
    environ: Mapping[str, str],
    console: Console,
    run_command: str | None,
) -> dict[str, Any]:
    """Install and import a wheel on the device of the settings' target and Python."""
    from pibuild.build import schedule as pipeline  # noqa: PLC0415  the engine's client costs a third of a second
    from pibuild.build.assembly import decide, make_ports, open_store  # noqa: PLC0415

    if found.faults and not found.pis:
        return {"ok": False, "said": "not tried: it is no wheel"}
    plan = decide(settings, environ, console)
    store = open_store(settings, console)
    try:
        ports = make_ports(settings, environ, store, console)
        pipeline.try_on_device(path, plan, ports, imports=found.modules, code=run_command or "")
    except ProofError as error:
        return {"ok": False, "said": f"{error.what}", "details": list(error.details)}
    finally:
        store.close()
    return {"ok": True, "said": f"installed by pip of Python {plan.python} and imported on {plan.target.device_cpu}"}


def retag_all(
    paths: Sequence[Path], settings: Settings, console: Console, *, platform: str | None, accept_abi_risk: bool
) -> int:
    """Retag wheels into the output folder; all that can be are written and told, then the first refusal is raised."""
    if settings.python is None and platform is None:
        raise UsageError("What is the wheel to claim?", hint="--python 3.11 or --platform linux_armv6l, or both")
    if settings.python is not None and not re.fullmatch(r"[23]\.\d{1,2}", settings.python):
        raise UsageError(f"{settings.python!r} is not a version of Python", hint="--python 3.11")
    if platform is not None and not re.fullmatch(r"\w+", platform):
        raise UsageError(f"{platform!r} is not a platform tag", hint="--platform linux_armv6l")
    refused: PibuildError | None = None
    made: list[str] = []
    out_dir, python = Path(settings.output), settings.python
    for path in files(paths):
        try:
            new = _relabelled(path, out_dir, python=python, platform=platform, accept_abi_risk=accept_abi_risk)
            made.append(str(new))
        except PibuildError as error:
            refused = refused or error
    if made:
        console.result("\n".join(made), [{"path": one} for one in made])
    if refused:
        raise refused
    return 0


def _relabelled(path: Path, out_dir: Path, *, python: str | None, platform: str | None, accept_abi_risk: bool) -> Path:
    with folder_errors(out_dir):
        try:
            return relabel(
                path,
                python=python,
                platform=platform,
                accept_abi_risk=accept_abi_risk,
                out_dir=out_dir,
            )
        except FileExistsError as error:
            raise UsageError(f"{out_dir} is no folder", found=str(error), hint="another --output") from error


def files(paths: Sequence[Path]) -> Sequence[Path]:
    """Give paths back that are those of files; UsageError where one is not, or nobody may see it."""
    for path in paths:
        found = ""
        try:
            is_file = path.is_file()
        except OSError as error:
            is_file, found = False, error.strerror or ""
        if not is_file:
            raise UsageError(f"There is no file {path}", found=found, hint="the path of a wheel, which ends with .whl")
    return paths
