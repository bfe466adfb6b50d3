"""What is generated from the program is what the repository holds, and it is complete."""

import importlib.util
from pathlib import Path

import pytest

from pibuild.commands.main import EXIT_CODES, make_parser
from pibuild.config.settings_sources import setting_names
from pibuild.errors import PibuildError

SOURCE = Path(__file__).parents[2] / "ci" / "reference.py"


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("reference", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pages()


def test_generated_files_are_current(pages):
    stale = [path.name for path, text in pages.items() if not path.exists() or path.read_text() != text]
    assert stale == [], "run python ci/reference.py"


def test_every_setting_is_an_option_of_some_command():
    options = {option for _, parser in make_parser().leaves() for option in parser.options}
    assert {f"--{name.replace('_', '-')}" for name in setting_names()} <= options


def test_the_reference_names_every_command_and_option(pages):
    cli, man = (next(text for path, text in pages.items() if path.name == name) for name in ("cli.md", "pibuild.1"))
    for path, parser in make_parser().leaves():
        assert f"## pibuild {' '.join(path)}\n" in cli
        for option in parser.options:
            assert option in cli
            assert option.replace("-", "\\-") in man


def test_every_exit_code_of_an_error_is_documented():
    def below(kind):
        return {kind, *(found for sub in kind.__subclasses__() for found in below(sub))}

    assert {kind.exit_code for kind in below(PibuildError)} <= EXIT_CODES.keys()
