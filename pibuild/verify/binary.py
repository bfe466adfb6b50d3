"""The facts about one ELF file of a wheel: the CPU features that its code needs, and the other files that it needs.

Mapping symbols separate code from data: those of the file, or those of its twin, the same file before strip. Without
them, only what is certainly code is examined if the file is for 32 bits, and all but what looks like data for 64 bits.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from packaging.version import Version

from pibuild.machinecode.control_flow.knowledge import StepPool
from pibuild.machinecode.elf import MAGIC, Elf, ElfFormatError, read_code
from pibuild.machinecode.features import Feature
from pibuild.machinecode.function_ranges import FunctionRanges
from pibuild.machinecode.instructions import Instructions, newer_instructions
from pibuild.machinecode.reachable import reachable_code
from pibuild.machinecode.symbols import CodeSection, Function, Region, Regions, all_regions
from pibuild.wheels.wheel import WheelFile

NUMPY_1, NUMPY_2 = "numpy.core._multiarray_umath", "numpy._core._multiarray_umath"
"""Names by which an extension module finds the C API of numpy 1, and of numpy 2 (which serves 1 as well)."""
_NUMPY = re.compile("|".join(map(re.escape, (NUMPY_1, NUMPY_2))).encode())
TOO_MANY = "the wheel has more machine code than is read, or too many damaged files"
_UNWINDER_WORDS = (0xEC900B20, 0xEC800B20, 0xECB00B20, 0xECA00B20)
"""vldmia and vstmia of d16 to d31 in the unwinders of libgcc and LLVM, which execute them only for frames that need
it."""
_MACHINES = {"EM_ARM": "32-bit ARM", "EM_AARCH64": "64-bit ARM", "EM_X86_64": "x86-64", "EM_386": "x86"}
_DATA_BYTES = 128
"""In a stripped file, words within this distance of a word that is no instruction count as data."""
_MAX_FAULTS = 100
_NAME_LETTERS = 60
"""Names of C++ templates can be very long."""
_NAMED_VERSIONS = {"GLIBC_ABI_DT_RELR": Version("2.36")}
"""Versions of glibc without a number, and the first release that has them."""


@dataclass(frozen=True, kw_only=True)
class Binary:
    """One ELF file."""

    path: str
    elf: Elf
    texts: frozenset[str] = frozenset()
    """Texts in the file that show which C API of numpy it uses."""
    twin: Elf | None = None
    """The same file before strip."""
    content: bytes = b""
    """The file's bytes."""
    steps: StepPool = field(default_factory=StepPool, compare=False, repr=False)
    """The remaining steps to follow the code of all files of its wheel."""
    memo: dict[object, Any] = field(default_factory=dict, compare=False, repr=False)
    """Results of checks on this file, by keys that the checks choose."""

    @property
    def file_name(self) -> str:
        """Return the last part of its path."""
        return self.path.rpartition("/")[2]

    @cached_property
    def names(self) -> frozenset[str]:
        """The names by which the loader may find it."""
        return frozenset((self.file_name, self.elf.soname))

    @cached_property
    def needed_names(self) -> frozenset[str]:
        """The names of the libraries that it needs."""
        return frozenset(self.elf.needed)

    @property
    def machine(self) -> str:
        """Return the name of its machine, with what distinguishes it from the usual kind of that machine."""
        elf, name = self.elf, _MACHINES.get(self.elf.machine, self.elf.machine.removeprefix("EM_"))
        is_usual = elf.little_endian and elf.bits == {"EM_ARM": 32, "EM_AARCH64": 64}.get(elf.machine, elf.bits)
        return name if is_usual else f"{name}, {elf.bits} bit, {'little' if elf.little_endian else 'big'}-endian"

    @property
    def is_for_pis(self) -> bool:
        """Whether it is code for a machine that a Pi has: 32-bit or 64-bit ARM."""
        return self.elf.is_arm or self.elf.is_aarch64

    @cached_property
    def mapped(self) -> Elf | None:
        """The file whose mapping symbols separate code from data: its twin or itself; None if neither has any."""
        return next((elf for elf in (self.twin, self.elf) if elf and elf.is_mapped), None)

    @property
    def coverage(self) -> str:
        """Return which part of the code is examined."""
        if not self.is_for_pis:
            return "nothing"
        if self.mapped:
            return "all of its code"
        return "all of its code but what looks like data" if self.elf.is_aarch64 else "what is certainly code"

    @cached_property
    def sections(self) -> tuple[CodeSection, ...]:
        """The sections of code, with the regions that are examined."""
        elf = self.elf
        if not self.is_for_pis:
            return ()
        if self.mapped:
            return self.mapped.sections
        if elf.is_arm:
            pointed = elf.pointed_by_data, elf.pointed_by_constants
            return reachable_code(elf.sections, elf.entries, *pointed, pool=self.steps)
        return tuple(
            replace(part, regions=Regions.of(Region(start=part.address, end=part.address + len(part.code), kind="a64")))
            for part in elf.sections
        )

    @cached_property
    def examined_bytes(self) -> int:
        """The size of the code that is examined."""
        code = all_regions(self.sections).of_code()
        return int(np.sum(code.ends - code.starts))

    @cached_property
    def newer_code(self) -> tuple[Instructions, ...]:
        """The instructions of each section that need more than ARMv6KZ with VFPv2, or ARMv8.0, without likely data."""
        return tuple(_without_data(part, is_stripped=not self.mapped) for part in self.newer_words)

    @cached_property
    def newer_words(self) -> tuple[Instructions, ...]:
        """Words that decode as such instructions, also where they may be data."""
        return tuple(map(newer_instructions, self.sections))

    @cached_property
    def undefined_names(self) -> frozenset[str]:
        """The symbols that other files must define."""
        return frozenset(symbol.name for symbol in self.elf.undefined)

    @cached_property
    def feature_counts(self) -> Counter[Feature]:
        """How many instructions need each feature."""
        counts: Counter[Feature] = Counter()
        for part in self.newer_code:
            for encoding, total, _ in part.counts():
                counts[encoding.needs or Feature.UNALLOCATED] += total
        return counts

    @cached_property
    def functions(self) -> Sequence[Function]:
        """Its functions, by address; if it is stripped, those that it exports or points to."""
        elf = self.mapped or self.elf
        referenced = (*elf.entries, *elf.pointed_by_data, *elf.pointed_by_constants)
        return elf.functions or tuple(sorted(referenced, key=attrgetter("address")))

    def name_at(self, address: int) -> str:
        """Return the name of the function that begins at an address; empty if it has none."""
        return next((name[:_NAME_LETTERS] for name in self._names_at(address)), "")

    def _names_at(self, address: int) -> Iterator[str]:
        for place in range(bisect_left(self.functions, address, key=attrgetter("address")), len(self.functions)):
            if self.functions[place].address != address:
                return
            yield self.functions[place].name

    @cached_property
    def _ranges(self) -> FunctionRanges:
        return FunctionRanges(self.functions)

    def owners(self, addresses: NDArray[np.int64], first_address: int = 0) -> NDArray[np.int64]:
        """Return the function of each address, as the index of the first with that start; -1 if there is none.

        Functions that begin before `first_address` do not count.
        """
        return self._ranges.owners(addresses, first_address)

    def are_in(self, owners: NDArray[np.int64], is_meant: Callable[[str], object]) -> NDArray[np.bool_]:
        """Return for each owner whether `is_meant` accepts a name of that function, which may have several."""
        unique, inverse = np.unique(owners, return_inverse=True)
        are_meant = [
            owner >= 0 and any(map(is_meant, self._names_at(self.functions[owner].address)))
            for owner in unique.tolist()
        ]
        return np.array(are_meant, np.bool_)[inverse]

    def describe(
        self, instructions: Instructions, row: int, *, letters: int = _NAME_LETTERS, section_name: str = ""
    ) -> str:
        """Return an instruction with its place: `movw e3007501 at 0xaade8 in tflite::Eval+0x10`.

        The name of its function is cut after `letters`. Outside of functions, the section is its place.
        """
        address = int(instructions.addresses[row])
        owner = int(self.owners(instructions.addresses[row : row + 1])[0])
        text = f"{instructions.text(row)} at {address:#x}"
        function = self.functions[owner] if owner >= 0 else None
        if not function:
            return f"{text} in {section_name}" if section_name else text
        name = function.name if len(function.name) <= letters else f"{function.name[:letters]}…"
        return f"{text} in {name}+{address - function.address:#x}"

    def versioned_symbols(self, library: str, version: str) -> list[str]:
        """Return the symbols that the loader must find in this version of a library."""
        return [symbol.name for symbol in self.elf.undefined if (symbol.library, symbol.version) == (library, version)]

    def undefined_symbols(self, defined: Collection[str], provided: re.Pattern[str]) -> list[str]:
        """Return the symbols that nothing defines; those with a version come from the library that they name."""
        return [
            symbol.name
            for symbol in self.elf.undefined
            if not (symbol.version or symbol.weak or symbol.name in defined or provided.fullmatch(symbol.name))
        ]


