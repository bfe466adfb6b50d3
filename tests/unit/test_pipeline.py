"""What a build needs is looked at before it starts, and what it leaves becomes the wheel that is proven."""

import json
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest

from pibuild.build.prove import prove_on_device, tagged_and_verified
from pibuild.build.schedule import check_room, fetch
from pibuild.config.settings import Settings
from pibuild.errors import ProofError, ResourceError, SourceError
from pibuild.model import Artifact, ProofDevice, Request
from pibuild.sources.fetcher import joined
from pibuild.wheels.wheel import read_wheel
from tests.failures import fails
from tests.fakes.engines import BuildingEngine, PresentEngine
from tests.fakes.sources import FakeFetcher
from tests.makers.contexts import make_context
from tests.makers.elfs import SO, make_elf
from tests.makers.plans import make_catalogue, make_images, make_recipe, make_recipes, make_release, make_target
from tests.makers.wheels import make_wheel

GB = 1_000_000_000


def large(**changes) -> tuple[Artifact, ...]:
    recipe = make_recipe("large", **{"memory_gb": 3.0, "disk_gb": 15.0} | changes)
    image = make_images("pi-one")["builder"]
    return (
        Artifact(
            key="k", recipe=recipe, release=make_release(), target=None, python=None, image=image, env=(), needs=()
        ),
    )


def test_enough_memory_and_disk_pass():
    check_room(large(), memory_bytes=3 * GB, free_bytes=15 * GB)


def test_too_little_memory_is_an_error_with_the_amount():
    with fails(ResourceError, naming=("large", "--memory")) as caught:
        check_room(large(), memory_bytes=2 * GB, free_bytes=None)
    assert (caught.value.expected, caught.value.found) == ("3 GB", "2.0 GB")


def test_too_little_disk_space_is_an_error_with_the_amount():
    with fails(ResourceError, naming=("large", "15 GB")) as caught:
        check_room(large(), memory_bytes=4 * GB, free_bytes=GB)
    assert (caught.value.expected, caught.value.found) == ("15 GB", "1.0 GB free")


def test_the_disk_space_of_a_remote_engine_is_not_checked():
    check_room(large(), memory_bytes=4 * GB, free_bytes=None)


def tagged(tmp_path, console, version=None):
    """A raw wheel under the tag and the version of its plan."""
    make_wheel(tmp_path / "raw" / "wheel")
    twin = tmp_path / "raw" / "symbols" / SO
    twin.parent.mkdir(parents=True)
    twin.write_bytes(make_elf())
    request = Request(target="pi-one", python="3.11", recipe=None, version=None)
    plan = make_catalogue(targets={"pi-one": make_target(compiler="gcc 10")}).plan(request, version=version)
    return tagged_and_verified(plan, tmp_path / "raw", tmp_path / "tagged", console)[0], plan


def test_the_wheel_that_is_proven_holds_the_plans_bill_of_materials(tmp_path, console):
    path, plan = tagged(tmp_path, console)
    facts = json.loads(read_wheel(path).text("sboms/pibuild.cdx.json"))
    assert path.name == "thing-1.0-cp311-cp311-linux_armv6l.whl"
    assert {"name": "pibuild:artifact", "value": plan.wheel.key} in facts["metadata"]["component"]["properties"]


def test_a_nightlys_wheel_has_the_plans_version_and_so_has_its_bill_of_materials(tmp_path, console):
    path, _ = tagged(tmp_path, console, version="1.0.1.dev20190618+gabc")
    facts = json.loads(read_wheel(path).text("sboms/pibuild.cdx.json"))
    assert path.name == "thing-1.0.1.dev20190618+gabc-cp311-cp311-linux_armv6l.whl"
    assert facts["metadata"]["component"]["version"] == "1.0.1.dev20190618+gabc"


class MeetingEngine(BuildingEngine):
    """An engine whose proofs wait for each other; `counted` has the CPUs on which instructions are counted."""

    def __init__(self, folder, together):
        super().__init__(folder)
        self.meeting = threading.Barrier(together)
        self.counted = []

    @contextmanager
    def container(self, run):
        env = dict(run.env)
        if "PIBUILD_UNCOUNTED" not in env:
            self.counted.append(env["PIBUILD_DEVICE_CPU"])
        self.meeting.wait(timeout=10)
        with super().container(run) as container:
            yield container


@pytest.mark.parametrize(("jobs", "together"), [(1, 1), (2, 3)])
def test_a_wheel_is_proven_on_several_devices_at_once_if_there_are_jobs(store, console, tmp_path, jobs, together):
    devices = tuple(ProofDevice(model="pi-zero-w", cpu=cpu) for cpu in ("b", "c"))
    catalogue = make_catalogue(targets={"pi-one": make_target(device_cpu="a", further_devices=devices)})
    plan = catalogue.plan(Request(target="pi-one", python="3.11", recipe=None, version=None))
    engine = MeetingEngine(tmp_path, together)
    context = make_context(store, console, engine=engine, settings=Settings(jobs=jobs))

    result, spent = prove_on_device(make_wheel(tmp_path), plan, (), {}, context)
    assert result["devices"] == [f"{cpu} with 4 KiB pages" for cpu in "abc"]
    assert (engine.counted, len(engine.ran), spent.cpu_s) == (["a"], 3, 4.5)

    engine.refuses = True
    with fails(ProofError, naming=("thing",)):
        prove_on_device(make_wheel(tmp_path), plan, (), {}, context)


class UnreachableFetcher(FakeFetcher):
    """Reaches no place of any source."""

    def fetch_all(self, sources):
        raise joined([_unfetched(source.name) for source in sources])


def _unfetched(name):
    error = SourceError(f"no place has {name}")
    error.unfetched = (name,)
    return error


@pytest.mark.parametrize(("replaces", "is_named"), [("tensorflow-lite", True), ("", False)])
def test_without_a_successors_sources_the_older_product_is_suggested(store, console, replaces, is_named):
    recipes = make_recipes()
    recipes["tflite-runtime"] = replace(recipes["tflite-runtime"], replaces=replaces)
    plan = make_catalogue(recipes=recipes).plan(Request(target="pi-one", python="3.11", recipe=None, version=None))
    context = make_context(store, console, engine=PresentEngine(), fetcher=UnreachableFetcher())

    with fails(SourceError, naming="--mirrors") as caught:
        fetch([plan], context)
    assert ("--recipe tensorflow-lite" in caught.value.hint) == is_named
