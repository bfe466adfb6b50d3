"""From what pibuild.yaml declares to cells, each of which can exist.

Pure: what recipes and targets offer is passed in. All findings are collected before a matrix is refused.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from packaging.version import Version

from pibuild.build.planning import wheel_recipes
from pibuild.config.settings import Cells, Exclusion, Nightly
from pibuild.config.targets import find_target
from pibuild.errors import PibuildError, UsageError, nearest
from pibuild.model import Recipe, Release, Target
from pibuild.nightly.model import Cell


def matrix(nightly: Nightly, recipes: Mapping[str, Recipe], targets: Mapping[str, Target]) -> tuple[Cell, ...]:
    """Give the cells in the order in which they are built: a target's together, so that what they share comes once.

    UsageError with everything that is wrong: a cell that can't exist, two of one name, an exclusion that excludes
    nothing, no cell left.
    """
    asked = [
        (f"nightly.cells.{number}", cell, fault)
        for number, cells in enumerate(nightly.cells)
        for cell, fault in _expanded(cells, recipes, targets)
    ]
    beside = [
        (f"{place}: {other.recipe} beside {cell.id}", other, fault)
        for place, cell, wrong in asked
        if cell.with_dependencies and not wrong and not _is_excluded(cell, nightly.exclude)
        for other, fault in _compiled_beside(cell, recipes)
    ]
    kept = [row for row in (*asked, *beside) if not _is_excluded(row[1], nightly.exclude)]
    faults = [f"{place}: {fault}" for place, _, fault in kept if fault]
    found: dict[str, Cell] = {}
    for place, cell, _ in kept:
        known = found.setdefault(cell.id, cell)
        if known != cell and not cell.is_beside:  # what was asked for comes first, and stays what it is
            faults.append(f"{place}: {_asked(cell)} would be called as {_asked(known)} is: {cell.id}")
    for number, exclusion in enumerate(nightly.exclude):
        if not any(_is_excluded(cell, (exclusion,)) for _, cell, _ in (*asked, *beside)):
            named = ", ".join(f"{key} {value}" for key, value in asdict(exclusion).items() if value is not None)
            faults.append(f"nightly.exclude.{number}: no cell has {named or 'nothing: it names nothing'}")
    if not found and not faults:
        faults = ["nightly.cells: no cell is left; name a recipe, such as tflite-runtime"]
    if faults:
        raise UsageError("The matrix is not as it should be", details=faults, hint="pibuild list shows what there is")
    order = list(targets)
    return tuple(sorted(found.values(), key=lambda cell: (cell.recipe, cell.version, order.index(cell.target))))


def chosen(cells: Sequence[Cell], only: Iterable[str]) -> tuple[Cell, ...]:
    """Give the cells of these names, all where none is named. UsageError for one that the matrix does not have."""
    names = list(only)
    known = [cell.id for cell in cells]
    for name in names:
        if name not in known:
            raise UsageError(f"The matrix has no cell {name!r}", hint=nearest(name, known))
    return tuple(cell for cell in cells if not names or cell.id in names)


def with_beside(some: Sequence[Cell], cells: Sequence[Cell], recipes: Mapping[str, Recipe]) -> tuple[Cell, ...]:
    """Give some of the cells with those that stand beside them, in the order of all."""
    wanted = {other.id for cell in some if cell.with_dependencies for other, _ in _compiled_beside(cell, recipes)}
    return tuple(cell for cell in cells if cell in some or cell.id in wanted)


def _expanded(cells: Cells, recipes: Mapping[str, Recipe], targets: Mapping[str, Target]) -> Iterable[tuple[Cell, str]]:
    """Give each cell and, where it can't exist, why."""
    offered = [recipe.name for recipe in wheel_recipes(recipes)]
    unknown = cells.recipe not in offered
    releases = () if unknown else recipes[cells.recipe].releases
    supported = _pythons(releases)
    for target in cells.targets or tuple(targets):
        for python in cells.pythons or supported or ("?",):
            for version in cells.versions or (_newest(releases, python),):
                for ref in cells.refs or ("",):
                    fault = f"recipe {cells.recipe!r}: {nearest(cells.recipe, offered)}" if unknown else ""
                    fault = fault or _release_fault(releases, version, python)
                    if ref and not unknown and not fault and not recipes[cells.recipe].own_tree:
                        fault = f"{cells.recipe} takes no refs: its recipe does not say how a tree tells its version"
                    known = _pythons([one for one in releases if one.version == version])
                    if known and not cells.pythons and python not in known:
                        continue  # nobody asked for this Python with this release
                    name, no_target = _target_name(target, targets)
                    cell = Cell(
                        recipe=cells.recipe,
                        version=version,
                        target=name,
                        python=python,
                        ref=ref,
                        with_dependencies=cells.with_dependencies,
                    )
                    fault = no_target or fault
                    if not fault and cell.with_dependencies and not _release(cell, recipes).dependencies:
                        fault = f"{cell.recipe} {version} does not say what pip wants beside it"
                    yield cell, fault


def _compiled_beside(cell: Cell, recipes: Mapping[str, Recipe]) -> Iterable[tuple[Cell, str]]:
    """Give a cell for each wheel that recipes compile for this one and, where it can't exist, why."""
    for recipe in (recipes[name] for name in _release(cell, recipes).dependencies):
        if recipe.proof:
            version = _newest(recipe.releases, cell.python)
            other = Cell(recipe=recipe.name, version=version, target=cell.target, python=cell.python, is_beside=True)
            yield other, _release_fault(recipe.releases, version, cell.python)


def _release(cell: Cell, recipes: Mapping[str, Recipe]) -> Release:
    releases = recipes[cell.recipe].releases
    return next(one for one in releases if one.version == cell.version and cell.python in one.pythons)


def _asked(cell: Cell) -> str:
    """Say by what a cell was asked for; a name leaves the version out where there is a ref, and simplifies the ref."""
    asked = f"ref {cell.ref!r} of version {cell.version}" if cell.ref else f"version {cell.version}"
    return f"{asked} with dependencies" if cell.with_dependencies else asked


def _target_name(name: str, targets: Mapping[str, Target]) -> tuple[str, str]:
    try:
        return find_target(name, targets).name, ""
    except PibuildError as error:
        return next(iter(targets)), f"{error.what}: {error.hint}"


def _newest(releases: Sequence[Release], python: str) -> str:
    versions = [one.version for one in releases if python in one.pythons and not one.unproven]
    return max(versions, key=Version, default="?")


def _release_fault(releases: Sequence[Release], version: str, python: str) -> str:
    pythons = _pythons([release for release in releases if release.version == version])
    if version == "?":
        return f"Python {python!r}: {nearest(python, _pythons(releases))}"
    if not pythons:
        return f"version {version!r}: {nearest(version, sorted({one.version for one in releases}))}"
    if python not in pythons:
        return f"version {version} for Python {python} can't exist: it supports {', '.join(pythons)}"
    return ""


def _pythons(releases: Sequence[Release]) -> list[str]:
    return sorted({python for release in releases for python in release.pythons}, key=Version)


def _is_excluded(cell: Cell, exclusions: Iterable[Exclusion]) -> bool:
    by_each = ({key: value for key, value in asdict(one).items() if value is not None} for one in exclusions)
    return any(named and all(getattr(cell, key) == value for key, value in named.items()) for named in by_each)
