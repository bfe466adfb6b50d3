"""`pibuild publish`: publish what is proven, go back to an earlier set, yank wheels, check what is published."""

from pathlib import Path
from typing import TYPE_CHECKING

from pibuild.commands.nightly import (
    Publication,
    has_news,
    made_state_dir,
    nightly_settings,
    open_builder,
    open_publication,
    publish_wheels,
    report,
)
from pibuild.commands.options import CommandParser, Invocation, add_command, add_general, add_help, add_network
from pibuild.errors import PibuildError, UsageError

if TYPE_CHECKING:
    from pibuild.model import Cell
    from pibuild.nightly.cells import CellBuilder
    from pibuild.publishing.add_wheels import ProvenWheel
    from pibuild.publishing.model import PublishedSet

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
        "WHEEL --reason TEXT [OPTION...]",
        ['pibuild publish yank tflite-runtime-2.14.1-pi-one-3.11 --reason "crashes on a Zero"'],
    )
    yank.add_argument("wheel", metavar="WHEEL", help="a cell, for its newest wheel, or a wheel's file name")
    yank.add_argument("--reason", required=True, metavar="TEXT", help="why; pip shows it")
    unyank = add_command(
        actions,
        "unyank",
        "take a yank back",
        "WHEEL [OPTION...]",
        ["pibuild publish unyank tflite-runtime-2.14.1-pi-one-3.11"],
    )
    unyank.add_argument("wheel", metavar="WHEEL", help="a cell, for its newest wheel, or a wheel's file name")
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
        "SITE [OPTION...]",
        ["pibuild publish check https://wheels.example.org/ --public-key pibuild.pub"],
    )
    check.add_argument("address", metavar="SITE", help="the site's URL or folder")
    check.add_argument("--public-key", metavar="PEM", help="the key that it must be signed with")
    for action in (put, rollback, yank, unyank, undelete):
        add_general(action)
    add_general(check, has_store=False)


def run(invocation: Invocation) -> int:
    """Do an action, and copy the current set to its destinations."""
    if invocation.args.action == "check":
        return _check(invocation)
    from pibuild.publishing.operations import current

    publication = open_publication(invocation)
    folder = publication.site.folder
    changed = _changed(invocation, publication)
    published = changed or current(folder)
    if published is None:
        raise UsageError("There is nothing to publish", hint="pibuild nightly builds and proves the matrix")
    publication.uploader.push(folder, published)
    text = f"{folder}/current is {published.id}, {len(published.listed)} wheels"
    invocation.console.result(
        text if changed else f"nothing changed: {text}",
        {"set": published.id, "made": changed is not None, "why": published.why},
    )
    return 0


def _changed(invocation: Invocation, publication: Publication) -> "PublishedSet | None":
    """Do an action and return the set that is current then; None if it was current before."""
    from pibuild.publishing import operations

    args, site = invocation.args, publication.site
    match args.action:
        case "rollback":
            return operations.rollback(site, args.set)
        case "yank":
            return operations.yank(site, args.wheel, args.reason)
        case "unyank":
            return operations.unyank(site, args.wheel)
        case "undelete":
            return operations.undelete(site, args.wheel)
        case _:
            wheels, is_news = _gathered(invocation)
            return publish_wheels(publication, wheels, "pibuild publish", anew=is_news)


def _gathered(invocation: Invocation) -> "tuple[list[ProvenWheel], bool]":
    """Return the proven wheels of the matrix, from the store or the shared store; nothing is built.

    Outcomes of other machines are recorded as a night; the second value is true if they change the page.
    """
    from pibuild.nightly.gather import gathered
    from pibuild.nightly.history import History
    from pibuild.nightly.matrix import matrix

    declared = nightly_settings(invocation.settings)
    state_dir = made_state_dir(declared)
    history = History(state_dir)
    with open_builder(invocation) as (catalogue, context, builder):
        cells = matrix(declared, catalogue.recipes, catalogue.targets)
        if night := gathered(cells, context.remote, history, state_dir / "logs"):
            history.put(night)
            report(night, state_dir, declared, invocation)
        wheels = [wheel for cell in cells for wheel in _proven(cell, builder, invocation)]
    return wheels, night is not None and has_news(night)


def _proven(cell: "Cell", builder: "CellBuilder", invocation: Invocation) -> "tuple[ProvenWheel, ...]":
    from pibuild.publishing.add_wheels import proven_wheels

    try:
        entry = builder.proven(builder.plan(cell).plan)
    except PibuildError as error:
        invocation.console.warn(f"{cell.id}: {error}")
        return ()
    if entry is None:
        invocation.console.note(f"{cell.id} has no proven wheel: its published wheels stay")
        return ()
    return tuple(proven_wheels(cell, entry))


def _check(invocation: Invocation) -> int:
    """Check every published file at an address."""
    from pibuild.adapters.http import Http
    from pibuild.publishing import signature
    from pibuild.publishing.check import check_site

    args, console = invocation.args, invocation.console
    key = signature.load_public_key(Path(args.public_key)) if args.public_key else None
    with console.step(f"checking {args.address}") as step:
        http = Http(invocation.environ, note=console.note)
        checked = check_site(args.address, http, public_key=key, progress=step.progress)
    signed = "signed by this key" if checked.is_signed else "signature not checked (--public-key)"
    console.result(
        f"the set {checked.set_id} is complete: {checked.wheels} wheels, {checked.files} files, {signed}",
        {"set": checked.set_id, "wheels": checked.wheels, "files": checked.files, "is_signed": checked.is_signed},
    )
    return 0
