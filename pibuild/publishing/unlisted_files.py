"""Files and projects of a site that no signed list has: an attacker could add a wheel in this way.

A folder is read whole. A server doesn't list its files, so it is asked for the projects that the wheels depend on:
pip would install those from it.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from pibuild.errors import SourceError
from pibuild.files import file_sha256
from pibuild.publishing.current_set import is_set_signed
from pibuild.publishing.layout import SUMS, parsed_sums, set_ids
from pibuild.publishing.pointer import NEXT, POINTER
from pibuild.publishing.site_reader import Read, SiteReader
from pibuild.wheels.wheel import read_fields

_ABSENT = "is not in the signed list of a set"


def unlisted_files(
    reader: SiteReader, set_id: str, sums: Iterable[str], top: Iterable[str], public_key: Ed25519PublicKey | None
) -> Iterator[str]:
    """Yield a sentence for each file of a folder that no set lists, and for each page of another set that has changed.

    `sums` has the paths that the current set lists, `top` the names that the pointer lists.
    """
    if reader.folder is None:
        return
    allowed = {*sums, *top, POINTER, NEXT, f"{set_id}/{SUMS}", f"{set_id}/{SUMS}.sig"}
    for other in set(set_ids(reader.folder)) - {set_id}:
        faults, paths = _other_set(reader.folder, other, public_key)
        yield from faults
        allowed |= paths
    present = f"{set_id}/"
    allowed |= {f"current/{path.removeprefix(present)}" for path in allowed if path.startswith(present)}
    closed: list[OSError] = []
    for path in sorted(reader.paths(closed.append)):
        is_link = path == "current" and (reader.folder / path).is_symlink()
        if path not in allowed and not is_link:
            yield f"{path}: {_ABSENT}"
        elif is_link and (reader.folder / path).readlink() != Path(set_id):
            yield f"current: is a link to {(reader.folder / path).readlink()}, not to {set_id}"
    for error in closed:  # a web server may open files in them all the same
        yield f"{Path(error.filename).relative_to(reader.folder)}: can't be listed: {error.strerror}"


def _other_set(folder: Path, set_id: str, public_key: Ed25519PublicKey | None) -> tuple[list[str], set[str]]:
    """Return what is wrong with an earlier set, and the paths that it lists."""
    set_dir = folder / set_id
    if public_key and not is_set_signed(set_dir, [public_key]):
        return [f"{set_id}/{SUMS}.sig: is not this key's signature of {SUMS}"], set()
    try:
        sums = parsed_sums(set_id, (set_dir / SUMS).read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        return [f"{set_id}/{SUMS}: can't be read"], set()
    faults = [
        f"{path}: is missing, or is not as the set {set_id} lists it"
        for path, sha256 in sorted(sums.items())
        if path.startswith(f"{set_id}/") and not ((folder / path).is_file() and file_sha256(folder / path) == sha256)
    ]
    faults += [  # a record beside a wheel may be replaced, the wheel never
        f"{path}: is not as the set {set_id} lists it"
        for path, sha256 in sorted(sums.items())
        if path.endswith(".whl") and (folder / path).is_file() and file_sha256(folder / path) != sha256
    ]
    return faults, {*sums, f"{set_id}/{SUMS}", f"{set_id}/{SUMS}.sig"}


def unlisted_projects(read: Read, set_id: str, projects: Iterable[str], metadata: Iterable[bytes]) -> Iterator[str]:
    """Yield a sentence for each project that wheels need, that the set lacks, and that the server has all the same.

    `metadata` has the METADATA of the wheels.
    """
    needed = {name for content in metadata for name in _requirements(content)} - set(projects)
    for name in sorted(needed):
        for place in ("current", set_id):
            for page in ("", "index.html", "index.json"):
                path = f"{place}/simple/{name}/{page}"
                try:
                    read(path)
                except SourceError:
                    continue
                yield f"{path}: {_ABSENT}"


def _requirements(metadata: bytes) -> Iterator[str]:
    """Yield the projects that a wheel may need, extras included."""
    for text in read_fields(metadata).get_all("Requires-Dist", []):
        try:
            yield canonicalize_name(Requirement(str(text)).name)
        except InvalidRequirement:
            continue
