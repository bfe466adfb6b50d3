"""A toolchain's image is proven once: what passed is remembered, what fails is refused."""

import io

import pytest

from pibuild.build import toolchain_check as conformance
from pibuild.build.images import Ensured
from pibuild.console import Console
from pibuild.errors import ImageError
from pibuild.model import Limits
from pibuild.store.local import Store
from tests.fakes.engines import SpeakingEngine
from tests.makers.plans import make_target

LIMITS = Limits(jobs=2, cpus=2, memory_bytes=10**9, deadline_s=60, uid=1, gid=1)


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "store", Console(err=io.StringIO()))
    yield opened
    opened.close()


def checked(engine, store, tmp_path, toolchain_id="sha256:1"):
    (tmp_path / "programs").mkdir(exist_ok=True)
    (tmp_path / "programs" / "build.sh").write_text("true")
    images = [Ensured(reference=name, id=toolchain_id, origin="", made_s=0.0) for name in ("toolchain", "device")]
    conformance.check(
        make_target(),
        *images,
        programs_dir=tmp_path / "programs",
        engine=engine,
        store=store,
        limits=LIMITS,
        console=Console(err=io.StringIO()),
        again="pibuild",
    )


def test_the_set_is_compiled_in_the_toolchain_and_run_on_the_device(store, tmp_path):
    engine = SpeakingEngine()
    checked(engine, store, tmp_path)

    assert [run.image for run in engine.runs] == ["toolchain", "device"]


def test_images_that_passed_are_not_asked_again(store, tmp_path):
    checked(SpeakingEngine(), store, tmp_path)
    engine = SpeakingEngine()
    checked(engine, store, tmp_path)

    assert engine.runs == []


def test_an_image_that_was_made_again_is_asked_again(store, tmp_path):
    checked(SpeakingEngine(), store, tmp_path)
    engine = SpeakingEngine()
    checked(engine, store, tmp_path, toolchain_id="sha256:2")

    assert len(engine.runs) == 2


@pytest.mark.parametrize("says", [("FAILED to compile",), ("", "FAILED a mutex keeps a sum right: 3 at line 4")])
def test_an_image_that_fails_is_refused_with_the_check_and_never_remembered(store, tmp_path, says):
    for _ in range(2):
        with pytest.raises(ImageError, match="toolchain is not fit for pi-one: FAILED") as caught:
            checked(SpeakingEngine(*says), store, tmp_path)
        assert caught.value.exit_code == 6
        assert says[-1] in "".join(caught.value.details)
