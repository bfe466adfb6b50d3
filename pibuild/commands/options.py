"""Shared by all commands: the parser class, groups of options, and the value that a command runs with.

Imports nothing that is slow, because `--help` needs this module.
"""

import argparse
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pibuild.console import Console
from pibuild.errors import UsageError, nearest

if TYPE_CHECKING:
    from pibuild.config.settings import Settings

_SOURCE_ARCHIVES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
SWITCH: Mapping[str, Any] = {"action": "store_true", "default": None}
"""A setting without a value; it is None if it is not given, so that the variable or key decides."""
_OPTIONS: Mapping[str, dict[str, Any]] = {
    "--target": {"metavar": "T", "help": "kind of Pi: pi-one (1, Zero), pi-two, pi-64 (64 bit)"},
    "--python": {"metavar": "V", "help": "Python on the Pi, such as 3.11"},
    "--recipe": {"metavar": "R", "help": "what to build (default: the newest proven product)"},
    "--release": {"metavar": "X", "help": "the recipe's release (default: the newest proven one)"},
    "--source": {"metavar": "DIR", "help": "build this TensorFlow tree instead of a release"},
    "--with": {
        "action": "extend",
        "type": lambda text: text.split(","),
        "metavar": "EXTRA",
        "help": "also make c-library, benchmark (comma-separated)",
    },
    "--no-api-wheel": {**SWITCH, "help": "make the API files by compiling TensorFlow twice"},
    "--with-dependencies": {**SWITCH, "help": "also build all dependencies of the wheel"},
    "--output": {"metavar": "DIR", "help": "folder for wheels and records (default: wheelhouse)"},
    "--mirrors": {"action": "append", "metavar": "P", "help": "bare git clones: a path or URL with {owner}, {name}"},
    "--images": {"metavar": "HOST/PATH", "help": "registry of images that machines share"},
    "--snapshot": {"metavar": "URL", "help": "archive of old packages, for the locks of images"},
    "--offline": {**SWITCH, "help": "use no network; fail and list what is missing"},
    "--jobs": {"metavar": "N", "help": "number of compilers that run at the same time"},
    "--serial": {**SWITCH, "help": "run one step at a time"},
    "--remote-execution": {"metavar": "U", "help": "server whose workers compile: grpcs://HOST:PORT"},
    "--memory": {"metavar": "GB", "help": "memory of a container (default: most of the engine's)"},
    "--deadline": {"metavar": "MIN", "help": "minutes until a container is stopped (default: 480)"},
}
"""The options that several commands share, as argparse takes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """A command as it was typed, its settings, and the console."""

    args: argparse.Namespace
    """The options and words that the command takes."""
    parser: "CommandParser"
    """The parser of the whole command line."""
    settings: "Settings"
    environ: Mapping[str, str]
    console: Console


class CommandParser(argparse.ArgumentParser):
    """A parser whose help shows examples first, and whose errors are UsageErrors."""

    def __init__(self, *, summary: str = "", examples: Sequence[str] = (), **more: Any) -> None:  # noqa: ANN401  argparse's own
        """Make a parser; `summary` and `examples` begin its help."""
        super().__init__(allow_abbrev=False, add_help=False, formatter_class=_Formatter, **more)
        self.summary, self.examples = summary, tuple(examples)

    @property
    def commands(self) -> "dict[str, CommandParser]":
        """The parsers of the commands, or of a command's actions. The first is the default."""
        choices = (action.choices for action in self._actions if isinstance(action, argparse._SubParsersAction))  # noqa: SLF001
        return dict(next(choices, {}))

    @property
    def options(self) -> dict[str, argparse.Action]:
        """The action of each option string."""
        return dict(self._option_string_actions)

    @property
    def options_below(self) -> set[str]:
        """The option strings of all commands or actions that this parser leads to."""
        return {option for _, parser in self.leaves() for option in parser.options}

    def leaves(self, path: tuple[str, ...] = ()) -> "Iterator[tuple[tuple[str, ...], CommandParser]]":
        """Yield each command that has no actions, and each action, with its parser."""
        if not self.commands:
            yield path, self
        for name, parser in self.commands.items():
            yield from parser.leaves((*path, name))

    def format_help(self) -> str:
        """Return the summary, the examples, the usage, then the options group by group."""
        formatter = self._get_formatter()
        formatter.add_text(self.summary[:1].upper() + self.summary[1:] + ".")
        formatter.add_text("\n".join(f"  {example}" for example in self.examples))
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        for group in self._action_groups:
            formatter.start_section(group.title)
            formatter.add_arguments(group._group_actions)  # noqa: SLF001  argparse's own format_help does the same
            formatter.end_section()
        formatter.add_text(self.epilog)
        return formatter.format_help()

    def _check_value(self, action: argparse.Action, value: Any) -> None:  # noqa: ANN401  argparse's own
        """Raise UsageError with the nearest choice."""
        if action.choices is not None and value not in action.choices:
            option = "/".join(action.option_strings)
            what = f"{option} has no value {value!r}" if option else f"{self.prog} does not take {value!r}"
            raise UsageError(what, hint=nearest(str(value), list(action.choices)))

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of leaving the program."""
        message = message.removeprefix("argument ").replace("ignored explicit argument", "it takes no value, found")
        raise UsageError(message[0].upper() + message[1:], hint=f"{self.prog} --help")


def add_command(
    commands: "argparse._SubParsersAction[CommandParser]", name: str, summary: str, usage: str, examples: Sequence[str]
) -> CommandParser:
    """Add a command, or an action of one, and return its parser."""
    return commands.add_parser(
        name, help=summary, summary=summary, examples=examples, usage=f"%(prog)s {usage}".rstrip()
    )


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=24)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """Return `-c, --config FILE` rather than `-c FILE, --config FILE`."""
        names = ", ".join(action.option_strings)
        return f"{names} {action.metavar or ''}".strip() if names else super()._format_action_invocation(action)

    def _format_action(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  the line above the commands would be empty
            return "".join(self._format_action(below) for below in self._iter_indented_subactions(action))
        return super()._format_action(action)


def add_options(group: argparse._ActionsContainer, *names: str) -> None:
    """Add options that several commands share."""
    for name in names:
        group.add_argument(name, **_OPTIONS[name])


def add_selection(parser: CommandParser) -> None:
    """Add the options that select the wheel."""
    group = parser.add_argument_group("which wheel")
    add_options(group, "--target", "--python", "--recipe", "--release", "--source", "--with")
    add_options(group, "--no-api-wheel", "--with-dependencies")


def add_network(parser: CommandParser) -> None:
    """Add the options that say where sources come from."""
    add_options(parser.add_argument_group("network"), "--mirrors", "--images", "--snapshot", "--offline")


def add_limits(parser: CommandParser) -> None:
    """Add the options that limit a container."""
    group = parser.add_argument_group("limits")
    add_options(group, "--jobs", "--serial", "--memory", "--deadline", "--remote-execution")


def add_build_options(parser: CommandParser) -> None:
    """Add the options of commands that may build something: the network, limits and general options."""
    add_network(parser)
    add_limits(parser)
    add_general(parser)


def add_help(parser: CommandParser) -> "argparse._ArgumentGroup":
    """Add the group of general options, which --help begins, and return it."""
    group = parser.add_argument_group("general")
    group.add_argument("-h", "--help", action="help", help="show this help")
    return group


def add_general(parser: CommandParser, *, has_store: bool = True) -> None:
    """Add the options of commands that read settings."""
    group = add_help(parser)
    group.add_argument("-c", "--config", metavar="FILE", help="settings file (default: pibuild.yaml, if it exists)")
    if has_store:
        group.add_argument("--store", metavar="DIR", help="folder of the store (default: in your cache folder)")
    group.add_argument("--json", **SWITCH, help="print results as JSON, and errors as JSON on stderr")
    amount = group.add_mutually_exclusive_group()
    amount.add_argument("-q", "--quiet", **SWITCH, help="print no progress")
    amount.add_argument("-v", "--verbose", **SWITCH, help="print the output of programs, too")
    colors = ("auto", "always", "never")
    group.add_argument("--color", choices=colors, metavar="WHEN", help="use colors: auto, always or never")


def wheel_path(word: str) -> Path:
    """Return a word as a path. Raises UsageError for a folder, an archive of sources, or a file that does not exist."""
    path = Path(word)
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except OSError as error:
        hint = "give the path of a wheel, which ends in .whl"
        raise UsageError(f"There is no file {path}", found=error.strerror or "", hint=hint) from error
    if is_folder:
        raise UsageError(f"{path} is a folder, not a wheel", hint=f"give the wheels in it: {path}/*.whl")
    if path.name.endswith(_SOURCE_ARCHIVES):
        hint = "get a wheel of it: pip download --only-binary :all: NAME, or pip wheel NAME"
        raise UsageError(f"{path} is an archive of sources, not a wheel", hint=hint)
    return path


def refuse_idle(invocation: Invocation, names: Sequence[str], needed: str) -> None:
    """Raise UsageError if one of these options is given, which have no effect without `needed`.

    A name is spelled as in the parsed arguments: `run_command` for `--run-command`.
    """
    options = [f"--{name.replace('_', '-')}" for name in names if getattr(invocation.args, name) not in (None, False)]
    if options:
        what = f"{', '.join(options)}: no effect without {needed}"
        raise UsageError(what, hint=f"add {needed}, or leave out {', '.join(options)}")
