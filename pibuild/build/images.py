"""Images: each is made if the engine lacks it, after those that it stands on.

Knows Dockerfiles' contexts and the two ways to a base. Which images a build needs, and their names, is planning's
knowledge.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pibuild.build.container import Transcript
from pibuild.build.context import BuildContext
from pibuild.build.graph import with_parents
from pibuild.config.dockerfiles import load_base
from pibuild.config.project_files import own_files, project_folder
from pibuild.console import Step
from pibuild.errors import EngineError, ImageError
from pibuild.model import Image
from pibuild.trees.tree import write_files

ORIGIN_LABEL = "pibuild.base"


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentImage:
    """An image that the engine has."""

    reference: str
    id: str
    """The engine's digest of it."""
    origin: str
    """Where the base at its bottom came from."""

    def facts(self) -> dict[str, str]:
        """Return the image as records have it."""
        return {"reference": self.reference, "id": self.id, "base": self.origin}


def ensure_image(image: Image, context: BuildContext) -> PresentImage:
    """Make an image, after those that it stands on, if the engine lacks it.

    Raises ImageError if it can't be made, with the Dockerfile's last lines and the log; with --offline at once.
    """
    engine = context.engine
    with context.timed("images"), context.once(image.reference):
        missing = with_parents([image], lambda part: engine.image_id(part.reference))
        if missing and context.settings.offline:
            raise ImageError(
                f"The image {image.reference} does not exist, and making it needs packages from the network",
                hint="pibuild fetch with a network, then the same command with --offline",
            )
        for part in missing:
            _make(part, context)
        image_id = engine.image_id(image.reference)
        if image_id is None:
            raise ImageError(
                f"The engine made {image.reference} but does not have it", hint="run the same command again"
            )
        origin = engine.image_labels(image.reference).get(ORIGIN_LABEL, "unknown")
    return PresentImage(reference=image.reference, id=image_id, origin=origin)


def _make(image: Image, context: BuildContext) -> None:
    lock_name = image.reference.replace("/", "_").replace(":", "_")
    with context.store.lock(lock_name, f"making the image {image.reference}"):
        if context.engine.image_id(image.reference) is not None:  # by the pibuild that held the lock
            return
        with context.console.step(f"making the image {image.reference}") as step:
            if image.parents:
                _build(image, context, step)
            else:
                _import_base(image, context)


def _import_base(image: Image, context: BuildContext) -> None:
    """Take the base from its registry by digest, else make it from the distribution's packages."""
    base, engine = load_base(project_folder("dockerfiles")), context.engine
    try:
        engine.pull(base.pinned, f"{image.reference}-pulled")
        dockerfile = f"FROM {image.reference}-pulled\n".encode()
        engine.build_image(
            image.reference, _tar({"Dockerfile": dockerfile}), {}, {ORIGIN_LABEL: base.pinned}, lambda _: None
        )
    except (ImageError, EngineError) as error:
        context.console.debug(str(error))
        context.console.note(f"  no registry has {base.pinned}: making it from {base.suite}'s packages with mmdebstrap")
        with context.store.staging() as staging:
            context.bootstrap.root_tar(base, staging / "root.tar")
            engine.import_root(staging / "root.tar", image.reference, {ORIGIN_LABEL: f"mmdebstrap {base.suite}"})


def _build(image: Image, context: BuildContext, step: Step) -> None:
    args = dict(image.args) | {parent.name.upper(): parent.reference for parent in image.parents}
    if "ARG JOBS" in (image.folder / "Dockerfile").read_text():
        args["JOBS"] = str(context.limits.cpus)
    origin = context.engine.image_labels(image.parents[0].reference).get(ORIGIN_LABEL, "unknown")
    files = {path.relative_to(image.folder).as_posix(): path for path in own_files(image.folder)}
    log_path = context.store.log_path(image.reference.replace("/", "-").replace(":", "-"))
    with Transcript(log_path, step, context.console) as transcript:
        try:
            context.engine.build_image(image.reference, _tar(files), args, {ORIGIN_LABEL: origin}, transcript)
        except ImageError as error:
            raise ImageError(
                error.what,
                found=error.found,
                details=transcript.last_lines,
                log=log_path,
                hint="pibuild doctor checks the network and the disk",
            ) from error


def _tar(files: Mapping[str, Path | bytes]) -> bytes:
    buffer = io.BytesIO()
    write_files(buffer, files)
    return buffer.getvalue()
