"""`pibuild nightly`: run the matrix of pibuild.yaml, list its cells for CI systems, show results."""

from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import islice, takewhile
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
from pibuild.errors import UsageError, nearest, printable
from pibuild.times import compact_utc, iso_z

if TYPE_CHECKING:
    from pibuild.build.context import BuildContext
    from pibuild.model import CellOutcome, Night

SUMMARY = "build, prove and publish the matrix of pibuild.yaml, and show results"
USAGE = "[run|matrix|status|log] [OPTION...]"
EXAMPLES = ("pibuild nightly", "pibuild nightly status")
_CELL = "tflite-runtime-2.14.1-pi-one-3.11"


def add_arguments(parser: CommandParser) -> None:
    """Add the actions of `nightly`."""
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", prog="pibuild nightly")
    add_help(parser)
    summary = "build and prove the cells that have no proven wheel, and publish (`pibuild nightly` alone does this)"
    examples = ["pibuild nightly", f"pibuild nightly --only {_CELL} --no-publish"]
    run_ = add_command(actions, "run", summary, "[OPTION...]", examples)
    group = run_.add_argument_group("which cells")
    group.add_argument(
        "--only", action="append", default=[], metavar="CELL", help="build only this cell; may be repeated"
    )
    group.add_argument("--no-publish", action="store_true", help="build and prove only; publish later")
    add_network(run_)
    add_limits(run_)
    add_general(run_)
    examples = ["pibuild nightly matrix --format github"]
    matrix = add_command(actions, "matrix", "print the cells for a CI system", "[OPTION...]", examples)
    group = matrix.add_argument_group("output")
    group.add_argument("--format", default="json", metavar="F", help="format: github, gitlab or json (default: json)")
    add_general(matrix, has_store=False)
    summary = "show the last night, and since when each cell fails or works"
    status = add_command(actions, "status", summary, "", ["pibuild nightly status"])
    add_general(status, has_store=False)
    summary = "show a cell's last nights, and the log of its last failure"
    log = add_command(actions, "log", summary, "CELL [OPTION...]", [f"pibuild nightly log {_CELL}"])
    log.add_argument("cell", metavar="CELL", help="name of a cell, as `pibuild nightly matrix` prints it")
    add_general(log, has_store=False)


def run(invocation: Invocation) -> int:
    """Do the action that was asked for."""
    return {"run": _run, "matrix": _matrix, "status": _status, "log": _log}[invocation.args.action](invocation)


def _run(invocation: Invocation) -> int:
    """Run the matrix, or some of its cells, and publish the result; return the night's exit code."""
    from pibuild.commands.publication import history_of, nightly_settings, open_builder, open_publication, report
    from pibuild.files import locked
    from pibuild.model import Night
    from pibuild.nightly import summary
    from pibuild.nightly.gather import share
    from pibuild.nightly.matrix import chosen, matrix, with_dependency_cells
    from pibuild.nightly.night import run_night

    console, is_published = invocation.console, not invocation.args.no_publish
    history, declared = history_of(invocation.settings), nightly_settings(invocation.settings)
    if is_published:
        open_publication(invocation)  # a wrong key is reported before anything is built
    with ExitStack() as stack:
        builder = stack.enter_context(open_builder(invocation))
        catalogue, context = builder.catalogue, builder.context
        all_cells = matrix(declared, catalogue.recipes, catalogue.targets)
        cells = chosen(all_cells, invocation.args.only)
        if is_published:  # the index of a cell with dependencies has its dependencies, too
            cells = with_dependency_cells(cells, all_cells, catalogue.recipes, catalogue.targets)
        note = "another night is running in this state folder: waiting for it"
        with history.folder_errors():
            (history.state_dir / "logs").mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(history.state_dir / "night.lock", lambda: console.note(note)))
        now = datetime.now(UTC)
        night = Night(id=history.new_id(compact_utc(now)), began=iso_z(now), ended="", pibuild=__version__, outcomes=())
        rebuilds = 0 if invocation.args.only else declared.rebuild
        night = run_night(night, cells, builder, history, rebuilds=rebuilds)
        try:
            if is_published:
                night = replace(night, set_id=_publish_night(night, context, invocation))
                history.put(night)
            else:
                share(night, context.remote, history)
        finally:
            report(night, history, invocation)
            console.result(summary.as_table(night), asdict(night))
    return summary.exit_code(night)


