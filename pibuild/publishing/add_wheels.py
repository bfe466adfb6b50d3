"""Proven wheels are added to the site: copied, compared with their records, and given their sidecars.

A wheel's folder in files/ is named by its sha256, appears whole by rename, and never changes.
"""

import hashlib
import json
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from packaging.utils import parse_wheel_filename

from pibuild.errors import PublishError
from pibuild.files import file_sha256, json_text
from pibuild.model import Cell
from pibuild.publishing.layout import staging_dir, sync
from pibuild.publishing.model import SIDECARS, PublishedWheel, wheel_folder
from pibuild.publishing.provenance import provenance, signed_provenance
from pibuild.store.local import Entry, machines_in, with_machines
from pibuild.wheels.wheel import WheelFormatError, dist_info_file


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenWheel:
    """A proven wheel that is to be published."""

    path: Path
    record: dict[str, Any]
    """As the proof wrote it."""
    cell: str
    """Id of its cell; a dependency in pure Python has the id of its project."""
    is_release: bool
    is_beside: bool = False
    """Whether it is published only as a dependency of another wheel."""

    @property
    def file(self) -> str:
        """The file name in the record."""
        return str(self.record["wheel"]["file"])

    @property
    def sha256(self) -> str:
        """The hash in the record: that of the wheel when it was proven."""
        return str(self.record["wheel"]["sha256"])


def proven_wheels(cell: Cell, entry: Entry) -> Iterator[ProvenWheel]:
    """Return the proven wheel of a cell, and the dependencies in pure Python that were proven with it."""
    yield ProvenWheel(
        path=entry.path, record=entry.facts, cell=cell.id, is_release=not cell.ref, is_beside=cell.is_beside
    )
    for packages in entry.facts["dependencies"]["packages"] if cell.with_dependencies else ():
        for wheel in packages["wheels"]:
            yield ProvenWheel(
                path=entry.path.parent / "extras" / wheel["file"],
                record=_package_record(entry.facts, packages, wheel),
                cell=f"{packages['recipe']}-{parse_wheel_filename(wheel['file'])[0]}",
                is_release=True,
                is_beside=True,
            )


