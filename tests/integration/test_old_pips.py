"""The pips of Pythons that nobody makes any more, on the emulated Pi, read the index that is made today.

2.7 is built from a distribution's archive. The others come from git alone: PIBTEST_PYTHONS="2.7 3.4 3.5" with
PIBUILD_MIRRORS tries them, too.
"""

import os
from pathlib import Path

import pytest

from tests.integration.on_device import run_on_device
from tests.makers.sites import add_wheel, make_site

PYTHONS = os.environ.pop("PIBTEST_PYTHONS", "2.7").split()


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("python", PYTHONS)
def test_an_old_pip_installs_the_wheel_of_its_python_from_the_index(python, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    files = {"thing/__init__.py": b"answer = 42\n"}
    wheels = [add_wheel(site, version=version, python=python, files=files) for version in ("1.0", "1.1")]
    wheels += [add_wheel(site, version="1.2", python=python, target="pi-two", files=files)]
    make_site(site, *wheels)
    script = Path(__file__).with_name("install_from_index.sh")
    code, said = run_on_device("pi-one", python, script, ("thing", "thing"), site, tmp_path)
    assert code == 0, said
    assert "Successfully installed thing-1.1" in said
    assert "imported /opt/pibuild/python" in said
