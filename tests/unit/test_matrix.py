"""The matrix of pibuild.yaml becomes cells that can be built."""

from dataclasses import replace
from pathlib import Path

import pytest

from pibuild.build.catalogue import load_catalogue
from pibuild.config.settings import Cells, Exclusion, Nightly
from pibuild.config.settings_sources import load_settings
from pibuild.errors import UsageError
from pibuild.model import OwnTree
from pibuild.nightly.matrix import chosen, matrix, with_dependency_cells
from tests.failures import fails
from tests.makers.plans import make_recipe, make_recipes, make_release, make_target

ROOT = Path(__file__).parents[2]
LITE = Cells(recipe="tflite-runtime", versions=("2.14.1",), targets=("pi-one",), pythons=("3.11",))
LITE_WITH = replace(LITE, with_dependencies=True)


def cells(*declared, exclude=(), more=()):
    recipes = make_recipes() | {one.name: one for one in more}
    recipes["tensorflow"] = make_recipe(
        "tensorflow",
        per=("target", "python"),
        proof="check.py",
        own_tree=OwnTree(file="setup.py", version="(.*)"),
        releases=(make_release("1.14.0", pythons=("3.5",)), make_release("1.12.3", pythons=("3.5",))),
    )
    targets = {name: make_target(name) for name in ("pi-one", "pi-two")}
    return matrix(Nightly(cells=declared, exclude=exclude), recipes, targets)


def ids(*declared, exclude=()):
    return [cell.id for cell in cells(*declared, exclude=exclude)]


def test_a_cell_is_named_by_recipe_version_target_and_python():
    assert ids(LITE) == ["tflite-runtime-2.14.1-pi-one-3.11"]


def test_without_versions_each_python_gets_its_newest():
    found = ids(Cells(recipe="tflite-runtime", targets=("pi-one",)))
    assert found == [
        "tflite-runtime-2.14.1-pi-one-3.11",
        "tflite-runtime-2.14.1-pi-one-3.13",
        "tflite-runtime-2.9.0-pi-one-3.9",
    ]


def test_without_targets_all_are_used_and_the_cells_of_one_follow_each_other():
    found = cells(Cells(recipe="tflite-runtime", versions=("2.14.1",)))
    assert [(cell.target, cell.python) for cell in found] == [
        ("pi-one", "3.11"),
        ("pi-one", "3.13"),
        ("pi-two", "3.11"),
        ("pi-two", "3.13"),
    ]


def test_a_target_may_be_named_by_an_alias():
    declared = Cells(recipe="tflite-runtime", versions=("2.14.1",), targets=("pi-zero",), pythons=("3.11",))
    assert ids(declared) == ["tflite-runtime-2.14.1-pi-one-3.11"]


def beside():
    """tflite-runtime with its dependencies: numpy, which is compiled in two versions, and pure packages."""
    runtime = make_recipes()["tflite-runtime"]
    releases = tuple(replace(one, dependencies=("numpy-wheel", "packages")) for one in runtime.releases)
    numpy = {"2.1": ("3.11", "3.13"), "1.19": ("3.9", "3.11")}
    return (
        replace(runtime, releases=releases),
        make_recipe("packages", per=("python",)),
        make_recipe(
            "numpy-wheel",
            per=("target", "python"),
            proof="check.py",
            releases=tuple(make_release(version, pythons=pythons) for version, pythons in numpy.items()),
        ),
    )


def test_each_compiled_dependency_is_a_cell_in_its_newest_release_for_the_python():
    declared = Cells(recipe="tflite-runtime", targets=("pi-one",), with_dependencies=True)
    found = cells(declared, LITE_WITH, more=beside())
    assert [(cell.id, cell.with_dependencies) for cell in found] == [
        ("numpy-wheel-1.19-pi-one-3.9", False),
        ("numpy-wheel-2.1-pi-one-3.11", False),
        ("numpy-wheel-2.1-pi-one-3.13", False),
        ("tflite-runtime-2.14.1-pi-one-3.11", True),
        ("tflite-runtime-2.14.1-pi-one-3.13", True),
        ("tflite-runtime-2.9.0-pi-one-3.9", True),
    ]


