"""Artifacts built elsewhere: as on another machine, of another user, at another time.

What differs: the folder that pibuild runs in, its store, HOME, time zone, umask, the containers' user, the number of
jobs and processors, the order in which artifacts are built, and for the programs in the container the clock (a year
ahead) and the order in which folders list their files.

usage: python -m tests.integration.elsewhere --elsewhere DIR [--store DIR] [--target T…] [--recipe R…] [--report FILE]
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pibuild.adapters.docker import Container, Engine
from pibuild.build.artifact import build_artifact
from pibuild.build.catalogue import load_catalogue
from pibuild.build.container import container_run, run_to_end, script_command
from pibuild.build.context import BuildContext
from pibuild.build.differences import first_difference
from pibuild.build.graph import with_needs
from pibuild.build.images import ensure_image
from pibuild.build.planning import Catalogue
from pibuild.build.schedule import make_artifacts
from pibuild.config.settings import load_settings
from pibuild.console import Console
from pibuild.errors import PibuildError, UsageError
from pibuild.model import Artifact, Image, Plan, Request, Run
from pibuild.store.local import Entry, Store
from pibuild.trees.archives import members
from pibuild.trees.selection import EVERYTHING
from pibuild.trees.tree import pack, write_tree

SOURCE = Path(__file__).with_suffix(".c")
UID = 4321
FOLDER = "/work/elsewhere"
_UMASK, _ZONE = 0o077, "Pacific/Chatham"
_PLANS = (("wrapt", "2.7"), ("h5py", "2.7"), ("grpcio", "2.7"), ("numpy-wheel", "3.11"), ("tflite-runtime", "3.11"))
"""Recipes and Pythons whose artifacts are those of all recipes but TensorFlow's own."""


class Elsewhere(Engine):
    """An engine whose containers have another clock and list files in another order."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__(environ)
        self.library: Path | None = None
        """A tar with the library that is preloaded."""

    @contextmanager
    def container(self, run: Run) -> Iterator[Container]:
        if self.library:
            run = replace(
                run,
                env=(*run.env, ("LD_PRELOAD", f"{FOLDER}/elsewhere.so")),
                inputs=(*run.inputs, (FOLDER, self.library)),
            )
        with super().container(run) as container:
            yield container


def leave(folder: Path) -> None:
    """Give this process another folder, HOME, time zone and umask, for good."""
    os.umask(_UMASK)
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    os.environ |= {"TZ": _ZONE, "HOME": str(folder), "LC_ALL": "C"}
    time.tzset()


def context_elsewhere(root: Path, image: Image, console: Console) -> BuildContext:
    """Return a context with another store, user and number of jobs, and an engine of the class Elsewhere."""
    settings = load_settings({"store": str(root / "a store"), "jobs": "1"}, {}, root)
    environ = dict(os.environ)
    context = BuildContext(settings=settings, environ=environ, console=console, uid=UID, gid=UID)
    engine = Elsewhere(environ)
    context.engine = engine
    engine.library = _library(context, image, root)
    return context


def _library(context: BuildContext, image: Image, root: Path) -> Path:
    """Compile the library that is preloaded, in the image whose C library it is for; return a tar with it."""
    ensure_image(image, context)
    with context.store.staging() as staging:
        source = pack(staging / "source.tar", {SOURCE.name: SOURCE})
        compiler = "gcc -O2 -shared -fPIC -o /work/out/elsewhere.so /work/source/elsewhere.c -ldl -lpthread"
        run = container_run(
            context, image=image.reference, command=script_command(compiler), env=(), inputs=[("/work/source", source)]
        )
        with context.console.step("compiling what is preloaded") as step:
            outputs = {"/work/out": staging / "out.tar"}
            run_to_end(run, context, step=step, log_name="elsewhere", slug="", failure="elsewhere.c", outputs=outputs)
        write_tree(members(staging / "out.tar"), EVERYTHING, root / "library.tar")
    return root / "library.tar"


def planned(catalogue: Catalogue, targets: Sequence[str], recipes: Sequence[str]) -> list[Plan]:
    """Return plans whose artifacts include these recipes', for these targets."""
    plans = [
        catalogue.plan(Request(target=target, python=python, recipe=recipe, version=None))
        for target in targets
        for recipe, python in _PLANS
    ]
    unknown = {*recipes} - {artifact.recipe.name for plan in plans for artifact in plan.artifacts}
    if unknown:
        raise UsageError(f"No plan has an artifact of {', '.join(sorted(unknown))}")
    return plans


