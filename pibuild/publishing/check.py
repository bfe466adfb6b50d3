"""`pibuild publish check`: whether the set at an address is the publisher's newest one, complete and undamaged."""

import hashlib
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pibuild.console import Progress
from pibuild.errors import PublishError, SourceError
from pibuild.publishing.current_set import TOP
from pibuild.publishing.index import index_pages
from pibuild.publishing.layout import SUMS, site_path
from pibuild.publishing.model import PublishedSet, PublishedWheel, read_error, set_from
from pibuild.publishing.pointer import NEXT, POINTER, PointerFile, read_pointer
from pibuild.publishing.seen_pointer import SeenPointer, remember, seen_in
from pibuild.publishing.sidecars import envelope_faults, sidecar_faults
from pibuild.publishing.site_reader import SiteFile, SiteReader, site_at
from pibuild.publishing.unlisted_files import unlisted_files, unlisted_projects
from pibuild.signing.key_files import is_signed
from pibuild.sources.places import Downloader
from pibuild.urls import Address
from pibuild.wheels.wheel import WheelFormatError, wheel_name

_SET, _PAGE = "set.json", "index.html"
_SUM_LINE = re.compile(r"([0-9a-f]{64})  ((?:\.\./files/)?([^/]+(?:/[^/]+)*))")
_UNFINISHED = "a publication was interrupted, or is still running; `pibuild publish` of the publisher finishes it"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedSet:
    """A set that is complete and undamaged."""

    set_id: str
    wheels: int
    files: int
    """Number of files in SHA256SUMS."""
    number: int
    """Of current.json; 0 if an older pibuild wrote it. `made` and `expires` are its times, or empty."""
    made: str
    expires: str


def check_site(
    address: str,
    web: Downloader[str],
    *,
    now: datetime,
    public_key: Ed25519PublicKey | None = None,
    state_path: Path | None = None,
    progress: Progress = lambda *_: None,
) -> CheckedSet:
    """Check every file of the current set at `http(s)://…`, at `file://…` or in a folder.

    With a public key, current.json, the set and the provenance must be signed by it; without one, only hashes are
    checked. `state_path` is a file in which the newest current.json is remembered: an older one is a fault. `progress`
    receives the number of checked files.

    Raises PublishError with all faults, or at once if there is no set or the server does not answer; UsageError if
    the state is damaged.
    """
    address_text = str(Address(address))
    seen = seen_in(state_path) if state_path else None
    with site_at(address, web) as reader:
        stored = _current(reader, address_text)
        check = _begun(reader, stored, address_text, progress)
        check.run(public_key, seen, now)
        if check.faults and _current(reader, address_text).content != stored.content:
            what = f"{address_text} was published anew during the check"
            raise PublishError(what, found=stored.pointer.set, hint="check it again")
    if check.faults:
        hint = "publish it again, or publish an earlier set: pibuild publish rollback"
        if check.is_unfinished:
            hint = "on the publishing machine: pibuild publish; or check again later"
        raise PublishError(f"{address_text} has {len(check.faults)} faults", details=check.faults, hint=hint)
    pointer = stored.pointer
    if state_path:
        remember(state_path, pointer)
    return CheckedSet(
        set_id=pointer.set,
        wheels=len(check.published.listed),
        files=len(check.sums),
        number=pointer.number,
        made=pointer.made,
        expires=pointer.expires,
    )


def _current(reader: SiteReader, address_text: str) -> PointerFile:
    """Return the site's current.json."""
    try:
        return read_pointer(reader.read(POINTER).content())
    except (SourceError, ValueError) as error:
        found, hint = f"{POINTER} {read_error(error)}", "give the address or folder that contains current/"
        raise PublishError(f"There is no published set at {address_text}", found=found, hint=hint) from error


def _begun(reader: SiteReader, stored: PointerFile, address_text: str, progress: Progress) -> "_Check":
    """Read set.json and SHA256SUMS, which name all other files."""
    set_id = stored.pointer.set
    try:
        published = set_from(reader.read(f"{set_id}/{_SET}").content())
        sums = reader.read(f"{set_id}/{SUMS}").content()
        pages = {f"{set_id}/{name}": _sha256(page) for name, page in index_pages(published).items()}
    except (SourceError, WheelFormatError, ValueError, OverflowError) as error:
        raise PublishError(f"The set {set_id} of {address_text} can't be read", found=read_error(error)) from error
    return _Check(reader=reader, stored=stored, published=published, pages=pages, sums_file=sums, progress=progress)


