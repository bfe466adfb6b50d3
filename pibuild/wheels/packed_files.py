"""Machine code that is packed inside files of a wheel: in zip archives, or a single file that is compressed.

Archives of other kinds, and files with machine code in their middle, are only named.

An archive may be hostile: the number of files that are looked at, their sizes, their ratio and how deep archives stand
in archives are limited. Nothing is written.

Source: APPNOTE.TXT of the zip format; magic numbers of file(1); for ELF files, the ELF specification, chapter 4.
"""

import bz2
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from struct import unpack_from

from pibuild.wheels.wheel import ZIP_DAMAGE, WheelFile

_ELF, _ZIP_FILE, _ZIP_ENTRY, _ZIP_END = b"\x7fELF", b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_MAX_DEPTH = 3
"""Of archives in one another."""
_MAX_ENTRIES, _MAX_LOOKED_AT = 10_000, 30_000
"""The files of one archive, and of all of them."""
_MAX_BYTES, _MAX_RATIO, _SMALL_BYTES = 16 << 20, 200, 1 << 20
"""Of everything that is unpacked, and between a file's size and its packed form, for files of more than 1 MB."""
_END_BYTES = 22 + 0xFFFF
"""In which the end of a zip file is found."""
_MAX_MEMORY = 64 << 20
"""Of a decompressor; xz needs as much as the file says."""
_FIRST_BYTES = 512
"""Of a compressed file, which tell what is in it."""
_PAYLOAD_BYTES = 64 << 10
"""Behind the end of a program, for a payload to be mentioned."""
_EMBEDDED = re.compile(rb"\x7fELF[\x01\x02]\x01\x01.{9}[\x02\x03]\0(?:\x28|\xb7|\x3e|\x03)\0\x01\0\0\0", re.DOTALL)
"""The header of a little-endian program or library for ARM or x86."""
_UNPACKERS: tuple[tuple[bytes, str, Callable[[bytes, int], bytes]], ...] = (
    (b"\xfd7zXZ\0", "xz", lambda packed, most: lzma.LZMADecompressor(memlimit=_MAX_MEMORY).decompress(packed, most)),
    (b"\x1f\x8b\x08", "gzip", lambda packed, most: zlib.decompressobj(31).decompress(packed, most)),
    (b"BZh", "bzip2", lambda packed, most: bz2.BZ2Decompressor().decompress(packed, most)),
)
_ARCHIVES = (
    (0, b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard"),
    (0, b"hsqs", "SquashFS"),
    (0, b"!<arch>\ndebian-binary", "deb"),
    (257, b"ustar", "tar"),
)
"""Where the magic number of each kind is."""
_NAME_OF_CODE = re.compile(r"\.(so|tar|egg|whl)\b")
_UNPACKED_AT_ONCE = 64 << 10
_DAMAGE = (*ZIP_DAMAGE, OSError, MemoryError)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedCode:
    """What is packed in a wheel's files."""

    files: tuple[WheelFile, ...] = ()
    """ELF files in zip archives; a path is that of the archive, a slash, and the path in it."""
    archives: dict[str, str] = field(default_factory=dict)
    """The archive in the wheel in which each of these files is, by its path."""
    unread: tuple[tuple[str, str], ...] = ()
    """Files that contain or may contain machine code that is not read, and why."""


def read_packed_code(files: Iterable[WheelFile]) -> PackedCode:
    """Return the machine code in the archives among a wheel's files."""
    return _Reader().read(files)


class _Reader:
    """The remaining limits, and the files that were found so far."""

    def __init__(self) -> None:
        self._left_bytes, self._left_files = _MAX_BYTES, _MAX_LOOKED_AT
        self._files: dict[str, WheelFile] = {}
        self._archives: dict[str, str] = {}
        self._unread: dict[str, str] = {}

    def read(self, files: Iterable[WheelFile]) -> PackedCode:
        for file in files:
            if not file.path.endswith(".py"):
                self._look_into(file.path, file.content, file.path, 1)
        unread = tuple(self._unread.items())
        return PackedCode(files=tuple(self._files.values()), archives=self._archives, unread=unread)

    def _look_into(self, path: str, content: bytes, archive: str, depth: int) -> None:
        if content.startswith(_ZIP_FILE) or _ZIP_END in content[-_END_BYTES:]:
            if depth > _MAX_DEPTH:
                self._unread[path] = f"is a zip file in {_MAX_DEPTH} others"
            else:
                self._look_into_zip(path, content, archive, depth)
        elif unpacker := next((each for each in _UNPACKERS if content.startswith(each[0])), None):
            self._unpack(path, content, archive, unpacker[1], unpacker[2])
        elif reason := _unread_code(path, content):
            self._unread[path] = reason

    def _unpack(
        self, path: str, content: bytes, archive: str, name: str, unpack: Callable[[bytes, int], bytes]
    ) -> None:
        """Look into a file that is compressed."""
        try:
            unpacked = unpack(content[:_UNPACKED_AT_ONCE], _FIRST_BYTES)
            if unpacked.startswith(_ELF) or _archive_kind(unpacked):
                unpacked = unpack(content, self._left_bytes)
        except _DAMAGE:
            return
        if not unpacked.startswith(_ELF):
            self._left_bytes -= len(unpacked)
            if reason := _unread_code(path, unpacked):
                self._unread[path] = f"{reason} (packed with {name})"
        elif len(unpacked) == self._left_bytes or len(unpacked) > max(_SMALL_BYTES, _MAX_RATIO * len(content)):
            self._unread[path] = f"is machine code, packed with {name}: too much to be examined"
        else:
            self._keep(f"{path}/{path.rpartition('/')[2].rpartition('.')[0]}", unpacked, archive)

    def _keep(self, path: str, content: bytes, archive: str) -> None:
        self._left_bytes -= len(content)
        self._files[path] = WheelFile(path=path, content=content, executable=False)
        self._archives[path] = archive

    def _look_into_zip(self, path: str, content: bytes, archive: str, depth: int) -> None:
        if content.count(_ZIP_ENTRY) > min(_MAX_ENTRIES, self._left_files):
            self._unread[path] = "is a zip file of very many files"
            return
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as opened:
                for info in opened.infolist()[: self._left_files]:
                    self._left_files -= 1
                    self._look_at_entry(opened, info, path, archive, depth)
        except _DAMAGE as err:
            if not path.endswith((".npz", ".docx", ".xlsx")):
                self._unread[path] = f"is a zip file that can't be read: {err or type(err).__name__}"

    def _look_at_entry(
        self, opened: zipfile.ZipFile, info: zipfile.ZipInfo, path: str, archive: str, depth: int
    ) -> None:
        inner = f"{path}/{info.filename}"
        if info.is_dir() or info.filename.endswith(".class"):
            return
        if info.file_size > max(_SMALL_BYTES, _MAX_RATIO * info.compress_size):
            self._unread[inner] = f"unpacks from {info.compress_size} to {info.file_size} bytes"
            return
        with opened.open(info) as stream:
            begin = stream.read(_FIRST_BYTES)
            if begin.startswith((_ELF, _ZIP_FILE)):
                if info.file_size > self._left_bytes:
                    self._unread[inner] = f"is more than the {_MAX_BYTES >> 20} MB that are unpacked"
                    return
                begin += stream.read(info.file_size)
        if begin.startswith(_ELF):
            self._keep(inner, begin, archive)
        else:
            self._left_bytes -= len(begin) if begin.startswith(_ZIP_FILE) else 0
            self._look_into(inner, begin, archive, depth + 1)


def _unread_code(path: str, content: bytes) -> str:
    """Return why a file contains machine code, or may contain it, that is not read; empty if nothing shows that."""
    kind = _archive_kind(content)
    if kind == "tar":
        return "is a tar archive with machine code, which is not examined" if _EMBEDDED.search(content) else ""
    if kind:
        is_data = kind == "Zstandard" and not _NAME_OF_CODE.search(path)
        return "" if is_data else f"is a {kind} archive, whose files are not examined"
    if not content.startswith(_ELF):
        match = None if content.startswith(b"!<arch>") else _EMBEDDED.search(content)
        return f"contains machine code, {match.start()} bytes behind its begin, which is not examined" if match else ""
    payload = len(content) - _elf_end(content)
    if payload < _PAYLOAD_BYTES:
        return ""
    return f"has {payload} bytes behind the end of its machine code, which are not examined"


def _archive_kind(content: bytes) -> str:
    return next((kind for at, magic, kind in _ARCHIVES if content.startswith(magic, at)), "")


def _elf_end(content: bytes) -> int:
    """Return where the last segment or the table of sections ends; the size of the file if that can't be read."""
    ends = list(_ends(content)) if len(content) > len(_ELF) + 60 else []
    return max(ends, default=len(content))


def _ends(content: bytes) -> Iterator[int]:
    is_32 = content[4] == 1
    segments, sections = unpack_from("<II", content, 28) if is_32 else unpack_from("<QQ", content, 32)
    segment_size, segment_count, section_size, section_count = unpack_from("<4H", content, 42 if is_32 else 54)
    yield sections + section_size * section_count
    for number in range(segment_count):
        at = segments + number * segment_size
        if at + segment_size > len(content) or segment_size < (32 if is_32 else 56):
            return
        offset, size = unpack_from("<I8xI", content, at + 4) if is_32 else unpack_from("<Q16xQ", content, at + 8)
        yield offset + size
