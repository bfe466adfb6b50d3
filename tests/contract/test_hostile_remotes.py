"""An attacker who can write to the shared store: nothing of his is used, and the build goes on.

Two real stores share a mounted folder and an HTTP server. The attacker knows the format, and has a key of his own.
"""

import base64
import hashlib
import io
import json
import os
import tarfile
import tempfile
from pathlib import Path

import pytest

from pibuild.adapters.http import Http
from pibuild.files import json_text
from pibuild.signing.envelope import sealed
from pibuild.store.attestation import PAYLOAD_TYPE, attest
from pibuild.store.remote_folders import LocalFolder, ServedFolder
from pibuild.store.trust import ANYBODY, Trust
from pibuild.trees.archives import members_of
from pibuild.trees.selection import EVERYTHING
from pibuild.trees.tree import write_tree
from pibuild.urls import Address
from tests.fakes.servers import CacheServer, running
from tests.makers.archives import DEVICE, HardLink, Link, files_of, make_tar
from tests.makers.plans import plan_for
from tests.makers.stores import WHEEL, Machine, extra_file, make_facts, make_wheel_record, tar_name, tar_named

PLAN = plan_for()
ARTIFACT = PLAN.wheel
NAME = {"artifact": f"artifacts/{ARTIFACT.key}", "wheel": f"wheels/{PLAN.key}"}
KINDS = ["artifact", "wheel"]
SHARED = {WHEEL: b"a wheel", f"extras/{extra_file(PLAN)}": b"a library"}


class Shelf:
    """The files of the shared store, whatever serves them: what an attacker can read and write."""

    def __init__(self, folder, read, write):
        self.folder, self.read, self.write = folder, read, write

    def tar_named(self, name):
        return tar_named(name, self.read(f"{name}.json"))


@pytest.fixture(params=["mounted", "http"])
def shelf(request, tmp_path):
    if request.param == "mounted":
        root = tmp_path / "shared"
        for kind in ("artifacts", "wheels"):
            (root / kind).mkdir(parents=True)
        yield Shelf(
            LocalFolder(root),
            lambda name: (root / name).read_bytes(),
            lambda name, content: (root / name).write_bytes(content),
        )
        return
    with running(CacheServer()) as cache:
        http = Http({}, note=lambda _: None, sleep=lambda _: None)
        yield Shelf(
            ServedFolder(http, Address(cache.url)),
            lambda name: cache.kept[f"/cache/{name}"],
            lambda name, content: cache.kept.__setitem__(f"/cache/{name}", content),
        )
        http.close()


@pytest.fixture
def machine(shelf, tmp_path):
    made = []

    def make(trust=ANYBODY):
        made.append(Machine(tmp_path / f"machine-{len(made)}", shelf.folder, trust))
        return made[-1]

    yield make
    for one in made:
        one.store.close()


@pytest.fixture
def one(machine):
    """A machine that has shared a wheel and its artifacts."""
    one = machine()
    one.share(PLAN)
    return one


@pytest.fixture
def attacker(tmp_path):
    """A machine with a key of its own, that shares nothing by itself."""
    attacker = Machine(tmp_path / "attacker", None)
    yield attacker
    attacker.store.close()


@pytest.fixture
def other(machine, one):
    """A machine that trusts the first one."""
    return machine(Trust(listed=frozenset({one.public})))


def pull(machine, kind):
    return machine.pull_wheel(PLAN) if kind == "wheel" else machine.remote.pull_artifact(ARTIFACT)


def refused(machine, kind, word):
    """Assert that nothing is taken, that one warning says so, and that the build goes on and mends the store."""
    assert pull(machine, kind) is None
    assert machine.store.wheel(PLAN.key) is None
    assert not machine.store.has_artifact(ARTIFACT.key)
    assert len(machine.warnings) == 1, machine.warnings
    assert word in machine.warnings[0]
    machine.share(PLAN)
    assert len(machine.warnings) == 1, machine.warnings


def record_of(kind):
    return make_wheel_record(PLAN) if kind == "wheel" else make_facts(ARTIFACT, sha256="0" * 64, size_bytes=0)


