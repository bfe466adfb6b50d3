"""The grammar of the command line, as far as argparse has none for it.

Options may stand before, between and after other words. Without a command, the first one runs; so does the first action
of a command. Errors name the nearest name, the command of an action, or the commands that have an option.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from pibuild.commands.options import CommandParser
from pibuild.errors import UsageError, closest

_NO_OPTION = "\0"
"""Begins a word that is no option, whatever it looks like; a program's arguments can't contain it."""
_RENAMED_OPTIONS = {
    "--rollback": "pibuild publish rollback [SET]",
    "--yank": "pibuild publish yank CELL --reason TEXT",
    "--unyank": "pibuild publish unyank CELL",
    "--undelete": "pibuild publish undelete FILE",
    "--check": "pibuild publish check URL",
}


def with_release(words: Sequence[str], warn: Callable[[str], None]) -> list[str]:
    """Return the words with `--version X`, the old name of `--release X`, spelled `--release X`."""
    renamed = list(words)
    for place, word in enumerate(words):
        following = words[place + 1] if place + 1 < len(words) else ""
        if word.startswith("--version=") or (word == "--version" and following[:1].isdigit()):
            warn("--version X is now --release X; the next release of pibuild will not take the old name")
            renamed[place] = word.replace("--version", "--release", 1)
    return renamed


def find_command(words: Sequence[str], root: CommandParser) -> tuple[CommandParser, list[str]]:
    """Return the parser of the command or action that is named, and the other words; `help` becomes `--help`.

    A value that begins with one dash, as `-1` does, is joined to its option. With --help, the defaults are not used.
    Raises UsageError for a command, action or option that does not exist.
    """
    options = {option: action for _, leaf in root.leaves() for option, action in leaf.options.items()}
    options |= root.options
    parser, others, is_value, unknown = root, list[str](), False, ""
    for word in words:
        option = _option(word)
        is_wrong = bool(option) and option not in options
        if is_value and is_wrong and not word.startswith("--"):
            others[-1] += f"={word}" if others[-1].startswith("--") else word
            option = ""
        elif option or is_value or not parser.commands:
            others.append(word)
            unknown = unknown or (option if is_wrong else "")
        elif word == "help":
            others.append("--help")
        elif word in parser.commands:
            parser = parser.commands[word]
        elif not unknown:  # else it may be the value of the unknown option
            raise _unknown_command(word, parser, root)
        is_value = bool(option) and option == word and not is_wrong and options[option].nargs != 0
    while parser.commands and not {"-h", "--help"}.intersection(others):
        parser = next(iter(parser.commands.values()))
    if unknown:
        raise _unknown_option(unknown, parser, root)
    return parser, others


def parse(parser: CommandParser, words: list[str], last_words: list[str], root: CommandParser) -> argparse.Namespace:
    """Parse a command's words; `last_words` are those after `--`, which for `run` are the command on the device.

    Raises UsageError for words that the command does not take.
    """
    _, command, *actions = parser.prog.split()
    to_run = last_words if command == "run" else []
    # argparse takes words after `--` that begin with a dash for options if no word stands before `--`
    marked = [] if to_run else [f"{_NO_OPTION}{word}" for word in last_words]
    args, rejected = parser.parse_known_intermixed_args([*words, *marked])
    for name, value in vars(args).items():
        setattr(args, name, [_unmarked(item) for item in value] if isinstance(value, list) else _unmarked(value))
    help_command = f"{parser.prog} --help"
    if rejected and (option := _option(rejected[0])):
        raise _unknown_option(option, parser, root)
    rejected = [_unmarked(word) for word in rejected]
    if rejected and rejected[0] in {*root.commands, *root.commands[command].commands} - {*last_words}:
        name = parser.prog.rpartition(" ")[2]
        raise UsageError(f"{name} and {rejected[0]} are two commands", hint="run one after the other")
    if rejected:
        raise UsageError(f"{parser.prog} does not take {rejected[0]!r}", hint=help_command)
    if command == "run" and not to_run:
        raise UsageError("pibuild run needs a command after --", hint=help_command)
    args.command, args.action, args.command_words = command, "".join(actions), to_run
    return args


def _unmarked(value: Any) -> Any:  # noqa: ANN401  what argparse makes of a word
    return value.removeprefix(_NO_OPTION) if isinstance(value, str) else value


def _option(word: str) -> str:
    """Return the option that a word begins with: `--jobs` of `--jobs=2`, `-c` of `-cFILE`; empty if there is none."""
    if not word.startswith("-") or word == "-":
        return ""
    return word.partition("=")[0] if word.startswith("--") else word[:2]


def _unknown_option(option: str, parser: CommandParser, root: CommandParser) -> UsageError:
    """Return the error for an option that a command lacks, with the command's nearest option or the option's owners."""
    help_command = f"{parser.prog} --help"
    if option in _RENAMED_OPTIONS:
        return UsageError(f"There is no option {option}", hint=_RENAMED_OPTIONS[option])
    similar = option if option.startswith("--") else ""
    own, others = closest(similar, parser.options), closest(similar, _owners(root))
    meant = option if option in _owners(root) else "" if own else others
    if meant:
        owners = f"{meant} is an option of {', '.join(_owners(root)[meant])}"
        return UsageError(f"{parser.prog} has no option {option!r}; {owners}", hint=help_command)
    hint = f"did you mean {own!r}?" if own else help_command
    return UsageError(f"{parser.prog} has no option {option!r}", hint=hint)


def _owners(root: CommandParser) -> dict[str, list[str]]:
    """Return the commands that have an option, by its name."""
    owners: dict[str, list[str]] = {}
    for path, leaf in root.leaves():
        for option in leaf.options:
            owners.setdefault(option, []).append(" ".join(path))
    return owners


def _unknown_command(word: str, parser: CommandParser, root: CommandParser) -> UsageError:
    kind = "command" if parser is root else "action"
    if word.endswith(".whl"):
        return UsageError(f"There is no {kind} {word!r}", hint=f"pibuild verify {word}")
    names = [*parser.commands, "help"]
    if close := closest(word, names):
        return UsageError(f"There is no {kind} {word!r}", hint=f"did you mean {close!r}?")
    paths = {path[-1]: " ".join((root.prog, *path)) for path, _ in root.leaves()}
    if close := closest(word, paths):  # an action, or below another command a command
        return UsageError(f"{parser.prog} has no {kind} {word!r}", hint=paths[close])
    return UsageError(f"There is no {kind} {word!r}", hint=f"one of: {', '.join(names)}")
