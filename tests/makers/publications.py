"""Wheels to publish, and a site to publish them to, made in code; what a reader of a site sees."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pibuild.config.settings import Policy
from pibuild.console import Console
from pibuild.publishing.add_wheels import ProvenWheel
from pibuild.publishing.index import index_pages
from pibuild.publishing.layout import Site
from pibuild.publishing.model import PublishedSet, PublishedWheel
from pibuild.wheels.wheel import read_wheel, write_wheel
from tests.makers.sites import make_listed, make_record
from tests.makers.wheels import make_wheel

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
KEEP_ALL = Policy(count=1_000_000, days=1_000_000)


def after(days: float = 0.0) -> datetime:
    return NOON + timedelta(days=days)


def make_published(
    file: str = "thing-1.0-cp311-cp311-linux_armv6l.whl", days: float = 0.0, **changes: Any
) -> PublishedWheel:
    """A wheel of the index; `days` count from noon, `hidden` too."""
    plain: dict[str, Any] = {
        "file": file,
        "sha256": hashlib.sha256(file.encode()).hexdigest(),
        "made": after(days).isoformat(timespec="seconds"),
        "is_release": False,
    }
    if isinstance(changes.get("hidden"), int | float):
        changes["hidden"] = after(changes["hidden"]).isoformat(timespec="seconds")
    return make_listed(**plain | changes)


def make_proven(
    folder: Path,
    version: str = "1.0",
    *,
    content: bytes = b"",
    days: float = 0.0,
    cell: str = "thing-pi-one-3.11",
    is_release: bool = False,
) -> ProvenWheel:
    """A proven wheel with its record, as the store has it."""
    file = f"thing-{version}-cp311-cp311-linux_armv6l.whl"
    path = make_wheel(
        folder,
        {"thing/__init__.py": content},
        file_name=file,
        metadata=f"Metadata-Version: 2.1\nName: thing\nVersion: {version}\nRequires-Python: ==3.11.*\n",
        dist_info=f"thing-{version}.dist-info",
    )
    write_wheel(read_wheel(path), folder)  # with times that are always the same: one content, one hash
    return proven(path, days=days, cell=cell, is_release=is_release)


def proven(path: Path, *, days: float = 0.0, cell: str = "thing-pi-one-3.11", is_release: bool = False) -> ProvenWheel:
    """An existing file with a record."""
    record = make_record(path, made=after(days).isoformat(timespec="seconds"))
    record["plan"]["key"] = f"key of {record['wheel']['sha256']}"
    return ProvenWheel(path=path, record=record, cell=cell, is_release=is_release)


def pages(published: PublishedSet) -> dict[str, bytes]:
    """Pages that differ from set to set."""
    listed = "".join(f"{one.file} {one.yanked or ''}\n" for one in published.listed)
    return {"index.html": published.id.encode(), "simple/thing/index.html": listed.encode()}


def whole_pages(published: PublishedSet) -> dict[str, bytes]:
    """The index as pip reads it, which `publish check` compares, and a page that differs from set to set."""
    return index_pages(published) | {"index.html": published.id.encode()}


def site_in(folder: Path, console: Console, **changes: Any) -> Site:
    """A site in a folder, which need not exist: at noon, unsigned, with plain pages; every wheel stays."""
    plain: dict[str, Any] = {"folder": folder, "pages": pages, "key": None, "retention": KEEP_ALL, "now": NOON}
    return Site(**plain | changes, console=console)


def read(top: Path, place: str = "current") -> list[str] | None:
    """Read a set as its readers do, and check that it is whole; return the files that it lists."""
    folder = top / place
    if not folder.exists():
        return None
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    sums = {path: sha256 for sha256, path in (line.split("  ") for line in lines)}
    for path, sha256 in sums.items():
        where = top / path.removeprefix("../") if path.startswith("../") else folder / path
        assert hashlib.sha256(where.read_bytes()).hexdigest() == sha256, path
    facts = json.loads((folder / "set.json").read_bytes())
    for one in facts["wheels"]:
        assert f"../files/{one['sha256'][:2]}/{one['sha256']}/{one['file']}" in sums
    assert (folder / "index.html").read_text() == facts["id"]
    return [one["file"] for one in facts["wheels"] if not one["hidden"]]


def everything(top: Path) -> dict[str, tuple[int, int, int]]:
    """Each path with what would change if a byte were written: for proof that none was."""
    return {
        str(path.relative_to(top)): (path.lstat().st_mtime_ns, path.lstat().st_ino, path.lstat().st_size)
        for path in [top, *top.rglob("*")]
    }
