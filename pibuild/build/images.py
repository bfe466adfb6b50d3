"""Images: each is made if the engine lacks it, after its parents, and named by its contents.

An image of exactly the packages that its lock lists gets the name that planning knows. Any other gets a name of its
own, so that keys, which contain the name, are never those of the locked image. Knows Dockerfiles' contexts and the two
ways to a base. Which images a build needs is planning's knowledge.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pibuild.build.container import Transcript
from pibuild.build.context import BuildContext
from pibuild.build.image_registry import (
    DIGEST_LABEL,
    LOCKED_LABEL,
    MACHINES_LABEL,
    ORIGIN_LABEL,
    PACKAGES_LABEL,
    machines_of,
)
from pibuild.config.dockerfiles import load_base, name_with, with_parents_named
from pibuild.config.package_locks import (
    Difference,
    LockedPackage,
    lock_time,
    package_lines,
    read_lock,
    snapshot_sources,
    surplus_and_drift,
)
from pibuild.config.project_files import own_files
from pibuild.console import Step
from pibuild.errors import EngineError, ImageError
from pibuild.model import Base, Image
from pibuild.store.local import with_machines
from pibuild.store.transfers import noted, unnamed
from pibuild.trees.tree import write_files

INSTALLED = "/opt/pibuild/packages/installed"
"""The file into which locked.sh writes the packages that it installs."""
_SHOWN = 10
"""Packages that a warning names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentImage:
    """An image that the engine has."""

    reference: str
    """Its name in the engine."""
    id: str
    """The engine's digest of it."""
    origin: str
    """Where the base at its bottom came from."""
    locked: str = ""
    """Its name if it were made of the versions that its lock has."""
    packages: tuple[str, ...] = ()
    """All packages that went into it and into the images below it, as lines of a lock."""
    digest: str = ""
    """The digest by which it was downloaded from a registry; empty if this machine made it."""
    machines: tuple[str, ...] = ()
    """The other machines that had a part in it, by their public keys."""

    def facts(self) -> dict[str, Any]:
        """Return the image as records have it."""
        facts = {
            "reference": self.reference,
            "id": self.id,
            "base": self.origin,
            "locked": self.locked,
            "packages": list(self.packages),
        }
        return facts | ({"digest": self.digest} if self.digest else {}) | with_machines(self.machines)


def ensure_image(image: Image, context: BuildContext) -> PresentImage:
    """Make an image if the engine lacks it, and return it under the name that it has.

    It comes from the registry of images if that has it; otherwise it is made, after those that it stands on.

    Raises ImageError if it can't be made, with the Dockerfile's last lines and the log; with --offline at once.
    """
    engine = context.engine
    with context.watch.timed("images"), context.once(image.reference):
        own = _present(image, context) or _made(image, context)
        image_id = engine.image_id(own.reference)
        if image_id is None:
            raise ImageError(f"The engine made {own.reference} but does not have it", hint="run the same command again")
        labels = engine.image_labels(own.reference)
    return PresentImage(
        reference=own.reference,
        id=image_id,
        origin=labels.get(ORIGIN_LABEL, "unknown"),
        locked=own.locked,
        packages=tuple(labels.get(PACKAGES_LABEL, "").splitlines()),
        digest=labels.get(DIGEST_LABEL, ""),
        machines=tuple(machines_of(labels)),
    )


def is_present(image: Image, context: BuildContext) -> bool:
    """Return whether the engine has an image: as planned, as locked, or made of other versions."""
    return _present(image, context) is not None


def ensure_planned(image: Image, context: BuildContext) -> PresentImage:
    """Make an image as ensure_image does. Raises ImageError if it then has another name, which keys don't contain."""
    present = ensure_image(image, context)
    if present.reference != image.reference:
        raise ImageError(
            f"The engine no longer has the image {image.reference}. A new image was made: {present.reference}",
            hint="run the same command again: it uses the new image",
        )
    return present


