"""Images of this machine whose packages are not those of their locks, in a file, so that plans need no engine."""

import json
import threading
from pathlib import Path

from pibuild.config.dockerfiles import is_made_for
from pibuild.files import folder_errors, json_text, write_atomically
from pibuild.model import Image

_NAME = "images.json"


class OwnImages:
    """The names of such images, in a file of the store."""

    def __init__(self, store_root: Path) -> None:
        """Read nothing yet."""
        self._path = store_root / _NAME
        self._lock = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names; none if the file is missing or damaged, since images are found again when they are used."""
        try:
            found = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return ()
        return tuple(name for name in found if isinstance(name, str)) if isinstance(found, list) else ()

    def forget(self) -> None:
        """Remove the file, as if no such image had been made."""
        with folder_errors(self._path.parent):
            self._path.unlink(missing_ok=True)

    def note(self, image: Image) -> None:
        """Record the name of an image on this machine. Raises StoreError if the file can't be written."""
        with self._lock:
            self._note(image)

    def _note(self, image: Image) -> None:
        names = self.names
        others = [name for name in names if not is_made_for(name, image)]
        wanted = [*others, image.reference] if image.reference != image.locked else others
        if sorted(wanted) != sorted(names):
            with folder_errors(self._path.parent):
                write_atomically(self._path, json_text(sorted(wanted)))
