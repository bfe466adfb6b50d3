"""Fixtures of all tests: a store and a console of their own. Also the list of skipped tests at the end of the run."""

import io
import os
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from pibuild.console import Console
from pibuild.store.local import Store
from tests.requirements import not_run, reason, skip_reason
from tests.sharing import WITH_ENGINE, SharedTests, shared_unit


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where processes share the tests, begin with those that use the engine: they take longest."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: shared_unit(item.nodeid) not in WITH_ENGINE)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Return what hands the tests out to processes, in units."""
    return SharedTests(config, log)


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
