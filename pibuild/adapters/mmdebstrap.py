"""mmdebstrap: a root file system from the distribution's own packages, if no registry of images is reachable."""

from collections.abc import Mapping
from pathlib import Path

from pibuild.adapters.process import run
from pibuild.errors import ImageError, SourceError
from pibuild.model import Base

_DEADLINE_S = 900.0
_HINT = "apt-get install mmdebstrap, or ci/pibuild, which does"


class Mmdebstrap:
    """The mmdebstrap of this machine, with the person's own proxies."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Keep its environment."""
        self._environ = environ

    def root_tar(self, base: Base, tar_path: Path) -> None:
        """Write the suite's root file system as a tar. Raises ImageError if mmdebstrap is missing or fails."""
        options = [f"--variant={base.variant}", f"--components={','.join(base.components)}"]
        command = ["mmdebstrap", *options, base.suite, str(tar_path)]
        try:
            ended = run(command, self._environ, hint=_HINT, deadline_s=_DEADLINE_S)
        except SourceError as error:
            raise ImageError("The base image can't be pulled or made", found=error.what, hint=error.hint) from error
        if ended.exit_code:
            raise ImageError(
                f"mmdebstrap can't make a root file system of {base.suite}",
                details=[f"| {line}" for line in ended.err.splitlines()[-10:]],
                hint="check that `apt-get update` works on this machine",
            )
