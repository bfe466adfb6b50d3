"""`pibuild retag`: another Python or platform tag for a wheel."""

import re
from typing import TYPE_CHECKING

from pibuild.commands.options import CommandParser, Invocation, add_general, add_options, refuse_idle, wheel_path
from pibuild.config.python_versions import refuse_free_threaded
from pibuild.errors import PibuildError, UsageError, raise_all

if TYPE_CHECKING:
    from pathlib import Path

SUMMARY = "change a wheel's Python or platform tag if its contents fit"
USAGE = "WHEEL... [--python V] [--platform P] [OPTION...]"
EXAMPLES = ("pibuild retag thing-1.0-cp311-cp311-linux_armv7l.whl --platform linux_armv6l",)


def add_arguments(parser: CommandParser) -> None:
    """Add the options of `retag`."""
    parser.add_argument("wheels", nargs="+", metavar="WHEEL", help="path of a wheel")
    group = parser.add_argument_group("the new tag")
    group.add_argument("--python", metavar="V", help="Python of the new tag, such as 3.11")
    group.add_argument("--platform", metavar="P", help="new platform tag, such as linux_armv6l")
    group.add_argument(
        "--accept-abi-risk",
        action="store_true",
        help="allow a Python that the wheel was not compiled for; its metadata says so",
    )
    add_options(parser.add_argument_group("output"), "--output")
    add_general(parser, has_store=False)


def run(invocation: Invocation) -> int:
    """Write the new wheels into the output folder; the errors of all wheels are raised at the end."""
    args, settings, console = invocation.args, invocation.settings, invocation.console
    if settings.python is None and args.platform is None:
        raise UsageError("pibuild retag needs a new tag", hint="set --python 3.11, --platform linux_armv6l, or both")
    if settings.python is None:
        refuse_idle(invocation, ("accept_abi_risk",), "--python")
    refuse_free_threaded(settings.python)
    if not re.fullmatch(r"[23]\.\d{1,2}", settings.python or "3.0"):
        raise UsageError(f"{settings.python!r} is not a version of Python", hint="--python 3.11")
    if not re.fullmatch(r"\w+", args.platform or "any"):
        raise UsageError(f"{args.platform!r} is not a platform tag", hint="--platform linux_armv6l")
    made, errors = list[str](), list[PibuildError]()
    for word in args.wheels:
        try:
            made.append(str(_relabelled(wheel_path(word), invocation)))
        except PibuildError as error:
            errors.append(error)
    if made:
        console.result("\n".join(made), [{"path": path} for path in made])
    raise_all(errors, f"{len(errors)} of {len(args.wheels)} files failed")
    return 0


def _relabelled(path: "Path", invocation: Invocation) -> "Path":
    from pathlib import Path

    from pibuild.files import folder_errors
    from pibuild.verify.retag_claim import retagged_wheel
    from pibuild.wheels.wheel import write_wheel

    args, settings, out_dir = invocation.args, invocation.settings, Path(invocation.settings.output)
    wheel = retagged_wheel(path, python=settings.python, platform=args.platform, accept_abi_risk=args.accept_abi_risk)
    with folder_errors(out_dir):
        try:
            return write_wheel(wheel, out_dir)
        except FileExistsError as error:
            raise UsageError(f"{out_dir} is not a folder", found=str(error), hint="choose another --output") from error
