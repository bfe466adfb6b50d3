"""npm of this machine: the tarball of a package by name and version, as it was published."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pibuild.adapters.process import run
from pibuild.console import Progress
from pibuild.errors import SourceError, UnreachableError
from pibuild.files import file_sha256
from pibuild.model import NpmPlace

_DEADLINE_S = 900.0
_CHECK_DEADLINE_S = 40.0
_HINT = "apt-get install npm, or nodejs from its website"
_SILENT = re.compile(r"ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH")


class Npm:
    """The person's npm, with its registry, proxy and credentials."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Ask nothing yet."""
        self._environ = environ

    def check(self) -> None:
        """Ask the registry for a package. Raises SourceError if npm fails, UnreachableError if nothing answers."""
        with tempfile.TemporaryDirectory() as cache:  # the user's cache would answer without the network
            command = ["npm", "view", f"--cache={cache}", "--fetch-retries=0", "is-number@7.0.0", "version"]
            ended = run(command, self._environ, hint=_HINT, deadline_s=_CHECK_DEADLINE_S)
        if ended.exit_code:
            kind = UnreachableError if _SILENT.search(ended.err) else SourceError
            raise kind("npm's registry does not answer", found=ended.last_words)

    def download(self, place: NpmPlace, to: Path, progress: Progress) -> str:  # noqa: ARG002  npm reports none
        """Write the tarball; return its sha256. No script of the package runs."""
        with tempfile.TemporaryDirectory(dir=to.parent) as folder:
            command = ["npm", "pack", "--ignore-scripts", "--loglevel=error", f"{place.npm}@{place.version}"]
            ended = run(command, self._environ, hint=_HINT, deadline_s=_DEADLINE_S, cwd=Path(folder))
            packed = list(Path(folder).glob("*.tgz"))
            if ended.exit_code or len(packed) != 1:
                kind = UnreachableError if _SILENT.search(ended.err) else SourceError
                raise kind(f"npm can't download {place.npm} {place.version}", found=ended.last_words)
            packed[0].replace(to)
        return file_sha256(to)
