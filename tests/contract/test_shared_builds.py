"""Machines that share a remote build nothing twice; each has a store and a fake engine of its own."""

import hashlib
import io
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pibuild.build.context import BuildContext
from pibuild.build.image_registry import MACHINES_LABEL
from pibuild.build.pulled_wheel import pull_wheel
from pibuild.build.record import file_facts
from pibuild.build.schedule import make_wheel
from pibuild.build.wheelhouse import make_wheels
from pibuild.config.settings import Settings, Storage
from pibuild.console import Console
from pibuild.errors import ProofError
from pibuild.model import PypiPlace, Wheelhouse
from pibuild.signing.key_files import machine_key, public_text
from pibuild.store.local import Store
from pibuild.store.remote import Remote
from pibuild.store.remote_folders import LocalFolder
from pibuild.store.trust import ANYBODY
from pibuild.urls import Address
from pibuild.verify.own_wheel import verify_wheel
from tests.failures import fails
from tests.fakes.engines import SIX, AbsentEngine, BuildingEngine
from tests.fakes.folders import SilentFolder
from tests.fakes.sources import FakeFetcher
from tests.makers.contexts import make_context
from tests.makers.elfs import BX_LR, PI_TWO, SO, arm, make_elf
from tests.makers.plans import make_recipe, make_release, make_source, plan_for
from tests.makers.wheels import make_wheel as make_thing


class Machine:
    """All that makes wheels on one machine; `built` are the recipes whose scripts ran."""

    def __init__(self, root, folder, trust=ANYBODY):
        root.mkdir()
        self.words = io.StringIO()
        console = Console(err=self.words)
        self.store, self.engine = Store(root / "store", console, trust), BuildingEngine(root)
        self.fetcher, self.key = FakeFetcher(), machine_key(root / "machine.pem")
        (root / "check").mkdir()
        self.context = make_context(
            self.store,
            console,
            engine=self.engine,
            fetcher=self.fetcher,
            remote=Remote(folder, store=self.store, console=console, trust=trust, key=lambda: self.key),
            device_dir=root / "check",
            conformance_dir=root / "check",
            now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
            clock=lambda: 0.0,
        )

    def make(self, plan):
        return make_wheel(plan, self.context)

    @property
    def public(self):
        return public_text(self.key.public_key())

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
    assert pulled.facts == proven.facts | {"machines": [one.public]}
    assert pulled.path.read_bytes() == proven.path.read_bytes()
    assert other.fetcher.fetched == []


def test_a_toolchain_is_proven_before_anything_is_built_with_it_and_once(machine):
    one = machine()
    for python in ("3.11", "3.13"):
        one.make(plan_for(python))
    steps = [line for line in one.words.getvalue().splitlines() if line.startswith("▸ ")]
    proofs = [number for number, line in enumerate(steps) if line.startswith("▸ proving pibuild/toolchain")]
    compiled = [number for number, line in enumerate(steps) if re.match("▸ building .* for pi-", line)]

    assert len(proofs) == 1
    assert len(compiled) == 5
    assert proofs[0] < compiled[0]


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
    (tar_path,) = (tmp_path / "shared" / "artifacts").glob(f"{plan_for().wheel.key}-*.tar")
    tar_path.write_bytes(b"else")
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
    six = make_source("six", places=(PypiPlace(pypi="six", version="1.16.0", file=SIX, sha256="6" * 64),))
    recipe, release = make_recipe("packages"), make_release(sources=(six,))
    packages = replace(builder, key="9" * 64, recipe=recipe, release=release, needs=(), env=(("PURE", "1"),))
    installed = tuple(one for one in plan.artifacts if one.recipe.name == "cpython")
    key = hashlib.sha256(proof.encode()).hexdigest()
    return Wheelhouse(plan=plan, compiled=(), packages=(packages,), installed=installed, key=key)


def test_a_wheelhouse_that_another_machine_proved_is_downloaded_whole(machine):
    one, other = machine(), machine()
    (proven,) = make_wheels(house_for(), one.context)
    other.context.engine = AbsentEngine()
    (pulled,) = make_wheels(house_for(), other.context)

    assert one.engine.ran.count("proof") == 2  # of the wheel, of all together
    assert pulled.facts == proven.facts | {"machines": [one.public]}
    assert [path.name for path in (pulled.path.parent / "extras").iterdir()] == [SIX]
    (packages,) = pulled.facts["dependencies"]["packages"]
    assert (packages["key"], [one["file"] for one in packages["wheels"]]) == ("9" * 64, [SIX])


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
    one.context.remote = Remote(None, store=one.store, console=one.context.console, key=lambda: one.key)

    assert one.store.wheel(made.key) is None
    (again,) = make_wheels(house_for(), one.context)
    assert (again.path.parent / "extras" / SIX).read_bytes() != b"else"