def test_a_requested_dependency_is_not_marked_as_a_mere_dependency():
    numpy = Cells(recipe="numpy-wheel", versions=("2.1",), targets=("pi-one",), pythons=("3.11",))
    for declared, is_beside in (((LITE_WITH,), True), ((LITE_WITH, numpy), False), ((numpy, LITE_WITH), False)):
        found = cells(*declared, more=beside())
        assert [(cell.recipe, cell.is_beside) for cell in found] == [
            ("numpy-wheel", is_beside),
            ("tflite-runtime", False),
        ]


def test_dependencies_of_an_excluded_cell_are_not_in_the_matrix():
    declared = Cells(recipe="tflite-runtime", targets=("pi-one",), pythons=("3.11", "3.13"), with_dependencies=True)
    found = cells(declared, exclude=(Exclusion(recipe="tflite-runtime", python="3.11"),), more=beside())
    assert [cell.id for cell in found] == ["numpy-wheel-2.1-pi-one-3.13", "tflite-runtime-2.14.1-pi-one-3.13"]
    with fails(UsageError, naming="nightly.cells"):
        cells(declared, exclude=(Exclusion(recipe="tflite-runtime"),), more=beside())


def test_a_dependency_can_be_excluded_itself():
    found = cells(LITE_WITH, exclude=(Exclusion(recipe="numpy-wheel"),), more=beside())
    assert [cell.recipe for cell in found] == ["tflite-runtime"]


def test_chosen_cells_bring_the_cells_of_their_dependencies():
    declared = Cells(recipe="tflite-runtime", targets=("pi-one",), with_dependencies=True)
    found = cells(declared, more=beside())
    some = chosen(found, ["tflite-runtime-2.14.1-pi-one-3.13"])
    recipes = make_recipes() | {one.name: one for one in beside()}
    both = with_dependency_cells(some, found, recipes, {"pi-one": make_target("pi-one")})
    assert [cell.id for cell in both] == ["numpy-wheel-2.1-pi-one-3.13", some[0].id]


def test_with_dependencies_a_recipe_without_a_list_of_them_is_rejected():
    with fails(UsageError, naming=("nightly.cells.0", "tflite-runtime 2.14.1")):
        cells(LITE_WITH)


def test_a_dependency_without_a_release_for_the_python_is_rejected():
    declared = Cells(recipe="tflite-runtime", pythons=("3.13",), with_dependencies=True)
    *others, numpy = beside()
    numpy = replace(numpy, releases=numpy.releases[1:])
    with fails(UsageError, naming=("nightly.cells.0", "numpy-wheel", "tflite-runtime-2.14.1-pi-one-3.13", "'3.13'")):
        cells(declared, more=(*others, numpy))


def test_a_cell_both_with_and_without_dependencies_is_rejected():
    with fails(UsageError, naming=("nightly.cells.1", "tflite-runtime-2.14.1-pi-one-3.11")):
        cells(LITE, LITE_WITH, more=beside())


def test_a_ref_stands_for_the_version_in_the_name():
    declared = Cells(recipe="tensorflow", refs=("r1.14/next",), targets=("pi-one",))
    (cell,) = cells(declared)
    assert (cell.id, cell.version) == ("tensorflow-r1.14_next-pi-one-3.5", "1.14.0")


@pytest.mark.parametrize(
    ("refs", "versions", "words"),
    [
        (("feature/x", "feature_x"), (), "ref 'feature_x' of version 1.14.0 and ref 'feature/x'"),
        (("feature-x", "feature/x"), (), "tensorflow-feature_x-pi-one-3.5"),
        (("r1.14",), ("1.14.0", "1.12.3"), "ref 'r1.14' of version 1.12.3 and ref 'r1.14' of version 1.14.0"),
    ],
)
def test_two_cells_of_one_name_are_rejected(refs, versions, words):
    with fails(UsageError, naming="nightly.cells.0") as caught:
        cells(Cells(recipe="tensorflow", refs=refs, versions=versions, targets=("pi-one",)))
    assert words in str(caught.value)


