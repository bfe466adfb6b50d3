"""What settings come to: the plan, the store, and the adapters that the steps work through.

The one place that knows all adapters. Those that cost time to import are imported when they are made.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_path

from pibuild.build.planning import make_plan, make_wheelhouse
from pibuild.config.dockerfiles import load_base, load_images
from pibuild.config.project_files import folder_digest, project_folder, proof_files
from pibuild.config.recipes import load_recipes
from pibuild.config.settings import Settings
from pibuild.config.targets import find_target, load_targets
from pibuild.console import Console
from pibuild.errors import UsageError
from pibuild.model import Image, Plan, Recipe, Request, Source, Target, Wheelhouse
from pibuild.sources.local_tree import identify, own_source
from pibuild.store.local import Store

if TYPE_CHECKING:
    from pibuild.build.context import Ports
    from pibuild.sources.fetcher import Fetcher
    from pibuild.sources.refs import Refs
    from pibuild.store.remote import Remote


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """What can be asked for, and what decides over it: read once for any number of requests."""

    targets: Mapping[str, Target]
    recipes: Mapping[str, Recipe]
    proof_digest: str
    """Stands for all that judges a wheel."""
    images: dict[str, Mapping[str, Image]] = field(default_factory=dict)
    """Of each target that was asked for."""

    def plan(self, request: Request, own: Source | None = None, version: str | None = None) -> Plan:
        """Decide a request, as plan.make_plan does."""
        target = find_target(request.target, self.targets)
        if target.name not in self.images:
            self.images[target.name] = load_images(project_folder("dockerfiles"), target)
        return make_plan(
            request,
            recipes=self.recipes,
            targets=self.targets,
            images=self.images,
            proof_digest=self.proof_digest,
            own=own,
            version=version,
        )

    def wheelhouse(self, plan: Plan) -> Wheelhouse:
        """Decide what pip wants beside a plan's wheel, as plan.make_wheelhouse does."""
        return make_wheelhouse(
            plan, recipes=self.recipes, targets=self.targets, images=self.images, proof_digest=self.proof_digest
        )


def load_catalogue() -> Catalogue:
    """Read targets, recipes, and the files that judge."""
    package = Path(__file__).parent.parent
    judges = [package / "machinecode", package / "wheels", package / "verify", package / "device", *proof_files()]
    judges += [package / "build" / "prove.py", *(package / "config" / name for name in ("pis.py", "pis.yaml"))]
    return Catalogue(
        targets=load_targets(project_folder("toolchains")),
        recipes=load_recipes(package / "recipes"),
        proof_digest=folder_digest(*judges),
    )


def decide(settings: Settings, environ: Mapping[str, str], console: Console) -> Plan:
    """Decide what was asked for; a tree of the person's own goes into the store for that."""
    return _decided(load_catalogue(), settings, environ, console)


def decide_wheelhouse(settings: Settings, environ: Mapping[str, str], console: Console) -> Wheelhouse:
    """Decide what was asked for with all that pip wants beside it."""
    catalogue = load_catalogue()
    return catalogue.wheelhouse(_decided(catalogue, settings, environ, console))


def _decided(catalogue: Catalogue, settings: Settings, environ: Mapping[str, str], console: Console) -> Plan:
    for name, example in (("target", " or ".join(catalogue.targets)), ("python", "3.11")):
        if getattr(settings, name) is None:
            raise UsageError(f"Which {name}?", hint=f"--{name} {example}; pibuild list shows what there is")
    recipe, version, folder = settings.recipe, settings.release, Path(settings.source or "").expanduser().absolute()
    if settings.source:
        recipe, version = identify(folder, catalogue.recipes, recipe)
        if settings.release not in (None, version):
            raise UsageError(
                f"{folder} is not {recipe} {settings.release}",
                found=f"{recipe} {version}",
                hint="leave --release out: the tree tells it",
            )
    request = Request(
        target=settings.target or "",
        python=settings.python or "",
        recipe=recipe,
        version=version,
        extras=settings.extras,
        without=("api-wheel",) if settings.no_api_wheel else (),
    )
    plan = catalogue.plan(request)
    if not settings.source:
        return plan
    store = open_store(settings, console)
    try:
        own = make_fetcher(settings, environ, store, console).take(own_source(plan), folder)
    finally:
        store.close()
    return catalogue.plan(request, own)


