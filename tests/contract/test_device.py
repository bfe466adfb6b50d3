"""What runs on the device, as far as any machine can run it."""

import subprocess
from pathlib import Path

import pytest

import pibuild

JUDGE = Path(pibuild.__file__).parent / "device" / "judge_unmet.sh"
MISSING = "tensorflow 1.12.3 requires {}, which is not installed."


def judged(tmp_path, *lines: str) -> subprocess.CompletedProcess:
    (tmp_path / "left-out.txt").write_text("grpcio\nh5py\n")
    (tmp_path / "unmet").write_text("".join(f"{line}\n" for line in lines))
    return subprocess.run(
        ["bash", JUDGE, tmp_path / "left-out.txt", tmp_path / "unmet"], capture_output=True, text=True, check=False
    )


def test_unmet_dependencies_that_the_recipe_leaves_out_are_accepted(tmp_path):
    ended = judged(tmp_path, MISSING.format("grpcio"), "Keras-Applications 1 requires h5py, which is not installed.")

    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    "line",
    [
        MISSING.format("six"),
        MISSING.format("grpcio-tools"),
        "tensorflow 1.12.3 has requirement six>=2, but you have six 1.16.0.",
        "tensorflow 1.12.3 has requirement grpcio>=2, but you have grpcio 1.8.6.",
    ],
)
def test_other_missing_or_conflicting_dependencies_are_named_faults(tmp_path, line):
    ended = judged(tmp_path, MISSING.format("h5py"), line)

    assert (ended.returncode, ended.stderr) == (1, f"{line}\n")


def test_a_check_that_fails_without_a_finding_is_a_fault(tmp_path):
    ended = judged(tmp_path)

    assert ended.returncode == 1
    assert "pip check failed" in ended.stderr
