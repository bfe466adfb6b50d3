"""`pibuild verify` on real wheels from PyPI, held against what was found by hand: tests/data/wheels.yaml."""

import os
from pathlib import Path

import pytest
import yaml
from pibuild.verify.report import inspect
from platformdirs import user_cache_path

from pibuild.adapters.http import Http
from pibuild.adapters.pypi import Pypi
from pibuild.model import PypiPlace
from pibuild.verify.binary import newest_versions
from pibuild.wheels.wheel import wheel_name

_TRUTH = yaml.safe_load((Path(__file__).parent.parent / "data/wheels.yaml").read_text())["wheels"]
_VERDICTS = {"yes": "runs", "no": "crashes", "switch": "asks"}
_PIS = {"zero": "Pi 1, Zero, Zero W", "two": "Pi 2", "four": "Pi 4 (64 bit)"}
_MACHINES = {"ARM": "EM_ARM", "AArch64": "EM_AARCH64", "X86-64": "EM_X86_64"}


@pytest.fixture(scope="module")
def folder():
    """Return the folder of downloads: beside pibuild's store, so that only the first run fetches them."""
    path = user_cache_path("pibuild", appauthor=False) / "test-wheels"
    path.mkdir(parents=True, exist_ok=True)
    return path


def fetched(folder, one):
    path = folder / one["file"]
    if not path.exists():
        name = wheel_name(one["file"])
        place = PypiPlace(pypi=name.name, version=str(name.version), file=one["file"], sha256=one["sha256"])
        environ = dict(os.environ)
        part = path.with_suffix(".part")
        assert Pypi(Http(environ, note=print), environ).download(place, part, lambda *_: None) == one["sha256"]
        part.replace(path)
    return path


def told(found):
    """Return what the inspection says, in the words of the file."""
    by_pi = {one.pi.name: one.verdict for one in found.pis}
    machines = {binary.elf.machine for binary in found.binaries}
    wanted = newest_versions(found.binaries).get("GLIBC")
    return {
        "machine": machines.pop() if machines else None,
        "glibc": str(wanted[0]) if wanted else "-",
        **{key: by_pi[pi] for key, pi in _PIS.items()},
        "systems": list(dict.fromkeys(place.system.name for place in found.runs_on)),
    }


@pytest.mark.parametrize("one", _TRUTH, ids=lambda one: one["file"].removesuffix(".whl"))
def test_the_verdict_on_a_real_wheel_is_what_was_found_by_hand(folder, one):
    found = inspect(fetched(folder, one))
    assert found.faults == ()
    assert told(found) == {
        "machine": _MACHINES.get(one["machine"]),
        "glibc": one["glibc"],
        **{key: _VERDICTS[one[key]] for key in _PIS},
        "systems": one["systems"],
    }
