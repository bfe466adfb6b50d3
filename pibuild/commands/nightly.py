"""The commands of nights: `nightly` runs the matrix, `matrix` fans it out, `status` and `log` tell what came of it."""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path

from filelock import FileLock, Timeout

from pibuild import __version__
from pibuild.build.assembly import load_catalogue
from pibuild.config.settings import Settings
from pibuild.console import Console
from pibuild.errors import PibuildError, UsageError, nearest
from pibuild.files import folder_errors
from pibuild.nightly import summary as outcomes
from pibuild.nightly.cells import Workshop, announce, declared_nightly, open_history
from pibuild.nightly.ci_jobs import formatted
from pibuild.nightly.gather import share
from pibuild.nightly.history import History
from pibuild.nightly.matrix import chosen, matrix, with_beside
from pibuild.nightly.model import Night, Outcome, night_facts
from pibuild.nightly.night import Hands, moment, run_night


def nightly(
    settings: Settings, environ: Mapping[str, str], console: Console, *, only: Sequence[str], is_published: bool
) -> int:
    """Run the matrix, or these cells of it, and publish what came of it; give the exit code."""
    from pibuild.publishing.publisher import Publisher  # noqa: PLC0415  its libraries take time

    declared = declared_nightly(settings)
    state_dir = Path(declared.state).absolute()
    with folder_errors(state_dir):
        (state_dir / "logs").mkdir(parents=True, exist_ok=True)
    publisher = Publisher(settings, environ, console) if is_published else None
    unpublished: PibuildError | None = None
    with closing(Workshop(settings, environ, console)) as workshop:
        recipes, targets = workshop.catalogue.recipes, workshop.catalogue.targets
        everything = matrix(declared, recipes, targets)
        cells = chosen(everything, only)
        if is_published:  # an index that has one has what pip wants beside it
            cells = with_beside(cells, everything, recipes)
        with _alone(state_dir, console), closing(History(state_dir, console)) as history:
            night = run_night(_new_night(history), cells, _hands(workshop, state_dir), history, console)
            try:
                if publisher:
                    night = replace(night, set_id=publisher.put_night(night, workshop.store))
                    history.put(night)
                else:
                    share(night, workshop.remote, state_dir / "logs")
            except PibuildError as error:
                unpublished = error
            announce(night, declared, environ, console)
    console.result(outcomes.as_table(night), night_facts(night))
    if unpublished:
        raise unpublished
    return outcomes.exit_code(night)


def show_matrix(settings: Settings, console: Console, *, kind: str) -> int:
    """Give the cells in the form that a CI system fans out."""
    catalogue = load_catalogue()
    cells = matrix(declared_nightly(settings), catalogue.recipes, catalogue.targets)
    text = formatted(cells, kind)
    console.result(text, [asdict(cell) | {"cell": cell.id} for cell in cells])
    return 0


def status(settings: Settings, console: Console) -> int:
    """Give the last night, and of each cell since when it is as it is."""
    with closing(open_history(settings, console, is_read=True)) as history:
        nights = history.nights(1)
        if not nights:
            console.result("no night has run yet", {"nights": []})
            return 0
        night = nights[0]
        said = outcomes.verdict(night) if night.ended else "it was cut off, or is still running"
        lines = [f"night {night.id}: {said}", *(_standing(cell, history.outcomes(cell)) for cell in history.cells())]
        console.result("\n".join(lines), night_facts(night))
    return 0


def _standing(cell_id: str, past: Sequence[tuple[str, Outcome]]) -> str:
    """Say how a cell stands, and since which night; `past` has its latest first."""
    is_red = past[0][1].status == "failed"
    alike = list(takewhile(lambda told: (told[1].status == "failed") == is_red, past))
    last = next((one.wheel for _, one in past if one.wheel), "no wheel yet")
    return f"  {'✗' if is_red else '✓'} {cell_id}: since {alike[-1][0]}, {last}"


def show_log(settings: Settings, console: Console, cell_id: str) -> int:
    """Give what came of a cell in the last nights, and the log of the last time that it failed."""
    logs_dir = Path(declared_nightly(settings).state).absolute() / "logs"
    with closing(open_history(settings, console, is_read=True)) as history:
        past = history.outcomes(cell_id)
        if not past:
            known = history.cells()
            hint = nearest(cell_id, known) if known else "pibuild nightly: no night has run yet"
            raise UsageError(f"No night had a cell {cell_id!r}", hint=hint)
    lines = [
        f"{night_id}  {one.status:9}  {one.wall_s:8.1f} s  {one.wheel or one.cause.partition(chr(10))[0]}"
        for night_id, one in past
    ]
    if logged := next((one for _, one in past if one.log), None):
        path = logs_dir / logged.log
        lines += ["", f"{path}:"]
        lines += path.read_text(errors="replace").splitlines() if path.exists() else ["it is gone"]
    console.result("\n".join(lines), [{"night": night_id, **asdict(one)} for night_id, one in past])
    return 0


def _new_night(history: History) -> Night:
    now = datetime.now(UTC)
    night_id = history.new_id(now.strftime("%Y%m%dT%H%M%SZ"))
    return Night(id=night_id, began=moment(now), ended="", pibuild=__version__, outcomes=())


@contextmanager
def _alone(state_dir: Path, console: Console) -> Iterator[None]:
    """Be the one night of a state folder."""
    lock = FileLock(state_dir / "night.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        console.note("another night is under way here: waiting for it")
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
