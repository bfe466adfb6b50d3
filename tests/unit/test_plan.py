"""A request becomes a plan, or a message that says what to ask for instead."""

from dataclasses import replace

import pytest

from pibuild.config.targets import find_target, width_note
from pibuild.errors import UsageError
from pibuild.model import Plan, Recipe, Request
from tests.failures import fails
from tests.makers.plans import (
    make_catalogue,
    make_recipe,
    make_recipes,
    make_release,
    make_source,
    make_target,
    with_digest,
)

TARGETS = {name: make_target(name) for name in ("pi-one", "pi-two")}


def plan_for(
    python="3.11",
    target="pi-one",
    recipe=None,
    version=None,
    recipes=None,
    targets=TARGETS,
    proof="p",
    wheel_version=None,
    **varied,
) -> Plan:
    catalogue = make_catalogue(targets=targets, recipes=recipes or make_recipes(), proof_digest=proof)
    request = Request(target=target, python=python, recipe=recipe, version=version, **varied)
    return catalogue.plan(request, version=wheel_version)


def keys(plan: Plan) -> dict[str, str]:
    return {one.recipe.name: one.key for one in plan.artifacts}


def test_needs_come_before_the_artifacts_that_need_them():
    names = [one.recipe.name for one in plan_for().artifacts]

    assert names.index("cpython-machine") < names.index("cpython") < names.index("tflite-runtime")
    assert names[-1] == "tflite-runtime"


def test_the_newest_release_that_supports_the_python_is_chosen():
    assert plan_for("3.11").wheel.release.version == "2.14.1"
    assert plan_for("3.9").wheel.release.version == "2.9.0"


def test_a_requested_version_is_planned():
    plan = plan_for("3.11", version="2.9.0")

    assert plan.wheel.release.version == "2.9.0"
    assert plan.reason == "tflite-runtime 2.9.0: as asked"


def test_an_unproven_release_is_planned_only_if_its_version_is_requested():
    recipes = make_recipes()
    runtime = recipes["tflite-runtime"]
    old, new = runtime.releases
    recipes["tflite-runtime"] = replace(runtime, releases=(old, replace(new, proven_on=())))

    assert plan_for("3.11", recipes=recipes).wheel.release.version == "2.9.0"
    assert plan_for("3.11", version="2.14.1", recipes=recipes).wheel.release.version == "2.14.1"
    with fails(UsageError, naming=("3.13", "pi-one", "--release 2.14.1")):
        plan_for("3.13", recipes=recipes)


def test_the_newest_release_is_the_newest_that_is_proven_for_the_target():
    recipes = make_recipes()
    old, new = recipes["tflite-runtime"].releases
    recipes["tflite-runtime"] = replace(recipes["tflite-runtime"], releases=(old, replace(new, proven_on=("pi-two",))))

    def planned(target, version=None):
        return plan_for("3.11", target=target, recipes=recipes, version=version)

    assert [planned(target).version for target in ("pi-one", "pi-two")] == ["2.9.0", "2.14.1"]
    assert "untested for Python 3.11 on pi-one" in planned("pi-one", "2.14.1").reason
    assert "untested" not in planned("pi-two", "2.14.1").reason


def with_successor(*, proven_on=("pi-one", "pi-two")):
    recipes = make_recipes()
    release = make_release("1.0", pythons=("3.11",), needs=("cpython",))
    successor = make_recipe(
        "litert",
        per=("target", "python"),
        image="toolchain",
        proof="check.py",
        replaces="tflite-runtime",
        releases=(replace(release, proven_on=proven_on),),
    )
    return recipes | {"litert": successor}


def test_the_successor_of_a_product_is_the_default_whatever_its_version():
    recipes = with_successor()

    assert plan_for("3.11", recipes=recipes).reason.startswith("litert 1.0: the newest")
    assert plan_for("3.11", recipe="tflite-runtime", recipes=recipes).wheel.release.version == "2.14.1"
    assert plan_for("3.11", version="2.9.0", recipes=recipes).wheel.recipe.name == "tflite-runtime"


def test_the_replaced_product_is_the_default_where_its_successor_is_not_proven():
    recipes = with_successor(proven_on=("pi-two",))

    assert plan_for("3.9", recipes=recipes).wheel.recipe.name == "tflite-runtime"
    assert plan_for("3.11", target="pi-one", recipes=recipes).wheel.recipe.name == "tflite-runtime"
    assert plan_for("3.11", target="pi-two", recipes=recipes).wheel.recipe.name == "litert"


