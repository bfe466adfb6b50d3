"""Recipes, targets, images and plans for tests. Each maker returns the plainest value; a test names what differs."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pibuild.build.planning import Catalogue
from pibuild.model import ArchivePlace, Image, Limits, Plan, Recipe, Release, Request, Run, Source, Target

ALIASES = {"pi-one": ("pi-zero", "armv6"), "pi-two": ("pi-three", "armv7")}


def make_source(name: str = "thing", tree: str = "0" * 64, **changes: Any) -> Source:
    place = ArchivePlace(archive="https://example.org/thing.tar.gz", sha256="1" * 64)
    return Source(**{"name": name, "tree": tree, "into": name, "places": (place,)} | changes)


def make_release(version: str = "1.0", **changes: Any) -> Release:
    return Release(**{"version": version, "pythons": (), "sources": (make_source(),)} | changes)


def make_recipe(name: str = "thing", digest: str | None = None, **changes: Any) -> Recipe:
    plain: dict[str, Any] = {
        "name": name,
        "summary": "a thing",
        "per": (),
        "image": "builder",
        "files": ("build.sh",),
        "sources": {},
        "releases": (make_release(),),
        "folder": Path("recipes") / name,
    }
    return with_digest(Recipe(**plain | changes), digest or f"digest of {name}")


def with_digest(recipe: Recipe, digest: str) -> Recipe:
    """The recipe with another script for all its releases."""
    return replace(recipe, releases=tuple(replace(release, digest=digest) for release in recipe.releases))


def make_recipes() -> dict[str, Recipe]:
    """The shape of the real ones: a wheel that needs C++ made once per target, and a Python."""
    pythons = ("3.9", "3.11", "3.13")
    recipes = (
        make_recipe("cpython-machine", per=("python",), releases=(make_release(pythons=pythons),)),
        make_recipe(
            "cpython",
            per=("target", "python"),
            image="toolchain",
            device="/opt/pibuild/python",
            releases=(make_release(pythons=pythons, needs=("cpython-machine",)),),
        ),
        make_recipe("tensorflow-lite", per=("target",), image="toolchain"),
        make_recipe(
            "tflite-runtime",
            per=("target", "python"),
            image="toolchain",
            proof="check.py",
            package="thing",
            releases=(
                make_release("2.9.0", pythons=("3.9", "3.11"), needs=("cpython", "tensorflow-lite")),
                make_release("2.14.1", pythons=("3.11", "3.13"), needs=("cpython", "tensorflow-lite")),
            ),
        ),
    )
    return {recipe.name: recipe for recipe in recipes}


def make_target(name: str = "pi-one", **changes: Any) -> Target:
    plain: dict[str, Any] = {
        "name": name,
        "models": "some",
        "libstdcxx": "static",
        "aliases": ALIASES.get(name, ()),
        "bits": 32,
        "compiler": "GCC 10",
        "triple": "arm-linux-gnueabihf",
        "arch_flags": f"-mcpu={name}",
        "cflags": "-O2",
        "runtime": "built",
        "glibc_floor": "2.24",
        "machine": "armv6l",
        "platform_tag": "linux_armv6l",
        "cmake_processor": "armv6",
        "neon": False,
        "elf_cpu_arch": "v6KZ",
        "elf_fp_arch": "VFPv2",
        "elf_simd": "none",
        "runtime_allowed_functions": (),
        "elf_allowed_functions": (),
        "device_cpu": "arm1176",
        "device_model": "pi-zero-w",
    }
    return Target(**plain | changes)


def make_images(target: str) -> dict[str, Image]:
    def image(name: str, *parents: Image, own: bool = False) -> Image:
        reference = f"pibuild/{name}{'-' + target if own else ''}:0"
        return Image(name=name, reference=reference, locked=reference, folder=Path(name), args=(), parents=parents)

    base = image("base")
    builder = image("builder", base)
    return {
        "base": base,
        "builder": builder,
        "toolchain": image("toolchain", builder, own=True),
        "device": image("device", base, own=True),
    }


def make_run(**changes: Any) -> Run:
    limits = Limits(jobs=1, cpus=1, memory_bytes=1_000_000_000, deadline_s=60.0, uid=1234, gid=1234)
    plain: dict[str, Any] = {"image": "pibuild/base:0", "command": ("true",), "env": (), "inputs": (), "labels": ()}
    return Run(**plain | {"limits": limits} | changes)


def make_catalogue(*, targets: Mapping[str, Target] | None = None, **changes: Any) -> Catalogue:
    """The usual recipes, and images for these targets."""
    targets = targets or {"pi-one": make_target()}
    plain: dict[str, Any] = {
        "recipes": make_recipes(),
        "images": {name: make_images(name) for name in targets},
        "proof_digest": "p",
    }
    return Catalogue(**{"targets": targets} | plain | changes)


def plan_for(python: str = "3.11", proof: str = "p") -> Plan:
    """What these recipes come to for a Python on pi-one."""
    request = Request(target="pi-one", python=python, recipe=None, version=None)
    return make_catalogue(proof_digest=proof).plan(request)
