"""Machines for tests: each has a store of its own, and all share a remote."""

import hashlib
import io
from pathlib import Path

from pibuild.console import Console
from pibuild.model import Plan
from pibuild.store.local import Entry, Store
from pibuild.store.remote import Remote, RemoteFolder

WHEEL = "thing-1.0-py3-none-any.whl"


class Machine:
    """A store of its own, and the remote that all share."""

    def __init__(self, root: Path, folder: RemoteFolder | None) -> None:
        self.words = io.StringIO()
        console = Console(err=self.words)
        self.store = Store(root, console)
        self.remote = Remote(folder, store=self.store, console=console)

    def make(self, plan: Plan, wheel: bytes = b"a wheel") -> Entry:
        """Stand for a build and its proof."""
        extra = b"a library"
        record = {
            "wheel": {"file": WHEEL, "sha256": hashlib.sha256(wheel).hexdigest()},
            "extras": [{"file": "c-library.tar.gz", "sha256": hashlib.sha256(extra).hexdigest()}],
        }
        with self.store.staging() as staging:
            for artifact in plan.artifacts:
                (staging / "out.tar").write_bytes(artifact.title.encode())
                self.store.put_artifact(artifact.key, staging / "out.tar", {"name": artifact.title})
            (staging / WHEEL).write_bytes(wheel)
            (staging / "c-library.tar.gz").write_bytes(extra)
            return self.store.put_wheel(plan.key, staging / WHEEL, record, [staging / "c-library.tar.gz"])

    def share(self, plan: Plan, **made: bytes) -> None:
        self.remote.push(plan, self.make(plan, **made))

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.words.getvalue().splitlines() if line.startswith("warning")]
