"""pibuild and ci/pibuild are started in folders of strangers, such as their TensorFlow: nothing of these is run."""

import os
import subprocess
from pathlib import Path

import pytest

from pibuild.adapters.http import Http
from pibuild.adapters.pypi import Pypi
from pibuild.adapters.twine import Twine
from pibuild.errors import SourceError
from pibuild.model import PypiPlace

ROOT = Path(__file__).resolve().parents[2]
PLACE = PypiPlace(pypi="thing", version="1.0", file="thing-1.0.tar.gz", sha256="0" * 64)


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """Change to a folder with modules that are named like those that pibuild runs; return what they would write."""
    folder, ran = tmp_path / "stranger", tmp_path / "ran"
    folder.mkdir()
    for module in ("pip", "twine", "venv", "ensurepip", "sitecustomize"):
        (folder / f"{module}.py").write_text(f"open({str(ran)!r}, 'w').write({module!r})\n")
    monkeypatch.chdir(folder)
    return ran


def test_pip_is_not_that_of_the_current_folder(ran, tmp_path):
    environ = {"PATH": os.environ["PATH"], "PIP_NO_INDEX": "1", "HOME": str(tmp_path)}
    with pytest.raises(SourceError, match="no index of pip"):
        Pypi(Http({}, note=lambda _: None), environ).download(PLACE, tmp_path / "file", lambda *_: None)

    assert not ran.exists()


def test_twine_is_not_that_of_the_current_folder(ran, tmp_path):
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    (tmp_path / "thing-1.0-py3-none-any.whl").touch()
    with pytest.raises(SourceError, match="refused thing-1.0"):
        Twine(environ).upload("http://127.0.0.1:9/", tmp_path / "thing-1.0-py3-none-any.whl")

    assert not ran.exists()


def test_the_set_up_runs_nothing_of_the_current_folder(ran, tmp_path):
    """The lock is empty, so that the set-up ends where pip would install pibuild."""
    script = f"""source {ROOT}/ci/setup.sh
      root={tmp_path} venv={tmp_path}/.venv
      mkdir -p "$root/ci/lock.d"
      touch "$root/pyproject.toml" "$root/ci/lock.d/pibuild.txt"
      missing_basics
      make_venv ''"""
    command = ["bash", "-euo", "pipefail", "-c", script]
    environ = os.environ | {"PIP_NO_INDEX": "1"}
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    assert (tmp_path / ".venv/bin/python").exists(), ended.stderr
    assert not ran.exists()
