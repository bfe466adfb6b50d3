"""The command line: argv to a command and its settings, errors to exit codes."""

import argparse
import io
import os
import shlex
import signal
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from pibuild import __version__
from pibuild.commands import (
    build,
    clean,
    completion,
    doctor,
    fetch,
    nightly,
    plan,
    publish,
    retag,
    run,
    schema,
    shell,
    verify,
)
from pibuild.commands import list as list_
from pibuild.commands.options import CommandParser, Invocation, add_command, add_help
from pibuild.console import Color, Console, let_go
from pibuild.errors import PibuildError, ProofError, UsageError, nearest

if TYPE_CHECKING:
    from typing import Protocol

    class Command(Protocol):
        """A module of this package that is a command."""

        @property
        def SUMMARY(self) -> str: ...  # noqa: D102, N802  a constant of the module
        @property
        def USAGE(self) -> str: ...  # noqa: D102, N802
        @property
        def EXAMPLES(self) -> tuple[str, ...]: ...  # noqa: D102, N802
        def add_arguments(self, parser: CommandParser) -> None: ...  # noqa: D102
        def run(self, invocation: Invocation) -> int: ...  # noqa: D102


_EXIT_INTERRUPTED = 130
_EXIT_UNREAD = 141
"""What a shell reports of a program whose pipe broke."""
_FINAL = (UsageError.exit_code, ProofError.exit_code)
"""Codes of errors that the same command would end with another time, too."""