def test_a_git_tag_with_the_cell_name_of_a_release_is_rejected():
    release, tag = Cells(recipe="tensorflow"), Cells(recipe="tensorflow", refs=("1.14.0",))
    with fails(UsageError, naming=("nightly.cells.1", "ref '1.14.0'", "tensorflow-1.14.0-pi-one-3.5")):
        cells(release, tag)


def test_a_cell_that_is_declared_twice_is_in_the_matrix_once():
    assert cells(LITE, LITE) == cells(LITE)


def test_an_excluded_cell_need_not_be_buildable():
    declared = Cells(recipe="tflite-runtime", versions=("2.14.1",), targets=("pi-one",), pythons=("3.9", "3.11"))
    assert ids(declared, exclude=(Exclusion(python="3.9"),)) == ["tflite-runtime-2.14.1-pi-one-3.11"]


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (Cells(recipe="tflite-runtme"), "did you mean 'tflite-runtime'"),
        (Cells(recipe="cpython"), "tflite-runtime"),
        (Cells(recipe="tflite-runtime", targets=("pi-onne",)), "did you mean 'pi-one'"),
        (Cells(recipe="tflite-runtime", versions=("2.14.2",)), "did you mean '2.14.1'"),
        (
            Cells(recipe="tflite-runtime", versions=("2.14.1",), pythons=("3.9",)),
            "2.14.1 does not support Python 3.9; expected Python 3.11, 3.13",
        ),
        (Cells(recipe="tflite-runtime", pythons=("3.12",)), "Python '3.12'"),
        (Cells(recipe="tflite-runtime", refs=("main",), versions=("2.14.1",)), "tflite-runtime takes no refs"),
    ],
)
def test_a_cell_that_cant_be_built_is_rejected_with_the_reason(declared, words):
    with pytest.raises(UsageError) as caught:
        cells(declared)
    assert words in str(caught.value)
    assert "nightly.cells.0" in str(caught.value)


def test_a_recipe_without_pythons_is_rejected_without_an_empty_list():
    with fails(UsageError, naming="nightly.cells.0") as caught:
        cells(Cells(recipe="bare"), more=(make_recipe("bare", proof="check.py", releases=()),))

    assert not [line for line in caught.value.details if line.endswith((": ", "one of: "))]


def test_all_findings_are_reported_at_once():
    with pytest.raises(UsageError) as caught:
        cells(Cells(recipe="tflite"), Cells(recipe="tflite-runtime", targets=("pi-six",)))
    assert "nightly.cells.0" in str(caught.value)
    assert "nightly.cells.1" in str(caught.value)


def test_recipes_targets_pythons_and_versions_are_each_examined_and_reported_once():
    with pytest.raises(UsageError) as caught:
        cells(Cells(recipe="tflite", targets=("pi-six", "pi-seven", "pi-one"), pythons=("4", "3.11")))
    for name in ("'tflite'", "'pi-six'", "'pi-seven'", "'4'"):
        assert sum(name in detail for detail in caught.value.details) == 1, name
    assert len(caught.value.details) == 4
    with fails(UsageError, naming=("'pi-six'", "'4'", "'9'")) as caught:
        cells(Cells(recipe="tflite-runtime", targets=("pi-six", "pi-one"), pythons=("4",), versions=("9",)))
    assert len(caught.value.details) == 3


def test_without_versions_each_target_gets_the_newest_that_is_proven_for_it():
    runtime = make_recipes()["tflite-runtime"]
    old, new = runtime.releases
    for_two = replace(runtime, releases=(old, replace(new, proven_on=("pi-two",))))
    found = cells(Cells(recipe="tflite-runtime", pythons=("3.11",)), more=[for_two])
    assert [(cell.target, cell.version) for cell in found] == [("pi-two", "2.14.1"), ("pi-one", "2.9.0")]
    with fails(UsageError, naming=("3.13", "pi-one", "2.14.1", "versions")):
        cells(Cells(recipe="tflite-runtime", pythons=("3.13",)), more=[for_two])


