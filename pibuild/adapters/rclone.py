"""rclone: files to and from any store that it supports, with the user's own remotes and credentials.

Remote paths are those of rclone: `remote:path`, a folder of this machine, or `:webdav,url='…':path`. All given files
are sent, even those that seem equal, because stores without hashes and times can't compare them.
"""

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pibuild.adapters.process import Ended, run
from pibuild.errors import ResourceError, SourceError, TooLargeError, UnreachableError
from pibuild.files import is_disk_full, remove_abandoned, unfinished_path
from pibuild.urls import Address

_HINT = "apt-get install rclone"
_DEADLINE_S = 6 * 3600.0
_OWN_UMASK = -1
"""The umask of this process."""
_PATIENCE = ("--retries=1", "--low-level-retries=3", "--contimeout=15s", "--timeout=120s")
_NOT_FOUND = (3, 4)
"""Exit codes: a folder, a file. Source: `rclone help`, "Exit Code"."""
_MOST_TEXT_BYTES = 64 << 20
"""The largest text that is read into memory."""
_LIMIT_REACHED = 8
"""Exit code: --max-transfer."""
_PREFIX = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d (?:(?:ERROR|NOTICE|CRITICAL)\s*: )?")
_FULL = re.compile(r"no space left on device|remaining disk space|insufficient storage|quota|disk full", re.IGNORECASE)
_SILENT = re.compile(
    r"connection refused|no such host|no route to host|network is unreachable|i/o timeout|connection reset"
    r"|connection timed out|server misbehaving",
    re.IGNORECASE,
)
_DENIED = re.compile(r"\b40[13]\b|access ?denied|permission denied|forbidden|unauthori[sz]ed", re.IGNORECASE)


class Rclone:
    """The rclone of this machine."""

    def __init__(self, environ: Mapping[str, str], *, deadline_s: float = _DEADLINE_S, umask: int = _OWN_UMASK) -> None:
        """Keep rclone's environment. `deadline_s` limits a transfer; `umask` is for files on this machine."""
        self._environ, self._deadline_s, self._umask = environ, deadline_s, umask

    def has(self, remote_path: str) -> bool:
        """Return whether there is a file or a folder."""
        return self._unless_missing("lsjson", "--stat", remote_path) is not None

    def cat(self, remote_path: str) -> str | None:
        """Return the text of a file, up to a limit; None if there is no such file."""
        ended = self._unless_missing("cat", f"--head={_MOST_TEXT_BYTES}", remote_path)
        return None if ended is None else ended.out

    def get(self, remote_path: str, to: Path, most_bytes: int) -> bool:
        """Download a file, which appears by rename; return whether there is one.

        Raises TooLargeError when more than `most_bytes` came, and for a folder.
        """
        with tempfile.TemporaryDirectory(dir=to.parent, prefix=f".{to.name}.") as folder:
            staged = Path(folder) / to.name
            # its checksums cost more than the copy, and callers check the files
            limit = (f"--max-transfer={most_bytes + 1}B", "--cutoff-mode=hard")
            if self._unless_missing("copyto", "--ignore-checksum", *limit, remote_path, str(staged)) is None:
                return False
            if not staged.is_file() or staged.stat().st_size > most_bytes:  # of a folder, copyto makes a folder
                raise TooLargeError(f"{Address(remote_path)} is no file, or larger than expected")
            staged.replace(to)
        return True

    def put(self, path: Path, remote_path: str) -> None:
        """Send a file, replacing the one there; in a folder of this machine by rename."""
        if not remote_path.startswith("/"):
            self._done("copyto", "--ignore-times", str(path), remote_path)
            return
        place = Path(remote_path)
        staged = unfinished_path(place)
        try:
            self._done("copyto", "--ignore-times", str(path), str(staged))
            with _named(remote_path):
                remove_abandoned(place, staged)
                staged.replace(place)
        finally:
            staged.unlink(missing_ok=True)

    def copy_tree(
        self, folder: Path, remote_path: str, *, paths: Sequence[str] | None = None, exactly: bool = False
    ) -> None:
        """Send a folder, or only these paths of it; `exactly` then removes everything else there.

        With `exactly`, files in a folder of this machine are replaced by rename: rclone before 1.63 writes into them.
        """
        if exactly and remote_path.startswith("/"):
            place = Path(remote_path)
            staged = place.with_name(f".{place.name}.new")
            with _named(remote_path):
                _remove_links(place, staged)
            self._done("sync", "--ignore-times", str(folder), str(staged))
            with _named(remote_path):
                _replace_files(staged, place)
            return
        if paths and remote_path.startswith("/"):
            with _named(remote_path):
                _remove_links_to(paths, Path(remote_path))
        with _listed(paths) as listed:
            self._done("sync" if exactly else "copy", "--ignore-times", *listed, str(folder), remote_path)

    def differing(self, folder: Path, remote_path: str, paths: Sequence[str], *, by_size: bool = False) -> set[str]:
        """Return those of these paths that are missing or different there, by a hash that both sides have.

        If the store has none, each file is read back. `by_size` compares sizes only.
        """
        if not paths:
            return set()
        with _listed(paths) as listed:
            ended = self._compare(folder, remote_path, *(["--size-only"] if by_size else []), *listed)
            if not by_size and "hashes could not be checked" in ended.err:
                ended = self._compare(folder, remote_path, "--download", *listed)
        if ended.exit_code in _NOT_FOUND:
            return set(paths)  # the folder does not exist
        lines = [line.partition(" ") for line in ended.out.splitlines()]
        differing = {path for mark, _, path in lines if mark in ("+", "*")}
        if any(mark == "!" for mark, _, _ in lines) or (ended.exit_code and not differing):
            raise _translated(ended, "check", remote_path)
        return differing

    def delete(self, remote_path: str) -> None:
        """Remove a folder with its contents, or a file, if there is one."""
        ended = self._unless_missing("lsjson", "--stat", remote_path)
        if ended is not None:
            self._done("purge" if '"IsDir": true' in ended.out else "deletefile", remote_path)

    def _bound_to_parent(self) -> list[str]:
        """Return the words before a command that let Linux end it with this process, even if this one is killed.

        An rclone that outlives pibuild would write pages of an old set between those of the next set.
        """
        path = self._environ.get("PATH")
        has_both = shutil.which("setpriv", path=path) and shutil.which("rclone", path=path)
        return ["setpriv", "--pdeathsig=KILL"] if has_both else []

    def _compare(self, folder: Path, remote_path: str, *options: str) -> Ended:
        return self._run("check", "--one-way", "--combined=-", *options, str(folder), remote_path)

    def _unless_missing(self, verb: str, *words: str) -> Ended | None:
        """Run a command of rclone and return its end; None if there is no such file or folder."""
        ended = self._run(verb, *words)
        if ended.exit_code in _NOT_FOUND:
            return None
        if ended.exit_code:
            raise _translated(ended, verb, *words)
        return ended

    def _done(self, verb: str, *words: str) -> None:
        ended = self._run(verb, *words)
        if ended.exit_code:
            raise _translated(ended, verb, *words)

    def _run(self, verb: str, *words: str) -> Ended:
        if secret := next((address for address in map(Address, words) if address.has_secret), None):
            hint = "make a remote of it (rclone config), or set RCLONE_CONFIG_NAME_… variables"
            what = f"{secret} has a secret in it, which a command line shows to every user"
            raise SourceError(what, hint=hint)
        try:
            command = [*self._bound_to_parent(), "rclone", verb, *_PATIENCE, *words]
            return run(command, self._environ, hint=_HINT, deadline_s=self._deadline_s, umask=self._umask)
        except OSError as error:
            if not is_disk_full(error):
                raise
            raise _full(str(Address(words[-1])), str(error)) from error