def plant(shelf, kind, tar, record, key, *, name="", sha256=""):
    """Write a tar and an attestation, signed with a key, as pibuild does."""
    if kind == "artifact":
        record = record | {"sha256": hashlib.sha256(tar).hexdigest(), "size_bytes": len(tar)}
    digest = sha256 or hashlib.sha256(tar).hexdigest()
    text = attest(key, kind, name or NAME[kind].partition("/")[2], record, sha256=digest, size_bytes=len(tar))
    shelf.write(f"{NAME[kind]}.json", text.encode())
    shelf.write(shelf.tar_named(NAME[kind]), tar)


def exchange(shelf, name, other):
    """Put what one name has under another one."""
    tar = shelf.read(shelf.tar_named(name))
    shelf.write(f"{other}.json", shelf.read(f"{name}.json"))
    shelf.write(shelf.tar_named(other), tar)


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def good_tar(kind):
    return stored(SHARED if kind == "wheel" else {"name": b"bad"})


def stored(files):
    """Return a tar as a build leaves it."""
    with tempfile.TemporaryDirectory() as folder:
        members = members_of(io.BytesIO(make_tar({f"top/{name}": content for name, content in files.items()})))
        write_tree(members, EVERYTHING, Path(folder) / "tree.tar")
        return (Path(folder) / "tree.tar").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_tar_is_refused(shelf, other, kind):
    name = shelf.tar_named(NAME[kind])
    content = shelf.read(name)
    shelf.write(name, content[:600] + b"?" + content[601:])
    refused(other, kind, "its sha256 is")


@pytest.mark.parametrize("kind", KINDS)
def test_changed_facts_are_refused(shelf, other, kind):
    envelope = json.loads(shelf.read(f"{NAME[kind]}.json"))
    payload = base64.b64decode(envelope["payload"]).replace(b"2.14.1", b"2.14.2")
    envelope["payload"] = base64.b64encode(payload).decode()
    shelf.write(f"{NAME[kind]}.json", json.dumps(envelope).encode())
    refused(other, kind, "not signed by")


@pytest.mark.parametrize("kind", KINDS)
def test_a_tar_and_facts_that_are_both_changed_are_refused(shelf, one, other, kind, attacker):
    """He signs with his own key, and says that it is the first machine's."""
    tar = good_tar(kind)
    record = record_of(kind) | {"sha256": hashlib.sha256(tar).hexdigest()}
    said = {"kind": kind, "key": NAME[kind].partition("/")[2], "sha256": record["sha256"], "size_bytes": len(tar)}
    payload = json_text(said | {"machine": one.public, "record": record}).encode()
    shelf.write(tar_name(NAME[kind], tar), tar)
    shelf.write(f"{NAME[kind]}.json", json.dumps(sealed(payload, PAYLOAD_TYPE, attacker.key)).encode())
    refused(other, kind, f"not signed by {one.public}")


@pytest.mark.parametrize("kind", KINDS)
def test_work_that_is_signed_with_an_unlisted_key_is_made_again(shelf, other, kind, attacker):
    plant(shelf, kind, good_tar(kind), record_of(kind), attacker.key)
    refused(other, kind, f"the work of {attacker.public}, which is not in `store: trust:`")


def test_an_unlisted_key_is_named_once(shelf, other, attacker):
    for kind in KINDS:
        plant(shelf, kind, good_tar(kind), record_of(kind), attacker.key)
        assert pull(other, kind) is None
    assert len(other.warnings) == 1


def test_work_of_a_trusted_machine_on_that_of_an_unlisted_one_is_made_again(shelf, one, other, attacker):
    """The first machine takes everybody's work; the second one does not, by no way round."""
    record = record_of("artifact") | {"machines": [attacker.public]}
    tar = shelf.read(shelf.tar_named(NAME["artifact"]))
    plant(shelf, "artifact", tar, record, one.key)
    refused(other, "artifact", attacker.public)


@pytest.mark.parametrize("kind", KINDS)
def test_an_attestation_of_another_key_is_refused(shelf, one, other, kind):
    """Both are signed by the trusted machine: they are only exchanged."""
    another = plan_for("3.13")
    one.share(another)
    name = f"wheels/{another.key}" if kind == "wheel" else f"artifacts/{another.wheel.key}"
    exchange(shelf, name, NAME[kind])
    refused(other, kind, "not about this")


