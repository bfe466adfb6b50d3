"""What one ELF file's machine code asks of a CPU, and whether it asks the CPU first.

Where code lies is told by mapping symbols; of a stripped file for 32 bits only what is certainly code is judged, of one
for 64 bits all that does not stand next to what no instruction can be.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from operator import attrgetter
from typing import Literal

import numpy as np

from pibuild.config.pis import Cpu
from pibuild.machinecode.elf import Elf
from pibuild.machinecode.features import Feature
from pibuild.machinecode.instructions import Encoding, Instructions, newer_instructions
from pibuild.machinecode.reachable import always_executed_code, reachable_code
from pibuild.machinecode.symbols import CodeSection, Function, Region

Verdict = Literal["runs", "asks", "crashes", "unsure"]

_ASKING_SYMBOLS = ("getauxval", "__getauxval", "elf_aux_info")
_ASKING_TEXTS = (b"/proc/cpuinfo", b"/proc/self/auxv")
_PROBING_SYMBOLS = frozenset(("sigaction", "siglongjmp"))
"""With them old OpenSSL tries an instruction and catches SIGILL."""
_NO_PI = frozenset((Feature.COPROCESSOR, Feature.PRIVILEGED, Feature.UNALLOCATED))
"""Nobody's compiler writes these; they are hand-written behind a question, or data."""
_EVERYDAY = frozenset((Feature.ARMV6T2, Feature.ARMV7, Feature.THUMB2, Feature.VFPV3, Feature.VFP_D32))
"""What a compiler uses in all functions once it may: no question stands before so many."""
_EVERYWHERE = 0.2
_BLOCK_BYTES = 4096
_NAME_LETTERS = 60
"""Names of C++ templates have no end."""
_DATA_BYTES = 128
"""So near to a word that no instruction can be, a stripped file's words are taken for data."""
_NOISE = 8
"""Words of data that look like instructions in what is certainly code; in 5 MB of it 5 were seen (where the linker
takes a call out, its function runs on into the data behind)."""
_UNWINDER = (0xEC900B20, 0xEC800B20, 0xECB00B20, 0xECA00B20)
"""vldmia and vstmia of d16 to d31 in the static unwinders of libgcc and LLVM, which look at the frame before."""
_ASKING_FUNCTIONS = {
    "getauxval": "its own getauxval",
    "__a_barrier_v7": "musl's atomics, chosen by the kernel's HWCAP",
    "OPENSSL_cpuid_setup": "OPENSSL_cpuid_setup",
}
"""Functions that a statically linked file has where it asks, and what they are."""
_LEVELS = {6: "ARMv6", 7: "ARMv7", 8: "ARMv8"}
_LEVEL_OF_ATTRIBUTE = {**dict.fromkeys((10, 13), 7), **dict.fromkeys((*range(14, 17), 18, 19, 20, 22), 8)}
"""Of Tag_CPU_arch; all others are 6 or less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Whether a file's code runs on a CPU, and why: a sentence."""

    verdict: Verdict
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Code:
    """The machine code of one ELF file."""

    path: str
    elf: Elf
    content: bytes

    @cached_property
    def how(self) -> str:
        """Say what of the code was judged."""
        if self.elf.is_mapped:
            return "all of its code"
        return "all of its code but what looks like data" if self.elf.is_aarch64 else "what is certainly code"

    @cached_property
    def judged(self) -> tuple[CodeSection, ...]:
        """Give the sections with the regions that are judged."""
        if not (self.elf.is_arm or self.elf.is_aarch64):
            return ()
        if self.elf.is_mapped:
            return self.elf.sections
        if self.elf.is_aarch64:
            return tuple(
                replace(part, regions=(Region(start=part.address, end=part.address + len(part.code), kind="a64"),))
                for part in self.elf.sections
            )
        return reachable_code(
            self.elf.sections, self.elf.entries, self.elf.pointed_by_data, self.elf.pointed_by_constants
        )

    @cached_property
    def judged_bytes(self) -> int:
        """Give how much code was judged."""
        return sum(one.end - one.start for part in self.judged for one in part.regions if one.kind != "data")

    @cached_property
    def found(self) -> tuple[Instructions, ...]:
        """Give the instructions beyond ARMv6KZ with VFPv2, or ARMv8.0, of each section."""
        is_stripped = not self.elf.is_mapped
        return tuple(_without_data(newer_instructions(part), is_stripped) for part in self.judged)

    @cached_property
    def needs(self) -> Counter[Feature]:
        """Count what they need."""
        counts: Counter[Feature] = Counter()
        for part in self.found:
            for encoding, count, _ in part.counts():
                counts[_needs(encoding)] += count
        return counts

    @cached_property
    def questions(self) -> tuple[str, ...]:
        """Say by what means the file asks at run time which CPU it is on."""
        wanted = {symbol.name for symbol in self.elf.undefined}
        asked = [name for name in _ASKING_SYMBOLS if name in wanted]
        asked += [text.decode() for text in _ASKING_TEXTS if text in self.content]
        own = {one.name for one in self.elf.functions}
        asked += [text for name, text in _ASKING_FUNCTIONS.items() if name in own]
        asked += ["functions that the loader chooses (IFUNC)"] if self.elf.has_ifunc else []
        asked += ["catching SIGILL"] if wanted >= _PROBING_SYMBOLS else []
        return tuple(asked)

    @cached_property
    def first_needs(self) -> dict[Feature, str]:
        """Give what is needed as soon as the file is loaded or imported, each with the first instruction."""
        named = [one for one in self.elf.entries if one.name.startswith(("PyInit_", "init"))]
        starts = [*self.elf.called_at_load, *(one.address | one.is_thumb for one in named)]
        found: dict[Feature, str] = {}
        for part in always_executed_code(self.elf.sections, starts, is_a64=self.elf.is_aarch64):
            steps = newer_instructions(part)
            for encoding, _, row in sorted(steps.counts(), key=attrgetter("first_row")):
                found.setdefault(_needs(encoding), self._described(steps, row))
        return found

    def beyond(self, cpu: Cpu, siblings: Iterable["Code"] = ()) -> Judgement:
        """Judge the file for a CPU; the other files of its wheel may ask the CPU in its stead."""
        lacking = {need for need in self.needs if need not in cpu.runs and need not in _NO_PI}
        if at_once := [one for need, one in self.first_needs.items() if need not in cpu.runs and need not in _NO_PI]:
            return Judgement(verdict="crashes", why=f"{at_once[0]} runs as soon as it is loaded")
        if not lacking or self._is_noise(lacking, cpu):
            return self._by_attributes(cpu)
        counted = f"{self._counted(lacking)}, such as {self._example(lacking)}"
        if self._is_everywhere(lacking & _EVERYDAY):
            return Judgement(verdict="crashes", why=f"{counted}: it was compiled for a later CPU throughout")
        if self.questions:
            how = " and ".join(self.questions)
            return Judgement(verdict="asks", why=f"{counted}, but it asks at run time: {how}")
        if asking := next((one for one in siblings if one.questions), None):
            return Judgement(verdict="asks", why=f"{counted}, but {asking.path} asks at run time")
        return Judgement(verdict="crashes", why=f"{counted}, and nothing in it asks which CPU it is on")

    def _is_noise(self, lacking: set[Feature], cpu: Cpu) -> bool:
        """Whether so few in a stripped file, whose compiler was told of no later CPU, are words of data."""
        few = sum(self.needs[need] for need in lacking) <= _NOISE
        return few and not self.elf.is_mapped and self.elf.attributes is not None and self._level() <= cpu.architecture

    def _level(self) -> int:
        return _LEVEL_OF_ATTRIBUTE.get(self.elf.attributes.cpu_arch, 6) if self.elf.attributes else 6

    def _by_attributes(self, cpu: Cpu) -> Judgement:
        """Judge a file in which nothing was found: what its compiler was told may still speak against it."""
        level = self._level()
        if level <= cpu.architecture or self.elf.is_mapped:
            return Judgement(verdict="runs")
        why = f"it says to be {_LEVELS[level]} code; none was found in {self.judged_bytes} bytes that are code"
        return Judgement(verdict="unsure", why=why)

    def _is_everywhere(self, needs: set[Feature]) -> bool:
        blocks: set[int] = set()
        touched: set[int] = set()
        for part, found in zip(self.judged, self.found, strict=True):
            for one in part.regions:
                if one.kind != "data":
                    blocks.update(range(one.start // _BLOCK_BYTES, (one.end - 1) // _BLOCK_BYTES + 1))
            touched.update(np.unique(found.addresses[found.needing(needs)] // _BLOCK_BYTES).tolist())
        return bool(blocks) and len(touched) >= _EVERYWHERE * len(blocks)

    def _counted(self, needs: set[Feature]) -> str:
        most = Counter({need: self.needs[need] for need in sorted(needs)}).most_common(3)
        return ", ".join(f"{count} {need} instruction{'s' if count > 1 else ''}" for need, count in most)

    def _example(self, needs: set[Feature]) -> str:
        commonest = max(sorted(needs), key=lambda need: self.needs[need])
        for part in self.found:
            rows = np.flatnonzero(part.needing({commonest}))
            if len(rows):
                return self._described(part, int(rows[0]))
        return commonest

    def _described(self, found: Instructions, row: int) -> str:
        address = int(found.addresses[row])
        owner = self._owner(address)
        if not owner:
            return f"{found.text(row)} at {address:#x}"
        name = owner.name if len(owner.name) <= _NAME_LETTERS else f"{owner.name[:_NAME_LETTERS]}…"
        place = f" in {name}+{address - owner.address:#x}"
        return f"{found.text(row)} at {address:#x}{place}"

    def _owner(self, address: int) -> Function | None:
        named = self.elf.functions or (*self.elf.entries, *self.elf.pointed_by_data, *self.elf.pointed_by_constants)
        return max((one for one in named if one.address <= address), key=lambda one: one.address, default=None)


def _needs(encoding: Encoding) -> Feature:
    return encoding.needs or Feature.UNALLOCATED


def _without_data(found: Instructions, is_stripped: bool) -> Instructions:
    """Leave out libgcc's unwinder, and of a stripped file what stands next to what no instruction can be."""
    kept = ~np.isin(found.words, _UNWINDER) & ~found.needing({Feature.COPROCESSOR})
    if is_stripped:
        bad = found.addresses[found.needing({Feature.UNALLOCATED, Feature.PRIVILEGED})]
        near = np.zeros(len(found.addresses), np.bool_)
        if len(bad):
            after = np.searchsorted(bad, found.addresses)
            below = found.addresses - bad[np.maximum(after - 1, 0)]
            above = bad[np.minimum(after, len(bad) - 1)] - found.addresses
            near = (np.abs(below) < _DATA_BYTES) | (np.abs(above) < _DATA_BYTES)
        kept &= ~near
    return found.at(kept)
