"""The numpy versions that a wheel works with, by its METADATA and by the numpy that its modules were compiled for.

A module that was compiled against numpy 1 does not work with numpy 2. One that was compiled against numpy 2 works with
numpy 1, too, down to a version that numpy's own error message in the module names.

Source: import_array in numpy's __multiarray_api.h of 1.26 and 2.2, numpy's release notes of 2.0.0.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from pibuild.config.pis import PiPlace, SystemPython
from pibuild.verify.binary import NUMPY_1, NUMPY_2, Binary
from pibuild.verify.findings import Finding
from pibuild.wheels.metadata import shown

_MINIMUM = re.compile(rb"\(NumPy (\d{1,3}\.\d{1,3})\) but the running NumPy has C-API version")
"""Part of the message that a module has for a numpy that is too old."""
_NUMPY_2 = Version("2")
_FIRST_WITHOUT_NUMPY_1 = Version("3.13")
"""The first Python for which numpy 1 has no wheel."""
_FIRST_OF_PYTHON_3_13 = Version("2.1")
_FIRST_GROWING_PYTHON = Version("3.12")
"""The first Python that numpy's newest releases support: it may get newer ones than config/pis.yaml has."""
_RELEASES = [Version(f"{major}.{minor}.{micro}") for major in (1, 2) for minor in range(40) for micro in range(8)]
_SETTLE = "pibuild verify --run"
_OTHER_VERSION = "another version of the wheel"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledModule:
    """An extension module that uses numpy's C API."""

    path: str
    is_for_numpy_1: bool
    """Whether it knows the name of numpy 1's C API only."""
    minimum: Version | None
    """The oldest numpy that it works with; None if it does not tell."""


def read_compiled_module(binary: Binary, content: bytes) -> CompiledModule | None:
    """Return the numpy that a module was compiled against; None if the module does not use numpy's C API."""
    match = _MINIMUM.search(content)
    if not match and binary.texts.isdisjoint((NUMPY_1, NUMPY_2)):
        return None
    return CompiledModule(
        path=binary.path,
        is_for_numpy_1=NUMPY_1 in binary.texts and NUMPY_2 not in binary.texts,
        minimum=Version(match[1].decode()) if match else None,
    )


def requirement_findings(requirements: Iterable[Requirement], place: PiPlace) -> Iterator[Finding]:
    """Yield a finding for each requirement of numpy that no release of numpy for the place's Python fulfils."""
    python, is_growing = place.python, _is_growing(place.python)
    for requirement in requirements:
        if requirement.url or not _applies(requirement, place) or _fulfilling(python, [requirement]):
            continue
        if not any(version <= python.numpy for version in _allowed(requirement.specifier)):
            asked, newest = shown(str(requirement)), python.numpy
            yield Finding(
                outcome="unsure" if is_growing else "fails",
                check="numpy",
                reason=f"METADATA asks for {asked}",
                at_place=f"Python {python.version} has numpy up to {newest}",
                subject="numpy",
            )


def module_findings(
    modules: Iterable[CompiledModule], requirements: Sequence[Requirement], python: SystemPython
) -> Iterator[Finding]:
    """Yield a finding for the first module that does not work with every numpy that may be installed.

    `requirements` are those of METADATA, without conditions. A module fails if none of what they allow serves it.
    """
    fulfilling = _fulfilling(python, requirements)
    for module in modules:
        was = "compiled against numpy 1" if module.is_for_numpy_1 else f"compiled for numpy {module.minimum} or newer"
        finding = Finding(outcome="note", check="numpy", path=module.path, subject="numpy", reason=f"it was {was}")
        if not any(_works_with(module, version) for version in fulfilling):
            is_contradiction = not any(_works_with(module, version) for version in _allowed_by_all(requirements))
            asked = f"METADATA asks for {shown(', '.join(map(str, requirements)))}"
            if is_contradiction:
                yield replace(finding, outcome="fails", reason=f"it was {was}; {asked}", remedy=_OTHER_VERSION)
            else:  # a wheel that does not ask for numpy works without it
                at_place = f"Python {python.version} has no such numpy"
                yield replace(finding, outcome="unsure" if requirements else "note", at_place=at_place, remedy=_SETTLE)
        elif not _works_with(module, max(fulfilling)):
            reason = f"it was {was}; its import of numpy's C API fails beside numpy 2"
            yield replace(finding, reason=reason, remedy='python3 -m pip install "numpy<2"')
        elif python.shipped_numpy and not _works_with(module, python.shipped_numpy):
            at_place = f"the package of Python {python.version}'s release is numpy {python.shipped_numpy}"
            yield replace(finding, at_place=at_place, remedy="python3 -m pip install numpy")
        else:
            continue
        return


def _works_with(module: CompiledModule, version: Version) -> bool:
    is_old_enough = not module.is_for_numpy_1 or version < _NUMPY_2
    return is_old_enough and (module.minimum is None or version >= module.minimum)


def _fulfilling(python: SystemPython, requirements: Iterable[Requirement]) -> list[Version]:
    """Return the releases of numpy for a Python that requirements allow."""
    oldest = _FIRST_OF_PYTHON_3_13 if Version(python.version) >= _FIRST_WITHOUT_NUMPY_1 else _RELEASES[0]
    return [version for version in _allowed_by_all(requirements) if oldest <= version <= python.numpy]


def _allowed_by_all(requirements: Iterable[Requirement]) -> list[Version]:
    parts = [_allowed(part.specifier) for part in requirements]
    return [version for version in _RELEASES if all(version in part for part in parts)]


@lru_cache(maxsize=100)  # each is asked for at each place
def _allowed(specifiers: SpecifierSet) -> frozenset[Version]:
    return frozenset(specifiers.filter(_RELEASES, prereleases=True))


def _is_growing(python: SystemPython) -> bool:
    return Version(python.version) >= _FIRST_GROWING_PYTHON


def _applies(requirement: Requirement, place: PiPlace) -> bool:
    """Whether a requirement applies at a place, without extras."""
    if requirement.marker is None:
        return True
    python = place.python
    environment = {
        "implementation_name": "cpython",
        "implementation_version": python.full_version,
        "os_name": "posix",
        "platform_machine": place.pi.architectures[0],
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": python.full_version,
        "python_version": python.version,
        "sys_platform": "linux",
        "extra": "",
    }
    try:
        return requirement.marker.evaluate(environment)
    except (ValueError, RecursionError, KeyError):
        return False
