"""What can be asked for, and what a plan would do: each as text for a person and as a value for a program."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from pibuild.build.schedule import wanted
from pibuild.model import Artifact, Image, Plan, Recipe, Target
from pibuild.sources.fetcher import is_stored
from pibuild.store.local import Store

_Row = dict[str, str]


class Engine(Protocol):
    """What is asked of the engine."""

    def image_id(self, reference: str) -> str | None: ...  # noqa: D102


def plan_overview(plan: Plan, store: Store, engine: Engine | None) -> tuple[str, dict[str, Any]]:
    """Say of each artifact, image and source of a plan whether it is reused or made, and why."""
    missing = wanted(plan, store)
    parts = {
        "artifacts": [_artifact_row(one, missing.artifacts, store) for one in plan.artifacts],
        "images": [_image_row(one, engine) for one in _images(plan)],
        "sources": [
            {"name": source.name, "do": "reuse" if is_stored(store, source) else "fetch", "tree": source.tree}
            for source in missing.sources
        ],
    }
    lines = [f"{plan.reason}; key {plan.key[:12]}", ""]
    if not missing.artifacts and not missing.images:
        lines += ["nothing to do: this wheel was built and proven before", ""]
    for title, rows in parts.items():
        lines += [f"{title}:", *(_line(row) for row in rows), ""]
    return "\n".join(lines).rstrip(), {"key": plan.key, "reason": plan.reason, **parts}


def offer_overview(targets: Iterable[Target], recipes: Iterable[Recipe]) -> tuple[str, dict[str, Any]]:
    """Say which targets there are, with their toolchains, and which recipes for which Pythons."""
    lines, target_rows, recipe_rows = ["targets:"], [], []
    for target in targets:
        lines += [
            f"  {target.name}: {target.models}",
            f"    also: {', '.join(target.aliases)}",
            f"    {target.compiler}, {target.arch_flags}",
            f"    glibc {target.glibc_floor} or newer, tag {target.platform_tag}, proven on {target.device_cpu}",
        ]
        shown = ("name", "aliases", "models", "compiler", "arch_flags", "glibc_floor", "platform_tag", "device_cpu")
        target_rows.append({name: getattr(target, name) for name in shown})
    lines += ["", "recipes:"]
    for recipe, release in ((one, release) for one in recipes for release in one.releases):
        pythons = f"Python {', '.join(release.pythons)}" if release.pythons else "every Python"
        note = "; not proven yet, built with --version alone" if release.unproven else ""
        lines.append(f"  {recipe.name} {release.version}: {recipe.summary} ({pythons}{note})")
        lines += [f"    --with {name}: {summary}" for name, summary in recipe.extras]
        recipe_rows.append(
            {
                "name": recipe.name,
                "version": release.version,
                "pythons": release.pythons,
                "unproven": release.unproven,
                "gives_wheel": bool(recipe.proof),
                "extras": dict(recipe.extras),
            }
        )
    return "\n".join(lines), {"targets": target_rows, "recipes": recipe_rows}


def _line(row: _Row) -> str:
    return f"  {row['do']:7}{row['name']}" + (f"  ({row['why']})" if row.get("why") else "")


def _artifact_row(artifact: Artifact, missing: Sequence[Artifact], store: Store) -> _Row:
    if store.has_artifact(artifact.key):
        do, why = "reuse", "in the store"
    elif artifact in missing:
        do, why = "build", "the store has none with this key"
    else:
        do, why = "skip", "only needed by what is reused"
    return {"name": artifact.title, "do": do, "why": why, "key": artifact.key}


def _image_row(image: Image, engine: Engine | None) -> _Row:
    if engine is None:
        return {"name": image.reference, "do": "?", "why": "no engine answers"}
    present = engine.image_id(image.reference) is not None
    return {
        "name": image.reference,
        "do": "reuse" if present else "make",
        "why": "" if present else "the engine lacks it",
    }


def _images(plan: Plan) -> list[Image]:
    """Give a plan's images, each after those that it stands on."""
    found: dict[str, Image] = {}

    def visit(image: Image) -> None:
        for parent in image.parents:
            visit(parent)
        found.setdefault(image.reference, image)

    for image in [*(one.image for one in plan.artifacts), plan.device]:
        visit(image)
    return list(found.values())
