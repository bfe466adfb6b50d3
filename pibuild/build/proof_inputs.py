"""The files that judge a wheel: a wheel is proven again when one of them changes, and never because of another file."""

from pathlib import Path

import pibuild
from pibuild.config.project_files import folder_digest, proof_files


def proof_digest() -> str:
    """Return a digest of all that judges a wheel."""
    package = Path(pibuild.__file__).parent
    judges = [package / "machinecode", package / "wheels", package / "verify", package / "device", *proof_files()]
    judges += [package / "build" / "prove.py"]
    judges += [package / "config" / f"pis.{ending}" for ending in ("py", "yaml")]
    return folder_digest(*judges)
