"""What unit tests believe of an engine: containers of the real one and of the fakes pass the same tests."""

import tarfile

import pytest

from tests.fakes.engines import FailingEngine, SpeakingEngine
from tests.integration.one_build import base_image
from tests.makers.plans import make_run

LINES = ("one", "FAILED two")
SCRIPT = "echo one; echo FAILED two; mkdir -p /work/out; times > /work/out/times; exit 1"


@pytest.fixture(params=["real", "failing", "speaking"])
def container(request, engine, base):
    """A container that prints lines and fails."""
    assert base is None
    engines = {"real": engine, "failing": FailingEngine(LINES), "speaking": SpeakingEngine(LINES[1])}
    run = make_run(image=base_image().reference, command=("bash", "-c", SCRIPT))
    with engines[request.param].container(run) as container:
        yield container


def test_a_container_prints_its_lines_and_ends_with_its_exit_code(container):
    lines: list[str] = []
    outcome = container.wait(lines.append)

    assert lines[-1] == LINES[-1]
    assert (outcome.exit_code, outcome.out_of_memory, outcome.timed_out) == (1, False, False)


def test_a_file_is_copied_out_as_a_tar_with_its_last_name(container, tmp_path):
    container.wait(lambda _line: None)
    container.copy_out("/work/out/times", tmp_path / "out.tar")

    with tarfile.open(tmp_path / "out.tar") as tar:
        (member,) = tar
        content = tar.extractfile(member).read().decode()
    assert member.name == "times"
    assert [len(line.split()) for line in content.splitlines()] == [2, 2]
