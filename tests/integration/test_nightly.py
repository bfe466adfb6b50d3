"""A matrix of real cells, run as a night, published, and installed from by the Pi's own pip."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.on_device import run_on_device

ROOT = Path(__file__).parents[2]
MATRIX = """\
nightly:
  cells:
    - {recipe: tflite-runtime, versions: ["2.14.1"], pythons: ["3.11"], targets: [pi-one], with_dependencies: true}
    - {recipe: tflite-runtime, versions: ["2.14.1"], pythons: ["3.11"], targets: [pi-two]}
publish:
  key: key.pem
"""


def pibuild(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "pibuild", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environ,
        capture_output=True,
        text=True,
        check=False,
    )


def state_of(folder: Path) -> dict[str, int]:
    """When each file of the sets was last written; each night signs the pointer to the current one anew."""
    return {str(path): path.lstat().st_mtime_ns for path in folder.glob("[0-9]*/**/*")}


@pytest.fixture(scope="session")
def night(tmp_path_factory, engine):
    """Run a night; return its folder and how it ended."""
    assert engine
    folder = tmp_path_factory.mktemp("night")
    (folder / "pibuild.yaml").write_text(MATRIX)
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519", "-out", "key.pem"], cwd=folder, check=True, capture_output=True
    )
    return folder, pibuild(folder, "nightly")


def test_a_night_ends_with_all_cells_proven_and_a_set_published(night):
    folder, ended = night
    assert ended.returncode in (0, 3), ended.stderr  # 3 where the store had all
    facts = json.loads((folder / "site/current/set.json").read_text())
    assert [one["file"] for one in facts["wheels"]] == [
        "numpy-2.0.2-cp311-cp311-linux_armv6l.whl",
        "tflite_runtime-2.14.1-cp311-cp311-linux_armv6l.whl",
        "tflite_runtime-2.14.1-cp311-cp311-linux_armv7l.whl",
    ]
    assert (folder / "nightly/junit.xml").exists()


def test_the_published_site_is_whole_and_signed(night):
    folder, _ = night
    key = folder / "site/current/pibuild.pub"
    ended = pibuild(folder, "publish", "check", "site", "--public-key", str(key))
    assert ended.returncode == 0, ended.stderr
    assert "is complete: 3 wheels" in ended.stdout
    assert "signed by this key" in ended.stdout


def test_an_unchanged_night_needs_no_engine_and_publishes_nothing(night):
    folder, _ = night
    before = state_of(folder / "site")
    ended = pibuild(folder, "nightly", DOCKER_HOST="unix:///nowhere")
    assert ended.returncode == 3, ended.stderr
    assert "nothing to do" in ended.stdout
    assert state_of(folder / "site") == before


def test_a_wheel_changed_after_its_proof_is_detected(night):
    folder, _ = night
    (wheel,) = (folder / "site/files").glob("*/*/tflite*armv6l.whl")
    content = wheel.read_bytes()
    wheel.chmod(0o644)
    wheel.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        ended = pibuild(folder, "publish", "check", "site")
    finally:
        wheel.write_bytes(content)
    assert ended.returncode == 12
    assert wheel.name in ended.stderr


@pytest.mark.parametrize(
    ("target", "beside", "installed"),
    [
        ("pi-one", ("cpython",), "numpy-2.0.2 tflite-runtime-2.14.1"),
        ("pi-two", ("cpython", "numpy"), "tflite-runtime-2.14.1"),
    ],
)
def test_the_pis_own_pip_installs_from_the_index(night, target, beside, installed, tmp_path):
    """If the index has the wheel's dependencies, the Pi needs its Python only."""
    script = Path(__file__).with_name("install_from_index.sh")
    words = ("tflite-runtime", "tflite_runtime.interpreter")
    code, said = run_on_device(target, "3.11", script, words, night[0] / "site", tmp_path, beside=beside)
    assert code == 0, said
    assert f"Successfully installed {installed}" in said
