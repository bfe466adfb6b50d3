"""`pibuild nightly`: run the matrix of pibuild.yaml, fan it out, and report what came of it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import islice, takewhile
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
from pibuild.errors import PibuildError, UsageError, nearest
from pibuild.times import compact_utc, iso_z

if TYPE_CHECKING:
    from pibuild.build.context import BuildContext
    from pibuild.build.planning import Catalogue
    from pibuild.config.settings import Nightly, Policy, Settings
    from pibuild.model import CellOutcome, Night
    from pibuild.nightly.cells import CellBuilder
    from pibuild.nightly.history import History
    from pibuild.nightly.notify import Notice
    from pibuild.publishing.add_wheels import ProvenWheel
    from pibuild.publishing.destinations import Uploader
    from pibuild.publishing.layout import Site
    from pibuild.publishing.model import PublishedSet

_SHOWN_NIGHTS = 30
"""Nights that `log` prints and the page shows."""

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
    from pibuild.files import folder_errors, locked
    from pibuild.nightly import summary
    from pibuild.nightly.gather import share
    from pibuild.nightly.history import History
    from pibuild.nightly.matrix import chosen, matrix, with_dependency_cells
    from pibuild.nightly.night import run_night

    console, is_published = invocation.console, not invocation.args.no_publish
    declared = nightly_settings(invocation.settings)
    state_dir = made_state_dir(declared)
    history, logs_dir = History(state_dir), state_dir / "logs"
    if is_published:
        open_publication(invocation)  # a wrong key is reported before anything is built
    publish_error: PibuildError | None = None
    with open_builder(invocation) as (catalogue, context, builder):
        all_cells = matrix(declared, catalogue.recipes, catalogue.targets)
        cells = chosen(all_cells, invocation.args.only)
        if is_published:  # the index of a cell with dependencies has its dependencies, too
            cells = with_dependency_cells(cells, all_cells, catalogue.recipes)

        def on_wait() -> None:
            console.note("another night is running in this state folder: waiting for it")

        with ExitStack() as stack:
            with folder_errors(state_dir, setting="`nightly: state:`"):
                stack.enter_context(locked(state_dir / "night.lock", on_wait))
            night = run_night(_new_night(history), cells, builder, history, logs_dir, context)
            try:
                if is_published:
                    night = replace(night, set_id=_publish_night(night, context, invocation))
                    history.put(night)
                else:
                    share(night, context.remote, logs_dir)
            except PibuildError as error:
                publish_error = error
            report(night, state_dir, declared, invocation)
    console.result(summary.as_table(night), asdict(night))
    if publish_error:
        raise publish_error
    return summary.exit_code(night)


def _new_night(history: "History") -> "Night":
    from pibuild.model import Night

    now = datetime.now(UTC)
    return Night(id=history.new_id(compact_utc(now)), began=iso_z(now), ended="", pibuild=__version__, outcomes=())


def _publish_night(night: "Night", context: "BuildContext", invocation: Invocation) -> str:
    """Publish the proven wheels of a night; return the id of the new set, or "" if nothing changed."""
    from pibuild.publishing.add_wheels import proven_wheels

    publication = open_publication(invocation)
    wheels = [
        wheel
        for outcome in night.outcomes
        if outcome.status != "failed" and (entry := context.store.wheel(outcome.key))
        for wheel in proven_wheels(outcome.cell, entry)
    ]
    published = publish_wheels(publication, wheels, f"night {night.id}", anew=has_news(night))
    if published is None:
        return ""
    publication.uploader.push(publication.site.folder, published)
    invocation.console.note(f"{publication.site.folder}/current is {published.id}, {len(published.listed)} wheels")
    return published.id


def _matrix(invocation: Invocation) -> int:
    """Print the cells in a CI system's format."""
    from pibuild.build.catalogue import load_catalogue
    from pibuild.nightly.ci_jobs import as_json, formatted
    from pibuild.nightly.matrix import matrix

    catalogue = load_catalogue()
    cells = matrix(nightly_settings(invocation.settings), catalogue.recipes, catalogue.targets)
    invocation.console.result(formatted(cells, invocation.args.format), as_json(cells))
    return 0


