"""`pibuild nightly`: run the matrix of pibuild.yaml, fan it out, and report what came of it."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pibuild import __version__
from pibuild.commands.options import (
    CommandParser,
    Invocation,
    add_command,
    add_general,
    add_help,
    add_limits,
    add_network,
)
from pibuild.console import Console
from pibuild.errors import PibuildError, UsageError, nearest

if TYPE_CHECKING:
    from pibuild.nightly.cells import Workshop
    from pibuild.nightly.history import History
    from pibuild.nightly.model import Night, Outcome
    from pibuild.nightly.night import Hands

SUMMARY = "build and publish the matrix of pibuild.yaml; matrix, status, log"
USAGE = "[run|matrix|status|log] [OPTION...]"
EXAMPLES = ("pibuild nightly", "pibuild nightly status")


def add_arguments(parser: CommandParser) -> None:
    """Add the actions of `nightly`."""
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", prog="pibuild nightly")
    add_help(parser)
    run_ = add_command(
        actions,
        "run",
        "build what has no proven wheel, prove it, publish it (what `pibuild nightly` does without an action)",
        "[OPTION...]",
        ["pibuild nightly", "pibuild nightly --only tflite-runtime-2.14.1-pi-one-3.11 --no-publish"],
    )
    group = run_.add_argument_group("which cells")
    group.add_argument("--only", action="append", default=[], metavar="CELL", help="this cell alone; may be repeated")
    group.add_argument("--no-publish", action="store_true", help="leave publishing to `pibuild publish`")
    add_network(run_)
    add_limits(run_)
    add_general(run_)
    matrix = add_command(
        actions, "matrix", "print the cells for a CI system", "[OPTION...]", ["pibuild nightly matrix --format github"]
    )
    group = matrix.add_argument_group("output")
    group.add_argument("--format", default="json", metavar="F", help="github, gitlab or json (default)")
    add_general(matrix, has_store=False)
    status = add_command(
        actions,
        "status",
        "show the last night, and since when each cell fails or works",
        "",
        ["pibuild nightly status"],
    )
    add_general(status, has_store=False)
    log = add_command(
        actions,
        "log",
        "show a cell's last nights, and the log of its last failure",
        "CELL [OPTION...]",
        ["pibuild nightly log tflite-runtime-2.14.1-pi-one-3.11"],
    )
    log.add_argument("cell", metavar="CELL", help="name of a cell, as `pibuild nightly matrix` prints it")
    add_general(log, has_store=False)


def run(invocation: Invocation) -> int:
    """Do the action that was asked for."""
    return {"run": _run, "matrix": _matrix, "status": _status, "log": _log}[invocation.args.action](invocation)


def _run(invocation: Invocation) -> int:
    """Run the matrix, or some of its cells, and publish the result; return the night's exit code."""
    from pibuild.files import folder_errors
    from pibuild.nightly import summary
    from pibuild.nightly.cells import Workshop, announce, declared_nightly
    from pibuild.nightly.gather import share
    from pibuild.nightly.history import History
    from pibuild.nightly.matrix import chosen, matrix, with_beside
    from pibuild.nightly.model import night_facts
    from pibuild.nightly.night import run_night
    from pibuild.publishing.publisher import Publisher

    settings, environ, console = invocation.settings, invocation.environ, invocation.console
    declared, is_published = declared_nightly(settings), not invocation.args.no_publish
    state_dir = Path(declared.state).absolute()
    with folder_errors(state_dir):
        (state_dir / "logs").mkdir(parents=True, exist_ok=True)
    publisher = Publisher(settings, environ, console) if is_published else None
    unpublished: PibuildError | None = None
    with closing(Workshop(settings, environ, console)) as workshop:
        recipes, targets = workshop.catalogue.recipes, workshop.catalogue.targets
        everything = matrix(declared, recipes, targets)
        cells = chosen(everything, invocation.args.only)
        if is_published:  # the index of a cell with dependencies has its dependencies, too
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
    console.result(summary.as_table(night), night_facts(night))
    if unpublished:
        raise unpublished
    return summary.exit_code(night)