def test_a_failed_proof_is_not_repeated(machine):
    one, house = machine(), house_for()
    one.engine.refuses = True
    for _ in range(2):
        with fails(ProofError, naming="thing-2.14.1-cp311-cp311-linux_armv6l.whl"):
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
    storage = Storage(remote=Address(str(tmp_path / "shared")), key=str(tmp_path / "own.pem"))
    settings = Settings(store=storage, offline=offline)
    context = BuildContext(settings=settings, environ={}, console=console)
    context.store = store

    assert bool(pull_wheel(plan_for(), context)) == asked


THING = "thing-2.14.1-cp311-cp311-linux_armv6l.whl"
ARMV7 = arm(0xE3001001, BX_LR)
"""movw, which the ARMv6 of a Pi 1 does not know."""


def made_thing(folder, name=THING, version="2.14.1", tag="cp311-cp311-linux_armv6l", code=None):
    return make_thing(
        folder,
        {SO: make_elf(code, attributes=PI_TWO)} if code else None,
        file_name=name,
        tags=(tag,),
        metadata=f"Metadata-Version: 2.1\nName: {name.partition('-')[0]}\nVersion: {version}\n",
        dist_info=f"{name.partition('-')[0]}-{version}.dist-info",
    )


def share_forged(one, plan, path, record, extras=()):
    """Let a trusted machine sign a wheel that is not what its plan says, in place of the good one."""
    entry = one.store.put_wheel(plan.key, path, record, extras)
    one.context.remote._damaged.add(f"wheels/{plan.key}")
    one.context.remote.push(plan, entry)


def is_made_again(other, plan, word):
    entry = make_wheels(plan, other.context)[-1]
    assert len(other.warnings) == 1, other.warnings
    assert word in other.warnings[0]
    assert "machines" in entry.facts  # of the artifacts, which were good
    return entry


@pytest.mark.parametrize(
    ("forged", "word"),
    [
        ({"code": ARMV7}, "contradicts its tag"),
        ({"name": "thing-2.14.2-cp311-cp311-linux_armv6l.whl", "version": "2.14.2"}, "is not a wheel of thing 2.14.1"),
        ({"name": "numpy-2.14.1-cp311-cp311-linux_armv6l.whl"}, "is not a wheel of thing 2.14.1"),
        (
            {"name": "thing-2.14.1-cp313-cp313-linux_armv6l.whl", "tag": "cp313-cp313-linux_armv6l"},
            "the file name does not end with cp311-cp311-linux_armv6l.whl",
        ),
        (
            {"name": "thing-2.14.1-cp311-cp311-linux_armv7l.whl", "tag": "cp311-cp311-linux_armv7l"},
            "the file name does not end with cp311-cp311-linux_armv6l.whl",
        ),
        ({"version": "9.9"}, "contradicts its tag"),
    ],
)
def test_a_wheel_of_a_trusted_machine_is_verified_before_it_is_used(machine, tmp_path, forged, word):
    one, plan = machine(), plan_for()
    record = one.make(plan).facts
    path = made_thing(tmp_path / "forged", **forged)
    share_forged(one, plan, path, record | {"wheel": file_facts(path)})
    entry = is_made_again(machine(), plan, word)

    assert entry.path.name == THING


@pytest.mark.parametrize("change", [{"key": "0" * 64}, {"target": "pi-two"}, {"python": "3.9"}, {"recipe": "numpy"}])
def test_a_record_of_another_plan_is_refused(machine, change):
    one, plan = machine(), plan_for()
    entry = one.make(plan)
    share_forged(one, plan, entry.path, entry.facts | {"plan": entry.facts["plan"] | change})

    is_made_again(machine(), plan, "its record is of another plan")


@pytest.mark.parametrize("device", [{"results": "x"}, {"models": 5}, {"models": [{"name": 5}]}, {"results": -1}])
def test_a_measured_result_that_a_night_cant_read_is_refused(machine, device):
    one, plan = machine(), plan_for()
    entry = one.make(plan)
    share_forged(one, plan, entry.path, entry.facts | {"checks": {"file": [], "device": device}})

    is_made_again(machine(), plan, "the result of the device is invalid")


@pytest.mark.parametrize("name", ["numpy-9.9-py3-none-any.whl", "x.tar.gz", THING.replace("2.14.1", "3.0")])
def test_extras_that_the_plan_does_not_name_are_refused(machine, tmp_path, name):
    """pip would install what is planted beside the wheel: extras are delivered into the output folder."""
    one, plan = machine(), plan_for()
    entry = one.make(plan)
    planted = tmp_path / name
    planted.write_bytes(b"evil")
    share_forged(one, plan, entry.path, entry.facts | {"extras": [file_facts(planted)]}, [planted])

    again = is_made_again(machine(), plan, f"{name} is not a file of this plan")
    assert list((again.path.parent / "extras").iterdir()) == []