def _publish_night(night: "Night", context: "BuildContext", invocation: Invocation) -> str:
    """Publish the proven wheels of a night; return the id of the new set, or "" if nothing changed."""
    from pibuild.commands.publication import open_publication, publish_wheels
    from pibuild.publishing.add_wheels import proven_wheels

    site, uploader = open_publication(invocation)
    wheels = [
        wheel
        for outcome in night.outcomes
        if outcome.status != "failed" and (entry := context.store.wheel(outcome.key))
        for wheel in proven_wheels(outcome.cell, entry)
    ]
    is_news = not night.is_unchanged or bool(night.wrong_rebuilds)
    published = publish_wheels(site, uploader, wheels, f"night {night.id}", anew=is_news)
    if published is None:
        return ""
    invocation.console.note(f"{site.folder}/current is {published.id}, {len(published.listed)} wheels")
    return published.id


def _matrix(invocation: Invocation) -> int:
    """Print the cells in a CI system's format."""
    from pibuild.build.catalogue import load_catalogue
    from pibuild.commands.publication import nightly_settings
    from pibuild.nightly.ci_jobs import as_json, formatted
    from pibuild.nightly.matrix import matrix

    catalogue = load_catalogue()
    cells = matrix(nightly_settings(invocation.settings), catalogue.recipes, catalogue.targets)
    invocation.console.result(formatted(cells, invocation.args.format), as_json(cells))
    return 0


def _status(invocation: Invocation) -> int:
    """Print the last night, for each cell since when it fails or works, and the last rebuild of each artifact."""
    from pibuild.commands.publication import history_of
    from pibuild.nightly import summary

    nights = list(history_of(invocation.settings).nights())
    if not nights:
        invocation.console.result("no night has run yet", {"nights": []})
        return 0
    past: dict[str, list[tuple[str, CellOutcome]]] = {}
    for night in nights:
        for outcome in night.outcomes:
            past.setdefault(outcome.cell.id, []).append((night.id, outcome))
    last = nights[0]
    verdict = summary.verdict(last) if last.ended else "interrupted, or still running"
    lines = [f"night {last.id}: {verdict}", *(_standing(cell_id, past[cell_id]) for cell_id in sorted(past))]
    rebuilt = {rebuild.id: (night.id, rebuild) for night in reversed(nights) for rebuild in night.rebuilds}
    for rebuild_id, (night_id, rebuild) in sorted(rebuilt.items()):
        details = rebuild.cause.partition("\n")[0] or f"{rebuild.cpu_s:.0f} s of CPU"
        lines.append(
            f"  {'✓' if rebuild.status == 'equal' else '✗'} {rebuild_id}: {rebuild.status}, {night_id}, {details}"
        )
    invocation.console.result("\n".join(lines), asdict(last))
    return 0


def _standing(cell_id: str, past: "list[tuple[str, CellOutcome]]") -> str:
    """Return one line on a cell: whether it fails, and since which night. `past` begins with the latest night."""
    has_failed = past[0][1].status == "failed"
    since = [night_id for night_id, _ in takewhile(lambda item: (item[1].status == "failed") == has_failed, past)][-1]
    wheel = next((outcome.wheel for _, outcome in past if outcome.wheel), "no wheel yet")
    return f"  {'✗' if has_failed else '✓'} {cell_id}: since {since}, {wheel}"


def _log(invocation: Invocation) -> int:
    """Print the outcomes of a cell in the last nights, and the log of its last failure."""
    from pibuild.commands.publication import SHOWN_NIGHTS, history_of

    cell_id, history = invocation.args.cell, history_of(invocation.settings)
    past = list(islice(history.outcomes(cell_id), SHOWN_NIGHTS))
    if not past:
        cells = sorted({outcome.cell.id for night in history.nights() for outcome in night.outcomes})
        hint = nearest(cell_id, cells) if cells else "pibuild nightly: no night has run yet"
        raise UsageError(f"No night had a cell {cell_id!r}", hint=hint)
    lines = []
    for night_id, outcome in past:
        details = outcome.wheel or outcome.cause.partition("\n")[0]
        lines.append(f"{night_id}  {outcome.status:9}  {outcome.wall_s:8.1f} s  {details}")
    if name := next((outcome.log for _, outcome in past if outcome.log), ""):
        log = history.log(name)
        lines += ["", f"{history.log_path(name)}:"]
        lines += (
            map(printable, log.decode(errors="replace").splitlines()) if log is not None else ["this file was removed"]
        )
    facts = [{"night": night_id, **asdict(outcome)} for night_id, outcome in past]
    invocation.console.result("\n".join(lines), facts)
    return 0
