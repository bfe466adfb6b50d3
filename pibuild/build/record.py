"""The record of a wheel: its sources and where they came from, its images, its checks, and its cost.

Each image's list of packages is in the record once, however many artifacts were made in it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
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
    artifacts = [facts | {"key": artifact.key} for artifact in plan.artifacts if (facts := facts_of(artifact))]
    images = [device.facts(), *(artifact["image"] for artifact in artifacts if "image" in artifact)]
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
        "device": without_packages(device.facts()) | {"cpu": plan.target.device_cpu},
        "artifacts": [without_image_packages(artifact) for artifact in artifacts],
        "images": with_packages(images),
        "checks": dict(checks),
    }


def with_packages(images: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return each image that has a list of packages, once, sorted by name."""
    listed = {image["reference"]: dict(image) for image in images if image.get("packages")}
    return [listed[reference] for reference in sorted(listed)]


def without_packages(image: Mapping[str, Any]) -> dict[str, Any]:
    """Return an image without its list of packages."""
    return {name: value for name, value in image.items() if name != "packages"}


def without_image_packages(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is stored of an artifact, without its image's list of packages."""
    return dict(facts) | ({"image": without_packages(facts["image"])} if "image" in facts else {})


def file_facts(path: Path) -> dict[str, Any]:
    """Return a file's name, sha256 and size."""
    return {"file": path.name, "sha256": file_sha256(path), "size_bytes": path.stat().st_size}