def open_store(settings: Settings, console: Console) -> Store:
    """Open the folder of sources, artifacts and logs; it is to be closed."""
    folder = settings.store.folder
    root = Path(folder).expanduser().absolute() if folder else user_cache_path("pibuild", appauthor=False)
    return Store(root, console)


def make_ports(settings: Settings, environ: Mapping[str, str], store: Store, console: Console) -> "Ports":
    """Make the adapters that a build needs."""
    from pibuild.adapters.docker import Engine  # noqa: PLC0415
    from pibuild.adapters.mmdebstrap import Mmdebstrap  # noqa: PLC0415
    from pibuild.build.context import Ports  # noqa: PLC0415

    return Ports(
        connect=lambda: Engine(environ),
        bootstrap=Mmdebstrap(environ),
        fetcher=make_fetcher(settings, environ, store, console),
        store=store,
        remote=make_remote(settings, environ, store, console),
        console=console,
        settings=settings,
        base=load_base(project_folder("dockerfiles")),
        check_dir=Path(__file__).parent.parent / "device",
        programs_dir=project_folder("tests/conformance"),
        models=proof_files(),
        uid=os.getuid(),
        gid=os.getgid(),
        now=lambda: datetime.now(UTC),
        clock=time.monotonic,
    )


def make_refs(settings: Settings, environ: Mapping[str, str], store: Store, console: Console) -> "Refs":
    """Make what looks moving refs up."""
    from pibuild.adapters.git import Git  # noqa: PLC0415
    from pibuild.sources.refs import Refs  # noqa: PLC0415

    return Refs(
        Git(environ),
        make_fetcher(settings, environ, store, console),
        store=store,
        console=console,
        mirrors=settings.mirrors,
        offline=settings.offline,
    )


def make_remote(settings: Settings, environ: Mapping[str, str], store: Store, console: Console) -> "Remote":
    """Make what shares the store with other machines; where no remote is set, it has and takes nothing."""
    from pibuild.adapters.http import Http  # noqa: PLC0415
    from pibuild.adapters.rclone import Rclone  # noqa: PLC0415
    from pibuild.store.folders import HttpFolder, LocalFolder, RcloneFolder  # noqa: PLC0415
    from pibuild.store.remote import Remote, RemoteFolder  # noqa: PLC0415

    address = settings.store.remote
    folder: RemoteFolder | None = None
    if address and not settings.offline:
        if address.startswith(("http://", "https://")):
            folder = HttpFolder(Http(environ, note=console.note), address)
        elif address.startswith("/"):
            folder = LocalFolder(Path(address))
        else:
            folder = RcloneFolder(Rclone(environ), address)
    return Remote(folder, store=store, console=console)


def make_fetcher(settings: Settings, environ: Mapping[str, str], store: Store, console: Console) -> "Fetcher":
    """Make what brings sources into the store."""
    from pibuild.adapters.debian import Debian  # noqa: PLC0415
    from pibuild.adapters.git import Git  # noqa: PLC0415
    from pibuild.adapters.http import Http  # noqa: PLC0415
    from pibuild.adapters.npm import Npm  # noqa: PLC0415
    from pibuild.adapters.pypi import Pypi  # noqa: PLC0415
    from pibuild.sources.fetcher import Fetcher, Ports  # noqa: PLC0415

    http = Http(environ, note=console.note)
    return Fetcher(
        Ports(
            git=Git(environ),
            web=http,
            pypi=Pypi(http, environ),
            npm=Npm(environ),
            debian=Debian(http, environ, state_dir=store.session_dir / "apt", note=console.note),
        ),
        store=store,
        console=console,
        mirrors=settings.mirrors,
        offline=settings.offline,
        now=lambda: datetime.now(UTC),
    )
