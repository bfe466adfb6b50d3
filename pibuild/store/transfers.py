"""Temporary names of images in the engine: during a transfer, or until their own name is known to be right.

Each is noted in the store before the engine has it, so that a later process removes what a killed one has left there.

    transfers/STORE-SESSION-HASH     the name, and a newline; a copy of the store has another id
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pibuild.files import folder_errors
from pibuild.store.local import Store

UNNAMED_IMAGES = "pibuild/unnamed:"
"""The beginning of names of images whose own name is not yet known to be right."""


@contextmanager
def noted(store: Store, name: str, remove_image: Callable[[str], None]) -> Iterator[None]:
    """Let the engine have an image under a name until the end of the block, where `remove_image` removes the name."""
    path = store.root / "transfers" / f"{store.id}-{store.session}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    with folder_errors(store.root):
        path.write_text(f"{name}\n")
    try:
        yield
    finally:
        remove_image(name)
        path.unlink(missing_ok=True)


@contextmanager
def unnamed(store: Store, reference: str, role: str, remove_image: Callable[[str], None]) -> Iterator[str]:
    """Yield a name of this session for an image until the end of the block, where `remove_image` removes the name.

    `reference` is the name that the image may get, `role` what tells it from others that are made for the same one.
    """
    name = f"{UNNAMED_IMAGES}{reference.replace('/', '-').replace(':', '-')}-{store.session}-{role}"
    with noted(store, name, remove_image):
        yield name


def remove_left(store: Store, remove_image: Callable[[str], None]) -> None:
    """Remove the names that ended sessions have left, except for those that a running session uses, too."""
    notes = {path: path.name.removeprefix(f"{store.id}-").rpartition("-") for path in _notes(store)}
    left = {path: digest for path, (session, _, digest) in notes.items() if store.is_dead(session)}
    used = {digest for path, (_, _, digest) in notes.items() if path not in left}
    for path, digest in left.items():
        with suppress(FileNotFoundError):  # another process removes it, too
            name, end, _ = path.read_text(errors="replace").partition("\n")
            if end and digest not in used:  # without an end, the process was killed while it wrote
                remove_image(name)
            path.unlink()


def _notes(store: Store) -> Iterator[Path]:
    return (store.root / "transfers").glob(f"{store.id}-*")
