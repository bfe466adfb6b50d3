"""The Raspberry Pis, the releases of Raspberry Pi OS with their Pythons, and how they combine: pis.yaml, typed."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from packaging.tags import Tag
from packaging.version import Version
from pydantic import PlainValidator

from pibuild.config.strict_yaml import read_yaml, typed
from pibuild.machinecode.features import Feature
from pibuild.wheels.pip_tags import accepted_tags

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}


_Version = Annotated[Version, PlainValidator(lambda written: Version(written if isinstance(written, str) else ""))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """A CPU, and what a 32-bit system sees of it."""

    __pydantic_config__ = _STRICT
    name: str
    architecture: int
    """6 for ARMv6."""
    runs: frozenset[Feature]
    """What it executes beyond ARMv6KZ with VFPv2, or ARMv8.0."""
    target: str
    """The target whose wheels are compiled for it."""
    qemu: str
    """Its name for qemu-arm -cpu."""
    machine: str
    """What `uname -m` prints."""
    cores: int
    cpuinfo: str
    """What /proc/cpuinfo has for each core, after its number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A board: `pi-4-b`."""

    __pydantic_config__ = _STRICT
    name: str
    full_name: str
    """What /proc/device-tree/model has."""
    cpu: Cpu
    revision: str
    hardware: str

    @property
    def cpuinfo(self) -> str:
        """Return its /proc/cpuinfo."""
        cores = "".join(f"processor\t: {number}\n{self.cpu.cpuinfo}\n" for number in range(self.cpu.cores))
        hardware = f"Hardware\t: {self.hardware}\n" if self.hardware else ""
        serial = "0000000000000000"
        return f"{cores}{hardware}Revision\t: {self.revision}\nSerial\t\t: {serial}\nModel\t\t: {self.full_name}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pi:
    """Boards that run the same code, with a system of 32 or 64 bits."""

    __pydantic_config__ = _STRICT
    name: str
    cpu: Cpu
    bits: int
    architectures: tuple[str, ...]
    """What pip calls the machine."""
    first_system: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemPython:
    """A Python of a release of Raspberry Pi OS."""

    __pydantic_config__ = _STRICT
    version: str
    pip: _Version
    """The newest that supports it."""
    package: str = ""
    """The Debian package with a pip for it; empty if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A release of Raspberry Pi OS."""

    __pydantic_config__ = _STRICT
    name: str
    bits: tuple[int, ...]
    symbol_versions: dict[str, _Version]
    """The newest version that its libraries have of each family: `GLIBC`, `GLIBCXX`, `CXXABI`, `GCC`."""
    pythons: tuple[SystemPython, ...]
    in_debian: bool
    """Whether Debian's mirrors still have it."""

    @property
    def glibc(self) -> Version:
        """Return the version of its C library."""
        return self.symbol_versions["GLIBC"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PiPlace:
    """A Pi with a system and one of its Pythons: where a wheel installs and runs, or does not."""

    pi: Pi
    system: System
    python: SystemPython

    @property
    def accepted_tags(self) -> frozenset[Tag]:
        """Return the tags of the wheels that pip installs there."""
        return accepted_tags(self.python.version, self.python.pip, self.pi.architectures, self.system.glibc)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pis:
    """pis.yaml."""

    __pydantic_config__ = _STRICT
    cpus: tuple[Cpu, ...]
    models: tuple[Model, ...]
    pis: tuple[Pi, ...]
    systems: tuple[System, ...]
    """The oldest first."""
    packages: tuple[str, ...]
    """Debian packages that every emulated release has, beside those with a pip."""
    raspbian_key: str
    libraries: dict[str, frozenset[str]]
    """Sonames of the libraries that every release has, in groups."""

    @property
    def places(self) -> tuple[PiPlace, ...]:
        """Return each Pi with each Python of each system that supports it."""
        names = [system.name for system in self.systems]
        return tuple(
            PiPlace(pi=pi, system=system, python=python)
            for pi in self.pis
            for system in self.systems[names.index(pi.first_system) :]
            if pi.bits in system.bits
            for python in system.pythons
        )

    @property
    def sonames(self) -> frozenset[str]:
        """Return the sonames of all libraries that every release has."""
        return frozenset().union(*self.libraries.values())

    def model(self, name: str) -> Model:
        """Return a board by its name; KeyError if there is none."""
        return {model.name: model for model in self.models}[name]


@cache
def load_pis() -> Pis:
    """Return the contents of pis.yaml."""
    path = Path(__file__).with_name("pis.yaml")
    return typed(Pis, read_yaml(path), path)