def read_binaries(
    files: Iterable[WheelFile], *, is_linux: bool, steps: StepPool | None = None
) -> tuple[tuple[Binary, ...], tuple[str, ...]]:
    """Return the ELF files, and a fault for each file that can't be read as such.

    In a wheel for Linux, a library of another format is a fault, too; other systems have their own formats. All files
    of a wheel share `steps`: so many are read, and so far is their code followed. The last fault is TOO_MANY if there
    are more.
    """
    binaries: list[Binary] = []
    faults: list[str] = []
    steps = steps or StepPool()
    for file in files:
        if steps.files <= 0 or len(faults) >= _MAX_FAULTS:
            faults.append(TOO_MANY)
            break
        try:
            elf = read_code(file.path, file.content) if is_linux or file.content.startswith(MAGIC) else None
        except ElfFormatError as err:
            faults.append(f"{file.path}: {err}")
            continue
        if elf:
            steps.files -= 1
            texts = frozenset(match[0].decode() for match in _NUMPY.finditer(file.content))
            binaries.append(Binary(path=file.path, elf=elf, texts=texts, content=file.content, steps=steps))
    return tuple(binaries), tuple(faults)


def newest_versions(binaries: Iterable[Binary]) -> dict[str, tuple[Version, str]]:
    """Return for each family of symbol versions the newest one that any file requires, and a sentence that names it."""
    newest: dict[str, tuple[Version, Binary, tuple[str, str]]] = {}
    for binary in binaries:
        for library, text in binary.elf.needed_versions:
            family, number = version_number(text)
            if number and (family not in newest or number > newest[family][0]):
                newest[family] = number, binary, (library, text)
    sentences = {}
    for family, (number, binary, version) in newest.items():
        symbol = next(iter(binary.versioned_symbols(*version)), "")
        sentences[family] = number, f"{binary.path} needs {version[1]}" + (f" for {symbol}" if symbol else "")
    return sentences


def version_number(text: str) -> tuple[str, Version | None]:
    """Return family and number of a symbol version such as `GLIBC_2.33`; no number if it has none (`GLIBC_PRIVATE`)."""
    family, _, number = text.partition("_")
    return family, Version(number) if re.fullmatch(r"\d+(\.\d+)*", number) else _NAMED_VERSIONS.get(text)


def _without_data(instructions: Instructions, *, is_stripped: bool) -> Instructions:
    """Leave out the unwinders' words and, in a stripped file, words that are near to one that is no instruction."""
    is_code = ~np.isin(instructions.words, _UNWINDER_WORDS) & ~instructions.needing({Feature.COPROCESSOR})
    if is_stripped:
        is_impossible = instructions.needing({Feature.UNALLOCATED, Feature.PRIVILEGED})
        impossible = instructions.addresses[is_impossible]
        if len(impossible):
            after = np.searchsorted(impossible, instructions.addresses)
            below = instructions.addresses - impossible[np.maximum(after - 1, 0)]
            above = impossible[np.minimum(after, len(impossible) - 1)] - instructions.addresses
            is_code &= (np.abs(below) >= _DATA_BYTES) & (np.abs(above) >= _DATA_BYTES)
    return instructions.at(is_code)