def test_an_artifact_under_the_name_of_a_wheel_is_refused(shelf, other):
    exchange(shelf, NAME["artifact"], NAME["wheel"])
    refused(other, "wheel", "not about this wheel")


@pytest.mark.parametrize("kind", KINDS)
def test_an_older_attestation_does_not_fit_a_newer_tar(shelf, other, kind):
    shelf.write(shelf.tar_named(NAME[kind]), stored({"name": b"newer"}))
    refused(other, kind, "its sha256 is")


def payload_of(envelope):
    return base64.b64decode(json.loads(envelope)["payload"])


@pytest.mark.parametrize("kind", KINDS)
def test_facts_without_a_signature_are_made_again_with_a_clear_message(shelf, other, kind):
    """So wrote pibuild before: whoever could write there could change both."""
    tar = good_tar(kind)
    facts = record_of(kind) | {"sha256": hashlib.sha256(tar).hexdigest(), "size_bytes": len(tar)}
    shelf.write(tar_name(NAME[kind], tar), tar)
    shelf.write(f"{NAME[kind]}.json", json_text(facts).encode())
    refused(other, kind, "is not signed in the shared store and is made again")


def test_a_store_of_an_older_pibuild_is_mentioned_once(shelf, other):
    for kind in KINDS:
        shelf.write(f"{NAME[kind]}.json", json_text({"sha256": "0" * 64, "wheel": {}}).encode())
        assert pull(other, kind) is None
    assert len(other.warnings) == 1


