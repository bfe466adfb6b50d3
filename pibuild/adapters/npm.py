"""npm of this machine: the tarball of a package by name and version, as it was published."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pibuild.adapters.process import run, with_home
from pibuild.console import Progress
from pibuild.errors import SourceError, UnreachableError
from pibuild.files import file_sha256
from pibuild.model import NpmPlace

_DEADLINE_S = 900.0
_CHECK_DEADLINE_S = 40.0
_HINT = "apt-get install npm, or nodejs from its website"
_SILENT = re.compile(r"ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH")
_ERROR_LINE = re.compile(r"^npm (?:error|ERR!) (\S.*)", re.MULTILINE)


class Npm:
    """The person's npm, with its registry, proxy and credentials."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Keep npm's environment."""
        self._environ = environ

    def check(self) -> None:
        """Ask the registry for a package. Raises as download does."""
        with tempfile.TemporaryDirectory() as folder:  # the user's cache would answer without the network
            words = ("view", f"--cache={folder}", "--fetch-retries=0", "is-number@7.0.0", "version")
            self._npm(*words, failure="npm can't ask its registry", folder=Path(folder), deadline_s=_CHECK_DEADLINE_S)

    def download(self, place: NpmPlace, to: Path, progress: Progress) -> str:  # noqa: ARG002  npm reports none
        """Write the tarball; return its sha256. No script of the package runs.

        Raises SourceError if npm is missing or fails, UnreachableError if its registry does not answer.
        """
        with tempfile.TemporaryDirectory(dir=to.parent) as folder:
            words = ("pack", "--ignore-scripts", "--loglevel=error", f"{place.npm}@{place.version}")
            failure = f"npm can't download {place.npm} {place.version}"
            self._npm(*words, failure=failure, folder=Path(folder), deadline_s=_DEADLINE_S)
            packed = list(Path(folder).glob("*.tgz"))
            if len(packed) != 1:
                raise SourceError(failure, expected="one tarball", found=f"{len(packed)} tarballs")
            packed[0].replace(to)
        return file_sha256(to)

    def _npm(self, *words: str, failure: str, folder: Path, deadline_s: float) -> None:
        """Run npm in a folder, which is also the home folder of a user who has none. `failure` begins an error."""
        environ = with_home(self._environ, folder)
        ended = run(["npm", *words], environ, hint=_HINT, deadline_s=deadline_s, cwd=folder)
        if ended.exit_code:
            hint = "check npm's registry and proxy: npm config list"
            if _SILENT.search(ended.err):
                raise UnreachableError(f"npm's registry does not answer: {_cause(ended.err)}", hint=hint)
            raise SourceError(failure, found=_cause(ended.err) or ended.last_words, hint=hint)


def _cause(messages: str) -> str:
    """Return why a request failed, else the first lines of npm's error."""
    lines = [line for line in _ERROR_LINE.findall(messages) if not line.startswith("A complete log")]
    reasons = [reason for line in lines if (reason := line.partition("reason: ")[2])]
    return reasons[0] if reasons else "; ".join(lines[:3])
