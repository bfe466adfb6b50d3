"""A person's own source tree: to which recipe and release it belongs.

How its files get into the store is fetcher's knowledge.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from pibuild.errors import UsageError
from pibuild.model import OwnTree, Plan, Recipe, Source


def identify(folder: Path, recipes: Mapping[str, Recipe], asked: str | None = None) -> tuple[str, str]:
    """Return recipe and version of the tree in a folder; `asked` is the recipe that a person named, if any.

    Raises UsageError if the folder does not exist, no recipe has such a tree, or the version is not found in it.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no source tree {folder}", hint="--source names the folder of one")
    trees = {
        name: recipe.own_tree for name, recipe in recipes.items() if recipe.own_tree and asked in (None, recipe.name)
    }
    for name, own_tree in trees.items():
        if (folder / own_tree.file).is_file():
            return name, _version(folder, own_tree)
    raise UsageError(
        f"{folder} is not a source tree that can be built",
        expected=", or ".join(f"{own_tree.file} of {name}" for name, own_tree in trees.items()) or f"a tree of {asked}",
        found=", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "an empty folder",
        hint="--source names the top folder of a checkout",
    )


def own_source(plan: Plan) -> Source:
    """Return the source of a plan that a person's own tree replaces."""
    recipe = plan.wheel.recipe
    return next(source for source in plan.wheel.release.sources if source.into == recipe.name)


def _version(folder: Path, own_tree: OwnTree) -> str:
    text = (folder / own_tree.file).read_text(errors="replace")
    if match := re.search(own_tree.version, text, re.MULTILINE):
        return match[1]
    raise UsageError(f"{folder / own_tree.file} does not have its version", expected=own_tree.version)
