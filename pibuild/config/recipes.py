"""Recipes, as recipe.yaml describes them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from pibuild.config.findings import file_levels
from pibuild.config.project_files import files_digest, own_files
from pibuild.config.strict_yaml import checked, invalid, read_yaml
from pibuild.errors import nearest
from pibuild.model import Recipe, Source
from pibuild.trees.tree import file_tree_hash

_TOP = file_levels(Recipe)
_LEVELS = {**_TOP, (): {**_TOP[()], "sources": "sources"}, **file_levels(dict[str, Source], ("sources",))}
"""The mappings of recipe.yaml."""


def load_recipes(folder: Path) -> dict[str, Recipe]:
    """Return every recipe by name. Raises UsageError if one is invalid, or needs another one that does not exist."""
    recipes = {path.parent.name: _recipe(path) for path in sorted(folder.glob("*/recipe.yaml"))}
    if faults := [fault for recipe in recipes.values() for fault in _faults_of_needs(recipe, recipes)]:
        raise invalid(folder, faults)
    return recipes


def _faults_of_needs(recipe: Recipe, recipes: Mapping[str, Recipe]) -> Iterator[str]:
    """Yield what is wrong with the other recipes that a recipe names."""
    for index, release in enumerate(recipe.releases):
        for key in ("needs", "needs_without_neon", "proven_with", "dependencies"):
            place = f"{recipe.name}: releases.{index}.{key}"
            for name in getattr(release, key):
                if name not in recipes:
                    yield f"{place}: there is no recipe {name!r}; {nearest(name, list(recipes))}"
                elif key == "proven_with" and not recipes[name].device:
                    yield (
                        f"{place}: {name!r} has no place on the device; "
                        f"give {name} a `device:` in its recipe.yaml, or name it under `needs:`"
                    )


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
        faults.append(f"name: expected {path.parent.name!r}, the folder's name, found {recipe.name!r}")
    recipe, missing_files = _with_files(recipe, path.parent)
    if faults := [*faults, *missing_files]:
        raise invalid(path, faults)
    return recipe


def _with_files(recipe: Recipe, folder: Path) -> tuple[Recipe, list[str]]:
    """Return a recipe with its folder and the files that its patterns name, and a finding for each missing file."""
    own = own_files(folder)
    names = [file.relative_to(folder).as_posix() for file in own]
    releases, missing = [], set[str]()
    for release in recipe.releases:
        matches = {pattern: _matching(pattern, release.version, folder).intersection(own) for pattern in recipe.files}
        missing |= {pattern for pattern, files in matches.items() if not files and "*" not in pattern}
        files = tuple(sorted(set[Path]().union(*matches.values())))
        releases.append(replace(release, files=files, digest=files_digest(folder, files)))
    faults = [f"files: there is no {pattern!r}; {nearest(pattern, names)}" for pattern in sorted(missing)]
    return replace(recipe, releases=tuple(releases), folder=folder), faults


def _matching(pattern: str, version: str, folder: Path) -> set[Path]:
    """Return the paths in a recipe's folder that a pattern names for a release."""
    try:
        return set(folder.glob(pattern.replace("{version}", version)))
    except (NotImplementedError, ValueError):  # an absolute or empty pattern
        return set()


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
