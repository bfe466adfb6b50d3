"""Renewing the locks of images: for each Dockerfile, the versions that the archives have now.

apt chooses them as it does while an image is made: each stage adds to what the images below it have. Nothing is made,
and no engine is asked.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pibuild.adapters.debian import Debian
from pibuild.adapters.debian_packages import ChosenPackage, DebianPackages
from pibuild.config.dockerfile_packages import PackageCall, Stage, stages
from pibuild.config.dockerfiles import load_base
from pibuild.config.package_locks import LOCK_NAME, LockedPackage, read_lock
from pibuild.model import Userland

_BASE = "base"
_ARCHITECTURE = "amd64"
"""The architecture of the images' own packages."""

Index = Callable[[str, str], DebianPackages]
"""Returns the packages of a suite for an architecture."""


class ArchiveIndexes:
    """The packages of the archives that this machine's apt uses, each index downloaded once."""

    def __init__(
        self,
        debian: Debian,
        environ: Mapping[str, str],
        *,
        own_suite: str,
        state_dir: Path,
        note: Callable[[str], None],
    ) -> None:
        """Keep where to ask; `own_suite` is that of the images, and `state_dir`, for the indexes, may be deleted."""
        self._debian, self._environ, self._own_suite = debian, environ, own_suite
        self._state_dir, self._note = state_dir, note
        self._indexes: dict[tuple[str, str], DebianPackages] = {}

    def __call__(self, suite: str, architecture: str) -> DebianPackages:
        """Return the packages of a suite; of the images' own system with updates and security fixes."""
        if (suite, architecture) not in self._indexes:
            self._note(f"  asking for the index of {suite}, {architecture}")
            has_fixes = (suite, architecture) == (self._own_suite, _ARCHITECTURE)
            self._indexes[suite, architecture] = DebianPackages(
                self._environ,
                sources=self._debian.package_sources(suite, has_fixes=has_fixes),
                architecture=architecture,
                state_dir=self._state_dir / f"{suite}-{architecture}",
            )
        return self._indexes[suite, architecture]


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewedLock:
    """A lock as it is, and as it will be."""

    path: Path
    before: tuple[LockedPackage, ...]
    after: tuple[LockedPackage, ...]


def renewed_locks(folder: Path, userlands: Iterable[Userland], index: Index) -> tuple[RenewedLock, ...]:
    """Return the lock of each image's folder under `folder`; `userlands` are the systems of devices.

    Packages of Raspbian's archive are not looked up: what a lock has of them stays. Raises SourceError if an archive
    does not answer, or if it lacks a package.
    """
    return tuple(_Resolution(folder=folder, userlands=tuple(userlands), index=index).locks())


@dataclass(kw_only=True)
class _Resolution:
    """What apt chooses for the Dockerfiles under a folder."""

    folder: Path
    userlands: tuple[Userland, ...]
    index: Index
    systems: dict[tuple[str, str], tuple[ChosenPackage, ...]] = field(default_factory=dict)
    """The packages that are installed in an image, by its name, or in a stage of it, by both names."""

    @property
    def suite(self) -> str:
        return load_base(self.folder).suite

    @property
    def own_index(self) -> DebianPackages:
        return self.index(self.suite, _ARCHITECTURE)

    def locks(self) -> Iterator[RenewedLock]:
        for path in sorted(self.folder.glob(f"*/{LOCK_NAME}")):
            before = read_lock(path.parent)
            kept = {package for package in before if package.archive != "debian"}
            taken = self._base() if path.parent.name == _BASE else self._taken(path.parent)
            yield RenewedLock(path=path, before=before, after=tuple(sorted({*kept, *taken})))

    def _base(self) -> set[LockedPackage]:
        return set(_locked(self.suite, _ARCHITECTURE, self._system(_BASE, "", {})))

    def _taken(self, folder: Path) -> set[LockedPackage]:
        """Return the packages that the stages of an image take, for each system that it is made for."""
        systems = [userland for userland in self.userlands if userland.image == folder.name]
        taken: set[LockedPackage] = set()
        for args in [_args(userland) for userland in systems] or [{}]:
            for stage in stages(folder, args):
                for call in stage.calls:
                    suite, architecture, chosen = self._chosen(folder.name, stage, call, args)
                    taken |= set(_locked(suite, architecture, chosen))
        return taken

    def _chosen(
        self, image: str, stage: Stage, call: PackageCall, args: Mapping[str, str]
    ) -> tuple[str, str, tuple[ChosenPackage, ...]]:
        if call.kind == "unpack":
            suite, architecture = call.words[:2]
            return suite, architecture, self.index(suite, architecture).installed(call.packages, ())
        if call.kind == "download":
            return self.suite, _ARCHITECTURE, self.own_index.downloaded(call.packages)
        beneath = self._system(*self._origin(image, stage), args)
        return self.suite, _ARCHITECTURE, self.own_index.installed(call.packages, beneath)

    def _origin(self, image: str, stage: Stage) -> tuple[str, str]:
        """Return the image and stage from which a stage begins; the last stage of another image has no name here."""
        if (self.folder / stage.stands_on.lower()).is_dir() and stage.stands_on.isupper():
            return stage.stands_on.lower(), ""
        return image, stage.stands_on

    def _system(self, image: str, stage_name: str, args: Mapping[str, str]) -> tuple[ChosenPackage, ...]:
        """Return the packages that are installed at the end of a stage; without a name, of the image's last stage."""
        if (image, stage_name) not in self.systems:
            if image == _BASE:
                present = self.own_index.minimal_system()
            else:
                rows = stages(self.folder / image, args)
                stage = next((row for row in rows if row.name == stage_name), rows[-1])
                present = self._system(*self._origin(image, stage), args)
                for call in stage.calls:
                    if call.kind == "install":
                        present = (*present, *self.own_index.installed(call.packages, present))
            self.systems[image, stage_name] = present
        return self.systems[image, stage_name]


def _args(userland: Userland) -> dict[str, str]:
    values = {name.upper(): value for name, value in asdict(userland).items()}
    return {name: " ".join(value) if isinstance(value, tuple) else str(value) for name, value in values.items()}


def _locked(suite: str, architecture: str, chosen: Iterable[ChosenPackage]) -> Iterator[LockedPackage]:
    for package in chosen:
        yield LockedPackage("debian", suite, architecture, package.name, package.version, package.sha256)
