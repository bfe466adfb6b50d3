"""From a proven wheel in the store to a signed public site, by the commands alone and without an engine."""

import json
import os
import shutil
import subprocess
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pibuild.build.catalogue import load_catalogue
from pibuild.build.differences import FileDifference
from pibuild.build.rebuild import Rebuilt
from pibuild.commands.main import main
from pibuild.console import Console
from pibuild.model import Request
from pibuild.publishing.pointer import read_pointer
from pibuild.signing.key_files import machine_key, public_key_of, public_text
from pibuild.store.local import Store
from tests.fakes.servers import CacheServer, running
from tests.makers.elfs import BX_LR, PI_TWO, SO, arm, make_elf
from tests.makers.publications import everything
from tests.makers.sites import make_record
from tests.makers.wheels import TFLITE, make_tflite_wheel

CELL = "tflite-runtime-2.14.1-pi-one-3.11"


def public_key_pem(text):
    return public_key_of(text).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


SETTINGS = """\
nightly:
  cells: [{recipe: tflite-runtime, targets: [pi-one], pythons: ["3.11"]}]
publish: {key: key.pem}
"""


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """The current folder, with a matrix of one cell, a signing key, and a store of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    monkeypatch.setenv("PIBUILD_STORE", str(tmp_path / "store"))
    (tmp_path / "pibuild.yaml").write_text(SETTINGS)
    command = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", "key.pem"]
    subprocess.run(command, check=True, capture_output=True)
    return tmp_path


@pytest.fixture
def stored(folder):
    """Put the proven wheel of the cell into a store."""

    def stored(store_dir=folder / "store", path=None):
        plan = load_catalogue().plan(Request(target="pi-one", python="3.11", recipe="tflite-runtime", version=None))
        path = path or make_tflite_wheel(folder / "made")
        record = make_record(path, recipe="tflite-runtime", version="2.14.1")
        record["plan"]["key"] = plan.key
        store = Store(store_dir, Console())
        store.put_wheel(plan.key, path, record)
        store.close()

    return stored


def test_a_night_publishes_the_proven_wheel_signed_and_public(folder, stored, capsys):
    stored()
    before = os.umask(0o077)
    try:
        assert main(["nightly"]) == 0
    finally:
        os.umask(before)

    site = folder / "site"
    (wheel,) = json.loads((site / "current/set.json").read_text())["wheels"]
    assert (wheel["file"], wheel["cell"]) == (TFLITE, CELL)
    assert {path.stat().st_mode & 0o777 for path in site.rglob("*") if path.is_file()} == {0o644}
    (record,) = (folder / "nightly/nights").iterdir()
    set_id = (site / "current").readlink().name
    assert json.loads(record.read_text())["set_id"] == set_id
    assert f"1 unchanged of 1 cells; published {set_id}" in capsys.readouterr().out
    assert main(["publish", "check", "site", "--public-key", "site/current/pibuild.pub"]) == 0
    assert "signed by this key" in capsys.readouterr().out


def test_without_a_key_a_second_night_and_a_publication_write_nothing_to_the_site(folder, stored):
    stored()
    (folder / "pibuild.yaml").write_text(SETTINGS.replace("{key: key.pem}", "{}"))
    assert main(["nightly"]) == 0
    before = everything(folder / "site")

    assert main(["nightly"]) == 3
    assert main(["publish"]) == 0
    assert everything(folder / "site") == before


def test_a_night_that_changes_nothing_renews_the_signed_pointer_everywhere(folder, stored):
    stored()
    to = f"to: [{{rclone: {folder / 'copy'}}}]"
    (folder / "pibuild.yaml").write_text(SETTINGS.replace("key.pem}", f"key.pem, expiry_days: 2, {to}}}"))
    assert main(["nightly"]) == 0
    pointers = []
    for command in ("nightly", "publish", "nightly"):
        before = everything(folder / "site")
        assert main([command]) in (0, 3)
        pointers.append(read_pointer((folder / "site/current.json").read_bytes()).pointer)
        assert (folder / "copy/current.json").read_bytes() == (folder / "site/current.json").read_bytes()
        changed = {path for path, facts in everything(folder / "site").items() if before.get(path) != facts}
        assert changed == {".", "current.json"}
    assert len({one.set for one in pointers}) == 1
    assert [one.number for one in pointers] == sorted({one.number for one in pointers})
    valid = [datetime.fromisoformat(one.expires) - datetime.fromisoformat(one.made) for one in pointers]
    assert valid == [timedelta(days=2)] * 3
    for site in ("site", "copy"):
        assert main(["publish", "check", site, "--public-key", "site/current/pibuild.pub"]) == 0


@pytest.fixture
def differing(folder, monkeypatch):
    """Let a night build one artifact again; its engine makes another file than the stored one."""
    (folder / "pibuild.yaml").write_text(SETTINGS.replace("nightly:\n", "nightly:\n  rebuild: 1\n"))
    plan = load_catalogue().plan(Request(target="pi-one", python="3.11", recipe="tflite-runtime", version=None))
    artifact = plan.artifacts[0]
    (folder / "out.tar").write_bytes(b"a tar")
    store = Store(folder / "store", Console())
    store.put_artifact(artifact.key, folder / "out.tar", {"name": artifact.title})
    store.close()
    content = FileDifference(files=("lib/banner.txt",), field="content", stored="'9:00'", rebuilt="'9:01'", offset=7)
    found = {"difference": content, "is_same_image": True, "wall_s": 9.0, "cpu_s": 8.0}
    result = Rebuilt(key=artifact.key, title=artifact.title, **found)
    monkeypatch.setattr("pibuild.nightly.rebuilds.rebuild_artifact", lambda *_words: result)
    return artifact.title


def test_a_night_fails_and_publishes_if_an_artifact_differs_when_built_again(folder, stored, differing, capsys):
    stored()
    assert main(["nightly"]) == 11

    assert f"rebuild of {differing}" in capsys.readouterr().out
    page = (folder / "site/current/index.html").read_text()
    for text in (page, (folder / "nightly/summary.md").read_text(), (folder / "nightly/junit.xml").read_text()):
        assert differing in text
        assert "lib/banner.txt: its content differs at byte 7" in text
    assert main(["nightly", "status"]) == 0
    assert f"✗ rebuild of {differing}: different" in capsys.readouterr().out


def test_a_night_of_one_cell_builds_nothing_again(stored, differing, capsys):
    stored()
    assert main(["nightly", "--only", CELL]) == 0
    assert differing not in capsys.readouterr().out


@pytest.fixture
def shared(folder, stored, monkeypatch):
    """Let another machine share its night; return the start of this one's settings, and the other's public key."""

    def shared(path=None):
        settings = f"remote: {folder / 'shared'}, key: machine.pem"
        (folder / "other").mkdir(exist_ok=True)
        (folder / "other/pibuild.yaml").write_text(f"{SETTINGS}store: {{{settings}}}\n")
        stored(folder / "other/store", path)
        with monkeypatch.context() as other:
            other.setenv("PIBUILD_STORE", str(folder / "other/store"))
            other.chdir(folder / "other")
            assert main(["nightly", "--no-publish"]) == 3
        return settings, public_text(machine_key(folder / "other/machine.pem").public_key())

    return shared


def files_in(site):
    return [one["file"] for one in json.loads((site / "current/set.json").read_text())["wheels"]]


def test_a_cell_of_a_trusted_machine_is_gathered_published_and_signed(folder, shared, capsys):
    settings, public = shared()
    (folder / "pibuild.yaml").write_text(f'{SETTINGS}store: {{{settings}, trust: ["{public}"]}}\n')
    capsys.readouterr()

    assert main(["publish"]) == 0
    assert "warning" not in capsys.readouterr().err
    assert files_in(folder / "site") == [TFLITE]
    assert main(["publish", "check", "site", "--public-key", "site/current/pibuild.pub"]) == 0
    capsys.readouterr()
    assert main(["nightly", "log", CELL]) == 0
    assert "unchanged" in capsys.readouterr().out


def test_a_trusted_machine_may_be_named_by_its_pem_file(folder, shared):
    settings, public = shared()
    (folder / "other.pub").write_bytes(public_key_pem(public))
    (folder / "pibuild.yaml").write_text(f"{SETTINGS}store: {{{settings}, trust: [other.pub]}}\n")

    assert main(["publish"]) == 0
    assert files_in(folder / "site") == [TFLITE]


def test_a_set_with_the_work_of_a_machine_that_is_not_listed_is_not_signed(folder, shared, capsys):
    settings, public = shared()
    (folder / "pibuild.yaml").write_text(f"{SETTINGS}store: {{{settings}}}\n")
    capsys.readouterr()

    assert main(["publish"]) == 12
    said = capsys.readouterr().err
    assert f"{TFLITE}: {public}" in said
    assert "store: trust:" in said
    assert not (folder / "site/current").exists()
    (folder / "pibuild.yaml").write_text(f'{SETTINGS}store: {{{settings}, trust: ["{public}"]}}\n')
    assert main(["publish"]) == 0


def test_wheels_of_machines_that_are_not_listed_are_published_without_a_signature(folder, shared):
    settings, _ = shared()
    unsigned = SETTINGS.replace("{key: key.pem}", "{}")
    (folder / "pibuild.yaml").write_text(f"{unsigned}store: {{{settings}}}\n")
    assert main(["publish"]) == 0
    assert files_in(folder / "site") == [TFLITE]

    (folder / "pibuild.yaml").write_text(f"{SETTINGS}store: {{{settings}}}\n")
    assert main(["publish", "yank", TFLITE, "--reason", "a test"]) == 12  # it would be signed now


def test_the_same_wheel_made_here_is_signed_in_place_of_a_strangers(folder, shared, stored):
    settings, _ = shared()
    unsigned = SETTINGS.replace("{key: key.pem}", "{}")
    (folder / "pibuild.yaml").write_text(f"{unsigned}store: {{{settings}}}\n")
    assert main(["publish"]) == 0
    (folder / "pibuild.yaml").write_text(f"{SETTINGS}store: {{{settings}, trust: []}}\n")
    stored()

    assert main(["publish"]) == 0
    assert main(["publish", "check", "site", "--public-key", "site/current/pibuild.pub"]) == 0


BAD_CODE = {SO: make_elf(arm(0xE3001001, BX_LR), attributes=PI_TWO)}
"""ARMv7 code, which `pibuild verify` refuses in a wheel for ARMv6."""


@pytest.mark.parametrize("whose", ["a trusted machine's", "anybody's", "anybody's, unsigned site"])
def test_a_wheel_that_verify_refuses_is_never_published(folder, shared, capsys, whose):
    """Its machine has signed it in the shared store."""
    settings, public = shared(make_tflite_wheel(folder / "bad", BAD_CODE))
    trust = f', trust: ["{public}"]' if whose == "a trusted machine's" else ""
    own = SETTINGS.replace("{key: key.pem}", "{}") if "unsigned" in whose else SETTINGS
    (folder / "pibuild.yaml").write_text(f"{own}store: {{{settings}{trust}}}\n")
    capsys.readouterr()

    assert main(["publish"]) == 2
    assert "is not what it should be and is made again" in capsys.readouterr().err
    assert not (folder / "site/current").exists()


@pytest.mark.parametrize("is_resigned", [False, True])
def test_a_wheel_that_was_exchanged_in_the_shared_store_is_never_published(folder, shared, capsys, is_resigned):
    """Whoever did it can write to the shared store; at best he signs with a key that nobody trusts."""
    settings, public = shared()
    (good,) = (folder / "shared/wheels").glob("*.tar")
    (said,) = (folder / "shared/wheels").glob("*.json")
    attestation = said.read_bytes()
    shutil.rmtree(folder / "shared")
    shutil.rmtree(folder / "other/store")
    shutil.rmtree(folder / "other/nightly")
    (folder / "other/machine.pem").unlink()
    _, stranger = shared(make_tflite_wheel(folder / "exchanged", {"tflite_runtime/evil.py": b"evil = 1"}))
    assert stranger != public
    (exchanged,) = (folder / "shared/wheels").glob("*.tar")
    assert exchanged.name != good.name
    if not is_resigned:
        exchanged.rename(good)
        said.write_bytes(attestation)
    (folder / "pibuild.yaml").write_text(f'{SETTINGS}store: {{{settings}, trust: ["{public}"]}}\n')
    capsys.readouterr()

    assert main(["publish"]) == 2
    word = stranger if is_resigned else "is damaged in the shared store"
    assert word in capsys.readouterr().err
    assert not (folder / "site/current").exists()


def test_a_remote_without_a_list_gets_a_warning_unless_it_is_the_users_own_folder(folder, stored, capsys):
    stored()
    with running(CacheServer()) as cache:
        for remote, warned in ((folder / "mine", False), (folder / "open", True), (cache.url, True)):
            (folder / "open").mkdir(exist_ok=True)
            (folder / "open").chmod(0o777)
            (folder / "pibuild.yaml").write_text(f"{SETTINGS}store: {{remote: {remote}, key: machine.pem}}\n")
            assert main(["publish"]) == 0
            assert ("`store: trust:` is not set" in capsys.readouterr().err) is warned, remote


def test_an_open_signing_key_ends_a_night_before_it_begins(folder, stored, capsys):
    stored()
    (folder / "key.pem").chmod(0o644)

    assert main(["nightly"]) == 2
    assert "chmod 600" in capsys.readouterr().err
    assert not (folder / "site").exists()
    assert not (folder / "nightly/nights").exists()
