"""ci/lock.d/ against pyproject.toml: each Python gets a version of each dependency, every file of it by its hash."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "ci/lock.d"
PYTHONS = ("3.11.2", "3.12.0", "3.13.0", "3.14.0")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUN = [*PROJECT["build-system"]["requires"], *PROJECT["project"]["dependencies"]]
TEST = PROJECT["project"]["optional-dependencies"]["test"]
NEEDED = [("pibuild", RUN), ("test", RUN + TEST)]
ENTRY = re.compile(r"(?P<requirement>[^\s#][^\\\n]*?)(?P<hashes>(?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n")


def lock(name):
    return (LOCKS / f"{name}.txt").read_text()


def pins(text, python):
    """Return the version of each package that a lock has for a Python on Linux on x86-64."""
    environment = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "python_full_version": python,
        "python_version": python.rpartition(".")[0],
        "sys_platform": "linux",
    }
    found = {}
    for entry in ENTRY.finditer(text):
        requirement = Requirement(entry["requirement"])
        if not requirement.marker or requirement.marker.evaluate(environment):
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            assert requirement.name not in found, "two versions for one Python"
            found[requirement.name] = Version(pin.version)
    return found


def lacking(requirements, text, python):
    """Return the requirements that a lock does not meet."""
    versions = pins(text, python)
    return [
        needed
        for needed in requirements
        if (version := versions.get(canonicalize_name(Requirement(needed).name))) is None
        or not Requirement(needed).specifier.contains(version)
    ]


def unhashed(text):
    """Return the lines of a lock that are neither a comment nor an exact version with hashes."""
    return [line for line in ENTRY.sub("", text).splitlines() if not line.startswith("#")]


def unbounded(requirements, text):
    """Return the requirements that the next major version of what is locked would meet."""
    versions = pins(text, PYTHONS[-1])
    found = []
    for needed in map(Requirement, requirements):
        next_major = versions[canonicalize_name(needed.name)].major + 1
        if needed.specifier.contains(f"{next_major}.0"):
            found.append(str(needed))
    return found


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("name", "requirements"), NEEDED, ids=["pibuild", "test"])
def test_each_lock_meets_pyproject_for_each_python(name, requirements, python):
    assert lacking(requirements, lock(name), python) == []


@pytest.mark.parametrize("name", ["pibuild", "test"])
def test_a_lock_has_exact_versions_with_hashes_and_no_address(name):
    assert unhashed(lock(name)) == []
    assert "://" not in lock(name)


@pytest.mark.parametrize("python", PYTHONS)
def test_tests_run_with_the_versions_that_pibuild_is_installed_with(python):
    assert pins(lock("pibuild"), python).items() <= pins(lock("test"), python).items()


def test_every_dependency_ends_before_the_next_major_version():
    assert unbounded(RUN + TEST, lock("test")) == []


PINNED = f"thing==1.5 \\\n    --hash=sha256:{'a' * 64}\n"


@pytest.mark.parametrize("needed", ["thing>=1.6", "thing<1.5", "other"])
def test_a_lock_that_pyproject_has_outgrown_is_found(needed):
    assert lacking(["thing>=1,<2", needed], PINNED, PYTHONS[0]) == [needed]


@pytest.mark.parametrize("line", ["thing==1.5", "--index-url https://example.org/", "./thing.whl"])
def test_a_line_without_a_hash_is_found(line):
    assert unhashed(f"{PINNED}{line}\n") == [line]


def test_a_dependency_without_an_upper_bound_is_found():
    assert unbounded(["thing>=1", "thing>=1,<2", "thing>=1,<3"], PINNED) == ["thing>=1", "thing<3,>=1"]
