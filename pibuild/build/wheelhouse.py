"""A wheelhouse, step by step: a wheel, its dependencies, and the proof that pip needs no other wheel.

The proof is the wheel's own, on a device that has nothing but the Python: pip has only these wheels to install from.
"""

from collections.abc import Sequence
from pathlib import Path

from pibuild.build.context import BuildContext
from pibuild.build.prove import check_minimal, prove_on_device
from pibuild.build.pulled_wheel import pull_wheel
from pibuild.build.record import file_facts, with_packages, without_image_packages
from pibuild.build.replanning import plan_in
from pibuild.build.schedule import make_artifacts, make_wheel
from pibuild.model import Artifact, Plan, Wheelhouse
from pibuild.store.local import Entry, Store, machines_in, with_machines
from pibuild.trees.selection import Selection
from pibuild.trees.stored_tree import unpack

_WHEELS = Selection(keep=("/wheel/*.whl",))


def all_artifacts(plan: Plan | Wheelhouse) -> tuple[Artifact, ...]:
    """Return every artifact that a plan's wheel, or all wheels of a wheelhouse, need; the wheel's own is the last."""
    if isinstance(plan, Plan):
        return plan.artifacts
    compiled = [artifact for part in plan.compiled for artifact in part.artifacts]
    return (*compiled, *plan.packages, *plan.plan.artifacts)


def stored_wheels(plan: Plan | Wheelhouse, store: Store) -> list[Entry]:
    """Return the wheels of a plan or wheelhouse that was proven before, its own wheel last; none if one is missing."""
    compiled = plan.compiled if isinstance(plan, Wheelhouse) else ()
    entries = [store.wheel(key) for key in (*(part.key for part in compiled), plan.key)]
    return [entry for entry in entries if entry] if all(entries) else []


def make_wheels(house: Plan | Wheelhouse, context: BuildContext) -> list[Entry]:
    """Make what is missing of a plan or wheelhouse and prove it as a whole; return its entries as stored_wheels does.

    The last entry of a wheelhouse has a record that names all wheels; those in pure Python are among its extras.
    """
    if isinstance(house, Plan):
        return [make_wheel(house, context)]
    compiled = [make_wheel(plan, context) for plan in house.compiled]
    wheel = make_wheel(house.plan, context)
    house = plan_in(house, context.own_images.names)  # which making them may have changed
    with context.store.lock(house.key, f"proving {house.title}"), context.once(house.key):
        entry = context.store.wheel(house.key) or pull_wheel(house, context)
        return [*compiled, entry or _prove(house, compiled, wheel, context)]


def _prove(house: Wheelhouse, compiled: Sequence[Entry], wheel: Entry, context: BuildContext) -> Entry:
    plan = house.plan
    entries, _ = make_artifacts(plan, (*house.packages, *house.installed), plan.device, context)
    with context.store.staging() as staging:
        packages = [
            (artifact, _wheels_in(entries[artifact.key], staging / artifact.recipe.name)) for artifact in house.packages
        ]
        pure = [path for _, paths in packages for path in paths]
        beside = [*(entry.path for entry in compiled), *pure]
        result, spent = prove_on_device(wheel.path, plan, house.installed, entries, context, beside)
        installed = result.pop("installed")
        check_minimal([wheel.path, *beside], installed)
        facts = {
            "wheels": [file_facts(path) for path in beside],
            "packages": [
                without_image_packages(entries[artifact.key].facts)
                | {"key": artifact.key, "wheels": [file_facts(path) for path in paths]}
                for artifact, paths in packages
            ],
            "installed": installed,
            "device": result,
            "proof": {"wall_s": spent.wall_s, "cpu_s": spent.cpu_s},
        }
        extras = [wheel.path.parent / "extras" / extra["file"] for extra in wheel.facts["extras"]] + pure
        images = [entries[artifact.key].facts.get("image", {}) for artifact in house.packages]
        record = wheel.facts | {"images": with_packages([*wheel.facts.get("images", ()), *images])}
        record |= {"extras": [file_facts(path) for path in extras], "dependencies": facts}
        parts = (wheel.facts, *(part.facts for part in (*compiled, *entries.values())))
        record |= with_machines(machines_in(*parts))
        entry = context.store.put_wheel(house.key, wheel.path, record, extras)
    context.remote.push(house, entry)
    return entry


def _wheels_in(packages: Entry, folder: Path) -> list[Path]:
    unpack(packages.path, folder, _WHEELS)
    return sorted((folder / "wheel").glob("*.whl"))
