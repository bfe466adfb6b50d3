"""The newest current.json of a site that a reader has seen, in the reader's file: an older one is a fault."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from pibuild.errors import PublishError, UsageError
from pibuild.files import folder_errors, json_text, write_atomically
from pibuild.publishing.model import read_error
from pibuild.publishing.pointer import Pointer


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPointer:
    """The values of a verified pointer that a reader keeps."""

    number: int
    set: str
    made: str
    sums_sha256: str

    def faults(self, pointer: Pointer) -> Iterator[str]:
        """Yield a sentence if a pointer is older than this one, or another one with the same number."""
        if pointer.number < self.number:
            yield (
                f"has the number {pointer.number}, but {self.number} was seen before ({self.set}, made at "
                f"{self.made}): somebody serves an older state of the site"
            )
        elif pointer.number == self.number and (pointer.set, pointer.sums_sha256) != (self.set, self.sums_sha256):
            yield f"has the number {pointer.number}, as another set had that was seen before ({self.set})"


def seen_in(path: Path) -> SeenPointer | None:
    """Return the pointer in a file; None if there is no file yet. Raises UsageError if the file is invalid."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        hint = "name another file: --state FILE"
        raise UsageError(f"{path} can't be read", found=error.strerror or "", hint=hint) from error
    try:
        return TypeAdapter(SeenPointer).validate_json(content, strict=True)
    except ValueError as error:
        raise UsageError(
            f"{path} is damaged, or is not a file that `publish check --state` has written",
            found=read_error(error),
            hint="copy it back from a backup. Without one, ask the publisher for the number of the newest "
            "current.json, remove the file, and compare the number that the next check prints",
        ) from error


def remember(path: Path, pointer: Pointer) -> None:
    """Write a verified pointer to a file.

    Raises PublishError if another check has meanwhile written a newer one, or if the file can't be written.
    """
    seen = SeenPointer(number=pointer.number, set=pointer.set, made=pointer.made, sums_sha256=pointer.sums_sha256)
    with folder_errors(path.parent, kind=PublishError, setting="--state", room="the disk of this file"):
        before = seen_in(path)
        if before and (faults := list(before.faults(pointer))):
            raise PublishError("current.json is older than one that was seen before", details=faults)
        if before != seen:
            write_atomically(path, json_text(asdict(seen)))