def _present(image: Image, context: BuildContext) -> Image | None:
    """Return the image as the engine has it: as planned, as locked, or else made of other versions."""
    engine = context.engine
    names = [name for name in (image.reference, image.locked) if engine.image_id(name) is not None]
    for reference in names or engine.images(f"{image.locked}-"):
        if not context.trust.takes(machines_of(engine.image_labels(reference))):
            continue
        own = replace(image, reference=reference)
        context.own_images.note(own)
        return own
    parents = [_present(parent, context) for parent in image.parents]
    if not parents or not all(parents):
        return None
    moved = with_parents_named(image, [parent for parent in parents if parent])
    return _present(moved, context) if moved.locked != image.locked else None


def _made(image: Image, context: BuildContext) -> Image:
    if context.settings.offline:
        raise ImageError(
            f"The image {image.locked} does not exist, and making it needs packages from the network",
            hint="pibuild fetch with a network, then the same command with --offline",
        )
    if own := _pulled(image, context):
        return own
    parents = [_present(parent, context) or _made(parent, context) for parent in image.parents]
    image = with_parents_named(image, parents)
    with _locked(image, context):
        if own := _present(image, context):  # by the pibuild that held the lock
            return own
        with (
            context.console.step(f"making the image {image.locked}") as step,
            unnamed(context.store, image.locked, "made", context.engine.remove_image) as name,
        ):
            origin = (_build if parents else _build_base)(image, name, context, step)
            return _named(image, name, origin, context)


def _pulled(image: Image, context: BuildContext) -> Image | None:
    """Return an image that is downloaded from the registry; None if the registry has none that is accepted."""
    if not context.image_registry.is_asked:
        return None
    with _locked(image, context):
        if own := _present(image, context):
            return own
        if not context.image_registry.pull(image):
            return None
        context.own_images.note(image)
        return image


@contextmanager
def _locked(image: Image, context: BuildContext) -> Iterator[None]:
    """Let one pibuild of this store make an image, or download it."""
    name = image.locked.replace("/", "_").replace(":", "_")
    with context.store.lock(name, f"making the image {image.locked}"):
        yield


def _build_base(image: Image, name: str, context: BuildContext, step: Step) -> str:
    """Make the base from the distribution's packages, or else from the image of a registry; return which it was."""
    base, engine = load_base(image.folder.parent), context.engine
    with unnamed(context.store, image.locked, "root", engine.remove_image) as root:
        origin = _import_root(base, image, root, context)
        _run_dockerfile(image, name, {"ROOT": root}, context, step)
    return origin


def _import_root(base: Base, image: Image, root: str, context: BuildContext) -> str:
    """Import the base's root file system into the engine as the image `root`; return where it came from."""
    try:
        with context.store.staging() as staging:
            _bootstrap(base, image, staging / "root.tar", context)
            context.engine.import_root(staging / "root.tar", root, {})
    except ImageError as error:
        context.console.debug(str(error))
        context.console.note(f"  {error.what}: taking {base.pinned} from its registry")
        try:
            _pull_base(base, root, context)
        except (ImageError, EngineError) as other:
            raise ImageError(
                "The base image can't be made",
                found=f"{error.line}; {other.line}",
                details=error.details,
                hint="see docs/images.md for what to do when mirrors have dropped a release",
            ) from error
        return base.pinned
    return f"mmdebstrap {base.suite}"


def _pull_base(base: Base, reference: str, context: BuildContext) -> None:
    with noted(context.store, base.pinned, context.engine.remove_image):
        is_there = context.engine.pull(base.pinned, reference)
    if not is_there:
        raise ImageError(f"{base.pinned} can't be pulled", found="its registry does not have it")


def _bootstrap(base: Base, image: Image, tar_path: Path, context: BuildContext) -> None:
    """Write a root file system of the locked versions, from a snapshot if the archive lacks some, or of the newest."""
    locked, snapshot = read_lock(image.folder), context.settings.snapshot
    versions = [(package.name, package.version) for package in locked]
    failure: ImageError | None = None
    try:
        if context.bootstrap.root_tar(base, tar_path, versions=versions) == _text(locked) or not snapshot:
            return
    except ImageError as error:
        if not snapshot:
            raise
        failure = error
    context.console.note("  the archive lacks locked versions of the base: asking the snapshot")
    sources = snapshot_sources(snapshot, base.suite, base.components, lock_time(image.folder))
    other_path = tar_path.with_name("snapshot.tar")
    try:
        context.bootstrap.root_tar(base, other_path, versions=versions, sources=sources)
    except ImageError as error:
        if failure:
            raise
        context.console.note(f"  {error.line}")
    else:
        other_path.replace(tar_path)


