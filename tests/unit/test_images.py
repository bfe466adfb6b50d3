"""An image is made after those that it stands on, of the files that belong to its folder."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from pibuild.build.images import ensure_image
from pibuild.config.settings import Settings
from pibuild.errors import ImageError
from tests.fakes.engines import MakingEngine
from tests.makers.contexts import make_context
from tests.makers.plans import make_images


@pytest.fixture
def image(tmp_path):
    """The device's image, which stands on the base, with a Dockerfile and what programs left beside it."""
    for name in ("Dockerfile", "run.sh", ".run.sh.swp", "run.sh~", "__pycache__/tool.cpython-311.pyc"):
        path = tmp_path / "device" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("FROM base")
    return replace(make_images("pi-one")["device"], folder=tmp_path / "device")


def made_with(engine, store, console, **settings):
    context = make_context(store, console, engine=engine, settings=Settings(**settings))
    context.bootstrap = SimpleNamespace(root_tar=lambda _base, tar_path: tar_path.write_bytes(b""))
    return context


def test_an_image_is_made_after_its_base_of_the_files_of_its_folder(image, store, console):
    engine = MakingEngine()
    present = ensure_image(image, made_with(engine, store, console))

    assert present.id == f"sha256:{image.reference}"
    assert engine.made == {"pibuild/base:0": ["root.tar"], image.reference: ["Dockerfile", "run.sh"]}


def test_an_image_that_the_engine_has_is_not_made_again(image, store, console):
    engine = MakingEngine()
    engine.made[image.reference] = []
    ensure_image(image, made_with(engine, store, console, offline=True))

    assert engine.made == {image.reference: []}


def test_an_offline_build_does_not_make_a_missing_image(image, store, console):
    engine = MakingEngine()
    with pytest.raises(ImageError) as caught:
        ensure_image(image, made_with(engine, store, console, offline=True))

    assert image.reference in caught.value.what
    assert engine.made == {}


def test_an_image_that_fails_gives_the_last_lines_and_the_log(image, store, console):
    with pytest.raises(ImageError) as caught:
        ensure_image(image, made_with(MakingEngine(failure="E: no such package"), store, console))

    assert caught.value.details == ("| E: no such package",)
    assert caught.value.log.read_text() == "E: no such package\n"
