"""README and docs/ are checked against the program: each console and YAML block, commands in the text, and the site.

A console block holds commands after `$ `, with what they print. Commands of pibuild go through its own parser; those
that list, or that verify or retag wheels of tests/data/real_wheels.yaml, run and must print what the page shows, but
for line breaks.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import yaml
from platformdirs import user_cache_path

from pibuild.adapters.http import Http
from pibuild.adapters.pypi import Pypi
from pibuild.commands import main as command_line
from pibuild.config.recipes import load_recipes
from pibuild.config.settings_sources import load_settings
from pibuild.errors import PibuildError
from pibuild.model import PypiPlace, Recipe, Release, Source
from pibuild.wheels.wheel import wheel_name
from tests.requirements import reachable
from tests.truth import load

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "ci/README.md", *sorted((ROOT / "docs").glob("*.md"))]
LANGUAGES = {"console", "yaml", "text", "mermaid"}
"""`text` is for what nothing can check; mermaid is drawn by GitHub."""
PINNED = load("real")
RUN_FOR_REAL = {"verify", "retag", "list"}
OTHERS_OPTIONS = {
    "--config=noaws",
    "--extra-index-url",
    "--find-links",
    "--help",
    "--no-index",
    "--system-site-packages",
    "--version",
}
"""Options of pip, Bazel and venv that pages name, and those that every command has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(text: str, page: str = "page.md") -> list[Block]:
    fences = re.finditer(r"^```(\w*)[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [
        Block(page=page, line=text[: fence.start()].count("\n") + 1, language=fence[1], text=fence[2])
        for fence in fences
    ]


def commands_of(block: Block) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block with what it prints; `> ` continues a command."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        end = next((number for number, line in enumerate(lines[1:], 1) if not line.startswith("> ")), len(lines))
        yield "\n".join([lines[0], *(line[2:] for line in lines[1:end])]), "\n".join(lines[end:]).strip()


