"""The command line: argv to a command and its settings, errors to exit codes."""

import io
import os
import shlex
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import TracebackType

from pibuild import __version__
from pibuild.commands.grammar import find_command, parse, with_release
from pibuild.commands.options import CommandParser, Invocation, add_command, add_help
from pibuild.console import Color, Console, discard_output
from pibuild.errors import PibuildError, ProofError, UsageError
from pibuild.signals import INTERRUPTED, raise_interrupts
from pibuild.urls import Address, redacted

_EXIT_UNREAD = 141
"""The exit code that a shell reports for a program that was ended by SIGPIPE."""
_FINAL = (UsageError.exit_code, ProofError.exit_code)
"""Exit codes of errors that would occur again with the same command."""
_TRUE = ("1", "true", "yes", "on", "t", "y")
"""How PIBUILD_JSON may be set to true; errors that come before the settings are read are JSON, too."""

_NAMES = (
    "build",
    "plan",
    "fetch",
    "list",
    "verify",
    "retag",
    "run",
    "nightly",
    "publish",
    "worker",
    "doctor",
    "shell",
    "clean",
    "lock",
    "schema",
    "completion",
)
COMMANDS = {name: import_module(f"pibuild.commands.{name}") for name in _NAMES}
"""The module of each command, with SUMMARY, USAGE, EXAMPLES, add_arguments() and run(). The first is the default."""
EXIT_CODES = {
    0: "done",
    1: "a bug in pibuild",
    2: "wrong input",
    3: "nightly: nothing to do",
    4: "no Docker engine",
    5: "a source is missing",
    6: "an image failed",
    7: "a build failed",
    8: "out of memory, disk or time",
    9: "a verification or proof failed",
    10: "the store failed",
    11: "nightly: some cells failed, or an artifact differs when it is built again",
    12: "publishing failed, or the published set is damaged",
    13: "verify: no wheel fails, but a verdict is unsure",
    INTERRUPTED: "interrupted",
    141: "broken pipe",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Every PibuildError is caught here."""
    words, environ = list(sys.argv[1:] if argv is None else argv), dict(os.environ)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # the shell closed it: `2>&-`
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  open until the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # the terminal's encoding may lack a character of a file name
    if argv is None:
        raise_interrupts()
        sys.excepthook = _print_bug
    own = words[: words.index("--")] if "--" in words else words
    as_json = "--json" in own or environ.get("PIBUILD_JSON", "").strip().lower() in _TRUE
    console, invocation = Console(as_json=as_json, color=_color("auto", environ)), None
    try:
        invocation = _invocation(own, words[len(own) + 1 :], environ, console)
        if invocation is None:
            return 0
        console = invocation.console
        return int(COMMANDS[invocation.args.command].run(invocation))
    except PibuildError as error:
        console.error(error, _next_commands(error, words, invocation))
        return error.exit_code
    except KeyboardInterrupt:
        with suppress(OSError):
            console.warn("interrupted; the same command continues where this one stopped")
        return INTERRUPTED
    except BrokenPipeError:  # from stderr: Console.result handles that of stdout
        discard_output(sys.stderr)
        return _EXIT_UNREAD


def _next_commands(error: PibuildError, words: Sequence[str], invocation: Invocation | None) -> dict[str, str]:
    """Return commands to type after an error: the same one if it may succeed later, a shell in a failed container."""
    commands = {}
    if invocation and error.exit_code not in _FINAL:
        commands["again"] = shlex.join(["pibuild", *map(_without_secrets, words)])
    if invocation and error.container and hasattr(invocation.args, "recipe"):  # `run`, `verify` and `nightly` have none
        commands["shell"] = shlex.join(["pibuild", "shell", *_selection(invocation)])
    return commands


def _selection(invocation: Invocation) -> Iterator[str]:
    """Yield the command's options that `pibuild shell` takes, too, except for those that only change the output."""
    for action in dict.fromkeys(invocation.parser.commands["shell"].options.values()):
        value = getattr(invocation.args, action.dest, None)
        if value is not None and action.dest not in ("json", "quiet", "verbose", "color"):
            option = action.option_strings[-1]
            for item in value if isinstance(value, list) else [value]:
                yield from [option] if item is True else [option, _without_secrets(str(item))]


def _without_secrets(word: str) -> str:
    """Return a word of the command line as it may be printed; it may have an address behind `=`."""
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return f"{option}{equals}{Address(value)}"


def _print_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of a bug. Errors of libraries in it have whole URLs."""
    import traceback

    sys.stderr.write(redacted("".join(traceback.format_exception(kind, error, trace))))


def make_parser() -> CommandParser:
    """Return pibuild's parser, which has a parser for each command and for each action of a command."""
    exit_codes = "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items())
    exit_codes = textwrap.fill(exit_codes, 78, initial_indent="  ", subsequent_indent="  ")
    parser = CommandParser(
        prog="pibuild",
        usage="pibuild [COMMAND] [OPTION...]",
        summary="build LiteRT and TensorFlow wheels for the Raspberry Pi, proven by emulation",
        examples=("pibuild --target pi-one --python 3.11",),
        epilog=f"`pibuild COMMAND --help` shows a command's options and examples.\n\nexit codes:\n{exit_codes}",
    )
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", prog="pibuild")
    for name, command in COMMANDS.items():
        command.add_arguments(add_command(commands, name, command.SUMMARY, command.USAGE, command.EXAMPLES))
    add_help(parser).add_argument(
        "-V", "--version", action="version", version=__version__, help="print pibuild's version"
    )
    return parser


def _invocation(
    own: Sequence[str], last_words: list[str], environ: dict[str, str], console: Console
) -> Invocation | None:
    """Return the typed command with its settings; None if help or the version was printed instead.

    `own` are the words before `--`, `last_words` those after it.
    """
    words = with_release(own, console.warn)
    root = make_parser()
    parser, words = find_command(words, root)
    if "-h" in words or "--help" in words:
        Console(out=console.out).result(parser.format_help().rstrip(), None)
        return None
    if "-V" in words or "--version" in words:
        console.result(f"pibuild {__version__}", {"version": __version__})
        return None
    args = parse(parser, words, last_words, root)
    from pibuild.config.settings import Settings
    from pibuild.config.settings_sources import load_settings

    settings = Settings()
    if hasattr(args, "config"):  # `completion` and `schema` read no settings
        settings = load_settings(vars(args), environ, _current_folder(), console.warn)
    console = Console(
        verbose=settings.verbose,
        quiet=settings.quiet,
        as_json=settings.json,
        fold=environ.get("GITHUB_ACTIONS") == "true",
        color=_color(settings.color, environ),
    )
    return Invocation(args=args, parser=root, settings=settings, environ=environ, console=console)


def _color(setting: Color, environ: Mapping[str, str]) -> Color:
    """Return the setting; `auto` becomes `never` if the environment forbids colors (no-color.org)."""
    is_forbidden = environ.get("NO_COLOR") or environ.get("TERM") == "dumb"
    return "never" if setting == "auto" and is_forbidden else setting


def _current_folder() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        hint = "cd to a folder that exists"
        raise UsageError("The current folder is gone", found=error.strerror or "", hint=hint) from error
