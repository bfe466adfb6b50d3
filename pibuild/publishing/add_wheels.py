"""Proven wheels on their way into the site: copied, compared with their record, and given what lies beside them.

Knows the folder files/: a wheel's folder there is named by its sha256, appears whole by rename, and never changes.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path
from typing import Any

from packaging.utils import parse_wheel_filename

from pibuild.errors import PublishError
from pibuild.files import file_sha256, json_text
from pibuild.nightly.model import Cell
from pibuild.publishing.companions import SUFFIXES, dist_info_file
from pibuild.publishing.layout import making, sync
from pibuild.publishing.model import PublishedWheel
from pibuild.store.local import Entry
from pibuild.wheels.wheel import WheelFormatError


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """A proven wheel that is to be published."""

    path: Path
    record: dict[str, Any]
    """As the proof wrote it."""
    cell: str
    """Id of its cell; a wheel in pure Python that came with another has one by its project."""
    is_release: bool
    is_beside: bool = False
    """Whether it is there for another's sake."""

    @property
    def file(self) -> str:
        """Give the file's name, as the record has it."""
        return str(self.record["wheel"]["file"])

    @property
    def sha256(self) -> str:
        """Give the hash that the wheel had when it was proven."""
        return str(self.record["wheel"]["sha256"])


def offered_of(cell: Cell, entry: Entry) -> Iterator[Offered]:
    """Give the proven wheel of a cell, and those in pure Python that were proven with it, each with a record."""
    yield Offered(path=entry.path, record=entry.facts, cell=cell.id, is_release=not cell.ref, is_beside=cell.is_beside)
    for packages in entry.facts["dependencies"]["packages"] if cell.with_dependencies else ():
        for wheel in packages["wheels"]:
            yield Offered(
                path=entry.path.parent / "extras" / wheel["file"],
                record=_package_record(entry.facts, packages, wheel),
                cell=f"{packages['recipe']}-{parse_wheel_filename(wheel['file'])[0]}",
                is_release=True,
                is_beside=True,
            )


def _package_record(record: dict[str, Any], packages: dict[str, Any], wheel: dict[str, Any]) -> dict[str, Any]:
    """Say of a wheel in pure Python what a record says: for any target, proven on the device of the wheel beside it."""
    proven = record["dependencies"]
    named = {"recipe": packages["recipe"], "version": packages["version"], "python": packages["python"]}
    return {
        **{name: record[name] for name in ("pibuild", "made", "device")},
        "wheel": wheel,
        "extras": [],
        "plan": {"key": packages["key"], "target": "", "reason": f"beside {record['wheel']['file']}", **named},
        "artifacts": [{name: value for name, value in packages.items() if name != "wheels"}],
        "checks": {"file": [], "device": proven["device"]},
        "proof": proven["proof"],
    }


def take(site: Path, offered: Sequence[Offered], statement: Callable[[bytes], bytes]) -> tuple[PublishedWheel, ...]:
    """Put wheels into files/, all of them or none.

    PublishError where one is not what its record says.
    """
    staged = [one for one in offered if not _is_whole(site, one)]
    with ThreadPoolExecutor(2) as hashing, ThreadPoolExecutor(4) as waiting:  # copy, hash and disk at the same time
        done: list[Future[None]] = []
        for one in staged:
            copy = _folder(making(site), one) / one.file
            copy.parent.mkdir(parents=True)
            _copy(one, copy)
            done += [hashing.submit(_furnish, one, copy, statement), waiting.submit(sync, copy)]
        for result in done:
            result.result()
    sync(*(making(site) / "files").rglob("*"))
    for one in staged:
        _shelve(site, one)
    sync(*{folder for one in staged for folder in (_folder(site, one).parent, site / "files")})
    return tuple(_published(site, one) for one in offered)


def paths_of(wheel: PublishedWheel) -> tuple[str, ...]:
    """Name a wheel and what lies beside it, as a set's folder sees them."""
    return tuple(f"../{wheel.folder}{wheel.file}{suffix}" for suffix in ("", *SUFFIXES))


def _folder(top: Path, one: Offered) -> Path:
    return top / "files" / one.sha256[:2] / one.sha256


def _is_whole(site: Path, one: Offered) -> bool:
    """Tell whether an earlier set, or a publication that ended too early, brought the wheel already."""
    wheel_path = _folder(site, one) / one.file
    beside = [wheel_path.with_name(f"{one.file}{suffix}") for suffix in SUFFIXES]
    return all(path.is_file() for path in (wheel_path, *beside)) and file_sha256(wheel_path) == one.sha256


def _copy(one: Offered, to: Path) -> None:
    try:
        shutil.copyfile(one.path, to)
    except FileNotFoundError as error:
        hint = "run the nightly again: it makes what is missing"
        raise PublishError(f"The wheel {one.path} is gone since it was proven", hint=hint) from error


def _furnish(one: Offered, copy: Path, statement: Callable[[bytes], bytes]) -> None:
    """Compare a copy with its wheel's record, and write what lies beside it."""
    found = file_sha256(copy)
    if found != one.sha256:
        raise PublishError(
            f"The wheel {one.path} was altered after its proof; nothing is published",
            expected=f"sha256 {one.sha256}, as its record says",
            found=f"sha256 {found}",
            hint="remove it and run the nightly again, which builds and proves it anew",
        )
    record = (json_text(one.record)).encode()
    contents = (_dist_info(copy, "METADATA"), record, statement(record))
    beside = [copy.with_name(f"{copy.name}{suffix}") for suffix in SUFFIXES]
    for path, content in zip(beside, contents, strict=True):
        path.write_bytes(content)


def _shelve(site: Path, one: Offered) -> None:
    """Give a whole folder its place; a damaged one that is there makes room."""
    staged, place = _folder(making(site), one), _folder(site, one)
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        place.rename(making(site) / f"damaged-{one.sha256}")
    staged.rename(place)


def _published(site: Path, one: Offered) -> PublishedWheel:
    """Describe a wheel as it lies in files/: by the record beside it, which is the first that its content had."""
    path = _folder(site, one) / one.file
    record = json.loads(path.with_name(f"{one.file}.record.json").read_bytes())
    metadata = path.with_name(f"{one.file}.metadata").read_bytes()
    plan = record["plan"]
    return PublishedWheel(
        file=one.file,
        sha256=one.sha256,
        size_bytes=path.stat().st_size,
        metadata_sha256=hashlib.sha256(metadata).hexdigest(),
        requires_python=_field(metadata, "Requires-Python"),
        made=record["made"],
        key=plan["key"],
        cell=one.cell,
        recipe=plan["recipe"],
        target=plan["target"],
        python=plan["python"],
        is_release=one.is_release,
        abi_risk=_field(_dist_info(path, "WHEEL"), "Pibuild-Abi-Risk"),
        is_beside=one.is_beside,
    )


def _dist_info(wheel_path: Path, name: str) -> bytes:
    try:
        return dist_info_file(wheel_path, name)
    except WheelFormatError as error:
        raise PublishError(f"{wheel_path.name} is no whole wheel", found=str(error)) from error


def _field(content: bytes, name: str) -> str:
    return str(Parser().parsestr(content.decode("utf-8", "replace"), headersonly=True).get(name, ""))
