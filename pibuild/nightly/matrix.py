"""The matrix of pibuild.yaml as cells, each of which can be built.

Pure: recipes and targets are passed in. All findings are collected before a matrix is rejected.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import product

from packaging.version import Version

from pibuild.build.planning import wheel_recipes
from pibuild.config.settings import Cells, Exclusion, Nightly
from pibuild.config.targets import find_target
from pibuild.errors import PibuildError, UsageError, nearest
from pibuild.model import Cell, Recipe, Release, Target


def matrix(nightly: Nightly, recipes: Mapping[str, Recipe], targets: Mapping[str, Target]) -> tuple[Cell, ...]:
    """Return the cells in the order of building: a target's cells follow each other, so that they share artifacts.

    Raises UsageError with all findings: a cell that can't be built, two cells of one name, an exclusion without effect,
    an empty matrix.
    """
    requested = [
        (f"nightly.cells.{number}", cell, fault)
        for number, cells in enumerate(nightly.cells)
        for cell, fault in _expanded(cells, recipes, targets)
    ]
    dependencies = [
        (f"{place}: {other.recipe} beside {cell.id}", other, other_fault)
        for place, cell, fault in requested
        if cell.with_dependencies and not fault and not _is_excluded(cell, nightly.exclude)
        for other, other_fault in _compiled_dependencies(cell, recipes)
    ]
    included = [row for row in (*requested, *dependencies) if not _is_excluded(row[1], nightly.exclude)]
    faults = [f"{place}: {fault}" for place, _, fault in included if fault]
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
    some: Sequence[Cell], cells: Sequence[Cell], recipes: Mapping[str, Recipe]
) -> tuple[Cell, ...]:
    """Return some of the cells and the cells of their dependencies, in the order of all cells."""
    ids = {other.id for cell in some if cell.with_dependencies for other, _ in _compiled_dependencies(cell, recipes)}
    return tuple(cell for cell in cells if cell in some or cell.id in ids)


def _expanded(cells: Cells, recipes: Mapping[str, Recipe], targets: Mapping[str, Target]) -> Iterable[tuple[Cell, str]]:
    """Return each cell of an item of `cells:`, with the reason if it can't be built."""
    names = [recipe.name for recipe in wheel_recipes(recipes)]
    recipe = recipes[cells.recipe] if cells.recipe in names else None
    releases = recipe.releases if recipe else ()
    pythons = cells.pythons or _pythons(releases) or ("?",)
    for target, python in product(cells.targets or targets, pythons):
        name, target_fault = _target_name(target, targets)
        for version, ref in product(cells.versions or (_newest(releases, python),), cells.refs or ("",)):
            supported = _pythons([release for release in releases if release.version == version])
            if supported and not cells.pythons and python not in supported:
                continue  # this Python was not requested for this release
            cell = Cell(
                recipe=cells.recipe,
                version=version,
                target=name,
                python=python,
                ref=ref,
                with_dependencies=cells.with_dependencies,
            )
            fault = _cell_fault(cell, recipe) if recipe else f"recipe {cells.recipe!r}: {nearest(cells.recipe, names)}"
            yield cell, target_fault or fault


def _cell_fault(cell: Cell, recipe: Recipe) -> str:
    if fault := _release_fault(recipe.releases, cell.version, cell.python):
        return fault
    if cell.ref and not recipe.own_tree:
        return f"{cell.recipe} takes no refs: its recipe can't read the version of a source tree"
    if cell.with_dependencies and not _release(cell, recipe).dependencies:
        return f"the recipe of {cell.recipe} {cell.version} lists no dependencies"
    return ""


def _compiled_dependencies(cell: Cell, recipes: Mapping[str, Recipe]) -> Iterable[tuple[Cell, str]]:
    """Return a cell for each dependency that a recipe compiles, with the reason if it can't be built."""
    for recipe in (recipes[name] for name in _release(cell, recipes[cell.recipe]).dependencies):
        if recipe.proof:
            version = _newest(recipe.releases, cell.python)
            other = Cell(recipe=recipe.name, version=version, target=cell.target, python=cell.python, is_beside=True)
            yield other, _release_fault(recipe.releases, version, cell.python)


def _release(cell: Cell, recipe: Recipe) -> Release:
    versions = (release for release in recipe.releases if release.version == cell.version)
    return next(release for release in versions if cell.python in release.pythons)


def _request(cell: Cell) -> str:
    """Return what distinguishes a cell from another one of the same name."""
    request = f"ref {cell.ref!r} of version {cell.version}" if cell.ref else f"version {cell.version}"
    return f"{request} with dependencies" if cell.with_dependencies else request


def _target_name(name: str, targets: Mapping[str, Target]) -> tuple[str, str]:
    try:
        return find_target(name, targets).name, ""
    except PibuildError as error:
        return next(iter(targets)), f"{error.what}: {error.hint}"


def _newest(releases: Sequence[Release], python: str) -> str:
    versions = [release.version for release in releases if python in release.pythons and release.is_proven]
    return max(versions, key=Version, default="?")


def _release_fault(releases: Sequence[Release], version: str, python: str) -> str:
    pythons = _pythons([release for release in releases if release.version == version])
    if version == "?":
        supported = nearest(python, _pythons(releases))
        return f"Python {python!r}: {supported}" if supported else "the recipe supports no Python"
    if not pythons:
        return f"version {version!r}: {nearest(version, sorted({release.version for release in releases}))}"
    if python not in pythons:
        return f"version {version} does not support Python {python}, only {', '.join(pythons)}"
    return ""


def _pythons(releases: Sequence[Release]) -> list[str]:
    return sorted({python for release in releases for python in release.pythons}, key=Version)


def _named(exclusion: Exclusion) -> dict[str, str]:
    return {key: value for key, value in asdict(exclusion).items() if value is not None}


def _is_excluded(cell: Cell, exclusions: Iterable[Exclusion]) -> bool:
    return any(
        named and all(getattr(cell, key) == value for key, value in named.items()) for named in map(_named, exclusions)
    )
