"""The record: what went into a wheel and from where, which images, what was checked, and what it cost."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pibuild import __version__
from pibuild.build.images import PresentImage
from pibuild.files import file_sha256
from pibuild.model import Artifact, Plan
from pibuild.times import iso_utc


def make_record(
    plan: Plan,
    device: PresentImage,
    wheel_path: Path,
    extras: Sequence[Path],
    *,
    checks: Mapping[str, Any],
    made: datetime,
    facts_of: Callable[[Artifact], dict[str, Any] | None],
) -> dict[str, Any]:
    """Return the record of a wheel; `facts_of` returns what is stored of an artifact, None if it is not known."""
    return {
        "pibuild": __version__,
        "made": iso_utc(made),
        "wheel": file_facts(wheel_path),
        "extras": [file_facts(path) for path in extras],
        "plan": {
            "key": plan.key,
            "target": plan.target.name,
            "python": plan.python,
            "recipe": plan.wheel.recipe.name,
            "version": plan.wheel.release.version,
            "reason": plan.reason,
        },
        "device": device.facts() | {"cpu": plan.target.device_cpu},
        "artifacts": [facts | {"key": artifact.key} for artifact in plan.artifacts if (facts := facts_of(artifact))],
        "checks": dict(checks),
    }


def file_facts(path: Path) -> dict[str, Any]:
    """Return a file's name, sha256 and size."""
    return {"file": path.name, "sha256": file_sha256(path), "size_bytes": path.stat().st_size}
