"""What the commands of nights and of publishing share: deciding and making cells, the state folder, the last word."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pibuild.build.catalogue import load_catalogue
from pibuild.build.context import BuildContext
from pibuild.build.planning import Catalogue
from pibuild.config.settings import Nightly, Settings
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
    from pibuild.store.remote import Remote


class Workshop:
    """What a night's cells are decided and made with: the store, and the outside when something has to be made."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], console: Console) -> None:
        """Open the store; close ends it."""
        self.context = BuildContext(settings=settings, environ=environ, console=console)
        self.catalogue: Catalogue = load_catalogue()
        self.store: Store = self.context.store
        self._is_swept = False

    def close(self) -> None:
        """End the store's session."""
        self.context.close()

    @property
    def remote(self) -> "Remote":
        """What machines share."""
        return self.context.remote

    def decide(self, cell: Cell) -> Decided:
        """Decide a cell; a ref's tree comes into the store for that."""
        request = Request(target=cell.target, python=cell.python, recipe=cell.recipe, version=cell.version)
        plan = self.catalogue.plan(request)
        if not cell.ref:
            return Decided(plan=self._house(cell, plan))
        moved = self.context.refs.take(own_source(plan), cell.ref)
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
        from pibuild.build.schedule import make_wheel  # noqa: PLC0415
        from pibuild.build.wheelhouse import make_wheelhouse  # noqa: PLC0415

        context = self.context
        if not self._is_swept:
            self.store.sweep()
            self._is_swept = True
        context.spent_s.update(dict.fromkeys(context.spent_s, 0.0))
        context.cpu_s.clear()
        entry = make_wheelhouse(plan, context)[-1] if isinstance(plan, Wheelhouse) else make_wheel(plan, context)
        return entry, round(sum(context.cpu_s.values()), 2)

    def failed_at(self, error: PibuildError) -> str:
        """Give the key of what failed."""
        return next((key for key, known in self.context.failed.items() if known is error), "")

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
