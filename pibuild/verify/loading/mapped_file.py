"""Whether the loader and the kernel of a release map one file, without regard to the libraries that it needs.

Source: glibc 2.31, 2.36 and 2.41: elf/dl-load.c, dl-map-segments.h, dl-reloc.c, dl-version.c, sysdeps/*/dl-machine.h,
sysdeps/unix/sysv/linux/arm/ldsodefs.h (the ARM header flags); Linux, fs/binfmt_elf.c.
"""

import posixpath
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal

from packaging.version import Version

from pibuild.config.pis import System
from pibuild.machinecode.dynamic import DynamicObject, Load
from pibuild.machinecode.load_calls import LoadCall
from pibuild.verify.binary import Binary
from pibuild.verify.findings import Finding

Role = Literal["program", "startup", "module"]
"""A program, a library that is loaded when a program starts, and one that is loaded while it runs (by `import`)."""
_Outcome = Literal["fails", "unsure", "note"]
_INTERPRETERS = {
    32: ("/lib/ld-linux-armhf.so.3", "/lib/arm-linux-gnueabihf/ld-linux-armhf.so.3"),
    64: ("/lib/ld-linux-aarch64.so.1", "/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1"),
}
_OLD_LINKS = ("/lib/ld-linux.so.3", "/lib/arm-linux-gnueabihf/ld-linux.so.3")
_LAST_WITH_LINKS = Version("2.31")
"""Up to bullseye, libc6 has the second as a link to the loader, and Raspberry Pi's libraspberrypi0 makes the first when
it is installed (https://github.com/RPi-Distro/pi-gen/issues/397)."""
_OTHER_SYSTEMS = (
    ("ld-musl", "musl's loader"),
    ("/system/bin/linker", "Android's loader"),
    ("ld-linux.so.3", "the loader of soft-float systems"),
)
_NO_EXECUTABLE_STACK, _RELR, _ANY_ALIGNMENT = Version("2.41"), Version("2.36"), Version("2.35")
"""The first glibc whose dlopen refuses a library with an executable stack, that applies packed relocations, and that
accepts segments whose stated alignment is less than a page."""
_RELR_VERSION = "GLIBC_ABI_DT_RELR"
_REFUSES_PIE = Version("2.30")
_EXECUTABLE, _WRITABLE, _FIXED, _GNU, _PAGE, _ALL = 1, 2, 2, 3, 4096, (1 << 64) - 1
_MEMORY_BYTES = {32: 3 << 30, 64: 1 << 47}
"""The most that a kernel gives to a program: Linux, TASK_SIZE."""
_SOFT_FLOAT = 0x200
"""EF_ARM_ABI_FLOAT_SOFT of `e_flags`."""
_OS_ABIS = {32: (0, 3, 64), 64: (0, 3)}
_LAST_ABI_VERSION = 2
"""Of files for GNU (OS ABI 3): glibc 2.31, 2.36 and 2.41 load 1 and 2, and refuse 3 to 9."""
_KNOWN_RELOCATIONS = {
    32: frozenset((0, 1, 2, 13, 17, 18, 19, 20, 21, 22, 23, 160)),
    64: frozenset((0, 256, 257, 258, *range(1024, 1033))),
}
_LAZY_RELOCATIONS = {32: frozenset((13, 22, 160)), 64: frozenset((1026, 1031, 1032))}
"""Relocations that the loader applies only at the first call: JUMP_SLOT, TLS_DESC and IRELATIVE."""
_HEADER_BYTES = 52
_PASSES_FLOATS = re.compile(
    r"PyFloat_(FromDouble|AsDouble)|PyComplex_\w+|_Py_c_\w+|PyOS_(string_to_double|double_to_string)|strto[dfl]{1,2}|atof"
    r"|(a?(sin|cos|tan)h?|atan2|exp(2|m1)?|log(2|10|1p|b)?|pow|sqrt|cbrt|hypot|erfc?|[tl]gamma(_r)?|fabs|fmod|f(ma|max|min|dim)"
    r"|ceil|floor|l?l?r(ound|int)|nearbyint|trunc|[lf]r?exp|modf|remainder|remquo|scalbl?n|ilogb|copysign|nextafter)[fl]?"
)
"""Functions of Python and libm that take or return floating-point numbers."""
_HARD_FLOAT_REMEDY = "compile it with -mfloat-abi=hard"
_RELINK = "link it again with GNU ld or lld"
_STACK_REMEDY = "link it with -Wl,-z,noexecstack, or clear the flag: patchelf --clear-execstack"


def is_program(binary: Binary) -> bool:
    """Whether the kernel starts the file; libraries may have an interpreter, too (libc.so.6)."""
    dynamic = binary.elf.dynamic
    if not dynamic or re.search(r"\.so(\.|$)", binary.file_name):
        return False
    return dynamic.kind == 2 or dynamic.is_pie or bool(dynamic.interpreter)


