"""The grammar of the command line, as far as argparse has none for it.

Options may stand before, between and after other words. Without a command, the first one runs; so does the first action
of a command. Errors name the nearest name, the new name of what was renamed, or the commands that have an option.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence

from pibuild.commands.options import CommandParser
from pibuild.errors import UsageError, nearest

_NEW_NAMES = {
    "matrix": "pibuild nightly matrix",
    "status": "pibuild nightly status",
    "log": "pibuild nightly log",
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

    With --help, the defaults are not used. Raises UsageError for a command, action or option that does not exist.
    """
    options = {option: action for _, leaf in root.leaves() for option, action in leaf.options.items()}
    parser, others, is_value = root, list[str](), False
    for word in words:
        option = _option(word)
        if option and option not in options:
            raise _unknown("option", option, options)
        if option or is_value or not parser.commands:
            others.append(word)
        elif word == "help":
            others.append("--help")
        elif word in parser.commands:
            parser = parser.commands[word]
        else:
            raise _unknown("command" if parser is root else "action", word, [*parser.commands, "help"])
        is_value = bool(option) and option == word and options[option].nargs != 0
    while parser.commands and not {"-h", "--help"}.intersection(others):
        parser = next(iter(parser.commands.values()))
    return parser, others


def parse(parser: CommandParser, words: list[str], to_run: list[str], root: CommandParser) -> argparse.Namespace:
    """Parse a command's words. `to_run` are the words after `--`. Raises UsageError for words that it does not take."""
    _, command, *actions = parser.prog.split()
    args, rejected = parser.parse_known_intermixed_args(words)
    help_command = f"{parser.prog} --help"
    if rejected and (option := _option(rejected[0])):
        owners = ", ".join(" ".join(path) for path, leaf in root.leaves() if option in leaf.options)
        raise UsageError(
            f"{option} is not an option of {parser.prog}", expected=f"an option of {owners}", hint=help_command
        )
    if rejected and rejected[0] in {*root.commands, *root.commands[command].commands}:
        name = parser.prog.rpartition(" ")[2]
        raise UsageError(f"{name} and {rejected[0]} are two commands", hint="run one after the other")
    if rejected:
        raise UsageError(f"{parser.prog} does not take {rejected[0]!r}", hint=help_command)
    if command == "run" and not to_run:
        raise UsageError("pibuild run needs a command after --", hint=help_command)
    if command != "run" and to_run:
        raise UsageError(f"{parser.prog} takes no command after --", hint=help_command)
    args.command, args.action, args.command_words = command, "".join(actions), to_run
    return args


def _option(word: str) -> str:
    """Return the option that a word begins with: `--jobs` of `--jobs=2`, `-c` of `-cFILE`; empty if there is none."""
    if not word.startswith("-") or word == "-":
        return ""
    return word.partition("=")[0] if word.startswith("--") else word[:2]


def _unknown(kind: str, name: str, names: Iterable[str]) -> UsageError:
    if name in _NEW_NAMES:
        return UsageError(f"{name} was renamed", hint=_NEW_NAMES[name])
    hint = f"pibuild verify {name}" if name.endswith(".whl") else nearest(name, list(names))
    return UsageError(f"There is no {kind} {name!r}", hint=hint)
