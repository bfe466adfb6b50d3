"""`pibuild verify`: on which Pis, releases of Raspberry Pi OS and Pythons a wheel of any origin runs."""

import re
from typing import TYPE_CHECKING, Any

from pibuild.commands.options import (
    CommandParser,
    Invocation,
    add_general,
    add_options,
    refuse_idle,
    wheel_path,
)
from pibuild.errors import PibuildError, ProofError, UsageError, collected, raise_all

if TYPE_CHECKING:
    from pathlib import Path

    from packaging.version import Version

    from pibuild.verify.judge import Question, Verification

SUMMARY = "show on which Pis, systems and Pythons any wheel runs"
USAGE = "WHEEL... [OPTION...]"
EXAMPLES = (
    "pibuild verify grpcio-1.66.2-cp311-cp311-linux_armv7l.whl",
    "pibuild verify *.whl --target pi-one --python 3.11 --json",
    "pibuild verify thing.whl --model pi-4-b --bits 64 --os bookworm --run",
)
UNSURE_EXIT_CODE = 13
"""No wheel fails at a place that was asked about, but a verdict is unsure."""
_ONLY_WITH_RUN = ("run_command", "mirrors", "images", "snapshot", "jobs", "memory", "deadline", "store")
"""Options without effect on a wheel that is only read; --offline is always obeyed."""


def add_arguments(parser: CommandParser) -> None:
    """Add the options of `verify`."""
    parser.add_argument("wheels", nargs="+", metavar="WHEEL", help="path of a wheel")
    group = parser.add_argument_group("where it must run (default: wherever pip installs it)")
    add_options(group, "--target", "--python")
    group.add_argument("--model", metavar="M", help="board, such as pi-4-b")
    group.add_argument("--os", metavar="RELEASE", help="release of Raspberry Pi OS, such as bookworm")
    help_text = "bits of the system: 32 or 64 (default: both)"
    group.add_argument("--bits", choices=("32", "64"), metavar="N", help=help_text)
    group.add_argument("--floor", type=_glibc, metavar="F", help="oldest glibc that wheels must run with, such as 2.28")
    group = parser.add_argument_group("test on the emulated Pi (the other options need --run)")
    group.add_argument("--run", action="store_true", help="also install and import the wheels; needs Docker")
    group.add_argument("--run-command", metavar="CODE", help="Python code to run after the import")
    add_options(group, "--mirrors", "--images", "--snapshot", "--jobs", "--memory", "--deadline")
    add_options(parser.add_argument_group("network"), "--offline")
    add_general(parser)


def run(invocation: Invocation) -> int:
    """Verify wheels. Print each result at once, or with --json all results in one document.

    Returns 0 if each wheel runs at each place that was asked for, 9 if one fails at one of them, else 13. After the
    last result, raises UsageError if files can't be read. If no file can be read, no result is printed.
    """
    from pibuild.verify.judge import worst_of
    from pibuild.verify.text import COLUMNS, MARKS, SCHEMA_VERSION, WORDS, as_facts, as_text

    args, console = invocation.args, invocation.console
    question, floor = _requirements(invocation)
    marks, columns = (MARKS if console.shows(*MARKS.values()) else WORDS), None if console.verbose else COLUMNS
    facts: list[dict[str, Any]] = []
    answers, errors = set[str](), list[PibuildError]()
    for word in args.wheels:
        try:
            path = wheel_path(word)
            verification = _verified(path, floor)
        except UsageError as error:
            errors.append(error)
            continue
        if args.run:
            verification = _tried(path, verification, question, invocation)
        asked = verification.asked(question)
        answers.add(worst_of(asked))
        facts.append(as_facts(verification, asked))
        if not console.as_json:
            console.result(as_text(verification.about(question), marks=marks, columns=columns), None)
        del verification, asked  # they hold the unpacked wheel: free that memory before the next one is read
    if console.as_json and facts:
        console.result("", {"schema": SCHEMA_VERSION, "wheels": facts})
    raise_all(errors, f"{len(errors)} of {len(args.wheels)} files failed")
    return ProofError.exit_code if "fails" in answers else UNSURE_EXIT_CODE if "unsure" in answers else 0


