"""Building again: each artifact of a plan is made a second time without any cache, and compared with the store's.

An artifact is built from the stored artifacts that it needs, so each is judged by itself: if it differs, those that
need it do not. Since they are all built again, equal artifacts mean that the wheel follows from its sources. The store
does not get these artifacts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pibuild.build.artifact import run_recipe
from pibuild.build.context import BuildContext
from pibuild.build.differences import FileDifference, first_difference
from pibuild.build.prove import extra_name, tagged
from pibuild.build.replanning import artifacts_in, plan_in
from pibuild.build.schedule import OF_A_WHEEL, check_room, make_artifacts
from pibuild.build.wheelhouse import all_artifacts
from pibuild.errors import StoreError
from pibuild.model import Artifact, Plan, Wheelhouse
from pibuild.store.local import Entry
from pibuild.trees.stored_tree import unpack
from pibuild.trees.tree import pack_gzip


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """An artifact that was built again, and how it compares with the stored one."""

    key: str
    title: str
    difference: FileDifference | None
    """Of the artifact, or else of the wheel that is made of it; None if all bytes are equal."""
    is_same_image: bool
    """Whether both were made in the same image, as the engine names its content."""
    wall_s: float
    cpu_s: float

    @property
    def line(self) -> str:
        """The result in one line."""
        if not self.difference:
            return f"equal: {self.title}"
        images = "" if self.is_same_image else "; the stored one was made in another copy of the image"
        return f"different: {self.title}: {self.difference.text}{images}"


def rebuild(house: Plan | Wheelhouse, context: BuildContext) -> Iterator[Rebuilt]:
    """Build all artifacts of a plan or wheelhouse again, in the order of their needs, and yield each one's result.

    The store gets the artifacts that it lacks first, from the shared store or built: those are built twice.
    Raises what run_recipe raises, if an artifact can't be built again.
    """
    planned = all_artifacts(house)
    context.fetcher.fetch_all([source for artifact in planned for source in artifact.release.sources])
    main = house.plan if isinstance(house, Wheelhouse) else house
    entries, _ = make_artifacts(main, planned, main.device, context)
    house = plan_in(house, context.own_images.names)  # which making the images may have changed
    plans = [*house.compiled, house.plan] if isinstance(house, Wheelhouse) else [house]
    plan_of = {plan.wheel.key: plan for plan in plans}
    artifacts = {artifact.key: artifact for artifact in all_artifacts(house)}
    check_room([*artifacts.values()], context.limits.memory_bytes, context.engine.free_bytes)
    for key, artifact in artifacts.items():
        yield _rebuilt(artifact, plan_of.get(key), entries, context)


def rebuild_artifact(artifact: Artifact, plan: Plan, context: BuildContext) -> Rebuilt:
    """Build one artifact of a plan again and compare it, as rebuild does."""
    context.fetcher.fetch_all(artifact.release.sources)
    entries, _ = make_artifacts(plan, (*artifact.needs, artifact), plan.device, context)
    (artifact,) = artifacts_in([artifact], context.own_images.names)
    plan = plan_in(plan, context.own_images.names)
    check_room([artifact], context.limits.memory_bytes, context.engine.free_bytes)
    return _rebuilt(artifact, plan if plan.wheel.key == artifact.key else None, entries, context)


def _rebuilt(artifact: Artifact, plan: Plan | None, entries: Mapping[str, Entry], context: BuildContext) -> Rebuilt:
    """Build an artifact again and compare it, and if `plan` makes its wheel of it, that wheel, too."""
    console = context.console
    with context.store.staging() as staging:
        tar_path = staging / f"{artifact.slug}.tar"
        facts = run_recipe(artifact, entries, context, tar_path, doing="rebuilding", is_cache_new=True)
        if not (stored := context.store.artifact(artifact.key)):
            hint = "the same command again"
            raise StoreError(f"{artifact.title} was removed from the store while it was rebuilt", hint=hint)
        difference = first_difference(stored.path, tar_path)
        if difference:  # the tar's own name means nothing to people
            difference = replace(difference, files=difference.files[1:] or (artifact.slug,))
        elif plan:
            difference = _of_wheel(plan, tar_path, staging, context)
    result = Rebuilt(
        key=artifact.key,
        title=artifact.title,
        difference=difference,
        is_same_image=facts["image"]["id"] == stored.facts.get("image", {}).get("id"),
        wall_s=facts["wall_s"],
        cpu_s=facts["cpu_s"],
    )
    if difference:
        console.warn(result.line)
    else:
        console.note("  equal to the store's")
    return result


def _of_wheel(plan: Plan, tar_path: Path, staging: Path, context: BuildContext) -> FileDifference | None:
    """Return the first difference between a plan's stored wheel, or a file beside it, and what its artifact gives."""
    if not (stored := context.store.wheel(plan.key)):
        return None
    raw_dir = staging / "raw"
    unpack(tar_path, raw_dir, OF_A_WHEEL)
    pairs = [(stored.path, tagged(plan, raw_dir, staging))]
    for folder in sorted((raw_dir / "extras").glob("*")):
        name = extra_name(plan, folder.name)
        pairs.append((stored.path.parent / "extras" / name, pack_gzip(folder, staging / name)))
    differences = (first_difference(*pair) for pair in pairs)
    return next((difference for difference in differences if difference), None)
