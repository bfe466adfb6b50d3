"""The current set on disk: its signature, and the pointer to it, which is written, renewed and repaired.

next.json is written first. So a reader can distinguish an interrupted publication from a site that somebody changed.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pibuild.files import file_sha256
from pibuild.publishing.layout import (
    SUMS,
    Site,
    current_id,
    make_public,
    parsed_sums,
    put_file,
    staging_dir,
    sync,
)
from pibuild.publishing.pointer import (
    CLOCKS_DIFFER,
    NEXT,
    POINTER,
    Pointer,
    PointerFile,
    next_number,
    read_pointer,
    write_pointer,
)
from pibuild.signing.key_files import is_signed
from pibuild.times import iso_z

INDEX, ROLLED_BACK = "index.html", "rolled-back.json"
TOP = (INDEX, ROLLED_BACK)
"""The files of the site's top folder that the pointer names."""
_REDIRECT = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url=current/">
<title>Wheels</title>
<p>The wheels are in <a href="current/">current/</a>.</p>
</html>
"""


def is_own(site: Site, set_id: str, *, also_former: bool = True) -> bool:
    """Return whether a set has the signature of this publication's key, or of a former one; True without a key.

    Its set.json must be the one that was signed.
    """
    if site.key is None:
        return True
    keys = (site.key.public_key(), *(site.former_keys if also_former else ()))
    return is_set_signed(site.folder / set_id, keys)


def is_set_signed(set_dir: Path, keys: Iterable[Ed25519PublicKey]) -> bool:
    """Return whether one of these keys signed SHA256SUMS of a set, and set.json has its sum."""
    try:
        listing, signature = (set_dir / SUMS).read_bytes(), (set_dir / f"{SUMS}.sig").read_bytes()
        sums = parsed_sums(set_dir.name, listing.decode("utf-8", "replace"))
        is_whole = sums.get(f"{set_dir.name}/set.json") == file_sha256(set_dir / "set.json")
    except OSError:
        return False
    return is_whole and any(is_signed(key, listing, signature) for key in keys)


def point_to(site: Site, set_id: str) -> None:
    """Make a set the current one: from one moment to the next, readers see it."""
    folder = site.folder
    staging_dir(folder).mkdir(exist_ok=True)
    make_public(folder)
    put_file(folder, NEXT, _next_pointer(site, set_id))
    put_file(folder, INDEX, _REDIRECT)
    link = staging_dir(folder) / "current"
    link.symlink_to(set_id)
    sync(folder)
    link.replace(folder / "current")
    sync(folder)
    (folder / NEXT).replace(folder / POINTER)
    sync(folder)


def renew(site: Site) -> None:
    """Extend the expiry of the signed pointer to the current set, if there are a key and a set."""
    set_id = current_id(site.folder)
    if site.key and set_id and is_own(site, set_id):
        put_file(site.folder, POINTER, _next_pointer(site, set_id))
        sync(site.folder)


def finish(site: Site) -> None:
    """Write the pointer and the front page again if they don't belong to the current set."""
    set_id = current_id(site.folder)
    if set_id and is_own(site, set_id):
        put_file(site.folder, INDEX, _REDIRECT)
        if not _is_pointed(site, set_id):
            put_file(site.folder, POINTER, _next_pointer(site, set_id))


def stored_pointer(site_dir: Path) -> PointerFile | None:
    """Return the site's current.json; None if there is none that can be read."""
    try:
        return read_pointer((site_dir / POINTER).read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _is_pointed(site: Site, set_id: str) -> bool:
    """Return whether current.json is a pointer to this set as it is, signed if there is a key."""
    stored = stored_pointer(site.folder)
    if stored is None or (site.key and not stored.is_signed_by([site.key.public_key()])):
        return False
    pointer = stored.pointer
    expected = (set_id, _sums_sha256(site.folder, set_id), _top(site.folder))
    return (pointer.set, pointer.sums_sha256, dict(pointer.top)) == expected


def _next_pointer(site: Site, set_id: str) -> bytes:
    """Return the content of the current.json that follows the present one."""
    stored = stored_pointer(site.folder)
    before = stored.pointer if stored else None
    if before and before.made and site.now + CLOCKS_DIFFER < datetime.fromisoformat(before.made):
        clock, made = f"the clock of this machine ({iso_z(site.now)})", f"the last publication ({before.made})"
        why = "readers reject a current.json that has expired by their clocks"
        site.console.warn(f"{clock} is behind {made}: set the clock, because {why}")
    pointer = Pointer(
        set=set_id,
        number=next_number(before.number if before else 0, site.now),
        made=iso_z(site.now),
        expires=iso_z(site.now + timedelta(days=site.expiry_days)) if site.key else "",
        sums_sha256=_sums_sha256(site.folder, set_id),
        top=_top(site.folder),
    )
    return write_pointer(pointer, site.key)


def _sums_sha256(site_dir: Path, set_id: str) -> str:
    path = site_dir / set_id / SUMS
    return file_sha256(path) if path.is_file() else ""


def _top(site_dir: Path) -> Mapping[str, str]:
    """Return the sha256 of each file of the top folder, as it is when the pointer is written."""
    present = [name for name in TOP if name != INDEX and (site_dir / name).is_file()]
    return {INDEX: hashlib.sha256(_REDIRECT).hexdigest(), **{name: file_sha256(site_dir / name) for name in present}}
