"""What the commands of nights and of publishing share: deciding and making cells, the state folder, the last word."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pibuild.build.assembly import Catalogue, load_catalogue, make_ports, make_refs, make_remote, open_store
from pibuild.config.nightly_settings import Nightly
from pibuild.config.settings import Settings
from pibuild.console import Console
from pibuild.errors import PibuildError, UsageError
from pibuild.files import folder_errors, write_atomically
from pibuild.model import Plan, Request, Wheelhouse
from pibuild.nightly import summary as outcomes
from pibuild.nightly.history import History
from pibuild.nightly.model import Cell, Night
from pibuild.nightly.night import Decided
from pibuild.nightly.nightly_version import nightly_version
from pibuild.nightly.notify import Notice, tell
from pibuild.sources.local_tree import own_source
from pibuild.store.local import Entry, Store

if TYPE_CHECKING:
    from pibuild.build.context import Ports
    from pibuild.sources.refs import Refs
    from pibuild.store.remote import Remote


class Workshop:
    """What a night's cells are decided and made with: the store, and the outside when something has to be made."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], console: Console) -> None:
        """Open the store; close ends it."""
        self._settings, self._environ, self._console = settings, environ, console
        self.catalogue: Catalogue = load_catalogue()
        self.store: Store = open_store(settings, console)
        self._ports: Ports | None = None
        self._refs: Refs | None = None

    def close(self) -> None:
        """End the store's session."""
        self.store.close()

    @cached_property
    def remote(self) -> "Remote":
        """What machines share."""
        return make_remote(self._settings, self._environ, self.store, self._console)

    def decide(self, cell: Cell) -> Decided:
        """Decide a cell; a ref's tree comes into the store for that."""
        request = Request(target=cell.target, python=cell.python, recipe=cell.recipe, version=cell.version)
        plan = self.catalogue.plan(request)
        if not cell.ref:
            return Decided(plan=self._house(cell, plan))
        self._refs = self._refs or make_refs(self._settings, self._environ, self.store, self._console)
        moved = self._refs.take(own_source(plan), cell.ref)
        version = nightly_version(cell.version, moved.commit, moved.committed)
        plan = self.catalogue.plan(request, moved.source, version)
        return Decided(plan=self._house(cell, plan), commit=moved.commit)

    def _house(self, cell: Cell, plan: Plan) -> Plan | Wheelhouse:
        return self.catalogue.wheelhouse(plan) if cell.with_dependencies else plan

    def proven(self, plan: Plan | Wheelhouse) -> Entry | None:
        """Give the proven wheel of a plan, from here or from the store that machines share."""
        if entry := self.store.wheel(plan.key):
            self.remote.push_proven(plan, entry)
            return entry
        return self.remote.pull_wheel(plan)

    def make(self, plan: Plan | Wheelhouse) -> tuple[Entry, float]:
        """Build and prove a plan's wheel, or a wheelhouse; give the wheel, and the CPU seconds that this took."""
        from pibuild.build import schedule as pipeline  # noqa: PLC0415
        from pibuild.build import wheelhouse  # noqa: PLC0415

        if self._ports is None:
            self.store.sweep()
            self._ports = make_ports(self._settings, self._environ, self.store, self._console)
        ports = self._ports
        ports.spent_s.update(dict.fromkeys(ports.spent_s, 0.0))
        ports.cpu_s.clear()
        if isinstance(plan, Wheelhouse):
            entry = wheelhouse.make_all(plan, ports, plan.command())[-1]
        else:
            entry = pipeline.make(plan, ports, plan.command())
        return entry, round(sum(ports.cpu_s.values()), 2)

    def failed_at(self, error: PibuildError) -> str:
        """Give the key of what failed."""
        failed = self._ports.failed.items() if self._ports else ()
        return next((key for key, known in failed if known is error), "")

    def record_of(self, key: str) -> dict[str, Any] | None:
        """Give the record of a proven wheel that is still in the store."""
        entry = self.store.wheel(key)
        return entry.facts if entry else None


def declared_nightly(settings: Settings) -> Nightly:
    """Give what pibuild.yaml says of nights."""
    if settings.nightly is None:
        raise UsageError(
            "There is no matrix", expected="`nightly:` with `cells:` in pibuild.yaml", hint="the README has an example"
        )
    notify = settings.nightly.notify
    if notify and bool(notify.webhook) == bool(notify.command):
        raise UsageError("`nightly: notify:` wants a webhook or a command", hint="one of the two")
    return settings.nightly


def open_history(settings: Settings, console: Console, *, is_read: bool = False) -> History:
    """Open what is remembered of nights; who only reads it makes nothing."""
    return History(Path(declared_nightly(settings).state).absolute(), console, is_read=is_read)


def announce(night: Night, declared: Nightly, environ: Mapping[str, str], console: Console) -> None:
    """Leave what a CI system reads, and tell whom a change of colour concerns."""
    state_dir = Path(declared.state).absolute()
    summary = outcomes.as_markdown(night)
    with folder_errors(state_dir):
        outcomes.write_junit(night, state_dir / "junit.xml")
        write_atomically(state_dir / "summary.md", summary)
    if shown := environ.get("GITHUB_STEP_SUMMARY"):
        with Path(shown).open("a", encoding="utf-8") as page:
            page.write(summary)
    if notify := declared.notify:
        from pibuild.adapters import notifier  # noqa: PLC0415  most nights have nothing to tell

        def send(notice: Notice) -> None:
            if notify.webhook:
                notifier.post(notify.webhook, notice.as_json())
            else:
                notifier.call(notify.command, notice.as_json(), environ)

        with folder_errors(state_dir):
            tell(night, state_dir / "told.json", send, console)
