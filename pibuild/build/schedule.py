"""A plan, step by step, to a proven wheel and its record.

Decides the order of the steps, and which are not needed because the store or the remote has their results. Each step
is a module of its own.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from pibuild.build import prove
from pibuild.build.artifact_graph import (
    ArtifactGraph,
    ImageChangedError,
    image_nodes,
    run_nodes,
    source_nodes,
    sources_of,
)
from pibuild.build.context import BuildContext
from pibuild.build.durations import Durations
from pibuild.build.graph import with_needs
from pibuild.build.images import PresentImage, ensure_image, ensure_planned, is_present
from pibuild.build.planning import on_device
from pibuild.build.pulled_wheel import pull_wheel
from pibuild.build.record import make_record
from pibuild.build.replanning import artifacts_in, plan_in
from pibuild.console import size
from pibuild.errors import ResourceError, SourceError
from pibuild.model import Artifact, Image, Plan, Source
from pibuild.sources.fetcher import is_stored
from pibuild.store.local import Entry, Store, machines_in, with_machines
from pibuild.trees.selection import Selection
from pibuild.trees.stored_tree import unpack

_Entries = dict[str, Entry]
_GB = 1_000_000_000
OF_A_WHEEL = Selection(keep=("/wheel/*.whl", "/symbols/", "/extras/"))
"""The files of an artifact that are read on this machine: the wheel, its libraries before strip, and its extras."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """The artifacts, images and sources of plans that are still to be made or fetched."""

    artifacts: tuple[Artifact, ...]
    images: tuple[Image, ...]
    sources: tuple[Source, ...]


def missing_parts(plans: Sequence[Plan], store: Store, artifacts: Sequence[Artifact] = ()) -> Missing:
    """Return what plans and artifacts still need; a plan whose wheel is stored needs nothing."""
    unproven = [plan for plan in plans if not store.wheel(plan.key)]
    roots = [*artifacts, *(artifact for plan in unproven for artifact in (plan.wheel, *on_device(plan)))]
    missing = with_needs(roots, lambda artifact: store.has_artifact(artifact.key))
    devices = [plan.device for plan in (plans if artifacts else unproven)]
    return Missing(artifacts=missing, images=_images(missing, devices), sources=sources_of(missing))


def _images(artifacts: Sequence[Artifact], devices: Sequence[Image]) -> tuple[Image, ...]:
    images = (*(artifact.image for artifact in artifacts), *devices)
    return tuple({image.reference: image for image in images}.values())


def make_wheel(plan: Plan, context: BuildContext) -> Entry:
    """Return the proven wheel of a plan, from the store or made now."""
    store, began_s, before_s = context.store, context.clock(), context.watch.spent_s
    if entry := store.wheel(plan.key):
        return entry
    with store.lock(plan.key, f"making {plan.title}"), context.once(plan.key):
        if entry := store.wheel(plan.key) or pull_wheel(plan, context):
            return entry
        _, entries = _made(plan, (*on_device(plan), plan.wheel), context)
        if (own := plan_in(plan, context.own_images.names)).key != plan.key:
            context.console.note(f"{plan.title}: key {own.key[:12]}, since images of this machine are not as locked")
            return make_wheel(own, context)
        device = ensure_planned(plan.device, context)
        with store.staging() as staging:
            raw_dir = staging / "raw"
            unpack(entries[plan.wheel.key].path, raw_dir, OF_A_WHEEL)
            wheel_path, checks = prove.tagged_and_verified(plan, raw_dir, staging, context.console)
            result, spent = prove.prove_on_device(wheel_path, plan, on_device(plan), entries, context)
            extras = prove.packed_extras(plan, raw_dir, staging, context.console)
            record = make_record(
                plan,
                device,
                wheel_path,
                extras,
                checks={"file": checks, "device": result},
                made=context.now(),
                # an artifact that only reused artifacts needed may have been removed, or was never stored here
                facts_of=lambda artifact: store.artifact_facts(artifact.key) or context.remote.artifact_facts(artifact),
            )
            record["proof"] = asdict(spent)
            record["spent_s"] = context.watch.since(before_s)
            parts = [device.facts(), *record["artifacts"], *(used.facts for used in entries.values())]
            record |= with_machines(machines_in(*parts))
            record["wall_s"] = round(context.clock() - began_s, 2)
            entry = store.put_wheel(plan.key, wheel_path, record, extras)
        context.remote.push(plan, entry)
    return entry


def make_artifacts(
    plan: Plan, artifacts: Sequence[Artifact], device: Image, context: BuildContext
) -> tuple[dict[str, Entry], PresentImage]:
    """Make artifacts and a device's image, and return the entries by key, with those that were needed.

    An artifact comes from the store or from the remote if it is there; what only it needs is then not asked for. If
    images of this machine are not as locked, artifacts are built under other keys, and returned under these as well.
    """
    own, entries = _made(plan, artifacts, context)
    entries |= {artifact.key: entries[moved.key] for artifact, moved in zip(artifacts, own, strict=True)}
    return entries, ensure_image(device, context)


def _made(plan: Plan, artifacts: Sequence[Artifact], context: BuildContext) -> tuple[tuple[Artifact, ...], _Entries]:
    """Make what is missing of artifacts; return them as they are made in this machine's images, and all entries by key.

    An image that is made of other versions than its lock has changes keys, so that all is looked up again.
    """
    if not context.settings.offline:
        context.engine.check()  # before anything is downloaded for an engine that does not answer
    missing, entries = look_up(artifacts, context)
    if entries:
        context.console.note(f"reusing {'; '.join(entry.facts['name'] for entry in entries.values())}")
    try:
        with _older_product_hint([plan]):
            ArtifactGraph(plan=plan, missing=missing, context=context, entries=entries).make()
    except ImageChangedError:
        own = context.own_images.names
        moved = artifacts_in(artifacts, own)
        if [artifact.key for artifact in moved] == [artifact.key for artifact in artifacts]:
            raise
        return _made(plan_in(plan, own), moved, context)
    return tuple(artifacts), entries


def look_up(artifacts: Iterable[Artifact], context: BuildContext) -> tuple[tuple[Artifact, ...], _Entries]:
    """Return what must be built of artifacts and of what they need, and the entries by key that the stores have.

    Raises ResourceError if what must be built needs more memory or disk than there is.
    """
    entries: _Entries = {}

    def is_available(artifact: Artifact) -> bool:
        if entry := context.store.artifact(artifact.key) or _pulled(artifact, context):
            entries[artifact.key] = entry
        return entry is not None

    with context.watch.timed("sources"):
        missing = with_needs(artifacts, is_available)
    if any(artifact.recipe.memory_gb or artifact.recipe.disk_gb for artifact in missing):
        check_room(missing, context.limits.memory_bytes, context.engine.free_bytes)
    return missing, entries


def _pulled(artifact: Artifact, context: BuildContext) -> Entry | None:
    """Return an artifact of the remote, with a note if it was made in another image than this machine would use."""
    entry = context.remote.pull_artifact(artifact)
    made_in = entry.facts.get("image", {}).get("reference", "") if entry else ""
    if made_in not in ("", artifact.image.reference):
        context.console.note(f"{artifact.title} was made in {made_in}; this machine's is {artifact.image.reference}")
    return entry


def fetch(plans: Sequence[Plan], context: BuildContext, artifacts: Sequence[Artifact] = ()) -> Missing:
    """Fetch the sources and make the images that plans and artifacts still need; return those that were not here."""
    missing = missing_parts(plans, context.store, artifacts)
    sources = tuple(source for source in missing.sources if not is_stored(context.store, source))
    fetching = source_nodes(sources, context)
    images = tuple(image for image in missing.images if not is_present(image, context))
    with _older_product_hint(plans):
        run_nodes([*image_nodes(missing.images, context, Durations(context.store)), *fetching], context)
    return replace(missing, images=images, sources=sources)


@contextmanager
def _older_product_hint(plans: Sequence[Plan]) -> Iterator[None]:
    """Add a hint to the error for missing sources: the product that this one replaces has other sources."""
    try:
        yield
    except SourceError as error:
        if error.unfetched and (older := sorted({plan.wheel.recipe.replaces for plan in plans} - {""})):
            error.hint += f"; or build the older product, which has other sources: --recipe {' or '.join(older)}"
        raise


def check_room(artifacts: Sequence[Artifact], memory_bytes: int, free_bytes: int | None) -> None:
    """Raise ResourceError if what is to be built needs more memory or disk than there is.

    `memory_bytes` is what one container may use, `free_bytes` what the engine's disk has, None if that is unknown.
    """
    for recipe in {artifact.recipe.name: artifact.recipe for artifact in artifacts}.values():
        if recipe.memory_gb * _GB > memory_bytes:
            raise ResourceError(
                f"{recipe.name} needs more memory than a container may use",
                expected=f"{recipe.memory_gb:g} GB",
                found=size(memory_bytes),
                hint="set more --memory, or use an engine that has more",
            )
        if free_bytes is not None and recipe.disk_gb * _GB > free_bytes:
            raise ResourceError(
                f"{recipe.name} needs more room than the engine's disk has",
                expected=f"{recipe.disk_gb:g} GB",
                found=f"{size(free_bytes)} free",
                hint="make room: docker system prune, pibuild clean",
            )
