"""What a machine lacks is left out by name where a person tests, and is a failure in CI."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = """
import pytest
from tests.requirements import needs, reason


@needs("no-such-compiler")
def test_compiles():
    pass


@pytest.mark.xfail
def test_fails_as_expected():
    assert False


def test_asks():
    pytest.skip(reason("no engine answers", "start it"))
"""


def environ(**variables) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "CI"} | variables


@pytest.fixture
def run_skipped(tmp_path):
    """Return a function that runs a file of tests whose needs are not met."""
    path = tmp_path / "test_skipped.py"
    path.write_text(SKIPPED)

    def run(**variables):
        command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-c", os.devnull]
        command += ["--rootdir", str(tmp_path), str(path)]
        return subprocess.run(command, cwd=ROOT, env=environ(**variables), capture_output=True, text=True, check=False)

    return run


def test_skipped_tests_are_named_with_what_would_run_them(run_skipped):
    ended = run_skipped()
    account = ended.stdout.partition("tests that were not run")[2]

    assert ended.returncode == 0
    assert "apt-get install no-such-compiler" in account
    assert "start it" in account
    assert account.count("test_skipped.py: 1") == 2


def test_skipped_tests_fail_in_ci(run_skipped):
    ended = run_skipped(CI="true")

    assert ended.returncode == 1
    assert "no-such-compiler" in ended.stdout
    assert "1 failed, 1 xfailed, 1 error" in ended.stdout


@pytest.mark.parametrize(
    ("extra", "ci", "exit_code"), [("test", "", 0), ("test", "true", 4), ("", "", 4), ("", "true", 4)]
)
def test_a_machine_without_an_engine_ends_the_set_up_except_for_tests(tmp_path, extra, ci, exit_code):
    script = f"source {ROOT}/ci/setup.sh; start_engine '{extra}'; echo goes on"
    variables = environ(DOCKER_HOST=f"unix://{tmp_path}/no.sock", CI=ci)
    ended = subprocess.run(["bash", "-ec", script], env=variables, capture_output=True, text=True, check=False)

    assert ended.returncode == exit_code
    assert f"{tmp_path}/no.sock" in ended.stderr
    assert ended.stdout == ("goes on\n" if exit_code == 0 else "")


@pytest.mark.parametrize(("basics", "exit_code"), [("", 0), ("git", 2)])
def test_without_root_tests_go_on_if_python_and_git_are_there(basics, exit_code):
    script = f"""source {ROOT}/ci/setup.sh
      id() {{ echo 1000; }}
      sudo() {{ return 1; }}
      missing_basics() {{ echo {basics}; }}
      missing_packages() {{ echo rclone; }}
      install_missing test"""
    ended = subprocess.run(["bash", "-ec", script], env=environ(), capture_output=True, text=True, check=False)

    assert ended.returncode == exit_code
    assert "rclone" in ended.stderr