def _requirements(invocation: Invocation) -> "tuple[Question, Version | None]":
    """Return the places that are asked about, and the oldest glibc; None if none is required.

    Raises UsageError with everything that is wrong in the options, before any wheel is read.
    """
    from packaging.version import Version

    from pibuild.config.pis import load_pis
    from pibuild.config.project_files import project_folder
    from pibuild.config.python_versions import refuse_free_threaded
    from pibuild.config.targets import find_target, load_targets
    from pibuild.verify.judge import Question

    args, settings, places = invocation.args, invocation.settings, load_pis().places
    target, errors = "", list[PibuildError]()
    with collected(errors):
        if not args.run:
            refuse_idle(invocation, _ONLY_WITH_RUN, "--run")
    with collected(errors):
        if settings.target is not None:
            target = find_target(settings.target, load_targets(project_folder("toolchains"))).name
    cpus = {model.name: model.cpu.name for model in load_pis().models}
    releases = [system.name for system in load_pis().systems]
    pythons = list(dict.fromkeys(place.python.version for place in places))
    for option, value, known, what in (
        ("--model", args.model, list(cpus), "there is no such board"),
        ("--os", args.os, releases, "no Raspberry Pi OS has it"),
        ("--python", settings.python, pythons, "no Raspberry Pi OS has it"),
    ):
        with collected(errors):
            if value is not None and value not in known:
                if option == "--python":
                    refuse_free_threaded(value)
                raise UsageError(f"{option} {value}: {what}", hint=f"one of {', '.join(known)}")
    raise_all(errors)
    question = Question(
        target=target,
        python=settings.python or "",
        release=args.os or "",
        cpu=cpus.get(args.model, ""),
        bits=int(args.bits or 0),
    )
    if not any(question.names(place) for place in places):
        given = (("target", target), ("model", args.model), ("os", args.os), ("bits", args.bits))
        options = [f"--{name} {value}" for name, value in (*given, ("python", settings.python)) if value]
        hint = "leave out one of these options; then the table has `-` where a release does not exist for a Pi"
        raise UsageError(f"No Pi has all of this: {' '.join(options)}", hint=hint)
    return question, Version(args.floor) if args.floor else None


def _glibc(text: str) -> str:
    if re.fullmatch(r"\d+\.\d+", text):
        return text
    raise UsageError(f"{text!r} is not a version of glibc", hint="--floor 2.28")


def _verified(path: "Path", floor: "Version | None") -> "Verification":
    from pibuild.verify.judge import judge

    try:
        return judge(path, floor=floor)
    except OSError as error:
        hint = "check its permissions, or use another copy"
        raise UsageError(f"{path} can't be read", found=error.strerror or str(error), hint=hint) from error


def _tried(path: "Path", verification: "Verification", question: "Question", invocation: Invocation) -> "Verification":
    """Return the verification with the results of emulated Pis, at places where a trial can change the verdict."""
    from pibuild.build.catalogue import load_catalogue
    from pibuild.build.context import open_context
    from pibuild.emulate.trials import device_outcomes, obstacles
    from pibuild.emulate.unsettled_modules import unsettled_modules
    from pibuild.wheels.wheel import read_wheel

    asked = [verdict for verdict in verification.asked(question) if verdict.is_worth_a_trial]
    if not asked:
        return verification
    wheel = read_wheel(path)
    places = [verdict.place for verdict in asked]
    findings = [finding for verdict in asked for finding in verdict.findings]
    needed = frozenset(name for binary in verification.binaries for name in binary.elf.needed)
    with open_context(invocation.settings, invocation.environ, invocation.console) as context:
        outcomes = device_outcomes(
            path,
            wheel,
            places,
            context,
            load_catalogue(),
            modules=verification.modules,
            unsettled=unsettled_modules(wheel, verification.binaries, findings),
            sonames=needed,
            code=invocation.args.run_command or "",
        )
    return verification.tried(outcomes, obstacles(places, invocation.settings.raspbian))