HOSTILE = {
    "a name above": {"../escaped": b"x"},
    "an absolute name": {"/tmp/escaped": b"x"},
    "a link out": {"link": Link("../../../etc/passwd")},
    "a link through links": {"t": Link("."), "link": Link("t/t/../../x")},
    "a file through a link": [("door", Link("..")), ("door/escaped", b"x")],
    "a hard link": {"hard": HardLink("/etc/passwd")},
    "a device": {"device": DEVICE},
    "a member twice": [("name", b"good"), ("name", b"bad")],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_members_are_refused_even_from_a_trusted_machine(shelf, one, other, tmp_path, kind, case):
    hostile = HOSTILE[case]
    members = [("name", b"x")] if kind == "artifact" and case != "a member twice" else []
    if kind == "wheel":
        members = [*SHARED.items()]
    members += hostile.items() if isinstance(hostile, dict) else hostile
    before = {path for path in tmp_path.rglob("*") if "escaped" in path.name or path.name == "link"}
    plant(shelf, kind, make_tar(members), record_of(kind), one.key)
    refused(other, kind, "is damaged")
    assert {path for path in tmp_path.rglob("*") if "escaped" in path.name or path.name == "link"} == before
    assert not os.path.lexists("/tmp/escaped")


@pytest.mark.parametrize("kind", KINDS)
def test_a_tar_that_is_larger_than_signed_is_not_downloaded(shelf, other, kind):
    name = shelf.tar_named(NAME[kind])
    shelf.write(name, shelf.read(name) + bytes(20 << 20))
    refused(other, kind, "larger than expected")


@pytest.mark.parametrize("kind", KINDS)
def test_a_huge_member_is_refused(shelf, one, other, kind):
    info = tarfile.TarInfo(WHEEL if kind == "wheel" else "name")
    info.size = 1 << 45
    plant(shelf, kind, info.tobuf(tarfile.GNU_FORMAT) + bytes(1024), record_of(kind), one.key)
    refused(other, kind, "is truncated")


@pytest.mark.parametrize("kind", KINDS)
def test_what_would_fill_the_disk_is_not_downloaded(shelf, one, other, kind):
    record, tar = record_of(kind), good_tar(kind)
    text = attest(one.key, kind, NAME[kind].partition("/")[2], record, sha256="0" * 64, size_bytes=1 << 49)
    shelf.write(tar_name(NAME[kind], tar), tar)
    shelf.write(f"{NAME[kind]}.json", text.encode())
    assert pull(other, kind) is None
    assert "is not downloaded: it needs" in other.warnings[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_size_of_hundreds_of_digits_is_refused(shelf, one, other, kind):
    text = attest(one.key, kind, NAME[kind].partition("/")[2], record_of(kind), sha256="0" * 64, size_bytes=10**400)
    shelf.write(f"{NAME[kind]}.json", text.encode())
    refused(other, kind, "size_bytes")


@pytest.mark.parametrize("kind", KINDS)
def test_an_attestation_of_megabytes_is_not_read(shelf, other, kind):
    shelf.write(f"{NAME[kind]}.json", bytes(5 << 20))
    refused(other, kind, "larger than expected")


def test_members_that_the_record_does_not_name_are_not_read(shelf, one, other):
    tar = stored(SHARED | {"extras/evil-1.0-py3-none-any.whl": b"x", "record.json": b"{}"})
    plant(shelf, "wheel", tar, record_of("wheel"), one.key)
    pulled = other.pull_wheel(PLAN)

    assert [path.name for path in (pulled.path.parent / "extras").iterdir()] == [extra_file(PLAN)]


@pytest.mark.parametrize("change", [b"a WHEEL", b""])
def test_a_file_that_is_not_as_recorded_is_refused(shelf, one, other, change):
    plant(shelf, "wheel", stored(SHARED | {WHEEL: change}), record_of("wheel"), one.key)
    refused(other, "wheel", f"the sha256 of {WHEEL} is")


@pytest.mark.parametrize("name", ["../../escaped", "/escaped", "..", ".hidden", "a/b", "", "a\nb", "x" * 300])
def test_a_record_that_names_a_file_elsewhere_is_refused(shelf, one, other, name):
    record = record_of("wheel")
    record["extras"][0]["file"] = name
    plant(shelf, "wheel", good_tar("wheel"), record, one.key)
    refused(other, "wheel", "the name of a file, without a folder")


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("wheel", {"wheel": {"file": WHEEL, "sha256": "0"}}),
        ("wheel", {"wheel": None}),
        ("wheel", {"made": "yesterday"}),
        ("wheel", {"made": 5}),
        ("wheel", {"plan": {}}),
        ("wheel", {"artifacts": [{}]}),
        ("wheel", {"checks": []}),
        ("wheel", {"wall_s": "1e999"}),
        ("wheel", {"machines": ["me"]}),
        ("wheel", {"machines": "me"}),
        ("artifact", {"name": None}),
        ("artifact", {"name": "x" * 10_000}),
        ("artifact", {"name": "x\x1b[2J"}),
        ("artifact", {"name": "::error::x"}),
        ("artifact", {"version": "\ud800"}),
        ("wheel", {"checks": {"file": [], "device": {"a": float("nan")}}}),
        ("wheel", {"checks": {"file": [], "device": {"a": nested(100)}}}),
        ("wheel", {"checks": {"file": [], "device": {"a": [1e308 * 10]}}}),
        ("wheel", {"checks": {"file": [], "device": {"a": ["\ud800"]}}}),
        ("wheel", {"checks": {"file": [{"name": "a", "ok": True, "detail": "\x1b[2J"}], "device": {}}}),
        ("artifact", {"sources": [{}] * 30_000}),
        ("artifact", {"name": "x" * 1_000_000}),
        ("artifact", {"image": "an image"}),
        ("artifact", {"sources": [{"name": "x"}]}),
        ("artifact", {"cpu_s": -1}),
        ("artifact", {"tree": "0" * 64}),
    ],
)
def test_a_record_of_another_shape_is_refused(machine, shelf, one, kind, change):
    other = machine()
    tar = shelf.read(shelf.tar_named(NAME[kind]))
    plant(shelf, kind, tar, record_of(kind) | change, one.key)
    refused(other, kind, "is damaged")
    assert len(other.warnings[-1]) < 3000


def test_keys_that_are_unknown_are_left_out(shelf, one, other):
    plant(shelf, "wheel", good_tar("wheel"), record_of("wheel") | {"later": {"a": 1}}, one.key)

    assert "later" not in other.pull_wheel(PLAN).facts


