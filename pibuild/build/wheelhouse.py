"""A wheelhouse, step by step: a wheel, all that pip wants beside it, and the proof that pip wants no more.

The proof is the wheel's own, on a device where nothing but the Python stands: pip has only the wheels to install from.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from packaging.utils import canonicalize_name, parse_wheel_filename

from pibuild.build.context import Ports
from pibuild.build.record import file_facts
from pibuild.build.schedule import make, place, prove_with
from pibuild.errors import ProofError
from pibuild.model import Wheelhouse
from pibuild.store.local import Entry, Store
from pibuild.trees.tree import unpack

_FROM_THE_START = frozenset({"pip", "setuptools", "wheel"})
"""What a Python may bring, so that pip need not install it."""


def stored(house: Wheelhouse, store: Store) -> list[Entry] | None:
    """Give the wheels of a wheelhouse that was proven before, its own last; None where one is missing."""
    found = [store.wheel(key) for key in (*(one.key for one in house.compiled), house.key)]
    whole = [entry for entry in found if entry]
    return whole if len(whole) == len(found) else None


def make_all(house: Wheelhouse, ports: Ports, again: str) -> list[Entry]:
    """Make what of a wheelhouse is missing and prove it whole; give its entries as `stored` does.

    The last entry holds the wheel with a record that names all, the wheels in pure Python being among its extras.
    """
    compiled = [make(plan, ports, plan.command()) for plan in house.compiled]
    wheel = make(house.plan, ports, again)
    with ports.store.lock(house.key, f"proving {house.title}"), ports.once(house.key):
        entry = ports.store.wheel(house.key) or ports.remote.pull_wheel(house)
        return [*compiled, entry or _proven(house, compiled, wheel, ports, again)]


def _proven(house: Wheelhouse, compiled: Sequence[Entry], wheel: Entry, ports: Ports, again: str) -> Entry:
    made = place(house.plan, house.plan.device, (*house.packages, *house.installed), ports, again)
    with ports.store.staging() as staging:
        packages = [(one, _wheels_in(made[one.recipe.name], staging / one.recipe.name)) for one in house.packages]
        pure = [path for _, paths in packages for path in paths]
        beside = [*(one.path for one in compiled), *pure]
        result, spent = prove_with(wheel.path, house.plan, house.installed, made, ports, again, beside=beside)
        installed = result.pop("installed")
        check_minimal([wheel.path, *beside], installed)
        facts = {
            "wheels": [file_facts(path) for path in beside],
            "packages": [
                made[one.recipe.name].facts | {"key": one.key, "wheels": [file_facts(path) for path in paths]}
                for one, paths in packages
            ],
            "installed": installed,
            "device": result,
            "proof": {"wall_s": spent.wall_s, "cpu_s": spent.cpu_s},
        }
        extras = [wheel.path.parent / "extras" / one["file"] for one in wheel.facts["extras"]] + pure
        record = wheel.facts | {"extras": [file_facts(path) for path in extras], "dependencies": facts}
        entry = ports.store.put_wheel(house.key, wheel.path, record, extras)
    ports.remote.push(house, entry)
    return entry


def check_minimal(wheels: Iterable[Path], installed: Iterable[str]) -> None:
    """See that pip took every wheel, given its `name==version` lines; ProofError with those that nothing asks for."""
    names = {canonicalize_name(line.partition("==")[0]) for line in installed} | _FROM_THE_START
    if idle := [path.name for path in wheels if parse_wheel_filename(path.name)[0] not in names]:
        raise ProofError(
            f"{len(idle)} wheel(s) of the wheelhouse are nothing that pip wants",
            found=", ".join(sorted(idle)),
            hint="leave them out of `dependencies` in the recipe",
        )


def _wheels_in(packages: Entry, folder: Path) -> list[Path]:
    unpack(packages.path, folder)
    return sorted((folder / "wheel").glob("*.whl"))
