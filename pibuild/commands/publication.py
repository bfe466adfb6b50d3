"""The steps that `nightly` and `publish` share: nights and their reports, the site and its destinations.

Imports all of nightly and publishing, so the two commands import it only when they run.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from pibuild.adapters import notifier
from pibuild.adapters.rclone import Rclone
from pibuild.adapters.twine import Twine
from pibuild.build.catalogue import load_catalogue
from pibuild.build.context import open_context
from pibuild.commands.options import Invocation
from pibuild.config.settings import Nightly, Publish, Settings
from pibuild.errors import PibuildError, UsageError
from pibuild.files import json_text, write_atomically
from pibuild.model import Night
from pibuild.nightly import notify, summary
from pibuild.nightly.cells import CellBuilder
from pibuild.nightly.history import History
from pibuild.publishing.add_wheels import ProvenWheel
from pibuild.publishing.destinations import Uploader
from pibuild.publishing.index import index_pages
from pibuild.publishing.layout import Site
from pibuild.publishing.model import PublishedSet
from pibuild.publishing.operations import current, publish, sweep
from pibuild.publishing.page.rendering import render
from pibuild.signing import key_files
from pibuild.store.trust import trust_of

SHOWN_NIGHTS = 30
"""Nights that `nightly log` prints and the page shows."""


def nightly_settings(settings: Settings) -> Nightly:
    """Return `nightly:` of pibuild.yaml. Raises UsageError if it is missing or names no way to notify."""
    if settings.nightly is None:
        expected = "`nightly:` with `cells:` in pibuild.yaml of this folder, or in the file that -c names"
        raise UsageError("No matrix is set", expected=expected, hint="docs/nightly.md begins with an example")
    target = settings.nightly.notify
    if target and bool(target.webhook) == bool(target.command):
        raise UsageError("`nightly: notify:` needs a webhook or a command", hint="set one of the two")
    return settings.nightly


def history_of(settings: Settings) -> History:
    """Return the history in the state folder of `nightly:`. Raises UsageError as nightly_settings does."""
    return History(Path(nightly_settings(settings).state).absolute())


@contextmanager
def open_builder(invocation: Invocation) -> Iterator[CellBuilder]:
    """Open the store and provide the builder of cells. The Docker engine isn't used before a cell is built."""
    with open_context(invocation.settings, invocation.environ, invocation.console) as context:
        context.sweep()
        yield CellBuilder(load_catalogue(context.own_images.names), context)


def report(night: Night, history: History, invocation: Invocation) -> None:
    """Write the reports of a night for CI systems and people, and send the notices of cells that changed colour."""
    markdown = summary.as_markdown(night)
    with history.folder_errors():
        summary.write_junit(night, history.state_dir / "junit.xml")
        write_atomically(history.state_dir / "summary.md", markdown)
    if page_path := invocation.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(page_path).open("a", encoding="utf-8") as page:
            page.write(markdown)
    try:
        history.write_database()
    except PibuildError as error:  # pibuild itself does not read the database
        invocation.console.warn(str(error))
    if target := nightly_settings(invocation.settings).notify:

        def send(notice: notify.Notice) -> None:
            content = json_text(asdict(notice), indent=1)
            if target.webhook:
                notifier.post(target.webhook, content)
            else:
                notifier.call(target.command, content, invocation.environ)

        with history.folder_errors():
            notify.notify(night, history.state_dir / "told.json", send, invocation.console)


def open_publication(invocation: Invocation) -> tuple[Site, Uploader]:
    """Return the site and the destinations of pibuild.yaml. Raises UsageError if the signing key can't be used."""
    settings, environ, console = invocation.settings, invocation.environ, invocation.console
    declared = settings.publish or Publish()
    key = key_files.load_key(Path(declared.key).expanduser()) if declared.key else None
    history = history_of(settings) if settings.nightly else None

    def pages(published: PublishedSet) -> dict[str, bytes]:
        nights = tuple(islice(history.nights(), SHOWN_NIGHTS)) if history else ()
        logs = history.log if history else lambda _name: None
        page = render(published, nights, title=declared.title, base_url=declared.url, logs=logs)
        return index_pages(published) | page | ({"pibuild.pub": key_files.public_pem(key)} if key else {})

    site = Site(
        folder=Path(declared.site).expanduser().absolute(),
        pages=pages,
        key=key,
        expiry_days=declared.expiry_days,
        former_keys=tuple(key_files.load_public_key(Path(path).expanduser()) for path in declared.former_keys),
        trust=trust_of(settings.store),
        retention=declared.retention,
        now=datetime.now(UTC),
        console=console,
    )
    rclone = Rclone(environ, umask=0o022)  # a folder of this machine is as public as the site
    return site, Uploader(destinations=declared.to, rclone=rclone, twine=Twine(environ), console=console)


def publish_wheels(
    site: Site, uploader: Uploader, wheels: Sequence[ProvenWheel], why: str, *, anew: bool
) -> PublishedSet | None:
    """Publish a set of the site's wheels and these to all destinations, and remove outdated ones.

    Returns None if the set would be the same; then destinations get what they lack, a renewed pointer included.
    """
    published = publish(site, wheels, why=why, anew=anew)
    try:
        if present := published or current(site.folder):
            uploader.push(site.folder, present)
    finally:
        uploader.forget(sweep(site, count=site.retention.count))
    return published
