"""`pibuild publish`: publish what is proven, go back to an earlier set, yank wheels, check what is published."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pibuild.commands.options import (
    CommandParser,
    Invocation,
    add_command,
    add_general,
    add_help,
    add_network,
    refuse_idle,
)
from pibuild.errors import PibuildError, UsageError

if TYPE_CHECKING:
    from pibuild.publishing.add_wheels import ProvenWheel

SUMMARY = "publish proven wheels as a package index for pip, correct it, check it"
USAGE = "[put|rollback|yank|unyank|undelete|check] [OPTION...]"
EXAMPLES = ("pibuild publish", "pibuild publish check https://wheels.example.org/")
_CELL = "tflite-runtime-2.14.1-pi-one-3.11"


def add_arguments(parser: CommandParser) -> None:
    """Add the actions of `publish`."""
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", prog="pibuild publish")
    add_help(parser)
    summary = "publish the proven wheels of the store, without building (`pibuild publish` alone does this)"
    put = add_command(actions, "put", summary, "[OPTION...]", ["pibuild publish"])
    add_network(put)
    examples = ["pibuild publish rollback"]
    rollback = add_command(actions, "rollback", "publish an earlier set again", "[SET] [OPTION...]", examples)
    rollback.add_argument("set", nargs="?", metavar="SET", help="name of the set (default: the one before)")
    summary = "mark a wheel so that pip installs it only if its version is pinned"
    examples = [f'pibuild publish yank {_CELL} --reason "crashes on a Zero"']
    yank = add_command(actions, "yank", summary, "WHEEL --reason TEXT [OPTION...]", examples)
    yank.add_argument("wheel", metavar="WHEEL", help="file name of a wheel, or a cell (its newest wheel)")
    yank.add_argument("--reason", required=True, metavar="TEXT", help="the reason, which pip shows")
    examples = [f"pibuild publish unyank {_CELL}"]
    unyank = add_command(actions, "unyank", "remove the mark of a yanked wheel", "WHEEL [OPTION...]", examples)
    unyank.add_argument("wheel", metavar="WHEEL", help="file name of a wheel, or a cell (its newest wheel)")
    summary = "bring back a wheel that retention removed from the index"
    examples = ["pibuild publish undelete thing-1.0-cp311-cp311-linux_armv6l.whl"]
    undelete = add_command(actions, "undelete", summary, "FILE [OPTION...]", examples)
    undelete.add_argument("wheel", metavar="FILE", help="the wheel's file name")
    summary = "verify every file, hash, page and signature of the published set"
    examples = ["pibuild publish check https://wheels.example.org/ --public-key pibuild.pub --state seen.json"]
    check = add_command(actions, "check", summary, "SITE [OPTION...]", examples)
    check.add_argument("address", metavar="SITE", help="URL or folder of the site: the one that has current/")
    check.add_argument("--public-key", metavar="PEM", help="public key with which the set must be signed")
    text = "remember the newest set in this file, and refuse an older one (needs --public-key)"
    check.add_argument("--state", metavar="FILE", help=text)
    for action in (put, rollback, yank, unyank, undelete):
        add_general(action)
    add_general(check, has_store=False)


def run(invocation: Invocation) -> int:
    """Do an action, and copy the current set to its destinations."""
    if invocation.args.action == "check":
        return _check(invocation)
    from pibuild.commands.publication import open_publication, publish_wheels
    from pibuild.publishing import operations

    args = invocation.args
    site, uploader = open_publication(invocation)
    match args.action:
        case "yank":
            changed = operations.yank(site, args.wheel, args.reason)
        case "rollback":
            changed = operations.rollback(site, args.set)
        case "unyank":
            changed = operations.unyank(site, args.wheel)
        case "undelete":
            changed = operations.undelete(site, args.wheel)
        case _:
            wheels, is_news = _gathered(invocation)
            changed = publish_wheels(site, uploader, wheels, "pibuild publish", anew=is_news)
    published = changed or operations.current(site.folder)
    if published is None:
        raise UsageError("There is nothing to publish", hint="pibuild nightly builds and proves the matrix")
    if args.action != "put":
        uploader.push(site.folder, published)
    text = f"{site.folder}/current is {published.id}, {len(published.listed)} wheels"
    invocation.console.result(
        text if changed else f"nothing changed: {text}",
        {"set": published.id, "made": changed is not None, "why": published.why},
    )
    return 0


def _gathered(invocation: Invocation) -> "tuple[list[ProvenWheel], bool]":
    """Return the proven wheels of the matrix, from the store or the shared store; nothing is built.

    Outcomes of other machines are recorded as a night; the second value is true if they change the page.
    """
    from pibuild.commands.publication import history_of, nightly_settings, open_builder, report
    from pibuild.nightly.gather import gathered
    from pibuild.nightly.matrix import matrix
    from pibuild.publishing.add_wheels import proven_wheels

    console, history = invocation.console, history_of(invocation.settings)
    wheels: list[ProvenWheel] = []
    now = datetime.now(UTC)
    is_signed = bool(invocation.settings.publish and invocation.settings.publish.key)
    with open_builder(invocation) as builder:
        catalogue = builder.catalogue
        cells = matrix(nightly_settings(invocation.settings), catalogue.recipes, catalogue.targets)
        if night := gathered(cells, builder.context.remote, history, console, is_for_signing=is_signed, now=now):
            history.put(night)
            report(night, history, invocation)
        for cell in cells:
            try:
                plan, _ = builder.plan(cell)
                if entry := builder.proven(plan):
                    wheels += proven_wheels(cell, entry)
                else:
                    console.note(f"{cell.id} has no proven wheel: its published wheels stay")
            except PibuildError as error:
                console.warn(f"{cell.id}: {error}")
    return wheels, night is not None and not night.is_unchanged


def _check(invocation: Invocation) -> int:
    """Check every published file at an address."""
    from pibuild.adapters.http import Http
    from pibuild.publishing.check import check_site
    from pibuild.signing import key_files
    from pibuild.urls import Address

    args, console = invocation.args, invocation.console
    if not args.public_key:
        refuse_idle(invocation, ["state"], "--public-key")
    key = key_files.load_public_key(Path(args.public_key)) if args.public_key else None
    with console.step(f"checking {Address(args.address)}") as step:
        http = Http(invocation.environ, note=console.note)
        state_path = Path(args.state) if args.state else None
        now = datetime.now(UTC)
        checked = check_site(args.address, http, now=now, public_key=key, state_path=state_path, progress=step.progress)
    signed = (
        f"number {checked.number}, signed by this key, valid until {checked.expires}"
        if key
        else "hashes only; its signature was not checked, which needs --public-key"
    )
    facts = {"set": checked.set_id, "wheels": checked.wheels, "files": checked.files, "is_signed": key is not None}
    facts |= {"number": checked.number, "made": checked.made, "expires": checked.expires, "checked": signed}
    console.result(
        f"the set {checked.set_id} is complete: {checked.wheels} wheels, {checked.files} files, {signed}", facts
    )
    return 0
