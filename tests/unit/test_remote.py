"""What one machine gives is what another one gets, or nothing."""

import base64
import errno
import json
import shutil

import pytest

from pibuild.errors import SourceError, UnreachableError
from pibuild.store.remote import Remote
from pibuild.store.remote_folders import LocalFolder
from pibuild.store.trust import ANYBODY
from tests.fakes.folders import ForgetfulFolder, RefusingFolder
from tests.makers.archives import files_of
from tests.makers.plans import plan_for
from tests.makers.stores import AnyWheel, Machine, extra_file, tar_named


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

    def make(folder=None, trust=ANYBODY):
        made.append(Machine(tmp_path / f"machine-{len(made)}", folder or LocalFolder(shared), trust))
        return made[-1]

    yield make
    for one in made:
        one.store.close()


def tar_of(shared, name):
    return shared / tar_named(name, (shared / f"{name}.json").read_bytes())


def test_an_artifact_of_one_machine_is_pulled_by_another(machine, plan):
    one, other = machine(), machine()
    one.share(plan)
    pulled = other.remote.pull_artifact(plan.wheel)

    assert files_of(pulled.path) == {"name": plan.wheel.title.encode()}
    assert pulled == other.store.artifact(plan.wheel.key)
    assert pulled.facts == one.store.artifact(plan.wheel.key).facts | {"machines": [one.public]}


def test_a_proven_wheel_is_pulled_with_its_record_and_extras(machine, plan):
    one, other = machine(), machine()
    one.share(plan)
    pulled = other.pull_wheel(plan)

    assert pulled == other.store.wheel(plan.key)
    assert pulled.facts == one.store.wheel(plan.key).facts | {"machines": [one.public]}
    assert pulled.path.read_bytes() == b"a wheel"
    assert (pulled.path.parent / "extras" / extra_file(plan)).read_bytes() == b"a library"


def test_an_artifact_that_was_never_shared_is_absent(machine, plan):
    one = machine()

    assert one.remote.pull_artifact(plan.wheel) is None
    assert one.pull_wheel(plan) is None
    assert one.remote.artifact_facts(plan.wheel) is None
    assert one.words.getvalue() == ""


def test_what_a_machine_signed_itself_is_its_own_work(machine, plan):
    one = machine()
    made = one.make(plan)
    one.remote.push(plan, made)
    shutil.rmtree(one.store.root / "wheels" / plan.key)

    assert one.pull_wheel(plan).facts == made.facts


def test_a_packed_wheel_has_the_same_bytes_on_every_machine(machine, shared, tmp_path, plan):
    machine().share(plan)
    machine(LocalFolder(tmp_path / "elsewhere")).share(plan)

    name = tar_of(shared, f"wheels/{plan.key}").relative_to(shared)
    assert (shared / name).read_bytes() == (tmp_path / "elsewhere" / name).read_bytes()


def test_facts_of_an_artifact_are_read_without_its_download(machine, plan):
    machine().share(plan)
    other = machine()

    assert other.remote.artifact_facts(plan.wheel)["name"] == plan.wheel.title
    assert not other.store.has_artifact(plan.wheel.key)


@pytest.mark.parametrize("kind", ["artifacts", "wheels"])
def test_an_interrupted_push_leaves_nothing_visible_and_is_repeated(machine, shared, plan, kind):
    key = plan.key if kind == "wheels" else plan.wheel.key
    one, other = machine(), machine()
    one.share(plan)
    tar_path = tar_of(shared, f"{kind}/{key}")
    (shared / kind / f"{key}.json").unlink()
    tar_path.write_bytes(b"half")

    assert (other.pull_wheel if kind == "wheels" else other.remote.pull_artifact)(
        plan if kind == "wheels" else plan.wheel
    ) is None
    assert other.words.getvalue() == ""
    one.remote.push(plan, one.store.wheel(plan.key))
    assert (shared / kind / f"{key}.json").exists()
    assert tar_path.read_bytes() != b"half"


