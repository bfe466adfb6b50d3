"""Recipes, as recipe.yaml describes them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Tag

from pibuild.config.project_files import files_digest
from pibuild.config.strict_yaml import read_yaml, typed
from pibuild.errors import UsageError, nearest
from pibuild.model import (
    ArchivePlace,
    DebianPlace,
    GitPlace,
    NpmPlace,
    OwnTree,
    PypiPlace,
    Recipe,
    Release,
    Source,
)
from pibuild.trees.tree import file_tree_hash

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}
_KINDS = ("archive", "debian", "pypi", "npm", "git")


def _kind(place: Any) -> str:  # noqa: ANN401  whatever the YAML holds
    return next((kind for kind in _KINDS if isinstance(place, dict) and kind in place), "git")


_AnyPlace = Annotated[
    Annotated[ArchivePlace, Tag("archive")]
    | Annotated[DebianPlace, Tag("debian")]
    | Annotated[PypiPlace, Tag("pypi")]
    | Annotated[NpmPlace, Tag("npm")]
    | Annotated[GitPlace, Tag("git")],
    Discriminator(_kind),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _SourceFile:
    """A source as recipe.yaml writes it, under its name."""

    __pydantic_config__ = _STRICT
    places: tuple[_AnyPlace, ...]
    tree: str = ""
    """Left out where `file` is given: the places' sha256 tells it."""
    into: str = ""
    file: str = ""
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _ReleaseFile:
    """A release as recipe.yaml writes it: its sources are names."""

    __pydantic_config__ = _STRICT
    version: str
    sources: tuple[str | tuple[str, ...], ...]
    """A list within the list counts as its names, so that releases can share it by an anchor."""
    pythons: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    proven_with: tuple[str, ...] = ()
    needs_without_neon: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    unproven: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _RecipeFile:
    """recipe.yaml."""

    __pydantic_config__ = _STRICT
    name: str
    summary: str
    per: tuple[Literal["target", "python"], ...]
    image: Literal["builder", "toolchain"]
    releases: tuple[_ReleaseFile, ...]
    sources: dict[str, _SourceFile]
    extras: dict[str, str] = field(default_factory=dict)
    own_tree: OwnTree | None = None
    memory_gb: float = 0.0
    disk_gb: float = 0.0
    cache: bool = False
    device: str = ""
    proof: str = ""
    tools: tuple[str, ...] = ()
    package: str = ""


def load_recipes(folder: Path) -> dict[str, Recipe]:
    """Read every recipe by name."""
    recipes = {path.parent.name: _recipe(path) for path in sorted(folder.glob("*/recipe.yaml"))}
    for recipe, release in ((one, release) for one in recipes.values() for release in one.releases):
        for name in (*release.needs, *release.needs_without_neon, *release.proven_with, *release.dependencies):
            if name not in recipes:
                raise UsageError(
                    f"{recipe.name} needs {name!r}, which does not exist", hint=nearest(name, list(recipes))
                )
        for name in release.proven_with:
            if not recipes[name].device:
                raise UsageError(
                    f"{recipe.name} is proven with {name}, which has no place on the device",
                    hint=f"say it under `device:` in {name}'s recipe.yaml, or name {name} under `needs:`",
                )
    return recipes


def _recipe(path: Path) -> Recipe:
    written = typed(_RecipeFile, read_yaml(path), str(path), tags=_KINDS)
    folder = path.parent
    if written.name != folder.name:
        raise UsageError(f"{path}: the recipe's name is {written.name!r}, its folder's {folder.name!r}")
    for name in written.tools:
        _source(name, written.sources, path)  # says no to a name that nothing has
    versions = [release.version for release in written.releases]
    seen = {version: _release_files(folder, version, versions) for version in versions}
    releases = tuple(
        Release(
            version=release.version,
            pythons=release.pythons,
            needs=release.needs,
            needs_without_neon=release.needs_without_neon,
            proven_with=release.proven_with,
            dependencies=release.dependencies,
            unproven=release.unproven,
            sources=tuple(
                _source(name, written.sources, path)
                for names in release.sources
                for name in ((names,) if isinstance(names, str) else names)
            ),
            files=seen[release.version],
            digest=files_digest(folder, seen[release.version]),
        )
        for release in written.releases
    )
    return Recipe(
        name=written.name,
        summary=written.summary,
        per=written.per,
        image=written.image,
        extras=tuple(written.extras.items()),
        own_tree=written.own_tree,
        memory_gb=written.memory_gb,
        disk_gb=written.disk_gb,
        has_cache=written.cache,
        device=written.device,
        proof=written.proof,
        releases=releases,
        folder=folder,
        tools=written.tools,
        package=written.package,
    )


def _release_files(folder: Path, version: str, versions: Iterable[str]) -> tuple[Path, ...]:
    """Give what of a recipe's folder one release sees: patches/VERSION is that release's alone."""
    hidden = [folder / "recipe.yaml", *(folder / "patches" / other for other in versions if other != version)]
    seen = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return tuple(path for path in seen if not any(path.is_relative_to(one) for one in hidden))


def _source(name: str, known: Mapping[str, _SourceFile], path: Path) -> Source:
    if name not in known:
        raise UsageError(f"{path}: there is no source {name!r}", hint=nearest(name, list(known)))
    source = known[name]
    return Source(
        name=name,
        tree=_tree(name, source, path),
        into=source.into or re.sub(r"-\d.*$", "", name),
        places=source.places,
        file=source.file,
        keep=source.keep,
        drop=source.drop,
    )


def _tree(name: str, source: _SourceFile, path: Path) -> str:
    """Give the tree hash that a source is pinned by; a file's, from the sha256 of the places that serve it as it is."""
    served = {getattr(place, "sha256", "") for place in source.places if not place.subdir} if source.file else set()
    if bool(served) == bool(source.tree):
        raise UsageError(f"{path}: {name} needs either `tree`, or `file` and a place that serves it")
    if "" in served or len(served) > 1:
        found = ", ".join(sorted(sha256 or "none" for sha256 in served))
        raise UsageError(f"{path}: {name} is a file, so all places that serve it need one sha256", found=found)
    return source.tree or file_tree_hash(source.file, served.pop())