def test_everything_that_is_missing_or_wrong_in_a_request_is_reported_at_once():
    request = Request(target="pi-six", python="4", recipe="tflite", version="9")
    with fails(UsageError, naming=("'pi-six'", "'4'", "'tflite'", "'9'")):
        make_catalogue(targets=TARGETS).plan(request)
    with fails(UsageError, naming=("--target pi-one", "--python", "'9'")):
        make_catalogue(targets=TARGETS).plan(Request(target=None, python=None, recipe=None, version="9"))


def test_equal_requests_have_equal_keys():
    assert plan_for().key == plan_for().key


def test_another_name_of_a_target_gives_the_same_plan():
    assert plan_for(target="Pi Zero").key == plan_for(target="pi-one").key


def test_cpp_is_the_same_artifact_for_every_python():
    assert keys(plan_for("3.11"))["tensorflow-lite"] == keys(plan_for("3.13"))["tensorflow-lite"]


def test_the_machines_python_is_the_same_artifact_for_every_target():
    assert keys(plan_for(target="pi-one"))["cpython-machine"] == keys(plan_for(target="pi-two"))["cpython-machine"]


def test_another_target_changes_only_the_artifacts_per_target():
    assert keys(plan_for(target="pi-one"))["tensorflow-lite"] != keys(plan_for(target="pi-two"))["tensorflow-lite"]


def test_the_replacement_for_neon_is_built_only_for_targets_without_neon():
    recipes = make_recipes()
    lite = recipes["tensorflow-lite"]
    scalar = replace(lite, releases=(make_release(needs_without_neon=("openblas",)),))
    recipes |= {"openblas": make_recipe("openblas", per=("target",)), "tensorflow-lite": scalar}
    targets = {name: make_target(name, neon=neon) for name, neon in (("pi-one", False), ("pi-two", True))}
    built = {name: plan_for(target=name, recipes=recipes, targets=targets) for name in targets}

    assert [one.recipe.name for one in built["pi-one"].wheel.needs[1].needs] == ["openblas"]
    assert "openblas" not in keys(built["pi-two"])


def test_a_changed_script_changes_the_keys_of_dependent_artifacts():
    recipes = make_recipes()
    changed = recipes | {"cpython": with_digest(recipes["cpython"], "other")}
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


def test_another_place_of_a_source_changes_only_the_bill_of_materials():
    recipes = make_recipes()
    lite = recipes["tensorflow-lite"]
    moved = replace(lite.releases[0].sources[0], places=())
    other = replace(lite, releases=(replace(lite.releases[0], sources=(moved,)),))

    found = plan_for(recipes=recipes | {"tensorflow-lite": other})
    assert found.wheel.key == plan_for().wheel.key
    assert found.key != plan_for().key


def test_a_changed_proof_changes_only_the_key_of_the_wheel():
    assert plan_for(proof="old").key != plan_for(proof="new").key
    assert plan_for(proof="old").wheel.key == plan_for(proof="new").wheel.key


@pytest.mark.parametrize(
    ("key", "value"), [("elf_allowed_functions", ("memcpy",)), ("elf_cpu_arch", "v7"), ("glibc_floor", "2.31")]
)
def test_a_changed_limit_of_a_target_changes_only_the_key_of_the_wheel(key, value):
    changed = plan_for(targets={"pi-one": make_target(**{key: value})})

    assert changed.key != plan_for().key
    assert changed.wheel.key == plan_for().wheel.key


@pytest.mark.parametrize("key", ["aliases", "models"])
def test_a_changed_description_of_a_target_changes_no_key(key):
    changed = plan_for(targets={"pi-one": make_target(**{key: ("other",)})})

    assert changed.key == plan_for().key


@pytest.mark.parametrize(("key", "value"), [("proof", "other.py"), ("package", "other"), ("tools", ("thing",))])
def test_a_recipes_changed_proof_script_changes_only_the_key_of_the_wheel(key, value):
    recipes = make_recipes()
    recipes["tflite-runtime"] = replace(recipes["tflite-runtime"], **{key: value})

    assert plan_for(recipes=recipes).key != plan_for().key
    assert plan_for(recipes=recipes).wheel.key == plan_for().wheel.key


