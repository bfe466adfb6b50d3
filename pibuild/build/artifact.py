"""Building: one recipe's script in one container, its output an artifact under its key.

Knows the container's layout. What goes in was decided by planning and fetched by sources.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from pibuild.build.container import container_run, locked_cache, run_to_end, script_command
from pibuild.build.context import BuildContext
from pibuild.build.images import ensure_planned
from pibuild.build.remote_execution import REPORT, RemoteServer, remote_of, report_facts
from pibuild.console import seconds, size
from pibuild.errors import BuildError, OutOfMemoryError, SourceError
from pibuild.model import Artifact, Run
from pibuild.store.local import Entry, machines_in, with_machines
from pibuild.trees.archives import members
from pibuild.trees.selection import EVERYTHING
from pibuild.trees.tree import pack, write_tree


def build_artifact(artifact: Artifact, entries: Mapping[str, Entry], context: BuildContext) -> Entry:
    """Build one artifact and put it into the store; `entries` has what it needs, by key. Raises as run_recipe does."""
    with context.store.staging() as staging:
        facts = run_recipe(artifact, entries, context, staging / "artifact.tar")
        return context.store.put_artifact(artifact.key, staging / "artifact.tar", facts)


def run_recipe(
    artifact: Artifact,
    entries: Mapping[str, Entry],
    context: BuildContext,
    to: Path,
    *,
    doing: str = "building",
    is_cache_new: bool = False,
) -> dict[str, Any]:
    """Build one artifact, write it as a tar and return its facts; `entries` has what it needs, by key.

    If compilers are killed for memory, the build starts again with half as many. With `is_cache_new`, the compilers'
    cache is empty, and removed afterwards.

    Raises BuildError if the script fails, ResourceError if memory, disk or time runs out; both name the cause, the last
    lines and the log, and the failed container is kept for `pibuild shell`.
    """
    image = ensure_planned(artifact.image, context)
    fetched = context.fetcher.measure_all(artifact.release.sources)
    folder = artifact.recipe.folder
    with context.store.staging() as staging, ExitStack() as stack:
        scripts = {path.relative_to(folder).as_posix(): path for path in artifact.release.files}
        inputs = [
            ("/work/recipe", pack(staging / "recipe.tar", scripts)),
            *(
                (f"/work/src/{source.into}", tree.path)
                for source, tree in zip(artifact.release.sources, fetched, strict=True)
            ),
            *((f"/work/in/{need.recipe.name}", entries[need.key].path) for need in artifact.needs),
        ]
        facts = {
            "image": image.facts(),
            "sources": [
                {"name": source.name, "tree": source.tree}
                | {name: tree.facts[name] for name in ("place", "size_bytes")}
                for source, tree in zip(artifact.release.sources, fetched, strict=True)
            ],
        } | with_machines(machines_in(image.facts(), *(entries[need.key].facts for need in artifact.needs)))
        limits = context.limits
        remote = None
        if not is_cache_new:  # a rebuild compares what this machine makes
            trees = {source.into: tree for source, tree in zip(artifact.release.sources, fetched, strict=True)}
            remote = stack.enter_context(remote_of(artifact, context, sources=trees))
        while True:
            run = container_run(
                context,
                image=artifact.image.reference,
                command=script_command(f"bash /work/recipe/{artifact.release.script}"),
                env=(*artifact.env, ("PIBUILD_JOBS", str(limits.jobs))),
                inputs=inputs,
                limits=limits,
                cache_of=artifact,
                is_cache_new=is_cache_new,
            )
            try:
                return facts | _attempt(artifact, run, context, to, doing, remote)
            except OutOfMemoryError as error:
                if limits.jobs == 1:
                    raise
                limits = replace(limits, jobs=limits.jobs // 2)
                context.console.warn(f"{error.what}; trying again with {limits.jobs}")


def _attempt(
    artifact: Artifact, run: Run, context: BuildContext, to: Path, doing: str, remote: RemoteServer | None
) -> dict[str, Any]:
    """Run a build's container once and write its output as a tar; return the facts that this gives."""
    with ExitStack() as stack:
        stack.enter_context(locked_cache(run, context))
        step = stack.enter_context(context.console.step(f"{doing} {artifact.title}"))
        staging = stack.enter_context(context.store.staging())
        outputs = {"/work/out": staging / "out.tar"}
        if remote:
            run, outputs = remote.applied(run), outputs | {REPORT: staging / "remote.tar"}
        spent = run_to_end(
            run,
            context,
            step=step,
            log_name=artifact.slug,
            slug=artifact.slug,
            failure=f"{artifact.title} could not be built",
            outputs=outputs,
        )
        try:
            tree = write_tree(members(staging / "out.tar"), EVERYTHING, to)
        except SourceError as error:
            raise BuildError(
                f"{artifact.title}: /work/out has no result that can be stored", found=error.what
            ) from error
        context.count(artifact.key, spent)
        step.detail = f"{seconds(spent.cpu_s)} of CPU, {size(tree.size_bytes)}"
        done: dict[str, Any] = {}
        if remote:
            facts = report_facts(staging / "remote.tar", remote.settings)
            done = {"remote_execution": facts}
            step.detail += f", {facts['remote']} actions elsewhere ({seconds(facts['worker_cpu_s'])} of CPU)"
            step.detail += f", {facts['cached']} cached"
    return {
        "name": artifact.title,
        "recipe": artifact.recipe.name,
        "version": artifact.release.version,
        "target": artifact.target.name if artifact.target else None,
        "python": artifact.python,
        "tree": tree.tree,
        "wall_s": spent.wall_s,
        "cpu_s": spent.cpu_s,
    } | done