def mapping_findings(binary: Binary, system: System, bits: int, *, role: Role) -> Iterator[Finding]:
    """Yield findings because of which the loader or the kernel of a release refuses the file."""
    dynamic = binary.elf.dynamic
    if dynamic is None:
        return
    if role == "program":
        yield from _interpreter_findings(binary, dynamic, system, bits)
    else:
        yield from _library_findings(binary, dynamic, system, bits, is_dlopened=role == "module")
    yield from _segment_findings(binary, dynamic, system, bits, is_main=role == "program")
    yield from _table_findings(binary, dynamic)
    yield from _relocation_findings(binary, dynamic, bits)
    if role != "module" and not dynamic.binds_now:
        yield from _lazy_findings(binary, dynamic, bits)
    yield from _call_findings(binary, dynamic, role)
    yield from _relr_findings(binary, dynamic, system)
    yield from _float_findings(binary, dynamic)


def _finding(binary: Binary, outcome: _Outcome, reason: str, remedy: str = "", subject: str = "") -> Finding:
    return Finding(outcome=outcome, check="loader", path=binary.path, reason=reason, remedy=remedy, subject=subject)


def _interpreter_findings(binary: Binary, dynamic: DynamicObject, system: System, bits: int) -> Iterator[Finding]:
    path = dynamic.interpreter
    if path.startswith("/"):
        path = f"/{posixpath.normpath(path).lstrip('/')}".removeprefix("/usr")  # /lib is a link to /usr/lib
    is_known = path in _INTERPRETERS[bits] or (bits == 32 and path in _OLD_LINKS and system.glibc <= _LAST_WITH_LINKS)
    if is_known and path in _OLD_LINKS and _is_soft_float(binary, dynamic):
        reason = f"is a soft-float program that {path} starts, which is a link to the hard-float loader"
        yield _finding(binary, "unsure", reason, "pibuild verify --run", path)
    elif path and not path.startswith("/"):
        reason = f"is a program that the kernel starts by {path}, if the current folder has that"
        yield _finding(binary, "unsure", reason, "pibuild verify --run", path)
    elif path and not is_known:
        whose = next((text for name, text in _OTHER_SYSTEMS if name in path), "which Raspberry Pi OS does not have")
        reason = f"is a program that the kernel starts by {path}, {whose}; Raspberry Pi OS has {_INTERPRETERS[bits][0]}"
        yield _finding(binary, "fails", reason, "compile it for glibc and hard-float ARM, or link it statically", path)
    if path and dynamic.kind != _FIXED and not dynamic.has_phdr:
        reason = "is a position-independent program without PT_PHDR, so the loader takes wrong addresses and crashes"
        yield _finding(binary, "fails", reason, _RELINK, "PT_PHDR")


def _library_findings(
    binary: Binary, dynamic: DynamicObject, system: System, bits: int, *, is_dlopened: bool
) -> Iterator[Finding]:
    if not dynamic.is_of_first_version:
        reason = "has another version of the file format than 1 in its header, or no zeros behind it"
        yield _finding(binary, "fails", reason, "build the wheel again")
    if dynamic.os_abi not in _OS_ABIS[bits] or dynamic.abi_version > (_LAST_ABI_VERSION * (dynamic.os_abi == _GNU)):
        reason = f"is for another operating system: OS ABI {dynamic.os_abi}, version {dynamic.abi_version}"
        yield _finding(binary, "fails", reason, "compile it for Linux with glibc")
    if bits == 32 and dynamic.is_soft_float:
        reason = "is soft-float code by its header, which the loader of a hard-float system refuses"
        yield _finding(binary, "fails", reason, _HARD_FLOAT_REMEDY)
    if dynamic.kind == _FIXED or (dynamic.is_pie and system.glibc >= _REFUSES_PIE):
        yield _finding(
            binary, "fails", "is a program, which the loader refuses to load as a library", "link it with -shared"
        )
    elif not dynamic.is_dynamic:
        reason = "has no dynamic section, so the loader refuses it; files with debugging information alone are such"
        yield _finding(binary, "fails", reason, "put the library itself into the wheel")
    if dynamic.forbids_dlopen and is_dlopened:
        yield _finding(
            binary,
            "fails",
            "forbids that it is loaded while a program runs (DF_1_NOOPEN)",
            "link it without -z nodlopen",
        )
    yield from _stack_findings(binary, dynamic, system, bits, is_dlopened=is_dlopened)


