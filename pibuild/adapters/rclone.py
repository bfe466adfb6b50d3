"""rclone: files of any remote that it knows, by path.

Remotes, their keys and proxies are the person's own: rclone reads them from its configuration and the environment.
What the bytes ought to be is its callers' knowledge.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from pibuild.adapters.process import Ended, run
from pibuild.errors import SourceError

_PATIENCE = ("--contimeout=10s", "--timeout=60s", "--retries=1", "--low-level-retries=4")
"""Its own retries begin all over again, also where a file is simply not there; those of a lower level do not."""
_DEADLINE_S = 3600
_WRITTEN_OUT = r'for ":(?:[^"\\]|\\.)*": '
_NOT_THERE = {3, 4}
"""Exit codes: no such folder, no such file; https://rclone.org/docs/#exit-code."""


class Rclone:
    """The program on this machine."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Start nothing yet."""
        self._environ = environ

    def get(self, remote_path: str, to: Path) -> bool:
        """Write a file if the remote has it; SourceError where it does not answer or refuses."""
        # Its own checksums take three times as long as the copy, and callers know what they expect.
        ended = self._run("copyto", "--ignore-checksum", remote_path, str(to))
        return ended.exit_code not in _NOT_THERE and to.is_file()

    def put(self, from_path: Path, remote_path: str) -> None:
        """Have the remote keep a file under a path; errors as of get."""
        self._run("copyto", "--ignore-times", str(from_path), remote_path)

    def exists(self, remote_path: str) -> bool:
        """Tell whether the remote has a file; errors as of get."""
        ended = self._run("lsf", remote_path)
        return ended.exit_code not in _NOT_THERE and bool(ended.out.strip())

    def _run(self, command: str, *words: str) -> Ended:
        ended = run(
            ["rclone", command, "--quiet", *_PATIENCE, *words],
            self._environ,
            hint="apt-get install rclone",
            deadline_s=_DEADLINE_S,
        )
        if ended.exit_code and ended.exit_code not in _NOT_THERE:
            # a remote that is written out has its password in it, and rclone tells all of it
            raise SourceError("rclone failed", found=re.sub(_WRITTEN_OUT, "", ended.last_words))
        return ended
