"""The matrix of pibuild.yaml as cells, each of which can be built.

Pure: recipes and targets are passed in. All findings are collected before a matrix is rejected.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import product

from packaging.version import Version

from pibuild.build.planning import nearest_pythons, supported_pythons, wheel_recipes
from pibuild.config.settings import Cells, Exclusion, Nightly
from pibuild.config.targets import find_target
from pibuild.errors import UsageError, nearest
from pibuild.model import Cell, Recipe, Release, Target


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
    """Return each cell of an item of `cells:`, with the reasons if it can't be built.

    Recipe, target, Python and version are examined independently of each other.
    """
    products = {recipe.name: recipe for recipe in wheel_recipes(recipes)}
    recipe = products.get(cells.recipe)
    recipe_faults = [] if recipe else [f"recipe {cells.recipe!r}: {nearest(cells.recipe, list(products))}"]
    releases = recipe.releases if recipe else [release for other in products.values() for release in other.releases]
    pythons = cells.pythons or (supported_pythons(releases) if recipe else ()) or ("?",)
    for name, python in product(cells.targets or targets, pythons):
        target, target_faults = _target(name, targets)
        newest = _newest(releases, python, target) if recipe else "?"
        for version, ref in product(cells.versions or (newest,), cells.refs or ("",)):
            supported = supported_pythons(release for release in releases if release.version == version)
            if supported and not cells.pythons and python not in supported:
                continue  # this Python was not requested for this release
            cell = Cell(
                recipe=cells.recipe,
                version=version,
                target=target.name if target else name,
                python=python,
                ref=ref,
                with_dependencies=cells.with_dependencies,
            )
            cell_faults = _cell_faults(cell, recipe) if recipe else _python_faults(releases, python)
            yield cell, [*recipe_faults, *target_faults, *cell_faults]


def _cell_faults(cell: Cell, recipe: Recipe) -> list[str]:
    if faults := _release_faults(recipe.releases, cell):
        return faults
    if cell.ref and not recipe.own_tree:
        return [f"{cell.recipe} takes no refs: its recipe can't read the version of a source tree"]
    if cell.with_dependencies and not _release(cell, recipe).dependencies:
        return [f"the recipe of {cell.recipe} {cell.version} lists no dependencies"]
    return []


def _compiled_dependencies(
    cell: Cell, recipes: Mapping[str, Recipe], targets: Mapping[str, Target]
) -> Iterable[tuple[Cell, Sequence[str]]]:
    """Return a cell for each dependency that a recipe compiles, with the reasons if it can't be built."""
    for recipe in (recipes[name] for name in _release(cell, recipes[cell.recipe]).dependencies):
        if recipe.proof:
            version = _newest(recipe.releases, cell.python, targets[cell.target])
            other = Cell(recipe=recipe.name, version=version, target=cell.target, python=cell.python, is_beside=True)
            yield other, _release_faults(recipe.releases, other)


def _release(cell: Cell, recipe: Recipe) -> Release:
    versions = (release for release in recipe.releases if release.version == cell.version)
    return next(release for release in versions if cell.python in release.pythons)


def _request(cell: Cell) -> str:
    """Return what distinguishes a cell from another one of the same name."""
    request = f"ref {cell.ref!r} of version {cell.version}" if cell.ref else f"version {cell.version}"
    return f"{request} with dependencies" if cell.with_dependencies else request


def _target(name: str, targets: Mapping[str, Target]) -> tuple[Target | None, list[str]]:
    try:
        return find_target(name, targets), []
    except UsageError as error:
        return None, [f"{error.what}: {error.hint}"]


def _newest(releases: Sequence[Release], python: str, target: Target | None) -> str:
    """Return the newest release for a Python that is proven for a target; without a target, any release counts."""
    fitting = [release for release in releases if python in release.pythons]
    versions = [release.version for release in fitting if target is None or release.is_proven_on(target)]
    return max(versions, key=Version, default="?")


def _release_faults(releases: Sequence[Release], cell: Cell) -> list[str]:
    if faults := [*_python_faults(releases, cell.python), *_version_faults(releases, cell.version)]:
        return faults
    if cell.version == "?":
        return [f"no release for Python {cell.python} is proven on {cell.target}: name one in `versions:`"]
    pythons = supported_pythons(release for release in releases if release.version == cell.version)
    if cell.python not in pythons:
        return [f"version {cell.version} does not support Python {cell.python}, only {', '.join(pythons)}"]
    return []


def _python_faults(releases: Sequence[Release], python: str) -> list[str]:
    pythons = supported_pythons(releases)
    if not pythons:
        return ["the recipe supports no Python"]
    return [] if python in ("?", *pythons) else [f"Python {python!r}: {nearest_pythons(python, pythons)}"]


def _version_faults(releases: Sequence[Release], version: str) -> list[str]:
    versions = sorted({release.version for release in releases}, key=Version)
    return [] if version in ("?", *versions) else [f"version {version!r}: {nearest(version, versions)}"]


def _named(exclusion: Exclusion) -> dict[str, str]:
    return {key: value for key, value in asdict(exclusion).items() if value is not None}


def _is_excluded(cell: Cell, exclusions: Iterable[Exclusion]) -> bool:
    return any(
        named and all(getattr(cell, key) == value for key, value in named.items()) for named in map(_named, exclusions)
    )
