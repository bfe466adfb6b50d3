"""Machines that share a remote build nothing twice; each has a store and a fake engine of its own."""

import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pibuild.build.context import BuildContext
from pibuild.build.record import file_facts
from pibuild.build.schedule import make_wheel
from pibuild.build.wheelhouse import make_wheels
from pibuild.config.settings import Settings, Storage
from pibuild.console import Console
from pibuild.errors import ProofError
from pibuild.model import Wheelhouse
from pibuild.store.local import Store
from pibuild.store.remote import Remote
from pibuild.store.remote_folders import LocalFolder
from pibuild.urls import Address
from tests.failures import fails
from tests.fakes.engines import SIX, AbsentEngine, BuildingEngine
from tests.fakes.folders import SilentFolder
from tests.fakes.sources import FakeFetcher
from tests.makers.contexts import make_context
from tests.makers.plans import make_recipe, plan_for


class Machine:
    """All that makes wheels on one machine; `built` are the recipes whose scripts ran."""

    def __init__(self, root, folder):
        root.mkdir()
        self.words = io.StringIO()
        console = Console(err=self.words)
        self.store, self.engine, self.fetcher = Store(root / "store", console), BuildingEngine(root), FakeFetcher()
        (root / "check").mkdir()
        self.context = make_context(
            self.store,
            console,
            engine=self.engine,
            fetcher=self.fetcher,
            remote=Remote(folder, store=self.store, console=console),
            device_dir=root / "check",
            conformance_dir=root / "check",
            now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
            clock=lambda: 0.0,
        )

    def make(self, plan):
        return make_wheel(plan, self.context)

    @property
    def built(self):
        lines = [line for line in self.words.getvalue().splitlines() if line.startswith("▸ building ")]
        return [line.split()[2] for line in lines]

    @property
    def warnings(self):
        return [line for line in self.words.getvalue().splitlines() if line.startswith("warning")]


@pytest.fixture
def machine(tmp_path):
    """Make a machine; its folder is the shared one where none is given."""
    made = []

    def start(folder=None):
        made.append(Machine(tmp_path / f"machine-{len(made)}", folder or LocalFolder(tmp_path / "shared")))
        return made[-1]

    yield start
    for one in made:
        one.store.close()


def test_a_wheel_that_another_machine_proved_needs_neither_engine_nor_sources(machine):
    one, other = machine(), machine()
    proven = one.make(plan_for())
    other.context.engine = AbsentEngine()
    pulled = other.make(plan_for())

    assert len(one.built) == 4
    assert (pulled.facts, pulled.path.read_bytes()) == (proven.facts, proven.path.read_bytes())
    assert other.fetcher.fetched == []


def test_a_toolchain_is_proven_before_anything_is_built_with_it_and_once(machine):
    one = machine()
    for python in ("3.11", "3.13"):
        one.make(plan_for(python))
    steps = [line for line in one.words.getvalue().splitlines() if line.startswith("▸ ")]
    proofs = [number for number, line in enumerate(steps) if line.startswith("▸ proving pibuild/toolchain")]

    assert proofs == [0]


def test_artifacts_that_two_wheels_share_are_built_once(machine):
    one, other = machine(), machine()
    one.make(plan_for("3.11"))
    other.make(plan_for("3.13"))

    assert other.built == ["cpython-machine", "cpython", "tflite-runtime"]
    assert "pulling tensorflow-lite 1.0 for pi-one" in other.words.getvalue()


def test_a_wheel_that_is_proven_again_says_which_artifacts_it_reuses(machine):
    one = machine()
    one.make(plan_for())
    one.make(plan_for(proof="another"))
    line = next(line for line in one.words.getvalue().splitlines() if line.startswith("reusing "))

    assert "cpython 1.0 for pi-one, Python 3.11" in line
    assert "tflite-runtime 2.14.1 for pi-one, Python 3.11" in line


def test_the_needs_of_a_downloaded_artifact_are_not_built(machine):
    one, other = machine(), machine()
    one.make(plan_for())
    entry = other.make(plan_for(proof="another"))

    assert (other.built, other.engine.ran, other.fetcher.fetched) == ([], ["proof"], [])
    kept = [path.stem for path in (other.store.root / "artifacts").glob("*.tar")]
    names = {artifact.key: artifact.recipe.name for artifact in plan_for().artifacts}
    assert sorted(names[key] for key in kept) == ["cpython", "tflite-runtime"]
    assert [made["recipe"] for made in entry.facts["artifacts"]] == list(names.values())


def test_a_wheel_built_from_downloaded_artifacts_is_shared_whole(machine):
    machine().make(plan_for())
    machine().make(plan_for(proof="another"))
    third = machine()
    third.context.engine = AbsentEngine()

    assert third.make(plan_for(proof="another"))