def test_an_artifact_that_the_remote_has_is_not_pushed_again(machine, plan, shared):
    machine().share(plan)
    tar_path = tar_of(shared, f"artifacts/{plan.wheel.key}")
    tar_path.write_bytes(b"mark")
    machine().share(plan)

    assert tar_path.read_bytes() == b"mark"


def tampered(path):
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def tampered_payload(path):
    envelope = json.loads(path.read_text())
    payload = base64.b64decode(envelope["payload"]).replace(b"pi-one", b"pi-two")
    path.write_text(json.dumps(envelope | {"payload": base64.b64encode(payload).decode()}))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (".tar", tampered),
        (".tar", lambda path: path.unlink()),
        (".json", lambda path: path.write_bytes(b'{"name": "thi')),
        (".json", lambda path: path.write_bytes(b"\xff\xfe\x00")),
        (".json", lambda path: path.write_text("[]")),
        (".json", lambda path: path.write_text("{}")),
        (".json", tampered_payload),
    ],
)
def test_a_damaged_artifact_at_the_remote_is_replaced_with_a_warning(machine, shared, plan, name, damage):
    machine().share(plan)
    attestation_path = shared / "artifacts" / f"{plan.wheel.key}.json"
    damage(tar_of(shared, f"artifacts/{plan.wheel.key}") if name == ".tar" else attestation_path)
    other = machine()

    assert other.remote.pull_artifact(plan.wheel) is None
    assert not other.store.has_artifact(plan.wheel.key)
    assert len(other.warnings) == 1
    assert f"{plan.wheel.title} is damaged" in other.warnings[0]
    other.share(plan)
    assert machine().remote.pull_artifact(plan.wheel)


def test_a_truncated_tar_is_rejected(machine, shared, plan):
    machine().share(plan)
    tar_path = tar_of(shared, f"wheels/{plan.key}")
    tar_path.write_bytes(tar_path.read_bytes()[:600])
    other = machine()

    assert other.pull_wheel(plan) is None
    assert "is damaged" in other.warnings[0]


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

    assert one.pull_wheel(plan) is None
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
    assert "nothing more is pushed to the shared store" in one.warnings[0]
    assert getattr(error, "what", error.args[-1]) in one.warnings[0]
    assert folder.asked == 1
    (one.store.root / "artifacts" / f"{plan.wheel.key}.json").unlink()
    assert one.remote.pull_artifact(plan.wheel)


def test_without_a_remote_nothing_is_pulled_or_pushed(store, console, plan):
    remote = Remote(None, store=store, console=console, key=None)
    remote.push(plan, None)

    assert remote.pull_wheel(plan, AnyWheel()) is None
    assert remote.pull_artifact(plan.wheel) is None
    assert remote.artifact_facts(plan.wheel) is None


def test_a_remote_that_keeps_nothing_is_named_in_a_warning(machine, shared, plan):
    """Such as a server that answers 200 to everything, with a page where one logs in."""
    one = machine(ForgetfulFolder(shared))
    one.share(plan)

    assert len(one.warnings) == 1
    assert "does not store what is uploaded" in one.warnings[0]


class MeddlingFolder(LocalFolder):
    """A folder to which another machine uploads the same artifact while this one does."""

    def __init__(self, root, meddle):
        super().__init__(root)
        self.meddle = meddle

    def put(self, path, name):
        if name.endswith(".json") and name.startswith("artifacts/") and self.meddle:
            meddle, self.meddle = self.meddle, None
            meddle()
        super().put(path, name)


def test_of_two_machines_that_upload_other_bytes_at_once_one_is_whole(machine, shared, plan):
    """Compilers need not give the same bytes: the tar of one must not stand beside the attestation of the other."""
    other = machine()
    one = machine(MeddlingFolder(shared, lambda: other.share(plan, stamp=b"other")))
    one.share(plan, stamp=b"one")
    third = machine()

    assert all(third.remote.pull_artifact(artifact) for artifact in plan.artifacts)
    assert third.warnings == []
