"""The Dockerfiles under dockerfiles/, and the images that they describe."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from pibuild.config.pis import System, load_pis
from pibuild.config.project_files import folder_digest
from pibuild.config.strict_yaml import read_yaml, typed
from pibuild.errors import UsageError, nearest
from pibuild.files import json_digest
from pibuild.model import Base, Image, Target, Userland


def load_base(folder: Path) -> Base:
    """Return where the base image comes from."""
    path = folder / "base" / "base.yaml"
    return typed(Base, read_yaml(path), path)


_OF_THE_MACHINE = {"JOBS", "SNAPSHOT"}
"""ARGs that an image's name does not depend on."""
_ROLES = ("toolchain", "device")
"""Folders that a target can replace by one whose name begins like this: `toolchain64`."""


def target_images(folder: Path, target: Target, *, own: Collection[str] = ()) -> dict[str, Image]:
    """Return the images with which a target's wheels are built and proven, by name.

    The target's own toolchain and device are `toolchain` and `device`, whatever the names of their folders are. `own`
    is as in load_images.
    """
    images = load_images(folder, target, own=own)
    if target.device_system:
        system = {system.name: system for system in load_pis().systems}[target.device_system]
        images[target.device_image] = load_images(folder, None, debian_userland(system, target.device_image), own=own)[
            target.device_image
        ]
    for role, name in zip(_ROLES, (target.toolchain_image, target.device_image), strict=True):
        if name in images:
            images[role] = images.pop(name)
    return images


def debian_userland(system: System, image: str, more: Sequence[str] = ()) -> Userland:
    """Return a release's userland of Debian's packages; `more` are further ones."""
    pythons = (python.package for python in system.pythons if python.package)
    packages = (*load_pis().packages, *more, *pythons)
    return Userland(image=image, os=system.name, archive="", archive_key="", packages=packages)


def load_images(
    folder: Path, target: Target | None, userland: Userland | None = None, *, own: Collection[str] = ()
) -> dict[str, Image]:
    """Return a target's images by name, one for each folder of dockerfiles/.

    A Dockerfile's ARG that is the name of another folder takes that image's reference. JOBS and SNAPSHOT are set when
    the image is made. CPUINFO and CPUS are those of the target's device model. Every other ARG takes the key of that
    name, the target's or the userland's. Images with an ARG of the userland, or of the target, exist only if one is
    given. Of the folders that make toolchains or devices, a target has only those that it names.

    `own` are names of images that this machine made of other versions than the locks have; they replace the locked
    names.
    """
    args = {
        path.parent.name: _args(path.read_text())
        for path in folder.glob("*/Dockerfile")
        if target is None or _serves(path.parent.name, target)
    }
    absent = {field.name.upper() for field in fields(Userland)} if userland is None else set()
    if target is None:
        absent |= {field.name.upper() for field in fields(Target)} | {"CPUINFO", "CPUS"}
    else:
        absent |= {role.upper() for role in _ROLES} - {name.upper() for name in args}
    while unplanned := {name for name, used in args.items() if used & absent}:
        absent |= {name.upper() for name in unplanned}
        args = {name: used for name, used in args.items() if name not in unplanned}
    args["base"] = set()
    names = {name.upper(): name for name in args}
    keys = asdict(userland) if userland else {}
    if target:
        model = load_pis().model(target.device_model)
        keys |= asdict(target) | {"cpuinfo": model.cpuinfo, "cpus": model.cpu.cores}
    graph = {name: sorted(names[arg] for arg in used & names.keys()) for name, used in sorted(args.items())}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = ", ".join(error.args[1])
        raise UsageError(f"Images of {folder} are made from each other in a circle: {circle}") from error
    images: dict[str, Image] = {}
    for name in order:
        values = tuple(
            (arg, _argument(keys, arg, folder / name)) for arg in sorted(args[name] - names.keys() - _OF_THE_MACHINE)
        )
        suffix = f"-{target.name if target else keys['os']}" if values else ""
        title = f"pibuild/{name}{suffix}"
        image = Image(name=name, reference=title, locked=title, folder=folder / name, args=values, parents=())
        images[name] = as_here(standing_on(image, [images[parent] for parent in graph[name]]), own)
    return images


def standing_on(image: Image, parents: Sequence[Image]) -> Image:
    """Return an image with these parents, named as it is if it is made of the versions that its lock has."""
    digest = folder_digest(image.folder)
    if parents:
        references = [parent.reference for parent in parents]
        digest = json_digest({"files": digest, "args": image.args, "parents": references})
    reference = f"{image.locked.partition(':')[0]}:{digest[:16]}"
    return replace(image, reference=reference, locked=reference, parents=tuple(parents))


def with_parents_named(image: Image, parents: Sequence[Image]) -> Image:
    """Return an image with its parents under other names, which change its own; the same image if none has another."""
    same = [parent.reference for parent in parents] == [parent.reference for parent in image.parents]
    return image if same else standing_on(image, parents)


def as_here(image: Image, own: Collection[str]) -> Image:
    """Return an image under its name on this machine; `own` are names of images that are not made as locked.

    If an image below it has another name here, it has, too.
    """
    image = with_parents_named(image, [as_here(parent, own) for parent in image.parents])
    return replace(image, reference=next((name for name in own if is_made_for(name, image)), image.locked))


def is_made_for(reference: str, image: Image) -> bool:
    """Return whether a name is that of an image with the same Dockerfile and lock, but made of other versions."""
    return reference.startswith(f"{image.locked}-")


def name_with(image: Image, taken: object) -> str:
    """Return the name of an image that is made of other versions; `taken`, a JSON value, identifies these versions."""
    return f"{image.locked}-{json_digest(taken)[:12]}"


def _serves(name: str, target: Target) -> bool:
    """Return whether a folder makes an image for a target.

    A folder with the toolchain or device of other targets does not.
    """
    return name in (target.toolchain_image, target.device_image) or not name.startswith(_ROLES)


def _args(dockerfile: str) -> set[str]:
    return set(re.findall(r"^ARG\s+(\w+)\s*$", dockerfile, re.MULTILINE))


def _argument(keys: Mapping[str, Any], arg: str, folder: Path) -> str:
    values = {name.upper(): value for name, value in keys.items()}
    if arg not in values:
        raise UsageError(f"{folder}/Dockerfile: ARG {arg} is not a key of the target", hint=nearest(arg, list(values)))
    value = values[arg]
    return " ".join(value) if isinstance(value, tuple) else str(int(value) if isinstance(value, bool) else value)
