"""The choice of the emulated Pi for a wheel, its image, and the packages on it beside the wheel.

The person's choice comes first; the wheel's tags decide the rest. Models and systems come from config/pis.yaml, targets
from toolchains/.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from packaging.utils import canonicalize_name
from packaging.version import Version

from pibuild.build.planning import Catalogue, nearest_pythons, supported_pythons
from pibuild.config.dockerfiles import debian_userland, load_images
from pibuild.config.pis import Model, System, load_pis
from pibuild.config.project_files import project_folder
from pibuild.config.python_versions import refuse_free_threaded
from pibuild.config.targets import find_target
from pibuild.errors import ImageError, PibuildError, UsageError, collected, nearest, raise_all
from pibuild.model import Image, Plan, Request, Target, Userland
from pibuild.wheels.pip_tags import architecture, is_for_python
from pibuild.wheels.wheel import WheelFormatError, WheelName, wheel_name

_Value = TypeVar("_Value")
_ARCHITECTURE_64 = "aarch64"
_MODEL_64 = "pi-3-b"
"""The board that is emulated for a 64-bit system if none is named: the oldest."""
_DEVICE_GLIBC = Version("2.31")
"""The C library of a target's own device (dockerfiles/device/userland)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRequest:
    """The person's choices beside the wheel; None for a choice that was left open."""

    target: str | None = None
    python: str | None = None
    model: str | None = None
    system: str | None = None
    bits: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """The emulated Pi on which a wheel is tried."""

    target: Target | None
    """The target of a 32-bit system; None for 64 bits, where the device is always a release with its own Python."""
    python: str
    model: Model
    system: System | None
    """The release of Raspberry Pi OS; None for the userland that wheels are proven with."""

    @property
    def bits(self) -> int:
        """Return whether its system has 32 or 64 bits."""
        return 32 if self.target else 64

    @property
    def is_stand_in(self) -> bool:
        """Whether it has the CPU and the system of another Pi.

        That is enough for a wheel without machine code for the Pi itself.
        """
        return self.target is not None and self.target.name != self.model.cpu.target

    @property
    def title(self) -> str:
        """Return its name for people: `Raspberry Pi 4 Model B Rev 1.4, bookworm (64 bit), Python 3.11`."""
        system = f"{self.system.name}{' (64 bit)' if self.bits == 64 else ''}, " if self.system else ""
        return f"{self.model.full_name}, {system}Python {self.python}"

    @property
    def architecture(self) -> str:
        """Return the architecture of platform tags of wheels for it: `armv7l`."""
        return self.target.machine if self.target else _ARCHITECTURE_64

    @property
    def page_bytes(self) -> int:
        """Return the size of a memory page of its kernel."""
        pi = load_pis().pi(self.model.cpu, self.bits)
        return pi.page_bytes if pi else 4096


def emulated_pythons(system: System) -> tuple[str, ...]:
    """Return the Pythons of a release that have a pip there."""
    return tuple(python.version for python in system.pythons if python.package)


def userland(system: System, target: Target | None, raspbian: str | None, more: Sequence[str] = ()) -> Userland:
    """Return where a release's userland for a target comes from; `raspbian` is the URL of Raspbian's archive, if any.

    The packages are Raspbian's, which support every Pi. Without its archive they are Debian's, for targets whose
    runtime is Debian's as well; for other targets the C library is compiled, which takes minutes, or it is the device's
    own, if that is the release's version. A 64-bit system, which has no target, is
    Debian's. `more` are further packages. Raises ImageError if only Raspbian has the release.
    """
    pis = load_pis()
    packages = (*pis.packages, *more, *(python.package for python in system.pythons if python.package))
    if target is None:
        return debian_userland(system, "device64", more)
    if not raspbian and not system.in_debian:
        raise ImageError(
            f"The system {system.name} is not available: Debian's mirrors lack it, and no Raspbian archive is set",
            hint=f"--raspbian URL (or PIBUILD_RASPBIAN, or raspbian: in pibuild.yaml) with an archive that has "
            f"{system.name}, such as http://legacy.raspbian.org/raspbian",
        )
    is_packaged = bool(raspbian) or target.runtime == "debian"
    compiled = "model" if system.glibc == _DEVICE_GLIBC else "glibc"
    return Userland(
        image="userland" if is_packaged else compiled,
        os=system.name,
        archive=raspbian or "",
        archive_key=pis.raspbian_key if raspbian else "",
        packages=packages,
    )


def recipe_pythons(catalogue: Catalogue, target: str) -> list[str]:
    """Return the Pythons that the recipe of CPython can put on a target's device."""
    releases = catalogue.recipes["cpython"].releases
    return supported_pythons(release for release in releases if release.is_for(catalogue.targets[target]))


