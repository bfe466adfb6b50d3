"""What a file's user reads about wrong values: own sentences, with paths in the file, one for each mistake."""

import datetime as dt
import re
from typing import get_args

import pytest
from pydantic_core.core_schema import ErrorType

from pibuild.config.pis import Pis
from pibuild.config.recipes import load_recipes
from pibuild.config.settings import Settings
from pibuild.config.settings_sources import load_settings
from pibuild.config.strict_yaml import checked
from pibuild.config.targets import load_targets
from pibuild.config.validation import EXPECTED, file_levels
from pibuild.errors import UsageError
from pibuild.model import Base, Recipe, Target
from tests.failures import fails

FILES = (Settings, Recipe, Target, Base, Pis)
"""What each kind of YAML file holds."""
FOREIGN_WORDS = re.compile(
    r"Input|[Ff]ield|required|\bvalid|tuple|\bset\b|frozenset|\bdict|NoneType|None|True|False|instance|dataclass|object"
    r"|\bstr\b|\bint\b|integer|\bfloat\b|\bbool|datetime|parse|keyword|argument|iterable|hashable|interpret|Error"
    r"|Settings|Destination|Place|<|pydantic"
)
"""Words of pydantic and of Python, and names of classes."""


def wrong_values(turn=None):
    """Return single values, and lists and mappings with them: all of these, or every third from a turn on."""
    endless: list[object] = []
    endless.append(endless)
    scalars = ["x", "", 3, -1, 1.5, float("nan"), float("inf"), True, None, dt.date(2026, 1, 2)]
    scalars += [dt.datetime(2026, 1, 2, tzinfo=dt.UTC)]
    lists = [[value] for value in (*scalars, [], ["x"], [1], {}, {"x": 1})]
    mappings = [{"x": value} for value in (*scalars, [], {})]
    nested = [*lists, *mappings]
    return [*scalars, [], {}, *(nested if turn is None else nested[turn % 3 :: 3]), endless]


def documents(path, value):
    """Yield documents that have a value at a path, with a list or a mapping where the path has a star."""
    if not path:
        yield value
        return
    for below in documents(path[1:], value):
        if path[0] == "*":
            yield [below]
            yield {"name": below}
        elif path[0].startswith("<"):
            yield below
        else:
            yield {path[0]: below}


def mappings_with(kind):
    """Yield documents with each wrong value as the whole, and as the value of all keys of each mapping.

    The mappings take turns at the nested values, so that each kind of file has all of them in fewer documents.
    """
    yield from wrong_values()
    for turn, (path, keys) in enumerate(file_levels(kind).items()):
        yield from documents(path, dict.fromkeys(keys, "x"))
        for value in wrong_values(turn):
            yield from documents(path, dict.fromkeys(keys.values(), value))


@pytest.mark.parametrize("kind", FILES, ids=lambda kind: getattr(kind, "__name__", ""))
def test_no_wrong_value_of_any_key_is_answered_in_pydantics_words(kind):
    for document in mappings_with(kind):
        for finding in checked(kind, document)[1]:
            words = re.sub("'[^']*'", "''", finding)  # what the file has
            words = re.sub(r"^[\w.]+(?=: )|(?<=; one of: ).*", "key", words)
            assert not FOREIGN_WORDS.search(words), (document, finding)
            assert not re.search(r"^:|: *$|: *:|; *$|\.\.|[:;] ,", words), (document, finding)


