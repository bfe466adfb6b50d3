"""Machines for tests: each has a store and a key of its own, and all share a remote."""

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pibuild.build.prove import extra_name
from pibuild.console import Console
from pibuild.model import Artifact, Plan
from pibuild.signing.key_files import machine_key, public_text
from pibuild.store.local import Entry, Store
from pibuild.store.remote import Remote, RemoteFolder
from pibuild.store.shared_records import WheelRecord
from pibuild.store.trust import ANYBODY, Trust
from pibuild.trees.archives import members_of
from pibuild.trees.selection import EVERYTHING
from pibuild.trees.tree import write_tree
from tests.makers.archives import make_tar

WHEEL = "thing-1.0-py3-none-any.whl"
_IMAGE = {"base": "a base", "id": f"sha256:{'2' * 64}", "reference": "pibuild/builder:0"}


def tar_name(name: str, content: bytes) -> str:
    """Return the name of the tar of `artifacts/KEY` or `wheels/KEY` at a remote."""
    return f"{name}-{hashlib.sha256(content).hexdigest()[:16]}.tar"


def tar_named(name: str, attestation: bytes) -> str:
    """Return the name of the tar that an attestation under `artifacts/KEY` or `wheels/KEY` is about."""
    said = json.loads(base64.b64decode(json.loads(attestation)["payload"]))
    return f"{name}-{said['sha256'][:16]}.tar"


class AnyWheel:
    """A judge that takes every wheel."""

    def check_record(self, record: WheelRecord) -> None:
        pass

    def check_files(self, wheel_path: Path, record: WheelRecord, extras: Sequence[Path]) -> None:
        pass


def make_facts(artifact: Artifact, **changes: Any) -> dict[str, Any]:
    """What a build writes about an artifact."""
    plain: dict[str, Any] = {
        "name": artifact.title,
        "recipe": artifact.recipe.name,
        "version": artifact.release.version,
        "target": artifact.target.name if artifact.target else None,
        "python": artifact.python,
        "image": _IMAGE,
        "sources": [],
        "wall_s": 1.0,
        "cpu_s": 1.5,
    }
    return plain | changes


def make_wheel_record(plan: Plan, wheel: bytes = b"a wheel", **changes: Any) -> dict[str, Any]:
    """What a proof writes about a wheel with a C library beside it."""
    extra = b"a library"
    plain: dict[str, Any] = {
        "pibuild": "0.1.0",
        "made": "2026-01-01T00:00:00+00:00",
        "wheel": {"file": WHEEL, "sha256": hashlib.sha256(wheel).hexdigest(), "size_bytes": len(wheel)},
        "extras": [
            {"file": extra_file(plan), "sha256": hashlib.sha256(extra).hexdigest(), "size_bytes": len(extra)},
        ],
        "plan": {
            "key": plan.key,
            "target": plan.target.name,
            "python": plan.python,
            "recipe": plan.wheel.recipe.name,
            "version": plan.wheel.release.version,
            "reason": plan.reason,
        },
        "device": _IMAGE | {"cpu": "arm1176"},
        "artifacts": [],
        "checks": {"file": [], "device": {}},
    }
    return plain | changes


def extra_file(plan: Plan) -> str:
    return extra_name(plan, "c-library")


class Machine:
    """A store of its own, and the remote that all share."""

    def __init__(self, root: Path, folder: RemoteFolder | None, trust: Trust = ANYBODY) -> None:
        self.words = io.StringIO()
        console = Console(err=self.words)
        self.store = Store(root, console, trust)
        self.key = machine_key(root / "machine.pem")
        self.remote = Remote(folder, store=self.store, console=console, trust=trust, key=lambda: self.key)

    @property
    def public(self) -> str:
        """Its public key, as `trust:` takes it."""
        return public_text(self.key.public_key())

    def pull_wheel(self, plan: Plan) -> Entry | None:
        return self.remote.pull_wheel(plan, AnyWheel())

    def make(self, plan: Plan, wheel: bytes = b"a wheel", stamp: bytes = b"", **changes: Any) -> Entry:
        """Stand for a build and its proof; `stamp` is in each artifact, `changes` are of the record."""
        with self.store.staging() as staging:
            for artifact in plan.artifacts:
                content = make_tar({"out/name": artifact.title.encode() + stamp})
                tree = write_tree(members_of(io.BytesIO(content)), EVERYTHING, staging / "out.tar")
                self.store.put_artifact(artifact.key, staging / "out.tar", make_facts(artifact, tree=tree.tree))
            (staging / WHEEL).write_bytes(wheel)
            (staging / extra_file(plan)).write_bytes(b"a library")
            record = make_wheel_record(plan, wheel, **changes)
            return self.store.put_wheel(plan.key, staging / WHEEL, record, [staging / extra_file(plan)])

    def share(self, plan: Plan, **made: Any) -> None:
        self.remote.push(plan, self.make(plan, **made))

    def share_wheel(self, plan: Plan, wheel_path: Path, **changes: Any) -> None:
        """Share a wheel that is a file, without anything beside it."""
        content = wheel_path.read_bytes()
        record = make_wheel_record(plan, content, **{"extras": []} | changes)
        record["wheel"]["file"] = wheel_path.name
        self.remote.push(plan, self.store.put_wheel(plan.key, wheel_path, record))

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.words.getvalue().splitlines() if line.startswith("warning")]