def pythons_by_bits(catalogue: Catalogue) -> dict[int, list[str]]:
    """Return the Pythons that the recipe of CPython can put on devices whose systems have 32 and 64 bits."""
    pythons: dict[int, set[str]] = {32: set(), 64: set()}
    for target in catalogue.targets.values():
        pythons[target.bits].update(recipe_pythons(catalogue, target.name))
    return {bits: sorted(names, key=Version) for bits, names in pythons.items()}


def choose(
    wheel: WheelName, request: DeviceRequest, targets: Mapping[str, Target], pythons: Mapping[int, Sequence[str]]
) -> Device:
    """Return the device on which a wheel is tried; what the request leaves open, the wheel's tags decide.

    `pythons` are by bits those that are available where no system is requested. Raises UsageError if something does not
    exist, or if the requested parts don't go together.
    """
    pis = load_pis()
    faults: list[PibuildError] = []
    with collected(faults):
        refuse_free_threaded(request.python)
    with collected(faults):
        model = _named("--model", request.model, {model.name: model for model in pis.models})
    with collected(faults):
        system = _named("--os", request.system, {system.name: system for system in pis.systems})
    wanted = None
    with collected(faults):
        wanted = find_target(request.target, targets) if request.target is not None else None
    raise_all(faults)
    if wanted and request.bits not in (None, wanted.bits):
        others = [target.name for target in targets.values() if target.bits == request.bits]
        hint = f"omit --bits, or --target {' or '.join(others)}"
        raise UsageError(f"{wanted.name} has a {wanted.bits}-bit system", found=f"--bits {request.bits}", hint=hint)
    _refuse_other_width(wheel, request.bits or (wanted.bits if wanted else 0), targets)
    if (request.bits or _bits(wheel, wanted)) == 64:
        return _choose_64(wheel, request, model or pis.model(_MODEL_64), system, pythons[64])
    target = _target(wheel, request.target, model, targets)
    python = _python(wheel, request.python, emulated_pythons(system) if system else pythons[32], system)
    return Device(target=target, python=python, model=model or pis.model(target.device_model), system=system)


def _refuse_other_width(wheel: WheelName, bits: int, targets: Mapping[str, Target]) -> None:
    """Raise UsageError if a wheel is only for ARM systems of another width than the requested one; 0 is any width."""
    widths = {target.machine: target.bits for target in targets.values()}
    machines = {architecture(tag.platform) for tag in wheel.tags}
    if not bits or any(widths.get(machine, bits) == bits for machine in machines):
        return
    own = " or ".join(f"--target {target.name}" for target in targets.values() if target.machine in machines)
    others = [target for target in targets.values() if target.bits == bits]
    raise UsageError(
        f"{wheel.name} is for a system with {96 - bits} bits, and the requested one has {bits}",
        expected=" or ".join(target.platform_tag for target in others),
        found=", ".join(sorted({tag.platform for tag in wheel.tags})),
        hint=f"{own} to run this wheel; pibuild build --target {others[-1].name} makes one for {bits} bits. "
        f"`getconf LONG_BIT` on the Pi prints 32 or 64",
    )


def _bits(wheel: WheelName, target: Target | None) -> int:
    """Return whether the requested target has 32 or 64 bits; without one, 64 if the wheel is only for that."""
    if target:
        return target.bits
    machines = {architecture(tag.platform) for tag in wheel.tags}
    return 64 if machines == {_ARCHITECTURE_64} else 32


def _choose_64(
    wheel: WheelName, request: DeviceRequest, model: Model, system: System | None, pythons: Sequence[str]
) -> Device:
    """Return a device with a 64-bit system: the requested one, else the newest whose Python accepts the wheel.

    If none does, it is the oldest system, with one of `pythons`, which pibuild builds.
    """
    pis = load_pis()
    pi = pis.pi(model.cpu, 64)
    if not pi or not model.cpu.qemu_64:
        raise UsageError(
            f"{model.name} has a 32-bit CPU",
            expected=" or ".join(other.name for other in pis.models if other.cpu.qemu_64),
            hint="--bits 32, with a wheel for it, or another --model",
        )
    newer = pis.systems[[other.name for other in pis.systems].index(pi.first_system) :]
    supported = [other for other in newer if 64 in other.bits and other.in_debian]
    if system and system not in supported:
        raise UsageError(
            f"{system.name} has no 64-bit version that runs on {model.name}",
            expected=" or ".join(other.name for other in supported),
        )
    if system:
        python = _python(wheel, request.python, emulated_pythons(system), system)
    else:
        system, python = _newest_fitting(wheel, request.python, supported, pythons)
    return Device(target=None, python=python, model=model, system=system)


