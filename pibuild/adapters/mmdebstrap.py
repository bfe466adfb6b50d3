"""mmdebstrap: a root file system from the distribution's own packages, where no registry of images is reached."""

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
        """Keep the environment that it will run in."""
        self._environ = dict(environ)

    def root_tar(self, base: Base, tar_path: Path) -> None:
        """Write the suite's root file system as a tar; ImageError where mmdebstrap is missing or fails."""
        if shutil.which("mmdebstrap", path=self._environ.get("PATH")) is None:
            raise ImageError(
                "No registry of images is reached, and mmdebstrap, which makes the base image without one, is missing",
                hint="ci/pibuild installs it; by hand: apt-get install mmdebstrap",
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
            raise ImageError(f"mmdebstrap was not done within {_DEADLINE_S} s", hint="look at the network") from error
        if ended.returncode:
            raise ImageError(
                f"mmdebstrap could not make a root file system of {base.suite}",
                details=[f"| {line}" for line in ended.stderr.splitlines()[-10:]],
                hint="see whether `apt-get update` works on this machine",
            )
