"""What the commands share: the parser class, groups of options, and the value that a command runs with.

Imports nothing that is slow, so that `--help` answers at once.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pibuild.console import Console
from pibuild.errors import UsageError

if TYPE_CHECKING:
    from pibuild.config.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One command as it was typed, with all that it may use."""

    args: argparse.Namespace
    """The options and words of the command's own parser."""
    parser: "CommandParser"
    """Of everything that pibuild takes."""
    settings: "Settings"
    environ: Mapping[str, str]
    console: Console


class CommandParser(argparse.ArgumentParser):
    """A parser whose help shows examples first, and whose errors are UsageErrors."""

    def __init__(self, *, summary: str = "", examples: Sequence[str] = (), **more: Any) -> None:  # noqa: ANN401  argparse's own
        """Make a parser; `summary` and `examples` begin its help."""
        super().__init__(allow_abbrev=False, add_help=False, formatter_class=_Formatter, **more)
        self.summary, self.examples = summary, tuple(examples)

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

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of leaving the program."""
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
        super().__init__(prog, max_help_position=28)

    def _format_action(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  its own line says nothing
            return "".join(self._format_action(below) for below in self._iter_indented_subactions(action))
        return super()._format_action(action)


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which wheel is meant."""
    group = parser.add_argument_group("which wheel")
    add_target_and_python(group)
    group.add_argument("--recipe", metavar="R", help="what to build (default: the newest proven for that Python)")
    group.add_argument("--release", metavar="X", help="the recipe's release (default: the newest that is proven)")
    group.add_argument("--source", metavar="DIR", help="a TensorFlow tree of your own, to build instead of a release")
    group.add_argument(
        "--with",
        action="extend",
        type=lambda text: text.split(","),
        metavar="EXTRA",
        help="what to make beside the wheel, such as c-library,benchmark; see pibuild list",
    )
    group.add_argument(
        "--no-api-wheel",
        action="store_true",
        default=None,
        help="make Python's API files by compiling TensorFlow for this machine as well",
    )
    group.add_argument(
        "--with-dependencies",
        action="store_true",
        default=None,
        help="also every wheel that pip installs with it, so that nothing is compiled on the Pi",
    )


def add_target_and_python(group: argparse._ActionsContainer) -> None:
    """Add --target and --python."""
    group.add_argument("--target", metavar="T", help="the kind of Pi: pi-one (Zero, 1), pi-two (2 and later)")
    group.add_argument("--python", metavar="V", help="the Python on the Pi, such as 3.11")


def add_output(group: argparse._ActionsContainer) -> None:
    """Add --output."""
    group.add_argument("--output", metavar="DIR", help="folder for wheels and records (default: wheelhouse)")


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where sources come from."""
    group = parser.add_argument_group("network")
    group.add_argument(
        "--mirrors", action="append", metavar="P", help="folder or server of bare clones, with {owner} and {name}"
    )
    group.add_argument(
        "--offline", action="store_true", default=None, help="use no network: fail at once and list what is missing"
    )


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add the options that limit a container."""
    group = parser.add_argument_group("limits of one container")
    group.add_argument("--jobs", type=int, metavar="N", help="compilers that run at the same time")
    group.add_argument("--memory", type=float, metavar="GB", help="memory (default: most of the engine's)")
    group.add_argument("--deadline", type=float, metavar="MIN", help="minutes until it is stopped (default: 480)")


def add_help(parser: argparse.ArgumentParser) -> "argparse._ArgumentGroup":
    """Add the group of general options, which --help begins, and return it."""
    group = parser.add_argument_group("general")
    group.add_argument("-h", "--help", action="help", help="show this help")
    return group


def add_general(parser: argparse.ArgumentParser, *, has_store: bool = True) -> None:
    """Add what every command takes that reads settings."""
    group = add_help(parser)
    group.add_argument("-c", "--config", metavar="FILE", help="settings (default: pibuild.yaml if it exists)")
    if has_store:
        group.add_argument("--store", metavar="DIR", help="sources, artifacts and logs (default: your cache folder)")
    group.add_argument("--json", action="store_true", default=None, help="print the result as JSON")
    group.add_argument("-v", "--verbose", action="store_true", default=None, help="show the output of programs")


def readable_files(words: Iterable[str]) -> list[Path]:
    """Return words as paths of files; UsageError if one is not a file, or may not be looked at."""
    paths = [Path(word) for word in words]
    for path in paths:
        reason = ""
        try:
            is_file = path.is_file()
        except OSError as error:
            is_file, reason = False, error.strerror or ""
        if not is_file:
            raise UsageError(f"There is no file {path}", found=reason, hint="the path of a wheel, which ends in .whl")
    return paths