COMMANDS: "Mapping[str, Command]" = {
    "build": build,
    "plan": plan,
    "fetch": fetch,
    "list": list_,
    "verify": verify,
    "retag": retag,
    "run": run,
    "nightly": nightly,
    "publish": publish,
    "doctor": doctor,
    "shell": shell,
    "clean": clean,
    "schema": schema,
    "completion": completion,
}
_MOVED_COMMANDS = {name: f"pibuild nightly {name}" for name in ("matrix", "status", "log")}
_MOVED_OPTIONS = {
    "--rollback": "pibuild publish rollback [SET]",
    "--yank": "pibuild publish yank CELL --reason TEXT",
    "--unyank": "pibuild publish unyank CELL",
    "--undelete": "pibuild publish undelete FILE",
    "--check": "pibuild publish check URL",
}
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
    11: "nightly: some cells failed",
    12: "publishing failed, or the published set is damaged",
    130: "interrupted",
    141: "broken pipe",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Every PibuildError is caught here."""
    words, environ = list(sys.argv[1:] if argv is None else argv), dict(os.environ)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names may hold what a terminal's encoding lacks
    if argv is None:
        signal.signal(signal.SIGTERM, _interrupt)  # a CI system's end is cleaned up after as Ctrl-C's is
    typed = words[: words.index("--")] if "--" in words else words
    console, invocation = Console(as_json="--json" in typed, color=_color("auto", environ)), None
    try:
        invocation = _invocation(typed, words[len(typed) + 1 :], environ, console)
        if invocation is None:
            return 0
        console = invocation.console
        return COMMANDS[invocation.args.command].run(invocation)
    except PibuildError as error:
        console.error(error, _next_commands(error, words, invocation))
        return error.exit_code
    except KeyboardInterrupt:
        with suppress(OSError):
            console.warn("interrupted; the same command goes on from here")
        return _EXIT_INTERRUPTED
    except BrokenPipeError:  # of the progress; Console.result handles a result that nobody reads
        let_go(sys.stderr)
        return _EXIT_UNREAD


def _next_commands(error: PibuildError, words: Sequence[str], invocation: Invocation | None) -> dict[str, str]:
    """Return what to type after an error: the same command if it may succeed next time, a shell in what failed."""
    commands = {}
    if invocation and error.exit_code not in _FINAL:
        commands["again"] = shlex.join(["pibuild", *map(_without_password, words)])
    if invocation and error.container and hasattr(invocation.args, "recipe"):  # it chose a plan as `shell` does
        commands["shell"] = shlex.join(["pibuild", "shell", *_selection(invocation)])
    return commands


def _selection(invocation: Invocation) -> Iterator[str]:
    """Yield the options of a command that `pibuild shell` takes, too, except for those that change the output alone."""
    for action in dict.fromkeys(invocation.parser.commands["shell"].options.values()):
        value = getattr(invocation.args, action.dest, None)
        if value is not None and action.dest not in ("json", "quiet", "verbose", "color"):
            option = action.option_strings[-1]
            for item in value if isinstance(value, list) else [value]:
                yield from [option] if item is True else [option, _without_password(str(item))]


def _without_password(word: str) -> str:
    from pibuild.addresses import without_password

    option, equals, value = word.rpartition("=")
    return option + equals + without_password(value) if option.startswith("--") else without_password(word)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def make_parser() -> CommandParser:
    """Return the parser of everything that pibuild takes: a parser for each command, and for each action of one."""
    parser = CommandParser(
        prog="pibuild",
        usage="pibuild [COMMAND] [OPTION...]",
        summary="build TensorFlow wheels for the Raspberry Pi, and prove them on an emulated one",
        examples=("pibuild --target pi-one --python 3.11",),
        epilog="\n".join(["`pibuild COMMAND --help` shows a command's options and examples.", "", *_exit_codes()]),
    )
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", prog="pibuild")
    for name, command in COMMANDS.items():
        command.add_arguments(add_command(commands, name, command.SUMMARY, command.USAGE, command.EXAMPLES))
    add_help(parser).add_argument(
        "-V", "--version", action="version", version=__version__, help="print pibuild's version"
    )
    return parser


def _exit_codes() -> Iterator[str]:
    yield "exit codes:"
    codes = "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items())
    yield from textwrap.wrap(codes, 78, initial_indent="  ", subsequent_indent="  ")


def _invocation(
    typed: Sequence[str], to_run: Sequence[str], environ: dict[str, str], console: Console
) -> Invocation | None:
    """Return the command that was typed, with its settings; None after printing help or the version."""
    words = _with_release(typed, console)
    if "-V" in words or "--version" in words:
        console.result(f"pibuild {__version__}", {"version": __version__})
        return None
    root = make_parser()
    path, rest, is_help = _command(words, root)
    if is_help:
        parser = root
        for name in path:
            parser = parser.commands[name]
        Console(out=console.out).result(parser.format_help().rstrip(), None)
        return None
    args = _arguments(path, root, rest, to_run)
    from pibuild.config.settings import Settings, load_settings

    settings = Settings()
    if hasattr(args, "config"):  # other commands read no settings
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
    """Return the setting; `auto` is `never` where the environment says that colors are not wanted (no-color.org)."""
    is_unwanted = environ.get("NO_COLOR") or environ.get("TERM") == "dumb"
    return "never" if setting == "auto" and is_unwanted else setting


def _current_folder() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        hint = "cd to one that is there"
        raise UsageError("The current folder is gone", found=error.strerror or "", hint=hint) from error


def _with_release(words: Sequence[str], console: Console) -> list[str]:
    """Return the words with `--version X`, as it was until --release came, spelled `--release X`."""
    renamed = list(words)
    for place, word in enumerate(words):
        following = words[place + 1] if place + 1 < len(words) else "-"
        if word.startswith("--version=") or (
            word == "--version" and not following.startswith("-") and following not in (*COMMANDS, "help")
        ):
            console.warn("--version X is now --release X; the next release of pibuild will not take the old name")
            renamed[place] = word.replace("--version", "--release", 1)
    return renamed


def _option(word: str) -> str:
    """Return the option that a word begins with: `--jobs` of `--jobs=2`, `-c` of `-cFILE`; empty if there is none."""
    if not word.startswith("-") or word == "-":
        return ""
    return word.split("=", maxsplit=1)[0] if word.startswith("--") else word[:2]


def _positions(words: Sequence[str], root: CommandParser) -> list[int]:
    """Return the positions of the words that are neither options nor their values; UsageError for an unknown option."""
    options = {option: action for _, leaf in root.leaves() for option, action in leaf.options.items()}
    places, is_value = list[int](), False
    for place, word in enumerate(words):
        option = _option(word)
        if option in _MOVED_OPTIONS:
            raise UsageError(f"{option} is now an action", hint=_MOVED_OPTIONS[option])
        if option and option not in options:
            raise UsageError(f"There is no option {option!r}", hint=nearest(option, list(options)))
        if not option and not is_value:
            places.append(place)
        is_value = bool(option) and option == word and options[option].nargs != 0
    return places


def _command(words: Sequence[str], root: CommandParser) -> tuple[list[str], list[str], bool]:
    """Find the command, and its action, among options that may stand before it; bare pibuild is `build`.

    Returns their names, the other words, and whether help was asked for. Raises UsageError for a name that is unknown.
    """
    words, places = list(words), _positions(words, root)
    if places and words[places[0]] == "help":
        words[places.pop(0)] = "--help"
    is_help = "-h" in words or "--help" in words
    path = [_known(words[place], root) for place in places[:1]]
    actions = root.commands[path[0]].commands if path else {}
    if actions and len(places) > 1:
        path.append(words[places[1]])
        if path[1] not in actions:
            raise UsageError(f"pibuild {path[0]} has no action {path[1]!r}", hint=nearest(path[1], list(actions)))
    rest = [word for place, word in enumerate(words) if place not in places[: len(path)]]
    if not is_help and not path:
        path = ["build"]
    if not is_help and len(path) == 1 and actions:
        path.append(next(iter(actions)))
    return path, rest, is_help


def _known(name: str, root: CommandParser) -> str:
    if name in _MOVED_COMMANDS:
        raise UsageError(f"`pibuild {name}` has another name now", hint=_MOVED_COMMANDS[name])
    if name not in root.commands:
        hint = f"pibuild verify {name}" if name.endswith(".whl") else nearest(name, [*root.commands, "help"])
        raise UsageError(f"There is no command {name!r}", hint=hint)
    return name


def _arguments(path: Sequence[str], root: CommandParser, words: list[str], to_run: Sequence[str]) -> argparse.Namespace:
    """Parse what stands beside a command's names; UsageError if it takes no such thing."""
    name, parser, siblings = " ".join(path), root, root.commands
    for part in path:
        parser, siblings = parser.commands[part], parser.commands
    for word in words:
        option = _option(word)
        if option and option not in parser.options:
            owners = [" ".join(other) for other, leaf in root.leaves() if option in leaf.options]
            raise UsageError(
                f"{option} is not an option of pibuild {name}",
                expected=f"an option of {', '.join(owners)}",
                hint=f"pibuild {name} --help",
            )
    args, extra = parser.parse_known_intermixed_args(words)  # options stand anywhere between the words
    if extra and extra[0] in siblings:
        raise UsageError(f"{path[-1]} and {extra[0]} are two commands", hint="run one after the other")
    if extra:
        raise UsageError(f"pibuild {name} does not take {extra[0]!r}", hint=f"pibuild {name} --help")
    if path[0] == "run" and not to_run:
        raise UsageError("pibuild run needs a command after --", hint=run.EXAMPLES[0])
    if path[0] != "run" and to_run:
        raise UsageError(f"pibuild {name} takes no command after --", hint=f"pibuild {name} --help")
    args.command, args.action, args.command_words = path[0], path[-1], list(to_run)
    return args