def test_extras_that_the_plan_names_must_be_there(machine):
    one, plan = machine(), plan_for()
    asked = replace(plan, wheel=replace(plan.wheel, env=(*plan.wheel.env, ("PIBUILD_EXTRAS", "c-library"))))
    entry = one.make(plan)
    share_forged(one, plan, entry.path, entry.facts)

    assert pull_wheel(asked, machine().context) is None


def forged_house(one, house, tmp_path, name, *, package=True, **made):
    """Share a wheelhouse in which a wheel takes the place of six."""
    entry = make_wheels(house, one.context)[-1]
    path = make_thing(tmp_path / "forged", file_name=name, **made)
    dependencies = entry.facts["dependencies"]
    (packages,) = dependencies["packages"]
    listed = [packages | {"wheels": [file_facts(path)]}] if package else [packages]
    record = entry.facts | {"extras": [file_facts(path)], "dependencies": dependencies | {"packages": listed}}
    share_forged(one, house, entry.path, record, [path])


SIX_METADATA = {"metadata": "Metadata-Version: 2.1\nName: six\nVersion: 1.16.0\n", "dist_info": "six-1.16.0.dist-info"}
PURE = {"tags": ("py2-none-any", "py3-none-any"), "purelib": "true"}


@pytest.mark.parametrize(
    ("name", "made", "word"),
    [
        ("seven-1.16.0-py2.py3-none-any.whl", PURE, "is not a package of"),
        ("six-1.17.0-py2.py3-none-any.whl", PURE, "is not a package of"),
        (SIX, PURE | SIX_METADATA, "it is not in pure Python"),
        (SIX, PURE, "METADATA Name is thing"),
        (SIX, PURE | SIX_METADATA | {"files": {"a.py": b""}, "package": False}, "is recorded twice"),
    ],
)
def test_packages_of_a_wheelhouse_are_the_pinned_ones_and_pure(machine, tmp_path, name, made, word):
    one = machine()
    forged_house(one, house_for(), tmp_path, name, **made)

    again = is_made_again(machine(), house_for(), word)
    assert [path.name for path in (again.path.parent / "extras").iterdir()] == [SIX]


def test_a_wheelhouse_without_its_dependencies_is_refused(machine):
    one, house = machine(), house_for()
    entry = make_wheels(house, one.context)[-1]
    record = {name: value for name, value in entry.facts.items() if name != "dependencies"}
    share_forged(one, house, entry.path, record | {"extras": []})

    is_made_again(machine(), house, "its record has no dependencies")


def test_a_wheel_of_trusted_and_own_artifacts_names_the_other_machine(machine):
    """It was proven here, but others had a part in it: a signature must know."""
    one, other, third = machine(), machine(), machine()
    one.make(plan_for("3.11"))
    entry = other.make(plan_for("3.13"))

    assert entry.facts["machines"] == [one.public]
    facts = other.store.artifact(plan_for("3.13").wheel.key).facts
    assert facts["machines"] == [one.public]  # tensorflow-lite is the first machine's
    assert third.make(plan_for("3.13")).facts["machines"] == sorted([one.public, other.public])


def test_what_was_built_without_a_remote_names_no_machine(machine):
    assert "machines" not in machine().make(plan_for()).facts


def test_unclear_code_is_judged_with_the_libraries_before_strip(machine, monkeypatch):
    one, other, asked = machine(), machine(), []
    one.make(plan_for())

    def judge(path, *, target, python, symbols_dir):
        asked.append(bool(symbols_dir))
        if symbols_dir is None:
            raise ProofError("it could be data, or code")
        return verify_wheel(path, target=target, python=python, symbols_dir=symbols_dir)

    monkeypatch.setattr("pibuild.build.pulled_wheel.verify_wheel", judge)
    entry = other.make(plan_for())

    assert (asked, other.built, other.warnings) == ([False, True], [], [])
    assert entry.facts["machines"] == [one.public]


@pytest.mark.parametrize("part", ["toolchain", "device"])
def test_a_wheel_names_the_machine_whose_image_it_was_made_or_proven_in(machine, part):
    """Without `store: trust:` such a wheel is never signed for publication."""
    maker = f"ed25519:{'1' * 64}"
    one = machine()
    one.engine.image_labels = lambda reference: {MACHINES_LABEL: maker} if part in reference else {}
    entry = one.make(plan_for())

    assert entry.facts["machines"] == [maker]
