"""`verify` on wheels from PyPI, compared with what was found by running: tests/data/real_wheels.yaml."""

import os
from functools import cache

import pytest
from platformdirs import user_cache_path

from pibuild.adapters.http import Http
from pibuild.adapters.pypi import Pypi
from pibuild.model import PypiPlace
from pibuild.wheels.wheel import wheel_name
from tests.truth import Score, judged, load, mistakes, score, with_open_ones

_ALL = load("real")
_WITH_LARGE = "PIBTEST_LARGE_WHEELS" in os.environ
_TRUTH = {name: wheel for name, wheel in _ALL.items() if _WITH_LARGE or not wheel.get("is_large")}


@pytest.fixture(scope="module")
def fetched():
    """Return a function that downloads a wheel once, into the folder beside pibuild's store."""
    folder = user_cache_path("pibuild", appauthor=False) / "test-wheels"
    folder.mkdir(parents=True, exist_ok=True)
    environ = dict(os.environ)
    http = Http(environ, note=print)

    def download(file):
        path, sha256 = folder / file, _TRUTH[file]["sha256"]
        if not path.exists():
            name, part = wheel_name(file), path.with_suffix(".part")
            place = PypiPlace(pypi=name.name, version=str(name.version), file=file, sha256=sha256)
            assert Pypi(http, environ).download(place, part, lambda *_: None) == sha256
            part.replace(path)
        return path

    yield download
    http.close()


@pytest.fixture(scope="module")
def verdicts(fetched):
    return cache(lambda file: judged(fetched(file)))


def test_the_truth_of_sixty_real_wheels_of_all_kinds_is_known():
    assert len(_ALL) >= 60
    for kind in ("linux_armv6l", "armv7l", "aarch64", "-any"):
        assert any(kind in file for file in _TRUTH), kind
    languages = " ".join(wheel["language"] for wheel in _TRUTH.values())
    for language in ("Rust", "Go", "C++", "Fortran", "Cython"):
        assert language in languages, language


@pytest.mark.parametrize("file", with_open_ones(_TRUTH))
def test_no_verdict_on_a_real_wheel_is_wrong(verdicts, file):
    assert mistakes(verdicts(file), _TRUTH[file]) == []


def test_at_most_8_of_100_verdicts_on_real_wheels_are_unsure(verdicts):
    total = Score()
    for file, wheel in _TRUTH.items():
        score(total, verdicts(file), wheel)
    assert total.unsure_percent <= 8, total
