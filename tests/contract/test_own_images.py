"""A machine whose images are not as locked: its keys are others, from the first build on, and it tells so."""

from dataclasses import replace

import pytest

from pibuild.build.replanning import plan_in
from pibuild.build.wheelhouse import make_wheels
from pibuild.config.dockerfiles import as_here
from pibuild.store.local import Entry
from pibuild.store.shared_records import ArtifactFacts, WheelRecord, validated
from tests.contract.test_shared_builds import house_for, machine  # noqa: F401  a fixture
from tests.fakes.engines import BuildingEngine
from tests.makers.plans import plan_for

OWN = "pibuild/builder:0-0123456789ab"
LINE = f"debian bullseye amd64 gcc 4:10.2.1-1 {'1' * 64}"


class OtherEngine(BuildingEngine):
    """Has the builder's image under a name of its own only."""

    def image_id(self, reference):
        return None if reference == "pibuild/builder:0" else super().image_id(reference)

    def image_labels(self, reference):
        return {"pibuild.packages": LINE} if "builder" in reference else {}

    def images(self, prefix):
        return [name for name in (OWN,) if name.startswith(prefix)]


@pytest.fixture
def other(machine, tmp_path):  # noqa: F811
    """A machine whose builder is made of other versions."""
    made = machine()
    (tmp_path / "engine").mkdir()
    made.context.engine = OtherEngine(tmp_path / "engine")
    return made


def image_of(entry, recipe):
    return next(artifact["image"] for artifact in entry.facts["artifacts"] if artifact["recipe"] == recipe)


def test_what_is_built_in_another_image_has_another_key_and_names_the_image(other):
    plan = plan_for()
    entry = other.make(plan)

    assert entry.key != plan.key
    assert image_of(entry, "cpython-machine") == {
        "reference": OWN,
        "id": f"sha256:{OWN}",
        "base": "unknown",
        "locked": "pibuild/builder:0",
    }
    assert not other.store.wheel(plan.key)
    assert f"key {entry.key[:12]}" in other.words.getvalue()


def test_the_packages_of_each_image_are_once_in_the_record(other):
    listed = other.make(plan_for()).facts["images"]

    assert [(image["reference"], image["packages"]) for image in listed] == [(OWN, [LINE])]


def test_the_next_plan_names_the_own_image_without_an_engine(other):
    entry = other.make(plan_for())
    plan = plan_in(plan_for(), other.context.own_images.names)

    assert plan.key == entry.key
    assert other.store.wheel(plan.key) == entry


def test_the_same_plan_is_not_built_twice_in_another_image(other):
    first = other.make(plan_for())
    built = len(other.built)

    assert other.make(plan_for()) == first
    assert len(other.built) == built


def test_a_wheelhouse_in_other_images_has_another_key_and_is_whole(other):
    house = house_for()
    entries = make_wheels(house, other.context)

    assert entries[-1].key == plan_in(house, other.context.own_images.names).key != house.key
    assert len(entries[-1].facts["dependencies"]["packages"]) == 1


def test_machines_with_different_images_share_only_what_these_did_not_touch(other, machine):  # noqa: F811
    other.make(plan_for())
    locked = machine()
    locked.make(plan_for())

    assert "cpython-machine" in locked.built


def test_an_artifact_that_was_made_in_another_image_than_its_key_says_is_told(machine):  # noqa: F811
    one, two = machine(), machine()
    one.make(plan_for())
    artifact = next(part for part in plan_for().artifacts if part.recipe.name == "cpython-machine")
    stored = one.store.artifact(artifact.key)
    facts = stored.facts | {"image": stored.facts["image"] | {"reference": "pibuild/builder:9"}}
    two.context.remote.pull_artifact = lambda part: (
        Entry(key=part.key, path=stored.path, facts=facts) if part.key == artifact.key else None
    )
    two.make(plan_for(proof="another"))

    assert "was made in pibuild/builder:9; this machine's is pibuild/builder:0" in two.words.getvalue()


def test_facts_about_images_survive_the_shared_store(other):
    entry = other.make(plan_for())
    artifact = plan_in(plan_for(), other.context.own_images.names).artifacts[0]
    facts = other.store.artifact_facts(artifact.key)

    assert validated(WheelRecord, entry.facts)["images"] == entry.facts["images"]
    assert validated(ArtifactFacts, facts)["image"] == facts["image"]
    assert facts["image"]["packages"] == [LINE]


def test_an_image_below_another_one_renames_it():
    device = plan_for().device
    base = device.parents[0]
    moved = as_here(device, [f"{base.locked}-1"])

    assert moved.parents[0].reference == f"{base.locked}-1"
    assert moved.locked != device.locked
    assert as_here(replace(device, reference="pibuild/device-pi-one:0-gone"), []) == device
