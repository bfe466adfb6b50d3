"""`publish --check`: whether what stands at an address is one whole published set.

Knows which files make a set whole and what they must say of one another; changes nothing. A wheel is on this machine
only while it is looked at, and never in memory.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import StringConstraints, TypeAdapter

from pibuild.addresses import without_password
from pibuild.console import Progress
from pibuild.errors import PibuildError, PublishError, SourceError, UnreachableError
from pibuild.publishing.companions import SUFFIXES, companion_faults
from pibuild.publishing.index import index_pages
from pibuild.publishing.model import PublishedSet, PublishedWheel, in_words
from pibuild.publishing.signature import is_signed
from pibuild.publishing.site_files import Read, SiteFile, Web, site_at
from pibuild.wheels.wheel import WheelFormatError

_SUMS, _SIGNATURE, _SET = "SHA256SUMS", "SHA256SUMS.sig", "set.json"
_SHARED = "../files/"
"""How SHA256SUMS begins the names of what sets share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A set that was found whole."""

    set_id: str
    wheels: int
    files: int
    """All that SHA256SUMS lists."""
    is_signed: bool
    """Whether by the public key that was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pointer:
    """What current.json holds."""

    set: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]+$")]


def check_site(
    address: str, web: Web, *, public_key: Ed25519PublicKey | None = None, progress: Progress = lambda *_: None
) -> Whole:
    """Verify every file of the set that is current at `http(s)://…`, at `file://…` or in a folder.

    With a public key the set must be signed by it; without one, no signature is looked at. `progress` is told how many
    files are done.

    PublishError with all that was found, or at once where no set is to be read there or no server answers.
    """
    shown = without_password(address)
    try:
        with site_at(address, web) as read:
            set_id = _current(read, shown)
            check = _begun(read, set_id, shown, progress)
            check.run(public_key)
            if check.faults and _current(read, shown) != set_id:
                hint = "check it again"
                raise PublishError(f"{shown} was published anew while it was checked", found=set_id, hint=hint)
    except UnreachableError as error:
        raise PublishError(f"{shown} can't be checked", found=error.what, hint=error.hint) from error
    if check.faults:
        hint = "publish it again, or go back: pibuild publish rollback"
        raise PublishError(f"{shown} is not whole: {len(check.faults)} faults", details=check.faults, hint=hint)
    wheels = len(check.published.listed)
    return Whole(set_id=set_id, wheels=wheels, files=len(check.sums), is_signed=public_key is not None)


def _current(read: Read, shown: str) -> str:
    """Give the id of the set that the pointer names."""
    try:
        with read("current.json") as file:
            return TypeAdapter(_Pointer).validate_json(file.content()).set
    except UnreachableError:
        raise
    except (SourceError, ValueError) as error:
        hint = "give the address or folder that has current/ in it"
        raise PublishError(
            f"{shown} holds no published set", found=f"current.json {_words(error)}", hint=hint
        ) from error


def _begun(read: Read, set_id: str, shown: str, progress: Progress) -> "_Check":
    """Read set.json and SHA256SUMS, by which all else is found."""
    try:
        with read(f"{set_id}/{_SET}") as file:
            published = TypeAdapter(PublishedSet).validate_json(file.content(), strict=True)
        with read(f"{set_id}/{_SUMS}") as file:
            sums = file.content()
        pages = {name: hashlib.sha256(page).hexdigest() for name, page in index_pages(published).items()}
    except UnreachableError:
        raise
    except (SourceError, WheelFormatError, ValueError, OverflowError) as error:
        raise PublishError(f"The set {set_id} of {shown} can't be read", found=_words(error)) from error
    return _Check(read=read, set_id=set_id, published=published, pages=pages, sums_file=sums, progress=progress)


