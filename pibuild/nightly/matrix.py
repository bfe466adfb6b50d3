"""The matrix of pibuild.yaml as cells, each of which can be built.

Pure: recipes and targets are passed in. All findings are collected before a matrix is rejected.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import product

from pibuild.build.planning import choice, request_faults, supported_pythons
from pibuild.config.settings import Cells, Exclusion, Nightly
from pibuild.config.targets import find_target
from pibuild.errors import UsageError, collected, nearest
from pibuild.model import Cell, Recipe, Release, Request, Target


def matrix(nightly: Nightly, recipes: Mapping[str, Recipe], targets: Mapping[str, Target]) -> tuple[Cell, ...]:
    """Return the cells in the order of building: a target's cells follow each other, so that they share artifacts.

    Raises UsageError with all findings: a cell that can't be built, two cells of one name, an exclusion without effect,
    an empty matrix.
    """
    requested = [
        (f"nightly.cells.{number}", cell, cell_faults)
        for number, cells in enumerate(nightly.cells)
        for cell, cell_faults in _expanded(cells, recipes, targets)
    ]
    dependencies = [
        (f"{place}: {other.recipe} beside {cell.id}", other, other_faults)
        for place, cell, cell_faults in requested
        if cell.with_dependencies and not cell_faults and not _is_excluded(cell, nightly.exclude)
        for other, other_faults in _compiled_dependencies(cell, recipes, targets)
    ]
    included = [row for row in (*requested, *dependencies) if not _is_excluded(row[1], nightly.exclude)]
    faults = list(dict.fromkeys(f"{place}: {fault}" for place, _, cell_faults in included for fault in cell_faults))
    by_id: dict[str, Cell] = {}
    for place, cell, _ in included:
        first = by_id.setdefault(cell.id, cell)
        if first != cell and not cell.is_beside:  # a requested cell comes first and also serves as a dependency
            faults.append(f"{place}: {_request(cell)} and {_request(first)} have the same cell name {cell.id}")
    for number, exclusion in enumerate(nightly.exclude):
        if not any(_is_excluded(cell, (exclusion,)) for _, cell, _ in (*requested, *dependencies)):
            named = ", ".join(f"{key} {value}" for key, value in _named(exclusion).items())
            faults.append(f"nightly.exclude.{number}: {f'no cell has {named}' if named else 'it names nothing'}")
    if not by_id and not faults:
        faults = ["nightly.cells: no cell is left; name a recipe, such as tflite-runtime"]
    if faults:
        raise UsageError("The matrix is invalid", details=faults, hint="pibuild list shows recipes and targets")
    order = list(targets)
    return tuple(sorted(by_id.values(), key=lambda cell: (cell.recipe, cell.version, order.index(cell.target))))


def chosen(cells: Sequence[Cell], names: Sequence[str]) -> tuple[Cell, ...]:
    """Return the cells of these names, or all cells if no name is given. Raises UsageError for an unknown name."""
    ids = [cell.id for cell in cells]
    for name in names:
        if name not in ids:
            raise UsageError(f"The matrix has no cell {name!r}", hint=nearest(name, ids))
    return tuple(cell for cell in cells if not names or cell.id in names)


def with_dependency_cells(
    some: Sequence[Cell], cells: Sequence[Cell], recipes: Mapping[str, Recipe], targets: Mapping[str, Target]
) -> tuple[Cell, ...]:
    """Return some of the cells and the cells of their dependencies, in the order of all cells."""
    with_dependencies = [cell for cell in some if cell.with_dependencies]
    ids = {other.id for cell in with_dependencies for other, _ in _compiled_dependencies(cell, recipes, targets)}
    return tuple(cell for cell in cells if cell in some or cell.id in ids)


def _expanded(
    cells: Cells, recipes: Mapping[str, Recipe], targets: Mapping[str, Target]
) -> Iterable[tuple[Cell, Sequence[str]]]:
    """Return each cell of an item of `cells:`, with the reasons if it can't be built."""
    recipe = recipes.get(cells.recipe)
    releases = recipe.releases if recipe else [release for other in recipes.values() for release in other.releases]
    for target, python in product(cells.targets or targets, cells.pythons or supported_pythons(releases) or ("none",)):
        here = [release for release in releases if target not in targets or release.is_for(targets[target])]
        is_open = not cells.targets and not cells.versions
        if releases and is_open and not any(release.is_proven_on(targets[target]) for release in here):
            continue
        if len(here) < len(releases) and not _is_requested(cells, python, here):
            continue
        for version, ref in product(cells.versions or ("",), cells.refs or ("",)):
            supported = supported_pythons(_built_unasked(here, version, targets.get(target)))
            if supported and not cells.pythons and python not in supported:
                continue  # this Python was not requested for this release
            cell = Cell(
                recipe=cells.recipe,
                version=version,
                target=target,
                python=python,
                ref=ref,
                with_dependencies=cells.with_dependencies,
            )
            yield _examined(cell, recipes, targets)