def _stack_findings(
    binary: Binary, dynamic: DynamicObject, system: System, bits: int, *, is_dlopened: bool
) -> Iterator[Finding]:
    flags = dynamic.stack_flags
    if flags is None and bits == 32:
        why = "has no PT_GNU_STACK, which on 32-bit ARM asks for an executable stack"
    elif flags is not None and flags & _EXECUTABLE:
        why = "asks for an executable stack (PT_GNU_STACK)"
    else:
        return
    if is_dlopened and system.glibc >= _NO_EXECUTABLE_STACK:
        reason = f"{why}; glibc {_NO_EXECUTABLE_STACK} and newer refuse to load such a library into a running program"
        yield _finding(binary, "fails", reason, _STACK_REMEDY, "PT_GNU_STACK")
    else:
        yield _finding(binary, "note", why, _STACK_REMEDY, "PT_GNU_STACK")


def _segment_findings(
    binary: Binary, dynamic: DynamicObject, system: System, bits: int, *, is_main: bool
) -> Iterator[Finding]:
    loads = dynamic.loads
    if not loads:
        yield _finding(binary, "fails", "has no segment to load")
        return
    if dynamic.is_cut_off:
        yield _finding(
            binary, "fails", "is cut off: a segment ends behind the end of the file", "build the wheel again"
        )
    ends = [load.address + load.memory_bytes for load in loads]
    if dynamic.read_only_end // _PAGE * _PAGE > -(-max(ends) // _PAGE) * _PAGE:
        reason = "makes memory read-only behind its last segment (PT_GNU_RELRO), which the loader refuses"
        yield _finding(binary, "fails", reason, _RELINK, "PT_GNU_RELRO")
    if max(ends) - loads[0].address > _MEMORY_BYTES[bits]:
        yield _finding(binary, "fails", "takes more memory than a program can have", _RELINK, "PT_LOAD")
    if is_main and any(load.file_bytes > load.memory_bytes for load in loads):
        reason = "has a segment with more bytes in the file than in memory, so the kernel does not start it"
        yield _finding(binary, "fails", reason, _RELINK)
    if not is_main and system.glibc < _ANY_ALIGNMENT and any(map(_is_misaligned, loads)):
        reason = (
            f"has a segment that does not have the alignment that it states, which glibc accepts since {_ANY_ALIGNMENT}"
        )
        yield _finding(binary, "fails", reason, _RELINK)
    if any(right.address < left.address for left, right in pairwise(loads)):
        yield _order_finding(binary, loads, is_main=is_main)
    ordered = sorted(loads, key=lambda load: load.address)
    if any(left.address + left.memory_bytes > right.address for left, right in pairwise(ordered)):
        yield _finding(
            binary, "note", "has segments that overlap in memory: the later one is mapped over the other", _RELINK
        )
    if any(load.flags & _EXECUTABLE and load.flags & _WRITABLE for load in loads):
        yield _finding(
            binary, "note", "has a segment that is both writable and executable", "link it without -N (--omagic)"
        )


def _is_misaligned(load: Load) -> bool:
    return bool(load.align % _PAGE or (load.address - load.offset) & (load.align - 1) & _ALL)


def _order_finding(binary: Binary, loads: Sequence[Load], *, is_main: bool) -> Finding:
    """Return the finding on segments that are not in the order of their addresses.

    The loader reserves memory from the first segment's begin to the last one's end.
    """
    start, end = loads[0].address, loads[-1].address + loads[-1].memory_bytes
    is_inside = all(start <= load.address and load.address + load.memory_bytes <= end for load in loads)
    if is_inside:
        return _finding(binary, "note", "has segments that are not in the order of their addresses", _RELINK)
    reason = "has segments that are not in the order of their addresses"
    if end <= start:
        return _finding(binary, "unsure" if is_main else "fails", f"{reason}, so they can't be mapped", _RELINK)
    return _finding(binary, "unsure", f"{reason}: the loader may map them over something else", _RELINK)


def _table_findings(binary: Binary, dynamic: DynamicObject) -> Iterator[Finding]:
    """Yield findings for tables with which the loader does not reckon."""
    if dynamic.lacks_version_indexes:
        reason = "has symbol versions without a table of which symbol has which (DT_VERSYM), so the loader crashes"
        yield _finding(binary, "fails", reason, _RELINK, "DT_VERSYM")
    if dynamic.has_strange_rows:
        yield _finding(
            binary, "fails", "states a wrong size for its relocations, at which the loader stops", _RELINK, "DT_RELENT"
        )


def _relocation_findings(binary: Binary, dynamic: DynamicObject, bits: int) -> Iterator[Finding]:
    unknown = sorted(dynamic.relocation_types - _KNOWN_RELOCATIONS[bits])
    if unknown:
        reason = f"has relocations that the loader does not know: type {', '.join(map(str, unknown[:3]))}"
        yield _finding(binary, "fails", reason, "compile all of it with -fPIC", f"relocation {unknown[0]}")
    if dynamic.has_android_relocations:
        yield _finding(
            binary, "fails", "has relocations that only Android's loader applies", "compile it for Linux with glibc"
        )
    if dynamic.has_text_relocations:
        yield _finding(
            binary,
            "note",
            "has relocations in code (DT_TEXTREL), which the loader must change",
            "compile all of it with -fPIC",
        )
    elif dynamic.read_only_relocation is not None:
        reason = f"has a relocation at {dynamic.read_only_relocation:#x}, in a segment that is not writable"
        yield _finding(binary, "fails", reason, "compile all of it with -fPIC")


