"""What `pibuild lock` asks apt for: a real apt, with an archive in a folder that a throw-away key signed."""

import json
import os
from datetime import UTC, datetime

import pytest

from pibuild.adapters.debian_packages import ChosenPackage, DebianPackages
from pibuild.build import image_locks
from pibuild.build.image_locks import RenewedLock
from pibuild.commands.main import main
from pibuild.config.package_locks import LockedPackage, lock_text
from pibuild.errors import SourceError
from tests.makers.debian_archive import SUITE, ArchiveKey, control, make_archive, make_deb, sha256
from tests.requirements import needs

pytestmark = needs("gpg", "dpkg-deb", "apt-get")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Packages: `tiny` in two versions, which needs `base`, which is essential; and the key that signed them."""
    root = tmp_path_factory.mktemp("archive")
    root.chmod(0o755)
    key = ArchiveKey.make(root / "gnupg")
    rows = {
        make_deb(root, name, version, **fields): control(name, version, **fields)
        for name, version, fields in (
            ("tiny", "1:1.0+b1", {"Depends": "base"}),
            ("tiny", "1:2.0~rc1", {"Depends": "base"}),
            ("base", "3", {"Essential": "yes", "Priority": "required"}),
            ("apt", "4", {}),
            ("recommended", "5", {}),
        )
    }
    make_archive(root / "debian", rows, key)
    yield root, {deb.name: sha256(deb.read_bytes()) for deb in rows}
    key.stop()


@pytest.fixture
def packages(archive, tmp_path):
    root, _ = archive
    source = f"deb [signed-by={root}/gnupg/archive.gpg] file:{root}/debian {SUITE} main"
    return DebianPackages(dict(os.environ), sources=[source], architecture="amd64", state_dir=tmp_path / "apt")


def names(chosen):
    return [package.name for package in chosen]


def test_the_newest_version_is_chosen_with_what_it_needs_and_its_sha256(packages, archive):
    assert packages.installed(["tiny"], ()) == (
        ChosenPackage("base", "3", archive[1]["base_3_all.deb"]),
        ChosenPackage("tiny", "1:2.0~rc1", archive[1]["tiny_1:2.0~rc1_all.deb"]),
    )


def test_what_a_system_has_is_not_added_again(packages):
    assert names(packages.installed(["tiny"], packages.minimal_system())) == ["tiny"]


def test_a_minimal_system_is_what_is_essential_or_required_and_apt(packages):
    assert names(packages.minimal_system()) == ["apt", "base"]


def test_a_downloaded_package_brings_no_other(packages):
    assert names(packages.downloaded(["tiny"])) == ["tiny"]


def test_a_package_that_the_archive_lacks_is_named(packages):
    with pytest.raises(SourceError) as caught:
        packages.installed(["absent"], ())

    assert "absent" in str(caught.value)


def test_an_index_that_another_key_signed_is_refused(archive, tmp_path):
    root, _ = archive
    stranger = ArchiveKey.make(tmp_path / "gnupg")
    stranger.stop()
    source = f"deb [signed-by={stranger.public_path}] file:{root}/debian {SUITE} main"
    with pytest.raises(SourceError):
        DebianPackages(dict(os.environ), sources=[source], architecture="amd64", state_dir=tmp_path / "apt")


@pytest.fixture
def renewed(monkeypatch, tmp_path):
    """A lock in which the version of one package is newer than the one that is written."""
    old, new = (LockedPackage("debian", SUITE, "amd64", "tiny", version, "0" * 64) for version in ("1.0", "2.0"))
    path = tmp_path / "builder" / "packages.lock"
    path.parent.mkdir()
    path.write_text(lock_text([old], datetime(2026, 1, 1, tzinfo=UTC)))
    lock = RenewedLock(path=path, before=(old,), after=(new,))
    monkeypatch.setattr(image_locks, "renewed_locks", lambda *_: (lock,))
    return path


def test_lock_writes_what_changed_and_prints_old_and_new(renewed, capsys):
    assert main(["lock"]) == 0
    assert capsys.readouterr().out == f"builder/packages.lock\n  tiny 1.0 → 2.0 ({SUITE} amd64)\n"
    assert f"debian {SUITE} amd64 tiny 2.0 {'0' * 64}\n" in renewed.read_text()


def test_lock_check_writes_nothing_and_fails_if_a_lock_would_change(renewed, capsys):
    before = renewed.read_text()

    assert main(["lock", "--check", "--json"]) == 6
    assert renewed.read_text() == before
    assert json.loads(capsys.readouterr().out) == {
        "changes": [
            {
                "lock": "builder/packages.lock",
                "archive": "debian",
                "suite": SUITE,
                "architecture": "amd64",
                "package": "tiny",
                "old": "1.0",
                "new": "2.0",
            }
        ]
    }


def test_lock_leaves_a_lock_of_the_newest_versions_as_it_is(renewed, monkeypatch, capsys):
    before = renewed.read_text()
    lock = RenewedLock(path=renewed, before=(), after=())
    monkeypatch.setattr(image_locks, "renewed_locks", lambda *_: (lock,))

    assert main(["lock"]) == 0
    assert (renewed.read_text(), capsys.readouterr().out) == (before, "no lock changes\n")