def other_order(artifacts: Sequence[Artifact]) -> Iterator[Artifact]:
    """Yield artifacts, each after its needs, but otherwise the last first."""
    waiting, done = list(artifacts), set[str]()
    while waiting:
        ready = [artifact for artifact in waiting if all(need.key in done for need in artifact.needs)]
        waiting.remove(ready[-1])
        done.add(ready[-1].key)
        yield ready[-1]


def compare(
    plans: Sequence[Plan],
    wanted: Callable[[Artifact], bool],
    here: BuildContext,
    there: BuildContext,
    report: Callable[[Artifact, str, Entry, Entry], None],
) -> int:
    """Build artifacts here where they are missing, and there; report each pair; return how many differ.

    What the wanted artifacts need is built there, too, so nothing comes from here but sources.
    """
    plan_of = {artifact.key: plan for plan in plans for artifact in plan.artifacts if wanted(artifact)}
    artifacts = with_needs([artifact for plan in plans for artifact in plan.artifacts if artifact.key in plan_of])
    entries, different = dict[str, Entry](), 0
    for artifact in other_order(artifacts):
        plan = plan_of.get(artifact.key, plans[0])
        stored = make_artifacts(plan, [artifact], plan.device, here)[0][artifact.key]
        lend_sources(artifact, here.store, there.store)
        entries[artifact.key] = there.store.artifact(artifact.key) or build_artifact(artifact, entries, there)
        difference = first_difference(stored.path, entries[artifact.key].path)
        different += difference is not None
        report(artifact, difference.text if difference else "", stored, entries[artifact.key])
    return different


def lend_sources(artifact: Artifact, giver: Store, taker: Store) -> None:
    """Let another store have an artifact's sources without a download."""
    for source in artifact.release.sources:
        for suffix in ("tar", "json"):
            name = f"sources/{source.tree}.{suffix}"
            if (giver.root / name).exists() and not (taker.root / name).exists():
                os.link(giver.root / name, taker.root / name)


def main() -> int:
    """Build elsewhere and compare; return 1 if an artifact differs."""
    parser = argparse.ArgumentParser(prog="ci/rebuild-elsewhere", description=main.__doc__)
    parser.add_argument("--store", type=Path, help="the store that is compared; default: pibuild's own")
    parser.add_argument("--elsewhere", type=Path, required=True, help="folder on the same disk for the other builds")
    parser.add_argument("--target", action="append", default=[], help="default: all targets")
    parser.add_argument("--recipe", action="append", default=[], help="default: all recipes but tensorflow")
    parser.add_argument("--mirrors", action="append", default=[], help="as for pibuild")
    parser.add_argument("--report", type=Path, help="file for the table of results")
    args = parser.parse_args()
    catalogue, console = load_catalogue(), Console()
    plans = planned(catalogue, args.target or [*catalogue.targets], args.recipe)
    flags = {"store": str(args.store) if args.store else None, "mirrors": args.mirrors or None}
    here = BuildContext(settings=load_settings(flags, {}, Path.cwd()), environ=dict(os.environ), console=console)
    report_path = args.report.absolute() if args.report else None
    assert here.store.root.is_dir()  # opened before the process is elsewhere
    leave(args.elsewhere.absolute() / "näher am Meer")
    there = context_elsewhere(Path.cwd(), catalogue.images[plans[0].target.name]["builder"], console)
    rows = []

    def report(artifact: Artifact, difference: str, stored: Entry, rebuilt: Entry) -> None:
        cpu = " | ".join(f"{entry.facts['cpu_s']:.0f}" for entry in (stored, rebuilt))
        rows.append(f"| {artifact.title} | {difference or 'equal'} | {cpu} |")
        console.note(rows[-1])
        if report_path:
            report_path.write_text("\n".join([*_HEAD, *sorted(rows), ""]))

    try:
        different = compare(
            plans, lambda artifact: not args.recipe or artifact.recipe.name in args.recipe, here, there, report
        )
    except PibuildError as error:
        console.error(error, {})
        return error.exit_code
    finally:
        there.store.close()
        here.store.close()
    return int(different > 0)


_HEAD = ("| artifact | result | CPU seconds | CPU seconds elsewhere |", "| --- | --- | --- | --- |")


if __name__ == "__main__":
    sys.exit(main())
