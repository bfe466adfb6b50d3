"""`pibuild publish check`: whether the set at an address is complete and undamaged.

Only one file of a site at an address is on this machine at a time, and a wheel is never in memory.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pibuild.console import Progress
from pibuild.errors import PublishError, SourceError, UnreachableError, UsageError
from pibuild.files import file_sha256
from pibuild.publishing.index import index_pages
from pibuild.publishing.layout import SUMS, site_path
from pibuild.publishing.model import PublishedSet, PublishedWheel, pointed_set, read_error, set_from
from pibuild.publishing.provenance import PREDICATE_TYPE, STATEMENT_TYPE, descriptor
from pibuild.signing.key_files import is_signed
from pibuild.sources.places import Downloader
from pibuild.urls import Address
from pibuild.wheels.wheel import WheelFormatError, dist_info_file

_SET = "set.json"
_SUM_LINE = re.compile(r"([0-9a-f]{64})  ((?:\.\./files/)?([^/]+(?:/[^/]+)*))")
_MOST_TEXT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedSet:
    """A set that is complete and undamaged."""

    set_id: str
    wheels: int
    files: int
    """Number of files in SHA256SUMS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFile:
    """A file of a site, on this machine until the next one is read."""

    path: Path
    sha256: str
    size_bytes: int

    def content(self) -> bytes:
        """Read it whole. Raises SourceError if it is too large for a text."""
        if self.size_bytes > _MOST_TEXT_BYTES:
            raise SourceError(f"has {self.size_bytes} bytes, {_MOST_TEXT_BYTES} at most expected")
        return self.path.read_bytes()


Read = Callable[[str], SiteFile]
"""Returns a file by its path under the site's top folder.

Raises SourceError if there is none, PublishError if the server does not answer.
"""


def check_site(
    address: str,
    web: Downloader[str],
    *,
    public_key: Ed25519PublicKey | None = None,
    progress: Progress = lambda *_: None,
) -> CheckedSet:
    """Check every file of the current set at `http(s)://…`, at `file://…` or in a folder.

    With a public key the set must be signed by it; without one, signatures are not checked. `progress` receives the
    number of checked files.

    Raises PublishError with all faults, or at once if there is no set or the server does not answer.
    """
    address_text = str(Address(address))
    with _site_at(address, web) as read:
        set_id = _current(read, address_text)
        check = _begun(read, set_id, address_text, progress)
        check.run(public_key)
        if check.faults and _current(read, address_text) != set_id:
            what = f"{address_text} was published anew during the check"
            raise PublishError(what, found=set_id, hint="check it again")
    if check.faults:
        hint = "publish it again, or publish an earlier set: pibuild publish rollback"
        raise PublishError(f"{address_text} has {len(check.faults)} faults", details=check.faults, hint=hint)
    return CheckedSet(set_id=set_id, wheels=len(check.published.listed), files=len(check.sums))


@contextmanager
def _site_at(address: str, web: Downloader[str]) -> Iterator[Read]:
    """Provide the reader of a site. Raises UsageError for an address of another kind."""
    parts = urlsplit(address)
    if parts.scheme in ("http", "https"):
        with tempfile.TemporaryDirectory(prefix="pibuild-check-") as scratch:
            yield partial(_downloaded, web, Address(address), Path(scratch) / "file")
    elif parts.scheme == "file":
        yield partial(_local, Path(unquote(parts.path)))
    elif "://" in address:
        hint = "https://…, http://…, file://… or a folder"
        raise UsageError(f"A site at {parts.scheme}:// can't be checked", hint=hint)
    else:
        yield partial(_local, Path(address))


def _downloaded(web: Downloader[str], address: Address, to: Path, path: str) -> SiteFile:
    to.unlink(missing_ok=True)
    try:
        digest = web.download(address.below(quote(path)).reveal(), to, lambda *_: None)
    except UnreachableError as error:
        what = f"{address} can't be checked"
        raise PublishError(what, found=error.what, hint=error.hint) from error
    return SiteFile(path=to, sha256=digest, size_bytes=to.stat().st_size)


def _local(root: Path, path: str) -> SiteFile:
    try:
        digest = file_sha256(root / path)
    except FileNotFoundError as error:
        raise SourceError("is missing") from error
    except OSError as error:
        raise SourceError(f"can't be read: {error.strerror}") from error
    return SiteFile(path=root / path, sha256=digest, size_bytes=(root / path).stat().st_size)


def _current(read: Read, address_text: str) -> str:
    """Return the id of the set that current.json names."""
    try:
        return pointed_set(read("current.json").content())
    except (SourceError, ValueError) as error:
        found, hint = f"current.json {read_error(error)}", "give the address or folder that contains current/"
        raise PublishError(f"There is no published set at {address_text}", found=found, hint=hint) from error


def _begun(read: Read, set_id: str, address_text: str, progress: Progress) -> "_Check":
    """Read set.json and SHA256SUMS, which name all other files."""
    try:
        published = set_from(read(f"{set_id}/{_SET}").content())
        sums = read(f"{set_id}/{SUMS}").content()
        pages = {f"{set_id}/{name}": _sha256(page) for name, page in index_pages(published).items()}
    except (SourceError, WheelFormatError, ValueError, OverflowError) as error:
        raise PublishError(f"The set {set_id} of {address_text} can't be read", found=read_error(error)) from error
    return _Check(read=read, set_id=set_id, published=published, pages=pages, sums_file=sums, progress=progress)


