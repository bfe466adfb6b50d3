"""The tags that the pip of a Python accepts on a Pi, and the meaning of platform tags.

The pips since 20.0 follow `packaging`. Older pips have rules of their own: PEP 425's, as pip/pep425tags.py has them.

Source: PEP 425 (tags), PEP 599 and 600 (manylinux), pip's NEWS for the version that introduced each, and the code of
pip 1.5.6, 9.0.1, 18.1, 19.1.1, 20.3.4, 23.0.1, 24.0, 24.1, 25.1.1 and 26.3.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.version import Version

from pibuild.wheels.python_tags import abi_tag, interpreter_tag

ARCHITECTURES = {
    "EM_ARM": ("armv6l", "armv7l", "armv8l"),
    "EM_AARCH64": ("aarch64",),
    "EM_X86_64": ("x86_64",),
    "EM_386": ("i386", "i486", "i586", "i686"),
}
"""Architectures of platform tags, by the ELF machine of the wheels' code."""
_MANYLINUX_ARCHITECTURES = ("armv7l", "armv8l", "aarch64")
"""There is no manylinux for armv6l."""
_FIRST_MANYLINUX_MINOR = 17
"""The oldest glibc 2.x that a manylinux tag of these names (PEP 599)."""
_PERENNIAL_SINCE, _MANYLINUX2014_SINCE = Version("20.3"), Version("19.3")
"""The pips that introduced manylinux_2_X (PEP 600) and manylinux2014."""
_ARMV8L_SINCE = Version("24.1")
"""The first pip that calls a 64-bit kernel with a 32-bit system armv8l, and takes armv7l as well; older ones call it
armv7l."""
_PACKAGING_SINCE = Version("20.0")
"""The first pip whose rules are those of `packaging`."""
_OLD_ABIS_SINCE = Version("9.0")
"""Older pips, as jessie has, know no ABI tag of Python 2.7, no py3-none for a platform, no abi3 of an older Python."""
_MANYLINUX = re.compile(r"manylinux_(\d+)_(\d+)_(\w+)|manylinux(1|2010|2014)_(\w+)")
_GLIBC_BEFORE_PERENNIAL = {"1": "2.5", "2010": "2.12", "2014": "2.17"}


@cache
def accepted_tags(python: str, pip: Version, architectures: tuple[str, ...], glibc: Version) -> frozenset[Tag]:
    """Return the tags that a pip for a Python installs on a system with this glibc."""
    platforms = list(_platforms(pip, architectures, glibc))
    return frozenset(_tags(python, platforms) if pip >= _PACKAGING_SINCE else _old_tags(python, pip, platforms))


@cache
def accepted_pairs(python: str) -> frozenset[tuple[str, str]]:
    """Return (interpreter, ABI) of the tags that a Python accepts, whatever the platform."""
    return frozenset((tag.interpreter, tag.abi) for tag in _tags(python, ["any"]))


def is_for_python(tags: Iterable[Tag], python: str) -> bool:
    """Whether a Python accepts one of these tags, whatever the platform."""
    return any((tag.interpreter, tag.abi) in accepted_pairs(python) for tag in tags)


def architecture(platform: str) -> str:
    """Return the architecture of a platform tag: `armv7l` of `manylinux2014_armv7l`; the tag itself if it has none."""
    names = (name for group in ARCHITECTURES.values() for name in group)
    return next((name for name in names if platform.endswith(f"_{name}")), platform)


def promised_glibc(platform: str) -> Version | None:
    """Return the oldest glibc that a platform tag promises to run with; None if it promises none."""
    match = _MANYLINUX.fullmatch(platform)
    if not match:
        return None
    return Version(f"{match[1]}.{match[2]}" if match[1] else _GLIBC_BEFORE_PERENNIAL[match[4]])


def _tags(python: str, platforms: list[str]) -> Iterator[Tag]:
    release = Version(python).release
    yield from cpython_tags(release, [abi_tag(python)], platforms)
    yield from compatible_tags(release, interpreter_tag(python), platforms)


def _old_tags(python: str, pip: Version, platforms: list[str]) -> Iterator[Tag]:
    major, minor = Version(python).release[:2]
    interpreter, is_jessies = interpreter_tag(python), pip < _OLD_ABIS_SINCE
    abis = ["none"] if is_jessies and major == 2 else [abi_tag(python), "none"]
    abis += ["abi3"] if major == 3 else []
    yield from (Tag(interpreter, abi, platform) for abi in abis for platform in platforms)
    if not is_jessies:
        yield from (Tag(f"py{major}", "none", platform) for platform in platforms)
        older = range(2, minor) if major == 3 else ()
        yield from (Tag(f"cp3{number}", "abi3", platform) for number in older for platform in platforms)
    names = [interpreter, f"cp{major}", f"py{major}", *(f"py{major}{number}" for number in range(minor + 1))]
    names += [f"cp{major}{number}" for number in range(minor)] if is_jessies else []
    yield from (Tag(name, "none", "any") for name in names)


def _platforms(pip: Version, architectures: Iterable[str], glibc: Version) -> Iterator[str]:
    for name in architectures:
        if name == "armv8l" and pip < _ARMV8L_SINCE:
            continue
        if name in _MANYLINUX_ARCHITECTURES and pip >= _PERENNIAL_SINCE:
            yield from (f"manylinux_2_{minor}_{name}" for minor in range(_FIRST_MANYLINUX_MINOR, glibc.minor + 1))
        if name in _MANYLINUX_ARCHITECTURES and pip >= _MANYLINUX2014_SINCE:
            yield f"manylinux2014_{name}"
        yield f"linux_{name}"