def test_the_table_has_only_types_that_pydantic_has():
    assert [begin for begin in EXPECTED if not any(kind.startswith(begin) for kind in get_args(ErrorType))] == []


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("publish: {to: [{twnie: x}]}", ("publish.to.0:", "twine", "'twnie'")),
        ("publish: {to: [{twine: 3}]}", ("publish.to.0.twine:", "3")),
        ("publish: {to: [{rclone: x, twine: y}]}", ("publish.to.0.twine:", "'rclone'", "publish.to")),
        ("publish: {to: [{rclone: x, index: y}]}", ("publish.to.0.index:", "'rclone'", "'twine'")),
        ("publish: {to: [{}]}", ("publish.to.0:", "rclone", "twine")),
        ("publish: {to: [{host: x}]}", ("publish.to.0:", "rclone", "twine", "'host'")),
        ("publish: {to: [x]}", ("publish.to.0:", "rclone", "twine", "'x'")),
        ("nightly: {cels: []}", ("nightly.cels:", "'cells'")),
        ("nightly: {cells: [{recpie: x}]}", ("nightly.cells.0.recpie:", "'recipe'")),
        ("nightly: {cells: [{recipe: x, version: y}]}", ("nightly.cells.0.version:", "'versions'")),
        ("publish: {count: 3}", ("publish.count:", "under publish.retention")),
        ("publish: {cuont: 3}", ("publish.cuont:", "retention")),
        ("publish: {target: x}", ("publish.target:", "at the top level")),
        ("site: x", ("site:", "under publish")),
        ("TARGET: x", ("TARGET:", "'target'")),
        ("no-api-wheel: true", ("no-api-wheel:", "'no_api_wheel'")),
        ("verzion: x", ("verzion:", "'release'")),
        ("version: 3", ("release:", "3")),
        ("version: '3'\nrelease: '3'", ("version:", "'release'")),
        ("with: [a]\nextras: [a]", ("extras:", "'with'")),
        ("target: a\ntaregt: a", ("taregt:", "'target'", "remove")),
        ("publish: {<rclone>: x}", ("publish.<rclone>:", "retention")),
        ("publish: {to: [{rclone: x, <rclone>: y}]}", ("publish.to.0.<rclone>:", "'rclone'")),
        ("store: ~nosuch", ("store:", "'~nosuch'")),
        ("store: {folder: ~nosuch}", ("store.folder:", "'~nosuch'")),
        ("python: true", ("python:", "true")),
        ("python: 2026-01-02", ("python:", "2026-01-02")),
        ("output:", ("output:", "null")),
        ("1: x", ("line 1",)),
        ("null: x", ("line 1",)),
    ],
)
def test_each_mistake_is_one_finding_with_its_place_in_the_file(tmp_path, file, names):
    (tmp_path / "pibuild.yaml").write_text(file)
    with fails(UsageError, naming=names) as caught:
        load_settings({}, {}, tmp_path)

    assert len(caught.value.details) == 1


@pytest.mark.parametrize("text", ["false", "0", "[]", "''", "0.0", "x"])
def test_a_file_that_is_not_a_mapping_is_refused(tmp_path, text):
    (tmp_path / "pibuild.yaml").write_text(text)
    with fails(UsageError, naming="pibuild.yaml"):
        load_settings({}, {}, tmp_path)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n"])
def test_an_empty_file_changes_no_setting(tmp_path, text):
    (tmp_path / "pibuild.yaml").write_text(text)

    assert load_settings({}, {}, tmp_path) == Settings()


@pytest.mark.parametrize("text", ["", "false", "0", "[]", "x"])
def test_a_target_or_recipe_that_is_not_a_mapping_is_refused(tmp_path, text):
    (tmp_path / "thing").mkdir()
    for path, load in ((tmp_path / "pi-one.yaml", load_targets), (tmp_path / "thing" / "recipe.yaml", load_recipes)):
        path.write_text(text)
        with fails(UsageError, naming=path):
            load(tmp_path)


def test_a_targets_name_comes_from_its_file_only(tmp_path):
    (tmp_path / "pi-one.yaml").write_text("name: pi-two\n")
    with fails(UsageError, naming=("pi-one.yaml", "name:")):
        load_targets(tmp_path)


def test_of_quiet_and_verbose_the_stronger_place_decides(tmp_path):
    (tmp_path / "pibuild.yaml").write_text("verbose: true\n")
    by_variable = load_settings({}, {"PIBUILD_QUIET": "1"}, tmp_path)
    by_option = load_settings({"verbose": True}, {"PIBUILD_QUIET": "1"}, tmp_path)

    assert (by_variable.quiet, by_variable.verbose) == (True, False)
    assert (by_option.quiet, by_option.verbose) == (False, True)


@pytest.mark.parametrize(
    ("variable", "names"),
    [
        ("VERSON", ("'PIBUILD_RELEASE'",)),
        ("EXTRAS", ("'PIBUILD_WITH'",)),
        ("Target", ("'PIBUILD_TARGET'",)),
        ("NIGHTLY", ("'nightly'", "pibuild.yaml")),
        ("ZZZ", ("PIBUILD_TARGET", "PIBUILD_CONFIG")),
    ],
)
def test_an_unknown_variable_is_answered_without_old_or_unrelated_names(tmp_path, variable, names):
    with fails(UsageError, naming=(f"PIBUILD_{variable}:", *names)) as caught:
        load_settings({}, {f"PIBUILD_{variable}": "x"}, tmp_path)

    assert not {"PIBUILD_VERSION", "PIBUILD_EXTRAS"}.intersection(re.findall(r"\w+", caught.value.details[0])[1:])


