"""The Pis and their systems, as pis.yaml tells them, and what the pip of each takes a wheel for."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from packaging.tags import Tag, compatible_tags, cpython_tags

from pibuild.machinecode.features import Feature
from pibuild.wheels import python_tags as pythons

_MANYLINUX_SINCE = {"armv7l": 17, "aarch64": 17}
"""The oldest glibc 2.x that a manylinux tag of an architecture names (PEP 599); for armv6l there is none."""
_PERENNIAL_SINCE = (20, 3)
"""The pip that knows manylinux_2_X (PEP 600); manylinux2014 is known since 19.3."""
_MANYLINUX2014_SINCE = (19, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """A CPU: its architecture's number, and what it runs beyond ARMv6KZ with VFPv2, or ARMv8.0."""

    name: str
    levels: int
    runs: frozenset[Feature]


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A release of Raspberry Pi OS."""

    name: str
    bits: tuple[int, ...]
    ceilings: tuple[tuple[str, tuple[int, ...]], ...]
    """The newest version of each family that its libraries give: (`GLIBC`, (2, 36)) and so on."""
    numpy: int
    """The major version of the newest numpy that its Python can have."""
    pythons: tuple[tuple[str, str], ...]
    """(Python, the newest pip for it)."""

    @property
    def glibc(self) -> tuple[int, ...]:
        """Give the version of its C library."""
        return dict(self.ceilings)["GLIBC"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pi:
    """Models that run the same code, with a system of 32 or 64 bits."""

    name: str
    cpu: Cpu
    bits: int
    architectures: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All that a wheel is measured against."""

    pis: tuple[Pi, ...]
    systems: tuple[System, ...]
    libraries: frozenset[str]
    """Names of libraries that every system has."""
    places: tuple[tuple[Pi, System], ...]
    """Each Pi with each system that it can run."""


@cache
def load_world() -> World:
    """Read pis.yaml."""
    told = yaml.safe_load(Path(__file__).with_name("pis.yaml").read_text(encoding="utf-8"))
    cpus = {
        key: Cpu(name=cpu["name"], levels=cpu["levels"], runs=frozenset(map(Feature, cpu["runs"])))
        for key, cpu in told["cpus"].items()
    }
    systems = tuple(_system(one) for one in told["systems"])
    names = [system.name for system in systems]
    pis, places = [], []
    for one in told["pis"]:
        pi = Pi(name=one["name"], cpu=cpus[one["cpu"]], bits=one["bits"], architectures=tuple(one["architectures"]))
        pis.append(pi)
        first = names.index(told["first_systems"].get(one["cpu"], names[0]))
        places += [(pi, system) for system in systems[first:] if pi.bits in system.bits]
    libraries = frozenset(name for group in told["libraries"].values() for name in group)
    return World(pis=tuple(pis), systems=systems, libraries=libraries, places=tuple(places))


def _system(one: dict[str, Any]) -> System:
    families = {"GLIBC": one["glibc"], "GLIBCXX": one["glibcxx"], "CXXABI": one["cxxabi"], "GCC": one["gcc"]}
    return System(
        name=one["name"],
        bits=tuple(one["bits"]),
        ceilings=tuple((family, numbers(version)) for family, version in families.items()),
        numpy=int(one["numpy"]),
        pythons=tuple(one["pythons"].items()),
    )


def numbers(version: str) -> tuple[int, ...]:
    """Give `2.36` as (2, 36)."""
    return tuple(int(part) for part in version.split("."))


@cache
def accepted_tags(pi: Pi, system: System) -> dict[str, frozenset[Tag]]:
    """Give for each Python of a system the tags that its newest pip installs there."""
    return {
        python: frozenset(_python_tags(python, list(_platforms(pi, system, numbers(pip)))))
        for python, pip in system.pythons
    }


@cache
def interpreter_tags(python: str) -> frozenset[tuple[str, str]]:
    """Give (interpreter, ABI) of the tags that a Python takes, whatever the platform."""
    return frozenset((tag.interpreter, tag.abi) for tag in _python_tags(python, ["any"]))


def _python_tags(python: str, platforms: list[str]) -> Iterator[Tag]:
    version = numbers(python)
    yield from cpython_tags(version, [pythons.abi_tag(python)], platforms)
    yield from compatible_tags(version, pythons.interpreter_tag(python), platforms)


def _platforms(pi: Pi, system: System, pip: tuple[int, ...]) -> Iterator[str]:
    for architecture in pi.architectures:
        since = _MANYLINUX_SINCE.get(architecture)
        if since is not None and pip >= _PERENNIAL_SINCE:
            yield from (f"manylinux_2_{minor}_{architecture}" for minor in range(since, system.glibc[1] + 1))
        if since is not None and pip >= _MANYLINUX2014_SINCE:
            yield f"manylinux2014_{architecture}"
        yield f"linux_{architecture}"
