"""From a proven wheel in the store to a signed public site, by the commands alone and without an engine."""

import json
import os
import subprocess

import pytest

from pibuild.build.catalogue import load_catalogue
from pibuild.commands.main import main
from pibuild.console import Console
from pibuild.model import Request
from pibuild.store.local import Store
from tests.makers.publications import everything
from tests.makers.sites import make_record
from tests.makers.wheels import make_wheel

WHEEL = "tflite_runtime-2.14.1-cp311-cp311-linux_armv6l.whl"
CELL = "tflite-runtime-2.14.1-pi-one-3.11"
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

    def stored(store_dir=folder / "store"):
        plan = load_catalogue().plan(Request(target="pi-one", python="3.11", recipe=None, version=None))
        path = make_wheel(
            folder / "made",
            file_name=WHEEL,
            metadata="Metadata-Version: 2.1\nName: tflite-runtime\nVersion: 2.14.1\n",
            dist_info="tflite_runtime-2.14.1.dist-info",
        )
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
        assert main(["nightly"]) == 3
    finally:
        os.umask(before)

    site = folder / "site"
    (wheel,) = json.loads((site / "current/set.json").read_text())["wheels"]
    assert (wheel["file"], wheel["cell"]) == (WHEEL, CELL)
    assert {path.stat().st_mode & 0o777 for path in site.rglob("*") if path.is_file()} == {0o644}
    (record,) = (folder / "nightly/nights").iterdir()
    assert json.loads(record.read_text())["set_id"] == (site / "current").readlink().name
    assert main(["publish", "check", "site", "--public-key", "site/current/pibuild.pub"]) == 0
    assert "signed by this key" in capsys.readouterr().out


def test_a_second_night_and_a_publication_write_nothing_to_the_site(folder, stored):
    stored()
    assert main(["nightly"]) == 3
    before = everything(folder / "site")

    assert main(["nightly"]) == 3
    assert main(["publish"]) == 0
    assert everything(folder / "site") == before


def test_a_cell_of_another_machine_is_gathered_and_published(folder, stored, monkeypatch, capsys):
    (folder / "pibuild.yaml").write_text(f"{SETTINGS}store: {{remote: {folder / 'shared'}}}\n")
    stored(folder / "other" / "store")
    with monkeypatch.context() as other:
        other.setenv("PIBUILD_STORE", str(folder / "other" / "store"))
        other.chdir(folder / "other")
        assert main(["nightly", "--no-publish", "--config", "../pibuild.yaml"]) == 3

    assert main(["publish"]) == 0
    assert [one["file"] for one in json.loads((folder / "site/current/set.json").read_text())["wheels"]] == [WHEEL]
    capsys.readouterr()
    assert main(["nightly", "log", CELL]) == 0
    assert "unchanged" in capsys.readouterr().out


def test_an_open_signing_key_ends_a_night_before_it_begins(folder, stored, capsys):
    stored()
    (folder / "key.pem").chmod(0o644)

    assert main(["nightly"]) == 2
    assert "chmod 600" in capsys.readouterr().err
    assert not (folder / "site").exists()
    assert not (folder / "nightly/nights").exists()
