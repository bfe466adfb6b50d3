"""Wheels for tests. A test names what differs from the plainest one."""

import base64
import hashlib
import io
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from tests.makers.elfs import SO, make_elf


def make_wheel(
    folder: Path,
    files: Mapping[str, bytes] | None = None,
    *,
    file_name: str = "thing-1.0-cp311-cp311-linux_armv6l.whl",
    tags: Sequence[str] = ("cp311-cp311-linux_armv6l",),
    purelib: str = "false",
    metadata: str = "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n",
    record: Callable[[str], str] | None = None,
    dist_info: str = "thing-1.0.dist-info",
    programs: Collection[str] = (),
) -> Path:
    """Write a wheel that agrees with itself, but for what a test says; `record` changes RECORD's text.

    `programs` are the paths of files that may be executed.
    """
    claims = "".join(f"Tag: {tag}\n" for tag in tags)
    wheel = f"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: {purelib}\n{claims}"
    held = {SO: make_elf(), "thing/__init__.py": b""} if files is None else dict(files)
    held |= {f"{dist_info}/METADATA": metadata.encode(), f"{dist_info}/WHEEL": wheel.encode()}
    rows = "".join(f"{name},{_digest(content)},{len(content)}\n" for name, content in held.items())
    text = rows + f"{dist_info}/RECORD,,\n"
    held[f"{dist_info}/RECORD"] = (record(text) if record else text).encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in held.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.external_attr = (0o100755 if name in programs else 0o100644) << 16
            archive.writestr(info, content)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name
    path.write_bytes(stream.getvalue())
    return path


TFLITE = "tflite_runtime-2.14.1-cp311-cp311-linux_armv6l.whl"


def make_tflite_wheel(folder: Path, files: Mapping[str, bytes] | None = None) -> Path:
    """The wheel of the newest tflite-runtime for pi-one and Python 3.11, as far as its plan tells."""
    return make_wheel(
        folder,
        files,
        file_name=TFLITE,
        metadata="Metadata-Version: 2.1\nName: tflite-runtime\nVersion: 2.14.1\n",
        dist_info="tflite_runtime-2.14.1.dist-info",
    )


def _digest(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
