"""The commands of nights: `nightly` runs the matrix, `matrix` fans it out, `status` and `log` tell what came of it."""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from pibuild import __version__
from pibuild.assembly import Catalogue, load_catalogue, make_ports, make_refs, make_remote, open_store
from pibuild.errors import PibuildError, UsageError, nearest
from pibuild.model import Plan, Request
from pibuild.nightly import outcomes
from pibuild.nightly.declared import Nightly
from pibuild.nightly.fan_in import share
from pibuild.nightly.fan_out import formatted
from pibuild.nightly.history import History
from pibuild.nightly.matrix import chosen, matrix
from pibuild.nightly.night import Decided, Hands, moment, run_night
from pibuild.nightly.notices import Notice, tell
from pibuild.nightly.values import Cell, Night, Outcome, night_facts
from pibuild.nightly.versions import nightly_version
from pibuild.report import Report
from pibuild.settings import Settings
from pibuild.steps.own_tree import own_source
from pibuild.store import Entry, Store, space_named, write_atomically

if TYPE_CHECKING:
    from pibuild.pipeline import Ports
    from pibuild.remote import Remote
    from pibuild.steps.refs import Refs


class Workshop:
    """What a night's cells are decided and made with: the store, and the outside when something has to be made."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], report: Report) -> None:
        """Open the store; close ends it."""
        self._settings, self._environ, self._report = settings, environ, report
        self.catalogue: Catalogue = load_catalogue()
        self.store: Store = open_store(settings, report)
        self._ports: Ports | None = None
        self._refs: Refs | None = None

    def close(self) -> None:
        """End the store's session."""
        self.store.close()

    @cached_property
    def remote(self) -> "Remote":
        """What machines share."""
        return make_remote(self._settings, self._environ, self.store, self._report)

    def decide(self, cell: Cell) -> Decided:
        """Decide a cell; a ref's tree comes into the store for that."""
        request = Request(target=cell.target, python=cell.python, recipe=cell.recipe, version=cell.version)
        plan = self.catalogue.plan(request)
        if not cell.ref:
            return Decided(plan=plan)
        self._refs = self._refs or make_refs(self._settings, self._environ, self.store, self._report)
        moved = self._refs.take(own_source(plan), cell.ref)
        version = nightly_version(cell.version, moved.commit, moved.committed)
        return Decided(plan=self.catalogue.plan(request, moved.source, version), commit=moved.commit)

    def proven(self, plan: Plan) -> Entry | None:
        """Give the proven wheel of a plan, from here or from the store that machines share."""
        if entry := self.store.wheel(plan.key):
            self.remote.push_proven(plan, entry)
            return entry
        return self.remote.pull_wheel(plan)

    def make(self, plan: Plan) -> tuple[Entry, float]:
        """Build and prove a plan's wheel."""
        from pibuild import pipeline  # noqa: PLC0415  the engine's client costs a third of a second

        if self._ports is None:
            self.store.sweep()
            self._ports = make_ports(self._settings, self._environ, self.store, self._report)
        ports = self._ports
        ports.spent_s.update(dict.fromkeys(ports.spent_s, 0.0))
        ports.built.clear()
        again = f"pibuild --target {plan.target.name} --python {plan.python} --recipe {plan.wheel.recipe.name}"
        entry = pipeline.make(plan, ports, f"{again} --version {plan.wheel.release.version}")
        return entry, round(sum(ports.built.values()) + entry.facts["proof"]["cpu_s"], 2)

    def failed_at(self, error: PibuildError) -> str:
        """Give the key of what failed."""
        failed = self._ports.failed.items() if self._ports else ()
        return next((key for key, known in failed if known is error), "")

    def record_of(self, key: str) -> dict[str, Any] | None:
        """Give the record of a proven wheel that is still in the store."""
        entry = self.store.wheel(key)
        return entry.facts if entry else None


def nightly(
    settings: Settings, environ: Mapping[str, str], report: Report, *, only: Sequence[str], is_published: bool
) -> int:
    """Run the matrix, or these cells of it, and publish what came of it; give the exit code."""
    from pibuild.publishing.commands import Publisher, publish_night  # noqa: PLC0415  its libraries take time

    declared = declared_nightly(settings)
    state_dir = Path(declared.state).absolute()
    with space_named(state_dir):
        (state_dir / "logs").mkdir(parents=True, exist_ok=True)
    publisher = Publisher(settings, environ, report) if is_published else None
    unpublished: PibuildError | None = None
    with closing(Workshop(settings, environ, report)) as workshop:
        cells = chosen(matrix(declared, workshop.catalogue.recipes, workshop.catalogue.targets), only)
        with _alone(state_dir, report), closing(History(state_dir, report)) as history:
            night = run_night(_new_night(history), cells, _hands(workshop, state_dir), history, report)
            try:
                if publisher:
                    night = replace(night, set_id=publish_night(night, publisher, workshop.store, report))
                    history.put(night)
                else:
                    share(night, workshop.remote, state_dir / "logs")
            except PibuildError as error:
                unpublished = error
            announce(night, declared, environ, report)
    report.result(outcomes.as_table(night), night_facts(night))
    if unpublished:
        raise unpublished
    return outcomes.exit_code(night)


