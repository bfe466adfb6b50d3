"""Fixtures of all tests: a store and a console of their own. Also the list of skipped tests at the end of the run."""

import io
import os
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from pibuild.console import Console
from pibuild.store.local import Store
from tests.requirements import WITHOUT_ENGINE, not_run, reason, skip_reason


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where processes share the tests, let one run all that use the engine, and begin with them: they take longest.

    What only one process may do at a time, such as removing what other sessions left, is theirs. Of the others, each
    file is run by one process.
    """
    if not hasattr(config, "workerinput"):
        return
    for item in items:
        is_engine = item.path.parent.name == "integration" and item.path.stem not in WITHOUT_ENGINE
        item.add_marker(pytest.mark.xdist_group("engine" if is_engine else item.path.stem))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group").args != ("engine",))  # type: ignore[union-attr]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With CI=true, let a skipped test fail."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"With CI=true every test must run. {skip_reason(report)}"
    return report


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if lines := not_run(terminalreporter.stats.get("skipped", [])):
        terminalreporter.section("tests that were not run")
        terminalreporter.write_line("\n".join(lines))


@pytest.fixture(autouse=True, scope="session")
def own_data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the key of this machine out of the tests, and theirs out of the user's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture
def words() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def console(words: io.StringIO) -> Console:
    return Console(err=words)


@pytest.fixture
def store(tmp_path: Path, console: Console) -> Iterator[Store]:
    store = Store(tmp_path / "store", console)
    yield store
    store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(reason("only root may mount a small disk", "sudo ci/test"))
    yield place
    subprocess.run(["umount", place], check=True)