def _lazy_findings(binary: Binary, dynamic: DynamicObject, bits: int) -> Iterator[Finding]:
    """Yield a finding for a relocation that glibc rejects if a program binds its symbols lazily."""
    unknown = sorted(dynamic.lazy_types - _LAZY_RELOCATIONS[bits])
    if unknown:
        reason = f"has a relocation of type {unknown[0]} among those of its procedures, at which the loader stops"
        yield _finding(binary, "fails", reason, "link it with -Wl,-z,now", f"relocation {unknown[0]}")


def _call_findings(binary: Binary, dynamic: DynamicObject, role: Role) -> Iterator[Finding]:
    """Yield a finding for the first function that certainly is called, and that lies where the CPU executes nothing."""
    stack = dynamic.stack_flags
    if role == "program" and (stack is None or stack & _EXECUTABLE):
        return  # then the kernel lets such a program execute all that it can read
    calls = list(dynamic.calls)
    if role == "program":
        calls.append(LoadCall("the program's start", dynamic.start, is_relocated=True))
    stem = binary.file_name.partition(".")[0]
    if role == "module" and f"PyInit_{stem}" in dynamic.init_functions:
        name = f"PyInit_{stem}"
        calls.append(LoadCall(name, dynamic.init_functions[name], is_relocated=True))
    for call in calls:
        if not _is_executed(dynamic, call):
            reason = f"calls {call.name} at {call.address:#x}, where no code can be executed, and crashes"
            yield _finding(binary, "fails", reason, _RELINK, call.name)
            return


def _is_executed(dynamic: DynamicObject, call: LoadCall) -> bool:
    """Whether the CPU may execute what is called: a page of a segment of code, behind the header."""
    if dynamic.kind != _FIXED and not call.is_relocated:
        return dynamic.has_relr or dynamic.has_android_relocations  # not applied here
    pages = [
        load
        for load in dynamic.loads
        if load.address // _PAGE <= call.address // _PAGE <= (load.address + max(load.memory_bytes, 1) - 1) // _PAGE
    ]
    is_header = any(load.offset == 0 and 0 <= call.address - load.address < _HEADER_BYTES for load in pages)
    return any(load.flags & _EXECUTABLE for load in pages) and not is_header


def _relr_findings(binary: Binary, dynamic: DynamicObject, system: System) -> Iterator[Finding]:
    if not dynamic.has_relr:
        return
    if system.glibc < _RELR and dynamic.has_empty_relr:
        return
    if system.glibc < _RELR:
        reason = f"has packed relocations (DT_RELR), which glibc applies since {_RELR}"
    elif dynamic.lacks_relr_size:
        reason = "has packed relocations (DT_RELR) without their size (DT_RELRSZ), at which the loader crashes"
    elif (
        dynamic.version_needs
        and any(name.startswith("libc.so.") for name in dynamic.needed)
        and all(need.version != _RELR_VERSION for need in dynamic.version_needs)
    ):
        reason = f"has packed relocations (DT_RELR) and does not need {_RELR_VERSION}, so the loader refuses it"
    else:
        return
    yield _finding(
        binary, "fails", reason, "link it without packed relocations: -Wl,-z,nopack-relative-relocs", "DT_RELR"
    )


def _is_soft_float(binary: Binary, dynamic: DynamicObject) -> bool:
    """Whether code passes floating-point numbers in core registers, by its header or its build attributes."""
    attributes = binary.elf.attributes
    return bool(dynamic.flags & _SOFT_FLOAT or (attributes and attributes.cpu_arch and not attributes.vfp_args))


def _float_findings(binary: Binary, dynamic: DynamicObject) -> Iterator[Finding]:
    """Yield a finding if code passes floating-point numbers in other registers than the system's libraries."""
    if dynamic.flags & _SOFT_FLOAT or not _is_soft_float(binary, dynamic):
        return
    symbols = [symbol.name for symbol in dynamic.references if _PASSES_FLOATS.fullmatch(symbol.name)]
    if symbols:
        reason = (
            f"is code that passes floating-point numbers in core registers (no Tag_ABI_VFP_args), and calls "
            f"{symbols[0]}, which expects them in registers of the FPU"
        )
        yield _finding(binary, "fails", reason, _HARD_FLOAT_REMEDY, symbols[0])