def _matrix(invocation: Invocation) -> int:
    """Print the cells in the form that a CI system fans out."""
    from pibuild.build.catalogue import load_catalogue
    from pibuild.nightly.cells import declared_nightly
    from pibuild.nightly.ci_jobs import formatted
    from pibuild.nightly.matrix import matrix

    catalogue = load_catalogue()
    cells = matrix(declared_nightly(invocation.settings), catalogue.recipes, catalogue.targets)
    text = formatted(cells, invocation.args.format)
    invocation.console.result(text, [asdict(cell) | {"cell": cell.id} for cell in cells])
    return 0


def _status(invocation: Invocation) -> int:
    """Print the last night, and for each cell since when it fails or works."""
    from pibuild.nightly import summary
    from pibuild.nightly.cells import open_history
    from pibuild.nightly.model import night_facts

    console = invocation.console
    with closing(open_history(invocation.settings, console, is_read=True)) as history:
        nights = history.nights(1)
        if not nights:
            console.result("no night has run yet", {"nights": []})
            return 0
        night = nights[0]
        verdict = summary.verdict(night) if night.ended else "it was cut off, or is still running"
        lines = [f"night {night.id}: {verdict}", *(_standing(cell, history.outcomes(cell)) for cell in history.cells())]
        console.result("\n".join(lines), night_facts(night))
    return 0


def _standing(cell_id: str, past: "Sequence[tuple[str, Outcome]]") -> str:
    """Return one line on a cell: whether it fails, and since which night; `past` has its latest first."""
    from itertools import takewhile

    is_red = past[0][1].status == "failed"
    alike = list(takewhile(lambda entry: (entry[1].status == "failed") == is_red, past))
    wheel = next((outcome.wheel for _, outcome in past if outcome.wheel), "no wheel yet")
    return f"  {'✗' if is_red else '✓'} {cell_id}: since {alike[-1][0]}, {wheel}"


def _log(invocation: Invocation) -> int:
    """Print what came of a cell in the last nights, and the log of the last time that it failed."""
    from pibuild.nightly.cells import declared_nightly, open_history

    settings, console, cell_id = invocation.settings, invocation.console, invocation.args.cell
    logs_dir = Path(declared_nightly(settings).state).absolute() / "logs"
    with closing(open_history(settings, console, is_read=True)) as history:
        past = history.outcomes(cell_id)
        if not past:
            cells = history.cells()
            hint = nearest(cell_id, cells) if cells else "pibuild nightly: no night has run yet"
            raise UsageError(f"No night had a cell {cell_id!r}", hint=hint)
    lines = [
        f"{night_id}  {outcome.status:9}  {outcome.wall_s:8.1f} s  "
        + (outcome.wheel or outcome.cause.partition("\n")[0])
        for night_id, outcome in past
    ]
    if logged := next((outcome for _, outcome in past if outcome.log), None):
        path = logs_dir / logged.log
        lines += ["", f"{path}:"]
        lines += path.read_text(errors="replace").splitlines() if path.exists() else ["this file is gone"]
    console.result("\n".join(lines), [{"night": night_id, **asdict(outcome)} for night_id, outcome in past])
    return 0


def _new_night(history: "History") -> "Night":
    from datetime import UTC, datetime

    from pibuild.nightly.model import Night
    from pibuild.nightly.night import moment
    from pibuild.times import compact_utc

    now = datetime.now(UTC)
    return Night(id=history.new_id(compact_utc(now)), began=moment(now), ended="", pibuild=__version__, outcomes=())


@contextmanager
def _alone(state_dir: Path, console: Console) -> Iterator[None]:
    """Be the only night of a state folder."""
    from filelock import FileLock, Timeout

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


def _hands(workshop: "Workshop", state_dir: Path) -> "Hands":
    import shutil
    import time
    from datetime import UTC, datetime

    from pibuild.nightly.night import Hands

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
