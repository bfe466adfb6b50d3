"""Whether the thread-local variables of libraries fit into the static TLS block of a process.

Code of the initial-exec model finds its thread-local variables at a fixed distance from the thread pointer, so they
must lie in a block that each thread has from its start. glibc keeps room in it for libraries that are loaded later.

Source: glibc 2.31, 2.36 and 2.41, elf/dl-tls.c (TLS_STATIC_SURPLUS; LEGACY_TLS) and elf/dl-reloc.c
(`_dl_try_allocate_static_tls`). The numbers were measured as well: under emulation, libraries with 1664 bytes load with
each of these, and none with 1672; an alignment of 16 bytes does, and of 32 with the last two.
"""

from collections.abc import Iterable, Iterator, Sequence

from packaging.version import Version

from pibuild.verify.findings import Finding
from pibuild.verify.loading.loader_process import LoadedFile

_ROOM_BYTES, _ROUNDED_BYTES = 1664, 8
"""The room, and how much more there can be: a library with 1668 bytes loads with glibc 2.31 and 2.36, not with 2.41."""
_OPTIONAL_BYTES, _LIMITS_OPTIONAL = 512, Version("2.32")
"""The share of the room that TLS descriptors may take, and the first glibc that limits it; they work without, too."""
_ALIGN, _LARGER_ALIGN, _ALIGNS_MORE = 16, 32, Version("2.35")
_REMEDY = "compile it with -ftls-model=global-dynamic"
_SETTLES = "pibuild verify --run"


def static_tls_findings(files: Iterable[LoadedFile], glibc: Version) -> Iterator[Finding]:
    """Yield a finding if files that are loaded together while a program runs do not fit into the block."""
    parts = list(_parts(files))
    limit = _LARGER_ALIGN if glibc >= _ALIGNS_MORE else _ALIGN
    for file, _, align in parts:
        if align > limit and file.binary:
            reason = f"aligns variables of the static TLS block to {align} bytes; glibc {glibc} allows {limit}"
            yield _finding(file, "fails", reason, _REMEDY)
    used, largest = _sum(parts), _largest(parts)
    if used > _ROOM_BYTES and largest:
        reason = (
            f"needs {used} bytes of the static TLS block with its libraries; glibc keeps {_ROOM_BYTES} bytes "
            "for libraries that are loaded while a program runs"
        )
        is_close = used < _ROOM_BYTES + _ROUNDED_BYTES
        yield _finding(largest, "unsure" if is_close else "fails", reason, _SETTLES if is_close else _REMEDY)


def joint_static_tls_findings(groups: Sequence[Sequence[LoadedFile]], glibc: Version) -> Iterator[Finding]:
    """Yield a finding if each group of files that are loaded together fits into the block, but all groups may not."""
    files = {file.place or file.soname: file for group in groups for file in group}
    parts = list(_parts(files.values()))
    largest = _largest(parts)
    # A block that a TLS descriptor is for takes room if it fits, whatever comes later.
    dynamics = [file.binary.elf.dynamic for file in files.values() if file.binary and file.binary.elf.dynamic]
    sizes = [dynamic.tls_bytes for dynamic in dynamics if dynamic.uses_tls_descriptors]
    limit = _OPTIONAL_BYTES if glibc >= _LIMITS_OPTIONAL else _ROOM_BYTES
    used = _sum(parts) + min(sum(size for size in sizes if size <= limit), limit)
    if largest and used > _ROOM_BYTES and all(_sum(list(_parts(group))) <= _ROOM_BYTES for group in groups):
        reason = f"needs, with the other files, {used} bytes of the static TLS block; glibc keeps {_ROOM_BYTES}"
        yield _finding(largest, "unsure", reason, _SETTLES)


def _parts(files: Iterable[LoadedFile]) -> Iterator[tuple[LoadedFile, int, int]]:
    """Yield the files that take a part of the block, with its size and alignment."""
    files = list(files)
    symbols = frozenset[str]().union(
        *(file.binary.elf.dynamic.static_tls_symbols for file in files if file.binary and file.binary.elf.dynamic)
    )
    for file in files:
        dynamic = file.binary.elf.dynamic if file.binary else None
        if (
            dynamic
            and dynamic.tls_bytes
            and (dynamic.uses_static_tls or not dynamic.definitions.keys().isdisjoint(symbols))
        ):
            yield file, dynamic.tls_bytes, dynamic.tls_align
        elif file.library and file.library.static_tls and file.library.tls_bytes:
            yield file, file.library.tls_bytes, _ALIGN


def _sum(parts: Iterable[tuple[LoadedFile, int, int]]) -> int:
    used = 0
    for _, size, align in parts:
        used = -(-used // align) * align + size
    return used


def _largest(parts: Sequence[tuple[LoadedFile, int, int]]) -> LoadedFile | None:
    return max((part for part in parts if part[0].binary), key=lambda part: part[1], default=(None, 0, 0))[0]


def _finding(file: LoadedFile, outcome: str, reason: str, remedy: str) -> Finding:
    path = file.binary.path if file.binary else ""
    return Finding(
        outcome="fails" if outcome == "fails" else "unsure",
        check="loader",
        path=path,
        subject="static TLS",
        reason=reason,
        remedy=remedy,
    )
