"""The Dockerfiles under dockerfiles/, and the images that they describe."""

import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from pibuild.config.pis import load_pis
from pibuild.config.project_files import folder_digest
from pibuild.config.strict_yaml import read_yaml, typed
from pibuild.errors import UsageError, nearest
from pibuild.files import json_digest
from pibuild.model import Base, Image, Target, Userland


def load_base(folder: Path) -> Base:
    """Return where the base image comes from."""
    path = folder / "base" / "base.yaml"
    return typed(Base, read_yaml(path), path)


def load_images(folder: Path, target: Target | None, userland: Userland | None = None) -> dict[str, Image]:
    """Return a target's images by name, one for each folder of dockerfiles/.

    A Dockerfile's ARG that is the name of another folder takes that image's reference, and JOBS is set by the engine.
    CPUINFO and CPUS are those of the target's device model. Every other ARG takes the key of the same name, the
    target's or the userland's. Images with an ARG of the userland, or of the target, exist only if one is given.
    """
    args = {path.parent.name: _args(path.read_text()) for path in folder.glob("*/Dockerfile")}
    absent = {field.name.upper() for field in fields(Userland)} if userland is None else set()
    if target is None:
        absent |= {field.name.upper() for field in fields(Target)} | {"CPUINFO", "CPUS"}
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
        raise UsageError(f"Images of {folder} stand on each other in a circle: {', '.join(error.args[1])}") from error
    images: dict[str, Image] = {}
    for name in order:
        values = tuple(
            (arg, _argument(keys, arg, folder / name)) for arg in sorted(args[name] - names.keys() - {"JOBS"})
        )
        parents = tuple(images[parent] for parent in graph[name])
        digest = folder_digest(folder / name)
        if parents:
            digest = json_digest({"files": digest, "args": values, "parents": [image.reference for image in parents]})
        suffix = f"-{target.name if target else keys['os']}" if values else ""
        images[name] = Image(
            name=name,
            reference=f"pibuild/{name}{suffix}:{digest[:16]}",
            folder=folder / name,
            args=values,
            parents=parents,
        )
    return images


def _args(dockerfile: str) -> set[str]:
    return set(re.findall(r"^ARG\s+(\w+)\s*$", dockerfile, re.MULTILINE))


def _argument(keys: Mapping[str, Any], arg: str, folder: Path) -> str:
    values = {name.upper(): value for name, value in keys.items()}
    if arg not in values:
        raise UsageError(f"{folder}/Dockerfile: ARG {arg} is not a key of the target", hint=nearest(arg, list(values)))
    value = values[arg]
    return " ".join(value) if isinstance(value, tuple) else str(int(value) if isinstance(value, bool) else value)
