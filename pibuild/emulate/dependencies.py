"""The dependencies of a wheel on the device: wheels beside it, and Debian's packages of the most common ones."""

from collections.abc import Iterable
from importlib.metadata import PathDistribution
from pathlib import Path
from zipfile import BadZipFile
from zipfile import Path as ZipPath

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name

from pibuild.wheels.wheel import Wheel, WheelFormatError, wheel_name

_IN_DEBIAN = frozenset(("attrs", "cffi", "numpy", "packaging", "protobuf", "pycparser", "six", "typing-extensions"))
_DEBIAN_PACKAGES = (
    *("python3-attr", "python3-cffi", "python3-numpy", "python3-packaging", "python3-protobuf", "python3-six"),
    "python3-typing-extensions",
)
"""Packages of each release for these names. A device has all of them or none, so that there are few images."""


def debian_packages(wheel: Wheel, beside: Iterable[Path]) -> tuple[str, ...]:
    """Return Debian's packages for requirements of a wheel that no wheel beside it fulfils."""
    names = required_names(wheel) - {wheel_name(path.name).name for path in beside}
    return () if names.isdisjoint(_IN_DEBIAN) else _DEBIAN_PACKAGES


def wheels_beside(path: Path, wheel: Wheel, architecture: str) -> list[Path]:
    """Return the wheels of the same folder that a wheel's requirements name, and theirs, for this architecture."""
    offered: dict[NormalizedName, list[Path]] = {}
    for other in sorted(path.parent.glob("*.whl")):
        try:
            parts = wheel_name(other.name)
        except WheelFormatError:
            continue
        fits = any(tag.platform == "any" or tag.platform.endswith(f"_{architecture}") for tag in parts.tags)
        if fits and other.is_file() and other.name != path.name:
            offered.setdefault(parts.name, []).append(other)
    wanted, found = required_names(wheel), list[Path]()
    while wanted and offered:
        name = wanted.pop()
        for other in offered.pop(name, []):
            found.append(other)
            wanted |= _required_names(other)
    return sorted(found)


def required_names(wheel: Wheel) -> set[NormalizedName]:
    """Return the names of the packages that METADATA requires, whatever their markers say."""
    return _names_in(wheel.text("METADATA"))


def _required_names(path: Path) -> set[NormalizedName]:
    try:
        folders = [entry for entry in ZipPath(path).iterdir() if entry.name.endswith(".dist-info")]
        return _names_in(str(PathDistribution(folders[0]).read_text("METADATA"))) if folders else set()
    except (OSError, ValueError, BadZipFile):
        return set()


def _names_in(metadata: str) -> set[NormalizedName]:
    names = set()
    for line in metadata.partition("\n\n")[0].splitlines():
        field, _, text = line.partition(":")
        if field.lower() == "requires-dist":
            try:
                names.add(canonicalize_name(Requirement(text.strip()).name))
            except InvalidRequirement:
                continue
    return names
