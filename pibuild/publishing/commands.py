"""The commands of publishing: after a night or alone, back and forth, and a check of what is published."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pibuild.adapters.http import Http
from pibuild.adapters.rclone import Rclone
from pibuild.adapters.twine import Twine
from pibuild.errors import PibuildError, UsageError
from pibuild.nightly.commands import Workshop, announce, declared_nightly, open_history
from pibuild.nightly.fan_in import gathered
from pibuild.nightly.matrix import matrix
from pibuild.nightly.values import Cell, Night
from pibuild.publishing import signature, site
from pibuild.publishing.check import check_site
from pibuild.publishing.declared import Publish
from pibuild.publishing.destinations import forget, push_everywhere
from pibuild.publishing.index import index_pages
from pibuild.publishing.intake import Offered
from pibuild.publishing.page.page import render
from pibuild.publishing.statements import provenance
from pibuild.publishing.values import PublishedSet
from pibuild.report import Report
from pibuild.settings import Settings
from pibuild.store import Store


def publish(given: argparse.Namespace, settings: Settings, environ: Mapping[str, str], report: Report) -> int:
    """Do what `pibuild publish` was asked for."""
    if given.check is not None:
        return _check(given, environ, report)
    if (given.yank is None) != (given.reason is None):
        raise UsageError("A yank wants a reason, and a reason a yank", hint='--yank CELL --reason "why"')
    publisher = Publisher(settings, environ, report)
    now = datetime.now(UTC)
    if given.rollback is not None:
        made: PublishedSet | None = site.rollback(publisher.site, given.rollback or None, now=now, report=report)
    elif given.yank is not None:
        made = site.yank(publisher.site, given.yank, given.reason, **publisher.how(now))
    elif given.unyank is not None:
        made = site.unyank(publisher.site, given.unyank, **publisher.how(now))
    elif given.undelete is not None:
        made = site.undelete(publisher.site, given.undelete, **publisher.how(now))
    else:
        offered, is_news = _gathered(settings, environ, report)
        made = publisher.put(offered, "pibuild publish", now, anew=is_news)
    current = made or site.current(publisher.site)
    if current is None:
        raise UsageError("There is nothing to publish", hint="pibuild nightly builds and proves the matrix first")
    publisher.push(current)
    said = f"{publisher.site}/current is {current.id}, {len(current.listed)} wheels"
    report.result(
        said if made else f"nothing changed: {said}", {"set": current.id, "made": made is not None, "why": current.why}
    )
    return 0


def publish_night(night: Night, publisher: "Publisher", store: Store, report: Report) -> str:
    """Publish what a night has proven; give the id of the set, empty where nothing changed."""
    found = [
        Offered(path=entry.path, record=entry.facts, cell=one.cell.id, is_release=not one.cell.ref)
        for one in night.outcomes
        if one.status != "failed" and (entry := store.wheel(one.key))
    ]
    is_news = any(one.status != "unchanged" for one in night.outcomes)
    made = publisher.put(found, f"night {night.id}", datetime.now(UTC), anew=is_news)
    if made:
        publisher.push(made)
        report.note(f"{publisher.site}/current is {made.id}, {len(made.listed)} wheels")
    return made.id if made else ""


class Publisher:
    """The site of these settings, and how its sets are made."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], report: Report) -> None:
        """Read the key, where there is one: a wrong one is told before anything is done."""
        self._declared = settings.publish or Publish()
        self._settings, self._environ, self._report = settings, environ, report
        self.site = Path(self._declared.site).expanduser().absolute()
        key = self._declared.key
        self._key = signature.load_key(Path(key).expanduser()) if key else None

    def how(self, now: datetime) -> dict[str, Any]:
        """Give what every change of the site is made with."""
        return {"now": now, "pages": self._pages, "sign": self._sign, "report": self._report}

    def put(self, wheels: Sequence[Offered], why: str, now: datetime, *, anew: bool = False) -> PublishedSet | None:
        """Make a set of the site's wheels and these; None where it would be the same."""
        made = site.publish(
            self.site,
            wheels,
            why=why,
            statement=provenance,
            policy=self._declared.retention,
            anew=anew,
            **self.how(now),
        )
        if made:
            swept = site.sweep(self.site, count=self._declared.retention.count, report=self._report)
            forget(self._declared.to, swept, rclone=Rclone(self._environ))
        return made

    def push(self, published: PublishedSet) -> None:
        """Bring a set to every destination."""
        push_everywhere(
            self.site,
            published,
            self._declared.to,
            rclone=Rclone(self._environ),
            twine=Twine(self._environ),
            report=self._report,
        )

    @property
    def _sign(self) -> Callable[[bytes], bytes] | None:
        key = self._key
        return (lambda content: signature.sign(key, content)) if key else None

    def _pages(self, published: PublishedSet) -> dict[str, bytes]:
        """Make the index, the page of the last nights, and the key that people verify with."""
        nights: tuple[Night, ...] = ()
        logs_dir = Path()
        if self._settings.nightly:
            logs_dir = Path(self._settings.nightly.state).absolute() / "logs"
            history = open_history(self._settings, self._report)
            try:
                nights = history.nights()
            finally:
                history.close()
        page = render(
            published,
            nights,
            title=self._declared.title,
            base_url=self._declared.url,
            logs=lambda name: path.read_bytes() if (path := logs_dir / name).is_file() else None,
        )
        key = {"pibuild.pub": signature.public_pem(self._key)} if self._key else {}
        return index_pages(published) | page | key


def _gathered(settings: Settings, environ: Mapping[str, str], report: Report) -> tuple[list[Offered], bool]:
    """Give the wheels of the matrix that are proven, here or where machines share a store; nothing is built.

    With what came of the cells on other machines, which goes into the history; True where that is news.
    """
    declared = declared_nightly(settings)
    logs_dir = Path(declared.state).absolute() / "logs"
    workshop = Workshop(settings, environ, report)
    history = open_history(settings, report)
    try:
        cells = matrix(declared, workshop.catalogue.recipes, workshop.catalogue.targets)
        logs_dir.mkdir(parents=True, exist_ok=True)
        if night := gathered(cells, workshop.remote, history, logs_dir):
            history.put(night)
            announce(night, declared, environ, report)
        offered = [one for cell in cells if (one := _offered(cell, workshop, report))]
    finally:
        history.close()
        workshop.close()
    return offered, night is not None and any(one.status != "unchanged" for one in night.outcomes)


def _offered(cell: Cell, workshop: Workshop, report: Report) -> Offered | None:
    try:
        entry = workshop.proven(workshop.decide(cell).plan)
    except PibuildError as error:
        report.warn(f"{cell.id}: {error}")
        return None
    if entry is None:
        report.note(f"{cell.id} has no proven wheel: what is published of it stays")
        return None
    return Offered(path=entry.path, record=entry.facts, cell=cell.id, is_release=not cell.ref)


def _check(given: argparse.Namespace, environ: Mapping[str, str], report: Report) -> int:
    """Verify everything that is published at an address."""
    key = signature.load_public_key(Path(given.public_key)) if given.public_key else None
    with report.step(f"checking {given.check}") as step:
        whole = check_site(given.check, Http(environ, note=report.note), public_key=key, progress=step.progress)
    signed = "signed by this key" if whole.is_signed else "signatures not looked at: --public-key"
    report.result(
        f"the set {whole.set_id} is whole: {whole.wheels} wheels, {whole.files} files, {signed}",
        {"set": whole.set_id, "wheels": whole.wheels, "files": whole.files, "is_signed": whole.is_signed},
    )
    return 0
