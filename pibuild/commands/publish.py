"""`pibuild publish`: publish what is proven, go back to an earlier set, yank wheels, check what is published."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pibuild.commands.options import CommandParser, Invocation, add_command, add_general, add_help, add_network
from pibuild.errors import PibuildError, UsageError

if TYPE_CHECKING:
    from pibuild.nightly.cells import Workshop
    from pibuild.nightly.model import Cell
    from pibuild.publishing.add_wheels import Offered
    from pibuild.publishing.model import PublishedSet
    from pibuild.publishing.publisher import Publisher

SUMMARY = "publish proven wheels; rollback, yank, unyank, undelete, check"
USAGE = "[put|rollback|yank|unyank|undelete|check] [OPTION...]"
EXAMPLES = ("pibuild publish", "pibuild publish check https://wheels.example.org/current")


def add_arguments(parser: CommandParser) -> None:
    """Add the actions of `publish`."""
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", prog="pibuild publish")
    add_help(parser)
    put = add_command(
        actions,
        "put",
        "publish what the store has proven; builds nothing (what `pibuild publish` does without an action)",
        "[OPTION...]",
        ["pibuild publish"],
    )
    add_network(put)
    rollback = add_command(
        actions, "rollback", "go back to an earlier set", "[SET] [OPTION...]", ["pibuild publish rollback"]
    )
    rollback.add_argument("set", nargs="?", metavar="SET", help="the set to go back to (default: the one before)")
    yank = add_command(
        actions,
        "yank",
        "mark a wheel so that pip installs it only if its version is asked for",
        "CELL|FILE --reason TEXT [OPTION...]",
        ['pibuild publish yank tflite-runtime-2.14.1-pi-one-3.11 --reason "crashes on a Zero"'],
    )
    yank.add_argument("wheel", metavar="CELL|FILE", help="a cell, for its newest wheel, or a wheel's file name")
    yank.add_argument("--reason", required=True, metavar="TEXT", help="why; pip shows it")
    unyank = add_command(
        actions,
        "unyank",
        "take a yank back",
        "CELL|FILE [OPTION...]",
        ["pibuild publish unyank tflite-runtime-2.14.1-pi-one-3.11"],
    )
    unyank.add_argument("wheel", metavar="CELL|FILE", help="a cell, for its newest wheel, or a wheel's file name")
    undelete = add_command(
        actions,
        "undelete",
        "bring back a wheel that retention took out of the index",
        "FILE [OPTION...]",
        ["pibuild publish undelete thing-1.0-cp311-cp311-linux_armv6l.whl"],
    )
    undelete.add_argument("wheel", metavar="FILE", help="the wheel's file name")
    check = add_command(
        actions,
        "check",
        "verify every file, hash, page and signature that is published",
        "URL|DIR [OPTION...]",
        ["pibuild publish check https://wheels.example.org/ --public-key pibuild.pub"],
    )
    check.add_argument("address", metavar="URL|DIR", help="where the site is published")
    check.add_argument("--public-key", metavar="PEM", help="the key that it must be signed with")
    for action in (put, rollback, yank, unyank, undelete):
        add_general(action)
    add_general(check, has_store=False)


def run(invocation: Invocation) -> int:
    """Do the action that was asked for, and bring the current set to its destinations."""
    args, console = invocation.args, invocation.console
    if args.action == "check":
        return _check(invocation)
    from pibuild.publishing.operations import current
    from pibuild.publishing.publisher import Publisher

    publisher = Publisher(invocation.settings, invocation.environ, console)
    made = _changed(invocation, publisher)
    published = made or current(publisher.site)
    if published is None:
        raise UsageError("There is nothing to publish", hint="pibuild nightly builds and proves the matrix first")
    publisher.push(published)
    text = f"{publisher.site}/current is {published.id}, {len(published.listed)} wheels"
    console.result(
        text if made else f"nothing changed: {text}",
        {"set": published.id, "made": made is not None, "why": published.why},
    )
    return 0


def _changed(invocation: Invocation, publisher: "Publisher") -> "PublishedSet | None":
    """Make the set that an action leads to; None if it is the current one."""
    from pibuild.publishing import operations

    args, now = invocation.args, datetime.now(UTC)
    match args.action:
        case "rollback":
            return operations.rollback(publisher.site, args.set, now=now, console=invocation.console)
        case "yank":
            return operations.yank(publisher.site, args.wheel, args.reason, **publisher.how(now))
        case "unyank":
            return operations.unyank(publisher.site, args.wheel, **publisher.how(now))
        case "undelete":
            return operations.undelete(publisher.site, args.wheel, **publisher.how(now))
        case _:
            offered, is_news = _gathered(invocation)
            return publisher.put(offered, "pibuild publish", now, anew=is_news)


def _gathered(invocation: Invocation) -> "tuple[list[Offered], bool]":
    """Return the wheels of the matrix that are proven, here or in the shared store; nothing is built.

    What other machines report of the cells goes into the history; the second value is true if that is news.
    """
    from pibuild.files import folder_errors
    from pibuild.nightly.cells import Workshop, announce, declared_nightly, open_history
    from pibuild.nightly.gather import gathered
    from pibuild.nightly.matrix import matrix

    settings, environ, console = invocation.settings, invocation.environ, invocation.console
    declared = declared_nightly(settings)
    logs_dir = Path(declared.state).absolute() / "logs"
    with closing(Workshop(settings, environ, console)) as workshop, closing(open_history(settings, console)) as history:
        cells = matrix(declared, workshop.catalogue.recipes, workshop.catalogue.targets)
        with folder_errors(logs_dir):
            logs_dir.mkdir(parents=True, exist_ok=True)
        if night := gathered(cells, workshop.remote, history, logs_dir):
            history.put(night)
            announce(night, declared, environ, console)
        offered = [wheel for cell in cells for wheel in _offered(cell, workshop, invocation)]
    return offered, night is not None and any(outcome.status != "unchanged" for outcome in night.outcomes)


def _offered(cell: "Cell", workshop: "Workshop", invocation: Invocation) -> "tuple[Offered, ...]":
    from pibuild.publishing.add_wheels import offered_of

    try:
        entry = workshop.proven(workshop.decide(cell).plan)
    except PibuildError as error:
        invocation.console.warn(f"{cell.id}: {error}")
        return ()
    if entry is None:
        invocation.console.note(f"{cell.id} has no proven wheel: its published wheels stay")
        return ()
    return tuple(offered_of(cell, entry))


def _check(invocation: Invocation) -> int:
    """Verify everything that is published at an address."""
    from pibuild.adapters.http import Http
    from pibuild.publishing import signature
    from pibuild.publishing.check import check_site

    args, console = invocation.args, invocation.console
    key = signature.load_public_key(Path(args.public_key)) if args.public_key else None
    with console.step(f"checking {args.address}") as step:
        http = Http(invocation.environ, note=console.note)
        whole = check_site(args.address, http, public_key=key, progress=step.progress)
    signed = "signed by this key" if whole.is_signed else "signatures not checked: --public-key"
    console.result(
        f"the set {whole.set_id} is whole: {whole.wheels} wheels, {whole.files} files, {signed}",
        {"set": whole.set_id, "wheels": whole.wheels, "files": whole.files, "is_signed": whole.is_signed},
    )
    return 0
