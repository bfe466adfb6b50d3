"""A fault campaign: the small project, the server of its sources, and machines with which faults begin."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bad_server import BadServer, serving
from machine import GOOD_NIGHT, NIGHT, Machine
from own_engine import OwnEngine, own_engine
from small_project import VERSIONS, SmallProject

from pibuild.config.dockerfiles import load_images
from pibuild.config.targets import load_targets


@dataclass(slots=True, kw_only=True)
class Campaign:
    """The values that all faults of a run share. Each fault begins with copies of machines that are made once."""

    folder: Path
    project: SmallProject
    sources: BadServer
    first: Machine
    """A machine that has proven and published the first release of the small recipe."""
    both: Machine
    """A machine that has proven both releases, and published the first one."""
    night_s: float
    """The duration of the night that made the second release."""
    remote_dir: Path
    """A shared store that has both releases."""
    steps: dict[str, int] = field(default_factory=dict)
    """Number of steps of commands that were counted, by the kill that needs it."""
    stack: ExitStack = field(default_factory=ExitStack)
    """Ends what faults have started for all of them."""
    _engine: OwnEngine | None = None

    def engine(self) -> OwnEngine:
        """Return the campaign's own engine, which is started when it is first asked for."""
        if self._engine is None:
            self._engine = self.stack.enter_context(own_engine(self.folder / "engine"))
            for reference in sorted(_references(self.project)):
                self._engine.take_image(reference)
        return self._engine

    def machine(self, begin: Machine, folder: Path, environ: Mapping[str, str] | None = None) -> Machine:
        """Return a machine that begins as another one; its settings are still to be written (Machine.set_up)."""
        copy = begin.copied(folder)
        copy.extra |= environ or {}
        return copy

    def fresh(self, folder: Path, environ: Mapping[str, str] | None = None) -> Machine:
        """Return a machine that has nothing yet."""
        return Machine(folder, self.project.folder, environ or {})


@contextmanager
def open_campaign(folder: Path) -> Iterator[Campaign]:
    """Make the small project, and on it the machines that faults begin with."""
    archives = folder / "project" / "archives"
    with serving(archives) as sources:
        project = SmallProject(folder / "project", sources.url)
        try:
            campaign = _campaign(folder, project, sources)
            with campaign.stack:
                yield campaign
        finally:
            _remove_images(project)


def _campaign(folder: Path, project: SmallProject, sources: BadServer) -> Campaign:
    remote_dir = folder / "remote"
    first = Machine(folder / "first", project.folder, {})
    first.set_up(versions=VERSIONS[:1], remote=str(remote_dir), trust=[])
    first.must(*NIGHT)
    both = first.copied(folder / "both")
    both.set_up(remote=str(remote_dir), trust=[])
    night_s = both.must("nightly", "--no-publish", codes=GOOD_NIGHT).wall_s
    return Campaign(
        folder=folder,
        project=project,
        sources=sources,
        first=first,
        both=both,
        night_s=night_s,
        remote_dir=remote_dir,
    )


def _remove_images(project: SmallProject) -> None:
    """Remove the images that only the small project has; the base stays."""
    names = subprocess.run(
        ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "label=pibuild.base"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    own = {name for image in ("builder", "device") for name in names if name.startswith(f"pibuild/{image}")}
    wanted = own & _references(project)
    if wanted:
        subprocess.run(["docker", "rmi", *sorted(wanted)], capture_output=True, check=False)


def _references(project: SmallProject) -> set[str]:
    target = load_targets(project.folder / "toolchains")["pi-one"]
    images = load_images(project.folder / "dockerfiles", target)
    return {image.reference for name, image in images.items() if name != "base"}
