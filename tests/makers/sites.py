"""Whole small sites for tests, with real small wheels. A test names what differs from the plainest one."""

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pibuild.files import json_text
from pibuild.publishing.index import index_pages
from pibuild.publishing.model import PublishedSet, PublishedWheel
from pibuild.publishing.pointer import Pointer, write_pointer
from pibuild.publishing.provenance import provenance, signed_provenance
from pibuild.wheels.python_tags import abi_tag, interpreter_tag
from tests.makers.wheels import make_wheel

MADE = "2026-11-25T03:15:00+00:00"


def make_listed(**changes: Any) -> PublishedWheel:
    """A wheel of the index as a value, without files."""
    plain: dict[str, Any] = {
        "file": "thing-1.0-cp311-cp311-linux_armv6l.whl",
        "sha256": "ab" + "0" * 62,
        "size_bytes": 1234,
        "metadata_sha256": "cd" + "0" * 62,
        "requires_python": "",
        "made": MADE,
        "key": "e" * 64,
        "cell": "thing-1.0-pi-one-3.11",
        "recipe": "thing",
        "target": "pi-one",
        "python": "3.11",
        "is_release": True,
    }
    return PublishedWheel(**plain | changes)


def make_set(*wheels: PublishedWheel, made: str = MADE, why: str = "a test") -> PublishedSet:
    """A set of these, named as sets are."""
    ordered = tuple(sorted(wheels, key=lambda one: (one.file, one.sha256)))
    digest = hashlib.sha256("".join(map(str, ordered)).encode()).hexdigest()
    moment = made[:19].replace("-", "").replace(":", "")
    return PublishedSet(id=f"{moment}Z-{digest[:8]}", made=made, wheels=ordered, why=why)


def make_record(
    path: Path,
    *,
    target: str = "pi-one",
    python: str = "3.11",
    recipe: str = "thing",
    version: str = "1.0",
    made: str = MADE,
) -> dict[str, Any]:
    """A record of pibuild's on a wheel that is there; two of its artifacts share a source and an image."""
    source = {"name": "thing-1.0", "tree": "1" * 64, "place": "archive thing-1.0.tar.gz", "size_bytes": 10}
    image = {"reference": f"pibuild/toolchain-{target}:0", "id": f"sha256:{'2' * 64}", "base": "mmdebstrap bullseye"}
    artifact: dict[str, Any] = {
        "name": recipe,
        "recipe": recipe,
        "version": version,
        "target": target,
        "python": python,
        "wall_s": 1.0,
        "cpu_s": 1.0,
    }
    artifact |= {"key": "3" * 64, "sha256": "4" * 64, "size_bytes": 10, "image": image, "tree": "5" * 64}
    return {
        "pibuild": "0.1.0",
        "made": made,
        "wheel": {"file": path.name, "sha256": _sha256(path.read_bytes()), "size_bytes": path.stat().st_size},
        "extras": [],
        "plan": {
            "key": "e" * 64,
            "target": target,
            "python": python,
            "recipe": recipe,
            "version": version,
            "reason": "",
        },
        "device": {"reference": "pibuild/device:0", "id": f"sha256:{'6' * 64}", "base": "debian", "cpu": "arm1176"},
        "artifacts": [artifact | {"sources": [source]}, artifact | {"sources": [source, source | {"tree": "7" * 64}]}],
        "checks": {"file": [], "device": {}},
        "wall_s": 90.5,
    }


