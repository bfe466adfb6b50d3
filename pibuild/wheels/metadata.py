"""The fields of METADATA that installers read, as texts.

A wheel may be hostile: fields are read up to a limit, and a text that is no version is no error here.

Source: the core metadata specifications of the Python Packaging User Guide, and how pip 26.3 reads METADATA
(pip/_internal/metadata).
"""

from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import Version

from pibuild.wheels.wheel import MAX_FIELD_BYTES, Wheel, read_fields

_MAX_VERSION_LETTERS = 2000
MAX_REQUIREMENT_LETTERS = 20_000
"""Of a field Requires-Dist; those of published wheels have up to 300."""
_SHOWN_LETTERS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """The fields of METADATA; texts that are missing are empty."""

    exists: bool
    is_text: bool
    """Whether it is UTF-8."""
    is_cut: bool
    """Whether it has more fields than are read."""
    name: str
    version: str
    listed_version: str
    """That of the first line that begins with `Version:`, which pips for Python before 3.11 (pkg_resources) take.

    It differs from `version` where the fields can't be read: after a byte order mark or an empty line at the begin.
    """
    requires_python: str
    requires_dist: tuple[str, ...]
    import_names: tuple[str, ...]
    """The modules that the wheel is made for: Import-Name (PEP 794)."""


def read_metadata(wheel: Wheel) -> Metadata:
    """Return the fields of a wheel's METADATA."""
    content = wheel.content("METADATA")
    fields = read_fields(content or b"")
    names = [str(value).partition(";") for value in fields.get_all("Import-Name", [])]
    return Metadata(
        exists=content is not None,
        is_text=is_text(content or b""),
        is_cut=_is_cut(content or b""),
        name=str(fields.get("Name", "")),
        version=str(fields.get("Version", "")),
        listed_version=_listed_version(content or b""),
        requires_python=str(fields.get("Requires-Python", "")).strip(),
        requires_dist=tuple(str(value).strip() for value in fields.get_all("Requires-Dist", [])),
        import_names=tuple(name.strip() for name, _, note in names if note.strip() != "private"),
    )


def _listed_version(content: bytes) -> str:
    lines = content[:MAX_FIELD_BYTES].decode(errors="replace").splitlines()
    line = next((line for line in map(str.strip, lines) if line.lower().startswith("version:")), "")
    return line.partition(":")[2].strip()


def version_or_none(text: str) -> Version | None:
    """Return the version that a text is; None if it is none, or has numbers with thousands of digits."""
    try:
        return Version(text) if len(text) <= _MAX_VERSION_LETTERS else None
    except ValueError:  # InvalidVersion, and Python's limit of digits
        return None


def requirement_or_none(text: str) -> Requirement | None:
    """Return what a field Requires-Dist asks for; None if it is invalid (PEP 508), or no version can be compared.

    A longer field than MAX_REQUIREMENT_LETTERS is not read: None.
    """
    if len(text) > MAX_REQUIREMENT_LETTERS:
        return None
    try:
        requirement = Requirement(text)
        requirement.specifier.contains("1")  # versions are parsed when they are compared
    except (InvalidRequirement, RecursionError, ValueError):
        return None
    return requirement


def shown(text: str) -> str:
    """Return a text of a wheel for a message: cut, and without control characters."""
    text = text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}…"
    return text if text.isprintable() else repr(text)[1:-1]


def is_text(content: bytes) -> bool:
    """Return whether a file is UTF-8."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_cut(content: bytes) -> bool:
    begin = content[:MAX_FIELD_BYTES]
    return len(content) > len(begin) and b"\n\n" not in begin and b"\r\n\r\n" not in begin
