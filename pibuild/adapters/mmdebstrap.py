"""mmdebstrap: a root file system from the distribution's own packages."""

import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pibuild.adapters.process import run
from pibuild.errors import ImageError, SourceError
from pibuild.model import Base

_DEADLINE_S = 900.0
_HINT = "apt-get install mmdebstrap, or ci/pibuild, which does"
_PINS = "etc/apt/preferences.d/pibuild-lock"
_LIST = "opt/pibuild/packages/installed/base"
_WRITE_LIST = f"""
set -e
mkdir -p "$1/opt/pibuild/packages/installed"
dpkg-query --admindir="$1/var/lib/dpkg" --show --showformat '${{Package}}=${{Version}}\\n' \\
  | APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" xargs apt-cache show 2> /dev/null \\
  | awk -v group="%s" '/^Package: / {{ package = $2 }} /^Version: / {{ version = $2 }}
      /^SHA256: / {{ print group, package, version, $2 }}' | LC_ALL=C sort -u > "$1/{_LIST}"
rm -f "$1/{_PINS}"
"""
"""Writes what is installed as lines of a lock; apt has compared each file with the sha256 of its signed index."""


class Mmdebstrap:
    """The mmdebstrap of this machine, with the person's own proxies."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Keep its environment."""
        self._environ = environ

    def root_tar(
        self,
        base: Base,
        tar_path: Path,
        *,
        versions: Sequence[tuple[str, str]] = (),
        sources: Sequence[str] = (),
        include: Sequence[str] = (),
    ) -> str:
        """Write the suite's root file system as a tar; return its packages as lines of a lock.

        `versions` are names and versions of packages; any other version is taken only if no archive has the given one,
        or if they don't go together. `sources` are lines of a sources.list; without them the archive is Debian's.
        `include` are packages that the variant does not have. Raises ImageError if mmdebstrap is missing or fails.
        """
        failure = self._make(base, tar_path, versions, sources, include)
        if failure and versions:
            failure = self._make(base, tar_path, (), sources, include)
        if failure:
            raise ImageError(
                f"mmdebstrap can't make a root file system of {base.suite}",
                details=[f"| {line}" for line in failure.splitlines()[-10:]],
                hint="check that `apt-get update` works on this machine",
            )
        with tarfile.open(tar_path) as tar:
            member = tar.extractfile(f"./{_LIST}")
            return member.read().decode() if member else ""

    def _make(
        self,
        base: Base,
        tar_path: Path,
        versions: Sequence[tuple[str, str]],
        sources: Sequence[str],
        include: Sequence[str],
    ) -> str:
        """Run mmdebstrap; return what it printed if it failed."""
        tar_path.unlink(missing_ok=True)
        pins = "".join(f"Package: {name}\nPin: version {version}\nPin-Priority: 1001\n\n" for name, version in versions)
        options = [
            f"--variant={base.variant}",
            f"--components={','.join(base.components)}",
            *([f"--include={','.join(include)}"] if include else []),
            f'--setup-hook=mkdir -p "$1/etc/apt/preferences.d" && cat > "$1/{_PINS}" << \'END\'\n{pins}END',
            f"--customize-hook={_WRITE_LIST % f'debian {base.suite} amd64'}",
        ]
        command = ["mmdebstrap", *options, base.suite, str(tar_path), *sources]
        try:
            ended = run(command, self._environ, hint=_HINT, deadline_s=_DEADLINE_S)
        except SourceError as error:
            raise ImageError("The base image can't be made", found=error.what, hint=error.hint) from error
        return (ended.err or ended.out or f"exit code {ended.exit_code}") if ended.exit_code else ""