def add_wheel(
    folder: Path,
    name: str = "thing",
    version: str = "1.0",
    *,
    python: str = "3.11",
    target: str = "pi-one",
    files: Mapping[str, bytes] | None = None,
    requires_python: str = "",
    requires: tuple[str, ...] = (),
    **changes: Any,
) -> PublishedWheel:
    """Put a real small wheel, and what belongs beside it, into files/ of a site; return it as a set lists it."""
    machine = {"pi-one": "armv6l", "pi-two": "armv7l"}[target]
    tag = f"{interpreter_tag(python)}-{abi_tag(python)}-linux_{machine}"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += f"Requires-Python: {requires_python}\n" if requires_python else ""
    metadata += "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    with tempfile.TemporaryDirectory() as scratch:
        path = make_wheel(
            Path(scratch),
            files,
            file_name=f"{name}-{version}-{tag}.whl",
            tags=(tag,),
            metadata=metadata,
            dist_info=f"{name}-{version}.dist-info",
        )
        content = path.read_bytes()
        made = changes.get("made", MADE)
        record = make_record(path, target=target, python=python, recipe=name, version=version, made=made)
    plain: dict[str, Any] = {
        "file": path.name,
        "sha256": _sha256(content),
        "size_bytes": len(content),
        "metadata_sha256": _sha256(metadata.encode()),
        "requires_python": requires_python,
        "cell": f"{name}-{version}-{target}-{python}",
        "recipe": name,
        "target": target,
        "python": python,
    }
    wheel = make_listed(**plain | changes)
    beside = Path(folder) / wheel.folder
    beside.mkdir(parents=True, exist_ok=True)
    record_bytes = (json_text(record)).encode()
    (beside / wheel.file).write_bytes(content)
    (beside / f"{wheel.file}.metadata").write_bytes(metadata.encode())
    (beside / f"{wheel.file}.record.json").write_bytes(record_bytes)
    (beside / f"{wheel.file}.provenance.json").write_bytes(provenance(record_bytes))
    return wheel


def make_site(
    folder: Path, *wheels: PublishedWheel, key: Ed25519PrivateKey | None = None, made: str = MADE
) -> PublishedSet:
    """Make a whole site of wheels that add_wheel put there (one of its own if there are none); sign it with a key."""
    published = make_set(*(wheels or [add_wheel(folder)]), made=made)
    own = Path(folder) / published.id
    pages = index_pages(published) | {"index.html": b"<!DOCTYPE html>\n<title>Wheels</title>\n"}
    pages["set.json"] = (json_text(asdict(published))).encode()
    for path, content in pages.items():
        (own / path).parent.mkdir(parents=True, exist_ok=True)
        (own / path).write_bytes(content)
    for wheel in published.wheels:
        if key is None:
            break
        statement = (Path(folder) / f"{wheel.paths[0]}.provenance.json").read_bytes()
        (Path(folder) / wheel.signed_provenance).write_bytes(signed_provenance(statement, key))
    (Path(folder) / "current").unlink(missing_ok=True)
    (Path(folder) / "current").symlink_to(published.id)
    (Path(folder) / "index.html").write_text('<!DOCTYPE html>\n<a href="current/">wheels</a>\n')
    write_sums(folder, published, key=key)
    return published


def point(
    folder: Path, set_id: str, *, key: Ed25519PrivateKey | None = None, name: str = "current.json", **changes: Any
) -> None:
    """Write the pointer to a set as it is now: valid from the morning of the 25th of November 2026 for a week."""
    digits = "".join(letter for letter in set_id[:16] if letter.isdigit())
    plain: dict[str, Any] = {
        "set": set_id,
        "number": int(digits or 1),
        "made": "2026-11-25T03:15:00Z",
        "expires": "2026-12-02T03:15:00Z",
        "sums_sha256": _sha256((Path(folder) / set_id / "SHA256SUMS").read_bytes()),
        "top": {"index.html": _sha256((Path(folder) / "index.html").read_bytes())},
    }
    (Path(folder) / name).write_bytes(write_pointer(Pointer(**plain | changes), key))


def write_sums(folder: Path, published: PublishedSet, *, key: Ed25519PrivateKey | None = None) -> None:
    """Write SHA256SUMS of what is there now, and the pointer; sign both with a key. For tests that alter files."""
    own = Path(folder) / published.id
    unlisted = ("SHA256SUMS", "SHA256SUMS.sig")
    paths = [path for path in own.rglob("*") if path.is_file() and path.name not in unlisted]
    names = {path.relative_to(own).as_posix(): path for path in paths}
    for wheel in published.wheels:
        for path in (Path(folder) / wheel.folder).iterdir():
            names[f"../{wheel.folder}{path.name}"] = path
    sums = "".join(f"{_sha256(names[name].read_bytes())}  {name}\n" for name in sorted(names)).encode()
    (own / "SHA256SUMS").write_bytes(sums)
    if key:
        (own / "SHA256SUMS.sig").write_bytes(key.sign(sums))
    point(folder, published.id, key=key)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