def test_without_pythons_a_target_gets_those_for_which_a_release_is_proven_on_it():
    runtime = make_recipes()["tflite-runtime"]
    proven, extra = make_release("2.14.1", pythons=("3.11",)), make_release("2.14.1", pythons=("3.13",))
    for_two = replace(runtime, releases=(proven, replace(extra, proven_on=("pi-two",))))
    found = cells(Cells(recipe="tflite-runtime"), more=[for_two])
    assert sorted((cell.target, cell.python) for cell in found) == [
        ("pi-one", "3.11"),
        ("pi-two", "3.11"),
        ("pi-two", "3.13"),
    ]


def test_an_exclusion_without_effect_is_rejected():
    with fails(UsageError, naming=("nightly.exclude.0", "pi-onne")):
        cells(LITE, exclude=(Exclusion(target="pi-onne"),))


def test_an_empty_matrix_is_rejected():
    with fails(UsageError, naming="nightly.cells"):
        cells()
    with fails(UsageError, naming="nightly.cells"):
        cells(LITE, exclude=(Exclusion(recipe="tflite-runtime"),))


def test_cells_are_chosen_by_name_and_an_unknown_name_gets_the_nearest():
    found = cells(Cells(recipe="tflite-runtime", versions=("2.14.1",)))
    assert [cell.target for cell in chosen(found, ["tflite-runtime-2.14.1-pi-two-3.13"])] == ["pi-two"]
    assert chosen(found, []) == found
    with fails(UsageError, naming=("'tflite-runtime-2.14.1-pi-two-3.12'", "'tflite-runtime-2.14.1-pi-two-3.1")):
        chosen(found, ["tflite-runtime-2.14.1-pi-two-3.12"])


def test_unknown_keys_of_the_file_are_answered_with_the_nearest(tmp_path):
    (tmp_path / "pibuild.yaml").write_text("nightly:\n  cells:\n    - {recipe: tflite-runtime, pyhtons: ['3.11']}\n")
    with fails(UsageError, naming=("nightly.cells.0.pyhtons", "'pythons'")):
        load_settings({}, {}, tmp_path)


def test_a_version_without_quotes_is_rejected(tmp_path):
    (tmp_path / "pibuild.yaml").write_text("nightly:\n  cells:\n    - {recipe: tflite-runtime, pythons: [3.10]}\n")
    with fails(UsageError, naming=("nightly.cells.0.pythons.0", "3.1")):
        load_settings({}, {}, tmp_path)


def test_a_target_without_a_proven_release_is_left_out_unless_it_is_named():
    unproven = make_recipe("open", proof="check.py", releases=(make_release(pythons=("3.11",), proven_on=("pi-one",)),))
    named = Cells(recipe="open", targets=("pi-two",), versions=("1.0",))

    assert {cell.target for cell in cells(Cells(recipe="open"), more=(unproven,))} == {"pi-one"}
    assert {cell.target for cell in cells(named, more=(unproven,))} == {"pi-two"}


def test_a_release_that_is_not_for_a_target_is_rejected_there():
    release = make_release(pythons=("3.11",), targets=("pi-one",))
    elsewhere = make_recipe("elsewhere", proof="check.py", releases=(release,))

    with fails(UsageError, naming=("can't be built for pi-two", "--target pi-one")):
        cells(Cells(recipe="elsewhere", targets=("pi-two",)), more=(elsewhere,))


def test_the_example_has_every_wheel_that_can_be_built():
    catalogue = load_catalogue()
    settings = load_settings({"config": str(ROOT / "ci" / "nightly.yaml")}, {}, ROOT)
    example = matrix(settings.nightly, catalogue.recipes, catalogue.targets)
    found = {(cell.recipe, cell.version, cell.target, cell.python) for cell in example if not cell.is_beside}
    assert found == {
        (recipe.name, release.version, target.name, python)
        for recipe in (catalogue.recipes[name] for name in ("tensorflow", "litert", "tflite-runtime"))
        for release in recipe.releases
        for target in catalogue.targets.values()
        if release.is_for(target)
        for python in release.pythons
    }
