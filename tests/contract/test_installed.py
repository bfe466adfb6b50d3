"""`pip install pibuild` serves verify, retag, plan and publish without root and without Docker."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from pibuild.console import Console
from pibuild.store.local import Store
from tests.makers.elfs import BX_LR, PI_TWO, SO, arm, make_elf
from tests.makers.sites import make_record
from tests.makers.wheels import make_wheel
from tests.requirements import reason

ROOT = Path(__file__).parents[2]
NOBODY = 65534
VADD = 0xF2200840
"""vadd.i32 q0, q0, q0: NEON."""
MATRIX = """
nightly:
  cells: [{recipe: tflite-runtime, targets: [pi-one], pythons: ["3.11"]}]
publish: {site: site}
"""


def pip(*words) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip(reason("no package index is reached", "a machine that reaches it"))
    assert done.returncode == 0, done.stderr


class Installed:
    """A clean virtual environment with pibuild's wheel, and the home folder of a user who is not root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self._user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        wheel_dir, venv_dir = folder / "wheel", folder / "venv"
        subprocess.run([self._python(), "-m", "venv", "--without-pip", venv_dir], check=True)
        pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheel_dir, ROOT)
        pip("--python", venv_dir / "bin/python", "install", *wheel_dir.glob("*.whl"))
        self.program = venv_dir / "bin/pibuild"
        self.home.mkdir()
        self.give()

    def _python(self) -> str:
        """Return a Python that the user may run: this one may be in a folder of root's."""
        found = [sys.executable, *filter(None, [shutil.which("python3", path="/usr/local/bin:/usr/bin")])]
        check = "import sys, venv; sys.exit(sys.version_info < (3, 11))"
        for python in found:
            with suppress(PermissionError):
                if not subprocess.run([python, "-c", check], cwd="/", check=False, **self._user).returncode:
                    return python
        pytest.skip(reason(f"no Python 3.11 that uid {NOBODY} may run", "apt-get install python3-venv"))

    def give(self) -> None:
        """Let the user own what is in the home folder."""
        for path in (self.home, *self.home.rglob("*")) if self._user else ():
            os.lchown(path, NOBODY, NOBODY)

    def run(self, *words):
        """Run pibuild as the user in the home folder; return exit code, stdout and stderr."""
        done = subprocess.run(
            [self.program, *words],
            cwd=self.home,
            env={
                "HOME": str(self.home),
                "PATH": "/usr/bin:/bin",
                "DOCKER_HOST": "unix:///nowhere",
                "LC_ALL": "C.UTF-8",
            },
            capture_output=True,
            text=True,
            check=False,
            **self._user,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def installed():
    folder = Path(tempfile.mkdtemp(prefix="pibuild-installed-"))  # pytest's own folders are closed to others
    folder.chmod(0o755)
    yield Installed(folder)
    shutil.rmtree(folder)


def test_verify_and_retag_judge_wheels(installed):
    good = make_wheel(installed.home).name
    wrong = {SO: make_elf(arm(VADD, BX_LR), attributes=PI_TWO), "thing/__init__.py": b""}
    bad = make_wheel(
        installed.home,
        wrong,
        file_name="thing-2.0-cp311-cp311-linux_armv6l.whl",
        metadata="Metadata-Version: 2.1\nName: thing\nVersion: 2.0\n",
        dist_info="thing-2.0.dist-info",
    ).name
    installed.give()

    code, out, _ = installed.run("verify", good)
    assert (code, "Pi 1, Zero, Zero W" in out) == (0, True)
    code, out, _ = installed.run("verify", bad)
    assert (code, "ARM1176" in out) == (9, True)
    assert installed.run("retag", good, "--platform", "linux_armv7l")[0] == 0
    assert (installed.home / "wheelhouse/thing-1.0-cp311-cp311-linux_armv7l.whl").is_file()


def test_list_and_plan_need_no_engine(installed):
    assert installed.run("list")[0] == 0
    code, out, _ = installed.run("plan", "--recipe", "tflite-runtime", "--target", "pi-one", "--python", "3.11")
    assert (code, "tflite-runtime 2.14.1" in out) == (0, True)


def test_publish_makes_a_site_of_what_the_store_has_proven(installed):
    words = ("--recipe", "tflite-runtime", "--target", "pi-one", "--python", "3.11")
    plan = json.loads(installed.run("plan", *words, "--json")[1])
    name, version = "tflite_runtime", "2.14.1"
    wheel = make_wheel(
        installed.folder,
        file_name=f"{name}-{version}-cp311-cp311-linux_armv6l.whl",
        metadata=f"Metadata-Version: 2.1\nName: tflite-runtime\nVersion: {version}\n",
        dist_info=f"{name}-{version}.dist-info",
    )
    store = Store(installed.home / ".cache/pibuild", Console())
    store.put_wheel(plan["key"], wheel, make_record(wheel, recipe="tflite-runtime", version=version))
    store.close()
    (installed.home / "pibuild.yaml").write_text(MATRIX)
    installed.give()

    assert installed.run("publish")[0] == 0
    page = installed.home / "site/current/simple/tflite-runtime/index.html"
    assert wheel.name in page.read_text()
    assert installed.run("publish", "check", "site")[0] == 0
    assert installed.run("publish", "yank", wheel.name, "--reason", "a test")[0] == 0
    assert "data-yanked" in page.read_text()
    assert installed.run("publish", "rollback")[0] == 0
    assert "data-yanked" not in page.read_text()
