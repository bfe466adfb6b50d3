"""`pibuild verify`: what a wheel of any origin contains, and where it runs."""

import re
from typing import TYPE_CHECKING, Any

from pibuild.commands.options import (
    CommandParser,
    Invocation,
    add_build_options,
    add_options,
    refuse_idle,
    wheel_path,
)
from pibuild.errors import PibuildError, ProofError, UsageError, collected, raise_all

if TYPE_CHECKING:
    from pathlib import Path

    from packaging.version import Version

    from pibuild.verify.report import Inspection

SUMMARY = "check any wheel: what it contains, and on which Pis, systems and Pythons it runs"
USAGE = "WHEEL... [OPTION...]"
EXAMPLES = (
    "pibuild verify grpcio-1.66.2-cp311-cp311-linux_armv7l.whl",
    "pibuild verify *.whl --target pi-one --floor 2.28 --json",
    "pibuild verify thing.whl --run --target pi-two --python 3.11",
)
_ONLY_WITH_RUN = ("run_command", "python", "recipe", "release", "mirrors", "jobs", "memory", "deadline", "store")
"""Options without effect on a wheel that is only read; --offline is always obeyed."""


def add_arguments(parser: CommandParser) -> None:
    """Add the options of `verify`."""
    parser.add_argument("wheels", nargs="+", metavar="WHEEL", help="path of a wheel")
    group = parser.add_argument_group("requirements")
    add_options(group, "--target")
    group.add_argument("--floor", type=_glibc, metavar="F", help="oldest glibc that wheels must run with, such as 2.28")
    group = parser.add_argument_group("test on the emulated Pi: all of these, and limits and mirrors, only with --run")
    group.add_argument("--run", action="store_true", help="also install and import the wheels; needs Docker")
    group.add_argument("--run-command", metavar="CODE", help="Python code to run after the import")
    add_options(group, "--python")
    group.add_argument("--recipe", metavar="R", help="also install the packages this recipe is proven with")
    add_options(group, "--release")
    add_build_options(parser)


def run(invocation: Invocation) -> int:
    """Verify wheels; print the result of each as soon as it is known, or with --json all in one document.

    Returns 0 if each wheel's tags are true and it runs on the target (without a target: on some Pi), else 9. After the
    last result, raises UsageError if files can't be read; if no file can be, there is no result.
    """
    from packaging.version import Version

    from pibuild.verify.text import as_facts, as_text

    args, console = invocation.args, invocation.console
    tag, floor = _requirements(invocation), Version(args.floor) if args.floor else None
    facts: list[dict[str, Any]] = []
    is_good, errors = True, list[PibuildError]()
    for word in args.wheels:
        try:
            path = wheel_path(word)
            inspection = _inspected(path, tag, floor)
        except UsageError as error:
            errors.append(error)
            continue
        text, facts = as_text(inspection), [*facts, as_facts(inspection)]
        is_good = is_good and not inspection.faults and bool(inspection.runs_on or tag)
        if args.run:
            result = _run_on_device(path, inspection, invocation)
            text, facts[-1]["device"] = f"{text}\n  on the emulated Pi: {result['said']}", result
            is_good = is_good and result["ok"]
        del inspection  # it holds the unpacked wheel: free that memory before the next one is read
        if not console.as_json:
            console.result(text, None)
    if console.as_json and facts:
        console.result("", {"wheels": facts})
    raise_all(errors, f"{len(errors)} of {len(args.wheels)} files failed")
    return 0 if is_good else ProofError.exit_code


def _requirements(invocation: Invocation) -> str | None:
    """Return the platform tag that wheels must be for; None without a target.

    Raises UsageError with everything that is wrong in the settings, before any wheel is read.
    """
    from pibuild.build.catalogue import load_catalogue, requested_wheel
    from pibuild.config.project_files import project_folder
    from pibuild.config.targets import find_target, load_targets

    args, settings = invocation.args, invocation.settings
    tag, errors = None, list[PibuildError]()
    with collected(errors):
        if args.run:
            catalogue = load_catalogue()
            tag = catalogue.plan(requested_wheel(catalogue, settings)).target.platform_tag
        else:
            refuse_idle(invocation, _ONLY_WITH_RUN, "--run")
    with collected(errors):
        if settings.target is not None and not args.run:
            tag = find_target(settings.target, load_targets(project_folder("toolchains"))).platform_tag
    raise_all(errors)
    return tag


def _glibc(text: str) -> str:
    if re.fullmatch(r"\d+\.\d+", text):
        return text
    raise UsageError(f"{text!r} is not a version of glibc", hint="--floor 2.28")


def _inspected(path: "Path", platform_tag: str | None, floor: "Version | None") -> "Inspection":
    """Inspect a wheel; a requirement that it does not fulfil is a fault, too."""
    from dataclasses import replace

    from pibuild.verify.report import inspect, misses

    try:
        inspection = inspect(path)
    except OSError as error:
        hint = "its permissions, or another copy of it"
        raise UsageError(f"{path} can't be read", found=error.strerror or str(error), hint=hint) from error
    missed = misses(inspection, platform_tag=platform_tag, floor=floor)
    return replace(inspection, faults=(*inspection.faults, *missed))


def _run_on_device(path: "Path", inspection: "Inspection", invocation: Invocation) -> dict[str, Any]:
    """Install and import a wheel on the device of the settings' target and Python."""
    from pibuild.build.catalogue import load_catalogue, requested_plan
    from pibuild.build.context import open_context
    from pibuild.build.schedule import try_on_device

    if inspection.faults and not inspection.pis:
        return {"ok": False, "said": "not tried: this is not a valid wheel"}
    with open_context(invocation.settings, invocation.environ, invocation.console) as context:
        plan, code = requested_plan(load_catalogue(), context), invocation.args.run_command or ""
        try:
            try_on_device(path, plan, context, imports=inspection.modules, code=code)
        except ProofError as error:
            return {"ok": False, "said": error.what, "details": list(error.details)}
    return {"ok": True, "said": f"installed by pip of Python {plan.python} and imported on {plan.target.device_cpu}"}
