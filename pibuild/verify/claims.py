"""What a wheel claims, held against what its files are: each contradiction is a sentence."""

import re
from collections.abc import Iterable, Iterator, Sequence

from packaging.tags import Tag
from packaging.version import Version

from pibuild.config.pis import load_pis
from pibuild.verify.cpu_needs import Code
from pibuild.wheels import python_tags as pythons
from pibuild.wheels.pip_tags import ARCHITECTURES, architecture, promised_glibc
from pibuild.wheels.wheel import Wheel, WheelFile, WheelFormatError, disagreements, wheel_name

_CPU_OF_TAG = {"armv6l": "ARM1176", "armv7l": "Cortex-A7"}
"""The oldest CPU of a Pi that a tag stands for."""
_SPECIAL = {"GLIBC_ABI_DT_RELR": Version("2.36")}
"""Versions that are not numbers, and the glibc that gives them."""
_PE, _PE_NAMES = b"MZ", re.compile(r".*\.(pyd|dll)|[^/]+\.data/.*\.exe", re.IGNORECASE)
"""How Windows' machine code begins, and its names; any other .exe is a launcher, as pip has some to copy."""
_MACH_O = (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe")
_MACH_O_FAT, _FIRST_JAVA = b"\xca\xfe\xba\xbe", 45
"""How macOS' begins: of 64 and of 32 bits, and of several machines. The last is Java's, too: the number that follows
tells how many machines, or Java's version."""
_LIBCS = {
    "musllinux": ("glibc", re.compile(r"libc\.so\.6|ld-linux.*|GLIBC_.*")),
    "manylinux": ("musl", re.compile(r"libc\.so|libc\.musl-.*|ld-musl-.*")),
}
"""For each family of tags the C library that it is not for: libraries and versions that are wanted of that alone."""
_VERSIONED = ("libc.", "libm.", "libpthread.", "libdl.", "librt.", "libutil.", "ld-linux")
"""Libraries all of whose symbols carry a version."""
_BROUGHT_BY_PYTHON = re.compile(
    r"_?Py[A-Z_]\w*|dl(open|close|sym|error|addr|info)|pthread_\w+|sem_\w+"
    r"|(a?(sin|cos|tan)h?|atan2|exp(2|m1)?|log(2|10|1p|b)?|pow|sqrt|cbrt|hypot|erfc?|[tl]gamma(_r)?|fabs|fmod|f(ma|max|min|dim)"
    r"|ceil|floor|l?l?r(ound|int)|nearbyint|trunc|[lf]r?exp|modf|remainder|remquo|scalbl?n|ilogb|copysign|nextafter|nan)[fl]?"
)
"""The C API, and what of glibc's libdl, libpthread and libm the interpreter has loaded for all."""


def versions_wanted(codes: Iterable[Code]) -> dict[str, tuple[Version, str]]:
    """Give for each family (GLIBC, GLIBCXX, CXXABI, GCC) the newest version wanted, and by which file and symbol."""
    found: dict[str, tuple[Version, str]] = {}
    for code in codes:
        for library, version in code.elf.needed_versions:
            family, _, number = version.partition("_")
            if version in _SPECIAL:
                family, parts = "GLIBC", _SPECIAL[version]
            elif re.fullmatch(r"\d+(\.\d+)*", number):
                parts = Version(number)
            else:
                continue
            if family not in found or parts > found[family][0]:
                users = [one.name for one in code.elf.undefined if (one.library, one.version) == (library, version)]
                for_what = f" for {users[0]}" if users else ""
                found[family] = parts, f"{code.path} wants {version}{for_what}"
    return found


def foreign_code(file: WheelFile) -> str:
    """Name the system, other than Linux, that a file is machine code for; empty where it is none."""
    begin, number = file.content[:4], int.from_bytes(file.content[4:8])
    if begin.startswith(_PE) and _PE_NAMES.fullmatch(file.path):
        return "Windows"
    return "macOS" if begin in _MACH_O or (begin == _MACH_O_FAT and number < _FIRST_JAVA) else ""


def contradictions(wheel: Wheel, codes: Sequence[Code]) -> Iterator[str]:
    """Say where the wheel's name, WHEEL, RECORD and files contradict one another."""
    yield from disagreements(wheel)
    try:
        tags = wheel_name(wheel.file_name).tags
    except WheelFormatError:
        return
    yield from _machine_faults(tags, wheel, codes)
    yield from _foreign_faults(tags, wheel)
    yield from _libc_faults(tags, codes)
    yield from _glibc_faults(tags, codes)
    yield from _python_faults(tags, codes)
    yield from _library_faults(codes)
    for name in sorted({_CPU_OF_TAG.get(architecture(tag.platform), "") for tag in tags} - {""}):
        cpu = next(cpu for cpu in load_pis().cpus if cpu.name == name)
        for code in codes:
            if code.elf.is_arm and (judged := code.beyond(cpu, codes)).verdict == "crashes":
                yield f"{code.path}: not for {name}, as the tag claims: {judged.why}"


def _machine_faults(tags: Iterable[Tag], wheel: Wheel, codes: Sequence[Code]) -> Iterator[str]:
    claimed = {architecture(tag.platform) for tag in tags}
    for code in codes:
        fitting = ARCHITECTURES.get(code.elf.machine, ())
        if "any" in claimed:
            yield f"{code.path} is machine code ({code.elf.machine}), the tag claims any platform"
        elif not claimed & set(fitting):
            yield f"{code.path} is machine code of {code.elf.machine}, the tag claims {' '.join(sorted(claimed))}"
        elif code.elf.is_arm and not code.elf.hard_float and code.elf.kind == "ET_DYN":
            yield f"{code.path} is soft-float code, the systems of all Pis are hard-float"
    is_linux = all("linux" in tag.platform for tag in tags)
    if not wheel.has_machine_code and is_linux:
        yield f"there is no machine code, but the tag claims {' '.join(sorted(claimed))}"


def _foreign_faults(tags: Iterable[Tag], wheel: Wheel) -> Iterator[str]:
    if any(tag.platform == "any" for tag in tags):
        for file in wheel.files:
            if system := foreign_code(file):
                yield f"{file.path} is machine code for {system}, the tag claims any platform"


def _libc_faults(tags: Iterable[Tag], codes: Sequence[Code]) -> Iterator[str]:
    """Find files for another C library than the tags promise, and a promise that no pip knows."""
    platforms = sorted({tag.platform for tag in tags})
    for platform in platforms:
        if platform.startswith("manylinux") and architecture(platform) == "armv6l":
            yield f"no pip takes {platform}: there is no manylinux for armv6l, but linux_armv6l"
    for family, (libc, names) in _LIBCS.items():
        promised = [platform for platform in platforms if platform.startswith(family)]
        for code in codes if promised else ():
            wanted = (*code.elf.needed, *(version for _, version in code.elf.needed_versions))
            if first := next(filter(names.fullmatch, wanted), ""):
                yield f"{code.path} wants {first} of {libc}, the tag claims {promised[0]}"


def _glibc_faults(tags: Iterable[Tag], codes: Sequence[Code]) -> Iterator[str]:
    promised = [glibc for tag in tags if (glibc := promised_glibc(tag.platform))]
    wanted, by_whom = versions_wanted(codes).get("GLIBC", (Version("0"), ""))
    if promised and wanted > min(promised):
        yield f"{by_whom}, the tag promises glibc {min(promised)}"


def _python_faults(tags: Iterable[Tag], codes: Sequence[Code]) -> Iterator[str]:
    """Find extension modules that no Python of the tags would import."""
    claimed = {(tag.interpreter, tag.abi) for tag in tags if tag.interpreter.startswith("cp")}
    listed = " ".join(sorted(abi for _, abi in claimed)) or "any Python"
    has_stable = any(abi == "abi3" for _, abi in claimed)
    for code in codes:
        said = pythons.suffix_parts(code.path)
        if said and not has_stable and f"cp{said}" not in {abi for _, abi in claimed}:
            yield f"{code.path} is named for CPython {said}, the tag claims {listed}"
        if code.path.endswith(".abi3.so") and claimed and not any(name.startswith("cp3") for name, _ in claimed):
            yield f"{code.path} is for Python 3's stable ABI, the tag claims {listed}"


def _library_faults(codes: Sequence[Code]) -> Iterator[str]:
    present = load_pis().sonames
    siblings = {name for code in codes for name in (code.path.rpartition("/")[2], code.elf.soname)}
    brought = {name for code in codes for name in code.elf.defined}
    for code in codes:
        foreign = [path for path in code.elf.run_paths if not path.startswith(("$ORIGIN", "${ORIGIN}"))]
        if foreign:
            yield f"{code.path} makes the loader search {':'.join(foreign)}, a folder of the machine that built it"
        strangers = [name for name in code.elf.needed if name not in present and name not in siblings]
        borrows = any(not name.startswith(_VERSIONED) for name in code.elf.needed)
        if strangers or borrows or code.elf.kind != "ET_DYN" or not (code.elf.is_arm or code.elf.is_aarch64):
            continue  # what these bring nobody knows here
        lost = [
            one.name
            for one in code.elf.undefined
            if not (one.version or one.weak or one.name in brought or _BROUGHT_BY_PYTHON.fullmatch(one.name))
        ]
        if lost:
            yield f"{code.path} uses {', '.join(sorted(lost)[:5])}, which no library that it names brings"
