"""What one machine gives is what another one gets, or nothing."""

import errno
import json
import shutil
import tarfile

import pytest

from pibuild.errors import SourceError, UnreachableError
from pibuild.store.remote import Remote
from pibuild.store.remote_folders import LocalFolder
from tests.fakes.folders import RefusingFolder
from tests.makers.plans import plan_for
from tests.makers.stores import WHEEL, Machine


@pytest.fixture
def plan():
    return plan_for()


@pytest.fixture
def shared(tmp_path):
    return tmp_path / "shared"


@pytest.fixture
def machine(tmp_path, shared):
    """Make a machine; its folder is the shared one where none is given."""
    made = []

    def make(folder=None):
        made.append(Machine(tmp_path / f"machine-{len(made)}", folder or LocalFolder(shared)))
        return made[-1]

    yield make
    for one in made:
        one.store.close()


def test_an_artifact_of_one_machine_is_pulled_by_another(machine, plan):
    machine().share(plan)
    other = machine()
    pulled = other.remote.pull_artifact(plan.wheel)

    assert pulled.path.read_bytes() == plan.wheel.title.encode()
    assert pulled == other.store.artifact(plan.wheel.key)
    assert pulled.facts["name"] == plan.wheel.title


def test_a_proven_wheel_is_pulled_with_its_record_and_extras(machine, plan):
    one, other = machine(), machine()
    one.share(plan)
    pulled = other.remote.pull_wheel(plan)

    assert pulled == other.store.wheel(plan.key)
    assert pulled.facts == one.store.wheel(plan.key).facts
    assert pulled.path.read_bytes() == b"a wheel"
    assert (pulled.path.parent / "extras" / "c-library.tar.gz").read_bytes() == b"a library"


def test_an_artifact_that_was_never_shared_is_absent(machine, plan):
    one = machine()

    assert one.remote.pull_artifact(plan.wheel) is None
    assert one.remote.pull_wheel(plan) is None
    assert one.remote.artifact_facts(plan.wheel) is None
    assert one.words.getvalue() == ""


def test_a_packed_wheel_has_the_same_bytes_on_every_machine(machine, shared, tmp_path, plan):
    machine().share(plan)
    machine(LocalFolder(tmp_path / "elsewhere")).share(plan)

    name = f"wheels/{plan.key}.tar"
    assert (shared / name).read_bytes() == (tmp_path / "elsewhere" / name).read_bytes()


def test_facts_of_an_artifact_are_read_without_its_download(machine, plan):
    machine().share(plan)
    other = machine()

    assert other.remote.artifact_facts(plan.wheel)["name"] == plan.wheel.title
    assert not other.store.has_artifact(plan.wheel.key)


@pytest.mark.parametrize("kind", ["artifacts", "wheels"])
def test_an_interrupted_push_leaves_nothing_visible_and_is_repeated(
    machine, shared, plan, kind
):
    key = plan.key if kind == "wheels" else plan.wheel.key
    one, other = machine(), machine()
    one.share(plan)
    (shared / kind / f"{key}.json").unlink()
    (shared / kind / f"{key}.tar").write_bytes(b"half")

    assert (other.remote.pull_wheel if kind == "wheels" else other.remote.pull_artifact)(
        plan if kind == "wheels" else plan.wheel
    ) is None
    assert other.words.getvalue() == ""
    one.remote.push(plan, one.store.wheel(plan.key))
    assert (shared / kind / f"{key}.json").exists()
    assert (shared / kind / f"{key}.tar").read_bytes() != b"half"


def test_an_artifact_that_the_remote_has_is_not_pushed_again(machine, plan, shared):
    machine().share(plan)
    (shared / "artifacts" / f"{plan.wheel.key}.tar").write_bytes(b"mark")
    machine().share(plan)

    assert (shared / "artifacts" / f"{plan.wheel.key}.tar").read_bytes() == b"mark"


def tampered(path):
    path.write_bytes(path.read_bytes()[:-1] + b"?")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (".tar", tampered),
        (".tar", lambda path: path.unlink()),
        (".json", lambda path: path.write_bytes(b'{"name": "thi')),
        (".json", lambda path: path.write_bytes(b"\xff\xfe\x00")),
        (".json", lambda path: path.write_text("[]")),
        (".json", lambda path: path.write_text("{}")),
    ],
)
def test_a_damaged_artifact_at_the_remote_is_replaced_with_a_warning(machine, shared, plan, name, damage):
    machine().share(plan)
    damage(shared / "artifacts" / f"{plan.wheel.key}{name}")
    other = machine()

    assert other.remote.pull_artifact(plan.wheel) is None
    assert not other.store.has_artifact(plan.wheel.key)
    assert len(other.warnings) == 1
    assert f"{plan.wheel.title} is damaged" in other.warnings[0]
    other.share(plan)
    assert machine().remote.pull_artifact(plan.wheel)


