"""The small workspace, tests/workspace: what stands for TensorFlow where the real recipe and pipeline run in a test.

tree/         a source tree of TensorFlow's shape, as a person gives one with --source
externals/    libraries that are kept as trees
api-wheel/    what the official wheel would bring
"""

import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pibuild.build.context import BuildContext
from pibuild.build.planning import Catalogue
from pibuild.build.schedule import make_artifacts, make_wheel
from pibuild.config.dockerfiles import target_images
from pibuild.config.project_files import folder_digest, project_folder
from pibuild.config.recipes import load_recipes
from pibuild.config.settings_sources import load_settings
from pibuild.config.targets import load_targets
from pibuild.console import Console
from pibuild.model import Plan, Recipe, Request, Source, Wheelhouse
from pibuild.sources.local_tree import identify, own_source
from pibuild.store.local import Entry, Store
from tests.makers.plans import make_source

ROOT = Path(__file__).parents[2]
WORKSPACE = ROOT / "tests" / "workspace"
TREE = WORKSPACE / "tree"
PYTHONS = ("2.7", "3.11")
VERSION = "0.1.0"
_FETCHED = ("bazel", "swig", "setuptools", "wheel", "six", "tensorflow")
"""Of the real release's sources, what the small one needs, too; the last is what a tree stands for."""


@dataclass(frozen=True, kw_only=True)
class Action:
    """Something that Bazel ran, or took from a cache."""

    mnemonic: str
    """Kind of action: `CppCompile`, `CppLink`, …"""
    command: str
    from_cache: bool

    @property
    def is_cpp(self) -> bool:
        return self.mnemonic.startswith("Cpp")


class WorkspaceBuilds:
    """The pipeline, with the store in a folder, or the person's own."""

    def __init__(self, root: Path | None, console: Console) -> None:
        environ = dict(os.environ)
        settings = load_settings({"store": str(root) if root else None}, environ, ROOT)
        self.context = BuildContext(settings=settings, environ=environ, console=console)
        self.store, self.console = self.context.store, console
        self.check_dir = self.store.session_dir / "check"
        shutil.copytree(ROOT / "pibuild" / "device", self.check_dir)
        shutil.copy(WORKSPACE / "check_workspace.py", self.check_dir)
        self.context.device_dir = self.check_dir
        self.targets = load_targets(project_folder("toolchains"))
        self.recipes = load_recipes(ROOT / "pibuild" / "recipes")
        self.recipes["tensorflow"] = self._small(self.recipes["tensorflow"])

    def _small(self, real: Recipe) -> Recipe:
        """Return the real recipe, scripts and all, with one release: that of the small workspace."""
        release = next(one for one in real.releases if PYTHONS[0] in one.pythons and one.proven_on != ())
        known = {re.sub(r"-\d.*$", "", source.name): source for source in release.sources}
        taken = [
            self._taken("moments-1.0", "externals/moments-1.0"),
            self._taken("api", "api-wheel"),
        ]
        files = tuple(path for path in release.files if path.suffix != ".patch")
        return replace(
            real,
            proof="check_workspace.py",
            releases=(
                replace(
                    release,
                    version=VERSION,
                    pythons=PYTHONS,
                    proven_with=(),
                    dependencies=(),
                    sources=(*(known[name] for name in _FETCHED), *taken),
                    files=files,
                    digest=folder_digest(*files),
                ),
            ),
        )

    def _taken(self, name: str, folder: str) -> Source:
        return self.context.fetcher.take(make_source(name, into=folder), WORKSPACE / folder)

    def plan(self, target: str, python: str, tree: Path = TREE) -> Plan:
        """Decide as `--source TREE` does."""
        recipe, version = identify(tree, self.recipes)
        request = Request(target=target, python=python, recipe=recipe, version=version)
        own = self.context.fetcher.take(own_source(self.catalogue.plan(request)), tree)
        return self.catalogue.plan(request, own)

    def wheelhouse(self, target: str, python: str, tree: Path, dependencies: tuple[str, ...]) -> Wheelhouse:
        """Decide as `--with-dependencies` does, with these recipes as the wheel's dependencies."""
        small = self.recipes["tensorflow"]
        release = replace(small.releases[0], dependencies=dependencies, proven_with=dependencies)
        self.recipes["tensorflow"] = replace(small, releases=(release,))
        try:
            return self.catalogue.wheelhouse(self.plan(target, python, tree))
        finally:
            self.recipes["tensorflow"] = small

    @property
    def catalogue(self) -> Catalogue:
        """What the product plans with, with the small recipe in it."""
        folder = project_folder("dockerfiles")
        images = {target.name: target_images(folder, target) for target in self.targets.values()}
        digest = folder_digest(self.check_dir)
        return Catalogue(targets=self.targets, recipes=self.recipes, images=images, proof_digest=digest)

    def make(self, plan: Plan) -> Entry:
        """Build, retag, verify and prove."""
        return make_wheel(plan, self.context)

    def make_needs(self, plan: Plan) -> None:
        """Bring and make all that the wheel's build needs."""
        self.context.fetcher.fetch_all(plan.wheel.release.sources)
        make_artifacts(plan, plan.artifacts[:-1], plan.device, self.context)

    def make_raw(self, plan: Plan) -> Entry:
        """Build alone."""
        return make_artifacts(plan, [plan.wheel], plan.device, self.context)[0][plan.wheel.key]

    def actions(self, plan: Plan) -> list[Action]:
        """Return the actions that Bazel ran for a plan's raw wheel, without those that were up to date."""
        entry = self.store.artifact(plan.wheel.key)
        with tarfile.open(entry.path) as tar:
            return list(_actions(tar.extractfile("actions").read()))

    def close(self) -> None:
        self.store.close()


def lend(plan: Plan, giver: Store, taker: Store) -> None:
    """Let another store have what a plan's wheel is made of, without making it twice."""
    names = [f"artifacts/{one.key}" for one in plan.artifacts[:-1]]
    names += [f"sources/{one.tree}" for one in plan.wheel.release.sources]
    for name in (f"{name}.{kind}" for name in names for kind in ("tar", "json")):
        if not (taker.root / name).exists():
            shutil.copy(giver.root / name, taker.root / name)


def _actions(log: bytes) -> Iterator[Action]:
    """Read Bazel's execution log: messages SpawnExec of src/main/protobuf/spawn.proto, each after its size."""
    for _, message in _fields(b"".join(_prefixed(log))):
        assert isinstance(message, bytes)
        fields: dict[int, list[Any]] = {}
        for number, value in _fields(message):
            fields.setdefault(number, []).append(value)
        yield Action(
            mnemonic=fields[10][0].decode(),
            command=b" ".join(fields[1]).decode(errors="replace"),
            from_cache=bool(fields.get(13, [0])[0]),
        )


def _prefixed(log: bytes) -> Iterator[bytes]:
    """Put the tag of a field before each message, so that the whole is a message."""
    at = 0
    while at < len(log):
        size, start = _varint(log, at)
        yield b"\x0a" + log[at : start + size]
        at = start + size


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field of a message in protobuf's wire format."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, at = _varint(message, at)
        if tag & 7 == 2:
            yield tag >> 3, message[at : at + number]
            at += number
        else:
            yield tag >> 3, number


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
