"""mmdebstrap: a root file system from the distribution's own packages, if no registry of images is reachable."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pibuild.errors import ImageError
from pibuild.model import Base

_DEADLINE_S = 900


class Mmdebstrap:
    """The mmdebstrap of this machine, with the person's own proxies."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Keep its environment."""
        self._environ = dict(environ)

    def root_tar(self, base: Base, tar_path: Path) -> None:
        """Write the suite's root file system as a tar. Raises ImageError if mmdebstrap is missing or fails."""
        if shutil.which("mmdebstrap", path=self._environ.get("PATH")) is None:
            raise ImageError(
                "The base image can't be downloaded, and mmdebstrap, which makes it, is missing",
                hint="apt-get install mmdebstrap, or ci/pibuild, which does",
            )
        command = [
            "mmdebstrap",
            f"--variant={base.variant}",
            f"--components={','.join(base.components)}",
            base.suite,
            str(tar_path),
        ]
        try:
            ended = subprocess.run(
                command, env=self._environ, capture_output=True, text=True, timeout=_DEADLINE_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ImageError(f"mmdebstrap was not done within {_DEADLINE_S} s", hint="check the network") from error
        if ended.returncode:
            raise ImageError(
                f"mmdebstrap can't make a root file system of {base.suite}",
                details=[f"| {line}" for line in ended.stderr.splitlines()[-10:]],
                hint="check that `apt-get update` works on this machine",
            )
