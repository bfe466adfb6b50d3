"""A toolchain's image is proven once: what passed is remembered, what fails is refused."""

import io
import tarfile
from contextlib import contextmanager

import pytest

from pibuild.build import toolchain_check as conformance
from pibuild.build.images import Ensured
from pibuild.console import Console
from pibuild.errors import ImageError
from pibuild.model import Limits, Outcome
from pibuild.store.local import Store
from tests.makers import make_target

LIMITS = Limits(jobs=2, cpus=2, memory_bytes=10**9, deadline_s=60, uid=1, gid=1)


class FakeEngine:
    """An engine whose containers say these lines, the device's last; 1 is the code of those that say FAILED."""

    def __init__(self, *says: str) -> None:
        self.says, self.runs = says, []

    @contextmanager
    def container(self, run):
        self.runs.append(run)
        yield FakeContainer(self.says[len(self.runs) - 1 :][:1])


class FakeContainer:
    def __init__(self, lines):
        self.lines = lines

    def wait(self, on_line):
        for line in self.lines:
            on_line(line)
        failed = any("FAILED" in line for line in self.lines)
        return Outcome(exit_code=int(failed), out_of_memory=False, timed_out=False, wall_s=1.0)

    def keep_as(self, _reference):
        pass

    def copy_out(self, path, tar_path):
        content = b"0m0.001s 0m0.001s\n0m1.000s 0m0.500s\n"
        with tarfile.open(tar_path, "w") as tar:
            member = tarfile.TarInfo(path.rpartition("/")[2])
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


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
    engine = FakeEngine()
    checked(engine, store, tmp_path)

    assert [run.image for run in engine.runs] == ["toolchain", "device"]


def test_images_that_passed_are_not_asked_again(store, tmp_path):
    checked(FakeEngine(), store, tmp_path)
    engine = FakeEngine()
    checked(engine, store, tmp_path)

    assert engine.runs == []


def test_an_image_that_was_made_again_is_asked_again(store, tmp_path):
    checked(FakeEngine(), store, tmp_path)
    engine = FakeEngine()
    checked(engine, store, tmp_path, toolchain_id="sha256:2")

    assert len(engine.runs) == 2


@pytest.mark.parametrize("says", [("FAILED to compile",), ("", "FAILED a mutex keeps a sum right: 3 at line 4")])
def test_an_image_that_fails_is_refused_with_the_check_and_never_remembered(store, tmp_path, says):
    for _ in range(2):
        with pytest.raises(ImageError, match="toolchain is not fit for pi-one: FAILED") as caught:
            checked(FakeEngine(*says), store, tmp_path)
        assert caught.value.exit_code == 6
        assert says[-1] in "".join(caught.value.details)
