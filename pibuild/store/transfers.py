"""The names that images have in the engine while they go to a registry or come from it.

Each is noted in the store before the engine has it, so that a later process removes what a killed one has left there.

    transfers/STORE-SESSION-HASH     the name, and a newline; a copy of the store has another id
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pibuild.files import folder_errors
from pibuild.store.local import Store


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


def remove_left(store: Store, remove_image: Callable[[str], None]) -> None:
    """Remove the names that transfers of ended sessions have left."""
    for path in (store.root / "transfers").glob(f"{store.id}-*"):
        if store.is_dead(path.name.removeprefix(f"{store.id}-").rpartition("-")[0]):
            with suppress(FileNotFoundError):  # another process removes it, too
                name, end, _ = path.read_text(errors="replace").partition("\n")
                if end:  # otherwise the process was killed while it wrote
                    remove_image(name)
                path.unlink()
