"""The check on the device says yes to the numpy of this machine, and no to one that is wrong by a little."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "pibuild" / "device" / "check_numpy.py"


@pytest.fixture(scope="module")
def check():
    spec = importlib.util.spec_from_file_location("check_numpy", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["single", "half", "random", "functions", "flags"])
def test_a_correct_numpy_passes(check, name):
    getattr(check, name)()


def spoiled(monkeypatch, where, name, spoil):
    right = getattr(where, name)
    monkeypatch.setattr(where, name, lambda *args, **how: spoil(right(*args, **how)))


@pytest.mark.parametrize(
    ("name", "where", "function", "spoil", "words"),
    [
        ("single", np, "sqrt", lambda found: np.nextafter(found, found + 1), "sqrt"),
        ("products", np, "matmul", lambda found: found + (found == found.max()), "matmul of b"),
        ("linear_algebra", np.linalg, "solve", lambda found: found * np.float32(1.01), "solve: off by"),
        ("fourier", np.fft, "rfft", np.conj, "rfft: off by"),
        ("functions", np, "tanh", lambda found: found * (1 + 2e-15), "tanh of d: off by"),
    ],
)
def test_a_wrong_numpy_is_named(check, monkeypatch, name, where, function, spoil, words):
    spoiled(monkeypatch, where, function, spoil)

    with pytest.raises(AssertionError, match=words):
        getattr(check, name)()


def test_a_different_random_stream_is_rejected(check, monkeypatch):
    right = np.random.RandomState
    monkeypatch.setattr(np.random, "RandomState", lambda seed: right([seed] if isinstance(seed, int) else seed))

    with pytest.raises(AssertionError, match="RandomState's random_sample"):
        check.random()
