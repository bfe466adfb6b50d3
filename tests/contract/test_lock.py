"""What ci/setup.sh installs: the files of a lock and nothing else. The real pip takes them from a folder.

The locks themselves are read by uv, for each Python, from this machine's index; where that is not reachable, the test
is skipped.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pibuild.files import file_sha256
from tests.makers.archives import make_tar
from tests.makers.wheels import make_wheel
from tests.requirements import reason

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = """
[build-system]
requires = ["no-such-builder"]
build-backend = "backend"
backend-path = ["."]
[project]
name = "pibuild"
version = "1.0"
"""
BACKEND = """
import shutil
def build_editable(folder, config_settings=None, metadata_directory=None):
    return shutil.copy("pibuild-1.0-py3-none-any.whl", folder).rpartition("/")[2]
"""
SETUP = """
open({mark!r}, "w").close()
from setuptools import setup
setup(name="thing", version="1.0", py_modules=[])
"""
WHEEL = "thing-1.0-py3-none-any.whl"


def make_package(folder, name, files):
    return make_wheel(
        folder,
        files,
        file_name=f"{name}-1.0-py3-none-any.whl",
        tags=("py3-none-any",),
        purelib="true",
        metadata=f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        dist_info=f"{name}-1.0.dist-info",
    )


class Checkout:
    """A checkout with ci/setup.sh, a lock of one package, and a folder as the only index."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.index = folder, folder / "index"
        (folder / "ci/lock.d").mkdir(parents=True)
        self.index.mkdir()
        shutil.copy(ROOT / "ci/setup.sh", folder / "ci")
        (folder / "pyproject.toml").write_text(PYPROJECT)
        (folder / "backend.py").write_text(BACKEND)
        make_package(folder, "pibuild", {"pibuild.py": b""})
        self.lock(make_package(self.index, "thing", {"thing.py": b"made = 1"}))

    def lock(self, path: Path) -> None:
        line = f"thing==1.0 --hash=sha256:{file_sha256(path)}\n"
        (self.folder / "ci/lock.d/pibuild.txt").write_text(line)

    def make_venv(self):
        environ = os.environ | {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.index)}
        environ |= {"PIP_NO_CACHE_DIR": "1"}
        command = ["bash", "-euo", "pipefail", "-c", "source ci/setup.sh; make_venv ''"]
        return subprocess.run(command, cwd=self.folder, env=environ, capture_output=True, text=True, check=False)

    def installed(self) -> set[str]:
        return {path.name for path in self.folder.glob(".venv/lib/python*/site-packages/*-1.0.dist-info")}


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_the_lock_and_pibuild_are_installed_and_no_builder_is_fetched(checkout):
    ended = checkout.make_venv()

    assert ended.returncode == 0, ended.stderr
    assert checkout.installed() == {"thing-1.0.dist-info", "pibuild-1.0.dist-info"}


def test_another_file_of_the_same_version_is_refused_and_then_mended(checkout):
    good = (checkout.index / WHEEL).read_bytes()
    make_package(checkout.index, "thing", {"thing.py": b"made = 2"})
    ended = checkout.make_venv()

    assert ended.returncode != 0
    assert "thing==1.0" in ended.stderr
    assert checkout.installed() == set()

    (checkout.index / WHEEL).write_bytes(good)
    assert checkout.make_venv().returncode == 0


def test_a_source_archive_is_not_built(checkout):
    mark = str(checkout.folder / "ran")
    (checkout.index / WHEEL).unlink()
    archive = checkout.index / "thing-1.0.tar.gz"
    archive.write_bytes(make_tar({"thing-1.0/setup.py": SETUP.format(mark=mark).encode()}, "gz"))
    checkout.lock(archive)

    assert checkout.make_venv().returncode != 0
    assert not Path(mark).exists()


def test_a_changed_lock_is_installed_into_the_same_environment(checkout):
    assert checkout.make_venv().returncode == 0
    assert checkout.make_venv().stderr == ""
    checkout.lock(checkout.index / WHEEL)
    path = checkout.folder / "ci/lock.d/pibuild.txt"
    path.write_text(path.read_text().replace("1.0", "2.0"))

    assert "thing==2.0" in checkout.make_venv().stderr


def skip_if_unreached(ended):
    if "Failed to fetch" in ended.stderr and os.environ.get("CI") != "true":
        pytest.skip(reason("no package index is reached", "a machine that reaches it"))


def test_ci_lock_keeps_the_locks_and_adds_what_pyproject_needs(tmp_path):
    files = ("ci/lock", "ci/setup.sh", "ci/lock.d", "pyproject.toml", "pibuild/__init__.py", "README.md", "LICENSE")
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    project = tmp_path / "pyproject.toml"
    project.write_text(project.read_text().replace('"shtab', '"iniconfig", "shtab'))
    binaries = tmp_path / ".venv/bin"
    binaries.mkdir(parents=True)
    for name in ("python", "uv"):
        (binaries / name).symlink_to(Path(sys.executable).with_name(name))
    stamp = project.read_bytes() + (tmp_path / "ci/lock.d/test.txt").read_bytes()
    (tmp_path / ".venv/made-of-test").write_bytes(stamp)
    ended = subprocess.run([tmp_path / "ci/lock"], capture_output=True, text=True, check=False)
    skip_if_unreached(ended)

    assert ended.returncode == 0, ended.stderr
    before, after = ((folder / "ci/lock.d/pibuild.txt").read_text() for folder in (ROOT, tmp_path))
    added = set(after.splitlines()) - set(before.splitlines())
    assert (tmp_path / "ci/lock.d/test.txt").read_text() == (ROOT / "ci/lock.d/test.txt").read_text()
    assert [line.partition("==")[0] for line in added if "==" in line] == ["iniconfig"]
    assert not set(before.splitlines()) - set(after.splitlines())


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_the_index_has_a_wheel_of_every_entry_for_each_python(tmp_path, python):
    uv = Path(sys.executable).parent / "uv"
    command = [uv, "pip", "install", "--dry-run", "--no-deps", "--require-hashes", "--only-binary=:all:", "--no-config"]
    command += ["--python-version", python, "--python-platform", "x86_64-manylinux_2_28", "--target", tmp_path]
    ended = subprocess.run(
        [*command, "--requirement", ROOT / "ci/lock.d/test.txt"], capture_output=True, text=True, check=False
    )
    skip_if_unreached(ended)

    assert ended.returncode == 0, ended.stderr
    assert "+ pydantic-core==" in ended.stderr
