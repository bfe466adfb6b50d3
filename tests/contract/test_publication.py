"""Publications that are killed at every step, fill a disk, or run at the same time: readers always see a whole set."""

import contextlib
import io
import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from pibuild.config.settings import Policy
from pibuild.console import Console
from pibuild.errors import ResourceError
from pibuild.publishing.layout import current_id, make_public, read_set, set_ids
from pibuild.publishing.operations import current, publish, rollback, sweep, yank
from tests.failures import fails
from tests.makers.kills import killed_at
from tests.makers.publications import after, everything, make_proven, read, site_in
from tests.requirements import needs_root

SHORT = {"hidden": Policy(count=1, days=60, warn_days=7, grace_days=14)}


def put(site, wheels, console, **changes):
    how = {name: changes.pop(name) for name in ("anew",) if name in changes}
    return publish(site_in(site, console, **changes), wheels, why="a test", **how)


def lineage(site):
    """The current set, the one that it was made from, and so on."""
    ids = [current_id(site)]
    while before := read_set(site, ids[-1]).follows:
        ids.append(before)
    return tuple(ids)


def each_kill(act):
    """Yield each step at which the action was killed, until it ran to its end."""
    for step in range(1, 1000):
        if not killed_at(step, lambda: act(Console(err=io.StringIO()))):
            assert step > 10, "the kills hit nothing"
            return
        yield step


@pytest.fixture
def site(tmp_path):
    return tmp_path / "site"


@contextlib.contextmanager
def umask(mask):
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def read_as_stranger(site) -> int:
    """Read the whole current set as a user without any right of its own; return the exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            code = 0 if read(site) else 2
            for path in site.rglob("*"):
                _ = path.is_dir() or path.read_bytes()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def public_dir():
    """A folder that every user may enter; those of tmp_path are closed."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@needs_root
@pytest.mark.parametrize("mask", [0o077, 0o027, 0o000])
def test_a_site_is_public_whatever_the_umask_of_its_publisher(public_dir, tmp_path, console, mask):
    site = public_dir / "web" / "site"
    with umask(mask):
        put(site, [make_proven(tmp_path / "made", "1.0")], console)
        put(site, [make_proven(tmp_path / "made", "1.1")], console, now=after(1))
        assert read_as_stranger(site) == 0
        yank(site_in(site, console), "thing-pi-one-3.11", "bad")
        rollback(site_in(site, console), set_ids(site)[-1])
    assert read_as_stranger(site) == 0
    paths = [path for path in [site.parent, site, *site.rglob("*")] if not path.is_symlink()]
    assert {oct(path.stat().st_mode & 0o777) for path in paths if path.is_dir()} == {"0o755"}
    assert {oct(path.stat().st_mode & 0o777) for path in paths if path.is_file()} == {"0o644"}


@needs_root
def test_a_rollback_opens_a_set_that_was_published_with_closed_modes(public_dir, tmp_path, console):
    site = public_dir / "site"
    for version in ("1.0", "1.1"):
        put(site, [make_proven(tmp_path / "made", version)], console)
    for path in (path for path in site.rglob("*") if not path.is_symlink()):
        path.chmod(0o700 if path.is_dir() else 0o600)
    assert read_as_stranger(site) != 0

    rollback(site_in(site, console), None)

    assert read_as_stranger(site) == 0


@pytest.mark.parametrize("swapped", ["set/file", "set"])
def test_opening_a_site_never_opens_a_file_that_a_link_is_put_to(tmp_path, monkeypatch, swapped):
    site, secret_dir = tmp_path / "site", tmp_path / "secret"
    for folder in (site / "set", secret_dir):
        folder.mkdir(parents=True)
        (folder / "file").write_text("")
        (folder / "file").chmod(0o600)
    real = os.chmod

    def chmod(path, mode, **keywords):
        if not (site / swapped).is_symlink() and mode == 0o644:
            (site / swapped).rename(tmp_path / "before")
            (site / swapped).symlink_to(secret_dir / "file" if swapped == "set/file" else secret_dir)
        real(path, mode, **keywords)

    monkeypatch.setattr(os, "chmod", chmod)
    make_public(site)

    assert (site / swapped).is_symlink()
    assert (secret_dir / "file").stat().st_mode & 0o777 == 0o600