@dataclass(slots=True, kw_only=True)
class _Check:
    """A check and its faults so far; it reads only files that SHA256SUMS lists."""

    read: Read
    set_id: str
    published: PublishedSet
    pages: dict[str, str]
    """sha256 of each page that the index must have, by path."""
    sums_file: bytes
    progress: Progress
    sums: dict[str, str] = field(default_factory=dict)
    """sha256 of each file in SHA256SUMS, by path."""
    faults: list[str] = field(default_factory=list)
    is_current: bool = False
    """Whether current/ is this set."""

    def run(self, public_key: Ed25519PublicKey | None) -> None:
        """Check everything."""
        if self.published.id != self.set_id:
            self._add(f"{self.set_id}/{_SET}", f"is of the set {self.published.id}")
        if public_key and self._is_signed(self.set_id, public_key):
            self._is_signed("current", public_key)
        self._list_sums()
        self._check_current()
        wheel_paths = {path for wheel in self.published.wheels for path in wheel.paths}
        steps = [partial(self._check_wheel, wheel) for wheel in self.published.wheels]
        steps += [partial(self._check_page, path) for path in sorted(self.sums.keys() - wheel_paths)]
        for done, step in enumerate(steps, 1):
            step()
            self.progress(done, len(steps), "files")

    def _is_signed(self, folder: str, public_key: Ed25519PublicKey) -> bool:
        signature = self._content(f"{folder}/{SUMS}.sig")
        if signature is None:
            return False
        if not (is_valid := is_signed(public_key, self.sums_file, signature)):
            self._add(f"{folder}/{SUMS}.sig", f"is not this key's signature of {SUMS}")
        return is_valid

    def _check_current(self) -> None:
        """Compare SHA256SUMS of current/, where pip looks, with the set's; of another set nothing more is checked."""
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

    def _check_wheel(self, wheel: PublishedWheel) -> None:
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
            for fault in _sidecar_faults(wheel, file.path, *sidecar_contents):
                self._add(path, fault)

    def _check_page(self, path: str) -> None:
        """Check any other file: its sum, an index page's content, and that current/ has the same."""
        file = self._file(path)
        if file is None or not path.startswith(f"{self.set_id}/"):
            return
        if file.sha256 != self.pages.get(path, file.sha256):
            self._add(path, "is not the page that set.json makes")
        if self.is_current:
            self._file(f"current/{path.removeprefix(f'{self.set_id}/')}", file.sha256)

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
            file = self.read(path)
        except SourceError as error:
            self._add(path, read_error(error))
            return None
        if expected and file.sha256 != expected:
            self._add(path, f"has sha256 {file.sha256}, expected {expected}")
        return file

    def _add(self, path: str, fault: str) -> None:
        self.faults.append(f"{path}: {fault}")


def _sidecar_faults(
    wheel: PublishedWheel, wheel_path: Path, metadata: bytes, record: bytes, provenance: bytes
) -> Iterator[str]:
    """Yield a sentence for each way in which the sidecars do not belong to the wheel."""
    if _sha256(metadata) != wheel.metadata_sha256:
        yield f".metadata has sha256 {_sha256(metadata)}, set.json says {wheel.metadata_sha256}"
    try:
        if dist_info_file(wheel_path, "METADATA") != metadata:
            yield ".metadata differs from METADATA in the wheel"
    except WheelFormatError as error:
        yield f"METADATA can't be read: {error}"
    facts = _facts(record)
    for keys, expected in (
        (("wheel", "file"), wheel.file),
        (("wheel", "sha256"), wheel.sha256),
        (("plan", "key"), wheel.key),
    ):
        if (found := _at(facts, *keys)) != expected:
            yield f".record.json has {found or 'nothing'} as {' '.join(keys)}, expected {expected}"
    yield from _provenance_faults(wheel, _facts(provenance), _sha256(record))


def _provenance_faults(wheel: PublishedWheel, facts: object, record_sha256: str) -> Iterator[str]:
    if (_at(facts, "_type"), _at(facts, "predicateType")) != (STATEMENT_TYPE, PREDICATE_TYPE):
        yield f".provenance.json is not a statement ({STATEMENT_TYPE}) of provenance ({PREDICATE_TYPE})"
        return
    if descriptor(wheel.file, wheel.sha256) not in _list_at(facts, "subject"):
        yield f".provenance.json has no subject {wheel.file} with sha256 {wheel.sha256}"
    byproducts = _list_at(facts, "predicate", "runDetails", "byproducts")
    if descriptor(f"{wheel.file}.record.json", record_sha256) not in byproducts:
        yield f".provenance.json does not name the record with sha256 {record_sha256}"


def _facts(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _at(facts: Any, *keys: str) -> Any:  # noqa: ANN401  what JSON can hold
    """Return the value under these keys; None if there is none."""
    for key in keys:
        facts = facts.get(key) if isinstance(facts, dict) else None
    return facts


def _list_at(facts: object, *keys: str) -> list[Any]:
    value = _at(facts, *keys)
    return value if isinstance(value, list) else []


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
