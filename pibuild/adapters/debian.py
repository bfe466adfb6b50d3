"""Debian: one file of a source package, from the mirror that this machine's apt uses.

A mirror has files in pool/ by the package's name. The pinned file is first looked for there, which needs no index and
finds files that the suite no longer lists; then in apt's signed index of the suite.
"""

import hashlib
import re
import shlex
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from urllib.parse import quote, urlsplit

from pibuild.adapters.http import Http, Route, local_path
from pibuild.adapters.process import Ended, run
from pibuild.console import Progress
from pibuild.errors import SourceError, UnreachableError
from pibuild.files import write_atomically
from pibuild.model import DebianPlace
from pibuild.urls import host

_DEADLINE_S = 300.0
_HINT = "use a Debian machine, or name another place for this source"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_RELEASE = re.compile(r"^'([^']+?)/dists/([^']+)/InRelease'", re.MULTILINE)
_FILE = re.compile(r"^'([^']+)' (\S+) \d+ SHA256:([0-9a-f]{64})", re.MULTILINE)


class Debian:
    """The apt of this machine. Its settings are read and never changed; root is not needed."""

    def __init__(self, http: Http, environ: Mapping[str, str], *, state_dir: Path, note: Callable[[str], None]) -> None:
        """Keep the client and the environment. apt writes its indexes into `state_dir`, which may be deleted."""
        self._http, self._environ, self._state_dir, self._note = http, environ, state_dir, note
        self._updated: set[tuple[str, str]] = set()

    def download(self, place: DebianPlace, to: Path, progress: Progress) -> str:
        """Write the file; return its sha256.

        Raises SourceError if no mirror has it or apt is missing, UnreachableError if no mirror answers.
        """
        found: list[str] = []
        silent: UnreachableError | None = None
        for mirror in self.mirrors:
            for address in (self._in_pool, self._in_index):
                try:
                    return self._http.download(address(mirror, place), to, progress, self._route)
                except UnreachableError as error:
                    silent = error
                    break
                except SourceError as error:
                    found.append(error.line)
        if silent and not found:
            raise silent
        raise SourceError("no mirror of this machine's apt has it", found="; ".join(dict.fromkeys(found)))

    def check(self) -> str:
        """Send a request to each mirror, and return their hosts.

        Raises SourceError if apt has no mirror or is missing, UnreachableError if a mirror is silent.
        """
        for mirror in self.mirrors:
            self._http.has(f"{mirror}/dists/stable/InRelease", self._route)
        return ", ".join(host(mirror) or mirror for mirror in self.mirrors)

    def _in_pool(self, mirror: str, place: DebianPlace) -> str:
        """Return the file's address in the pool, where it is as long as the mirror has it.

        Source: Debian's archive layout, `pool/COMPONENT/LETTER/PACKAGE/`, with four letters for libraries.
        """
        letter = place.debian[:4] if place.debian.startswith("lib") else place.debian[0]
        return f"{mirror}/pool/main/{letter}/{place.debian}/{quote(place.file)}"

    def _in_index(self, mirror: str, place: DebianPlace) -> str:
        """Return the file's address in the suite's signed index, or beside the package's other files."""
        options = self._private(mirror, place.suite)
        if (mirror, place.suite) not in self._updated:
            self._note(f"  asking {host(mirror) or mirror} for the index of {place.suite}")
            updated = self._apt_get(*options, "update")
            if updated.exit_code:
                hint = "apt-get install debian-archive-keyring" if "NO_PUBKEY" in updated.err else ""
                raise SourceError(f"apt can't download the index of {place.suite}", found=updated.last_words, hint=hint)
            self._updated.add((mirror, place.suite))
        listed = self._apt_get(*options, "--print-uris", "--only-source", "source", place.debian)
        files = {name: (address, sha256) for address, name, sha256 in _FILE.findall(listed.out)}
        if not files:
            raise SourceError(f"{place.suite} has no source package {place.debian}", found=listed.last_words)
        if place.file not in files:
            folder = next(iter(files.values()))[0].rpartition("/")[0]
            self._note(f"  {place.suite} now has {', '.join(name for name in files if '.orig.' in name)}")
            return f"{folder}/{quote(place.file)}"
        address, sha256 = files[place.file]
        if sha256 != place.sha256:
            raise SourceError(f"{place.suite} has another {place.file}", found=f"sha256 {sha256}")
        return str(address)

    def _private(self, mirror: str, suite: str) -> list[str]:
        """Write a configuration with only this suite's sources; return the options that select it.

        Only this user can read it, since apt's sources may have a password.
        """
        folder = self._state_dir / f"{hashlib.sha256(mirror.encode()).hexdigest()[:12]}-{suite}"
        (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        signed = f" [signed-by={_KEYRING}]" if _KEYRING.exists() else ""
        write_atomically(folder / "sources.list", f"deb-src{signed} {mirror} {suite} main contrib non-free\n", 0o600)
        settings = {
            "Dir::Etc::sourcelist": folder / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": folder / "lists",
            "Dir::Cache": folder / "cache",
            "Acquire::Check-Valid-Until": "false",
            "Acquire::Languages": "none",
            "APT::Sandbox::User": "root",
        }
        return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]

    @cached_property
    def mirrors(self) -> tuple[str, ...]:
        """The Debian archives that apt uses, in whichever format its sources are written."""
        ended = self._used
        archives = [archive for archive, suite in _RELEASE.findall(ended.out) if "security" not in suite]
        named = [mirror for archive in archives for mirror in _listed_mirrors(archive)]
        debian = [mirror for mirror in named if urlsplit(mirror).path.rstrip("/").endswith("debian")]
        if not named:
            raise SourceError("This machine's apt has no Debian mirror", found=ended.last_words, hint=_HINT)
        return tuple(dict.fromkeys(mirror.rstrip("/") for mirror in debian or named))

    def package_sources(self, suite: str, *, has_fixes: bool) -> tuple[str, ...]:
        """Return lines of a sources.list for a suite's binary packages, from the first mirror.

        `has_fixes` adds updates, and security fixes from the archive that apt has those of this machine from, or else
        from the one beside the mirror.
        """
        mirror = self.mirrors[0]
        secure = [archive for archive, part in _RELEASE.findall(self._used.out) if "security" in part]
        listed = [address.rstrip("/") for archive in secure for address in _listed_mirrors(archive)]
        places = [(mirror, suite)]
        if has_fixes:
            places += [(mirror, f"{suite}-updates"), ((listed or [f"{mirror}-security"])[0], f"{suite}-security")]
        signed = f" [signed-by={_KEYRING}]" if _KEYRING.exists() else ""
        return tuple(f"deb{signed} {address} {part} main" for address, part in places)

    @cached_property
    def _used(self) -> Ended:
        """The indexes that apt uses, as apt prints them."""
        lists_dir = self._state_dir / "no-lists"
        (lists_dir / "partial").mkdir(parents=True, exist_ok=True)
        return self._apt_get("-o", f"Dir::State::lists={lists_dir}", "--print-uris", "update")

    @cached_property
    def _route(self) -> Route:
        """The proxies that apt uses."""
        names = {"http": "Acquire::http::Proxy", "https": "Acquire::https::Proxy"}
        words = [word for scheme, name in names.items() for word in (scheme, name)]
        ended = run(["apt-config", "shell", *words], self._environ, hint=_HINT, deadline_s=_DEADLINE_S)
        set_ones = dict(word.split("=", 1) for word in shlex.split(ended.out))
        return Route(proxies={scheme: proxy for scheme, proxy in set_ones.items() if proxy and proxy != "DIRECT"})

    def _apt_get(self, *words: str) -> Ended:
        return run(["apt-get", "-q", *words], {**self._environ, "LC_ALL": "C"}, hint=_HINT, deadline_s=_DEADLINE_S)


def _listed_mirrors(archive: str) -> list[str]:
    """Return the mirrors that a file lists, as in Debian's cloud images; any other archive is a mirror itself."""
    if not archive.startswith("mirror+file:"):
        return [archive]
    path = local_path(archive.removeprefix("mirror+"))
    if not path.exists():
        return []
    return [line.split()[0] for line in path.read_text().splitlines() if line.startswith(("http:", "https:"))]
