"""A failed build says in one line why."""

import io
from contextlib import contextmanager
from pathlib import Path

import pytest

from pibuild.errors import BuildError, PibuildError, ResourceError
from pibuild.model import Artifact, Limits, Outcome, Run
from pibuild.report import Report
from pibuild.steps.build import build
from pibuild.steps.run import cpu_seconds
from pibuild.store import Store
from tests.makers import make_images, make_recipe, make_release

LIMITS = Limits(jobs=2, cpus=2, memory_bytes=4_000_000_000, deadline_s=60, uid=1000, gid=1000)
ARTIFACT = Artifact(
    key="a" * 64,
    recipe=make_recipe("thing"),
    release=make_release(),
    target=None,
    python=None,
    image=make_images("pi-one")["builder"],
    env=(("PIBUILD", "1"),),
    needs=(),
)


class FakeEngine:
    """An engine whose one container says these lines and ends so."""

    def __init__(self, lines: list[str], **outcome) -> None:
        self.lines = lines
        self.outcome = Outcome(**{"exit_code": 1, "out_of_memory": False, "timed_out": False, "wall_s": 1.0} | outcome)
        self.runs: list[Run] = []
        self.kept: list[str] = []

    @contextmanager
    def container(self, run: Run):
        self.runs.append(run)
        yield self

    def wait(self, on_line) -> Outcome:
        for line in self.lines:
            on_line(line)
        return self.outcome

    def keep_as(self, reference: str) -> None:
        self.kept.append(reference)

    def copy_out(self, path: str, tar_path: Path) -> None:
        raise AssertionError(path, tar_path)


def failure(store: Store, engine: FakeEngine) -> PibuildError:
    with pytest.raises(PibuildError) as caught:
        build(
            ARTIFACT,
            [],
            facts={},
            engine=engine,
            store=store,
            limits=LIMITS,
            report=Report(err=io.StringIO()),
            again="pibuild --target pi-one --python 3.11",
        )
    return caught.value


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        (
            ["[1/9] Building", "a/b.cc:3:14: error: 'x' was not declared", "ninja: build stopped"],
            "a/b.cc:3:14: error: 'x' was not declared",
        ),
        (["a.c:1:10: fatal error: Python.h: No such file or directory"], "Python.h: No such file"),
        (["ld: a.o: in function `f':", "a.c:(.text+0x4): undefined reference to `__atomic_load_8'"], "__atomic_load_8"),
        (["CMake Error at CMakeLists.txt:3 (find_package):", "  Could not find X"], "CMake Error at CMakeLists.txt:3"),
        (["configure: error: C compiler cannot create executables"], "C compiler cannot create executables"),
        (["Traceback (most recent call last):", "ValueError: no such thing"], "ValueError: no such thing"),
        (["whatever"], "its script ended with code 1"),
    ],
)
def test_the_cause_is_in_the_first_line(store, lines, cause):
    error = failure(store, FakeEngine(lines))

    assert isinstance(error, BuildError)
    assert cause in str(error).splitlines()[0]


def test_the_compilers_word_wins_over_what_follows_from_it(store):
    lines = ["error: something general", "a.cc:3:14: error: 'x' was not declared", "ninja: error: stopped"]

    assert "a.cc:3:14" in failure(store, FakeEngine(lines)).what


def test_last_lines_log_and_commands_are_given(store):
    error = failure(store, FakeEngine([f"line {number}" for number in range(40)]))

    assert error.details[-1] == "| line 39"
    assert error.log.read_text().splitlines()[0] == "line 0"
    assert "pibuild shell --target pi-one --python 3.11" in error.hint


def test_a_compiler_killed_for_memory_is_named(store):
    error = failure(store, FakeEngine(["c++: fatal error: Killed signal terminated program cc1plus"]))

    assert isinstance(error, ResourceError)
    assert "out of memory at 4.0 GB with 2 jobs" in error.what


def test_a_container_killed_for_memory_is_named(store):
    assert "out of memory" in failure(store, FakeEngine([], out_of_memory=True, exit_code=137)).what


def test_a_full_disk_is_named(store):
    error = failure(store, FakeEngine(["cc: error: x.o: No space left on device"]))

    assert isinstance(error, ResourceError)
    assert "no space left" in error.what


def test_a_passed_deadline_is_named(store):
    error = failure(store, FakeEngine(["[3/9] Building"], timed_out=True, exit_code=137))

    assert isinstance(error, ResourceError)
    assert "deadline of 60 s" in error.what


def test_the_failed_container_is_kept_for_a_shell(store):
    engine = FakeEngine([])
    failure(store, engine)

    assert engine.kept == ["pibuild/failed:thing"]


def test_nothing_of_a_failed_build_is_in_the_store(store):
    failure(store, FakeEngine([]))

    assert not store.has_artifact(ARTIFACT.key)


def test_a_container_runs_as_the_caller_and_carries_the_sessions_label(store):
    engine = FakeEngine([])
    failure(store, engine)

    assert (engine.runs[0].uid, engine.runs[0].memory_bytes) == (1000, 4_000_000_000)
    assert ("pibuild.session", store.session) in engine.runs[0].labels


def test_cpu_seconds_are_user_and_system_of_all_children():
    assert cpu_seconds("0m0.002s 0m0.001s\n3m9.481s 0m7.021s\n") == 196.5
