"""An rclone without its program."""

from pibuild.errors import SourceError


class FakeRclone:
    """Of rclone's, one of them down; keeps what was removed."""

    def __init__(self):
        self.removed = []

    def delete(self, path):
        if path.startswith("down:"):
            raise SourceError("down: does not answer")
        self.removed.append(path)