def test_a_tar_that_the_normaliser_would_change_is_refused(shelf, one, other):
    """Owners, times and modes are an attacker's, too: only the tar that a build would leave is taken."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        info = tarfile.TarInfo("name")
        info.mode, info.uid = 0o6777, 4242
        tar.addfile(info)
    plant(shelf, "artifact", buffer.getvalue(), record_of("artifact"), one.key)
    refused(other, "artifact", "it is not a tree as pibuild writes it")


def test_without_a_list_work_of_anybody_is_taken_and_named_in_the_record(machine, one):
    other = machine()

    assert other.remote.pull_artifact(ARTIFACT).facts["machines"] == [one.public]
    assert other.pull_wheel(PLAN).facts["machines"] == [one.public]
    assert files_of(other.store.artifact(ARTIFACT.key).path) == {"name": ARTIFACT.title.encode()}


@pytest.mark.usefixtures("one")
def test_what_was_taken_before_the_list_is_made_again_after_it(machine, attacker):
    other = machine()
    other.remote.pull_artifact(ARTIFACT)
    other.pull_wheel(PLAN)
    listed = Machine(other.store.root, None, Trust(listed=frozenset({attacker.public})))

    assert listed.store.wheel(PLAN.key) is None
    assert listed.store.artifact(ARTIFACT.key) is None
    assert not listed.store.has_artifact(ARTIFACT.key)
    assert listed.store.artifact_facts(ARTIFACT.key) is None
    listed.store.close()
    assert other.store.wheel(PLAN.key)


@pytest.mark.usefixtures("one")
def test_an_empty_list_takes_only_this_machines_own_work(machine, shelf):
    other = machine(Trust(listed=frozenset()))
    assert other.pull_wheel(PLAN) is None
    other.share(PLAN)
    again = Machine(other.store.root.with_name("again"), shelf.folder, Trust(listed=frozenset()))
    again.key = other.key

    assert "machines" not in again.pull_wheel(PLAN).facts
    again.store.close()


def test_a_planted_attestation_is_replaced_when_this_machine_shares_its_own_work(shelf, machine, attacker):
    """It is there before anything of this key was ever asked for."""
    plant(shelf, "wheel", good_tar("wheel"), record_of("wheel"), attacker.key)
    one = machine(Trust(listed=frozenset()))
    one.remote.push_proven(PLAN, one.make(PLAN))

    assert json.loads(payload_of(shelf.read(f"{NAME['wheel']}.json")))["machine"] == one.public


# What is no attack: the shared store has no room.


@pytest.mark.parametrize("room_kb", [0, 8, 40])
def test_a_shared_folder_on_a_full_disk_gives_one_warning_and_no_part_of_a_file(small_disk, tmp_path, room_kb):
    filler = small_disk / "filler"
    filler.write_bytes(bytes(3 * 1024 * 1024 - room_kb * 1024))
    one = Machine(tmp_path / "one", LocalFolder(small_disk / "shared"))
    one.share(PLAN)
    one.share(PLAN)
    parts = [path for path in small_disk.rglob(".*") if path.is_file()]
    filler.unlink()
    later, other = (Machine(tmp_path / name, LocalFolder(small_disk / "shared")) for name in ("later", "other"))
    later.share(PLAN)

    assert len(one.warnings) == 1
    assert "nothing more is pushed to the shared store" in one.warnings[0]
    assert "No space left" in one.warnings[0]
    assert parts == []
    assert later.warnings == []
    assert other.pull_wheel(PLAN)
    for machine in (one, later, other):
        machine.store.close()


def test_a_server_without_room_gives_one_warning_that_says_so(tmp_path):
    with running(CacheServer()) as cache:
        cache.refusal = 507
        http = Http({}, note=lambda _: None, sleep=lambda _: None)
        one = Machine(tmp_path / "one", ServedFolder(http, Address(cache.url)))
        one.share(PLAN)
        one.share(PLAN)
        http.close()
        one.store.close()

    assert len(one.warnings) == 1
    assert "nothing more is pushed to the shared store" in one.warnings[0]
    assert "507 Insufficient Storage" in one.warnings[0]