def test_an_existing_site_folder_that_is_closed_stays_so_with_a_warning(tmp_path, site, console, words):
    site.mkdir(mode=0o700)
    put(site, [make_proven(tmp_path / "made", "1.0")], console)

    assert site.stat().st_mode & 0o777 == 0o700
    assert f"chmod 755 {site}" in words.getvalue()


@pytest.mark.parametrize("mode", [0o750, 0o755, 0o2775])
def test_the_mode_of_an_existing_site_folder_stays(tmp_path, site, console, words, mode):
    site.mkdir()
    site.chmod(mode)
    put(site, [make_proven(tmp_path / "made", "1.0")], console)

    assert site.stat().st_mode & 0o7777 == mode
    assert "chmod" not in words.getvalue()


@pytest.fixture
def fast_disk(monkeypatch):
    """A killed process loses nothing that was written; waiting for the disk is for power cuts."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.mark.usefixtures("fast_disk")
def test_a_first_publication_killed_at_every_step_shows_nothing_or_a_whole_set(tmp_path, console):
    wheels = [make_proven(tmp_path / "made", version) for version in ("1.0", "1.1")]
    sites = [tmp_path / "site-0"]
    for step in each_kill(lambda quiet: put(sites[-1], wheels, quiet)):
        assert read(sites[-1]) in (None, [one.file for one in wheels])
        put(sites[-1], wheels, console, anew=True)
        assert len(read(sites[-1])) == 2
        sites.append(tmp_path / f"site-{step}")


@pytest.mark.usefixtures("fast_disk")
def test_a_publication_killed_at_every_step_shows_the_old_set_or_the_new_one(tmp_path, site, console):
    """Each time a wheel more, so that each publication copies one, and what the killed one left is built upon."""
    put(site, [make_proven(tmp_path / "made", "1.0")], console)
    versions = iter(f"2.{number}" for number in range(1000))
    offers = []

    def act(quiet):
        put(site, offers, quiet)

    old = read(site)
    offers[:] = [make_proven(tmp_path / "made", next(versions))]
    for _ in each_kill(act):
        new = sorted({*old, offers[0].file})
        assert read(site) in (old, new)
        put(site, offers, console)
        assert read(site) == new
        assert not (site / ".making").exists()
        assert lineage(site) == set_ids(site), "a set stayed that was never the current one"
        assert {place.name for place in site.iterdir() if place.is_dir()} == {*set_ids(site), "files", "current"}
        old, offers[:] = new, [make_proven(tmp_path / "made", next(versions))]


@pytest.mark.usefixtures("fast_disk")
@pytest.mark.parametrize("what", ["yank", "rollback", "sweep", "hidden"])
def test_other_changes_killed_at_every_step_leave_a_whole_set(what, tmp_path, console):
    acts = {
        "yank": lambda site, console: yank(site_in(site, console), "thing-pi-one-3.11", "bad"),
        "rollback": lambda site, console: rollback(site_in(site, console), set_ids(site)[-1]),
        "sweep": lambda site, console: sweep(site_in(site, console), count=1),
        "hidden": lambda site, console: put(site, [], console, retention=SHORT["hidden"], now=after(3)),
    }
    wheels = [make_proven(tmp_path / "made", f"1.{number}", days=number / 10) for number in range(4)]

    def make(site):
        for wheel in wheels:
            put(site, [wheel], console)
        return site

    sites = [make(tmp_path / "site-0")]
    for step in each_kill(lambda quiet: acts[what](sites[-1], quiet)):
        assert len(read(sites[-1])) in (4, 1)
        acts[what](sites[-1], console)
        assert len(read(sites[-1])) == {"yank": 4, "rollback": 1, "sweep": 4, "hidden": 1}[what]
        assert put(sites[-1], [make_proven(tmp_path / "made", "3.0")], console)
        read(sites[-1])
        sites.append(make(tmp_path / f"site-{step}"))


@pytest.mark.usefixtures("fast_disk")
def test_a_rollback_killed_at_every_step_is_done_or_not_done(tmp_path, console):
    wheels = [make_proven(tmp_path / "made", version) for version in ("1.0", "1.1")]

    def make(site):
        put(site, wheels[:1], console)
        put(site, wheels, console)
        return site

    sites = [make(tmp_path / "site-0")]
    seen = set()
    for step in each_kill(lambda quiet: rollback(site_in(sites[-1], quiet), None)):
        found = len(read(sites[-1]))
        put(sites[-1], wheels, console)
        assert len(read(sites[-1])) == found
        seen.add(found)
        sites.append(make(tmp_path / f"site-{step}"))
    assert seen == {1, 2}


def test_a_full_disk_is_named_and_the_old_set_stays(tmp_path, small_disk, console):
    site = small_disk / "site"
    put(site, [make_proven(tmp_path / "made", "1.0")], console)
    before = everything(site)
    large = make_proven(tmp_path / "made", "2.0", content=os.urandom(4_000_000))
    with fails(ResourceError, naming="publish: site:"):
        put(site, [make_proven(tmp_path / "made", "1.1"), large], console)
    assert len(read(site)) == 1
    assert {path for path in everything(site) if path not in before} == set()
    assert put(site, [make_proven(tmp_path / "made", "1.1")], console) is not None


def test_a_disk_that_fills_up_while_pages_are_written_keeps_the_old_set(tmp_path, small_disk, console):
    site = small_disk / "site"
    put(site, [make_proven(tmp_path / "made", "1.0")], console)
    with pytest.raises(ResourceError):
        put(site, [], console, anew=True, pages=lambda _: {"index.html": os.urandom(4_000_000)})
    assert len(read(site)) == 1


def test_two_publishers_at_once_make_one_site_with_all_wheels(tmp_path, site, console):
    """And whoever reads meanwhile sees a whole set each time."""
    offers = [[make_proven(tmp_path / f"made-{who}", f"{who}.{number}") for number in range(6)] for who in (1, 2)]
    put(site, [make_proven(tmp_path / "made", "0.1")], console)
    children = []
    for mine in offers:
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                for one in mine:
                    put(site, [one], Console(err=io.StringIO()))
                code = 0
            os._exit(code)
        children.append(child)
    seen = []
    while children:
        seen.append(len(read(site, current(site).id)))
        done, status = os.waitpid(children[0], os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            children.pop(0)
    assert len(read(site)) == 13
    assert seen == sorted(seen)


def test_a_second_publisher_says_that_it_waits(tmp_path, site, console, words):
    release, held = threading.Event(), threading.Event()

    def slow(published):
        held.set()
        release.wait(10)
        return {"index.html": published.id.encode()}

    wheels = [make_proven(tmp_path / "made", version) for version in ("1.0", "1.1")]
    first = threading.Thread(target=lambda: put(site, wheels[:1], console, pages=slow))
    second = threading.Thread(target=lambda: put(site, wheels[1:], console))
    first.start()
    held.wait(10)
    second.start()
    for _ in range(100):
        if "waiting for it" in words.getvalue():
            break
        time.sleep(0.05)
    release.set()
    first.join()
    second.join()
    assert "another pibuild publishes to" in words.getvalue()
    assert len(read(site)) == 2


def test_sha256sum_checks_the_sums_of_a_set(tmp_path, site, console):
    put(site, [make_proven(tmp_path / "made", "1.0")], console)
    command = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(command, cwd=site / "current", check=False).returncode == 0
