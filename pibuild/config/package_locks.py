"""Locks of images: the version and sha256 of each package that an image takes from the distribution's archives.

A lock is a text file beside its Dockerfile, packages.lock, which dockerfiles/base/locked.sh reads while the image is
made. Each line is ARCHIVE SUITE ARCHITECTURE PACKAGE VERSION SHA256. A comment has the time for the snapshot archive.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pibuild.errors import UsageError

LOCK_NAME = "packages.lock"
UNKNOWN_SHA256 = "-"
_LINE = re.compile(
    r"(debian|raspbian) ([a-z]+) ([a-z0-9]+) ([a-z0-9][a-z0-9+.-]*) ([A-Za-z0-9.+~:-]+) ([0-9a-f]{64}|-)"
)
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SNAPSHOT = re.compile(r"# snapshot (\d{8}T\d{6}Z)")
_HEAD = """# Written by `pibuild lock`: ARCHIVE SUITE ARCHITECTURE PACKAGE VERSION SHA256
# snapshot {time:%Y%m%dT%H%M%SZ}
"""


@dataclass(frozen=True, slots=True, order=True)
class LockedPackage:
    """A package of an archive."""

    archive: str
    """`debian` or `raspbian`."""
    suite: str
    architecture: str
    """The architecture that it is taken for, also if it fits all of them."""
    name: str
    version: str
    sha256: str
    """That of the .deb file; `-` if it is not known, as in an image from a registry."""

    @property
    def group(self) -> tuple[str, str, str]:
        """Return where it is from: archive, suite and architecture."""
        return self.archive, self.suite, self.architecture

    @property
    def line(self) -> str:
        """Return it as a line of a lock."""
        return " ".join((*self.group, self.name, self.version, self.sha256))


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A package that is not as its lock says; a version is None if there is no such package."""

    group: tuple[str, str, str]
    name: str
    locked: str | None
    found: str | None

    def facts(self) -> dict[str, str | None]:
        """Return it for programs: where the package is from, its name, and its version before and now."""
        archive, suite, architecture = self.group
        group = {"archive": archive, "suite": suite, "architecture": architecture}
        return {**group, "package": self.name, "old": self.locked, "new": self.found}

    def __str__(self) -> str:
        """Return it in a line."""
        _, suite, architecture = self.group
        return f"{self.name} {self.locked or '(new)'} → {self.found or '(gone)'} ({suite} {architecture})"


def package_lines(text: str) -> tuple[LockedPackage, ...]:
    """Return the packages of a lock's lines, without comments. Raises ValueError for any other line."""
    packages = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            if not (match := _LINE.fullmatch(line)):
                raise ValueError(line[:200])
            packages.append(LockedPackage(*match.groups()))
    return tuple(packages)


def read_lock(folder: Path) -> tuple[LockedPackage, ...]:
    """Return the packages of the lock in an image's folder; none without a lock. Raises UsageError for a broken one."""
    path = folder / LOCK_NAME
    try:
        return package_lines(path.read_text()) if path.exists() else ()
    except (ValueError, OSError) as error:
        raise UsageError(f"{path} is not a lock", found=str(error), hint="pibuild lock writes it again") from error


def lock_time(folder: Path) -> str:
    """Return the time of a lock as snapshot archives name it, `20261130T020000Z`; empty without one."""
    path = folder / LOCK_NAME
    match = _SNAPSHOT.search(path.read_text()) if path.exists() else None
    return match[1] if match else ""


def snapshot_sources(snapshot: str, suite: str, components: Collection[str], time: str) -> tuple[str, ...]:
    """Return lines of a sources.list for a suite, its updates and its security fixes as they were at a time.

    In the address, `{archive}` becomes the archive's name, `debian` or `debian-security`, and `{time}` the time.
    """
    places = (("debian", suite), ("debian", f"{suite}-updates"), ("debian-security", f"{suite}-security"))
    options = "check-valid-until=no" + (f" signed-by={_KEYRING}" if _KEYRING.exists() else "")
    at_time = snapshot.replace("{time}", time)
    return tuple(
        f"deb [{options}] {at_time.replace('{archive}', archive)} {part} {' '.join(components)}"
        for archive, part in places
    )


def lock_text(packages: Iterable[LockedPackage], time: datetime) -> str:
    """Return the text of a lock; `time`, in UTC, is when the archives had these versions."""
    return _HEAD.format(time=time) + "".join(f"{package.line}\n" for package in sorted(set(packages)))


def differences(locked: Collection[LockedPackage], found: Collection[LockedPackage]) -> tuple[Difference, ...]:
    """Return in what two lists of packages differ, sorted. Other bytes of the same version are a difference, too."""
    old = {(package.group, package.name): package for package in locked}
    new = {(package.group, package.name): package for package in found}
    rows = []
    for group, name in sorted(old.keys() | new.keys()):
        before, after = old.get((group, name)), new.get((group, name))
        if before != after:
            rows.append(Difference(group=group, name=name, locked=_shown(before, after), found=_shown(after, before)))
    return tuple(rows)


def _shown(package: LockedPackage | None, other: LockedPackage | None) -> str | None:
    """Return a version, with its sha256 if both have the same version."""
    if package and other and package.version == other.version:
        return f"{package.version} sha256 {package.sha256[:12]}"
    return package.version if package else None


def surplus_and_drift(
    own: Collection[LockedPackage], total: Collection[LockedPackage], locked: Collection[LockedPackage]
) -> tuple[tuple[LockedPackage, ...], tuple[Difference, ...]]:
    """Compare what an image has with its lock.

    `own` is what the image took, without its parents' packages; `total` has those as well. Return packages that the
    lock does not name at all, and differences in those that it names; both are empty if the image is as its lock says.
    Parts of a lock for a suite or architecture of which the image took nothing are not compared.
    """
    groups = {package.group for package in own}
    wanted = [package for package in locked if package.group in groups]
    names = {(package.group, package.name) for package in wanted}
    surplus = tuple(sorted(package for package in own if (package.group, package.name) not in names))
    compared = [package for package in total if (package.group, package.name) in names]
    return surplus, differences(wanted, compared)