def _remove_links(place: Path, staged: Path) -> None:
    """Remove links in two folders, through which files elsewhere would be replaced and removed.

    Raises SourceError if the first folder is a link itself: readers would miss it until the new one is complete.
    """
    if place.is_symlink():
        hint = "find out who made this link, and remove it"
        raise SourceError(f"{place} is a link, expected a folder", found=str(place.readlink()), hint=hint)
    for path in [path for path in (staged, *staged.rglob("*"), *place.rglob("*")) if path.is_symlink()]:
        path.unlink(missing_ok=True)


def _remove_links_to(paths: Iterable[str], place: Path) -> None:
    """Remove links in a folder at these paths and on the way to them: rclone would write through them."""
    for part in sorted({part for path in paths for part in (Path(path), *Path(path).parents)}):
        if part != Path() and (place / part).is_symlink():
            (place / part).unlink()


def _replace_files(staged: Path, place: Path) -> None:
    """Move files to their places by rename, pages below others first; then remove what is not among them."""
    names = [path.relative_to(staged) for path in staged.rglob("*")]
    for name in (Path(), *sorted(name for name in names if (staged / name).is_dir())):
        (place / name).mkdir(exist_ok=True)
        (place / name).chmod((staged / name).stat().st_mode)
    for name in sorted((name for name in names if (staged / name).is_file()), key=lambda name: -len(name.parts)):
        (staged / name).replace(place / name)
    for path in sorted(place.rglob("*"), reverse=True):
        if path.relative_to(place) not in names:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    shutil.rmtree(staged)


@contextmanager
def _named(remote_path: str) -> Iterator[None]:
    """Translate what the system refuses in a folder of this machine."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise _full(remote_path, str(error)) from error
        raise SourceError(f"{remote_path} can't be written", found=str(error)) from error


@contextmanager
def _listed(paths: Sequence[str] | None) -> Iterator[list[str]]:
    """Write paths to a file for rclone, because a command line is too short for many."""
    if paths is None:
        yield []
        return
    with tempfile.NamedTemporaryFile("w", prefix="pibuild-paths-") as file:
        file.writelines(f"{path}\n" for path in paths)
        file.flush()
        yield [f"--files-from-raw={file.name}"]


def _translated(ended: Ended, verb: str, *words: str) -> SourceError | ResourceError:
    """Return the error that rclone met, with a hint."""
    message = "\n".join(_PREFIX.sub("", line) for line in ended.err.splitlines())
    remote = str(Address(words[-1]))
    if ended.exit_code == _LIMIT_REACHED:
        return TooLargeError(f"{Address(words[-2])} is larger than expected")
    found = Ended(exit_code=ended.exit_code, out="", err=message).last_words
    if _FULL.search(message):
        return _full(remote, found)
    if _SILENT.search(message):
        hint = "check the network and the server; the same command continues from here"
        return UnreachableError(f"{remote} is not reachable", found=found, hint=hint)
    if "find section in config file" in message:
        return SourceError(f"rclone has no remote {remote}", found=found, hint="rclone config")
    if _DENIED.search(message):
        hint = "check the credentials of that remote and their rights (rclone config)"
        return SourceError(f"{remote} rejects the request", found=found, hint=hint)
    return SourceError(f"rclone {verb} failed at {remote}", found=found)


def _full(remote: str, found: str) -> ResourceError:
    return ResourceError(f"No space left at {remote}", found=found, hint="make room there, or raise its quota")