def test_a_wheel_changed_after_its_proof_is_rejected(machine, shared, plan):
    machine().share(plan)
    tar_path = shared / "wheels" / f"{plan.key}.tar"
    tar_path.write_bytes(tar_path.read_bytes().replace(b"a wheel", b"A wheel"))
    other = machine()

    assert other.remote.pull_wheel(plan) is None
    assert other.store.wheel(plan.key) is None
    assert "its sha256 is" in other.warnings[0]


def test_a_wrong_file_under_the_key_of_a_wheel_is_rejected(machine, shared, plan):
    machine().share(plan)
    with tarfile.open(shared / "wheels" / f"{plan.key}.tar", "w") as tar:
        folder = tarfile.TarInfo(WHEEL)
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    other = machine()

    assert other.remote.pull_wheel(plan) is None
    assert f"{WHEEL} is not a file" in other.warnings[0]


def test_a_truncated_tar_is_rejected(machine, shared, plan):
    machine().share(plan)
    tar_path = shared / "wheels" / f"{plan.key}.tar"
    tar_path.write_bytes(tar_path.read_bytes()[:600])
    other = machine()

    assert other.remote.pull_wheel(plan) is None
    assert "is damaged" in other.warnings[0]


@pytest.mark.parametrize("name", ["../../../escaped", "/escaped", "..", ".hidden", "a/b", ""])
def test_a_record_with_a_path_out_of_its_folder_is_rejected(machine, shared, plan, name):
    machine().share(plan)
    path = shared / "wheels" / f"{plan.key}.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"extras": [record["extras"][0] | {"file": name}]}))
    other = machine()

    assert other.remote.pull_wheel(plan) is None
    assert "its record names 'extras/" in other.warnings[0]


def test_an_empty_record_is_rejected(machine, shared, plan):
    machine().share(plan)
    (shared / "wheels" / f"{plan.key}.json").write_text('{"wheel": "thing.whl"}')
    other = machine()

    assert other.remote.pull_wheel(plan) is None
    assert "does not name its files" in other.warnings[0]


def test_a_locally_damaged_artifact_is_not_pushed(machine, shared, plan):
    one = machine()
    entry = one.make(plan)
    one.store.artifact(plan.wheel.key).path.write_bytes(b"else")
    one.remote.push(plan, entry)

    assert not (shared / "artifacts" / f"{plan.wheel.key}.json").exists()
    assert "is damaged" in one.warnings[0]


def test_an_unreachable_remote_is_reported_once_and_not_asked_again(machine, shared, plan):
    folder = RefusingFolder(shared, UnreachableError("cache.example.org is not reachable", found="refused", hint="ask"))
    one = machine(folder)

    assert one.remote.pull_wheel(plan) is None
    assert one.remote.pull_artifact(plan.wheel) is None
    one.share(plan)
    assert folder.asked == 1
    assert len(one.warnings) == 1
    assert one.warnings[0].endswith("without it: cache.example.org is not reachable; found refused; try: ask")


@pytest.mark.parametrize(
    "error", [SourceError("cache.example.org answers 403 Forbidden"), OSError(errno.ENOSPC, "No space left on device")]
)
def test_a_read_only_remote_is_reported_once_and_still_read(machine, shared, plan, error):
    machine().share(plan)
    shutil.rmtree(shared / "wheels")
    folder = RefusingFolder(shared, error, reads=True)
    one = machine(folder)
    one.share(plan)
    one.share(plan)

    assert len(one.warnings) == 1
    assert "nothing more is pushed to the remote store" in one.warnings[0]
    assert getattr(error, "what", error.args[-1]) in one.warnings[0]
    assert folder.asked == 1
    (one.store.root / "artifacts" / f"{plan.wheel.key}.json").unlink()
    assert one.remote.pull_artifact(plan.wheel)


def test_without_a_remote_nothing_is_pulled_or_pushed(store, console, plan):
    remote = Remote(None, store=store, console=console)
    remote.push(plan, None)

    assert remote.pull_wheel(plan) is None
    assert remote.pull_artifact(plan.wheel) is None
    assert remote.artifact_facts(plan.wheel) is None
