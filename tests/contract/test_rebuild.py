"""An artifact that is built again has the same bytes, or the first difference is named. No engine is needed."""

import io
import itertools
import json
import os
import signal
import time
import uuid
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pibuild.build.catalogue import load_catalogue
from pibuild.build.rebuild import rebuild
from pibuild.build.record import file_facts
from pibuild.build.schedule import make_wheel
from pibuild.commands.main import main
from pibuild.config.settings import Settings
from pibuild.console import Console
from pibuild.errors import UsageError
from pibuild.nightly.cells import CellBuilder
from pibuild.nightly.history import History
from pibuild.nightly.night import run_night
from pibuild.nightly.rebuilds import rebuild_in_turn
from pibuild.store.local import Store
from pibuild.store.rebuild_turns import RebuildTurns
from tests.failures import fails
from tests.fakes.engines import BuildingContainer, BuildingEngine
from tests.fakes.sources import FakeFetcher
from tests.integration.elsewhere import planned
from tests.makers.contexts import make_context
from tests.makers.outcomes import make_night, make_outcome
from tests.makers.plans import make_catalogue, plan_for

NOW = datetime(2026, 11, 25, 3, tzinfo=UTC)
ALL = ["cpython-machine", "cpython", "tensorflow-lite", "tflite-runtime"]


class LeakingContainer(BuildingContainer):
    """Leaves one more file, whose content is what a careless script writes."""

    leak = staticmethod(lambda: "")

    def _out(self):
        out = super()._out()
        (out / "share").mkdir()
        (out / "share" / "banner.txt").write_text(f"made {self.leak()}\n")
        return out


class LeakingEngine(BuildingEngine):
    """An engine in which the recipe of one Python or target leaks something, if `leaks` says so."""

    def __init__(self, folder, leak=lambda: "", failing=""):
        super().__init__(folder)
        self.leak, self.failing, self.runs = leak, failing, []

    def container(self, run):
        self.runs.append(run)
        return super().container(run) if "PIBUILD_CHECK" in dict(run.env) else self._leaking(run)

    def _leaking(self, run):
        self.ran.append(run.env[-1])
        container = LeakingContainer(self.folder, dict(run.env), exit_code=int(bool(self.failing)))
        container.leak = self.leak
        return nullcontext(container)


