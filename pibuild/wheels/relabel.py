"""Other tags, another version, or further metadata for a wheel, so that all its parts still agree.

verify/ decides whether the contents support the new tags.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from packaging.tags import Tag
from packaging.version import InvalidVersion, Version

from pibuild.errors import ProofError
from pibuild.wheels.python_tags import abi_tag, interpreter_tag
from pibuild.wheels.wheel import (
    SIGNATURES,
    Wheel,
    WheelFile,
    WheelFormatError,
    parse_tag_set,
    read_wheel,
    wheel_name,
    write_wheel,
)

_SBOM_FILE = "sboms/pibuild.cdx.json"
"""The bill of materials in the dist-info folder (PEP 770)."""
_HEADERS_END = re.compile(rb"\r?\n\r?\n")
_VERSION_FIELD = re.compile(rb"^(Version:[ \t]*)[^\r\n]*", re.MULTILINE | re.IGNORECASE)
_OWN_FIELDS = ("Tag", "Root-Is-Purelib", "Wheel-Version", "Build")
"""Fields of WHEEL that are written anew."""


def relabel_built_wheel(
    path: Path, *, python: str, platform_tag: str, out_dir: Path, version: str | None = None, sbom: bytes | None = None
) -> Path:
    """Write the wheel that a recipe built with the tags of its target and Python, and return its path.

    `version` replaces the wheel's own; `sbom` is CycloneDX in JSON and becomes a part of the wheel. Equal input gives
    equal bytes. Raise ProofError if the file is not a wheel or the version is invalid.
    """
    tag = f"{interpreter_tag(python)}-{abi_tag(python)}-{platform_tag}"
    try:
        more = {_SBOM_FILE: sbom} if sbom else {}
        return write_wheel(relabel(read_wheel(path), tag, version=version, more=more), out_dir)
    except WheelFormatError as err:
        raise ProofError(f"{path.name} is not a wheel that can be tagged {tag}", found=str(err)) from err


def relabel(
    wheel: Wheel,
    tags_text: str,
    *,
    fields: Iterable[tuple[str, str]] = (),
    version: str | None = None,
    more: Mapping[str, bytes] = MappingProxyType({}),
) -> Wheel:
    """Return the same contents with other tags. Raise WheelFormatError if the tags or the version are invalid.

    `tags_text` is a tag, or a set in one word (`py2.py3-none-any`), for which WHEEL gets a line per tag. `fields` are
    added to WHEEL. `version` replaces that of METADATA and of the folders' names. `more` are files of the dist-info
    folder, by their path in it.
    """
    wheel = _with_version(wheel, version) if version else wheel
    name, tags = wheel_name(wheel.file_name), parse_tag_set(tags_text)
    build = "".join(map(str, name.build))
    is_pure = not wheel.has_machine_code and wheel.wheel_message.get("Root-Is-Purelib", "").lower() == "true"
    wheel_fields = [
        ("Wheel-Version", "1.0"),
        *((key, value) for key, value in wheel.wheel_message.items() if key not in _OWN_FIELDS),
        ("Root-Is-Purelib", str(is_pure).lower()),
        *(("Tag", tag) for tag in sorted(map(str, tags))),
        *([("Build", build)] if build else []),
        *fields,
    ]
    text = "".join(f"{key}: {value}\n" for key, value in wheel_fields)
    new = {f"{wheel.dist_info}/{path}": content for path, content in {**more, "WHEEL": text.encode()}.items()}
    replaced = {*new, *(f"{wheel.dist_info}/{path}" for path in ("RECORD", *SIGNATURES))}
    last = {file.path: file for file in wheel.files}  # of several with one name, pip also leaves the last one
    files = [file for file in last.values() if file.path not in replaced]
    files += [WheelFile(path=path, content=content, executable=False) for path, content in new.items()]
    files.sort(key=lambda file: (file.path.startswith(f"{wheel.dist_info}/"), file.path))
    parts = (name.name.replace("-", "_"), str(name.version), build, format_tag_set(tags))
    return Wheel(
        file_name="-".join(part for part in parts if part) + ".whl",
        files=(*files, _record(wheel.dist_info, files)),
        dist_info=wheel.dist_info,
    )


def format_tag_set(tags: Iterable[Tag]) -> str:
    """Return tags in one word, as file names have them: `py2.py3-none-any`."""
    columns = zip(*((tag.interpreter, tag.abi, tag.platform) for tag in tags), strict=True)
    return "-".join(".".join(sorted(set(column))) for column in columns)


def _with_version(wheel: Wheel, version: str) -> Wheel:
    """Return a wheel with another version in its file name, in METADATA, and in the names of .dist-info and .data."""
    try:
        normalized = str(Version(version))
    except InvalidVersion as err:
        raise WheelFormatError(str(err)) from err
    name, _, *rest_of_name = wheel.file_name.split("-")
    old_stem = wheel.dist_info.removesuffix(".dist-info")
    new_stem = f"{old_stem.partition('-')[0]}-{normalized}"
    folders = {f"{old_stem}.{kind}": f"{new_stem}.{kind}" for kind in ("dist-info", "data")}
    files = []
    for file in wheel.files:
        folder, slash, rest = file.path.partition("/")
        is_metadata = file.path == f"{wheel.dist_info}/METADATA"
        content = _metadata_with_version(file.content, normalized) if is_metadata else file.content
        files.append(replace(file, path=folders.get(folder, folder) + slash + rest, content=content))
    return Wheel(
        file_name="-".join([name, normalized, *rest_of_name]), files=tuple(files), dist_info=f"{new_stem}.dist-info"
    )


def _metadata_with_version(metadata: bytes, version: str) -> bytes:
    """Change the header field only: the description may have lines that look like it."""
    end = _HEADERS_END.search(metadata)
    headers = metadata[: end.start()] if end else metadata
    changed, count = _VERSION_FIELD.subn(rb"\g<1>" + version.encode(), headers)
    if count != 1:
        raise WheelFormatError(f"METADATA has {count} fields Version, one expected")
    return changed + metadata[len(headers) :]


def _record(dist_info: str, files: list[WheelFile]) -> WheelFile:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows((file.path, file.digest(), len(file.content)) for file in files)
    writer.writerow((f"{dist_info}/RECORD", "", ""))
    return WheelFile(path=f"{dist_info}/RECORD", content=text.getvalue().encode(), executable=False)
