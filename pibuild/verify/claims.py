"""Where a wheel's claims contradict its contents: each contradiction is a sentence."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from packaging.tags import Tag
from packaging.version import Version

from pibuild.config.pis import load_pis
from pibuild.verify.binary import Binary, newest_versions
from pibuild.verify.cpu_verdict import cpu_verdict
from pibuild.wheels.pip_tags import ARCHITECTURES, architecture, promised_glibc
from pibuild.wheels.python_tags import suffix_faults
from pibuild.wheels.wheel import Wheel, WheelFile, disagreements

_PE, _PE_NAMES = b"MZ", re.compile(r".*\.(pyd|dll)|[^/]+\.data/.*\.exe", re.IGNORECASE)
"""How Windows' machine code begins, and how its files are named. Other .exe files are launchers that are copied."""
_MACH_O = (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe")
_MACH_O_FAT, _FIRST_JAVA = b"\xca\xfe\xba\xbe", 45
"""How macOS' machine code begins: for 64 bits, for 32 bits, and for several machines. Java's class files begin like the
last one; the number that follows is the count of machines, or Java's version."""
_OTHER_LIBCS = {
    "musllinux": ("glibc", re.compile(r"libc\.so\.6|ld-linux.*|GLIBC_.*")),
    "manylinux": ("musl", re.compile(r"libc\.so|libc\.musl-.*|ld-musl-.*")),
}
"""By family of platform tags: the C library that the family excludes, and names that only this library has."""
_VERSIONED = ("libc.", "libm.", "libpthread.", "libdl.", "librt.", "libutil.", "ld-linux")
"""Libraries in which every symbol has a version."""
_FROM_INTERPRETER = re.compile(
    r"_?Py[A-Z_]\w*|dl(open|close|sym|error|addr|info)|pthread_\w+|sem_\w+"
    r"|(a?(sin|cos|tan)h?|atan2|exp(2|m1)?|log(2|10|1p|b)?|pow|sqrt|cbrt|hypot|erfc?|[tl]gamma(_r)?|fabs|fmod|f(ma|max|min|dim)"
    r"|ceil|floor|l?l?r(ound|int)|nearbyint|trunc|[lf]r?exp|modf|remainder|remquo|scalbl?n|ilogb|copysign|nextafter|nan)[fl]?"
)
"""Symbols that the interpreter provides: the C API, and those of libdl, libpthread and libm, which it has loaded."""


def foreign_system(file: WheelFile) -> str:
    """Return the system, other than Linux, for which a file is machine code; empty if there is none."""
    begin, number = file.content[:4], int.from_bytes(file.content[4:8])
    if begin.startswith(_PE) and _PE_NAMES.fullmatch(file.path):
        return "Windows"
    return "macOS" if begin in _MACH_O or (begin == _MACH_O_FAT and number < _FIRST_JAVA) else ""


def contradictions(wheel: Wheel, tags: Collection[Tag], binaries: Sequence[Binary]) -> Iterator[str]:
    """Yield where the wheel's name with its tags, WHEEL, RECORD and files contradict one another.

    Without tags, because the file name is invalid, the machine code is not compared with them.
    """
    yield from disagreements(wheel)
    if not tags:
        return
    yield from _machine_faults(tags, wheel, binaries)
    yield from _libc_faults(tags, binaries)
    promised = min((glibc for tag in tags if (glibc := promised_glibc(tag.platform))), default=None)
    yield from glibc_faults(binaries, promised, "the tag promises glibc")
    yield from _python_faults(tags, binaries)
    yield from _library_faults(binaries)
    yield from _cpu_faults(tags, binaries)


def _machine_faults(tags: Iterable[Tag], wheel: Wheel, binaries: Sequence[Binary]) -> Iterator[str]:
    claimed = {architecture(tag.platform) for tag in tags}
    for binary in binaries:
        elf = binary.elf
        if "any" in claimed:
            yield f"{binary.path} is machine code ({elf.machine}), the tag claims any platform"
        elif claimed.isdisjoint(ARCHITECTURES.get(elf.machine, ())):
            yield f"{binary.path} is machine code of {elf.machine}, the tag claims {' '.join(sorted(claimed))}"
        elif elf.is_arm and not elf.hard_float and elf.kind == "ET_DYN":
            yield f"{binary.path} is soft-float code, the systems of all Pis are hard-float"
    if not wheel.has_machine_code and all("linux" in tag.platform for tag in tags):
        yield f"there is no machine code, but the tag claims {' '.join(sorted(claimed))}"
    if any(tag.platform == "any" for tag in tags):
        for file in wheel.files:
            if system := foreign_system(file):
                yield f"{file.path} is machine code for {system}, the tag claims any platform"


def _libc_faults(tags: Iterable[Tag], binaries: Sequence[Binary]) -> Iterator[str]:
    """Yield a fault for files that need another C library than the tags promise, and for tags that no pip accepts."""
    platforms = sorted({tag.platform for tag in tags})
    for platform in platforms:
        if platform.startswith("manylinux") and architecture(platform) == "armv6l":
            yield f"no pip takes {platform}: there is no manylinux for armv6l, but linux_armv6l"
    for family, (libc, pattern) in _OTHER_LIBCS.items():
        promised = [platform for platform in platforms if platform.startswith(family)]
        for binary in binaries if promised else ():
            needed = (*binary.elf.needed, *(version for _, version in binary.elf.needed_versions))
            if first := next(filter(pattern.fullmatch, needed), ""):
                yield f"{binary.path} needs {first} of {libc}, the tag claims {promised[0]}"


def glibc_faults(binaries: Iterable[Binary], newest: Version | None, limit: str) -> Iterator[str]:
    """Yield a fault if a file requires a newer glibc than `newest`; `limit` says what sets that."""
    required, requirement = newest_versions(binaries).get("GLIBC", (Version("0"), ""))
    if newest and required > newest:
        yield f"{requirement}, {limit} {newest}"


def _python_faults(tags: Iterable[Tag], binaries: Sequence[Binary]) -> Iterator[str]:
    """Yield a fault for each extension module that no Python of the tags imports."""
    claimed = {(tag.interpreter, tag.abi) for tag in tags if tag.interpreter.startswith("cp")}
    abis = {abi for _, abi in claimed}
    for binary in binaries:
        yield from (f"{binary.path} {fault}" for fault in suffix_faults(binary.path, abis))
        if binary.path.endswith(".abi3.so") and claimed and not any(name.startswith("cp3") for name, _ in claimed):
            yield f"{binary.path} is for Python 3's stable ABI, the tag claims {' '.join(sorted(abis))}"


def _library_faults(binaries: Sequence[Binary]) -> Iterator[str]:
    available = load_pis().sonames.union(*(binary.names for binary in binaries))
    defined = frozenset[str]().union(*(binary.elf.defined for binary in binaries))
    for binary in binaries:
        foreign = [path for path in binary.elf.run_paths if not path.startswith(("$ORIGIN", "${ORIGIN}"))]
        if foreign:
            yield f"{binary.path} makes the loader search {':'.join(foreign)}, a folder of the machine that built it"
        is_library = binary.is_for_pis and binary.elf.kind == "ET_DYN"
        has_versions = all(name in available and name.startswith(_VERSIONED) for name in binary.elf.needed)
        if is_library and has_versions:  # what other libraries define is not known here
            undefined = sorted(binary.undefined_symbols(defined, _FROM_INTERPRETER))
            if undefined:
                yield f"{binary.path} uses {', '.join(undefined[:5])}, which no library that it names brings"


def _cpu_faults(tags: Iterable[Tag], binaries: Sequence[Binary]) -> Iterator[str]:
    """Yield a fault for code that the oldest Pi with an architecture of the tags does not run."""
    oldest = {name: pi.cpu for pi in reversed(load_pis().pis) if pi.bits == 32 for name in pi.architectures}
    for name in sorted(oldest.keys() & {architecture(tag.platform) for tag in tags}):
        cpu = oldest[name]
        for binary in binaries:
            verdict, why = cpu_verdict(binary, cpu, binaries) if binary.elf.is_arm else ("runs", "")
            if verdict == "crashes":
                yield f"{binary.path}: not for {cpu.name}, as the tag claims: {why}"