def _status(invocation: Invocation) -> int:
    """Print the last night, and for each cell since when it fails or works."""
    from pibuild.nightly import summary
    from pibuild.nightly.history import History

    nights = list(History(state_dir_of(nightly_settings(invocation.settings))).nights())
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
    invocation.console.result("\n".join(lines), asdict(last))
    return 0


def _standing(cell_id: str, past: "Sequence[tuple[str, CellOutcome]]") -> str:
    """Return one line on a cell: whether it fails, and since which night. `past` begins with the latest night."""
    is_red = past[0][1].status == "failed"
    since = [night_id for night_id, _ in takewhile(lambda entry: (entry[1].status == "failed") == is_red, past)][-1]
    wheel = next((outcome.wheel for _, outcome in past if outcome.wheel), "no wheel yet")
    return f"  {'✗' if is_red else '✓'} {cell_id}: since {since}, {wheel}"


def _log(invocation: Invocation) -> int:
    """Print the outcomes of a cell in the last nights, and the log of its last failure."""
    from pibuild.nightly.history import History

    cell_id, state_dir = invocation.args.cell, state_dir_of(nightly_settings(invocation.settings))
    history = History(state_dir)
    past = list(islice(history.outcomes(cell_id), _SHOWN_NIGHTS))
    if not past:
        cells = sorted({outcome.cell.id for night in history.nights() for outcome in night.outcomes})
        hint = nearest(cell_id, cells) if cells else "pibuild nightly: no night has run yet"
        raise UsageError(f"No night had a cell {cell_id!r}", hint=hint)
    lines = []
    for night_id, outcome in past:
        details = outcome.wheel or outcome.cause.partition("\n")[0]
        lines.append(f"{night_id}  {outcome.status:9}  {outcome.wall_s:8.1f} s  {details}")
    if log := next((outcome.log for _, outcome in past if outcome.log), ""):
        path = state_dir / "logs" / log
        lines += ["", f"{path}:"]
        lines += path.read_text(errors="replace").splitlines() if path.exists() else ["this file was removed"]
    facts = [{"night": night_id, **asdict(outcome)} for night_id, outcome in past]
    invocation.console.result("\n".join(lines), facts)
    return 0


def nightly_settings(settings: "Settings") -> "Nightly":
    """Return `nightly:` of pibuild.yaml. Raises UsageError if it is missing or names no way to notify."""
    if settings.nightly is None:
        hint = "docs/nightly.md has an example"
        raise UsageError("pibuild.yaml has no matrix", expected="`nightly:` with `cells:`", hint=hint)
    notify = settings.nightly.notify
    if notify and bool(notify.webhook) == bool(notify.command):
        raise UsageError("`nightly: notify:` needs a webhook or a command", hint="set one of the two")
    return settings.nightly


def state_dir_of(declared: "Nightly") -> Path:
    """Return the state folder of nights."""
    return Path(declared.state).absolute()


def made_state_dir(declared: "Nightly") -> Path:
    """Return the state folder of nights, which is made if needed."""
    from pibuild.files import folder_errors

    folder = state_dir_of(declared)
    with folder_errors(folder, setting="`nightly: state:`"):
        (folder / "logs").mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def open_builder(invocation: Invocation) -> "Iterator[tuple[Catalogue, BuildContext, CellBuilder]]":
    """Open the store and provide what plans and builds cells; no engine is asked before a cell is built."""
    from pibuild.build.catalogue import load_catalogue
    from pibuild.build.context import BuildContext
    from pibuild.nightly.cells import CellBuilder

    context = BuildContext(settings=invocation.settings, environ=invocation.environ, console=invocation.console)
    with closing(context):
        context.store.sweep()
        catalogue = load_catalogue()
        yield catalogue, context, CellBuilder(catalogue, context)


