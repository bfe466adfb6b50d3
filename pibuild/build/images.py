"""Images: each made when the engine lacks it, those it stands on first.

Knows Dockerfiles' contexts and the two ways to a base. Which images a build wants, and their names, is plan's
knowledge.
"""

import io
import tarfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pibuild.console import Console, Step
from pibuild.errors import EngineError, ImageError
from pibuild.model import Base, Image
from pibuild.store.local import Store

ORIGIN_LABEL = "pibuild.base"
_TAIL_LINES = 15


class Engine(Protocol):
    """What this step uses of the engine."""

    def image_id(self, reference: str) -> str | None: ...  # noqa: D102
    def image_labels(self, reference: str) -> dict[str, str]: ...  # noqa: D102
    def pull(self, pinned: str, reference: str) -> None: ...  # noqa: D102
    def import_root(self, tar_path: Path, reference: str, labels: Mapping[str, str]) -> None: ...  # noqa: D102
    def build_image(  # noqa: D102
        self,
        reference: str,
        context: bytes,
        args: Mapping[str, str],
        labels: Mapping[str, str],
        on_line: Callable[[str], None],
    ) -> None: ...


class Bootstrap(Protocol):
    """Makes a root file system from the distribution's packages."""

    def root_tar(self, base: Base, tar_path: Path) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensured:
    """An image that the engine has."""

    reference: str
    id: str
    """The engine's digest of it."""
    origin: str
    """Where the base at its bottom came from."""
    made_s: float
    """Seconds that making it took; 0 where it was there."""


def ensure(
    image: Image,
    *,
    base: Base,
    engine: Engine,
    bootstrap: Bootstrap,
    store: Store,
    jobs: int,
    offline: bool,
    console: Console,
) -> Ensured:
    """Make an image, after those that it stands on, where the engine lacks it.

    ImageError where it can't be made: with the Dockerfile's last lines and the log, or offline with its name.
    """
    with store.lock(image.reference.replace("/", "_").replace(":", "_"), f"making the image {image.reference}"):
        started_s = time.monotonic()
        present = engine.image_id(image.reference)
        if present is None:
            if offline:
                raise ImageError(
                    f"The image {image.reference} is not there, and making it needs packages from the network",
                    hint="pibuild fetch with a network, then again with --offline",
                )
            for parent in image.parents:
                ensure(
                    parent,
                    base=base,
                    engine=engine,
                    bootstrap=bootstrap,
                    store=store,
                    jobs=jobs,
                    offline=offline,
                    console=console,
                )
            with console.step(f"making the image {image.reference}") as step:
                if image.parents:
                    _build(image, engine, store, jobs, step)
                else:
                    _base(image, base, engine, bootstrap, store, console)
            present = engine.image_id(image.reference)
            made_s = round(time.monotonic() - started_s, 2)
        else:
            made_s = 0.0
    if present is None:
        raise ImageError(f"The engine made {image.reference} but does not have it", hint="try again")
    origin = engine.image_labels(image.reference).get(ORIGIN_LABEL, "unknown")
    return Ensured(reference=image.reference, id=present, origin=origin, made_s=made_s)


def _base(image: Image, base: Base, engine: Engine, bootstrap: Bootstrap, store: Store, console: Console) -> None:
    """Take the base from its registry by digest, else make it from the distribution's packages."""
    try:
        engine.pull(base.pinned, f"{image.reference}-pulled")
        dockerfile = {"Dockerfile": f"FROM {image.reference}-pulled\n".encode()}
        engine.build_image(image.reference, _tar(dockerfile), {}, {ORIGIN_LABEL: base.pinned}, lambda _: None)
    except (ImageError, EngineError) as error:
        console.debug(str(error))
        console.note(f"  no registry gives {base.pinned}: making it from {base.suite}'s packages with mmdebstrap")
        with store.staging() as staging:
            bootstrap.root_tar(base, staging / "root.tar")
            engine.import_root(staging / "root.tar", image.reference, {ORIGIN_LABEL: f"mmdebstrap {base.suite}"})


def _build(image: Image, engine: Engine, store: Store, jobs: int, step: Step) -> None:
    args = dict(image.args) | {parent.name.upper(): parent.reference for parent in image.parents}
    if "ARG JOBS" in (image.folder / "Dockerfile").read_text():
        args["JOBS"] = str(jobs)
    log_path = store.log_path(image.reference.replace("/", "-").replace(":", "-"))
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    origin = engine.image_labels(image.parents[0].reference).get(ORIGIN_LABEL, "unknown")
    with log_path.open("w", encoding="utf-8") as log:

        def on_line(line: str) -> None:
            log.write(line + "\n")
            log.flush()
            step.console.debug(line)
            if line.strip():
                tail.append(line)

        try:
            engine.build_image(image.reference, _tar(_context(image.folder)), args, {ORIGIN_LABEL: origin}, on_line)
        except ImageError as error:
            raise ImageError(
                error.what,
                found=error.found,
                details=[f"| {line}" for line in tail],
                log=log_path,
                hint="pibuild doctor tells whether the network and the disk are as they should be",
            ) from error


def _context(folder: Path) -> dict[str, bytes | Path]:
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def _tar(files: Mapping[str, bytes | Path]) -> bytes:
    """Give a context's tar with fixed times and owners, so that the engine's cache can hit."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, source in files.items():
            content = source if isinstance(source, bytes) else source.read_bytes()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mode = 0o644 if isinstance(source, bytes) else 0o755 if source.stat().st_mode & 0o100 else 0o644
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()
