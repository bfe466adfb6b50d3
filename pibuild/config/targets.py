"""Targets: the kinds of Pi, a YAML file each."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pibuild.config.strict_yaml import read_yaml, typed
from pibuild.errors import UsageError, closest
from pibuild.model import Target

_IS_64_BIT = re.compile(r"64|armv8|cortex-a(?:53|72|76)")


def load_targets(folder: Path) -> dict[str, Target]:
    """Return every target by name."""
    return {
        path.stem: replace(typed(Target, read_yaml(path), path), name=path.stem)
        for path in sorted(folder.glob("*.yaml"))
    }


def find_target(name: str, targets: Mapping[str, Target]) -> Target:
    """Find a target by its name or one of the names that people try."""
    wanted = _normalized(name)
    for target in targets.values():
        if wanted in (target.name, *target.aliases):
            return target
    raise UsageError(
        f"There is no target {name!r}",
        details=[f"{target.name} is for {target.models}" for target in targets.values()],
        hint=_nearest_target(wanted, targets),
    )


def width_note(name: str, target: Target, targets: Mapping[str, Target]) -> str:
    """Return a remark if `name` is a board that has a target for each width of its system: `pi-4`; else nothing."""
    for other in targets.values():
        if other.bits != target.bits and f"{_normalized(name)}-{other.bits}" in other.aliases:
            return (
                f"; {target.name} is for a {target.bits}-bit system: if `getconf LONG_BIT` on the Pi prints "
                f"{other.bits}, use --target {other.name}"
            )
    return ""


def _normalized(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def _nearest_target(wanted: str, targets: Mapping[str, Target]) -> str:
    """Return what to ask for instead: the same kind of Pi, else a name with the same digits, else all targets."""
    if _IS_64_BIT.search(wanted) and (others := [target.name for target in targets.values() if target.bits == 64]):
        return f"--target {' or '.join(others)} for a 64-bit system; `getconf LONG_BIT` on the Pi prints 32 or 64"
    names = [name for target in targets.values() for name in (target.name, *target.aliases)]
    if close := closest(wanted, names, same_digits=True):
        return f"did you mean {close!r}?"
    return " or ".join(f"--target {name}" for name in targets)
