"""An rclone without its program."""

from pibuild.adapters.rclone import Rclone
from pibuild.errors import SourceError


class FakeRclone(Rclone):
    """An rclone whose remote `down:` does not answer; it lists what it removed from the others."""

    def __init__(self) -> None:
        super().__init__({})
        self.removed: list[str] = []

    def delete(self, remote_path: str) -> None:
        if remote_path.startswith("down:"):
            raise SourceError("down: does not answer")
        self.removed.append(remote_path)