def show_matrix(settings: Settings, report: Report, *, kind: str) -> int:
    """Give the cells in the form that a CI system fans out."""
    catalogue = load_catalogue()
    cells = matrix(declared_nightly(settings), catalogue.recipes, catalogue.targets)
    text = formatted(cells, kind)
    report.result(text, [asdict(cell) | {"cell": cell.id} for cell in cells])
    return 0


def status(settings: Settings, report: Report) -> int:
    """Give the last night, and of each cell since when it is as it is."""
    with closing(open_history(settings, report)) as history:
        nights = history.nights(1)
        if not nights:
            report.result("no night has run yet", {"nights": []})
            return 0
        night = nights[0]
        said = outcomes.verdict(night) if night.ended else "it was cut off, or is still running"
        lines = [f"night {night.id}: {said}", *(_standing(cell, history.outcomes(cell)) for cell in history.cells())]
        report.result("\n".join(lines), night_facts(night))
    return 0


def _standing(cell_id: str, past: Sequence[tuple[str, Outcome]]) -> str:
    """Say how a cell stands, and since which night; `past` has its latest first."""
    is_red = past[0][1].status == "failed"
    alike = list(takewhile(lambda told: (told[1].status == "failed") == is_red, past))
    last = next((one.wheel for _, one in past if one.wheel), "no wheel yet")
    return f"  {'✗' if is_red else '✓'} {cell_id}: since {alike[-1][0]}, {last}"


def show_log(settings: Settings, report: Report, cell_id: str) -> int:
    """Give what came of a cell in the last nights, and the log of the last time that it failed."""
    logs_dir = Path(declared_nightly(settings).state).absolute() / "logs"
    with closing(open_history(settings, report)) as history:
        past = history.outcomes(cell_id)
        if not past:
            raise UsageError(f"No night had a cell {cell_id!r}", hint=nearest(cell_id, history.cells()))
    lines = [
        f"{night_id}  {one.status:9}  {one.wall_s:8.1f} s  {one.wheel or one.cause.partition(chr(10))[0]}"
        for night_id, one in past
    ]
    if logged := next((one for _, one in past if one.log), None):
        path = logs_dir / logged.log
        lines += ["", f"{path}:"]
        lines += path.read_text(errors="replace").splitlines() if path.exists() else ["it is gone"]
    report.result("\n".join(lines), [{"night": night_id, **asdict(one)} for night_id, one in past])
    return 0


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


def _new_night(history: History) -> Night:
    now = datetime.now(UTC)
    night_id = history.new_id(now.strftime("%Y%m%dT%H%M%SZ"))
    return Night(id=night_id, began=moment(now), ended="", pibuild=__version__, outcomes=())


def open_history(settings: Settings, report: Report) -> History:
    """Open what is remembered of nights."""
    return History(Path(declared_nightly(settings).state).absolute(), report)


@contextmanager
def _alone(state_dir: Path, report: Report) -> Iterator[None]:
    """Be the one night of a state folder."""
    lock = FileLock(state_dir / "night.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        report.note("another night is under way here: waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _hands(workshop: Workshop, state_dir: Path) -> Hands:
    def keep_log(error: PibuildError, name: str) -> str:
        if error.log is None or not error.log.exists():
            return ""
        shutil.copyfile(error.log, state_dir / "logs" / f"{name}.log")
        return f"{name}.log"

    return Hands(
        decide=workshop.decide,
        proven=workshop.proven,
        make=workshop.make,
        record_of=workshop.record_of,
        failed_at=workshop.failed_at,
        keep_log=keep_log,
        now=lambda: datetime.now(UTC),
        clock=time.monotonic,
    )


def announce(night: Night, declared: Nightly, environ: Mapping[str, str], report: Report) -> None:
    """Leave what a CI system reads, and tell whom a change of colour concerns."""
    state_dir = Path(declared.state).absolute()
    outcomes.write_junit(night, state_dir / "junit.xml")
    summary = outcomes.as_markdown(night)
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

        tell(night, state_dir / "told.json", send, report)
