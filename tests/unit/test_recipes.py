"""The recipes that we ship agree with each other."""

from pathlib import Path

import pytest
from packaging.utils import parse_wheel_filename

import pibuild
from pibuild.build.images import INSTALLED
from pibuild.config.pis import load_pis
from pibuild.config.recipes import load_recipes
from pibuild.model import PypiPlace


@pytest.fixture(scope="module")
def recipes():
    return load_recipes(Path(pibuild.__file__).parent / "recipes")


def pythons(recipe, target="pi-one"):
    releases = [release for release in recipe.releases if release.targets is None or target in release.targets]
    return sorted(python for release in releases for python in release.pythons)


def places(release):
    return [place for source in release.sources for place in source.places]


def test_a_source_of_several_recipes_is_pinned_the_same_in_each(recipes):
    pins = {}
    for recipe in recipes.values():
        for source in (source for release in recipe.releases for source in release.sources):
            pins.setdefault(source.name, set()).add(source)

    assert [name for name, found in pins.items() if len(found) > 1] == []


def test_a_recipe_unpacks_nothing_into_the_folder_of_an_image_s_lock(recipes):
    images = Path(INSTALLED).parent
    folders = [Path(recipe.device) for recipe in recipes.values() if recipe.device]

    assert len(folders) > 3
    assert [str(folder) for folder in folders if folder == images or images in folder.parents] == []


@pytest.mark.parametrize("name", ["cpython", "numpy", "numpy-wheel"])
@pytest.mark.parametrize("target", ["pi-one", "pi-two", "pi-64"])
def test_each_python_has_one_release_of_its_build_and_proof_dependencies(recipes, name, target):
    expected = ["3.7", "3.9", "3.11", "3.12", "3.13", "3.14", *(["2.7", "3.4", "3.5"] if target != "pi-64" else [])]
    assert pythons(recipes[name], target) == sorted(expected)
    assert set(expected) <= set(pythons(recipes["cpython-machine"]))


def test_each_python_of_raspberry_pi_os_can_be_built_for(recipes):
    of_systems = {place.python.version for place in load_pis().places}

    assert of_systems <= set(pythons(recipes["cpython"]))


def test_a_release_has_the_files_of_its_own_version_in_addition_to_those_of_all(recipes):
    of_37, of_39 = (
        [release for release in recipes["cpython"].releases if v in release.pythons] for v in ("3.7", "3.9")
    )

    assert [release.script for release in of_37] == ["build-3.7.17.sh", "build-aarch64.sh"]
    assert all("build-3.7.17.sh" in {path.name for path in release.files} for release in of_37)
    assert not any("build-3.7.17.sh" in {path.name for path in release.files} for release in of_39)


def test_the_pythons_of_a_device_are_of_the_release_that_the_build_machine_has(recipes):
    device, machine = (
        {release.version: release.pythons for release in recipes[name].releases}
        for name in ("cpython", "cpython-machine")
    )

    assert device == machine
    assert all(version.startswith(f"{python}.") for version, (python,) in device.items())


def test_users_get_the_numpy_that_wheels_are_built_and_proven_with(recipes):
    built_with, offered = (
        {python: release.version for release in recipes[name].releases for python in release.pythons}
        for name in ("numpy", "numpy-wheel")
    )

    assert built_with == offered


def test_a_cpython_is_built_with_the_help_of_exactly_its_own_version(recipes):
    versions = [{release.version for release in recipes[name].releases} for name in ("cpython", "cpython-machine")]

    assert versions[0] == versions[1]


def test_each_release_of_tensorflow_1_has_its_packages_for_each_of_its_pythons(recipes):
    offered = [
        sorted((release.version, python) for release in recipes[name].releases for python in release.pythons)
        for name in ("tensorflow", "python-packages")
    ]

    assert offered[0] == offered[1]


def test_grpcio_exists_for_each_python_of_tensorflow_1_with_its_own_core(recipes):
    (grpcio,), (core,) = (recipes[name].releases for name in ("grpcio", "grpc"))

    assert set(grpcio.pythons) == set(pythons(recipes["tensorflow"]))
    assert grpcio.version == core.version
    assert {source.name for source in grpcio.sources} & {source.name for source in core.sources} == {
        f"grpcio-{core.version}"
    }


@pytest.mark.parametrize("name", ["h5py", "wrapt"])
def test_compiled_dependencies_exist_for_each_python_of_tensorflow_1(recipes, name):
    assert pythons(recipes[name]) == sorted(set(pythons(recipes["tensorflow"])))


def test_packages_come_whole_from_pypi_and_run_on_every_python_that_gets_them(recipes):
    packages = recipes["python-packages"]
    for release in packages.releases:
        for name, place in [(one.name, place) for one in release.sources for place in one.places]:
            assert isinstance(place, PypiPlace)
            if name not in packages.tools and place.file.endswith(".whl"):
                majors = parse_wheel_filename(place.file)[3]
                assert {f"py{python[0]}" for python in release.pythons} <= {one.interpreter for one in majors}
                assert {(one.abi, one.platform) for one in majors} == {("none", "any")}


def test_dependencies_left_out_of_the_packages_have_recipes(recipes):
    left_out = (recipes["python-packages"].folder / "left-out.txt").read_text().split()
    names = {place.pypi for release in recipes["python-packages"].releases for place in places(release)}

    assert left_out
    assert not names & set(left_out)
    for release in (one for one in recipes["tensorflow"].releases if one.dependencies):
        assert {"grpcio", "h5py"} <= {recipes[name].package_name for name in release.dependencies}
