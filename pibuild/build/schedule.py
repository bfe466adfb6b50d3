"""A plan, step by step, to a proven wheel and its record.

Knows the order of the steps and what the store spares; what each does is in steps/. Its ports are made by the
command line and passed in.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pibuild.build import artifact as build
from pibuild.build import images, prove
from pibuild.build import toolchain_check as conformance
from pibuild.build.container import Spent
from pibuild.build.context import Ports
from pibuild.build.planning import on_device
from pibuild.build.record import make_record
from pibuild.console import size
from pibuild.errors import ProofError, ResourceError
from pibuild.model import Artifact, Image, Plan, Source
from pibuild.store.local import Entry, Store
from pibuild.trees.tree import pack_gzip, unpack
from pibuild.verify import static_checks as verify
from pibuild.wheels.relabel import relabel_built_wheel

_GB = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What of a plan is still to be done."""

    artifacts: tuple[Artifact, ...]
    images: tuple[Image, ...]
    sources: tuple[Source, ...]


def wanted(plan: Plan, store: Store) -> Wanted:
    """Say what a plan still needs: nothing where its wheel is there, else what is missing and what that needs."""
    if store.wheel(plan.key):
        return Wanted(artifacts=(), images=(), sources=())
    return _wanted((plan.wheel, *on_device(plan)), plan.device, store)


def _wanted(artifacts: Sequence[Artifact], device: Image, store: Store) -> Wanted:
    missing: dict[str, Artifact] = {}

    def need(artifact: Artifact) -> None:
        if artifact.key in missing or store.has_artifact(artifact.key):
            return
        for one in artifact.needs:
            need(one)
        missing[artifact.key] = artifact

    for artifact in artifacts:
        need(artifact)
    found = {image.reference: image for image in [*(one.image for one in missing.values()), device]}
    wanted_sources = {source.tree: source for one in missing.values() for source in one.release.sources}
    return Wanted(
        artifacts=tuple(missing.values()), images=tuple(found.values()), sources=tuple(wanted_sources.values())
    )


def make(plan: Plan, ports: Ports, again: str) -> Entry:
    """Give the proven wheel of a plan, from the store or made now; `again` is the command that asks for it."""
    store, began_s = ports.store, ports.clock()
    if entry := store.wheel(plan.key):
        return entry
    with store.lock(plan.key, f"making {plan.title}"), ports.once(plan.key):
        if entry := store.wheel(plan.key) or ports.remote.pull_wheel(plan):
            return entry
        if not ports.settings.offline:
            ports.engine.check()  # before anything is downloaded for an engine that is not there
        made = _pulled((plan.wheel, *on_device(plan)), ports)
        missing = wanted(plan, store)
        if any(one.recipe.memory_gb or one.recipe.disk_gb for one in missing.artifacts):
            check_room(missing.artifacts, ports.limits.memory_bytes, ports.engine.free_bytes)
        with ports.timed("sources"):
            ports.fetcher.fetch_all(missing.sources)
        _prove_toolchain(plan, missing.artifacts, ports, again)
        for artifact in (*on_device(plan), plan.wheel):
            make_artifact(artifact, made, ports, again)
        device = ensure_image(plan.device, ports)
        with store.staging() as staging:
            wheel_path, checks = _proven(plan, made, ports, staging, again)
            extras = _packed_extras(plan, staging, ports)
            record = make_record(
                plan,
                device,
                checks,
                wheel_path,
                extras,
                made=ports.now(),
                # one that only reused ones needed may be gone, or have never been here
                facts_of=lambda one: store.artifact_facts(one.key) or ports.remote.artifact_facts(one),
            )
            record["spent_s"] = {name: round(value, 2) for name, value in ports.spent_s.items()}
            record["wall_s"] = round(ports.clock() - began_s, 2)
            entry = store.put_wheel(plan.key, wheel_path, record, extras)
        ports.remote.push(plan, entry)
    return entry


def try_on_device(wheel_path: Path, plan: Plan, ports: Ports, *, imports: Sequence[str], code: str) -> None:
    """Install a wheel from anywhere on a plan's device, alone but for what its recipe is proven beside; import it.

    `code` is Python that runs there afterwards. ProofError with the last lines where any of it fails.
    """
    again = "pibuild verify --run"
    made = place(plan, plan.device, on_device(plan), ports, again)
    env = (("PIBUILD_ALONE", "1"), ("PIBUILD_IMPORTS", ",".join(imports)), ("PIBUILD_CODE", code))
    recipe = replace(plan.wheel.recipe, proof="check_import.py")
    trial = replace(plan, wheel=replace(plan.wheel, recipe=recipe, env=(*plan.wheel.env, *env)))
    prove_with(wheel_path, trial, on_device(plan), made, ports, again)


