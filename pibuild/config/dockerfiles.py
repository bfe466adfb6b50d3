"""The Dockerfiles under dockerfiles/, and the images that they describe."""

import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from pibuild.config.pis import load_pis
from pibuild.config.project_files import folder_digest
from pibuild.config.strict_yaml import read_yaml, typed
from pibuild.errors import UsageError, nearest
from pibuild.files import json_digest
from pibuild.model import Base, Image, Target, Userland


def load_base(folder: Path) -> Base:
    """Read where the base image comes from."""
    path = folder / "base" / "base.yaml"
    return typed(Base, read_yaml(path), str(path))


def load_images(folder: Path, target: Target, userland: Userland | None = None) -> dict[str, Image]:
    """Plan a target's images, one for each folder of dockerfiles/.

    A Dockerfile's ARG that is the name of another folder takes that image's reference, and JOBS is set by the engine.
    CPUINFO and CPUS are those of the target's device model. Every other ARG takes the key of the same name, the
    target's or the userland's; images with an ARG of the userland are planned only if one is given.
    """
    images: dict[str, Image] = {"base": _base_image(folder / "base")}
    waiting = {path.parent.name: path.read_text() for path in sorted(folder.glob("*/Dockerfile"))}
    if userland is None:
        of_userlands = {one.name.upper() for one in fields(Userland)}
        waiting = {name: text for name, text in waiting.items() if not _args(text) & of_userlands}
    model = load_pis().model(target.device_model)
    keys = asdict(target) | {"cpuinfo": model.cpuinfo, "cpus": model.cpu.cores} | (asdict(userland) if userland else {})
    names = {name.upper(): name for name in (*images, *waiting)}
    while waiting:
        ready = {
            name: text
            for name, text in waiting.items()
            if all(names[arg] in images for arg in _args(text) & names.keys())
        }
        if not ready:
            raise UsageError(f"The images {', '.join(waiting)} under {folder} stand on each other in a circle")
        for name, text in ready.items():
            args = _args(text)
            parents = tuple(images[names[arg]] for arg in sorted(args & names.keys()))
            own = tuple((arg, _argument(keys, arg, folder / name)) for arg in sorted(args - names.keys() - {"JOBS"}))
            inputs = {"files": folder_digest(folder / name), "args": own, "parents": [one.reference for one in parents]}
            suffix = f"-{target.name}" if own else ""
            images[name] = Image(
                name=name,
                reference=f"pibuild/{name}{suffix}:{json_digest(inputs)[:16]}",
                folder=folder / name,
                args=own,
                parents=parents,
            )
            del waiting[name]
    return images


def _base_image(folder: Path) -> Image:
    return Image(
        name="base", reference=f"pibuild/base:{folder_digest(folder)[:16]}", folder=folder, args=(), parents=()
    )


def _args(dockerfile: str) -> set[str]:
    return set(re.findall(r"^ARG\s+(\w+)\s*$", dockerfile, re.MULTILINE))


def _argument(keys: Mapping[str, Any], arg: str, folder: Path) -> str:
    known = {name.upper(): value for name, value in keys.items()}
    if arg not in known:
        raise UsageError(f"{folder}/Dockerfile wants ARG {arg}, which no target has", hint=nearest(arg, list(known)))
    value = known[arg]
    return " ".join(value) if isinstance(value, tuple) else str(int(value) if isinstance(value, bool) else value)
