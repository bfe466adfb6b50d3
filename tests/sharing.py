"""How two processes share the tests: one of them runs all that use the engine.

What only one process may do at a time, such as removing what other sessions left, is done by these. Of the other tests,
each file is run by one process.
"""

from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling

ENGINE = "engine"
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
    """Return the unit that a test belongs to: ENGINE, or its file."""
    path = PurePosixPath(nodeid.partition("::")[0])
    return ENGINE if path.parent.name == "integration" and path.name not in _WITHOUT_ENGINE else str(path)
