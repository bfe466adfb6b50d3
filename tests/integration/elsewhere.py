"""Artifacts built elsewhere: as on another machine, of another user, at another time.

What differs: the user and the folder that pibuild runs in, its store, HOME, time zone, umask, the number of jobs and
processors, the order in which artifacts are built, and for the programs in the container the clock (a year
ahead) and the order in which folders list their files.

usage: python -m tests.integration.elsewhere --elsewhere DIR [--store DIR] [--target T…] [--recipe R…] [--report FILE]
"""

import argparse
import importlib
import itertools
import os
import pkgutil
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pibuild
from pibuild.adapters.docker import Container, Engine
from pibuild.build.artifact import build_artifact
from pibuild.build.catalogue import load_catalogue
from pibuild.build.container import container_run, run_to_end, script_command
from pibuild.build.context import BuildContext, open_context
from pibuild.build.differences import first_difference
from pibuild.build.graph import with_needs
from pibuild.build.images import ensure_image
from pibuild.build.planning import Catalogue
from pibuild.build.schedule import make_artifacts
from pibuild.config.settings_sources import load_settings
from pibuild.config.targets import find_target
from pibuild.console import Console
from pibuild.errors import PibuildError, UsageError
from pibuild.model import Artifact, Image, Plan, Request, Run
from pibuild.signals import INTERRUPTED, raise_interrupts
from pibuild.store.local import Entry
from pibuild.trees.archives import members
from pibuild.trees.selection import EVERYTHING
from pibuild.trees.tree import pack, write_tree

SOURCE = Path(__file__).with_suffix(".c")
UID = 4321
FOLDER = "/work/elsewhere"
_ENGINE = Path("/var/run/docker.sock")
_UMASK, _ZONE = 0o077, "Pacific/Chatham"
_WHOLE = "tensorflow"
_PLANS = (
    ("wrapt", "2.7"),
    ("h5py", "2.7"),
    ("grpcio", "2.7"),
    ("numpy-wheel", "3.11"),
    ("tflite-runtime", "3.11"),
    ("litert", "3.11"),
    (_WHOLE, "2.7"),
)
"""Recipes and Pythons that need all recipes; some are not for all targets."""


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
    """Change folder, HOME, time zone and umask of this process until it ends, and its user if root runs it."""
    folder.mkdir(parents=True, exist_ok=True)
    os.umask(_UMASK)
    os.chdir(folder)
    os.environ |= {"TZ": _ZONE, "HOME": str(folder), "LC_ALL": "C"}
    time.tzset()
    if os.getuid() == 0 and all(map(_is_public, (Path(pibuild.__file__).parent, folder.parent))):
        for module in pkgutil.walk_packages(pibuild.__path__, "pibuild."):
            if not module.name.endswith("__main__"):  # the other user may not be able to read Python's own folder
                importlib.import_module(module.name)
        os.chown(folder, UID, UID)
        os.setgroups([group for group in os.getgroups() if group] + [_ENGINE.stat().st_gid] * _ENGINE.exists())
        os.setgid(UID)
        os.setuid(UID)


def hand_over(store_dir: Path, names: Sequence[str], folder: Path) -> Path:
    """Copy files of a store, as far as they exist, into a folder that every user can read; return it."""
    for name in names:
        if (store_dir / name).exists() and not (folder / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store_dir / name, folder / name)
    return folder


def _is_public(folder: Path) -> bool:
    """Return whether every user can read a folder and those above it."""
    return all(path.stat().st_mode & 0o005 for path in (folder, *folder.parents))


def context_elsewhere(root: Path, image: Image, console: Console, jobs: int = 1) -> BuildContext:
    """Return a context with another store, user and number of jobs, and an engine of the class Elsewhere."""
    settings = load_settings({"store": str(root / "a store"), "jobs": str(jobs)}, {}, root)
    environ = dict(os.environ)
    context = BuildContext(settings=settings, environ=environ, console=console, uid=UID, gid=UID)
    engine = Elsewhere(environ)
    context.engine = engine
    engine.library = _library(context, image, root)
    return context


def _library(context: BuildContext, image: Image, root: Path) -> Path:
    """Compile the library that is preloaded, in the image whose C library it is for; return a tar with it."""
    present = ensure_image(image, context)
    with context.store.staging() as staging:
        source = pack(staging / "source.tar", {SOURCE.name: SOURCE})
        compiler = "gcc -O2 -shared -fPIC -o /work/out/elsewhere.so /work/source/elsewhere.c -ldl -lpthread"
        run = container_run(
            context,
            image=present.reference,
            command=script_command(compiler),
            env=(),
            inputs=[("/work/source", source)],
        )
        with context.console.step("compiling what is preloaded") as step:
            outputs = {"/work/out": staging / "out.tar"}
            run_to_end(run, context, step=step, log_name="elsewhere", slug="", failure="elsewhere.c", outputs=outputs)
        write_tree(members(staging / "out.tar"), EVERYTHING, root / "library.tar")
    return root / "library.tar"


def planned(catalogue: Catalogue, targets: Sequence[str], recipes: Sequence[str]) -> list[Plan]:
    """Return plans whose artifacts include these recipes', for these targets. Raises UsageError if one is unknown."""
    plans: list[Plan] = []
    names = [find_target(target, catalogue.targets).name for target in targets]
    for target, (recipe, python) in itertools.product(names, _PLANS):
        with suppress(UsageError):  # no release of the recipe is for the target
            plans.append(catalogue.plan(Request(target=target, python=python, recipe=recipe, version=None)))
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


