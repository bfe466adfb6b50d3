"""The record: what went into a wheel and from where, which images, what was checked, and what it cost."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pibuild import __version__
from pibuild.build.images import Ensured
from pibuild.model import Artifact, Plan


def make_record(
    plan: Plan,
    device: Ensured,
    checks: dict[str, Any],
    wheel_path: Path,
    extras: Sequence[Path],
    *,
    made: datetime,
    facts_of: Callable[[Artifact], dict[str, Any] | None],
) -> dict[str, Any]:
    """Give what goes beside the wheel; `facts_of` gives what was written of an artifact, where that is still known."""
    return {
        "pibuild": __version__,
        "made": made.isoformat(timespec="seconds"),
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
        "device": {
            "reference": device.reference,
            "id": device.id,
            "base": device.origin,
            "cpu": plan.target.device_cpu,
        },
        "artifacts": [facts | {"key": one.key} for one in plan.artifacts if (facts := facts_of(one))],
        "checks": {"file": checks["file"], "device": checks["device"]},
        "proof": checks["spent"],
    }


def file_facts(path: Path) -> dict[str, Any]:
    """Give a file's name, sha256 and size."""
    content = path.read_bytes()
    return {"file": path.name, "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
