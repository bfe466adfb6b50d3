"""Recipes, as recipe.yaml describes them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from pibuild.config.project_files import files_digest, own_files
from pibuild.config.strict_yaml import checked, invalid, read_yaml
from pibuild.errors import nearest
from pibuild.model import Recipe, Source
from pibuild.trees.tree import file_tree_hash


def load_recipes(folder: Path) -> dict[str, Recipe]:
    """Return every recipe by name.

    Raises UsageError if one is invalid or needs another one that does not exist, or if recipes need each other in a
    circle.
    """
    recipes = {path.parent.name: _recipe(path) for path in sorted(folder.glob("*/recipe.yaml"))}
    faults = [fault for recipe in recipes.values() for fault in _faults_of_needs(recipe, recipes)]
    if faults := [*faults, *_circles(recipes)]:
        raise invalid(folder, faults)
    return recipes


def _circles(recipes: Mapping[str, Recipe]) -> Iterator[str]:
    """Yield a circle in which recipes need each other, if there is one. Releases are not told apart."""
    graph = {
        name: sorted({need for release in recipe.releases for need in (*release.needs, *release.needs_without_neon)})
        for name, recipe in recipes.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        first, *others = reversed(error.args[1])
        yield f"{first}: needs: recipes need each other in a circle: {' → '.join([first, *others])}"


def _faults_of_needs(recipe: Recipe, recipes: Mapping[str, Recipe]) -> Iterator[str]:
    """Yield what is wrong with the other recipes that a recipe names."""
    if (name := recipe.replaces) and name not in recipes:
        yield f"{recipe.name}: replaces: there is no recipe {name!r}; {nearest(name, list(recipes))}"
    for index, release in enumerate(recipe.releases):
        for key in ("needs", "needs_without_neon", "proven_with", "dependencies"):
            place = f"{recipe.name}: releases.{index}.{key}"
            for name in getattr(release, key):
                if name not in recipes:
                    yield f"{place}: there is no recipe {name!r}; {nearest(name, list(recipes))}"
                elif key == "proven_with" and not recipes[name].device:
                    yield f"{place}: {name!r} has no `device:`; add it to its recipe.yaml, or name it under `needs:`"


def _recipe(path: Path) -> Recipe:
    """Read a recipe."""
    recipe, faults = checked(Recipe, read_yaml(path), context={})
    if recipe is None:
        raise invalid(path, faults)
    pinned = {}
    for name, source in recipe.sources.items():
        tree, fault = _tree(source)
        faults += [f"sources.{name}: {fault}"] if fault else []
        pinned[name] = replace(source, tree=tree, into=source.into or re.sub(r"-\d.*$", "", name))
    if recipe.name != path.parent.name:
        faults.append(f"name: expected {path.parent.name!r}, the folder's name, found {recipe.name!r}")
    recipe, missing_files = _with_files(replace(recipe, sources=pinned), path.parent)
    if faults := [*faults, *missing_files]:
        raise invalid(path, faults)
    return recipe


def _with_files(recipe: Recipe, folder: Path) -> tuple[Recipe, list[str]]:
    """Return a recipe with its folder and the files that its patterns name, and a finding for each missing file."""
    own = own_files(folder)
    names = [file.relative_to(folder).as_posix() for file in own]
    releases, missing = [], set[str]()
    for release in recipe.releases:
        matches = {
            pattern: set(folder.glob(pattern.replace("{version}", release.version))).intersection(own)
            for pattern in {*recipe.files, release.script}
        }
        missing |= {pattern for pattern, files in matches.items() if not files and "*" not in pattern}
        files = tuple(sorted(set[Path]().union(*matches.values())))
        sources = tuple(recipe.sources[source.name] for source in release.sources)
        releases.append(replace(release, sources=sources, files=files, digest=files_digest(folder, files)))
    faults = [f"files: there is no {pattern!r}; {nearest(pattern, names)}" for pattern in sorted(missing)]
    return replace(recipe, releases=tuple(releases), folder=folder), faults


def _tree(source: Source) -> tuple[str, str]:
    """Return the tree hash of a source, and a text that says what is wrong with the source; "" if nothing is.

    If the source is a file, the sha256 of the places that serve the file as it is tells the hash.
    """
    served = {getattr(place, "sha256", "") for place in source.places if not place.subdir} if source.file else set()
    if bool(served) == bool(source.tree):
        return "", "needs either `tree`, or `file` and a place that serves it"
    if "" in served or len(served) > 1:
        found = ", ".join(sorted(sha256 or "none" for sha256 in served))
        return "", f"is a file, so all places that serve it need one sha256, found {found}"
    return source.tree or file_tree_hash(source.file, served.pop()), ""
