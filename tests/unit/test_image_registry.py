"""A registry of images: what is asked of it, when it is asked no more, and what its images mean for builds."""

import io
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pibuild.build.artifact_graph import ArtifactGraph, image_nodes
from pibuild.build.durations import Durations
from pibuild.build.image_registry import ImageRegistry, is_as_locked
from pibuild.config.settings import Settings, SharedImages
from pibuild.console import Console
from pibuild.errors import RegistryError
from pibuild.store.trust import Trust
from tests.fakes.engines import MakingEngine
from tests.makers.contexts import make_context
from tests.makers.plans import make_images, plan_for

ADDRESS = "registry.example.org/pibuild"
DEVICE = make_images("pi-one")["device"]


class EmptyRegistry(MakingEngine):
    """An engine whose registry has nothing, or refuses; `asked` are the names that were asked for or uploaded."""

    def __init__(self, refusal="", *, is_denied=False):
        super().__init__()
        self.refusal, self.is_denied = refusal, is_denied
        self.asked = []

    def pull(self, name, reference):  # noqa: ARG002
        return self._answer(name)

    def push(self, reference, name):  # noqa: ARG002
        self._answer(name)
        return f"sha256:{'5' * 64}"

    def _answer(self, name):
        self.asked.append(name)
        if self.refusal:
            error = RegistryError(f"transferring {name}", found=self.refusal)
            error.is_denied = self.is_denied
            raise error
        return False


def registry_of(engine, store, console, *, is_pushed_to=False):
    key = Ed25519PrivateKey.generate()
    return ImageRegistry(
        ADDRESS,
        is_pushed_to=is_pushed_to,
        engine=lambda: engine,
        store=store,
        console=console,
        trust=Trust(listed=frozenset()),
        key=lambda: key,
    )


@pytest.fixture
def console():
    return Console(err=io.StringIO())


def test_an_image_is_asked_for_by_its_own_name(store, console):
    engine = EmptyRegistry()

    assert not registry_of(engine, store, console).pull(DEVICE)
    assert engine.asked == [f"{ADDRESS}/{DEVICE.reference.removeprefix('pibuild/')}.attestation"]
    assert console.err.getvalue() == ""


def test_a_registry_that_fails_is_asked_once(store, console):
    engine = EmptyRegistry("connection refused")
    engine.made[DEVICE.reference] = {}
    registry = registry_of(engine, store, console, is_pushed_to=True)
    for _ in range(2):
        registry.pull(DEVICE)
        registry.push(DEVICE)

    assert len(engine.asked) == 1
    assert console.err.getvalue().count("connection refused") == 1


def test_a_registry_that_shows_nothing_before_an_upload_gets_that_upload(store, console):
    engine = EmptyRegistry("denied: requested access to the resource is denied", is_denied=True)
    engine.made[DEVICE.reference] = {}
    registry = registry_of(engine, store, console, is_pushed_to=True)
    registry.pull(DEVICE)
    asked = console.err.getvalue()
    registry.push(DEVICE)

    assert asked == ""
    assert console.err.getvalue().count("denied: requested") == 1


def test_an_image_that_is_not_as_locked_is_neither_asked_for_nor_uploaded(store, console):
    engine = EmptyRegistry()
    own = replace(DEVICE, reference=f"{DEVICE.locked}-0123456789ab")
    engine.made[own.reference] = {}
    registry = registry_of(engine, store, console, is_pushed_to=True)
    registry.pull(own)
    registry.push(own)

    assert engine.asked == []


def test_an_image_on_a_base_that_is_not_as_locked_is_not_as_locked():
    base = DEVICE.parents[0]
    other = replace(base, reference=f"{base.locked}-0123456789ab")

    assert is_as_locked(DEVICE)
    assert not is_as_locked(replace(DEVICE, parents=(other,)))


@pytest.mark.parametrize("registry", [None, ADDRESS])
def test_what_a_shared_image_stands_on_is_not_made_first(store, console, registry):
    settings = Settings(images=SharedImages(registry=registry))
    context = make_context(store, console, engine=MakingEngine(), settings=settings)
    names = [node.name for node in image_nodes([DEVICE], context, Durations(store))]

    assert names == ([DEVICE.reference] if registry else [DEVICE.parents[0].reference, DEVICE.reference])


@pytest.mark.parametrize("push", [False, True])
def test_images_are_uploaded_after_the_toolchain_s_check_while_others_go_on(store, console, push):
    plan = plan_for()
    settings = Settings(images=SharedImages(registry=ADDRESS, push=push), jobs=1, memory=4.0)
    context = make_context(store, console, engine=EmptyRegistry(), settings=settings)
    nodes = {node.name: node for node in ArtifactGraph(plan=plan, missing=plan.artifacts, context=context).nodes()}
    uploads = [node for name, node in nodes.items() if name.startswith("sharing")]

    assert [node.needs for node in uploads] == [(f"conformance of {plan.wheel.image.reference}",)] * push
    assert not [node for node in nodes.values() if {*node.needs} & {upload.name for upload in uploads}]
