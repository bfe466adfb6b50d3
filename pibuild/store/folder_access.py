"""Checks which other users of the machine could change the files of the store.

Such a user decides what this user builds, installs and signs. So a store that everybody may write to is refused. A
group or another owner may be intended, and causes a warning.
"""

import grp
import os
import pwd
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from pibuild.errors import StoreError

_OF_ONE_MACHINE = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "tmpfs", "xfs", "zfs"}
)
"""File systems that no other machine can write to, unless it exports them."""


def refuse_if_public(root: Path, folders: Iterable[Path]) -> None:
    """Raise StoreError if every user may write into the store or one of its folders."""
    for folder in (root, *folders):
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & stat.S_IWOTH:
            raise StoreError(
                f"Every user of this machine can write to {folder}, and so change what is built",
                expected="a folder that only its owner can write to",
                found=f"mode {mode:03o}",
                hint=f"chmod -R o-w {root}, and `pibuild clean --all` if strangers use this machine",
            )


def writers_beside_user(root: Path) -> Iterator[str]:
    """Yield the other users who can change the store or replace it: the owner or group of a folder, or every user.

    A group that is named like the user is its own. In a sticky folder, only its owner can replace what is another's.
    """
    state = root.stat()
    if _is_of_another(state):
        yield f"its owner (user {_user(state.st_uid)})"
    if _has_group(state):
        yield f"the group {_group(state.st_gid)}"
    for folder in root.resolve().parents:
        state = folder.stat()
        if _is_of_another(state):
            yield f"the owner of {folder} (user {_user(state.st_uid)})"
        if state.st_mode & stat.S_ISVTX:
            continue
        if _has_group(state):
            yield f"the group {_group(state.st_gid)} of {folder}"
        if state.st_mode & stat.S_IWOTH:
            yield f"every user who can write to {folder}"


def is_own_folder(folder: Path) -> bool:
    """Return whether only this user of this machine can write to a folder, or to the one in which it would be made."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists()).resolve()
    state = existing.stat()
    is_private = state.st_uid == os.geteuid() and not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return is_private and _file_system(existing) in _OF_ONE_MACHINE


def _is_of_another(state: os.stat_result) -> bool:
    return state.st_uid not in (os.geteuid(), 0)


def _has_group(state: os.stat_result) -> bool:
    """Return whether a group of other users may write."""
    return bool(state.st_mode & stat.S_IWGRP and state.st_gid) and _group(state.st_gid) != _user(os.geteuid())


def _file_system(folder: Path) -> str:
    """Return the type of the file system that a folder is on, as Linux names it; "" if that is not known."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    # source: proc(5); the fifth field is the place, and the type stands behind a lone hyphen
    mounts = [(line.split()[4], line.partition(" - ")[2].split()[0]) for line in lines]
    decoded = [(Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), place)), kind) for place, kind in mounts]
    above = [(len(place.parts), number, kind) for number, (place, kind) in enumerate(decoded) if _is_in(folder, place)]
    return max(above)[2] if above else ""


def _is_in(folder: Path, place: Path) -> bool:
    return folder == place or place in folder.parents


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
