"""Locks: their lines, what differs from them, what Dockerfiles take, and how `pibuild lock` writes them anew."""

from datetime import UTC, datetime

import pytest

from pibuild.adapters.debian_packages import ChosenPackage
from pibuild.build.image_locks import renewed_locks
from pibuild.config.dockerfile_packages import stages
from pibuild.config.dockerfiles import as_here
from pibuild.config.package_locks import (
    LockedPackage,
    differences,
    lock_text,
    lock_time,
    package_lines,
    read_lock,
    surplus_and_drift,
)
from pibuild.config.project_files import project_folder
from pibuild.errors import UsageError
from pibuild.model import Userland
from tests.makers.plans import make_images

AT = datetime(2026, 11, 30, 2, 0, 0, tzinfo=UTC)
BASE = """suite: bullseye
variant: minbase
components: [main]
repository: debian
digest: sha256:0
"""
BUILDER = """ARG BASE
FROM ${BASE}
RUN /opt/pibuild/packages/locked.sh install \\
      gcc \\
      make
"""
DEVICE = """ARG BASE
ARG BUILDER
FROM ${BUILDER} AS made
RUN /opt/pibuild/packages/locked.sh install bison \\
 && /opt/pibuild/packages/locked.sh download /deb glibc-source
FROM made AS more
RUN [ -z "${ARCHIVE}" ] || { /opt/pibuild/packages/locked.sh install gpg && /opt/make/trust.sh "${ARCHIVE}"; }
FROM ${BASE} AS system
ARG OS
ARG PACKAGES
RUN /opt/pibuild/packages/locked.sh unpack "${OS}" armhf /system ${PACKAGES} \\
 && rm -rf /system/usr/share/doc
FROM ${BASE}
COPY --from=system /system /system
"""
USERLANDS = [
    Userland(image="device", os=name, archive="", archive_key="", packages=("base-files", "python3"))
    for name in ("bookworm", "trixie")
]


def package(name, version="1.0", group=("debian", "bullseye", "amd64"), sha256="0" * 64):
    return LockedPackage(*group, name, version, sha256)


@pytest.fixture
def folder(tmp_path):
    for name, texts in {
        "base": {"base.yaml": BASE, "packages.lock": ""},
        "builder": {"Dockerfile": BUILDER, "packages.lock": ""},
        "device": {"Dockerfile": DEVICE, "packages.lock": f"raspbian buster armhf bash 5.0-4 {'7' * 64}\n"},
    }.items():
        (tmp_path / name).mkdir()
        for file_name, text in texts.items():
            (tmp_path / name / file_name).write_text(text)
    return tmp_path


class Packages:
    """An archive in which each package needs `libc6`; it notes what was there when it was asked."""

    def __init__(self, version):
        self.version = version
        self.asked = {}

    def minimal_system(self):
        return self.downloaded(("bash", "apt"))

    def downloaded(self, names):
        return tuple(ChosenPackage(name, self.version, "a" * 64) for name in sorted(names))

    def installed(self, names, present):
        self.asked[" ".join(names)] = sorted(entry.name for entry in present)
        there = {entry.name for entry in present}
        return self.downloaded({*names, "libc6"} - there)


def test_a_lock_is_read_as_it_was_written(tmp_path):
    packages = (package("zlib1g", "1:1.2+dfsg-2~deb11u2"), package("g++-10"))
    (tmp_path / "packages.lock").write_text(lock_text(packages, AT))

    assert read_lock(tmp_path) == tuple(sorted(packages))
    assert lock_time(tmp_path) == "20261130T020000Z"


@pytest.mark.parametrize("line", ["debian bullseye amd64 bash 5.1", "bash 5.1 0", "debian bullseye amd64 bash 5;rm -"])
def test_a_line_that_is_none_of_a_lock_is_refused(tmp_path, line):
    (tmp_path / "packages.lock").write_text(f"{line}\n")
    with pytest.raises(UsageError) as caught:
        read_lock(tmp_path)

    assert "packages.lock" in caught.value.what
    assert line in caught.value.found


def test_a_damaged_list_of_an_image_is_refused():
    with pytest.raises(ValueError, match="nonsense"):
        package_lines(f"{package('bash').line}\nnonsense\n")


