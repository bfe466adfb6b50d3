"""The commands of publishing: after a night or alone, back and forth, and a check of what is published."""

import argparse
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from pibuild.adapters.http import Http
from pibuild.config.settings import Settings
from pibuild.console import Console
from pibuild.errors import PibuildError, UsageError
from pibuild.files import folder_errors
from pibuild.nightly.cells import Workshop, announce, declared_nightly, open_history
from pibuild.nightly.gather import gathered
from pibuild.nightly.matrix import matrix
from pibuild.nightly.model import Cell
from pibuild.publishing import operations as site
from pibuild.publishing import signature
from pibuild.publishing.add_wheels import Offered, offered_of
from pibuild.publishing.check import check_site
from pibuild.publishing.model import PublishedSet
from pibuild.publishing.publisher import Publisher

_ACTIONS = ("check", "rollback", "yank", "unyank", "undelete")
"""Options that say what else than publishing is to be done."""


def publish(given: argparse.Namespace, settings: Settings, environ: Mapping[str, str], console: Console) -> int:
    """Do what `pibuild publish` was asked for."""
    asked = [f"--{name}" for name in _ACTIONS if getattr(given, name) is not None]
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)} are not one thing", hint="a pibuild publish for each")
    if (given.yank is None) != (given.reason is None):
        raise UsageError("A yank wants a reason, and a reason a yank", hint='--yank CELL --reason "why"')
    if given.public_key is not None and given.check is None:
        raise UsageError("--public-key is for --check", hint="pibuild publish --check URL --public-key PEM")
    if given.check is not None:
        return _check(given, environ, console)
    publisher = Publisher(settings, environ, console)
    now = datetime.now(UTC)
    if given.rollback is not None:
        made: PublishedSet | None = site.rollback(publisher.site, given.rollback or None, now=now, console=console)
    elif given.yank is not None:
        made = site.yank(publisher.site, given.yank, given.reason, **publisher.how(now))
    elif given.unyank is not None:
        made = site.unyank(publisher.site, given.unyank, **publisher.how(now))
    elif given.undelete is not None:
        made = site.undelete(publisher.site, given.undelete, **publisher.how(now))
    else:
        offered, is_news = _gathered(settings, environ, console)
        made = publisher.put(offered, "pibuild publish", now, anew=is_news)
    current = made or site.current(publisher.site)
    if current is None:
        raise UsageError("There is nothing to publish", hint="pibuild nightly builds and proves the matrix first")
    publisher.push(current)
    said = f"{publisher.site}/current is {current.id}, {len(current.listed)} wheels"
    console.result(
        said if made else f"nothing changed: {said}", {"set": current.id, "made": made is not None, "why": current.why}
    )
    return 0


def _gathered(settings: Settings, environ: Mapping[str, str], console: Console) -> tuple[list[Offered], bool]:
    """Give the wheels of the matrix that are proven, here or where machines share a store; nothing is built.

    With what came of the cells on other machines, which goes into the history; True where that is news.
    """
    declared = declared_nightly(settings)
    logs_dir = Path(declared.state).absolute() / "logs"
    with closing(Workshop(settings, environ, console)) as workshop, closing(open_history(settings, console)) as history:
        cells = matrix(declared, workshop.catalogue.recipes, workshop.catalogue.targets)
        with folder_errors(logs_dir):
            logs_dir.mkdir(parents=True, exist_ok=True)
        if night := gathered(cells, workshop.remote, history, logs_dir):
            history.put(night)
            announce(night, declared, environ, console)
        offered = [one for cell in cells for one in _offered(cell, workshop, console)]
    return offered, night is not None and any(one.status != "unchanged" for one in night.outcomes)


def _offered(cell: Cell, workshop: Workshop, console: Console) -> tuple[Offered, ...]:
    try:
        entry = workshop.proven(workshop.decide(cell).plan)
    except PibuildError as error:
        console.warn(f"{cell.id}: {error}")
        return ()
    if entry is None:
        console.note(f"{cell.id} has no proven wheel: what is published of it stays")
        return ()
    return tuple(offered_of(cell, entry))


def _check(given: argparse.Namespace, environ: Mapping[str, str], console: Console) -> int:
    """Verify everything that is published at an address."""
    key = signature.load_public_key(Path(given.public_key)) if given.public_key else None
    with console.step(f"checking {given.check}") as step:
        whole = check_site(given.check, Http(environ, note=console.note), public_key=key, progress=step.progress)
    signed = "signed by this key" if whole.is_signed else "signatures not looked at: --public-key"
    console.result(
        f"the set {whole.set_id} is whole: {whole.wheels} wheels, {whole.files} files, {signed}",
        {"set": whole.set_id, "wheels": whole.wheels, "files": whole.files, "is_signed": whole.is_signed},
    )
    return 0