def simple_commands(command: str) -> Iterator[list[str]]:
    """Yield the words of each program that a shell would start, without assignments, sudo and redirections."""
    lexer = shlex.shlex(command.replace("\\\n", " "), posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    is_target = False
    for word in [*lexer, ";"]:
        if word in ("&&", "||", ";", "|"):
            while words and (words[0] == "sudo" or re.fullmatch(r"[A-Z_]+=.*", words[0])):
                words.pop(0)
            if words:
                yield words
            words = []
        elif not is_target and word not in ("<", ">"):
            words.append(word)
        is_target = word in ("<", ">")


def is_pibuild(words: list[str]) -> bool:
    return words[0].rsplit("/", 1)[-1] == "pibuild"


def syntax_fault(command: str) -> str | None:
    """Return what bash says of a command that it can't parse, else None."""
    checked = subprocess.run(["bash", "-n"], input=command, capture_output=True, text=True, check=False)
    return f"{command!r} is no shell command: {checked.stderr}" if checked.returncode else None


def script_fault(words: list[str]) -> str | None:
    """Return which program of ci/, or which path that ci/test is given, does not exist, else None."""
    if words[0].startswith("ci/") and not os.access(ROOT / words[0], os.X_OK):
        return f"{words[0]} is no program of this project"
    paths = words[1:] if words[0] == "ci/test" else []
    return next((f"there is no {path}" for path in paths if not (ROOT / path).exists()), None)


@pytest.fixture
def parsed(monkeypatch, capsys, tmp_path):
    """Return a function that gives the parser's error for a command line, None if it is right; no command runs."""
    for command in command_line.COMMANDS.values():
        monkeypatch.setattr(command, "run", lambda _invocation: 0)
    monkeypatch.chdir(tmp_path)

    def fault(words: list[str]) -> str | None:
        code = command_line.main(words)
        err = capsys.readouterr().err
        return f"{shlex.join(['pibuild', *words])}: {err}" if code or "warning" in err else None

    return fault


def known_options() -> set[str]:
    """Return the options of all commands."""
    return {option for _, parser in command_line.make_parser().leaves() for option in parser.options}


@pytest.fixture(scope="session")
def wheels():
    """Return a function that downloads a wheel of real_wheels.yaml once, into the folder beside the store."""
    folder = user_cache_path("pibuild", appauthor=False) / "test-wheels"
    folder.mkdir(parents=True, exist_ok=True)
    environ = dict(os.environ)
    http = Http(environ, note=lambda _: None)

    def download(file: str) -> Path:
        path, sha256 = folder / file, PINNED[file]["sha256"]
        if not path.exists():
            name, part = wheel_name(file), path.with_suffix(f".{os.getpid()}")
            place = PypiPlace(pypi=name.name, version=str(name.version), file=file, sha256=sha256)
            with reachable():
                assert Pypi(http, environ).download(place, part, lambda *_: None) == sha256
            part.replace(path)
        return path

    yield download
    http.close()


def printed(words: list[str], wheels, folder: Path) -> str:
    """Run a command of pibuild in a folder with the pinned wheels that it names; return what it prints."""
    for word in words:
        if word in PINNED and not (folder / word).exists():
            shutil.copy(wheels(word), folder / word)
    done = subprocess.run(
        [sys.executable, "-m", "pibuild", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def output_fault(shown: str, real: str) -> str | None:
    """Return the difference between a page and the program, None if only line breaks differ."""
    if shown.split() == real.split():
        return None
    return f"the page shows\n{shown}\nbut the program prints\n{real}"


def yaml_fault(block: Block, folder: Path) -> str | None:
    """Return the loader's error for a YAML block (a file of this project, a recipe, or settings), else None."""
    try:
        data = yaml.safe_load(block.text)
        named = re.match(r"# (\S+\.yaml)\n", block.text)
        if named and data != yaml.safe_load((ROOT / named[1]).read_text()):
            return f"{named[1]} says something else"
        if "releases" in data:
            recipes_dir = folder / "recipes"
            shutil.copytree(ROOT / "pibuild/recipes", recipes_dir, dirs_exist_ok=True)
            (recipes_dir / data["name"]).mkdir(exist_ok=True)
            (recipes_dir / data["name"] / "recipe.yaml").write_text(block.text)
            load_recipes(recipes_dir)
        else:
            (folder / "pibuild.yaml").write_text(block.text)
            load_settings({}, {}, folder)
    except (yaml.YAMLError, PibuildError, OSError) as error:
        return str(error)
    return None


def every_block(language: str) -> list[Block]:
    blocks = [block for page in PAGES for block in blocks_of(page.read_text(), page.relative_to(ROOT).as_posix())]
    return [block for block in blocks if block.language == language]


def inline_code() -> list[tuple[str, str]]:
    """Return each span of code in running text, after the name of its page."""
    spans = []
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        spans += [(page.relative_to(ROOT).as_posix(), span) for span in re.findall(r"`([^`\n]+)`", text)]
    return spans


def test_every_block_has_a_language_that_is_checked():
    languages = {block.language for page in PAGES for block in blocks_of(page.read_text())}
    fences = sum(len(re.findall(r"^ *```", page.read_text(), re.MULTILINE)) for page in PAGES)

    assert languages <= LANGUAGES
    assert fences == 2 * sum(len(blocks_of(page.read_text())) for page in PAGES)


@pytest.mark.parametrize("block", every_block("console"), ids=lambda block: block.place)
def test_a_console_block_holds_commands_that_exist(block, parsed):
    commands = [command for command, _ in commands_of(block)]
    programs = [words for command in commands for words in simple_commands(command)]
    faults = [syntax_fault(command) for command in commands]
    faults += [parsed(words[1:]) if is_pibuild(words) else None for words in programs]
    faults += [script_fault(words) for words in programs]

    assert commands
    assert not list(filter(None, faults))


@pytest.mark.parametrize("block", every_block("console"), ids=lambda block: block.place)
def test_a_page_shows_what_list_verify_and_retag_print(block, wheels, tmp_path):
    for command, shown in commands_of(block):
        words = next(simple_commands(command))
        if shown and is_pibuild(words) and words[1] in RUN_FOR_REAL:
            assert output_fault(shown, printed(words[1:], wheels, tmp_path)) is None


@pytest.mark.parametrize("block", every_block("yaml"), ids=lambda block: block.place)
def test_a_yaml_block_is_accepted_by_the_real_loader(block, tmp_path):
    assert yaml_fault(block, tmp_path) is None


def test_each_matrix_of_the_page_on_nights_is_a_real_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for block in every_block("yaml"):
        if block.page == "docs/nightly.md":
            (tmp_path / "pibuild.yaml").write_text(block.text)

            assert command_line.main(["nightly", "matrix"]) == 0
    out = capsys.readouterr().out
    assert "tensorflow-r1.14-pi-one-3.5" in out
    assert "tflite-runtime-2.14.1-pi-one-3.9" not in out


def test_commands_in_running_text_exist(parsed):
    spans = {(page, span) for page, span in inline_code() if re.match(r"(ci/)?pibuild (?!(help )?COMMAND)", span)}
    lines = [(page, shlex.split(span.replace("…", ""))[1:]) for page, span in sorted(spans)]
    is_mention = re.compile(r"([a-z]+ )*(--)?[a-z-]+").fullmatch  # of a command or its option, without their words
    faults = [
        (
            page,
            parsed([word for word in words if word[0] != "-"] + ["--help"] if is_mention(" ".join(words)) else words),
        )
        for page, words in lines
    ]
    options = [(page, word) for page, words in lines for word in words if word.startswith("--") and word != "--"]

    assert [fault for fault in faults if fault[1]] == []
    assert [(page, option) for page, option in options if option not in known_options()] == []


def test_options_in_running_text_exist():
    spans = [(page, span.split()[0]) for page, span in inline_code() if span.startswith("--")]

    assert [(page, option) for page, option in spans if option not in known_options() | OTHERS_OPTIONS] == []


@pytest.mark.parametrize("kind", [Recipe, Release, Source])
def test_the_page_on_recipes_names_every_key(kind):
    computed = {"folder", "digest", "domain"}
    keys = {field.name.removeprefix("has_") for field in fields(kind)} - computed
    text = (ROOT / "docs/recipes.md").read_text()

    assert [key for key in sorted(keys) if not re.search(rf"`{key}`|^ *(- )?{key}:", text, re.MULTILINE)] == []


def test_the_page_on_targets_names_every_key():
    text = (ROOT / "docs/targets.md").read_text()
    keys = {key for path in (ROOT / "toolchains").glob("*.yaml") for key in yaml.safe_load(path.read_text())}

    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []


def test_readme_is_one_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "ci/README.md"])
def test_links_to_files_of_the_project_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", (ROOT / page).read_text())
    local = [link for link in links if "://" not in link]

    assert [link for link in local if not (ROOT / page).parent.joinpath(link).exists()] == []


def build_site(folder: Path, site: Path) -> tuple[int, str]:
    """Build the site strictly; return the exit code and what mkdocs prints."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site],
        cwd=folder,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs") / "site"
    code, text = build_site(ROOT, folder)
    assert (code, "WARNING" in text) == (0, False), text
    return folder


def test_the_site_has_every_page(site):
    assert {f"{page.stem}.html" for page in (ROOT / "docs").glob("*.md")} <= {page.name for page in site.glob("*.html")}


def test_the_site_loads_nothing_from_other_servers(site):
    text = "".join(page.read_text() for page in site.rglob("*.html"))
    loads = r'(?:<script[^>]*\ssrc|<link[^>]*\shref|<img[^>]*\ssrc|<iframe[^>]*\ssrc)="((?:https?:)?//[^"]+)'

    assert re.findall(loads, text) == []


def test_a_link_that_leads_nowhere_fails_the_site(tmp_path):
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("tests"))
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    (tmp_path / "docs/faq.md").write_text("# FAQ\n\n[nowhere](nowhere.md)\n")

    code, text = build_site(tmp_path, tmp_path / "site")

    assert code != 0
    assert "nowhere.md" in text


@pytest.mark.parametrize(
    "command",
    [
        "pibuild publsh check URL",
        "pibuild verify WHEEL --no-such-option",
        "cd pibuild && pibuild publish --check URL",
        "ci/pibuild --jobs many --target pi-one",
    ],
)
def test_a_command_that_does_not_exist_is_found(command, parsed):
    (block,) = blocks_of(f"```console\n$ {command}\n```\n")
    programs = [words for line, _ in commands_of(block) for words in simple_commands(line)]

    assert any(parsed(words[1:]) for words in programs if is_pibuild(words))


@pytest.mark.parametrize("command", ["ci/no-such-program", "ci/test tests/nowhere"])
def test_a_program_or_path_that_is_missing_is_found(command):
    assert script_fault(command.split()) is not None


def test_a_command_that_bash_can_not_parse_is_found():
    assert syntax_fault("pibuild verify 'WHEEL") is not None


def test_an_output_that_differs_from_the_page_is_found(wheels, tmp_path):
    text = "```console\n$ pibuild retag six-1.16.0-py2.py3-none-any.whl --python 3.9\nwheelhouse/six.whl\n```\n"
    (block,) = blocks_of(text)
    ((command, shown),) = commands_of(block)

    assert "six-1.16.0-py39-none-any.whl" in output_fault(shown, printed(shlex.split(command)[1:], wheels, tmp_path))


@pytest.mark.parametrize(
    "text", ["jbos: 2", "jobs: [2", "store: {folder: a, remote: b}", "# pibuild/recipes/wrapt/recipe.yaml\nname: wrapt"]
)
def test_settings_that_are_refused_are_found(text, tmp_path):
    (block,) = blocks_of(f"```yaml\n{text}\n```\n")

    assert yaml_fault(block, tmp_path) is not None


def test_a_recipe_that_is_refused_is_found(tmp_path):
    recipe = next(block for block in every_block("yaml") if "\nname: wrapt" in block.text)
    wrong = recipe.text.replace("needs: [", "needs: [nothing, ").partition("\n")[2]
    (block,) = blocks_of(f"```yaml\n{wrong}```\n")

    assert "nothing" in (yaml_fault(block, tmp_path) or "")