def test_differences_name_old_and_new_versions_and_new_and_removed_packages():
    rows = differences([package("a"), package("b"), package("c")], [package("b", "2.0"), package("c"), package("d")])

    assert [str(row) for row in rows] == [
        "a 1.0 → (gone) (bullseye amd64)",
        "b 1.0 → 2.0 (bullseye amd64)",
        "d (new) → 1.0 (bullseye amd64)",
    ]


def test_other_bytes_of_a_version_are_a_difference_with_both_sha256():
    (row,) = differences([package("a")], [package("a", sha256="f" * 64)])

    assert (row.locked, row.found) == ("1.0 sha256 000000000000", "1.0 sha256 ffffffffffff")


def test_parts_of_a_lock_for_other_systems_are_not_compared():
    bookworm, trixie = (package("python3", group=("debian", suite, "armhf")) for suite in ("bookworm", "trixie"))

    assert surplus_and_drift([bookworm], [bookworm], [bookworm, trixie]) == ((), ())
    assert surplus_and_drift([trixie], [trixie], [bookworm])[0] == (trixie,)


def test_what_a_parent_took_already_counts_as_taken():
    assert surplus_and_drift([package("b")], [package("a"), package("b")], [package("a"), package("b")]) == ((), ())


def test_a_locked_package_that_was_not_taken_is_a_difference():
    assert surplus_and_drift([package("b")], [package("b")], [package("a"), package("b")])[1] != ()


def test_calls_of_a_dockerfile_are_found_in_their_stages(folder):
    found = stages(folder / "device", {"OS": "trixie", "PACKAGES": "base-files python3", "ARCHIVE": ""})

    assert [(stage.name, stage.stands_on) for stage in found] == [
        ("made", "BUILDER"),
        ("more", "made"),
        ("system", "BASE"),
        ("", "BASE"),
    ]
    assert [(call.kind, call.packages) for stage in found for call in stage.calls] == [
        ("install", ("bison",)),
        ("download", ("glibc-source",)),
        ("install", ("gpg",)),
        ("unpack", ("base-files", "python3")),
    ]


def test_locks_have_what_each_stage_adds_to_what_is_below_it(folder):
    indexes = {}
    locks = renewed_locks(folder, USERLANDS, lambda *key: indexes.setdefault(key, Packages("2.0")))
    after = {lock.path.parent.name: {" ".join(entry.line.split()[:4]) for entry in lock.after} for lock in locks}

    unpacked = ("base-files", "python3", "libc6")
    assert after == {
        "base": {"debian bullseye amd64 apt", "debian bullseye amd64 bash"},
        "builder": {f"debian bullseye amd64 {name}" for name in ("gcc", "make", "libc6")},
        "device": {
            *(f"debian bullseye amd64 {name}" for name in ("bison", "glibc-source", "gpg")),
            *(f"debian {part} armhf {name}" for part in ("bookworm", "trixie") for name in unpacked),
            "raspbian buster armhf bash",
        },
    }
    assert indexes["bullseye", "amd64"].asked["gpg"] == ["apt", "bash", "bison", "gcc", "libc6", "make"]


def test_every_call_in_the_projects_dockerfiles_is_locked():
    folder = project_folder("dockerfiles")
    for path in folder.glob("*/Dockerfile"):
        text = path.read_text()
        assert "apt-get install" not in text, path
        if "locked.sh " in text and path.parent.name != "base":
            names = {entry.name for entry in read_lock(path.parent)}
            calls = [call for stage in stages(path.parent, {}) for call in stage.calls]
            assert calls, path
            assert {name for call in calls for name in call.packages if "$" not in name} <= names
            assert "COPY packages.lock /opt/pibuild/packages/lock" in text
            assert "ARG SNAPSHOT" in text


def test_an_image_on_an_own_one_is_named_after_it():
    device = make_images("pi-one")["device"]
    own = as_here(device, ["pibuild/device-pi-one:0-abc", "pibuild/other:0-abc"])

    assert (own.reference, own.locked) == ("pibuild/device-pi-one:0-abc", device.locked)
    assert as_here(device, []) == device