def _newest_fitting(
    wheel: WheelName, python: str | None, systems: Sequence[System], built: Sequence[str]
) -> tuple[System, str]:
    """Return the newest release that has a Python, or if none is requested one that accepts the wheel, and that Python.

    If there is none, it is one of the Pythons that pibuild has built, with the oldest release.
    """
    newest_first = {system: sorted(emulated_pythons(system), key=Version, reverse=True) for system in reversed(systems)}
    places = [(system, other) for system, pythons in newest_first.items() for other in pythons]
    places += [(systems[0], other) for other in reversed(built)]
    for system, other in places:
        if other == python or (python is None and is_for_python(wheel.tags, other)):
            return system, other
    of_systems = [(system, other) for system in systems for other in emulated_pythons(system)]
    named = ", ".join(f"{other} ({system.name})" for system, other in of_systems)
    what = f"No 64-bit system has Python {python}" if python else f"No Python of a 64-bit system accepts {wheel.name}"
    tags = ", ".join(sorted({f"{tag.interpreter}-{tag.abi}" for tag in wheel.tags}))
    raise UsageError(what, expected=named, found="" if python else tags)


def _named(option: str, name: str | None, by_name: Mapping[str, _Value]) -> _Value | None:
    if name is not None and name not in by_name:
        raise UsageError(f"{option} has no value {name!r}", hint=nearest(name, list(by_name), same_digits=True))
    return by_name[name] if name else None


def _target(wheel: WheelName, wanted: str | None, model: Model | None, targets: Mapping[str, Target]) -> Target:
    if model:
        if wanted is not None and find_target(wanted, targets).name != model.cpu.target:
            raise UsageError(f"{model.name} is a model of {model.cpu.target}, not of {wanted}", hint="omit --target")
        return targets[model.cpu.target]
    if wanted is not None:
        return find_target(wanted, targets)
    platforms = {tag.platform for tag in wheel.tags}
    for target in (target for target in targets.values() if target.bits == 32):
        if any(platform.endswith(f"_{target.machine}") for platform in platforms):
            return target
    if "any" in platforms:
        raise UsageError(f"{wheel.name} is for any Pi, and no Pi is chosen", hint="--target pi-one, or --model pi-4-b")
    raise UsageError(
        f"{wheel.name} is for no Pi that can be emulated",
        expected=" or ".join(target.platform_tag for target in targets.values() if target.bits == 32),
        found=", ".join(sorted(platforms)),
    )


def _python(wheel: WheelName, wanted: str | None, available: Sequence[str], system: System | None) -> str:
    where = system.name if system else "the emulated Pi"
    if wanted is not None:
        if wanted not in available:
            raise UsageError(f"{where} has no Python {wanted!r}", hint=nearest_pythons(wanted, available))
        return wanted
    fitting = [python for python in available if is_for_python(wheel.tags, python)]
    if not fitting:
        raise UsageError(
            f"No Python of {where} accepts {wheel.name}",
            expected=", ".join(available),
            found=", ".join(sorted({f"{tag.interpreter}-{tag.abi}" for tag in wheel.tags})),
            hint="choose another --os" if system else "use a wheel for one of these, or set --python",
        )
    of_systems = {place.python.version for place in load_pis().places}
    return max(fitting, key=lambda python: (python in of_systems, Version(python)))


def plan_beside(wheel: WheelName, device: Device, catalogue: Catalogue) -> Plan | None:
    """Plan the artifacts beside a wheel: those that its recipe is proven with, or without a recipe the usual ones.

    Return None if that is nothing: the system has its own Python, and no recipe makes a proven wheel for that version.
    """
    name = device.target.name if device.target else device.model.cpu.target_64
    if device.system and device.python not in recipe_pythons(catalogue, name):
        return None
    request = Request(target=name, python=device.python, recipe=None, version=None)
    for recipe in catalogue.recipes.values():
        if recipe.proof and canonicalize_name(recipe.package_name) == wheel.name:
            with suppress(UsageError):  # the recipe lacks this Python or this release
                return catalogue.plan(replace(request, recipe=recipe.name, version=str(wheel.version)))
    try:
        return catalogue.plan(request)
    except UsageError:
        if device.system:
            return None
        raise


def device_image(device: Device, catalogue: Catalogue, raspbian: str | None, more: Sequence[str] = ()) -> Image:
    """Return the image of a device's userland; `more` are packages that its system has in addition."""
    if device.system:
        system = userland(device.system, device.target, raspbian, more)
        return load_images(project_folder("dockerfiles"), device.target, system)[system.image]
    if not device.target:
        raise AssertionError("a 64-bit device is always a release")
    name = "device" if device.model.cpu.qemu == device.target.device_cpu else "model"
    return catalogue.images[device.target.name][name]


def fitting_wheels(path: Path, device: Device) -> list[Path]:
    """Return the wheels of a wheel's folder, itself first, whose tags the device takes."""
    others = (other for other in sorted(path.parent.glob("*.whl")) if other != path and other.is_file())
    return [path, *(other for other in others if _fits(other.name, device))]


def _fits(file_name: str, device: Device) -> bool:
    try:
        tags = wheel_name(file_name).tags
    except WheelFormatError:
        return False
    machine = f"_{device.architecture}"
    fitting = [tag for tag in tags if tag.platform == "any" or tag.platform.endswith(machine)]
    return is_for_python(fitting, device.python)