def with_packages(digest="d") -> dict[str, Recipe]:
    """Recipes in which the wheel of 3.11 is proven beside packages that it does not need when it is built."""
    recipes = make_recipes()
    runtime = recipes["tflite-runtime"]
    releases = tuple(replace(one, proven_with=("packages",)) for one in runtime.releases)
    packages = make_recipe("packages", per=("python",), device="/opt/pibuild/python", digest=digest)
    return recipes | {"packages": packages, "tflite-runtime": replace(runtime, releases=releases)}


def test_artifacts_for_the_proof_are_built_and_not_part_of_the_wheel():
    plan, plain = plan_for(recipes=with_packages()), plan_for()

    assert "packages" in keys(plan)
    assert plan.artifacts[-1] == plan.wheel
    assert plan.wheel.key == plain.wheel.key


def test_a_wheel_is_proven_with_the_packages_of_its_version_or_the_newest():
    recipes = with_packages()
    releases = tuple(make_release(version) for version in ("2.9.0", "9.0"))
    recipes["packages"] = replace(recipes["packages"], releases=releases)

    def beside(version):
        artifacts = plan_for(version=version, recipes=recipes).artifacts
        return next(one.release.version for one in artifacts if one.recipe.name == "packages")

    assert beside("2.9.0") == "2.9.0"
    assert beside("2.14.1") == "9.0"


def test_changed_packages_of_the_proof_change_only_the_key_of_the_wheel():
    before, after = plan_for(recipes=with_packages("old")), plan_for(recipes=with_packages("new"))

    assert before.key != after.key
    assert before.wheel.key == after.wheel.key


@pytest.mark.parametrize(
    ("name", "meant"), [("pi-zero", "pi-one"), ("armv6", "pi-one"), ("PI_ONE", "pi-one"), ("pi-two", "pi-two")]
)
def test_aliases_lead_to_the_target(name, meant):
    assert find_target(name, TARGETS).name == meant


def test_an_unknown_target_is_answered_with_the_nearest_name():
    with fails(UsageError, naming=("'pi-onne'", "'pi-one'")):
        plan_for(target="pi-onne")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("pi-4-64-bits", "--target pi-sixty for a 64-bit system"),
        ("aarch64-linux", "getconf LONG_BIT"),
        ("pi-zero2", "'pi-zero-2'"),
        ("pi_zero2_w", "'pi-zero-2-w'"),
        ("pi4", "'pi-4'"),
        ("pi-6", "--target pi-one or --target pi-two"),
        ("pi", "--target pi-one or --target pi-two"),
        ("", "--target pi-one or --target pi-two"),
        ("jetson", "--target pi-one or --target pi-two"),
        ("pi-zreo", "did you mean 'pi-zero'"),
    ],
)
def test_an_unknown_target_is_answered_with_the_nearest_kind_of_pi(name, hint):
    targets = {name: replace(target, aliases=("pi-4", "pi-zero-2", "pi-zero-2-w")) for name, target in TARGETS.items()}
    targets["pi-one"] = replace(targets["pi-one"], aliases=("pi-zero",))
    if "64" in name:
        targets["pi-sixty"] = make_target("pi-sixty", bits=64)
    with pytest.raises(UsageError) as caught:
        find_target(name, targets)
    assert hint in caught.value.hint
    assert len(caught.value.details) == len(targets)


@pytest.mark.parametrize(
    ("name", "is_ambiguous"), [("Pi 4", True), ("pi_4_64", False), ("zero", False), ("pi-two", False)]
)
def test_the_name_of_a_board_that_may_have_either_width_says_how_to_find_out(name, is_ambiguous):
    targets = TARGETS | {
        "pi-one": replace(TARGETS["pi-one"], aliases=("zero",)),
        "pi-two": replace(TARGETS["pi-two"], aliases=("pi-4",)),
        "pi-sixty": make_target("pi-sixty", bits=64, aliases=("pi-4-64",)),
    }
    said = width_note(name, find_target(name, targets), targets)

    assert bool(said) == is_ambiguous
    assert ("LONG_BIT" in said and "--target pi-sixty" in said) == is_ambiguous