class Machine:
    """A store, a fake engine, and a context with both."""

    def __init__(self, root, **engine):
        root.mkdir(exist_ok=True)
        self.words = io.StringIO()
        console = Console(err=self.words)
        self.store, self.engine = Store(root / "store", console), LeakingEngine(root, **engine)
        (root / "check").mkdir(exist_ok=True)
        self.fetcher = FakeFetcher()
        self.context = make_context(
            self.store,
            console,
            engine=self.engine,
            fetcher=self.fetcher,
            settings=Settings(),
            device_dir=root / "check",
            conformance_dir=root / "check",
            now=lambda: NOW,
            clock=itertools.count().__next__,
        )

    def contents(self):
        folders = (self.store.root / name for name in ("artifacts", "wheels", "sources"))
        return {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def machine(tmp_path):
    made = []

    def start(**engine):
        made.append(Machine(tmp_path / "machine", **engine))
        return made[-1]

    yield start
    for one in made:
        one.store.close()


def test_every_artifact_of_a_plan_is_built_again_and_equal(machine):
    one = machine()
    make_wheel(plan_for(), one.context)
    before, ran = one.contents(), len(one.engine.ran)
    results = [*rebuild(plan_for(), one.context)]

    assert [result.title.split()[0] for result in results] == ALL
    assert [result.difference for result in results] == [None] * 4
    assert len(one.engine.ran) - ran == len(ALL)
    assert one.contents() == before
    assert all(run.cache == "" for run in one.engine.runs[ran:])


def test_what_the_store_lacks_is_built_first_and_then_again(machine):
    one = machine()
    results = [*rebuild(plan_for(), one.context)]

    assert [result.difference for result in results] == [None] * 4
    assert one.store.artifact(plan_for().wheel.key)


@pytest.mark.parametrize(
    "leak",
    [lambda: f"{time.time_ns()}", lambda: uuid.uuid4().hex, lambda: f"/work/{uuid.uuid4().hex}/build"],
    ids=["the time", "a random number", "a path"],
)
def test_a_recipe_that_stores_what_changes_is_caught_and_the_file_named(machine, leak):
    one = machine(leak=leak)
    make_wheel(plan_for(), one.context)
    results = [*rebuild(plan_for(), one.context)]

    assert [result.difference.files for result in results] == [("share/banner.txt",)] * 4
    assert results[0].difference.offset >= len("made ")
    assert "different: cpython-machine" in one.words.getvalue()


def test_a_stored_wheel_that_its_artifact_does_not_give_is_caught(machine):
    one = machine()
    wheel = make_wheel(plan_for(), one.context)
    content = wheel.path.read_bytes().replace(b"thing/_core", b"thing/_kore")
    other = wheel.path.with_name("other") / wheel.path.name
    other.parent.mkdir()
    other.write_bytes(content)
    one.store.put_wheel(plan_for().key, other, wheel.facts | {"wheel": file_facts(other)})
    results = [*rebuild(plan_for(), one.context)]

    assert [bool(result.difference) for result in results] == [False, False, False, True]
    assert results[-1].difference.files[0] == wheel.path.name


def test_a_recipe_with_a_cache_gets_a_new_one_when_it_is_built_again(machine):
    one = machine()
    plan = plan_for()
    recipe = replace(plan.wheel.recipe, has_cache=True)
    plan = replace(plan, wheel=replace(plan.wheel, recipe=recipe))
    plan = replace(plan, artifacts=(*plan.artifacts[:-1], plan.wheel))
    [*rebuild(plan, one.context)]
    built, again = (run for run in one.engine.runs if run.cache or "/work/cache" in run.volumes)

    assert built.cache
    assert built.volumes == ("/work/cache/bazel",)  # Bazel's own programs are not in the cache
    assert (again.cache, again.cache_from, again.volumes) == ("", "", ("/work/cache",))


def test_what_is_built_again_is_compiled_on_this_machine(machine, monkeypatch):
    one, asked = machine(), []

    def elsewhere(artifact, _context, *, sources):  # noqa: ARG001
        asked.append(artifact.recipe.name)
        return nullcontext(None)

    monkeypatch.setattr("pibuild.build.artifact.remote_of", elsewhere)
    make_wheel(plan_for(), one.context)
    first = list(asked)
    [*rebuild(plan_for(), one.context)]

    assert sorted(first) == sorted(ALL)
    assert asked == first


@pytest.fixture
def night(tmp_path):
    """Run a night of one cell in the machine, and return it."""
    history = History(tmp_path / "state")

    def run(one, count=1, number=0):
        builder = CellBuilder(make_catalogue(), one.context)
        ended = make_night(f"2026112{number}T030000Z", ended="")
        return run_night(ended, [make_outcome().cell], builder, history, rebuilds=count)

    return run


def names(night):
    return [rebuild.name.split()[0] for rebuild in night.rebuilds]


def test_nights_build_artifacts_again_in_turn(machine, night):
    one = machine()
    turns = [names(night(one, number=number)) for number in range(5)]

    assert turns == [["cpython-machine"], ["cpython"], ["tensorflow-lite"], ["tflite-runtime"], ["cpython-machine"]]


def test_a_night_builds_as_many_again_as_are_asked_for_but_each_once(machine, night):
    one = machine()
    assert names(night(one, count=3)) == ALL[:3]
    assert names(night(one, count=9, number=1)) == [ALL[3], *ALL[:3]]
    assert "4 of 9 artifacts were rebuilt" in one.words.getvalue()


def test_a_night_without_the_setting_builds_nothing_again(machine, night):
    assert night(machine(), count=0).rebuilds == ()


def test_a_difference_and_its_file_are_in_the_night(machine, night):
    found = night(machine(leak=lambda: uuid.uuid4().hex)).rebuilds[0]

    assert found.status == "different"
    assert "share/banner.txt" in found.cause


def test_an_artifact_that_cannot_be_built_again_is_a_failure_with_its_log(machine, night):
    one = machine()
    night(one)
    one.engine.failing = "yes"
    (found,) = night(one, number=1).rebuilds

    assert found.status == "failed"
    assert "could not be built" in found.cause
    assert found.log


def test_artifacts_that_the_store_has_no_more_are_left_out(machine, night):
    one = machine()
    night(one, count=0)
    for key in [artifact.key for artifact in plan_for().artifacts[:3]]:
        one.store.remove_artifact(key)
    done = night(one, count=4, number=1)

    assert names(done) == ["tflite-runtime"]


class KilledError(Exception):
    """Stands for kill -9: nothing runs after it."""


def killed(one, history):
    def die(*_words, **_more):
        raise KilledError

    builder = CellBuilder(make_catalogue(), one.context)
    done = make_night("20261120T030000Z", make_outcome(), ended="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pibuild.nightly.rebuilds.rebuild_artifact", die)
        with pytest.raises(KilledError):
            rebuild_in_turn(done, 1, builder, history)


def test_a_rebuild_that_was_killed_is_repeated_once_and_then_comes_last(machine, night, tmp_path):
    one, history = machine(), History(tmp_path / "state")
    assert names(night(one)) == ["cpython-machine"]
    killed(one, history)
    killed(one, history)

    assert [names(night(one, number=number)) for number in (1, 2, 3, 4)] == [
        ["tensorflow-lite"],
        ["tflite-runtime"],
        ["cpython-machine"],
        ["cpython"],
    ]


def test_a_killed_rebuild_has_its_turn_in_the_next_night(machine, night, tmp_path):
    one = machine()
    night(one)
    killed(one, History(tmp_path / "state"))

    assert names(night(one, number=1)) == ["cpython"]


def test_turns_do_not_depend_on_the_clock(tmp_path):
    turns = RebuildTurns(tmp_path)
    for key, year in (("a", 2030), ("b", 1990), ("c", 2010)):
        turns.end(key, key, "equal", NOW.replace(year=year))

    assert RebuildTurns(tmp_path).ordered(["c", "b", "a", "new"]) == ["new", "a", "b", "c"]


def test_a_damaged_record_of_a_turn_counts_as_none(tmp_path):
    turns = RebuildTurns(tmp_path)
    turns.end("a", "a", "equal", NOW)
    turns.end("b", "b", "equal", NOW)
    (tmp_path / "rebuilds" / "b.json").write_text('{"turn": "x"}')

    assert turns.ordered(["a", "b"]) == ["b", "a"]


def test_a_process_that_is_killed_while_it_writes_turns_leaves_them_whole(tmp_path):
    child = os.fork()
    if not child:
        turns = RebuildTurns(tmp_path)
        for number in itertools.count():
            turns.end(f"key-{number % 7}", "a", "equal", NOW)
    time.sleep(0.3)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    keys = [f"key-{number}" for number in range(7)]

    assert len([*(tmp_path / "rebuilds").glob("key-*.json")]) == 7
    assert sorted(RebuildTurns(tmp_path).ordered(keys)) == keys
    assert RebuildTurns(tmp_path).ordered([*keys, "new"])[0] == "new"


def asked(one, monkeypatch, tmp_path, *words):
    """Run `pibuild build --rebuild` in a machine; return the exit code."""

    @contextmanager
    def opened(*_words):
        yield one.context

    monkeypatch.setattr("pibuild.build.context.open_context", opened)
    monkeypatch.setattr("pibuild.build.catalogue.load_catalogue", lambda _own: make_catalogue())
    monkeypatch.chdir(tmp_path)
    plain = ("build", "--target", "pi-one", "--python", "3.11", "--rebuild")
    return main([*plain, *words])


def test_the_command_ends_well_if_all_artifacts_are_equal(machine, monkeypatch, tmp_path, capsys):
    one = machine()
    one.context.settings = Settings(target="pi-one", python="3.11")
    code = asked(one, monkeypatch, tmp_path, "--json")
    facts = json.loads(capsys.readouterr().out)

    assert code == 0
    assert [result["is_equal"] for result in facts["rebuilt"]] == [True] * 4
    assert facts["path"].startswith("wheelhouse/thing-")


def test_the_command_fails_with_the_file_that_differs(machine, monkeypatch, tmp_path, capsys):
    one = machine(leak=lambda: uuid.uuid4().hex)
    one.context.settings = Settings(target="pi-one", python="3.11")
    code = asked(one, monkeypatch, tmp_path, "--json")
    out, err = capsys.readouterr()
    error = json.loads(err.splitlines()[-1])["error"]

    assert code == 9
    assert error["type"] == "RebuildError"
    assert "share/banner.txt" in error["details"][0]
    assert json.loads(out)["rebuilt"][0]["difference"]["files"] == ["share/banner.txt"]


def test_every_recipe_is_built_elsewhere_for_each_target_that_it_is_for():
    catalogue = load_catalogue()
    built = {
        (artifact.recipe.name, artifact.target.name if artifact.target else "")
        for plan in planned(catalogue, [*catalogue.targets], [*catalogue.recipes])
        for artifact in plan.artifacts
    }
    assert {recipe for recipe, _ in built} == {*catalogue.recipes}
    assert {(recipe, target) for recipe in ("litert", "litert-core") for target in catalogue.targets} <= built


def test_a_target_that_nobody_knows_is_not_built_elsewhere():
    with fails(UsageError, naming="pi-6"):
        planned(load_catalogue(), ["pi-6"], [])
