"""Recipes, as recipe.yaml describes them."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pibuild.config.findings import file_levels
from pibuild.config.project_files import files_digest, own_files
from pibuild.config.strict_yaml import checked, invalid, read_yaml
from pibuild.errors import UsageError, nearest
from pibuild.model import Recipe, Release, Source
from pibuild.trees.tree import file_tree_hash

_TOP = file_levels(Recipe)
_LEVELS = {**_TOP, (): {**_TOP[()], "sources": "sources"}, **file_levels(dict[str, Source], ("sources",))}
"""The mappings of recipe.yaml."""


def load_recipes(folder: Path) -> dict[str, Recipe]:
    """Return every recipe by name. Raises UsageError if one is invalid, or needs another one that does not exist."""
    recipes = {path.parent.name: _recipe(path) for path in sorted(folder.glob("*/recipe.yaml"))}
    releases = [(recipe, release) for recipe in recipes.values() for release in recipe.releases]
    for recipe, release in releases:
        for name in (*release.needs, *release.needs_without_neon, *release.proven_with, *release.dependencies):
            if name not in recipes:
                raise UsageError(
                    f"{recipe.name} needs {name!r}, which does not exist", hint=nearest(name, list(recipes))
                )
        for name in release.proven_with:
            if not recipes[name].device:
                raise UsageError(
                    f"{recipe.name} is proven with {name}, which has no place on the device",
                    hint=f"give {name} a `device:` in its recipe.yaml, or name it under `needs:`",
                )
    return recipes


def _recipe(path: Path) -> Recipe:
    """Read a recipe. In the file sources stand under their names, and releases list the names."""
    written = read_yaml(path)
    sources, by_name = None, None
    faults: list[str] = []
    if isinstance(written, dict) and "sources" in written:
        by_name = written["sources"] if isinstance(written["sources"], dict) else None
        sources, faults = checked(dict[str, Source], written["sources"], below=("sources",), levels=_LEVELS)
    pinned = {}
    for name, source in (sources or {}).items():
        tree, fault = _tree(source)
        faults += [f"sources.{name}: {fault}"] if fault else []
        pinned[name] = replace(source, name=name, tree=tree, into=source.into or re.sub(r"-\d.*$", "", name))
    context = {"sources": pinned, "names": None if by_name is None else list(map(str, by_name))}
    recipe, recipe_faults = checked(Recipe, written, levels=_LEVELS, apart=("sources",), context=context)
    if recipe is None or faults or recipe_faults:
        raise invalid(path, [*recipe_faults, *faults])
    if recipe.name != path.parent.name:
        raise UsageError(f"{path}: the recipe's name is {recipe.name!r}, its folder's {path.parent.name!r}")
    releases = [_with_files(release, recipe.files, path) for release in recipe.releases]
    return replace(recipe, releases=tuple(releases), folder=path.parent)


def _with_files(release: Release, patterns: Sequence[str], path: Path) -> Release:
    """Return a release with the files that its recipe's patterns name. Raises UsageError if a named file is missing."""
    folder = path.parent
    present, named = set(own_files(folder)), set[Path]()
    for pattern in patterns:
        matching = present.intersection(folder.glob(pattern.format(version=release.version)))
        if not matching and "*" not in pattern:
            hint = nearest(pattern, [file.relative_to(folder).as_posix() for file in present])
            raise UsageError(f"{path}: files: there is no {pattern!r}", hint=hint)
        named |= matching
    files = tuple(sorted(named))
    return replace(release, files=files, digest=files_digest(folder, files))


def _tree(source: Source) -> tuple[str, str]:
    """Return the tree hash that a source is pinned by, and what is wrong with it, if anything.

    If the source is a file, the sha256 of the places that serve the file as it is tells the hash.
    """
    served = {getattr(place, "sha256", "") for place in source.places if not place.subdir} if source.file else set()
    if bool(served) == bool(source.tree):
        return "", "needs either `tree`, or `file` and a place that serves it"
    if "" in served or len(served) > 1:
        found = ", ".join(sorted(sha256 or "none" for sha256 in served))
        return "", f"is a file, so all places that serve it need one sha256, found {found}"
    return source.tree or file_tree_hash(source.file, served.pop()), ""