def test_the_old_and_the_new_variable_together_are_refused(tmp_path):
    with fails(UsageError, naming=("PIBUILD_VERSION:", "'PIBUILD_RELEASE'")):
        load_settings({}, {"PIBUILD_VERSION": "1", "PIBUILD_RELEASE": "1"}, tmp_path)


def test_unknown_and_wrong_variables_are_found_at_once(tmp_path):
    with fails(UsageError, naming=("PIBUILD_STROE:", "PIBUILD_JOBS:", "PIBUILD_STORE:")):
        environ = {"PIBUILD_STROE": "x", "PIBUILD_JOBS": "x", "PIBUILD_STORE": "~nosuch"}
        load_settings({}, environ, tmp_path)


def test_a_wrong_option_is_named_as_it_was_typed(tmp_path):
    with fails(UsageError, naming=("--jobs:", "0", "--store:", "'~nosuch'")):
        load_settings({"jobs": 0, "store": "~nosuch"}, {}, tmp_path)


RECIPE = """
name: thing
summary: a thing
per: [target]
image: toolchain
files: [build.sh]
releases:
  - version: "1.0"
    sources: [thing-1.0]
sources:
  thing-1.0:
    tree: "0000"
    places:
      - git: owner/thing
        commit: "1111"
"""


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("sources:\n  thing", "sorces:\n  thing", ("sorces:", "'sources'")),
        ("name: thing\n", "nmae: thing\n", ("nmae:", "'name'")),
        ("git: owner", "gti: owner", ("sources.thing-1.0.places.0:", "git", "'gti'")),
        ("git: owner/thing", "git: 3", ("sources.thing-1.0.places.0.git:", "3")),
        ('"1111"', '"1111"\n        suite: x', ("sources.thing-1.0.places.0.suite:", "'git'", "'debian'")),
        ("git: owner/thing", "host: x", ("sources.thing-1.0.places.0:", "archive", "'host'")),
        ("    tree:", "    needs: []\n    tree:", ("sources.thing-1.0.needs:", "under releases")),
        ("    tree:", "    name: x\n    tree:", ("sources.thing-1.0.name:",)),
        ("image:", "tree: x\nimage:", ("tree:", "under sources")),
        ("image:", "pythons: x\nimage:", ("pythons:", "under releases")),
        ("image:", "extras: {bench: 3}\nimage:", ("extras.bench:", "3")),
        ("image:", "extras: [bench]\nimage:", ("extras:",)),
        ("image:", "has_cache: true\nimage:", ("has_cache:", "'cache'")),
        ("[thing-1.0]", "[{a: b}]", ("releases.0.sources:",)),
        ("[thing-1.0]", "thing-1.0", ("releases.0.sources:", "'thing-1.0'")),
        ("[thing-1.0]", "[other-1.0, thing-2.0]", ("releases.0.sources:", "'other-1.0'", "'thing-2.0'")),
    ],
)
def test_each_mistake_in_a_recipe_is_one_finding(tmp_path, old, new, names):
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / "recipe.yaml").write_text(RECIPE.replace(old, new))
    with fails(UsageError, naming=names) as caught:
        load_recipes(tmp_path)

    assert len(caught.value.details) == 1, caught.value.details


def test_a_recipe_that_replaces_an_unknown_one_names_the_nearest(tmp_path):
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / "build.sh").write_text("")
    (tmp_path / "thing" / "recipe.yaml").write_text(RECIPE.replace("image:", "replaces: thnig\nimage:"))
    with fails(UsageError, naming=("replaces:", "'thnig'", "'thing'")):
        load_recipes(tmp_path)


def test_a_recipe_without_sources_lacks_one_key(tmp_path):
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / "recipe.yaml").write_text(RECIPE[: RECIPE.index("sources:\n")])
    with fails(UsageError, naming="sources:") as caught:
        load_recipes(tmp_path)

    assert len(caught.value.details) == 1
