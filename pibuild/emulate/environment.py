"""What an emulated Pi is set up with: its image, what recipes put on it, and the wheels that its pip may take."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import canonicalize_name

from pibuild.build.planning import Catalogue
from pibuild.config.dockerfiles import load_images
from pibuild.config.project_files import project_folder
from pibuild.emulate.choose import Device, userland
from pibuild.errors import UsageError
from pibuild.model import Image, Plan, Request
from pibuild.wheels.pip_tags import is_for_python
from pibuild.wheels.wheel import WheelFormatError, WheelName, wheel_name


def pythons_of(catalogue: Catalogue) -> dict[str, list[str]]:
    """Return the Pythons that can be put on a device of each target."""
    every = [python for release in catalogue.recipes["cpython"].releases for python in release.pythons]
    return dict.fromkeys(catalogue.targets, every)


def plan_beside(wheel: WheelName, device: Device, catalogue: Catalogue) -> Plan | None:
    """Plan what is installed beside a wheel: what its recipe is proven with; without a recipe, what any wheel gets.

    None if that is nothing: the system has its own Python, and no recipe makes anything for that version.
    """
    if device.system and device.python not in pythons_of(catalogue)[device.target.name]:
        return None
    request = Request(target=device.target.name, python=device.python, recipe=None, version=None)
    for recipe in catalogue.recipes.values():
        if recipe.proof and canonicalize_name(recipe.package_name) == wheel.name:
            with suppress(UsageError):  # another Python's, or a release that is none of ours
                return catalogue.plan(replace(request, recipe=recipe.name, version=str(wheel.version)))
    return catalogue.plan(request)


def device_image(device: Device, catalogue: Catalogue, raspbian: str | None) -> Image:
    """Return the image of a device's userland."""
    if device.system:
        land = userland(device.system, device.target, raspbian)
        return load_images(project_folder("dockerfiles"), device.target, land)[land.image]
    name = "device" if device.model.cpu.qemu == device.target.device_cpu else "model"
    return catalogue.images[device.target.name][name]


def fitting_wheels(path: Path, device: Device) -> list[Path]:
    """Return the wheels of a wheel's folder, itself first, whose tags the device takes."""
    there = [one for one in sorted(path.parent.glob("*.whl")) if one != path and one.is_file()]
    return [path, *(one for one in there if _fits(one, device))]


def _fits(path: Path, device: Device) -> bool:
    with suppress(WheelFormatError):
        return any(_suits(tag, device) for tag in wheel_name(path.name).tags)
    return False


def _suits(tag: Tag, device: Device) -> bool:
    is_there = tag.platform == "any" or tag.platform.endswith(f"_{device.target.machine}")
    return is_there and is_for_python([tag], device.python)


def package_of(path: Path) -> str:
    """Return the normalized name of a wheel file's package; empty if its name is not a wheel's."""
    with suppress(WheelFormatError):
        return str(wheel_name(path.name).name)
    return ""
