"""What a container reports of remote execution: a hostile recipe can write it, and it goes into records."""

import json

import pytest

from pibuild.build.remote_execution import report_facts
from pibuild.config.settings import RemoteExecution
from pibuild.errors import BuildError
from pibuild.trees.tree import pack
from tests.failures import fails

REPORT = {
    "version": "2.3.0",
    "image": "pibuild/toolchain-pi-one:0123456789abcdef",
    "remote": 3,
    "cached": 2,
    "local": 1,
    "worker_cpu_s": 1.5,
    "bytes_in": 100,
    "problem": "",
}
SETTINGS = RemoteExecution(server="grpcs://build.example.org:8443")


def facts(tmp_path, report):
    tar_path = pack(tmp_path / "remote.tar", {"remote.json": json.dumps(report).encode()})
    return report_facts(tar_path, SETTINGS)


def test_a_report_is_taken_with_the_server_of_the_settings(tmp_path):
    assert facts(tmp_path, REPORT | {"server": "another"}) == REPORT | {"server": SETTINGS.server}


@pytest.mark.parametrize(
    "change",
    [
        {"remote": -1},
        {"remote": "many"},
        {"remote": 10**30},
        {"worker_cpu_s": -1.0},
        {"worker_cpu_s": "a"},
        {"problem": ["a"]},
        {"version": None},
        {"image": {}},
    ],
    ids=str,
)
def test_a_forged_report_is_refused(tmp_path, change):
    with fails(BuildError, naming=next(iter(change))):
        facts(tmp_path, REPORT | change)


@pytest.mark.parametrize("problem", ["a" * 100_000, "\x1b[2Jgone"], ids=["long", "unprintable"])
def test_a_problem_is_shortened_and_escaped(tmp_path, problem):
    found = facts(tmp_path, REPORT | {"problem": problem})["problem"]

    assert found.isprintable()
    assert len(found) <= 500


@pytest.mark.parametrize("name", sorted(REPORT))
def test_a_report_that_lacks_something_is_refused(tmp_path, name):
    with fails(BuildError, naming=name):
        facts(tmp_path, {key: value for key, value in REPORT.items() if key != name})
