"""How processes share the tests: two of them run those that use the engine, the others run one file after the other.

Tests of the same unit run one after the other, in one process. Tests with the engine are two units, as most of their
time is spent waiting for containers: those that compile with Bazel, and all others.
"""

from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling

WITH_ENGINE = ("engine with Bazel", "engine")
_WITH_BAZEL = frozenset(("test_bazel.py", "test_remote_execution.py"))
_WITHOUT_ENGINE = frozenset(
    (
        "test_a64_table.py",
        "test_compiled_wheels.py",
        "test_instruction_tables.py",
        "test_library_trees.py",
        "test_page.py",
        "test_real_wheels.py",
        "test_verify_real.py",
    )
)
"""The integration tests that start no container."""


class SharedTests(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Hands the tests out in units that one process runs."""

    def _split_scope(self, nodeid: str) -> str:
        return shared_unit(nodeid)


def shared_unit(nodeid: str) -> str:
    """Return the unit that a test belongs to: one of WITH_ENGINE, or its file."""
    path = PurePosixPath(nodeid.partition("::")[0])
    if path.parent.name == "integration" and path.name not in _WITHOUT_ENGINE:
        return WITH_ENGINE[path.name not in _WITH_BAZEL]
    return str(path)
