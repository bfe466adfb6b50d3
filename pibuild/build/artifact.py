"""Building: one recipe's script in one container, its output an artifact under its key.

Knows the container's layout. What goes in was decided by plan and fetched by sources; how the container ran, and why it
failed, is run's.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from pibuild.build.container import Engine, Spent, counted, follow
from pibuild.console import Console, seconds, size
from pibuild.errors import BuildError, OutOfMemoryError, SourceError
from pibuild.model import Artifact, Limits, Run
from pibuild.store.local import Entry, Store
from pibuild.trees.archives import members
from pibuild.trees.selection import EVERYTHING
from pibuild.trees.tree import write_tree


def build(
    artifact: Artifact,
    inputs: Sequence[tuple[str, Path]],
    *,
    facts: Mapping[str, Any],
    engine: Engine,
    store: Store,
    limits: Limits,
    console: Console,
    again: str,
) -> Entry:
    """Make one artifact.

    `inputs` are (folder in the container, tar), `facts` what its record shall say of them, `again` the command that
    reproduces it.

    Where compilers are killed for memory, half as many are tried.

    BuildError where the script fails, ResourceError where memory, space or time run out; both name the cause, the
    last lines and the log, and leave the container's file system for `pibuild shell`.
    """
    while True:
        try:
            return _attempt(artifact, inputs, facts, engine, store, limits, console, again)
        except OutOfMemoryError as error:
            if limits.jobs == 1:
                raise
            limits = replace(limits, jobs=limits.jobs // 2)
            console.warn(f"{error.what}; again with {limits.jobs}")


def _attempt(
    artifact: Artifact,
    inputs: Sequence[tuple[str, Path]],
    facts: Mapping[str, Any],
    engine: Engine,
    store: Store,
    limits: Limits,
    console: Console,
    again: str,
) -> Entry:
    run = Run(
        image=artifact.image.reference,
        command=counted("/work/recipe/build.sh"),
        env=(*artifact.env, ("PIBUILD_JOBS", str(limits.jobs))),
        inputs=tuple(inputs),
        uid=limits.uid,
        gid=limits.gid,
        memory_bytes=limits.memory_bytes,
        cpus=limits.cpus,
        deadline_s=limits.deadline_s,
        labels=store.labels,
        cache=store.cache_volume(artifact.image.reference) if artifact.recipe.has_cache else "",
    )
    with ExitStack() as held:
        if run.cache:
            held.enter_context(store.lock(run.cache, "compiling into the same cache"))
        step = held.enter_context(console.step(f"building {artifact.title}"))
        staging = held.enter_context(store.staging())
        log_path = store.log_path(artifact.slug)
        with engine.container(run) as container:
            spent = follow(
                container,
                log_path=log_path,
                step=step,
                limits=limits,
                console=console,
                staging=staging,
                failed=f"{artifact.title} could not be built",
                again=again,
                slug=artifact.slug,
            )
            container.copy_out("/work/out", staging / "out.tar")
        try:
            tree = write_tree(members(staging / "out.tar"), EVERYTHING, staging / "artifact.tar").tree
        except SourceError as error:
            raise BuildError(
                f"{artifact.title} left nothing that can be kept", found=error.what, log=log_path
            ) from error
        entry = store.put_artifact(artifact.key, staging / "artifact.tar", dict(facts) | _facts(artifact, spent, tree))
        step.detail = f"{seconds(spent.cpu_s)} of CPU, {size(entry.facts['size_bytes'])}"
    return entry


def _facts(artifact: Artifact, spent: Spent, tree: str) -> dict[str, Any]:
    return {
        "name": artifact.title,
        "recipe": artifact.recipe.name,
        "version": artifact.release.version,
        "target": artifact.target.name if artifact.target else None,
        "python": artifact.python,
        "tree": tree,
        "wall_s": spent.wall_s,
        "cpu_s": spent.cpu_s,
    }