@dataclass(slots=True, kw_only=True)
class _Check:
    """A check and its faults so far; it reads only files that SHA256SUMS lists."""

    reader: SiteReader
    stored: PointerFile
    published: PublishedSet
    pages: dict[str, str]
    """sha256 of each page that the index must have, by path."""
    sums_file: bytes
    progress: Progress
    sums: dict[str, str] = field(default_factory=dict)
    """sha256 of each file in SHA256SUMS, by path."""
    faults: list[str] = field(default_factory=list)
    metadata: list[bytes] = field(default_factory=list)
    """METADATA of the listed wheels."""
    is_current: bool = False
    """Whether current/ is this set."""
    is_unfinished: bool = False
    """Whether a publication was interrupted, or is running."""

    @property
    def set_id(self) -> str:
        """The set that current.json names."""
        return self.stored.pointer.set

    def run(self, public_key: Ed25519PublicKey | None, seen: SeenPointer | None, now: datetime) -> None:
        """Check everything."""
        self._check_pointer(public_key, seen, now)
        self._check_next(public_key)
        if self.published.id != self.set_id:
            self._add(f"{self.set_id}/{_SET}", f"is of the set {self.published.id}")
        if public_key and self._is_signed(self.set_id, public_key) and not self.is_unfinished:
            self._is_signed("current", public_key)
        self._list_sums()
        self._check_current()
        wheels = self.published.wheels
        wheel_paths = {path for wheel in wheels for path in (*wheel.paths, wheel.signed_provenance)}
        steps = [partial(self._check_wheel, wheel, public_key) for wheel in wheels]
        steps += [partial(self._check_page, path) for path in sorted(self.sums.keys() - wheel_paths)]
        for done, step in enumerate(steps, 1):
            step()
            self.progress(done, len(steps), "files")
        if not self.is_unfinished:
            self.faults += self._unlisted(public_key)

    def _check_pointer(self, public_key: Ed25519PublicKey | None, seen: SeenPointer | None, now: datetime) -> None:
        """Check current.json: its signature, its times and number, and the hashes that it has."""
        pointer = self.stored.pointer
        if public_key and self.stored.envelope is None:
            self._add(POINTER, "is not signed; `pibuild publish` signs it")
        elif public_key and not self.stored.is_signed_by([public_key]):
            self._add(POINTER, "is not signed by this key")
        for fault in (*pointer.clock_faults(now), *(seen.faults(pointer) if seen else ())):
            self._add(POINTER, fault)
        if pointer.sums_sha256 and (digest := _sha256(self.sums_file)) != pointer.sums_sha256:
            self._add(f"{self.set_id}/{SUMS}", f"has sha256 {digest}, {POINTER} says {pointer.sums_sha256}")

    def _check_next(self, public_key: Ed25519PublicKey | None) -> None:
        """Check whether a publication is unfinished. If none is, check the files of the top folder."""
        pointer, folder = self.stored.pointer, self.reader.folder
        try:
            following = read_pointer(self.reader.read(NEXT).content())
        except SourceError:
            following = self.stored
        except ValueError as error:
            self._add(NEXT, read_error(error))
            following = self.stored
        if following.content != self.stored.content:
            if public_key and not following.is_signed_by([public_key]):
                self._add(NEXT, "is not signed by this key")
            elif following.pointer.number > pointer.number:
                self.is_unfinished = True
                self._add(NEXT, f"names the set {following.pointer.set}: {_UNFINISHED}")
        if not self.is_unfinished and folder and (folder / ".making").exists():
            self.is_unfinished = True
            self._add(".making", f"has unfinished files: {_UNFINISHED}")
        if not self.is_unfinished:
            for path, sha256 in pointer.top.items():
                self._file(path, sha256)
                self._check_answer(path, {sha256})

    def _unlisted(self, public_key: Ed25519PublicKey | None) -> Iterator[str]:
        """Yield a sentence for each file and project that no signed list has."""
        top = self.stored.pointer.top or TOP
        yield from unlisted_files(self.reader, self.set_id, self.sums, top, public_key)
        if self.reader.folder is None:
            projects = {wheel_name(wheel.file).name for wheel in self.published.listed}
            yield from unlisted_projects(self.reader.read, self.set_id, projects, self.metadata)

    def _is_signed(self, folder: str, public_key: Ed25519PublicKey) -> bool:
        signature = self._content(f"{folder}/{SUMS}.sig")
        if signature is None:
            return False
        if not (is_valid := is_signed(public_key, self.sums_file, signature)):
            self._add(f"{folder}/{SUMS}.sig", f"is not this key's signature of {SUMS}")
        return is_valid

    def _check_current(self) -> None:
        """Compare SHA256SUMS of current/, where pip looks, with the set's; of another set nothing more is checked."""
        if self.is_unfinished:
            return
        content = self._content(f"current/{SUMS}")
        self.is_current = content == self.sums_file
        if content is not None and not self.is_current:
            self._add(f"current/{SUMS}", f"is of another set than {self.set_id}, which current.json names")

    def _list_sums(self) -> None:
        """Read SHA256SUMS, and check that it lists all files of the set."""
        sums_path = f"{self.set_id}/{SUMS}"
        for line in self.sums_file.decode("utf-8", "replace").splitlines():
            parts = _SUM_LINE.fullmatch(line)
            if not parts or {".", ".."} & set(parts[3].split("/")):
                self._add(sums_path, f"has a line that names no file of the set: {line[:200]!r}")
            elif self.sums.setdefault(site_path(self.set_id, parts[2]), parts[1]) != parts[1]:
                self._add(sums_path, f"lists {parts[2]} twice")
        wheel_paths = (path for wheel in self.published.listed for path in wheel.paths)
        for path in sorted({f"{self.set_id}/{_SET}", *self.pages, *wheel_paths} - self.sums.keys()):
            self._add(sums_path, f"does not list {path.removeprefix(f'{self.set_id}/')}")

    def _check_wheel(self, wheel: PublishedWheel, public_key: Ed25519PublicKey | None) -> None:
        """Check a wheel and its sidecars; a hidden wheel may be missing if SHA256SUMS does not list it."""
        path, *sidecars = wheel.paths
        contents = [self._content(sidecar) for sidecar in sidecars if sidecar in self.sums]
        file = self._file(path) if path in self.sums else None
        if file is None:
            return
        if (file.sha256, file.size_bytes) != (wheel.sha256, wheel.size_bytes):
            found = f"has sha256 {file.sha256} and {file.size_bytes} bytes"
            self._add(path, f"{found}, set.json says {wheel.sha256} and {wheel.size_bytes}")
        sidecar_contents = [content for content in contents if content is not None]
        if len(sidecar_contents) == len(sidecars):
            for fault in sidecar_faults(wheel, file.path, *sidecar_contents):
                self._add(path, fault)
            self.metadata += sidecar_contents[:1]
            self._check_envelope(wheel, sidecar_contents[-1], public_key)

    def _check_envelope(self, wheel: PublishedWheel, statement: bytes, public_key: Ed25519PublicKey | None) -> None:
        """Check the signed provenance of a wheel, which a signed set must have."""
        path = wheel.signed_provenance
        if path not in self.sums:
            if public_key and not wheel.hidden:
                self._add(f"{self.set_id}/{SUMS}", f"does not list ../{path}")
        elif (content := self._content(path)) is not None:
            for fault in envelope_faults(content, statement, public_key):
                self._add(wheel.paths[0], fault)

    def _check_page(self, path: str) -> None:
        """Check any other file: its sum, an index page's content, and that current/ has the same."""
        file = self._file(path)
        if file is None or not path.startswith(f"{self.set_id}/"):
            return
        if file.sha256 != self.pages.get(path, file.sha256):
            self._add(path, "is not the page that set.json makes")
        pages = {file.sha256, self.sums.get(path.replace(_PAGE, "index.json"), "")}
        self._check_answer(path, pages)
        if self.is_current:
            current = f"current/{path.removeprefix(f'{self.set_id}/')}"
            self._file(current, file.sha256)
            self._check_answer(current, pages)

    def _check_answer(self, path: str, pages: Collection[str]) -> None:
        """Compare what a server answers for the folder of an index.html: pip and browsers ask for the folder.

        `pages` has the sha256 of what it may be. A store may have no answer for folders.
        """
        folder = path.removesuffix(_PAGE)
        if self.reader.folder is None and folder != path:
            with suppress(SourceError):
                if self.reader.read(folder).sha256 not in pages:
                    self._add(folder or "/", f"is another page than its {_PAGE}")

    def _content(self, path: str) -> bytes | None:
        file = self._file(path)
        try:
            return file.content() if file else None
        except SourceError as error:
            self._add(path, read_error(error))
            return None

    def _file(self, path: str, sha256: str = "") -> SiteFile | None:
        """Read a file and compare its hash, if it is listed; None if it can't be read, which is a fault as well."""
        expected = sha256 or self.sums.get(path, "")
        try:
            file = self.reader.read(path)
        except SourceError as error:
            self._add(path, read_error(error))
            return None
        if expected and file.sha256 != expected:
            self._add(path, f"has sha256 {file.sha256}, expected {expected}")
        return file

    def _add(self, path: str, fault: str) -> None:
        self.faults.append(f"{path}: {fault}")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
