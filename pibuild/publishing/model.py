"""The values of publishing: a wheel of the index, and a set of wheels.

set.json is a PublishedSet as JSON. How a set becomes files is in layout.
"""

from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from pibuild.errors import PibuildError

SIDECARS = (".metadata", ".record.json", ".provenance.json")
"""Suffixes of the files beside a wheel."""
SIGNED_PROVENANCE = ".intoto.jsonl"
"""Suffix of the signed copy of a wheel's provenance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedWheel:
    """One file of the index."""

    file: str
    """`tflite_runtime-2.14.1-cp311-cp311-linux_armv6l.whl`."""
    sha256: str
    size_bytes: int
    metadata_sha256: str
    """Of the METADATA file, a copy of which is beside the wheel."""
    requires_python: str
    """As in METADATA; empty if METADATA does not say."""
    made: str
    """When the wheel was proven, UTC, ISO 8601."""
    key: str
    """Key of the plan that it was built by."""
    cell: str
    """Id of its cell; newer wheels of the same cell replace it."""
    recipe: str
    target: str
    """Empty for a dependency in pure Python: it is for all targets."""
    python: str
    is_release: bool
    """Whether it is a pinned release, not a nightly of a ref."""
    yanked: str | None = None
    """Why pip must not pick it any more (PEP 592), which may be empty; None if it isn't yanked."""
    abi_risk: str = ""
    """The wheel's field Pibuild-Abi-Risk; empty if it claims only the Python that it was compiled for."""
    hidden: str = ""
    """When retention removed it from the index, ISO 8601; empty if it is listed. Its files stay for a grace period."""
    kept: bool = False
    """Whether a person undeleted it: retention ignores it from then on."""
    is_beside: bool = False
    """Whether it is published only as a dependency of another wheel."""

    @property
    def folder(self) -> str:
        """Path of the folder of the wheel and its sidecars under the site's top folder, with `/` at the end."""
        return wheel_folder(self.sha256)

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the wheel and its sidecars under the site's top folder."""
        return tuple(f"{self.folder}{self.file}{suffix}" for suffix in ("", *SIDECARS))

    @property
    def signed_provenance(self) -> str:
        """Path of the signed provenance, which a set has if it is signed."""
        return f"{self.folder}{self.file}{SIGNED_PROVENANCE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSet:
    """The wheels that a reader of the index sees at one moment."""

    id: str
    """`20261125T031500Z-1f2e3d4c`: when it was made, and the begin of its content's sha256. Sorts by time."""
    made: str
    wheels: tuple[PublishedWheel, ...]
    """Sorted by file name, then sha256; hidden wheels included."""
    why: str
    """The reason for the set: `night 20261125T031500Z`, `yank of …`."""
    follows: str = ""
    """Id of the set that was current before and that it was made from; empty for the first."""

    @property
    def listed(self) -> tuple[PublishedWheel, ...]:
        """The wheels that the index lists."""
        return tuple(wheel for wheel in self.wheels if not wheel.hidden)


def set_from(content: bytes) -> PublishedSet:
    """Return the set of a set.json; keys that this version does not have are ignored.

    Raises ValueError if it is the JSON of something else.
    """
    published = TypeAdapter(PublishedSet).validate_json(content, strict=True)
    for time in (time for wheel in published.wheels for time in (wheel.made, wheel.hidden) if time):
        if datetime.fromisoformat(time).tzinfo is None:
            raise ValueError(f"the time {time} has no time zone")
    return published


def wheel_folder(sha256: str) -> str:
    """Return the path of the folder of a wheel and its sidecars, with `/` at the end."""
    return f"files/{sha256[:2]}/{sha256}/"


def read_error(error: Exception) -> str:
    """Return on one line why a file could not be read."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, fault['loc']))} {fault['msg']}".strip() for fault in error.errors()[:3])
    if isinstance(error, PibuildError):
        return f"{error.what}: {error.found}" if error.found else error.what
    return str(error)
