"""Targets: the kinds of Pi, a YAML file each."""

from collections.abc import Mapping
from pathlib import Path

from pibuild.config.strict_yaml import read_yaml, typed
from pibuild.errors import UsageError, nearest
from pibuild.model import Target


def load_targets(folder: Path) -> dict[str, Target]:
    """Read every target by name."""
    return {
        path.stem: typed(Target, {**read_yaml(path), "name": path.stem}, str(path))
        for path in sorted(folder.glob("*.yaml"))
    }


def find_target(name: str, targets: Mapping[str, Target]) -> Target:
    """Find a target by its name or one of the names that people try."""
    wanted = name.strip().lower().replace("_", "-").replace(" ", "-")
    for target in targets.values():
        if wanted in (target.name, *target.aliases):
            return target
    known = [name for target in targets.values() for name in (target.name, *target.aliases)]
    raise UsageError(
        f"There is no target {name!r}", hint=nearest(wanted, known), details=[f"targets: {', '.join(targets)}"]
    )
