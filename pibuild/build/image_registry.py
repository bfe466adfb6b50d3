"""Images in a registry that machines share: what one machine made as its locks say, the others download.

An image is not trusted because it is in the registry. An image is used only if a machine that `store: trust:` lists has
signed its digest under this name, and if it has the packages that its locks list. It is downloaded by that digest,
whatever the registry has under the name. No build fails because of the registry: if it does not answer it is not asked
again, and what is missing, damaged or made by others is made here.

    HOST/PATH/NAME:HASH                an image, named as in the engine
    HOST/PATH/NAME:HASH.attestation    an image that nobody runs; its label has the attestation of the other's digest
"""

import base64
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pibuild.config.package_locks import package_lines, read_lock, surplus_and_drift
from pibuild.console import Console
from pibuild.errors import EngineError, ImageError, RegistryError, printable
from pibuild.model import Image
from pibuild.signing.key_files import public_text
from pibuild.store.attestation import Attestation, AttestationError, attest, read_attestation
from pibuild.store.local import Store
from pibuild.store.shared_records import RecordError, SharedImage, validated
from pibuild.store.transfers import noted, unnamed
from pibuild.store.trust import Trust
from pibuild.trees.tree import pack, write_files

if TYPE_CHECKING:
    from pibuild.adapters.docker import Engine

ORIGIN_LABEL = "pibuild.base"
PACKAGES_LABEL = "pibuild.packages"
LOCKED_LABEL = "pibuild.locked"
DIGEST_LABEL = "pibuild.digest"
"""The registry's digest of an image that was downloaded; empty if it was made here."""
MACHINES_LABEL = "pibuild.machines"
"""The other machines that had a part in an image, by their public keys."""
_ATTESTATION_LABEL = "pibuild.attestation"
_ATTESTATION = ".attestation"


class _RefusedError(Exception):
    """An image of the registry contradicts its name, or was made by an untrusted machine."""


class ImageRegistry:
    """The images that machines share through a registry."""

    def __init__(
        self,
        address: str,
        *,
        is_pushed_to: bool,
        engine: Callable[[], "Engine"],
        store: Store,
        console: Console,
        trust: Trust,
        key: Callable[[], Ed25519PrivateKey],
    ) -> None:
        """Keep the address, HOST/PATH, where images are; without one, none is downloaded or uploaded.

        `key` returns this machine's private key, and is called when something is first downloaded or uploaded.
        """
        self._address, self._is_pushed_to = address, is_pushed_to and bool(address)
        self._is_asked = bool(address)
        self._engine, self._store, self._console, self._trust, self._key = engine, store, console, trust, key

    @property
    def is_asked(self) -> bool:
        """Whether there is a registry that has answered so far."""
        return self._is_asked

    def has(self, image: Image) -> bool:
        """Return whether the registry has an attestation of an image, whoever signed it.

        Raises RegistryError if the registry does not answer or refuses.
        """
        return self._engine().registry_has(self._attestation_name(image))

    def pull(self, image: Image) -> bool:
        """Download an image that is as its locks say, under the name that it has here.

        Return False if the registry has none that a trusted machine has signed and that is what its name says.
        """
        if not self._is_asked or not is_as_locked(image):
            return False
        try:
            attestation = self._attestation(image)
            if attestation is None:
                return False
            with self._console.step(f"pulling the image {image.reference}"):
                self._take(image, attestation)
        except _RefusedError as error:
            self._warn(f"{image.reference} at {self._address} is not used, and made here: {error}")
            return False
        except (RegistryError, EngineError) as error:
            self._give_up(error)
            return False
        return True

    def push(self, image: Image) -> None:
        """Upload an image that this machine made as locked, unless the registry has one that this machine would use.

        Warn once if the upload fails.
        """
        engine = self._engine()
        if not self._is_pushed_to or not is_as_locked(image) or engine.image_id(image.reference) is None:
            return
        labels = engine.image_labels(image.reference)
        if labels.get(DIGEST_LABEL):  # it came from the registry
            return
        try:
            if self._lacks(image):
                with self._console.step(f"sharing the image {image.reference}"):
                    self._upload(image, labels)
        except (ImageError, EngineError) as error:
            self._give_up(error)

    def _take(self, image: Image, attestation: Attestation) -> None:
        """Download the image of an attestation, compare it with what its name says, and name it."""
        engine = self._engine()
        with _refusing(), unnamed(self._store, image.reference, "pulled", engine.remove_image) as name:
            if not self._pull(f"{self._repository(image)}@sha256:{attestation.sha256}", name):
                raise _RefusedError(f"it has no image with the signed digest sha256:{attestation.sha256[:12]}…")
            if fault := label_fault(image, engine.image_labels(name)):
                raise _RefusedError(fault)
            labels = {
                DIGEST_LABEL: f"sha256:{attestation.sha256}",
                MACHINES_LABEL: " ".join(self._machines(attestation)),
            }
            dockerfile = tar_of({"Dockerfile": f"FROM {name}\n".encode()})
            engine.build_image(image.reference, dockerfile, {}, labels, lambda _: None)

    def _attestation(self, image: Image) -> Attestation | None:
        """Return the attestation of an image by a trusted machine; None if the registry has none."""
        engine = self._engine()
        with _refusing(), unnamed(self._store, image.reference, "attestation", engine.remove_image) as name:
            try:
                if not self._pull(self._attestation_name(image), name):
                    return None
                label = engine.image_labels(name).get(_ATTESTATION_LABEL, "")
                attestation = read_attestation(_decoded(label), "image", image.reference)
                validated(SharedImage, attestation.record)
                if not attestation.sha256:
                    raise _RefusedError("its attestation has no digest")
            except (AttestationError, RecordError) as error:
                raise _RefusedError(f"its attestation is not valid: {error}") from error
        if strangers := self._refused(attestation):
            raise _RefusedError(f"it is the work of {strangers[0]}, which is not in `store: trust:`")
        return attestation

    def _lacks(self, image: Image) -> bool:
        try:
            return self._attestation(image) is None
        except _RefusedError:
            return True

    def _upload(self, image: Image, labels: Mapping[str, str]) -> None:
        engine = self._engine()
        digest = self._push(image.reference, f"{self._repository(image)}:{_tag(image)}").removeprefix("sha256:")
        machines = machines_of(labels)
        record = {"id": engine.image_id(image.reference)} | ({"machines": machines} if machines else {})
        text = attest(self._key(), "image", image.reference, record, sha256=digest)
        label = base64.b64encode(text.encode()).decode()
        with self._store.staging() as staging:
            tar_path = pack(staging / "attestation.tar", {"attestation.json": text.encode()})
            with unnamed(self._store, image.reference, "attestation", engine.remove_image) as name:
                engine.import_root(tar_path, name, {_ATTESTATION_LABEL: label})
                self._push(name, self._attestation_name(image))
        if self._lacks(image):
            raise RegistryError(f"{self._address} does not store uploaded images")

    def _pull(self, name: str, reference: str) -> bool:
        with noted(self._store, name, self._engine().remove_image):
            return self._engine().pull(name, reference)

    def _push(self, reference: str, name: str) -> str:
        with noted(self._store, name, self._engine().remove_image):
            return self._engine().push(reference, name)

    @cached_property
    def _own(self) -> str:
        """The text of this machine's public key."""
        return public_text(self._key().public_key())

    def _machines(self, attestation: Attestation) -> list[str]:
        """Return the other machines that had a part in an image, its signer included."""
        return sorted({attestation.machine, *attestation.record.get("machines", [])} - {self._own})

    def _refused(self, attestation: Attestation) -> tuple[str, ...]:
        machines = self._machines(attestation)
        return () if self._trust.takes(machines) else self._trust.strangers(machines)

    def _repository(self, image: Image) -> str:
        return f"{self._address}/{image.reference.rpartition(':')[0].removeprefix('pibuild/')}"

    def _attestation_name(self, image: Image) -> str:
        return f"{self._repository(image)}:{_tag(image)}{_ATTESTATION}"

    def _give_up(self, error: ImageError | EngineError) -> None:
        """Stop using the registry, and print a warning."""
        if isinstance(error, RegistryError) and error.is_denied and self._is_pushed_to and self._is_asked:
            # Some registries deny requests for images that were never uploaded: the upload shows whether it is allowed.
            self._is_asked = False
            return
        self._is_asked = self._is_pushed_to = False
        self._warn(f"the registry of images is not asked again; images are made here: {error.line}")

    def _warn(self, text: str) -> None:
        """Print a warning with texts that other machines wrote."""
        self._console.warn(printable(text))


