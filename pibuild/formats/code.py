"""Machine code as a sequence of instructions: which of them ask more of a CPU than an ARM1176 gives.

Knows where instructions lie and how to walk them quickly; what one instruction needs is formats.arm's and
formats.thumb's knowledge, which needs a target meets is the caller's.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pibuild.formats.arm import Encoding, Needs, arm_encoding
from pibuild.formats.elf import CodeSection, Kind, Region
from pibuild.formats.thumb import is_wide, thumb_encoding


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction that needs more than ARMv6KZ and VFPv2."""

    address: int
    word: int
    """As written in the manual: of 32-bit Thumb the first halfword is on top."""
    size_bytes: int
    name: str
    needs: Needs
    thumb: bool

    def __str__(self) -> str:
        """Name it with its encoding: `movw e3001234`."""
        return f"{self.name} {self.word:0{self.size_bytes * 2}x}"


def instructions(section: CodeSection, regions: Iterable[Region], skip: frozenset[Needs]) -> Iterator[Instruction]:
    """Give, in order, the instructions within the regions whose needs are neither none nor in `skip`.

    What of a region lies outside of the section is passed over.
    """
    words = struct.unpack_from(f"<{len(section.code) // 4}I", section.code)
    halfwords = struct.unpack_from(f"<{len(section.code) // 2}H", section.code)
    arm_hits: dict[int, Encoding] | None = None
    thumb_known: dict[int, Encoding | None] = {}
    for region in regions:
        first = max(region.start - section.address, 0)
        end = min(region.end - section.address, len(section.code))
        if region.kind == "data" or first >= end:
            continue
        if region.kind == "thumb":
            yield from _thumb(halfwords, first // 2, end // 2, section.address, skip, thumb_known)
            continue
        if arm_hits is None:  # judged once for each different word: a tenth of the work
            arm_hits = _hits(set(words), skip)
        for index in range(-(-first // 4), end // 4):
            if words[index] in arm_hits:
                yield _instruction(section.address + 4 * index, words[index], 4, "arm", arm_hits[words[index]])


def _hits(words: Iterable[int], skip: frozenset[Needs]) -> dict[int, Encoding]:
    found = {word: arm_encoding(word) for word in words}
    return {word: line for word, line in found.items() if line.needs and line.needs not in skip}


def _thumb(
    halfwords: Sequence[int],
    index: int,
    end: int,
    base: int,
    skip: frozenset[Needs],
    known: dict[int, Encoding | None],
) -> Iterator[Instruction]:
    while index < end:
        word, size = halfwords[index], 2
        if is_wide(word):
            word, size = word << 16 | (halfwords[index + 1] if index + 1 < end else 0), 4
        if word not in known:
            judged = thumb_encoding(word)
            known[word] = judged if judged.needs and judged.needs not in skip else None
        if line := known[word]:
            yield _instruction(base + 2 * index, word, size, "thumb", line)
        index += size // 2


def _instruction(address: int, word: int, size_bytes: int, kind: Kind, line: Encoding) -> Instruction:
    assert line.needs  # noqa: S101  callers pass only what needs something
    return Instruction(
        address=address,
        word=word,
        size_bytes=size_bytes,
        name=line.name,
        needs=line.needs,
        thumb=kind == "thumb",
    )
