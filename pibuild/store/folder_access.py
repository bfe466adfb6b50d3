"""Which other users of the machine could change the files of the store.

Whoever can do that decides what this user builds, installs and signs. So a store that everybody may write to is
refused; a group, or another owner, may be meant, and gets a warning.
"""

import grp
import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from pibuild.errors import StoreError


def refuse_if_public(root: Path, folders: Iterable[Path]) -> None:
    """Raise StoreError if every user may write into the store, one of its folders, or a folder in which it lies."""
    for folder in (root, *folders):
        if folder.stat().st_mode & stat.S_IWOTH:
            _refuse(folder, f"chmod -R o-w {root}, and `pibuild clean --all` if strangers use this machine")
    for folder in root.resolve().parents:
        if folder.stat().st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
            _refuse(folder, f"chmod o-w {folder}, or name another folder (--store)")


def _refuse(folder: Path, hint: str) -> None:
    raise StoreError(
        f"Every user of this machine can write to {folder}, and so change what is built",
        expected="a folder that only its owner can write to",
        found=f"mode {stat.S_IMODE(folder.stat().st_mode):03o}",
        hint=hint,
    )


def writers_beside_user(root: Path) -> Iterator[str]:
    """Yield who else can write to the store: its owner, or a group. A group that is named like the user is its own."""
    state, user = root.stat(), os.geteuid()
    if state.st_uid not in (user, 0):
        yield f"its owner (user {_user(state.st_uid)})"
    if state.st_mode & stat.S_IWGRP and state.st_gid and _group(state.st_gid) != _user(user):
        yield f"the group {_group(state.st_gid)}"


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
