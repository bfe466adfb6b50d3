"""The bill of materials: what it says of a plan, and that it is always the same bytes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import pibuild
from pibuild.build.sbom import named, purl, sbom
from pibuild.config.project_files import project_folder
from pibuild.config.recipes import load_recipes
from pibuild.config.targets import load_targets
from pibuild.model import ArchivePlace, DebianPlace, GitPlace, NpmPlace, PypiPlace, Request
from tests.makers.plans import make_catalogue, make_recipes, make_release, make_source, make_target

COMMIT, SHA = "48cd2c3f351ff188bc85684b84a91b6e6d17d896", "1" * 64


def plan_of(*, recipes=None, proof="p", **changes):
    request = Request(target="pi-one", python="3.11", recipe="tflite-runtime", version=None)
    targets = {"pi-one": make_target(compiler="gcc 10.2.1")}
    catalogue = make_catalogue(targets=targets, recipes=recipes or recipes_with(), proof_digest=proof)
    return catalogue.plan(request, **changes)


def recipes_with(*own, tools=(), **sources):
    """The usual recipes, each with a source named for itself; `own` are the wheel's."""
    found = make_recipes()
    for name, recipe in found.items():
        held = sources.get(name.replace("-", "_"), (make_source(f"{name}-1.0", tree=f"{len(name):064}"),))
        given = own if name == "tflite-runtime" and own else held
        found[name] = replace(recipe, releases=tuple(replace(one, sources=given) for one in recipe.releases))
    found["tflite-runtime"] = replace(found["tflite-runtime"], tools=tools)
    return found


def told(**changes):
    return json.loads(sbom(plan_of(**changes)))


def component(facts, name):
    return next(one for one in facts["components"] if one["name"] == name)


def scopes(facts):
    return {one["name"]: one["scope"] for one in facts["components"]}


def values(one, name):
    return [fact["value"] for fact in one["properties"] if fact["name"] == f"pibuild:{name}"]


@pytest.fixture(scope="module")
def real():
    """A plan of each release of a wheel that we ship a recipe for."""
    recipes = load_recipes(Path(pibuild.__file__).parent / "recipes")
    asked = {(one.version, recipe.name): one for recipe in recipes.values() if recipe.proof for one in recipe.releases}
    targets = load_targets(project_folder("toolchains"))
    catalogue = make_catalogue(recipes=recipes, targets=targets)
    return [
        catalogue.plan(Request(target="pi-one", python=one.pythons[0], recipe=recipe, version=version))
        for (version, recipe), one in asked.items()
    ]


def test_the_bill_of_materials_fits_the_cyclonedx_schema(real):
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    for plan in (plan_of(), plan_of(version="2.14.2.dev20240101+gabc"), *real):
        assert validator.validate_str(sbom(plan).decode()) is None


def test_the_cyclonedx_schema_rejects_a_wrong_bill_of_materials():
    facts = told()
    facts["components"][0]["scope"] = "somewhere"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(facts)) is not None


def test_a_wheel_that_is_verified_again_has_the_same_bytes():
    plan = plan_of()
    assert sbom(replace(plan, key="another", device=replace(plan.device, reference="pibuild/device:2"))) == sbom(plan)


def test_equal_plans_give_equal_bytes_without_a_time():
    assert sbom(plan_of()) == sbom(plan_of())
    assert "timestamp" not in told()["metadata"]


def test_another_plan_has_another_serial_number():
    assert told()["serialNumber"] != told(version="2.14.2.dev20240101")["serialNumber"]


def test_the_bill_of_materials_names_the_wheel_and_its_tools():
    wheel = told()["metadata"]["component"]
    assert wheel["purl"] == "pkg:pypi/tflite-runtime@2.14.1"
    assert values(wheel, "compiler") == ["gcc 10.2.1"]
    assert values(wheel, "image") == ["pibuild/builder:0", "pibuild/toolchain-pi-one:0"]
    assert values(wheel, "artifact") == [plan_of().wheel.key]


def test_a_nightly_has_its_own_version_and_names_its_release():
    wheel = told(version="2.14.2.dev20240101+gabc")["metadata"]["component"]
    assert wheel["version"] == "2.14.2.dev20240101+gabc"
    assert values(wheel, "release") == ["2.14.1"]


def test_linked_sources_are_required_and_build_tools_excluded():
    assert scopes(told()) == {
        "tflite-runtime": "required",
        "tensorflow-lite": "required",
        "gcc-runtime": "required",
        "cpython": "excluded",
        "cpython-machine": "excluded",
    }


def test_tools_of_a_recipe_have_the_scope_excluded():
    own = make_source("bazel-0.18.0"), make_source("protobuf-3.6.0")
    found = scopes(told(recipes=recipes_with(*own, tools=("bazel-0.18.0",))))
    assert (found["bazel"], found["protobuf"]) == ("excluded", "required")


def test_sources_for_the_proof_are_not_listed():
    recipes = recipes_with()
    recipes["beside"] = replace(
        recipes["cpython"], name="beside", releases=(make_release(sources=(make_source("six-1.16.0"),)),)
    )
    runtime = recipes["tflite-runtime"]
    releases = tuple(replace(one, proven_with=("beside",)) for one in runtime.releases)
    plan = plan_of(recipes=recipes | {"tflite-runtime": replace(runtime, releases=releases)})
    assert "beside" in [one.recipe.name for one in plan.artifacts]
    assert "six" not in scopes(json.loads(sbom(plan)))


def test_a_source_that_is_both_tool_and_part_is_listed_once():
    shared = (make_source("zlib-1.3.1"),)
    facts = told(recipes=recipes_with(cpython=shared, tensorflow_lite=shared))
    assert [one["scope"] for one in facts["components"] if one["name"] == "zlib"] == ["required"]
    assert values(component(facts, "zlib"), "recipe") == ["tensorflow-lite"]


