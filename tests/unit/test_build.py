"""A failed build says in one line why."""

import io
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pibuild.build.artifact import build_artifact
from pibuild.build.container import Transcript, container_run, shell_run
from pibuild.build.container_outputs import cpu_seconds
from pibuild.build.image_registry import DIGEST_LABEL, MACHINES_LABEL
from pibuild.build.images import ensure_image
from pibuild.config.settings import Settings
from pibuild.console import Console
from pibuild.errors import BuildError, PibuildError, ResourceError, SourceError
from pibuild.model import Artifact
from pibuild.store.local import Store
from pibuild.store.trust import ANYBODY, Trust
from tests.failures import fails
from tests.fakes.engines import FailingEngine, PresentEngine
from tests.fakes.sources import FakeFetcher
from tests.makers.contexts import make_context
from tests.makers.plans import make_images, make_recipe, make_release, make_source

SETTINGS = Settings(jobs=2, memory=4.0, deadline=1.0)
ARTIFACT = Artifact(
    key="a" * 64,
    recipe=make_recipe("thing"),
    release=make_release(sources=()),
    target=None,
    python=None,
    image=make_images("pi-one")["builder"],
    env=(("PIBUILD", "1"),),
    needs=(),
)


class PulledEngine(FailingEngine):
    """An engine whose images come from a machine."""

    def __init__(self, machine):
        super().__init__([])
        self.labels = {MACHINES_LABEL: machine, DIGEST_LABEL: f"sha256:{'7' * 64}"}

    def image_labels(self, reference):  # noqa: ARG002
        return self.labels


def failure(store: Store, engine: FailingEngine) -> PibuildError:
    context = make_context(store, Console(err=io.StringIO()), engine=engine, settings=SETTINGS)
    with pytest.raises(PibuildError) as caught:
        build_artifact(ARTIFACT, {}, context)
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
        (
            ["ERROR: /a/WORKSPACE:6:1: Traceback (most recent call last):", "Current Bazel version is 0.1, expected …"],
            "be built: Current Bazel version is 0.1, expected …",
        ),
        (["Please downgrade your bazel installation to …"], "be built: Please downgrade your bazel installation to …"),
        (
            ["ERROR: /a/BUILD:1:1: no such package '@x//': java.io.FileNotFoundException: /d/x and referenced by ':a'"],
            "be built: no such package '@x//': java.io.FileNotFoundException: /d/x",
        ),
        (["whatever"], "its script ended with code 1"),
    ],
)
def test_the_cause_is_in_the_first_line(store, lines, cause):
    error = failure(store, FailingEngine(lines))

    assert isinstance(error, BuildError)
    assert cause in str(error).splitlines()[0]
    assert "referenced by" not in error.what


def test_a_compiler_error_is_preferred_to_later_messages(store):
    lines = ["error: something general", "a.cc:3:14: error: 'x' was not declared", "ninja: error: stopped"]

    assert "a.cc:3:14" in failure(store, FailingEngine(lines)).what


def test_an_error_has_the_last_lines_the_log_and_the_container(store):
    error = failure(store, FailingEngine([f"line {number}" for number in range(40)]))

    assert error.details[-1] == "| line 39"
    assert error.log.read_text().splitlines()[0] == "line 0"
    assert error.container == "thing"


def test_a_compiler_killed_for_memory_is_retried_with_fewer_jobs(store):
    engine = FailingEngine(["c++: fatal error: Killed signal terminated program cc1plus"])
    error = failure(store, engine)

    assert isinstance(error, ResourceError)
    assert "out of memory at 4.0 GB with 1 jobs" in error.what
    assert [dict(run.env)["PIBUILD_JOBS"] for run in engine.runs] == ["2", "1"]


def test_a_container_killed_for_memory_is_named(store):
    assert "out of memory" in failure(store, FailingEngine([], out_of_memory=True, exit_code=137)).what


def test_a_full_disk_is_named(store):
    error = failure(store, FailingEngine(["cc: error: x.o: No space left on device"]))

    assert isinstance(error, ResourceError)
    assert "no space left" in error.what


def test_a_build_past_its_deadline_is_a_resource_error(store):
    error = failure(store, FailingEngine(["[3/9] Building"], timed_out=True, exit_code=137))

    assert isinstance(error, ResourceError)
    assert "deadline of 60 s" in error.what


def test_the_failed_container_is_kept_for_a_shell(store):
    engine = FailingEngine([])
    failure(store, engine)

    assert engine.kept == ["pibuild/failed:thing"]


def test_a_failed_build_leaves_nothing_in_the_store(store):
    failure(store, FailingEngine([]))

    assert not store.has_artifact(ARTIFACT.key)


def test_a_container_runs_as_the_caller_and_carries_the_sessions_label(store):
    engine = FailingEngine([])
    failure(store, engine)

    limits = engine.runs[0].limits
    assert (limits.uid, limits.memory_bytes) == (1000, 4_000_000_000)
    assert ("pibuild.session", store.session) in engine.runs[0].labels


def test_cpu_seconds_are_user_and_system_of_all_children():
    assert cpu_seconds("0m0.002s 0m0.001s\n3m9.481s 0m7.021s\n") == 196.5


