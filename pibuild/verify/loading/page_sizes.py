"""Whether the segments of a wheel's files can be mapped with the memory pages of a kernel: 4 KiB, or 16 KiB on a Pi 5.

Source: glibc 2.36, elf/dl-load.c and dl-map-segments.h; Linux, fs/binfmt_elf.c.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from pibuild.machinecode.dynamic import Load
from pibuild.verify.binary import Binary
from pibuild.verify.findings import Finding

_WRITABLE, _EXECUTABLE = 2, 1
_USUAL = 4096
_SETTLES = "pibuild verify --run"


def page_findings(binaries: Iterable[Binary], page_bytes: int) -> Iterator[Finding]:
    """Yield a finding for each file that can't be mapped where a page has this size.

    Only kernels of 64 bits have larger pages than 4 KiB, so code for 32 bits is not examined for them.
    """
    for binary in binaries:
        dynamic = binary.elf.dynamic
        if not dynamic or not (binary.elf.is_aarch64 or page_bytes == _USUAL):
            continue
        if reason := _fault(binary, dynamic.loads, page_bytes):
            remedy = f"link it with -Wl,-z,max-page-size={65536 if binary.elf.is_aarch64 else page_bytes}"
            yield Finding(
                outcome="fails", check="pages", path=binary.path, subject="PT_LOAD", reason=reason, remedy=remedy
            )
        yield from _allocator_findings(binary, page_bytes)


def _allocator_findings(binary: Binary, page_bytes: int) -> Iterator[Finding]:
    supported = binary.elf.jemalloc_page_bytes
    if supported is None or supported >= page_bytes or page_bytes == _USUAL:
        return
    finding = Finding(outcome="unsure", check="pages", path=binary.path, subject="jemalloc", reason="", remedy=_SETTLES)
    pages = f"pages of {page_bytes // 1024} KiB"
    if supported:
        reason = f"contains a jemalloc for pages of {supported // 1024} KiB, which refuses {pages}"
        remedy = "build it with JEMALLOC_SYS_WITH_LG_PAGE=16, or jemalloc with --with-lg-page=16"
        yield replace(finding, outcome="fails", reason=reason, remedy=remedy)
    else:
        yield replace(finding, reason=f"contains a jemalloc; it can't be told whether it supports {pages}")


def _fault(binary: Binary, loads: Sequence[Load], page_bytes: int) -> str:
    pages = f"pages of {page_bytes // 1024} KiB"
    for load in loads:
        if (load.address - load.offset) % page_bytes:
            places = f"at {load.address:#x}, and at {load.offset:#x} in the file"
            return f"has a segment that can't be mapped with {pages}: it is {places}"
    ordered = sorted(loads, key=lambda load: load.address)
    for left, right in pairwise(ordered):
        start, end = right.address // page_bytes * page_bytes, left.address + left.file_bytes
        if start < end and _harms(binary, left, right, start):
            return f"has segments at {left.address:#x} and {right.address:#x} that share a page, with {pages}"
    return ""


def _harms(binary: Binary, left: Load, right: Load, start: int) -> bool:
    """Whether the second segment, which is mapped later, overwrites something of the first one on their common pages.

    The first one loses code there if the second one shows other bytes or can't be executed, and if both show the same
    bytes, data that can no longer be changed. Other bytes of the first one may be unused.
    """
    has_code = any(
        left.address <= section.address < right.address and section.address + len(section.code) > start
        for section in binary.elf.sections
    )
    lost = left.flags & ~right.flags
    shows_same = left.address - left.offset == right.address - right.offset
    return (has_code and (not shows_same or bool(lost & _EXECUTABLE))) or (shows_same and bool(lost & _WRITABLE))
