"""What a test needs of the machine: programs, root, an engine, a registry.

A test whose need is not met is skipped. The last lines of the run name it and what would run it; with CI=true it fails.
"""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest

from pibuild.errors import UnreachableError

PACKAGES = {
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    "arm-linux-gnueabi-gcc": "gcc-arm-linux-gnueabi",
    "arm-linux-gnueabihf-g++": "g++-arm-linux-gnueabihf",
    "arm-linux-gnueabihf-gcc": "gcc-arm-linux-gnueabihf",
    "chromedriver": "chromium-driver",
    "docker": "docker.io",
    "java": "default-jre-headless",
    "node": "nodejs",
    "qemu-aarch64": "qemu-user",
    "qemu-arm": "qemu-user",
    "systemd-analyze": "systemd",
    "xz": "xz-utils",
}
"""Debian's package of a program, where its name is another."""
REMEDY = "; to run it: "
"""What parts the reason of a skip from what would run the test."""


def reason(lack: str, remedy: str) -> str:
    return f"{lack}{REMEDY}{remedy}"


def missing(*programs: str) -> str:
    """Return the reason of a skip if the machine lacks one of these programs, else an empty string."""
    names = [name for name in programs if not shutil.which(name)]
    packages = " ".join(dict.fromkeys(PACKAGES.get(name, name) for name in names))
    return reason(f"{' and '.join(names)} not found", f"apt-get install {packages}") if names else ""


def needs(*programs: str) -> pytest.MarkDecorator:
    lack = missing(*programs)
    return pytest.mark.skipif(bool(lack), reason=lack)


needs_root = pytest.mark.skipif(os.getuid() != 0, reason=reason("not root", "sudo ci/test"))


@contextmanager
def reachable() -> Iterator[None]:
    """Skip the test if a registry can't be reached from here."""
    try:
        yield
    except UnreachableError as error:
        pytest.skip(reason(error.what, "a machine that reaches it"))


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def not_run(reports: Iterable[pytest.TestReport | pytest.CollectReport]) -> list[str]:
    """Return lines that name the skipped tests: each lack, what would run them, their files."""
    files: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for report in reports:
        files[skip_reason(report)][report.nodeid.partition("::")[0]] += 1
    lines = []
    for text, numbers in sorted(files.items()):
        lack, _, remedy = text.partition(REMEDY)
        lines.append(f"{sum(numbers.values())} not run: {lack}")
        lines += [f"    to run it: {remedy}"] if remedy else []
        lines += [f"    {file}: {number}" for file, number in sorted(numbers.items())]
    return lines
