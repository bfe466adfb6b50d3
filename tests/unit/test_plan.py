"""A request becomes a plan, or a message that says what to ask for instead."""

from dataclasses import replace

import pytest

from pibuild.errors import UsageError
from pibuild.model import Plan, Request
from pibuild.plan import find_target, make_plan
from tests.makers import make_images, make_recipes, make_source, make_target

TARGETS = {name: make_target(name) for name in ("pi-one", "pi-two")}


def plan_for(
    python="3.11", target="pi-one", recipe=None, version=None, recipes=None, targets=TARGETS, proof="p"
) -> Plan:
    return make_plan(
        Request(target=target, python=python, recipe=recipe, version=version),
        recipes=recipes or make_recipes(),
        targets=targets,
        images={name: make_images(name) for name in targets},
        proof_digest=proof,
    )


def keys(plan: Plan) -> dict[str, str]:
    return {one.recipe.name: one.key for one in plan.artifacts}


def test_what_is_needed_comes_before_what_needs_it():
    names = [one.recipe.name for one in plan_for().artifacts]

    assert names.index("cpython-machine") < names.index("cpython") < names.index("tflite-runtime")
    assert names[-1] == "tflite-runtime"


def test_the_newest_release_that_supports_the_python_is_chosen():
    assert plan_for("3.11").wheel.release.version == "2.14.1"
    assert plan_for("3.9").wheel.release.version == "2.9.0"


def test_a_version_that_is_asked_for_is_built():
    assert plan_for("3.11", version="2.9.0").wheel.release.version == "2.9.0"


def test_equal_requests_have_equal_keys():
    assert plan_for().key == plan_for().key


def test_another_name_of_a_target_gives_the_same_plan():
    assert plan_for(target="Pi Zero").key == plan_for(target="pi-one").key


def test_cpp_is_the_same_artifact_for_every_python():
    assert keys(plan_for("3.11"))["tensorflow-lite"] == keys(plan_for("3.13"))["tensorflow-lite"]


def test_the_machines_python_is_the_same_artifact_for_every_target():
    assert keys(plan_for(target="pi-one"))["cpython-machine"] == keys(plan_for(target="pi-two"))["cpython-machine"]


def test_another_target_changes_what_is_made_for_it():
    assert keys(plan_for(target="pi-one"))["tensorflow-lite"] != keys(plan_for(target="pi-two"))["tensorflow-lite"]


def test_a_changed_script_changes_the_keys_of_all_that_needs_it():
    recipes = make_recipes()
    changed = recipes | {"cpython": replace(recipes["cpython"], digest="other")}
    before, after = keys(plan_for()), keys(plan_for(recipes=changed))

    assert {name for name in before if before[name] != after[name]} == {"cpython", "tflite-runtime"}


def test_a_changed_source_changes_the_key():
    recipes = make_recipes()
    lite = recipes["tensorflow-lite"]
    other = replace(lite, releases=(replace(lite.releases[0], sources=(make_source(tree="f" * 64),)),))

    assert (
        keys(plan_for())["tensorflow-lite"]
        != keys(plan_for(recipes=recipes | {"tensorflow-lite": other}))["tensorflow-lite"]
    )


def test_another_place_of_the_same_source_changes_nothing():
    recipes = make_recipes()
    lite = recipes["tensorflow-lite"]
    moved = replace(lite.releases[0].sources[0], places=())
    other = replace(lite, releases=(replace(lite.releases[0], sources=(moved,)),))

    assert plan_for().key == plan_for(recipes=recipes | {"tensorflow-lite": other}).key


def test_a_stricter_proof_proves_again_what_is_built_already():
    assert plan_for(proof="old").key != plan_for(proof="new").key
    assert plan_for(proof="old").wheel.key == plan_for(proof="new").wheel.key


@pytest.mark.parametrize(
    ("name", "meant"), [("pi-zero", "pi-one"), ("armv6", "pi-one"), ("PI_ONE", "pi-one"), ("pi-two", "pi-two")]
)
def test_names_that_people_try_lead_to_the_target(name, meant):
    assert find_target(name, TARGETS).name == meant


def test_an_unknown_target_is_answered_with_the_nearest_name():
    with pytest.raises(UsageError, match="pi-onne(.|\n)*did you mean 'pi-one'"):
        plan_for(target="pi-onne")


def test_an_unknown_python_is_answered_with_those_there_are():
    with pytest.raises(UsageError, match="Python '3.12' on pi-one(.|\n)*3.9, 3.11, 3.13"):
        plan_for("3.12")


def test_an_unknown_recipe_is_answered_with_the_nearest_name():
    with pytest.raises(UsageError, match="did you mean 'tflite-runtime'"):
        plan_for(recipe="tflite-runtim")


def test_an_unknown_version_is_answered_with_the_nearest_one():
    with pytest.raises(UsageError, match="did you mean '2.14.1'"):
        plan_for(version="2.14.2")