def place(plan: Plan, device: Image, artifacts: Sequence[Artifact], ports: Ports, again: str) -> dict[str, Entry]:
    """Make a device's image and the artifacts that are wanted with it; give these by their recipes' names."""
    ports.engine.check()
    made = _pulled(artifacts, ports)
    missing = _wanted(artifacts, device, ports.store)
    ports.fetcher.fetch_all(missing.sources)
    _prove_toolchain(plan, missing.artifacts, ports, again)
    for artifact in artifacts:
        make_artifact(artifact, made, ports, again)
    ensure_image(device, ports)
    return {artifact.recipe.name: made[artifact.recipe.name] for artifact in artifacts}


def prepare(plans: Sequence[Plan], ports: Ports, artifacts: Sequence[Artifact] = ()) -> Wanted:
    """Bring what plans and artifacts still need from the network: sources into the store, images into the engine."""
    found = [wanted(plan, ports.store) for plan in plans]
    found += [_wanted(artifacts, plans[0].device, ports.store)] if artifacts else []
    missing = Wanted(
        artifacts=tuple({each.key: each for one in found for each in one.artifacts}.values()),
        images=tuple({each.reference: each for one in found for each in one.images}.values()),
        sources=tuple({each.tree: each for one in found for each in one.sources}.values()),
    )
    ports.fetcher.fetch_all(missing.sources)
    for image in missing.images:
        ensure_image(image, ports)
    return missing


def check_room(artifacts: Sequence[Artifact], memory_bytes: int, free_bytes: int | None) -> None:
    """See before anything starts that what is to be built can have its memory and disk; ResourceError where not.

    `memory_bytes` is what a container would have, `free_bytes` what the engine's disk has, None where nobody knows.
    """
    for recipe in {artifact.recipe.name: artifact.recipe for artifact in artifacts}.values():
        if recipe.memory_gb * _GB > memory_bytes:
            raise ResourceError(
                f"{recipe.name} needs more memory than a container would have",
                expected=f"{recipe.memory_gb:g} GB",
                found=size(memory_bytes),
                hint="more --memory, or an engine that has it",
            )
        if free_bytes is not None and recipe.disk_gb * _GB > free_bytes:
            raise ResourceError(
                f"{recipe.name} needs more room than the engine's disk has",
                expected=f"{recipe.disk_gb:g} GB",
                found=f"{size(free_bytes)} free",
                hint="make room: docker system prune, pibuild clean",
            )


def _pulled(artifacts: Sequence[Artifact], ports: Ports) -> dict[str, Entry]:
    """Bring what of these is to be built and the remote has, from the top down: it spares all that it needs."""
    asked: set[str] = set()
    pulled: dict[str, Entry] = {}

    def need(artifact: Artifact) -> None:
        if artifact.key in asked or ports.store.has_artifact(artifact.key):
            return
        asked.add(artifact.key)
        if entry := ports.remote.pull_artifact(artifact):
            pulled[artifact.recipe.name] = entry
            return
        for one in artifact.needs:
            need(one)

    with ports.timed("sources"):
        for artifact in artifacts:
            need(artifact)
    return pulled


def make_artifact(artifact: Artifact, made: dict[str, Entry], ports: Ports, again: str) -> Entry:
    """Give an artifact from the store or build it, after what it needs; `made` has those that are there, by recipe."""
    if artifact.recipe.name in made:
        return made[artifact.recipe.name]
    store = ports.store
    entry = store.artifact(artifact.key)
    if entry is None:
        with store.lock(artifact.key, f"building {artifact.title}"), ports.once(artifact.key):
            entry = store.artifact(artifact.key) or _build(artifact, made, ports, again)
    made[artifact.recipe.name] = entry
    return entry


def _build(artifact: Artifact, made: dict[str, Entry], ports: Ports, again: str) -> Entry:
    needs = [(f"/work/in/{one.recipe.name}", make_artifact(one, made, ports, again).path) for one in artifact.needs]
    image = ensure_image(artifact.image, ports)
    fetched = ports.fetcher.fetch_all(artifact.release.sources)
    with ports.store.staging() as staging:
        recipe_tar = staging / "recipe.tar"
        folder = artifact.recipe.folder
        prove.pack(recipe_tar, {path.relative_to(folder).as_posix(): path for path in artifact.release.files})
        inputs = [
            ("/work/recipe", recipe_tar),
            *(
                (f"/work/src/{source.into}", one.path)
                for source, one in zip(artifact.release.sources, fetched, strict=True)
            ),
            *needs,
        ]
        facts = {
            "image": {"reference": image.reference, "id": image.id, "base": image.origin},
            "sources": [one.facts() for one in fetched],
        }
        entry = build.build(
            artifact,
            inputs,
            facts=facts,
            engine=ports.engine,
            store=ports.store,
            limits=ports.limits,
            console=ports.console,
            again=again,
        )
    ports.spent_s["containers"] += entry.facts["wall_s"]
    ports.cpu_s[artifact.key] = entry.facts["cpu_s"]
    return entry


