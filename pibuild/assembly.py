"""What settings come to: the plan, the store, and the adapters that the steps work through.

The one place that knows all adapters. Those that cost time to import are imported when they are made.
"""

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_path

from pibuild.config import (
    Settings,
    folder_digest,
    load_base,
    load_images,
    load_recipes,
    load_targets,
    project_folder,
    proof_files,
)
from pibuild.errors import UsageError
from pibuild.model import Plan, Request
from pibuild.plan import find_target, make_plan
from pibuild.report import Report
from pibuild.steps.own_tree import identify, own_source
from pibuild.store import Store

if TYPE_CHECKING:
    from pibuild.pipeline import Ports
    from pibuild.remote import Remote
    from pibuild.steps.sources import Fetcher


def decide(settings: Settings, environ: Mapping[str, str], report: Report) -> Plan:
    """Decide what was asked for; a tree of the person's own goes into the store for that."""
    targets = load_targets(project_folder("toolchains"))
    recipes = load_recipes(Path(__file__).parent / "recipes")
    for name, example in (("target", " or ".join(targets)), ("python", "3.11")):
        if getattr(settings, name) is None:
            raise UsageError(f"Which {name}?", hint=f"--{name} {example}; pibuild list shows what there is")
    recipe, version, folder = settings.recipe, settings.version, Path(settings.source or "").expanduser().absolute()
    if settings.source:
        recipe, version = identify(folder, recipes, recipe)
        if settings.version not in (None, version):
            raise UsageError(
                f"{folder} is not {recipe} {settings.version}",
                found=f"{recipe} {version}",
                hint="leave --version out: the tree tells it",
            )
    request = Request(
        target=settings.target or "",
        python=settings.python or "",
        recipe=recipe,
        version=version,
        extras=settings.extras,
        without=("api-wheel",) if settings.no_api_wheel else (),
    )
    target = find_target(request.target, targets)
    package = Path(__file__).parent
    judges = [package / "formats", package / "device", *proof_files()]
    judges += [package / "steps" / f"{name}.py" for name in ("retag", "verify", "machine_code", "prove")]
    plan = partial(
        make_plan,
        request,
        recipes=recipes,
        targets=targets,
        images={target.name: load_images(project_folder("dockerfiles"), target)},
        proof_digest=folder_digest(*judges),
    )
    if not settings.source:
        return plan()
    store = open_store(settings, report)
    try:
        return plan(own=_fetcher(settings, environ, store, report).take(own_source(plan()), folder))
    finally:
        store.close()


def open_store(settings: Settings, report: Report) -> Store:
    """Open the folder of sources, artifacts and logs; it is to be closed."""
    folder = settings.store.folder
    root = Path(folder).expanduser().absolute() if folder else user_cache_path("pibuild", appauthor=False)
    return Store(root, report)


def make_ports(settings: Settings, environ: Mapping[str, str], store: Store, report: Report) -> "Ports":
    """Make the adapters that a build needs."""
    from pibuild.adapters.bootstrap import Mmdebstrap  # noqa: PLC0415
    from pibuild.adapters.containers import Engine  # noqa: PLC0415
    from pibuild.pipeline import Ports  # noqa: PLC0415

    return Ports(
        connect=lambda: Engine(environ),
        bootstrap=Mmdebstrap(environ),
        fetcher=_fetcher(settings, environ, store, report),
        store=store,
        remote=_remote(settings, environ, store, report),
        report=report,
        settings=settings,
        base=load_base(project_folder("dockerfiles")),
        check_dir=Path(__file__).parent / "device",
        models=proof_files(),
        uid=os.getuid(),
        gid=os.getgid(),
        now=lambda: datetime.now(UTC),
        clock=time.monotonic,
    )


def _remote(settings: Settings, environ: Mapping[str, str], store: Store, report: Report) -> "Remote":
    from pibuild.adapters.folders import HttpFolder, LocalFolder, RcloneFolder  # noqa: PLC0415
    from pibuild.adapters.http import Http  # noqa: PLC0415
    from pibuild.adapters.rclone import Rclone  # noqa: PLC0415
    from pibuild.remote import Remote, RemoteFolder  # noqa: PLC0415

    address = settings.store.remote
    folder: RemoteFolder | None = None
    if address and not settings.offline:
        if address.startswith(("http://", "https://")):
            folder = HttpFolder(Http(environ, note=report.note), address)
        elif address.startswith("/"):
            folder = LocalFolder(Path(address))
        else:
            folder = RcloneFolder(Rclone(environ), address)
    return Remote(folder, store=store, report=report)


def _fetcher(settings: Settings, environ: Mapping[str, str], store: Store, report: Report) -> "Fetcher":
    from pibuild.adapters.debian import Debian  # noqa: PLC0415
    from pibuild.adapters.git import Git  # noqa: PLC0415
    from pibuild.adapters.http import Http  # noqa: PLC0415
    from pibuild.adapters.npm import Npm  # noqa: PLC0415
    from pibuild.adapters.pypi import Pypi  # noqa: PLC0415
    from pibuild.steps.sources import Fetcher, Ports  # noqa: PLC0415

    http = Http(environ, note=report.note)
    return Fetcher(
        Ports(
            git=Git(environ),
            web=http,
            pypi=Pypi(http, environ),
            npm=Npm(environ),
            debian=Debian(http, environ, state_dir=store.session_dir / "apt", note=report.note),
        ),
        store=store,
        report=report,
        mirrors=settings.mirrors,
        offline=settings.offline,
        now=lambda: datetime.now(UTC),
    )