@pytest.mark.parametrize(
    ("line", "expected"),
    [("[12/345] Building a.o", (12, 345)), ("[1,012 / 2,345] Compiling a.cc; 3s", (1012, 2345))],
)
def test_the_counts_of_ninja_and_bazel_are_progress(tmp_path, line, expected):
    told = []
    step = SimpleNamespace(progress=lambda done, total, _unit: told.append((done, total)))
    with Transcript(tmp_path / "log", step, Console(err=io.StringIO())) as transcript:
        transcript(line)

    assert told == [expected]


def test_the_total_is_at_least_what_the_script_expects(tmp_path):
    told = []
    step = SimpleNamespace(progress=lambda done, total, _unit: told.append((done, total)))
    with Transcript(tmp_path / "log", step, Console(err=io.StringIO())) as transcript:
        for line in ("about 4,000 actions in all", "[10 / 20] Compiling a.cc", "[4,100 / 4,200] Linking a.so"):
            transcript(line)

    assert told == [(10, 4000), (4100, 4200)]


def test_a_ref_and_each_folder_have_a_cache_apart_from_that_of_releases(store, console):
    context = make_context(store, console, engine=PresentEngine(), settings=SETTINGS)
    recipe = make_recipe("thing", has_cache=True)
    runs = []
    for domain in ("", "ref main", "ref r1.14", "folder /home/me/tree", "ref main"):
        release = make_release(sources=(make_source("pinned"), make_source("thing", domain=domain)))
        artifact = replace(ARTIFACT, recipe=recipe, release=release)
        runs.append(container_run(context, image="x", command=(), env=(), cache_of=artifact))
    releases, *others = runs

    assert releases.cache == store.cache_volume(ARTIFACT.image.reference)
    assert releases.cache_from == ""
    assert len({run.cache for run in runs}) == 4
    assert {run.cache_from for run in others} == {releases.cache}
    assert all(run.cache.startswith(store.cache_prefix) for run in runs)


@pytest.mark.parametrize("is_trusted", [True, False])
def test_work_of_an_unlisted_machine_does_not_write_into_the_releases_cache(store, console, tmp_path, is_trusted):
    """The Python that a build needs runs in it; a wheel that is made later would get what it has put there."""
    machine = f"ed25519:{'1' * 64}"
    (tmp_path / "tree.tar").write_bytes(b"")
    need = replace(ARTIFACT, key="b" * 64)
    store.put_artifact(need.key, tmp_path / "tree.tar", {"name": "python", "machines": [machine]})
    context = make_context(store, console, engine=PresentEngine(), settings=SETTINGS)
    context.trust = Trust(listed=frozenset([machine])) if is_trusted else ANYBODY
    artifact = replace(ARTIFACT, recipe=make_recipe("thing", has_cache=True), needs=(need,))
    run = container_run(context, image="x", command=(), env=(), cache_of=artifact)

    releases = store.cache_volume(artifact.image.reference)
    assert (run.cache == releases) == is_trusted
    assert run.cache_from == ("" if is_trusted else releases)


@pytest.mark.parametrize("is_trusted", [True, False])
def test_compilers_of_an_unlisted_machine_do_not_write_into_the_releases_cache(store, console, is_trusted):
    machine = f"ed25519:{'1' * 64}"
    context = make_context(store, console, engine=PulledEngine(machine), settings=SETTINGS)
    context.trust = Trust(listed=frozenset([machine])) if is_trusted else ANYBODY
    artifact = replace(ARTIFACT, recipe=make_recipe("thing", has_cache=True))
    run = container_run(context, image="x", command=(), env=(), cache_of=artifact)

    assert (run.cache == store.cache_volume(artifact.image.reference)) == is_trusted


def test_an_image_says_which_machine_made_it_and_its_digest(store, console):
    machine = f"ed25519:{'1' * 64}"
    context = make_context(store, console, engine=PulledEngine(machine), settings=SETTINGS)
    context.trust = Trust(listed=frozenset([machine]))
    present = ensure_image(ARTIFACT.image, context)

    assert present.facts()["machines"] == [machine]
    assert present.facts()["digest"] == f"sha256:{'7' * 64}"


def test_the_shell_of_a_failed_build_has_its_limits_environment_and_cache(store, console):
    artifact = replace(ARTIFACT, recipe=make_recipe("thing", has_cache=True))
    context = make_context(store, console, engine=PresentEngine(), settings=SETTINGS)
    run = shell_run(artifact, context, is_terminal=True)

    assert replace(run.limits, deadline_s=context.limits.deadline_s) == context.limits
    assert (run.cache, run.cache_from) == (store.cache_volume(artifact.image.reference), "")
    assert (run.env, run.image, run.command) == ((("PIBUILD", "1"),), "pibuild/failed:thing", ("bash",))
    assert (run.stdin, run.labels) == ("terminal", store.labels)


def test_sources_are_measured_before_they_go_into_a_container(store):
    class Changed(FakeFetcher):
        def measure_all(self, sources):
            raise SourceError(f"Files in the store differ from what was written: {sources[0].name}")

    engine = FailingEngine([])
    context = make_context(store, Console(err=io.StringIO()), engine=engine, fetcher=Changed(), settings=SETTINGS)
    with fails(SourceError, naming="thing"):
        build_artifact(replace(ARTIFACT, release=make_release()), {}, context)
    assert engine.runs == []
