"""`pibuild plan`: what a build would do, as text for a person and as JSON for a program."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pibuild.commands.options import CommandParser, Invocation, add_general, add_network, add_selection

if TYPE_CHECKING:
    from pibuild.adapters.docker import Engine
    from pibuild.build.schedule import Missing
    from pibuild.model import Artifact, Image, Plan
    from pibuild.store.local import Store

SUMMARY = "show what a build would download, build and reuse, and why"
USAGE = "--target T --python V [OPTION...]"
EXAMPLES = ("pibuild plan --target pi-one --python 3.11",)


def add_arguments(parser: CommandParser) -> None:
    """Add the options of `plan`."""
    add_selection(parser)
    add_network(parser)
    add_general(parser)


def run(invocation: Invocation) -> int:
    """Show the plan; the engine is asked only which images it has."""
    from pibuild.adapters.docker import Engine
    from pibuild.build.catalogue import load_catalogue, requested
    from pibuild.build.context import open_context
    from pibuild.errors import PibuildError
    from pibuild.model import Plan

    settings, console = invocation.settings, invocation.console
    with open_context(settings, invocation.environ, console) as context:
        plan = requested(load_catalogue(context.own_images.names), context)
        plans = [plan] if isinstance(plan, Plan) else [*plan.compiled, plan.plan]
        engine: Engine | None = None
        try:
            engine = Engine(invocation.environ)
        except PibuildError as error:
            console.note(f"{error.what}, so whether images exist is unknown")
        overviews = [plan_overview(plan, context.store, engine) for plan in plans]
    facts = [value for _, value in overviews]
    console.result("\n".join(text for text, _ in overviews), facts if settings.with_dependencies else facts[0])
    return 0


def plan_overview(plan: "Plan", store: "Store", engine: "Engine | None") -> tuple[str, dict[str, Any]]:
    """Return as text and as a value, for each artifact, image and source, whether it is reused or made, and why."""
    from pibuild.build.graph import with_parents
    from pibuild.build.schedule import missing_parts
    from pibuild.sources.fetcher import is_stored

    missing = missing_parts([plan], store)
    images = with_parents([*(artifact.image for artifact in plan.artifacts), plan.device])
    parts = {
        "artifacts": [_artifact_row(artifact, missing.artifacts, store) for artifact in plan.artifacts],
        "images": [_image_row(image, engine) for image in images],
        "sources": [
            {"name": source.name, "do": "reuse" if is_stored(store, source) else "fetch", "tree": source.tree}
            for source in missing.sources
        ],
    }
    lines = [f"{plan.reason}; key {plan.key[:12]}", "", _to_do(missing), ""]
    for title, rows in parts.items():
        if not rows:
            continue
        lines.append(f"{title}:")
        for row in rows:
            why = f"  ({row['why']})" if row.get("why") else ""
            lines.append(f"  {row['do']:7}{row['name']}{why}")
        lines.append("")
    return "\n".join(lines).rstrip(), {"key": plan.key, "reason": plan.reason, **parts}


def _to_do(missing: "Missing") -> str:
    """Return in one line what a build would do; a proven wheel needs no artifact and no image."""
    if missing.artifacts:
        return f"to do: build artifacts ({len(missing.artifacts)}), then verify and prove the wheel"
    return "to do: verify and prove the wheel" if missing.images else "nothing to do: built and proven before"


def _artifact_row(artifact: "Artifact", missing: "Sequence[Artifact]", store: "Store") -> dict[str, str]:
    if store.has_artifact(artifact.key):
        do, why = "reuse", "in the store"
    elif artifact in missing:
        do, why = "build", "not in the store"
    else:
        do, why = "skip", "needed only by reused artifacts"
    return {"name": artifact.title, "do": do, "why": why, "key": artifact.key}


def _image_row(image: "Image", engine: "Engine | None") -> dict[str, str]:
    if engine is None:
        do, why = "?", "no Docker engine answers"
    elif engine.image_id(image.reference):
        do, why = "reuse", ""
    else:
        do, why = "make", "the engine does not have it"
    return {"name": image.reference, "do": do, "why": why}