def test_a_damaged_artifact_at_the_remote_is_rebuilt_and_replaced(machine, tmp_path):
    machine().make(plan_for())
    (tmp_path / "shared" / "artifacts" / f"{plan_for().wheel.key}.tar").write_bytes(b"else")
    other, third = machine(), machine()
    other.make(plan_for(proof="another"))
    third.make(plan_for(proof="a third"))

    assert other.built == ["tflite-runtime"]
    assert "is damaged" in other.warnings[0]
    assert (third.built, third.warnings) == ([], [])


def house_for(proof="p"):
    """A wheel with a dependency in pure Python."""
    plan = plan_for(proof=proof)
    (builder,) = (one for one in plan.artifacts if one.recipe.name == "cpython-machine")
    packages = replace(builder, key="packages", recipe=make_recipe("packages"), needs=(), env=(("PURE", "1"),))
    installed = tuple(one for one in plan.artifacts if one.recipe.name == "cpython")
    return Wheelhouse(plan=plan, compiled=(), packages=(packages,), installed=installed, key=f"house {proof}")


def test_a_wheelhouse_that_another_machine_proved_is_downloaded_whole(machine):
    one, other = machine(), machine()
    (proven,) = make_wheels(house_for(), one.context)
    other.context.engine = AbsentEngine()
    (pulled,) = make_wheels(house_for(), other.context)

    assert one.engine.ran.count("proof") == 2  # of the wheel, of all together
    assert pulled.facts == proven.facts
    assert [path.name for path in (pulled.path.parent / "extras").iterdir()] == [SIX]
    (packages,) = pulled.facts["dependencies"]["packages"]
    assert (packages["key"], [one["file"] for one in packages["wheels"]]) == ("packages", [SIX])


def test_a_wheelhouse_of_downloaded_wheels_is_only_proven(machine):
    one, other = machine(), machine()
    one.make(house_for().plan)
    make_wheels(house_for("another"), one.context)
    make_wheels(house_for(), other.context)

    assert other.built == []
    assert other.engine.ran == ["proof"]


def test_a_wheelhouse_with_a_damaged_wheel_is_made_again(machine):
    one = machine()
    (made,) = make_wheels(house_for(), one.context)
    (made.path.parent / "extras" / SIX).write_bytes(b"else")
    one.context.remote = Remote(None, store=one.store, console=one.context.console)

    assert one.store.wheel(made.key) is None
    (again,) = make_wheels(house_for(), one.context)
    assert (again.path.parent / "extras" / SIX).read_bytes() != b"else"


def test_a_failed_proof_is_not_repeated(machine):
    one, house = machine(), house_for()
    one.engine.refuses = True
    for _ in range(2):
        with fails(ProofError, naming="thing-1.0-cp311-cp311-linux_armv6l.whl"):
            make_wheels(house, one.context)
    assert one.engine.ran.count("proof") == 1
    assert list(one.context.failed) == [house.plan.key]


def test_a_wheelhouse_keeps_the_extras_of_its_wheel(machine, tmp_path):
    one, house = machine(), house_for()
    library = tmp_path / "c-library.tar.gz"
    library.write_bytes(b"a library")
    entry = one.make(house.plan)
    one.store.put_wheel(house.plan.key, entry.path, entry.facts | {"extras": [file_facts(library)]}, [library])
    (made,) = make_wheels(house, one.context)

    assert [one["file"] for one in made.facts["extras"]] == ["c-library.tar.gz", SIX]
    assert {path.name for path in (made.path.parent / "extras").iterdir()} == {"c-library.tar.gz", SIX}


def test_a_build_goes_on_without_a_remote_that_does_not_answer(machine):
    one = machine(SilentFolder())

    assert one.make(plan_for()).path.exists()
    assert len(one.warnings) == 1


def test_a_build_goes_on_with_a_read_only_remote(machine, tmp_path):
    class ReadOnly(LocalFolder):
        def put(self, *_):
            raise PermissionError("read only")

    machine().make(plan_for("3.11"))
    other = machine(ReadOnly(tmp_path / "shared"))

    assert other.make(plan_for("3.13")).path.exists()
    assert "tensorflow-lite" not in other.built
    assert len(other.warnings) == 1


@pytest.mark.parametrize(("offline", "asked"), [(False, True), (True, False)])
def test_a_remote_is_asked_unless_offline(machine, store, console, tmp_path, offline, asked):
    machine().make(plan_for())
    settings = Settings(store=Storage(remote=Address(str(tmp_path / "shared"))), offline=offline)
    context = BuildContext(settings=settings, environ={}, console=console)
    context.store = store

    assert bool(context.remote.pull_wheel(plan_for())) == asked