@dataclass(slots=True, kw_only=True)
class _Check:
    """One check under way, with what it found so far; nothing is read but what SHA256SUMS lists."""

    read: Read
    set_id: str
    published: PublishedSet
    pages: dict[str, str]
    """sha256 of each page that the index must have, by name."""
    sums_file: bytes
    progress: Progress
    sums: dict[str, str] = field(default_factory=dict)
    """sha256 by name, as SHA256SUMS has it."""
    faults: list[str] = field(default_factory=list)
    is_current: bool = False
    """Whether current/ holds this set."""

    def run(self, public_key: Ed25519PublicKey | None) -> None:
        """Look at everything."""
        if self.published.id != self.set_id:
            self._say(self._path(_SET), f"is of the set {self.published.id}")
        if public_key and self._is_signed(self._path(_SIGNATURE), public_key):
            self._is_signed(f"current/{_SIGNATURE}", public_key)
        self._list_sums()
        self._look_at_current()
        of_wheels = {name for wheel in self.published.wheels for name in _names(wheel)}
        steps = [partial(self._look_at_wheel, wheel) for wheel in self.published.wheels]
        steps += [partial(self._look_at, name) for name in sorted(self.sums.keys() - of_wheels)]
        for done, step in enumerate(steps, 1):
            step()
            self.progress(done, len(steps), "files")

    def _is_signed(self, path: str, public_key: Ed25519PublicKey) -> bool:
        signature = self._content(path, None)
        if signature is None:
            return False
        if not (good := is_signed(public_key, self.sums_file, signature)):
            self._say(path, "is not this key's signature of SHA256SUMS")
        return good

    def _look_at_current(self) -> None:
        """See which set stands at current/, where pip looks; of another one no more is said."""
        path = f"current/{_SUMS}"
        content = self._content(path, None)
        self.is_current = content == self.sums_file
        if content is not None and not self.is_current:
            self._say(path, f"is of another set than current.json names, {self.set_id}")

    def _list_sums(self) -> None:
        """Take SHA256SUMS apart, and see that it lists what makes the set."""
        for line in self.sums_file.decode("utf-8", "replace").splitlines():
            found = re.fullmatch(rf"([0-9a-f]{{64}})  ((?:{_SHARED})?([^/]+(?:/[^/]+)*))", line)
            if not found or {".", ".."} & set(found[3].split("/")):
                self._say(self._path(_SUMS), f"has a line that names no file of the set: {line[:200]!r}")
            elif self.sums.setdefault(found[2], found[1]) != found[1]:
                self._say(self._path(_SUMS), f"lists {found[2]} twice")
        needed = {_SET, *self.pages, *(name for wheel in self.published.listed for name in _names(wheel))}
        for name in sorted(needed - self.sums.keys()):
            self._say(self._path(_SUMS), f"does not list {name}")

    def _look_at_wheel(self, wheel: PublishedWheel) -> None:
        """Look at a wheel and what lies beside it; of a hidden one SHA256SUMS says whether it is still there."""
        name, *beside = _names(wheel)
        found = [self._content(self._path(one), self.sums[one]) for one in beside if one in self.sums]
        contents = [content for content in found if content is not None]
        if name not in self.sums:
            return
        path = self._path(name)
        with self._file(path, self.sums[name]) as file:
            if file is None:
                return
            if (file.sha256, file.size_bytes) != (wheel.sha256, wheel.size_bytes):
                said = f"has sha256 {file.sha256} and {file.size_bytes} bytes"
                self._say(path, f"{said}, set.json says {wheel.sha256} and {wheel.size_bytes}")
            if len(contents) == len(beside):
                for fault in companion_faults(wheel, file.path, *contents):
                    self._say(path, fault)

    def _look_at(self, name: str) -> None:
        """Look at any other file: it is what its sum says, a page is the index's, and current/ has the same."""
        found = self._compare(self._path(name), self.sums[name])
        if found is None or name.startswith(_SHARED):
            return
        if found != self.pages.get(name, found):
            self._say(self._path(name), "is not the page that set.json makes")
        if self.is_current:
            self._compare(f"current/{name}", found)

    def _compare(self, path: str, expected: str) -> str | None:
        with self._file(path, expected) as file:
            return file.sha256 if file else None

    def _content(self, path: str, expected: str | None) -> bytes | None:
        with self._file(path, expected) as file:
            try:
                return file.content() if file else None
            except SourceError as error:
                self._say(path, _words(error))
                return None

    @contextmanager
    def _file(self, path: str, expected: str | None) -> Iterator[SiteFile | None]:
        """Have a file whose hash was compared; None where it can't be had, which is then a fault."""
        with ExitStack() as held:
            file = None
            try:
                file = held.enter_context(self.read(path))
            except UnreachableError:
                raise
            except SourceError as error:
                self._say(path, _words(error))
            if file and expected and file.sha256 != expected:
                self._say(path, f"has sha256 {file.sha256}, expected {expected}")
            yield file

    def _path(self, name: str) -> str:
        """Give where a file that SHA256SUMS names lies under the site's top folder."""
        return name.removeprefix("../") if name.startswith(_SHARED) else f"{self.set_id}/{name}"

    def _say(self, path: str, fault: str) -> None:
        self.faults.append(f"{path}: {fault}")


def _names(wheel: PublishedWheel) -> tuple[str, ...]:
    """Give the names in SHA256SUMS of a wheel and of what lies beside it."""
    return tuple(f"../{wheel.folder}{wheel.file}{suffix}" for suffix in ("", *SUFFIXES))


def _words(error: Exception) -> str:
    if isinstance(error, PibuildError):
        return f"{error.what}: {error.found}" if error.found else error.what
    return in_words(error)
