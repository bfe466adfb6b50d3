"""The wheels beside a wheel that pip may take as its dependencies."""

from importlib.metadata import PathDistribution
from pathlib import Path
from zipfile import BadZipFile
from zipfile import Path as ZipPath

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name

from pibuild.wheels.wheel import Wheel, WheelFormatError, wheel_name


def wheels_beside(path: Path, wheel: Wheel) -> list[Path]:
    """Return the wheels of the same folder that a wheel's requirements name, and theirs, whether they fit or not."""
    offered: dict[NormalizedName, list[Path]] = {}
    for other in sorted(path.parent.glob("*.whl")):
        try:
            name = wheel_name(other.name).name
        except WheelFormatError:
            continue
        if other.is_file() and other.name != path.name:
            offered.setdefault(name, []).append(other)
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
