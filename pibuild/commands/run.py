"""The command `run`: what a person typed to a container on the emulated Pi, and its exit code back."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import canonicalize_name

from pibuild.build.assembly import Catalogue, load_catalogue, make_ports, open_store
from pibuild.build.planning import on_device
from pibuild.commands.wheels import files
from pibuild.config.dockerfiles import load_images
from pibuild.config.project_files import project_folder
from pibuild.config.settings import Settings
from pibuild.console import Console
from pibuild.emulate.choose import Device, DeviceRequest, choose, userland
from pibuild.errors import UsageError
from pibuild.model import Image, Plan, Request
from pibuild.wheels.pip_tags import is_for_python
from pibuild.wheels.wheel import WheelFormatError, WheelName, wheel_name

HINT = 'pibuild run WHEEL -- python -c "import thing"'

_OUR_PYTHON, _USERS_OWN = "/opt/pibuild/python", "/work/build/.local"
"""Where packages stand beside the Python of our recipe, and where they do with a system's own."""


def run(
    path: Path,
    command: Sequence[str],
    settings: Settings,
    environ: Mapping[str, str],
    console: Console,
    *,
    model: str | None,
    system: str | None,
) -> int:
    """Start a command on the Pi that the wheel, or the person, asks for; give the command's exit code."""
    files([path])
    try:
        wheel = wheel_name(path.name)
    except WheelFormatError as error:
        raise UsageError(f"{path.name} is no wheel's name", found=str(error)) from error
    catalogue = load_catalogue()
    request = DeviceRequest(target=settings.target, python=settings.python, model=model, system=system)
    device = choose(wheel, request, catalogue.targets, _pythons(catalogue))
    plan = _plan(wheel, device, catalogue)
    image = _image(device, catalogue, settings.raspbian)
    beside = _fitting(path, device)
    from pibuild.build import schedule as pipeline  # noqa: PLC0415  the engine's client costs a third of a second
    from pibuild.emulate import session  # noqa: PLC0415

    store = open_store(settings, console)
    try:
        ports = make_ports(settings, environ, store, console)
        brought = {_package(one) for one in beside}
        without = [one.name for one in catalogue.recipes.values() if canonicalize_name(one.package_name) in brought]
        has_python = image.name == "userland"
        without += ["cpython"] if has_python else []
        made = {}
        if plan:
            standing = [one for one in on_device(plan) if one.recipe.name not in without]
            made = pipeline.place(plan, image, standing, ports, "pibuild run")
        else:
            ports.engine.check()
            pipeline.ensure_image(image, ports)
        folders = {name: catalogue.recipes[name].device.format(python=device.python) for name in made}
        return session.start(
            path,
            beside,
            command,
            device=device,
            image=image,
            installed=tuple(
                (folder.replace(_OUR_PYTHON, _USERS_OWN) if has_python else folder, made[name])
                for name, folder in folders.items()
            ),
            ports=ports,
            is_terminal=sys.stdin.isatty() and sys.stdout.isatty(),
        )
    finally:
        store.close()


def _pythons(catalogue: Catalogue) -> dict[str, list[str]]:
    """Give the Pythons that can be put on a device of each target."""
    every = [python for release in catalogue.recipes["cpython"].releases for python in release.pythons]
    return dict.fromkeys(catalogue.targets, every)


def _plan(wheel: WheelName, device: Device, catalogue: Catalogue) -> Plan | None:
    """Plan what stands beside the wheel: what its recipe is proven with, else what any wheel is.

    None where that is nothing: a system brings its own Python, and we have made nothing for that version.
    """
    if device.system and device.python not in _pythons(catalogue)[device.target.name]:
        return None
    request = Request(target=device.target.name, python=device.python, recipe=None, version=None)
    for recipe in catalogue.recipes.values():
        if recipe.proof and canonicalize_name(recipe.package_name) == wheel.name:
            with suppress(UsageError):  # another Python's, or a release that is none of ours
                return catalogue.plan(replace(request, recipe=recipe.name, version=str(wheel.version)))
    return catalogue.plan(request)


def _image(device: Device, catalogue: Catalogue, raspbian: str | None) -> Image:
    if device.system:
        land = userland(device.system, device.target, raspbian)
        return load_images(project_folder("dockerfiles"), device.target, land)[land.image]
    name = "device" if device.model.cpu.qemu == device.target.device_cpu else "model"
    return catalogue.images[device.target.name][name]


def _fitting(path: Path, device: Device) -> list[Path]:
    """Give the wheels of the wheel's folder, itself among them, that pip may take there."""
    there = [one for one in sorted(path.parent.glob("*.whl")) if one != path and one.is_file()]
    return [path, *(one for one in there if _fits(one, device))]


def _fits(path: Path, device: Device) -> bool:
    with suppress(WheelFormatError):
        return any(_suits(tag, device) for tag in wheel_name(path.name).tags)
    return False


def _suits(tag: Tag, device: Device) -> bool:
    is_there = tag.platform == "any" or tag.platform.endswith(f"_{device.target.machine}")
    return is_there and is_for_python([tag], device.python)


def _package(path: Path) -> str:
    with suppress(WheelFormatError):
        return str(wheel_name(path.name).name)
    return ""
