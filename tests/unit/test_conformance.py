"""A toolchain's image is proven once: what passed is remembered, what fails is refused."""

import io

import pytest

from pibuild.build.images import PresentImage
from pibuild.build.toolchain_check import check_toolchain
from pibuild.console import Console
from pibuild.errors import ImageError, ResourceError
from pibuild.store.local import Store
from tests.failures import fails
from tests.fakes.engines import FailingEngine, SpeakingEngine
from tests.makers.contexts import make_context
from tests.makers.plans import make_target


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "store", Console(err=io.StringIO()))
    yield opened
    opened.close()


def checked(engine, store, tmp_path, toolchain_id="sha256:1"):
    (tmp_path / "programs").mkdir(exist_ok=True)
    (tmp_path / "programs" / "build.sh").write_text("true")
    images = [PresentImage(reference=name, id=toolchain_id, origin="") for name in ("toolchain", "device")]
    context = make_context(store, Console(err=io.StringIO()), engine=engine, conformance_dir=tmp_path / "programs")
    check_toolchain(make_target(), *images, context)


def test_no_shell_is_suggested_for_a_container_of_no_recipe(store, tmp_path):
    engine = FailingEngine([], out_of_memory=True, exit_code=137)
    with fails(ResourceError.__subclasses__()[0], naming="pi-one") as caught:
        checked(engine, store, tmp_path)
    assert (caught.value.container, engine.kept) == ("", [])


def test_the_set_is_compiled_in_the_toolchain_and_run_on_the_device(store, tmp_path):
    engine = SpeakingEngine()
    checked(engine, store, tmp_path)

    assert [run.image for run in engine.runs] == ["toolchain", "device"]


def test_images_that_passed_are_not_checked_again(store, tmp_path):
    checked(SpeakingEngine(), store, tmp_path)
    engine = SpeakingEngine()
    checked(engine, store, tmp_path)

    assert engine.runs == []


def test_a_rebuilt_image_is_checked_again(store, tmp_path):
    checked(SpeakingEngine(), store, tmp_path)
    engine = SpeakingEngine()
    checked(engine, store, tmp_path, toolchain_id="sha256:2")

    assert len(engine.runs) == 2


@pytest.mark.parametrize("says", [("FAILED to compile",), ("", "FAILED a mutex keeps a sum right: 3 at line 4")])
def test_a_failed_image_is_rejected_and_checked_again(store, tmp_path, says):
    for _ in range(2):
        with fails(ImageError, naming="pi-one") as caught:
            checked(SpeakingEngine(*says), store, tmp_path)
        assert caught.value.exit_code == 6
        assert says[-1] in "".join(caught.value.details)