def report(night: "Night", state_dir: Path, declared: "Nightly", invocation: Invocation) -> None:
    """Write what CI systems and people read of a night, and send the notices of cells that changed colour."""
    from pibuild.files import folder_errors, write_atomically
    from pibuild.nightly import notify, summary
    from pibuild.nightly.history import History

    markdown = summary.as_markdown(night)
    with folder_errors(state_dir, setting="`nightly: state:`"):
        summary.write_junit(night, state_dir / "junit.xml")
        write_atomically(state_dir / "summary.md", markdown)
    if page_path := invocation.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(page_path).open("a", encoding="utf-8") as page:
            page.write(markdown)
    try:
        History(state_dir).write_database()
    except PibuildError as error:  # nothing of pibuild reads it
        invocation.console.warn(str(error))
    if target := declared.notify:
        from pibuild.adapters import notifier

        def send(notice: "Notice") -> None:
            if target.webhook:
                notifier.post(target.webhook, notice.as_json())
            else:
                notifier.call(target.command, notice.as_json(), invocation.environ)

        with folder_errors(state_dir, setting="`nightly: state:`"):
            notify.notify(night, state_dir / "told.json", send, invocation.console)


def has_news(night: "Night") -> bool:
    """Return whether the page of a night differs from that of the night before."""
    return any(outcome.status != "unchanged" for outcome in night.outcomes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """The site and the destinations of pibuild.yaml."""

    site: "Site"
    uploader: "Uploader"
    policy: "Policy"


def open_publication(invocation: Invocation) -> Publication:
    """Read `publish:` of pibuild.yaml, the signing key and the last nights. Raises UsageError for a wrong key."""
    from pibuild.adapters.rclone import Rclone
    from pibuild.adapters.twine import Twine
    from pibuild.config.settings import Publish
    from pibuild.nightly.history import History
    from pibuild.publishing import signature
    from pibuild.publishing.destinations import Uploader
    from pibuild.publishing.index import index_pages
    from pibuild.publishing.layout import Site
    from pibuild.publishing.page import render

    settings, environ, console = invocation.settings, invocation.environ, invocation.console
    declared = settings.publish or Publish()
    key = signature.load_key(Path(declared.key).expanduser()) if declared.key else None
    state_dir = state_dir_of(settings.nightly) if settings.nightly else None

    def log(name: str) -> bytes | None:
        path = state_dir / "logs" / name if state_dir else None
        return path.read_bytes() if path and path.is_file() else None

    def pages(published: "PublishedSet") -> dict[str, bytes]:
        nights = tuple(islice(History(state_dir).nights(), _SHOWN_NIGHTS)) if state_dir else ()
        page = render(published, nights, title=declared.title, base_url=declared.url, logs=log)
        return index_pages(published) | page | ({"pibuild.pub": signature.public_pem(key)} if key else {})

    return Publication(
        site=Site(
            folder=Path(declared.site).expanduser().absolute(),
            pages=pages,
            sign=key.sign if key else None,
            now=datetime.now(UTC),
            console=console,
        ),
        uploader=Uploader(
            destinations=declared.to,
            rclone=Rclone(environ, umask=0o022),  # a folder of this machine is as public as the site
            twine=Twine(environ),
            console=console,
        ),
        policy=declared.retention,
    )


def publish_wheels(
    publication: Publication, wheels: "Sequence[ProvenWheel]", why: str, *, anew: bool
) -> "PublishedSet | None":
    """Publish a set of the site's wheels and these, and remove outdated ones; None if the set would be the same."""
    from pibuild.publishing.operations import publish, sweep

    site, policy = publication.site, publication.policy
    published = publish(site, wheels, why=why, policy=policy, anew=anew)
    if published:
        publication.uploader.forget(sweep(site, count=policy.count))
    return published
