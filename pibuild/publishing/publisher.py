"""Publishing as pibuild.yaml has it: the site with its index and page, signed, and every destination."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pibuild.adapters.rclone import Rclone
from pibuild.adapters.twine import Twine
from pibuild.config.settings import Publish, Settings
from pibuild.console import Console
from pibuild.nightly.cells import open_history
from pibuild.nightly.model import Night
from pibuild.publishing import operations as site
from pibuild.publishing import signature
from pibuild.publishing.add_wheels import Offered, offered_of
from pibuild.publishing.destinations import forget, push_everywhere
from pibuild.publishing.index import index_pages
from pibuild.publishing.model import PublishedSet
from pibuild.publishing.page.page import render
from pibuild.publishing.provenance import provenance
from pibuild.store.local import Store


class Publisher:
    """The site of these settings, and how its sets are made."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], console: Console) -> None:
        """Read the key, where there is one: a wrong one is told before anything is done."""
        self._declared = settings.publish or Publish()
        self._settings, self._environ, self._console = settings, environ, console
        self.site = Path(self._declared.site).expanduser().absolute()
        key = self._declared.key
        self._key = signature.load_key(Path(key).expanduser()) if key else None

    def how(self, now: datetime) -> dict[str, Any]:
        """Give what every change of the site is made with."""
        return {"now": now, "pages": self._pages, "sign": self._sign, "console": self._console}

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
            swept = site.sweep(self.site, count=self._declared.retention.count, console=self._console)
            forget(self._declared.to, swept, rclone=Rclone(self._environ), console=self._console)
        return made

    def put_night(self, night: Night, store: Store) -> str:
        """Publish everywhere what a night has proven; give the id of the set, empty where nothing changed."""
        found = [
            wheel
            for one in night.outcomes
            if one.status != "failed" and (entry := store.wheel(one.key))
            for wheel in offered_of(one.cell, entry)
        ]
        is_news = any(one.status != "unchanged" for one in night.outcomes)
        made = self.put(found, f"night {night.id}", datetime.now(UTC), anew=is_news)
        if made:
            self.push(made)
            self._console.note(f"{self.site}/current is {made.id}, {len(made.listed)} wheels")
        return made.id if made else ""

    def push(self, published: PublishedSet) -> None:
        """Bring a set to every destination."""
        push_everywhere(
            self.site,
            published,
            self._declared.to,
            rclone=Rclone(self._environ),
            twine=Twine(self._environ),
            console=self._console,
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
            history = open_history(self._settings, self._console, is_read=True)
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
