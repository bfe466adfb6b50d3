"""The help of every command: short, complete, in ASCII, with examples that work."""

import shlex

import pytest

from pibuild.commands.main import COMMANDS, main, make_parser
from pibuild.errors import BuildError, ProofError, UsageError

LEAVES = {" ".join(path): parser for path, parser in make_parser().leaves()}
PAGES = [*LEAVES, "nightly", "publish"]


@pytest.fixture
def page(monkeypatch, capsys):
    """Print the help of a command on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def printed(*words):
        assert main(["help", *words]) == 0
        return capsys.readouterr().out

    return printed


def test_the_help_of_pibuild_lists_the_commands_first_in_41_lines(page):
    lines = page().splitlines()
    assert len(lines) <= 41
    listed = [line.split()[0] for line in lines if line.startswith("    ") and line[4] != " "]
    assert listed == list(COMMANDS)
    assert lines.index("commands:") < lines.index("general:")


@pytest.mark.parametrize("name", PAGES)
def test_the_help_of_a_command_shows_an_example_first_in_46_lines(page, name):
    lines = page(*name.split()).splitlines()
    assert len(lines) <= 46
    assert lines[2].startswith("  pibuild")
    assert lines.index(next(line for line in lines if line.startswith("usage: "))) > 2


@pytest.mark.parametrize("name", ["", *PAGES])
def test_help_is_in_ascii_and_fits_120_columns(page, name):
    text = page(*name.split())
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("name", LEAVES)
def test_every_option_and_word_has_a_help_text(name):
    assert [action.dest for action in LEAVES[name]._actions if not action.help] == []


def test_an_option_takes_a_value_in_every_command_or_in_none():
    """Options may stand before the command, so whether the next word is their value must not depend on it."""
    takes_value = {}
    for parser in LEAVES.values():
        for action in parser._actions:
            for option in action.option_strings:
                assert takes_value.setdefault(option, action.nargs != 0) == (action.nargs != 0), option


EXAMPLES = [example for parser in (make_parser(), *LEAVES.values()) for example in parser.examples]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_accepted_by_the_parser(example, monkeypatch):
    calls = []
    for command in COMMANDS.values():
        monkeypatch.setattr(command, "run", lambda invocation: calls.append(invocation) or 0)
    words = shlex.split(example.split(" > ")[0].split(" < ")[0])
    assert words[0] == "pibuild"
    assert main(words[1:]) == 0
    assert len(calls) == 1


def failing(error):
    def run(_invocation):
        raise error

    return run


@pytest.mark.parametrize(
    ("words", "error", "commands"),
    [
        (
            ["--target", "pi-one", "--with", "a,b", "--python=3.11", "-q", "--jobs", "2"],
            BuildError("it failed", container="thing-pi-one-3.11"),
            [
                "again: pibuild --target pi-one --with a,b --python=3.11 -q --jobs 2",
                "shell: pibuild shell --target pi-one --python 3.11 --with a --with b --jobs 2",
            ],
        ),
        (["--target", "pi-one"], ProofError("it failed", container="thing"), ["shell: pibuild shell --target pi-one"]),
        (["--target", "pi-one"], BuildError("it failed"), ["again: pibuild --target pi-one"]),
        (
            ["verify", "a.whl", "--run", "--target", "pi-one", "--floor", "2.28"],
            BuildError("it failed", container="thing"),
            ["again: pibuild verify a.whl --run --target pi-one --floor 2.28"],
        ),
        (["nightly"], BuildError("it failed", container="a"), ["again: pibuild nightly"]),
        (["run", "a.whl", "--", "true"], BuildError("it failed", container="a"), ["again: pibuild run a.whl -- true"]),
        (["plan"], UsageError("it failed"), []),
    ],
)
def test_an_error_ends_with_the_commands_that_help(monkeypatch, capsys, words, error, commands):
    for command in COMMANDS.values():
        monkeypatch.setattr(command, "run", failing(error))
    assert main(words) == error.exit_code
    assert capsys.readouterr().err.splitlines()[1:] == [f"  {command}" for command in commands]