def is_as_locked(image: Image) -> bool:
    """Return whether a name is that of an image made of its lock's versions, on images of which that is true, too.

    Only such names are known before an image is made, and only they say which packages it has.
    """
    return image.reference == image.locked and all(map(is_as_locked, image.parents))


def label_fault(image: Image, labels: Mapping[str, str]) -> str:
    """Return how the labels of an image differ from those that this machine would write; "" if they are equal."""
    if (name := labels.get(LOCKED_LABEL, "")) != image.locked:
        return f"it was made as {name[:100]!r}"
    try:
        total = {*package_lines(labels.get(PACKAGES_LABEL, ""))}
    except ValueError as error:
        return f"its list of packages is damaged: {error}"
    locked = {*read_lock(image.folder)}
    below = {package for each in _ancestors(image) for package in read_lock(each.folder)}
    if others := sorted(total - below - locked):
        return f"its locks do not list {others[0].line}"
    _, drift = surplus_and_drift(total - below, total, locked)
    return f"it is not as its lock says: {drift[0]}" if drift else ""


def machines_of(labels: Mapping[str, str]) -> list[str]:
    """Return the other machines that had a part in an image with these labels."""
    return labels.get(MACHINES_LABEL, "").split()


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """Return the tar of files, as the context of a Dockerfile."""
    buffer = io.BytesIO()
    write_files(buffer, files)
    return buffer.getvalue()


def _decoded(label: str) -> bytes:
    try:
        return base64.b64decode(label, validate=True)
    except ValueError as error:
        raise AttestationError("it is not base64") from error


def _ancestors(image: Image) -> Iterator[Image]:
    for parent in image.parents:
        yield parent
        yield from _ancestors(parent)


def _tag(image: Image) -> str:
    return image.reference.rpartition(":")[2]


@contextmanager
def _refusing() -> Iterator[None]:
    """Translate errors about an image of the registry to _RefusedError."""
    try:
        yield
    except RegistryError:
        raise
    except ImageError as error:
        raise _RefusedError(error.line) from error