def _package_record(record: dict[str, Any], packages: dict[str, Any], wheel: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a wheel in pure Python: for any target, proven together with the wheel that needs it."""
    proven = record["dependencies"]
    plan = {"recipe": packages["recipe"], "version": packages["version"], "python": packages["python"]}
    return {
        **{name: record[name] for name in ("pibuild", "made", "device")},
        "wheel": wheel,
        "extras": [],
        "plan": {"key": packages["key"], "target": "", "reason": f"beside {record['wheel']['file']}", **plan},
        "artifacts": [{name: value for name, value in packages.items() if name != "wheels"}],
        "checks": {"file": [], "device": proven["device"]},
        "proof": proven["proof"],
        **with_machines(machines_in(record)),
    }


def add_wheels(
    site_dir: Path, wheels: Sequence[ProvenWheel], *, listed: Collection[tuple[str, str]] = ()
) -> tuple[PublishedWheel, ...]:
    """Put wheels into files/, all of them or none; wheels that files/ already has are added again.

    `listed` has path and sha256 of files that sets of this publication list. A wheel stays as it is if all its sidecars
    are among them; others may have been planted. Raises PublishError if a wheel is not the one of its record.
    """
    new = [wheel for wheel in wheels if not _is_whole(site_dir, wheel, listed)]
    with ThreadPoolExecutor(2) as hashing, ThreadPoolExecutor(4) as syncing:  # copying, hashing and writing overlap
        steps: list[Future[None]] = []
        for wheel in new:
            copy = _folder(staging_dir(site_dir), wheel) / wheel.file
            copy.parent.mkdir(parents=True)
            if not wheel.path.is_file():
                hint = "run pibuild nightly again: it builds missing wheels"
                raise PublishError(f"The proven wheel {wheel.path} was removed from the store", hint=hint)
            shutil.copyfile(wheel.path, copy)
            steps += [hashing.submit(_write_sidecars, wheel, copy), syncing.submit(sync, copy)]
        for step in steps:
            step.result()
    sync(*(staging_dir(site_dir) / "files").rglob("*"))
    for wheel in new:
        _shelve(site_dir, wheel)
    sync(*{folder for wheel in new for folder in (_folder(site_dir, wheel).parent, site_dir / "files")})
    return tuple(_published(site_dir, wheel) for wheel in wheels)


def _folder(top: Path, wheel: ProvenWheel) -> Path:
    return top / wheel_folder(wheel.sha256)


def _sidecars(wheel_path: Path) -> list[Path]:
    return [wheel_path.with_name(f"{wheel_path.name}{suffix}") for suffix in SIDECARS]


def _is_whole(site_dir: Path, wheel: ProvenWheel, listed: Collection[tuple[str, str]]) -> bool:
    """Return whether an earlier set added the wheel, and its sidecars are those that the set lists."""
    path = _folder(site_dir, wheel) / wheel.file
    is_present = path.is_file() and file_sha256(path) == wheel.sha256
    are_listed = all(
        file.is_file() and (file.relative_to(site_dir).as_posix(), file_sha256(file)) in listed
        for file in _sidecars(path)
    )
    return is_present and are_listed and not is_own_now(site_dir, wheel)


def is_own_now(site_dir: Path, wheel: ProvenWheel) -> bool:
    """Return whether a published wheel came from another machine, and this one has now made the same bytes itself.

    Its record is then replaced, or the set could not be signed.
    """
    _, record_path, _ = _sidecars(_folder(site_dir, wheel) / wheel.file)
    return record_path.is_file() and bool(machines_in(_record(record_path))) and not machines_in(wheel.record)


def _record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes())
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _write_sidecars(wheel: ProvenWheel, copy: Path) -> None:
    """Compare a copy with its record, then write its sidecars."""
    digest = file_sha256(copy)
    if digest != wheel.sha256:
        raise PublishError(
            f"The wheel {wheel.path} was changed after its proof; nothing is published",
            expected=f"sha256 {wheel.sha256}, as in its record",
            found=f"sha256 {digest}",
            hint="remove it and run pibuild nightly again, which builds and proves it anew",
        )
    record = json_text(wheel.record).encode()
    contents = (_dist_info(copy, "METADATA"), record, provenance(record))
    for path, content in zip(_sidecars(copy), contents, strict=True):
        path.write_bytes(content)


def _shelve(site_dir: Path, wheel: ProvenWheel) -> None:
    """Move a finished folder to its place, or its files if a folder is there: readers find a whole file each time."""
    staged, place = _folder(staging_dir(site_dir), wheel), _folder(site_dir, wheel)
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        for path in staged.iterdir():
            path.replace(place / path.name)
        sync(place)
    else:
        staged.rename(place)


def sign_provenance(site_dir: Path, wheel: PublishedWheel, sums: Mapping[str, str], key: Ed25519PrivateKey) -> str:
    """Write the provenance of a wheel as an envelope of this key beside it, and return the envelope's sha256.

    `sums` has the sha256 of the provenance. Returns "" if that file is missing. Raises PublishError if it was changed.
    """
    path, envelope_path = site_dir / f"{wheel.paths[0]}.provenance.json", site_dir / wheel.signed_provenance
    if not path.is_file():
        return ""
    statement = path.read_bytes()
    if hashlib.sha256(statement).hexdigest() != sums[f"{wheel.paths[0]}.provenance.json"]:
        hint = "copy it back from a destination, or publish another set: pibuild publish rollback SET"
        raise PublishError(f"{path} was changed; nothing is published", hint=hint)
    envelope = signed_provenance(statement, key)
    if not envelope_path.is_file() or envelope_path.read_bytes() != envelope:
        staged = staging_dir(site_dir) / envelope_path.name
        staged.parent.mkdir(exist_ok=True)
        staged.write_bytes(envelope)
        sync(staged)
        staged.replace(envelope_path)
        sync(envelope_path.parent)
    return hashlib.sha256(envelope).hexdigest()


def _published(site_dir: Path, wheel: ProvenWheel) -> PublishedWheel:
    """Return the wheel as files/ has it, by the record beside it: the first one that was written for this content."""
    path = _folder(site_dir, wheel) / wheel.file
    metadata_path, record_path, _ = _sidecars(path)
    metadata, record = metadata_path.read_bytes(), json.loads(record_path.read_bytes())
    plan = record["plan"]
    return PublishedWheel(
        file=wheel.file,
        sha256=wheel.sha256,
        size_bytes=path.stat().st_size,
        metadata_sha256=hashlib.sha256(metadata).hexdigest(),
        requires_python=_field(metadata, "Requires-Python"),
        made=record["made"],
        key=plan["key"],
        cell=wheel.cell,
        recipe=plan["recipe"],
        target=plan["target"],
        python=plan["python"],
        is_release=wheel.is_release,
        abi_risk=_field(_dist_info(path, "WHEEL"), "Pibuild-Abi-Risk"),
        is_beside=wheel.is_beside,
    )


def _dist_info(wheel_path: Path, name: str) -> bytes:
    try:
        return dist_info_file(wheel_path, name)
    except WheelFormatError as error:
        raise PublishError(f"{wheel_path.name} is not a valid wheel", found=str(error)) from error


def _field(content: bytes, name: str) -> str:
    return str(Parser().parsestr(content.decode("utf-8", "replace"), headersonly=True).get(name, ""))