def test_the_wheel_depends_on_its_parts_alone():
    facts = told()
    wheel = facts["metadata"]["component"]["bom-ref"]
    found = next(one["dependsOn"] for one in facts["dependencies"] if one["ref"] == wheel)
    assert found == sorted(one["bom-ref"] for one in facts["components"] if one["scope"] == "required")


def test_the_tree_hash_is_a_property():
    one = component(told(recipes=recipes_with(make_source("ruy-1.0", tree="a" * 64))), "ruy")
    assert values(one, "tree") == ["a" * 64]
    assert "hashes" not in one


def test_the_users_source_tree_has_no_address():
    one = component(told(recipes=recipes_with(make_source("tensorflow-1.14.0", places=()))), "tensorflow")
    assert "purl" not in one
    assert "externalReferences" not in one


@pytest.mark.parametrize(
    ("place", "address"),
    [
        (GitPlace(git="abseil/abseil-cpp", commit=COMMIT), f"pkg:github/abseil/abseil-cpp@{COMMIT}"),
        (GitPlace(git="python/cpython", commit=COMMIT, subdir="Doc"), f"pkg:github/python/cpython@{COMMIT}#Doc"),
        (
            ArchivePlace(archive="https://example.org/1.zip", sha256=SHA, git="google/re2", commit=COMMIT),
            f"pkg:github/google/re2@{COMMIT}",
        ),
        (
            ArchivePlace(archive="https://github.com/grpc/grpc/archive/v1.13.0.tar.gz", sha256=SHA),
            "pkg:github/grpc/grpc@v1.13.0",
        ),
        (
            ArchivePlace(archive="https://github.com/a/b/archive/refs/tags/v2.zip", sha256=SHA),
            "pkg:github/a/b@v2",
        ),
        (
            ArchivePlace(archive="https://github.com/a/b/releases/download/v3/b-3.tar.gz", sha256=SHA),
            "pkg:github/a/b@v3",
        ),
        (
            ArchivePlace(archive="https://example.org/thing.tar.gz", sha256=SHA),
            f"pkg:generic/thing@1.0?checksum=sha256:{SHA}&download_url=https://example.org/thing.tar.gz",
        ),
        (
            DebianPlace(debian="eigen3", suite="bookworm", file="eigen3_3.4.0.orig.tar.bz2", sha256=SHA),
            "pkg:deb/debian/eigen3@3.4.0?arch=source&distro=bookworm",
        ),
        (PypiPlace(pypi="numpy", version="2.0.2", file="numpy-2.0.2.tar.gz", sha256=SHA), "pkg:pypi/numpy@2.0.2"),
        (
            NpmPlace(npm="@bazel/bazel-linux_x64", version="0.18.0", sha256=SHA),
            "pkg:npm/%40bazel/bazel-linux_x64@0.18.0",
        ),
        (NpmPlace(npm="sqlite3", version="4.1.0", sha256=SHA, subdir="deps"), "pkg:npm/sqlite3@4.1.0#deps"),
    ],
)
def test_each_kind_of_place_has_its_package_url(place, address):
    assert purl(place, "thing", "1.0").to_string() == address


def test_a_package_that_bundles_a_source_does_not_name_it():
    archive = ArchivePlace(archive="https://example.org/sqlite.tar.gz", sha256=SHA)
    npm = NpmPlace(npm="sqlite3", version="4.1.0", sha256=SHA, subdir="deps")
    facts = told(recipes=recipes_with(make_source("sqlite-3.28.0", places=(npm, archive))))
    assert component(facts, "sqlite")["purl"].startswith("pkg:generic/sqlite@3.28.0?")


def test_places_are_listed_with_the_hash_of_their_content():
    places = (
        DebianPlace(debian="re2", suite="sid", file="re2_1.orig.tar.gz", sha256=SHA),
        ArchivePlace(archive="https://example.org/1.zip", sha256="2" * 64, git="google/re2", commit=COMMIT),
    )
    found = component(told(recipes=recipes_with(make_source("re2-1", places=places))), "re2")["externalReferences"]
    said = {one["url"]: one.get("hashes", [{}])[0].get("content") for one in found}
    assert said == {
        "pkg:deb/debian/re2@1?arch=source&distro=sid": SHA,
        "https://example.org/1.zip": "2" * 64,
        "https://github.com/google/re2": None,
    }


def test_only_hosts_of_upstream_are_named(real):
    for plan in real:
        places = [place for one in plan.artifacts for source in one.release.sources for place in source.places]
        known = {place.archive.split("/")[2] for place in places if isinstance(place, ArchivePlace)} | {"github.com"}
        text = sbom(plan).decode().replace('"$schema": "http://cyclonedx.org/', "")
        assert {word.split("/")[2] for word in text.split('"') if "://" in word and word[:4] == "http"} <= known


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("eigen-3.4.0", ("eigen", "3.4.0")),
        ("re2-2018-07-01", ("re2", "2018-07-01")),
        ("termcolor-archive-1.1.0", ("termcolor-archive", "1.1.0")),
        (f"abseil-cpp-{COMMIT[:10]}", ("abseil-cpp", COMMIT)),
        ("tensorflow-master", ("tensorflow-master", COMMIT)),
    ],
)
def test_a_source_has_its_name_and_version_or_commit(source, found):
    assert named(make_source(source, places=(GitPlace(git="a/b", commit=COMMIT),))) == found


def test_a_source_without_version_and_commit_has_none():
    assert named(make_source("thing")) == ("thing", "")