@pytest.mark.parametrize("python", ["3.13t", "cp313t", "3.14t"])
def test_a_free_threaded_python_is_refused_with_the_ordinary_one(python):
    with fails(UsageError, naming=(python, "ABI", "Raspberry Pi OS", f"--python 3.{'14' if '14' in python else '13'}")):
        plan_for(python)


@pytest.mark.parametrize(
    ("python", "hints"),
    [
        ("3.12", ["3.11 (bookworm)", "3.13 (trixie)"]),
        ("3.14", ["3.13 (trixie)"]),
        ("3.10", ["3.9 (bullseye)", "3.11 (bookworm)"]),
        ("three", ["3.9, 3.11, 3.13"]),
        ("4", ["3.9, 3.11, 3.13"]),
        ("", ["3.9, 3.11, 3.13"]),
        ("3.11.2", ["--python 3.11"]),
        ("cp39", ["--python 3.9"]),
        ("3.7", ["Python of buster", "3.9 (bullseye)"]),
    ],
)
def test_an_unknown_python_is_answered_with_those_before_and_after_it(python, hints):
    with pytest.raises(UsageError) as caught:
        plan_for(python)
    assert python in caught.value.what
    assert [hint in caught.value.hint for hint in hints] == [True] * len(hints)


def test_an_unknown_recipe_is_answered_with_the_nearest_name():
    with fails(UsageError, naming=("'tflite-runtim'", "'tflite-runtime'")):
        plan_for(recipe="tflite-runtim")


def test_an_unknown_version_is_answered_with_the_nearest_one():
    with fails(UsageError, naming=("'2.14.2'", "'2.14.1'")):
        plan_for(version="2.14.2")


def test_the_users_source_tree_replaces_the_source_of_its_folder():
    recipes = make_recipes()
    release = replace(recipes["tflite-runtime"].releases[1], sources=(make_source("tflite-runtime"), make_source("b")))
    recipes["tflite-runtime"] = replace(recipes["tflite-runtime"], releases=(release,))
    own = make_source("tflite-runtime", tree="2" * 64, places=())
    request = Request(target="pi-one", python="3.11", recipe=None, version=None)
    plan = make_catalogue(targets=TARGETS, recipes=recipes).plan(request, own)

    assert plan.wheel.release.sources == (own, make_source("b"))
    assert plan.key != plan_for(recipes=recipes).key


def test_extras_change_only_the_key_of_the_wheel():
    recipes = make_recipes()
    recipes["tflite-runtime"] = replace(recipes["tflite-runtime"], extras={"c-library": "a library"})
    plain, extended = plan_for(recipes=recipes), plan_for(recipes=recipes, extras=("c-library",))

    assert ("PIBUILD_EXTRAS", "c-library") in extended.wheel.env
    assert [one for one in keys(plain) if keys(plain)[one] != keys(extended)[one]] == ["tflite-runtime"]


def test_an_unknown_extra_suggests_the_nearest():
    recipes = make_recipes()
    recipes["tflite-runtime"] = replace(recipes["tflite-runtime"], extras={"c-library": "a library"})

    with fails(UsageError, naming=("'clibrary'", "c-library")):
        plan_for(recipes=recipes, extras=("clibrary",))


def test_an_extra_of_a_recipe_without_extras_has_no_empty_list_as_hint():
    with fails(UsageError, naming=("tflite-runtime", "'foo'")) as caught:
        plan_for(extras=("foo",))

    assert "one of:" not in str(caught.value)


def test_an_optional_source_can_be_left_out():
    recipes = make_recipes()
    release = replace(recipes["tflite-runtime"].releases[1], sources=(make_source("a"), make_source("api-wheel")))
    recipes["tflite-runtime"] = replace(recipes["tflite-runtime"], releases=(release,))

    assert plan_for(recipes=recipes, without=("api-wheel",)).wheel.release.sources == (make_source("a"),)
    with fails(UsageError, naming=("tflite-runtime 2.14.1", "api-wheel")):
        plan_for(without=("api-wheel",))


def test_the_version_of_a_nightly_changes_only_the_key_of_the_wheel():
    nightly = plan_for(wheel_version="2.14.2.dev20240101")

    assert (plan_for().version, nightly.version) == ("2.14.1", "2.14.2.dev20240101")
    assert nightly.wheel.release.version == "2.14.1"
    assert keys(nightly) == keys(plan_for())
    assert nightly.key != plan_for().key