def build_here(plans: Sequence[Plan], names: Sequence[str], context: BuildContext) -> dict[str, Entry]:
    """Return the artifacts of these recipes, or of all but TensorFlow's, and what they need; missing ones are built."""
    artifacts = [(each, plan) for plan in plans for each in plan.artifacts]
    plan_of = {
        each.key: plan
        for each, plan in artifacts
        if (each.recipe.name in names if names else each.recipe.name != _WHOLE)
    }
    wanted = [each for each, plan in artifacts if plan_of.get(each.key) is plan]
    entries = dict[str, Entry]()
    for artifact in with_needs(wanted):
        plan = plan_of.get(artifact.key, plans[0])
        context.fetcher.fetch_all(artifact.release.sources)
        entries |= make_artifacts(plan, [artifact], plan.device, context)[0]
    return {artifact.key: entries[artifact.key] for artifact in with_needs(wanted)}


def build_there(
    plans: Sequence[Plan],
    stored: Mapping[str, Entry],
    sources_dir: Path,
    context: BuildContext,
    report: Callable[[Artifact, str, Entry, Entry], None],
    only: Sequence[str] = (),
) -> int:
    """Build the stored artifacts in other surroundings; report each pair; return how many differ.

    What an artifact needs is what was built there, so nothing comes from here but sources. With `only`, names of
    recipes, no others are built: what they need comes from here.
    """
    artifacts = {artifact.key: artifact for plan in plans for artifact in plan.artifacts if artifact.key in stored}
    entries, different = dict[str, Entry](), 0
    for artifact in other_order([*artifacts.values()]):
        if only and artifact.recipe.name not in only:
            entries[artifact.key] = stored[artifact.key]
            continue
        for source in artifact.release.sources:
            for path in (sources_dir / f"{source.tree}.tar", sources_dir / f"{source.tree}.json"):
                shutil.copyfile(path, context.store.root / "sources" / path.name)
        entries[artifact.key] = context.store.artifact(artifact.key) or build_artifact(artifact, entries, context)
        difference = first_difference(stored[artifact.key].path, entries[artifact.key].path)
        different += difference is not None
        report(artifact, difference.text if difference else "", stored[artifact.key], entries[artifact.key])
    return different


def main() -> int:
    """Build elsewhere and compare; return 1 if an artifact differs."""
    parser = argparse.ArgumentParser(prog="ci/rebuild-elsewhere", description=main.__doc__)
    parser.add_argument("--store", type=Path, help="the store that is compared; default: pibuild's own")
    parser.add_argument("--elsewhere", type=Path, required=True, help="folder for the other builds")
    parser.add_argument("--target", action="append", default=[], help="default: all targets")
    parser.add_argument("--recipe", action="append", default=[], help="default: all recipes but tensorflow")
    parser.add_argument("--only", action="store_true", help="take what these recipes need as it is")
    parser.add_argument(
        "--jobs", type=int, default=1, help="compilers at the same time in the other builds (default: 1)"
    )
    parser.add_argument("--mirrors", action="append", default=[], help="as for pibuild")
    parser.add_argument("--report", type=Path, help="file for the table of results")
    args = parser.parse_args()
    raise_interrupts()  # so that the container is removed
    console = Console()
    report_path = args.report.absolute() if args.report else None
    rows: list[str] = []

    def report(artifact: Artifact, difference: str, stored: Entry, rebuilt: Entry) -> None:
        cpu = " | ".join(f"{entry.facts['cpu_s']:.0f}" for entry in (stored, rebuilt))
        rows.append(f"| {artifact.title} | {difference or 'equal'} | {cpu} |")
        console.note(rows[-1])
        if report_path:
            report_path.write_text("\n".join([*_HEAD, *sorted(rows), ""]))

    try:
        flags = {"store": str(args.store) if args.store else None, "mirrors": args.mirrors or None}
        settings = load_settings(flags, {}, Path.cwd())
        with open_context(settings, dict(os.environ), console) as here:
            catalogue = load_catalogue(here.own_images.names)
            plans = planned(catalogue, args.target or [*catalogue.targets], args.recipe)
            stored = build_here(plans, args.recipe, here)
            sources = [source for plan in plans for artifact in plan.artifacts for source in artifact.release.sources]
            names = [f"artifacts/{key}.tar" for key in stored]
            names += [f"sources/{source.tree}.{suffix}" for source in sources for suffix in ("tar", "json")]
            handed_over = hand_over(here.store.root, names, args.elsewhere.absolute() / "here")
        stored = {key: replace(entry, path=handed_over / f"artifacts/{key}.tar") for key, entry in stored.items()}
        if report_path and os.getuid() == 0:
            report_path.touch()
            os.chown(report_path, UID, UID)
        leave(args.elsewhere.absolute() / "näher am Meer")
        there = context_elsewhere(Path.cwd(), catalogue.images[plans[0].target.name]["builder"], console, args.jobs)
        try:
            only = args.recipe if args.only else ()
            different = build_there(plans, stored, handed_over / "sources", there, report, only)
        finally:
            there.store.close()
    except PibuildError as error:
        console.error(error, {})
        return error.exit_code
    return int(different > 0)


_HEAD = ("| artifact | result | CPU seconds | CPU seconds elsewhere |", "| --- | --- | --- | --- |")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
