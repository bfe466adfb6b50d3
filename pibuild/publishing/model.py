"""The nouns of publishing: a wheel of the index, and a set of them.

Values only; set.json is a set as `set_facts` writes it. How a set becomes files is site's knowledge.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedWheel:
    """One file of the index.

    What lies beside it has its name with a suffix: `.metadata`, `.record.json`, `.provenance.json`, all in the folder
    `files/SHA256[:2]/SHA256/` of the site.
    """

    file: str
    """`tflite_runtime-2.14.1-cp311-cp311-linux_armv6l.whl`."""
    sha256: str
    size_bytes: int
    metadata_sha256: str
    """Of the METADATA file, which lies beside the wheel with the suffix `.metadata`."""
    requires_python: str
    """As METADATA has it; empty where it has none."""
    made: str
    """When the wheel was proven, UTC, ISO 8601."""
    key: str
    """Of the plan that it was made by."""
    cell: str
    """Id of the cell that it belongs to; newer wheels of the same cell take its place."""
    recipe: str
    target: str
    """Empty for a wheel in pure Python that came with another: it is for all."""
    python: str
    is_release: bool
    """Whether it is a release as pinned, not what a moving ref was one night."""
    yanked: str | None = None
    """Why it is not to be picked any more (PEP 592); None where it may be."""
    abi_risk: str = ""
    """What the wheel says under Pibuild-Abi-Risk; empty where it claims no Python but its own."""
    hidden: str = ""
    """When retention took it out of the index, ISO 8601, its files staying for a while; empty where it is listed."""
    kept: bool = False
    """Whether a person undeleted it: retention leaves it alone from then on."""
    is_beside: bool = False
    """Whether it is there for another's sake: pip finds it, and nobody is told to install it."""

    @property
    def folder(self) -> str:
        """Give where the wheel lies under the site's top folder, with `/` at the end."""
        return f"files/{self.sha256[:2]}/{self.sha256}/"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSet:
    """What a reader of the index sees at one moment."""

    id: str
    """`20261125T031500Z-1f2e3d4c`: when it was made, and the begin of the sha256 of what it holds. Sorts by time."""
    made: str
    wheels: tuple[PublishedWheel, ...]
    """In the order of file name, then sha256; hidden ones are among them."""
    why: str
    """What made it: `night 20261125T031500Z`, `yank of …`, `retention`."""
    follows: str = ""
    """Id of the set that it was made from, which was the current one then; empty for the first."""

    @property
    def listed(self) -> tuple[PublishedWheel, ...]:
        """Give the wheels that the index shows."""
        return tuple(wheel for wheel in self.wheels if not wheel.hidden)


def set_facts(published: PublishedSet) -> dict[str, Any]:
    """Give a set as JSON writes it."""
    return asdict(published)


def set_from(content: bytes) -> PublishedSet:
    """Read the JSON of what set_facts gave; keys that this version does not know are passed over.

    ValueError where it is none.
    """
    published = TypeAdapter(PublishedSet).validate_json(content, strict=True)
    for moment in (one for wheel in published.wheels for one in (wheel.made, wheel.hidden) if one):
        if datetime.fromisoformat(moment).tzinfo is None:
            raise ValueError(f"{moment} names no moment without a time zone")
    return published


def in_words(error: Exception) -> str:
    """Say on one line why something could not be read."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, one['loc']))} {one['msg']}".strip() for one in error.errors()[:3])
    return str(error)
