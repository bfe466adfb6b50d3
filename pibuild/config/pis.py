"""The Raspberry Pis, the releases of Raspberry Pi OS with their Pythons, and how they combine: pis.yaml, typed."""

from dataclasses import dataclass, field
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


def _version(written: object) -> Version:
    return Version(written if isinstance(written, str) else "")


_Version = Annotated[Version, PlainValidator(_version)]
_OptionalVersion = Annotated[Version | None, PlainValidator(_version)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """A CPU, with its properties on a 32-bit system."""

    __pydantic_config__ = _STRICT
    name: str
    architecture: int
    """6 for ARMv6."""
    runs: frozenset[Feature]
    """Features that it has beyond ARMv6KZ with VFPv2, or beyond ARMv8.0."""
    may_run: frozenset[Feature] = frozenset()
    """Features that it has with some of its kernels only."""
    target: str
    """The target whose wheels are compiled for it, with a 32-bit system."""
    qemu: str
    """Its name for qemu-arm -cpu."""
    machine: str
    """What `uname -m` prints."""
    cores: int
    cpuinfo: str
    """The lines of /proc/cpuinfo for each core, after its number."""
    target_64: str = ""
    """The target whose wheels are compiled for it, with a 64-bit system."""
    qemu_64: str = ""
    """Its name for qemu-aarch64 -cpu; empty if it is a CPU of 32 bits."""
    cpuinfo_64: str = ""
    """The lines of /proc/cpuinfo for each core on a 64-bit system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A board: `pi-4-b`."""

    __pydantic_config__ = _STRICT
    name: str
    full_name: str
    """The text of /proc/device-tree/model."""
    cpu: Cpu
    revision: str
    hardware: str

    @property
    def cpuinfo(self) -> str:
        """Return its /proc/cpuinfo with a 32-bit system."""
        return self._cpuinfo(self.cpu.cpuinfo)

    @property
    def cpuinfo_64(self) -> str:
        """Return its /proc/cpuinfo with a 64-bit system."""
        return self._cpuinfo(self.cpu.cpuinfo_64)

    def _cpuinfo(self, core: str) -> str:
        cores = "".join(f"processor\t: {number}\n{core}\n" for number in range(self.cpu.cores))
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
    """Architectures of the platform tags that pip accepts."""
    first_system: str
    page_bytes: int = 4096
    """The size of a memory page of its usual kernel."""

    @property
    def target(self) -> str:
        """Return the target whose wheels are compiled for it."""
        return self.cpu.target if self.bits == 32 else self.cpu.target_64


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemPython:
    """A Python of a release of Raspberry Pi OS."""

    __pydantic_config__ = _STRICT
    version: str
    full_version: str
    """With the number of the patch release, which Requires-Python may ask for."""
    pip: _Version
    """The newest pip that supports this Python."""
    shipped_pip: _OptionalVersion = None
    """The pip of the release; None if the release has no pip for this Python."""
    numpy: _Version
    """The newest numpy on PyPI for this Python."""
    shipped_numpy: _OptionalVersion = None
    """The numpy of the release's package; None if there is no package."""
    package: str = ""
    """The Debian package with a pip for it; empty if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A release of Raspberry Pi OS."""

    __pydantic_config__ = _STRICT
    name: str
    bits: tuple[int, ...]
    symbol_versions: dict[str, _Version] = field(hash=False)
    """The newest version that its libraries have of each family: `GLIBC`, `GLIBCXX`, `CXXABI`, `GCC`."""
    pythons: tuple[SystemPython, ...]
    in_debian: bool
    """Whether Debian's mirrors still have it."""
    kernel_64: str = ""
    """What `uname -r` prints with 64 bits and pages of 4 KiB; empty if it has no 64-bit version."""

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
        """Return the tags of the wheels that the newest pip installs there."""
        return self.tags_of(self.python.pip)

    def tags_of(self, pip: Version) -> frozenset[Tag]:
        """Return the tags of the wheels that a pip installs there."""
        return accepted_tags(self.python.version, pip, self.pi.architectures, self.system.glibc)


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
    own_wheel_libraries: frozenset[str]
    """Sonames of the libraries that wheels of pibuild may need."""

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

    def pi(self, cpu: Cpu, bits: int) -> Pi | None:
        """Return the Pi with this CPU and a system of so many bits; None if there is none."""
        return next((pi for pi in self.pis if (pi.cpu.name, pi.bits) == (cpu.name, bits)), None)

    def model(self, name: str) -> Model:
        """Return a board by its name; KeyError if there is none."""
        return {model.name: model for model in self.models}[name]


@cache
def load_pis() -> Pis:
    """Return the contents of pis.yaml."""
    path = Path(__file__).with_name("pis.yaml")
    return typed(Pis, read_yaml(path), path)