def ensure_image(image: Image, ports: Ports) -> images.Ensured:
    """Make an image where the engine lacks it."""
    limits = ports.limits
    with ports.timed("images"), ports.once(image.reference):
        return images.ensure(
            image,
            base=ports.base,
            engine=ports.engine,
            bootstrap=ports.bootstrap,
            store=ports.store,
            jobs=limits.cpus,
            offline=ports.settings.offline,
            console=ports.console,
        )


def _prove_toolchain(plan: Plan, artifacts: Sequence[Artifact], ports: Ports, again: str) -> None:
    """Let nothing be built with a toolchain's image that has not passed the conformance set."""
    image = next((one.image for one in artifacts if one.recipe.image == "toolchain"), None)
    if image is None:
        return
    toolchain, device = (ensure_image(one, ports) for one in (image, plan.device))
    with ports.timed("images"), ports.once(f"conformance of {toolchain.id}"):
        conformance.check(
            plan.target,
            toolchain,
            device,
            programs_dir=ports.programs_dir,
            engine=ports.engine,
            store=ports.store,
            limits=ports.limits,
            console=ports.console,
            again=again,
        )


def _proven(plan: Plan, made: dict[str, Entry], ports: Ports, staging: Path, again: str) -> tuple[Path, dict[str, Any]]:
    """Retag the raw wheel, then measure the file and run it on the device; give it and what was found."""
    from pibuild.build.sbom import sbom  # noqa: PLC0415  its library costs time

    unpack(made[plan.wheel.recipe.name].path, staging / "raw")
    raw = sorted((staging / "raw" / "wheel").glob("*.whl"))
    if len(raw) != 1:
        raise ProofError(f"{plan.title} left {len(raw)} wheels", expected="one, in wheel/")
    with ports.console.step(f"retagging and verifying {raw[0].name}"):
        wheel_path = relabel_built_wheel(
            raw[0],
            python=plan.python,
            platform_tag=plan.target.platform_tag,
            out_dir=staging,
            version=plan.version if plan.version != plan.wheel.release.version else None,
            sbom=sbom(plan),
        )
        checks = verify.verify(
            wheel_path, target=plan.target, python=plan.python, symbols_dir=staging / "raw" / "symbols"
        )
    ran, spent = prove_with(wheel_path, plan, on_device(plan), made, ports, again)
    return wheel_path, {"file": [asdict(check) for check in checks], "device": ran, "spent": asdict(spent)}


def prove_with(
    wheel_path: Path,
    plan: Plan,
    installed: Sequence[Artifact],
    made: dict[str, Entry],
    ports: Ports,
    again: str,
    beside: Sequence[Path] = (),
) -> tuple[dict[str, Any], Spent]:
    """Prove a wheel on a device where these artifacts stand, with other wheels beside it that pip may take."""
    result, spent = prove.prove(
        wheel_path,
        plan,
        tuple((one.recipe.device.format(python=plan.python), made[one.recipe.name]) for one in installed),
        beside=beside,
        check_dir=ports.check_dir,
        models=ports.models,
        engine=ports.engine,
        store=ports.store,
        limits=ports.limits,
        console=ports.console,
        again=again,
    )
    ports.spent_s["containers"] += spent.wall_s
    ports.cpu_s[plan.key] = ports.cpu_s.get(plan.key, 0.0) + spent.cpu_s
    return result, spent


def _packed_extras(plan: Plan, staging: Path, ports: Ports) -> list[Path]:
    """Measure what was made beside the wheel and pack each under a name that says what it is for."""
    packed = []
    for folder in sorted((staging / "raw" / "extras").glob("*")):
        name = f"{plan.wheel.recipe.name}-{plan.wheel.release.version}-{folder.name}-{plan.target.platform_tag}.tar.gz"
        with ports.console.step(f"verifying and packing {name}"):
            verify.verify_extra(folder, target=plan.target, symbols_dir=staging / "raw" / "symbols" / folder.name)
            packed.append(pack_gzip(folder, staging / name))
    return packed
