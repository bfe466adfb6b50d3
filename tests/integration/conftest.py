"""The real engine and a store of each test's own. Where no engine answers, tests skip."""

import os
import uuid

import pytest

from pibuild.adapters.docker import Engine
from pibuild.build.context import open_context
from pibuild.config.settings_sources import load_settings
from pibuild.console import Console
from pibuild.errors import EngineError
from pibuild.store.local import Store
from tests.integration.one_build import ensure_base
from tests.requirements import reason


@pytest.fixture(scope="session")
def engine():
    try:
        return Engine(dict(os.environ))
    except EngineError as error:
        pytest.skip(reason(error.what, error.hint))


@pytest.fixture(scope="session")
def base(engine, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("base-store"), Console())
    ensure_base(engine, store, Console())
    store.close()


@pytest.fixture
def context(tmp_path, engine):
    """Open what builds and trials share, with a store of this test's own."""
    assert engine
    settings = load_settings({"store": str(tmp_path / "store")}, {}, tmp_path)
    with open_context(settings, dict(os.environ), Console()) as opened:
        yield opened


@pytest.fixture
def script(tmp_path):
    """Write a recipe's script; each one is unique, so that nothing is found in a store."""

    def write(text: str):
        path = tmp_path / "recipe" / "build.sh"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# {uuid.uuid4()}\nset -euo pipefail\n{text}\n")
        return path

    return write