def _is_requested(cells: Cells, python: str, here: Sequence[Release]) -> bool:
    """Return whether an item names this target or Python itself, so that a missing release is an error.

    `here` are the recipe's releases for the target.
    """
    return bool(cells.targets and (cells.pythons or not here)) or python in supported_pythons(here)


def _built_unasked(here: Iterable[Release], version: str, target: Target | None) -> list[Release]:
    """Return the releases of a version, or without one those that are proven on the target."""
    if version:
        return [release for release in here if release.version == version]
    return [release for release in here if target and release.is_proven_on(target)]


def _examined(cell: Cell, recipes: Mapping[str, Recipe], targets: Mapping[str, Target]) -> tuple[Cell, Sequence[str]]:
    """Return a cell with the target's own name and with a version, and the reasons if it can't be built."""
    request = Request(target=cell.target, python=cell.python, recipe=cell.recipe, version=cell.version or None)
    faults = request_faults(request, targets, recipes)
    with suppress(UsageError):
        cell = replace(cell, target=find_target(cell.target, targets).name)
    if not faults:
        with collected(faults):
            recipe, release, _ = choice(request, targets[cell.target], cell.python, recipes)
            cell = replace(cell, version=release.version)
            if cell.ref and not recipe.own_tree:
                raise UsageError(f"{recipe.name} takes no refs: its recipe can't read the version of a source tree")
            if cell.with_dependencies and not release.dependencies:
                raise UsageError(f"The recipe of {recipe.name} {release.version} lists no dependencies")
    return cell, [fault.line for fault in faults]


def _compiled_dependencies(
    cell: Cell, recipes: Mapping[str, Recipe], targets: Mapping[str, Target]
) -> Iterable[tuple[Cell, Sequence[str]]]:
    """Return a cell for each dependency that a recipe compiles, with the reasons if it can't be built."""
    versions = (release for release in recipes[cell.recipe].releases if release.version == cell.version)
    target = targets[cell.target]
    release = next(release for release in versions if cell.python in release.pythons and release.is_for(target))
    for name in release.dependencies:
        if recipes[name].proof:
            other = Cell(recipe=name, version="", target=cell.target, python=cell.python, is_beside=True)
            yield _examined(other, recipes, targets)


def _request(cell: Cell) -> str:
    """Return the values that distinguish a cell from another cell of the same name."""
    request = f"ref {cell.ref!r} of version {cell.version}" if cell.ref else f"version {cell.version}"
    return f"{request} with dependencies" if cell.with_dependencies else request


def _named(exclusion: Exclusion) -> dict[str, str]:
    return {key: value for key, value in asdict(exclusion).items() if value is not None}


def _is_excluded(cell: Cell, exclusions: Iterable[Exclusion]) -> bool:
    return any(
        named and all(getattr(cell, key) == value for key, value in named.items()) for named in map(_named, exclusions)
    )
