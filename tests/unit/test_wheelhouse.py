"""A wheelhouse: what is decided to be in it, and when it is whole."""

import hashlib
from dataclasses import replace
from pathlib import Path

from pibuild.build import wheelhouse
from pibuild.build.prove import check_minimal
from pibuild.console import Console
from pibuild.errors import ProofError, UsageError
from pibuild.model import Request
from pibuild.store.local import Store
from tests.failures import fails
from tests.makers.plans import make_catalogue, make_recipe, make_recipes, make_release

PYTHONS = ("3.11", "3.13")


def with_dependencies():
    """The usual recipes; the wheel depends on numpy, which is compiled, and on packages in pure Python."""
    recipes = make_recipes()
    runtime = recipes["tflite-runtime"]
    releases = tuple(
        replace(one, dependencies=("numpy-wheel", "packages"), proven_with=("numpy", "packages"))
        for one in runtime.releases
    )
    new = [
        replace(runtime, releases=releases),
        make_recipe("numpy", per=("target", "python"), device="/opt/python/lib"),
        make_recipe(
            "numpy-wheel",
            per=("target", "python"),
            image="toolchain",
            proof="check.py",
            package="numpy",
            releases=(make_release("99.0", pythons=PYTHONS, needs=("cpython",)),),
        ),
        make_recipe(
            "packages",
            per=("python",),
            device="/opt/packages",
            releases=(make_release("2.9.0"), make_release("2.14.1"), make_release("9.0")),
        ),
    ]
    return recipes | {one.name: one for one in new}


def planned(recipes=None, **asked):
    plain = {"target": "pi-one", "python": "3.11", "recipe": None, "version": None}
    return make_catalogue(recipes=recipes or with_dependencies()).plan(Request(**plain | asked))


def decided(recipes=None, **asked):
    return make_catalogue(recipes=recipes or with_dependencies()).wheelhouse(planned(recipes, **asked))


def test_the_artifacts_of_a_wheelhouse_include_those_of_every_dependency():
    names = [artifact.recipe.name for artifact in wheelhouse.all_artifacts(decided())]

    assert {"numpy-wheel", "packages", "tflite-runtime", "tensorflow-lite", "cpython"} <= set(names)
    assert names[-1] == "tflite-runtime"
    assert wheelhouse.all_artifacts(planned()) == planned().artifacts


def test_compiled_dependencies_are_wheels_for_the_same_target_and_python():
    house = decided()

    assert [one.wheel.title for one in house.compiled] == ["numpy-wheel 99.0 for pi-one, Python 3.11"]


def test_packages_are_those_of_the_wheels_own_version():
    assert [one.release.version for one in decided(version="2.9.0").packages] == ["2.9.0"]


def test_dependencies_that_pip_shall_install_are_not_preinstalled():
    house = decided()

    assert {"numpy", "packages"} <= {one.recipe.name for one in house.plan.artifacts}
    assert [one.recipe.name for one in house.installed] == ["cpython"]


def test_a_recipe_that_only_serves_others_is_planned_only_by_name():
    recipes = with_dependencies()

    assert planned(recipes).wheel.recipe.name == "tflite-runtime"
    assert planned(recipes, recipe="numpy-wheel").wheel.release.version == "99.0"


def test_other_packages_change_the_key_of_the_wheelhouse_only():
    recipes = with_dependencies()
    packages = recipes["packages"]
    releases = tuple(replace(one, digest="other") for one in packages.releases)
    before, after = decided(), decided(recipes | {"packages": replace(packages, releases=releases)})

    assert before.key != after.key
    assert [one.wheel.key for one in (before.plan, *before.compiled)] == [
        one.wheel.key for one in (after.plan, *after.compiled)
    ]


def test_a_recipe_without_dependencies_makes_no_wheelhouse():
    with fails(UsageError, naming=("tflite-runtime", "--with-dependencies")):
        decided(make_recipes())


def test_a_dependency_without_a_release_for_the_python_is_named():
    recipes = with_dependencies()
    runtime = recipes["tflite-runtime"]
    releases = (make_release("3.0", pythons=("3.9",), dependencies=("numpy-wheel",)),)

    with fails(UsageError, naming="3.9"):
        decided(recipes | {"tflite-runtime": replace(runtime, releases=releases)}, python="3.9")


def test_a_wheelhouse_is_complete_if_every_wheel_is_stored(tmp_path):
    store, house = Store(tmp_path / "store", Console()), decided()
    try:
        assert wheelhouse.stored_wheels(house, store) == []
        for key, name in ((house.key, "thing"), (house.compiled[0].key, "numpy")):
            assert wheelhouse.stored_wheels(house, store) == []
            path = tmp_path / f"{name}-1.0-py3-none-any.whl"
            path.write_bytes(b"a wheel")
            record = {"wheel": {"file": path.name, "sha256": sha256(path)}}
            store.put_wheel(key, path, record)
        assert [entry.path.name.partition("-")[0] for entry in wheelhouse.stored_wheels(house, store)] == [
            "numpy",
            "thing",
        ]
    finally:
        store.close()


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


WHEELS = [Path(name) for name in ("A_thing-1.0-py3-none-any.whl", "setuptools-41.6.0-py3-none-any.whl")]


def test_wheels_that_pip_installed_may_be_in_the_wheelhouse():
    check_minimal(WHEELS, ["a-thing==1.0", "pip==20.3.4"])


def test_a_wheel_that_pip_does_not_need_is_named():
    with fails(ProofError, naming="A_thing-1.0-py3-none-any.whl") as raised:
        check_minimal(WHEELS, ["another==1.0"])

    assert raised.value.found == "A_thing-1.0-py3-none-any.whl"
