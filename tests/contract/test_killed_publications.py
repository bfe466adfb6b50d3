"""Signed publications that are killed at every step: `publish check` recognises each, and the next command ends it.

The publisher is a process that kills itself with SIGKILL before each change of a file, or before each start of rclone.
"""

import io
import os
import shutil

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pibuild.adapters.rclone import Rclone
from pibuild.adapters.twine import Twine
from pibuild.commands.publication import publish_wheels
from pibuild.config.settings import Policy, RcloneDestination
from pibuild.console import Console
from pibuild.errors import PublishError
from pibuild.publishing.check import check_site
from pibuild.publishing.destinations import Uploader
from pibuild.publishing.layout import current_id
from pibuild.publishing.operations import publish, rollback, sweep
from pibuild.publishing.pointer import read_pointer
from pibuild.urls import Address
from tests.fakes.sources import NoWeb
from tests.makers.kills import killed_at
from tests.makers.publications import after, make_proven, site_in, whole_pages
from tests.requirements import needs

KEY = Ed25519PrivateKey.generate()


def quiet():
    return Console(err=io.StringIO(), out=io.StringIO())


def signed(folder, console, **changes):
    return site_in(folder, console, **{"key": KEY, "pages": whole_pages, "now": after(1)} | changes)


def state_of(site):
    """Return what a reader is told: the number of wheels of a whole site, or `unfinished`."""
    try:
        return check_site(str(site), NoWeb(), now=after(1.5), public_key=KEY.public_key()).wheels
    except PublishError as error:
        is_recognised = any("was interrupted, or is still running" in detail for detail in error.details)
        return "unfinished" if is_recognised and "on the publishing machine" in error.hint else str(error)


def copies(start, top):
    """Yield a fresh copy of a folder for each step."""
    for step in range(1, 1000):
        folder = top / f"{start.name}-{step}"
        shutil.copytree(start, folder, symlinks=True)
        yield step, folder


@pytest.fixture
def start(tmp_path, console):
    """A signed site with two sets."""
    folder = tmp_path / "site"
    for number, version in enumerate(("1.0", "1.1")):
        wheel = make_proven(tmp_path / "made", version)
        publish(signed(folder, console, now=after(number / 10)), [wheel], why="a test")
    assert state_of(folder) == 2
    return folder


@pytest.fixture(autouse=True)
def fast_disk(monkeypatch):
    """A killed process loses nothing that was written; waiting for the disk is for power cuts."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


SHORT = Policy(count=1, days=60, warn_days=7, grace_days=14)
ACTS = {
    "publish": (3, lambda site, wheels: publish(site, wheels, why="a test")),
    "renewal": (2, lambda site, _wheels: publish(site, [], why="a test")),
    "rollback": (1, lambda site, _wheels: rollback(site, None)),
}


@pytest.mark.parametrize("name", ACTS)
def test_a_killed_change_of_a_site_is_recognised_and_finished(name, tmp_path, start, console):
    wheels = [make_proven(tmp_path / "made", "1.2")]
    wanted, act = ACTS[name]
    told = []
    for step, folder in copies(start, tmp_path):
        if not killed_at(step, lambda to=folder: act(signed(to, quiet()), wheels)):
            assert state_of(folder) == wanted
            break
        told.append(state_of(folder))
        uploader = Uploader(destinations=(), rclone=Rclone({}), twine=Twine({}), console=console)
        publish_wheels(signed(folder, console), uploader, [], "the next command", anew=False)
        assert state_of(folder) in (2, wanted)
        assert not (folder / "next.json").exists()
        assert not (folder / ".making").exists()
        shutil.rmtree(folder)
    assert len(told) >= 4
    assert "unfinished" in told
    assert set(told) <= {2, wanted, "unfinished"}


def test_a_command_that_publishes_nothing_finishes_a_killed_publication(start, tmp_path, console):
    """The kill comes when the new set is the current one, and before the pointer names it."""
    wheels = [make_proven(tmp_path / "made", "1.2")]
    before = current_id(start)

    def points(event, words):
        return event == "os.rename" and str(words[1]).endswith("current.json")

    assert killed_at(1, lambda: publish(signed(start, quiet()), wheels, why="a test"), points)
    assert current_id(start) != before
    assert state_of(start) == "unfinished"
    sweep(signed(start, console), count=9)
    assert state_of(start) == 3


@needs("rclone")
@pytest.mark.parametrize("name", ["publish", "rollback"])
def test_a_killed_copy_to_a_destination_is_recognised_and_finished(name, tmp_path, start, console):
    """It is killed before each start of rclone; the destination has no links, so pages are replaced one by one."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "RCLONE_CONFIG": str(tmp_path / "rclone.conf")}
    destination = tmp_path / "destination"

    def uploader(to, console):
        destinations = (RcloneDestination(rclone=Address(str(to))),)
        return Uploader(destinations=destinations, rclone=Rclone(environ), twine=Twine({}), console=console)

    publish_wheels(signed(start, console), uploader(destination, console), [], "a test", anew=False)
    assert state_of(destination) == 2
    wanted, act = ACTS[name]
    act(signed(start, console), [make_proven(tmp_path / "made", "1.2")])
    told = []
    for step, folder in copies(destination, tmp_path):
        if not killed_at(
            step,
            lambda to=folder: publish_wheels(signed(start, quiet()), uploader(to, quiet()), [], "again", anew=False),
            lambda event, _: event == "subprocess.Popen",
        ):
            assert state_of(folder) == wanted
            break
        told.append(state_of(folder))
        publish_wheels(signed(start, console), uploader(folder, console), [], "the next command", anew=False)
        assert state_of(folder) == wanted
        assert not (folder / "next.json").exists()
        shutil.rmtree(folder)
    assert len(told) > 5
    assert "unfinished" in told
    assert set(told) <= {2, wanted, "unfinished"}
    numbers = [read_pointer((top / "current.json").read_bytes()).pointer.number for top in (start, folder)]
    assert numbers[0] == numbers[1]
