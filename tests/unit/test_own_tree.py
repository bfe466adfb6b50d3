"""A person's tree is known for what it is, or the answer says what was looked for."""

import pytest

from pibuild.errors import UsageError
from pibuild.model import OwnTree
from pibuild.sources.local_tree import identify
from tests.failures import fails
from tests.makers.plans import make_recipe

RECIPES = {
    "thing": make_recipe("thing", own_tree=OwnTree(file="tools/setup.py", version="^_VERSION = '([^']+)'")),
    "other": make_recipe("other"),
}


@pytest.fixture
def tree(tmp_path):
    def make(text):
        (tmp_path / "tools").mkdir()
        (tmp_path / "tools/setup.py").write_text(text)
        return tmp_path

    return make


def test_recipe_and_version_are_read_from_a_source_tree(tree):
    assert identify(tree("import os\n_VERSION = '1.12.3'\n"), RECIPES) == ("thing", "1.12.3")


def test_a_folder_that_is_no_source_tree_is_rejected_with_what_it_lacks(tmp_path):
    (tmp_path / "README").touch()

    with fails(UsageError, naming="--source") as caught:
        identify(tmp_path, RECIPES)
    assert (caught.value.expected, caught.value.found) == ("tools/setup.py of thing", "README")


def test_a_missing_source_tree_is_named(tmp_path):
    with fails(UsageError, naming=("nowhere", "--source")):
        identify(tmp_path / "nowhere", RECIPES)


def test_a_source_tree_without_a_version_is_named(tree):
    with fails(UsageError, naming="tools/setup.py"):
        identify(tree("_VERSION = version()\n"), RECIPES)


def test_a_recipe_that_takes_no_source_tree_is_named(tree):
    with fails(UsageError, naming="--source") as caught:
        identify(tree("_VERSION = '1.12.3'\n"), RECIPES, "other")
    assert caught.value.expected == "a tree of other"
