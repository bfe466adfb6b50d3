"""Makes an image, or downloads it, and uploads it, as a build does after the check of a toolchain.

usage: python share_image.py FOLDER NAME      in the folder of a machine

Prints the digest by which the image was downloaded; an empty line if it was made here.
"""

import os
import sys
from pathlib import Path

from pibuild.build.context import open_context
from pibuild.build.images import ensure_image
from pibuild.config.settings_sources import load_settings
from pibuild.console import Console
from pibuild.errors import PibuildError
from pibuild.model import Image


def main(folder: Path, name: str) -> int:
    """Share the image of a Dockerfile on a base that is only here; return the exit code of an error."""
    console = Console()
    base_name = name.replace(":", "-base:")
    base = Image(name="base", reference=base_name, locked=base_name, folder=folder / "base", args=(), parents=())
    image = Image(name="small", reference=name, locked=name, folder=folder / "small", args=(), parents=(base,))
    try:
        with open_context(load_settings({}, {}, Path.cwd()), dict(os.environ), console) as context:
            present = ensure_image(image, context)
            context.image_registry.push(image)
    except PibuildError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(f"{present.digest}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