def _build(image: Image, name: str, context: BuildContext, step: Step) -> str:
    """Make an image from its Dockerfile; return where its base came from."""
    args = dict(image.args) | {parent.name.upper(): parent.reference for parent in image.parents}
    dockerfile = (image.folder / "Dockerfile").read_text()
    if "ARG JOBS" in dockerfile:
        args["JOBS"] = str(context.limits.cpus)
    if "ARG SNAPSHOT" in dockerfile:
        address = context.settings.snapshot or ""
        args["SNAPSHOT"] = address.replace("{archive}", "@ARCHIVE@").replace("{time}", "@SNAPSHOTID@")
    _run_dockerfile(image, name, args, context, step)
    return context.engine.image_labels(image.parents[0].reference).get(ORIGIN_LABEL, "unknown")


def _run_dockerfile(image: Image, name: str, args: Mapping[str, str], context: BuildContext, step: Step) -> None:
    files = {path.relative_to(image.folder).as_posix(): path for path in own_files(image.folder)}
    log_path = context.store.log_path(image.locked.replace("/", "-").replace(":", "-"))
    with Transcript(log_path, step, context.console) as transcript:
        try:
            context.engine.build_image(name, _tar(files), args, {}, transcript)
        except ImageError as error:
            raise ImageError(
                error.what.replace(name, image.locked),
                found=error.found,
                details=transcript.last_lines,
                log=log_path,
                hint="pibuild doctor checks the network and the disk; docs/images.md says what to do when mirrors have "
                "dropped a release",
            ) from error


def _named(image: Image, name: str, origin: str, context: BuildContext) -> Image:
    """Name an image by its packages: as its lock says if they equal it, else with a hash. Labels list them."""
    engine = context.engine
    total = _packages(engine.image_text(name, INSTALLED, context.store.labels), image)
    below = {package for parent in image.parents for package in _packages(_label(parent, context), parent)}
    locked = read_lock(image.folder)
    surplus, drift = surplus_and_drift(set(total) - below, total, locked)
    if drift or surplus:
        own = replace(image, reference=name_with(image, [origin, [package.line for package in total]]))
    else:
        own = image
    if drift:
        _warn(own, drift, context)
    machines = {machine for parent in image.parents for machine in machines_of(engine.image_labels(parent.reference))}
    labels = {
        ORIGIN_LABEL: origin,
        PACKAGES_LABEL: _text(total).rstrip("\n"),
        LOCKED_LABEL: image.locked,
        # over those of the images below
        DIGEST_LABEL: "",
        MACHINES_LABEL: " ".join(sorted(machines)),
    }
    engine.build_image(own.reference, _tar({"Dockerfile": f"FROM {name}\n".encode()}), {}, labels, lambda _: None)
    context.own_images.note(own)
    return own


def _warn(own: Image, drift: Sequence[Difference], context: BuildContext) -> None:
    rows = [str(difference) for difference in drift[:_SHOWN]]
    if len(drift) > _SHOWN:
        rows.append(f"and {len(drift) - _SHOWN} more")
    context.console.warn(
        f"{own.locked} is made of other packages than its lock lists, so its name is {own.reference}. Machines that "
        f"have the locked image share no artifacts with this one: {'; '.join(rows)}"
    )


def _label(image: Image, context: BuildContext) -> str:
    return context.engine.image_labels(image.reference).get(PACKAGES_LABEL, "")


def _packages(text: str, image: Image) -> tuple[LockedPackage, ...]:
    try:
        return tuple(sorted(set(package_lines(text))))
    except ValueError as error:
        raise ImageError(f"The list of packages in {image.locked} is damaged", found=str(error)) from error


def _text(packages: Iterable[LockedPackage]) -> str:
    return "".join(f"{package.line}\n" for package in sorted(set(packages)))


def _tar(files: Mapping[str, Path | bytes]) -> bytes:
    buffer = io.BytesIO()
    write_files(buffer, files)
    return buffer.getvalue()
