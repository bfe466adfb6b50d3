"""The Pis that a wheel can be tried on, and which one a wheel, or a person, asks for.

Pure: what there is comes from devices.yaml, pis.yaml and the targets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from packaging.version import Version

from pibuild.config.pis import interpreter_tags
from pibuild.config.strict_yaml import read_yaml, typed
from pibuild.config.targets import find_target
from pibuild.errors import ImageError, UsageError, nearest
from pibuild.model import Target, Userland
from pibuild.wheels.wheel import WheelName

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """A CPU as a 32-bit userland sees it."""

    __pydantic_config__ = _STRICT
    target: str
    """The target whose wheels it is for."""
    cpu: str
    """What qemu-arm calls it."""
    machine: str
    """What `uname -m` says."""
    cores: int
    core: str
    """What /proc/cpuinfo says of each core, after its number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A board: `pi-4-b`."""

    name: str
    full_name: str
    """What /proc/device-tree/model says."""
    cpu: Cpu
    revision: str
    hardware: str

    @property
    def cpuinfo(self) -> str:
        """Give its /proc/cpuinfo."""
        cores = "".join(f"processor\t: {number}\n{self.cpu.core}\n" for number in range(self.cpu.cores))
        hardware = f"Hardware\t: {self.hardware}\n" if self.hardware else ""
        serial = "0000000000000000"
        return f"{cores}{hardware}Revision\t: {self.revision}\nSerial\t\t: {serial}\nModel\t\t: {self.full_name}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _ModelFile:
    """A board as devices.yaml writes it, under its name."""

    __pydantic_config__ = _STRICT
    name: str
    cpu: str
    revision: str
    hardware: str


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A release of Raspberry Pi OS."""

    name: str
    pythons: tuple[str, ...]
    """Those that have a pip there."""
    packages: tuple[str, ...]
    in_debian: bool
    """Whether Debian's mirrors still have the release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _SystemFile:
    """A release as devices.yaml writes it, under its name."""

    __pydantic_config__ = _STRICT
    pythons: tuple[str, ...]
    packages: tuple[str, ...]
    in_debian: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _DevicesFile:
    """devices.yaml."""

    __pydantic_config__ = _STRICT
    cpus: dict[str, Cpu]
    models: dict[str, _ModelFile]
    systems: dict[str, _SystemFile]
    packages: tuple[str, ...]
    raspbian_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person asked for beside the wheel; anything left open is None."""

    target: str | None = None
    python: str | None = None
    model: str | None = None
    system: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """The Pi that was decided on."""

    target: Target
    python: str
    model: Model
    system: System | None
    """The release of Raspberry Pi OS; None for the userland that wheels are proven with."""

    @property
    def title(self) -> str:
        """Name it as a person would."""
        system = f"{self.system.name}, " if self.system else ""
        return f"{self.model.full_name}, {system}Python {self.python}"


@cache
def _told() -> _DevicesFile:
    path = Path(__file__).with_name("devices.yaml")
    return typed(_DevicesFile, read_yaml(path), str(path))


@cache
def load_models() -> dict[str, Model]:
    """Give the boards by name."""
    cpus = _told().cpus
    return {
        name: Model(name=name, full_name=one.name, cpu=cpus[one.cpu], revision=one.revision, hardware=one.hardware)
        for name, one in _told().models.items()
    }


@cache
def load_systems() -> dict[str, System]:
    """Give the releases by name, the oldest first."""
    every = _told().packages
    return {
        name: System(name=name, pythons=one.pythons, packages=(*every, *one.packages), in_debian=one.in_debian)
        for name, one in _told().systems.items()
    }


def userland(system: System, target: Target, raspbian: str | None) -> Userland:
    """Say where a release's userland for a target comes from; `raspbian` is the address of its archive, if any is set.

    From Raspbian, which is made for every Pi; without it from Debian's armhf for targets whose runtime is Debian's as
    well, else its C library is compiled. ImageError where only Raspbian would have it.
    """
    if not raspbian and not system.in_debian:
        raise ImageError(
            f"The system {system.name} can't be had: Debian's mirrors have it no more, and no Raspbian archive is set",
            hint=f"--raspbian URL (or PIBUILD_RASPBIAN, or raspbian: in pibuild.yaml) with an archive that has "
            f"{system.name}, such as http://legacy.raspbian.org/raspbian",
        )
    is_packaged = bool(raspbian) or target.runtime == "debian"
    return Userland(
        image="userland" if is_packaged else "glibc",
        os=system.name,
        archive=raspbian or "",
        archive_key=_told().raspbian_key if raspbian else "",
        packages=system.packages,
    )


def choose(wheel: WheelName, wish: Wish, targets: Mapping[str, Target], pythons: Mapping[str, Sequence[str]]) -> Device:
    """Decide where a wheel is tried; what nobody asked for is what the wheel's tags say.

    `pythons` are those that each target has. UsageError where something does not exist, or they don't go together.
    """
    model = _model(wish.model)
    system = _system(wish.system)
    target = _target(wheel, wish.target, model, targets)
    model = model or next(one for one in load_models().values() if one.cpuinfo == target.cpuinfo)
    there = list(system.pythons if system else pythons[target.name])
    return Device(target=target, python=_python(wheel, wish.python, there, system), model=model, system=system)


def _model(name: str | None) -> Model | None:
    models = load_models()
    if name is not None and name not in models:
        raise UsageError(f"There is no model {name!r}", hint=nearest(name, list(models)))
    return models[name] if name else None


def _system(name: str | None) -> System | None:
    systems = load_systems()
    if name is not None and name not in systems:
        raise UsageError(f"There is no system {name!r}", hint=nearest(name, list(systems)))
    return systems[name] if name else None


def _target(wheel: WheelName, asked: str | None, model: Model | None, targets: Mapping[str, Target]) -> Target:
    if model:
        if asked and find_target(asked, targets).name != model.cpu.target:
            raise UsageError(f"{model.name} is a Pi of {model.cpu.target}, not of {asked}", hint="leave --target out")
        return targets[model.cpu.target]
    if asked:
        return find_target(asked, targets)
    platforms = {tag.platform for tag in wheel.tags}
    for target in targets.values():
        if any(platform.endswith(f"_{target.machine}") for platform in platforms):
            return target
    if "any" in platforms:
        raise UsageError(f"{wheel.name} runs on any Pi: on which?", hint="--target pi-one, or --model pi-4-b")
    raise UsageError(
        f"{wheel.name} is for no Pi that is emulated here",
        expected=" or ".join(target.platform_tag for target in targets.values()),
        found=", ".join(sorted(platforms)),
    )


def _python(wheel: WheelName, asked: str | None, there: list[str], system: System | None) -> str:
    where = system.name if system else "the emulated Pi"
    if asked:
        if asked not in there:
            raise UsageError(f"{where} has no Python {asked}", hint=nearest(asked, there))
        return asked
    claimed = {(tag.interpreter, tag.abi) for tag in wheel.tags}
    fitting = [python for python in there if claimed & interpreter_tags(python)]
    if not fitting:
        raise UsageError(
            f"No Python of {where} takes {wheel.name}",
            expected=", ".join(there),
            found=", ".join(sorted(f"{interpreter}-{abi}" for interpreter, abi in claimed)),
            hint="another --os" if system else "a wheel for one of these, or --python to see pip refuse it",
        )
    return max(fitting, key=Version)
