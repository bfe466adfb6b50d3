"""The grammar of the command line, where it goes beyond argparse.

Options may stand before, between and after other words. Without a command, the first one runs; so does the first action
of a command. Errors name the nearest name, the command of an action, or the commands that have an option.
"""

import argparse
from collections.abc import Callable, Sequence

from pibuild.commands.options import CommandParser
from pibuild.errors import UsageError, closest, nearest


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
    options |= root.options
    parser, others, is_value, unknown = root, list[str](), False, ""
    for word in words:
        option = _option(word)
        is_wrong = bool(option) and option not in {*root.options, *parser.options_below}
        if option or is_value or not parser.commands:
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
    # a file's name that begins with a dash is no option
    others = [] if to_run else [f"./{word}" if word.startswith("-") else word for word in last_words]
    args, rejected = parser.parse_known_intermixed_args([*words, *others])
    help_command = f"{parser.prog} --help"
    if rejected and (option := _option(rejected[0])):
        raise _unknown_option(option, parser, root)
    if rejected and rejected[0] in {*root.commands, *root.commands[command].commands} - {*last_words}:
        name = parser.prog.rpartition(" ")[2]
        raise UsageError(f"{name} and {rejected[0]} are two commands", hint="run one after the other")
    if rejected:
        raise UsageError(f"{parser.prog} does not take {rejected[0]!r}", hint=help_command)
    if command == "run" and not to_run:
        raise UsageError("pibuild run needs a command after --", hint=help_command)
    args.command, args.action, args.command_words = command, "".join(actions), to_run
    return args


def _option(word: str) -> str:
    """Return the option that a word begins with: `--jobs` of `--jobs=2`, `-c` of `-cFILE`; empty if there is none."""
    if not word.startswith("-") or word == "-" or word[1].isdigit():  # argparse takes -1 for a value, too
        return ""
    return word.partition("=")[0] if word.startswith("--") else word[:2]


def _unknown_option(option: str, parser: CommandParser, root: CommandParser) -> UsageError:
    """Return the error for an option that a command lacks, with the command's nearest option or the option's owners."""
    what, help_command = f"{parser.prog} has no option {option!r}", f"{parser.prog} --help"
    if action := _paths(root).get(option.removeprefix("--")):
        return UsageError(what, hint=action)
    owners: dict[str, list[str]] = {}
    for path, leaf in root.leaves():
        for name in leaf.options:
            owners.setdefault(name, []).append(" ".join(path))
    similar = option if option.startswith("--") else ""
    if option not in owners and (own := closest(similar, parser.options)):
        return UsageError(what, hint=f"did you mean {own!r}?")
    if other := option if option in owners else closest(similar, owners):
        return UsageError(f"{what}; {other} is an option of {', '.join(owners[other])}", hint=help_command)
    return UsageError(what, hint=help_command)


def _unknown_command(word: str, parser: CommandParser, root: CommandParser) -> UsageError:
    what = f"{parser.prog} has no {'command' if parser is root else 'action'} {word!r}"
    if word.endswith(".whl"):
        return UsageError(what, hint=f"pibuild verify {word}")
    names, paths = [*parser.commands, "help"], _paths(root)
    if not closest(word, names) and (close := closest(word, paths)):
        return UsageError(what, hint=paths[close])
    return UsageError(what, hint=nearest(word, names))


def _paths(root: CommandParser) -> dict[str, str]:
    """Return the whole command of each command and action, by its last word: `pibuild publish yank`."""
    return {path[-1]: " ".join((root.prog, *path)) for path, _ in root.leaves()}
