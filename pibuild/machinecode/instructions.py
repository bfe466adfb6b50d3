"""Machine code as a sequence of instructions: which of them ask more of a CPU than an ARM1176 or an ARMv8 gives.

Knows where instructions lie and how to look at all of them at once; what each needs is formats.arm's, formats.thumb's
and formats.a64's knowledge, which needs a target meets is the caller's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.a64 import A64_ENCODINGS, a64_encodings
from pibuild.machinecode.arm import ARM_ENCODINGS, Needs, arm_encodings
from pibuild.machinecode.elf import CodeSection
from pibuild.machinecode.symbols import Kind
from pibuild.machinecode.thumb import THUMB_ENCODINGS, WIDE, thumb_encodings

ENCODINGS = (*ARM_ENCODINGS, *THUMB_ENCODINGS, *A64_ENCODINGS)
"""All that an instruction can be."""
_FIRST_THUMB = len(ARM_ENCODINGS)
_FIRST_A64 = _FIRST_THUMB + len(THUMB_ENCODINGS)
_AT_A_TIME = 1 << 20
"""Words or halfwords: memory stays small, and what is worked on stays in the caches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instructions:
    """Instructions, by address; a column for each fact."""

    addresses: NDArray[np.int64]
    words: NDArray[np.uint32]
    """As written in the manual: of 32-bit Thumb the first halfword is on top."""
    encodings: NDArray[np.uint16]
    """Places in ENCODINGS."""

    def at(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Self:
        """Give some of them, in the order of `rows`."""
        return type(self)(addresses=self.addresses[rows], words=self.words[rows], encodings=self.encodings[rows])

    def named(self, row: int) -> str:
        """Name one with its encoding: `movw e3001234`."""
        encoding, word = self.encodings[row], self.words[row]
        is_thumb = _FIRST_THUMB <= encoding < _FIRST_A64
        digits = 4 if is_thumb and word <= 0xFFFF else 8
        return f"{ENCODINGS[encoding].name} {word:0{digits}x}"


def instructions(section: CodeSection, skip: frozenset[Needs]) -> Instructions:
    """Give the instructions of a section's regions whose needs are neither none nor in `skip`.

    What of a region lies outside of the section is passed over.
    """
    wanted = np.array([one.needs is not None and one.needs not in skip for one in ENCODINGS])
    parts = [part.at(wanted[part.encodings]) for part in (*_arm(section), *_thumb(section), *_a64(section))]
    found = Instructions(
        addresses=np.concatenate([part.addresses for part in parts]),
        words=np.concatenate([part.words for part in parts]),
        encodings=np.concatenate([part.encodings for part in parts]),
    )
    return found.at(np.argsort(found.addresses, kind="stable"))


def _arm(section: CodeSection) -> Iterator[Instructions]:
    for index, _ in _places(section, "arm"):
        words = np.frombuffer(section.code, "<u4", len(section.code) // 4)[index]
        addresses, encodings = section.address + 4 * index, arm_encodings(words)
        yield Instructions(addresses=addresses, words=words, encodings=encodings)


def _a64(section: CodeSection) -> Iterator[Instructions]:
    for index, _ in _places(section, "a64"):
        words = np.frombuffer(section.code, "<u4", len(section.code) // 4)[index]
        addresses, encodings = section.address + 4 * index, _FIRST_A64 + a64_encodings(words)
        yield Instructions(addresses=addresses, words=words, encodings=encodings)


def _thumb(section: CodeSection) -> Iterator[Instructions]:
    """Tell the first halfwords of instructions from the second ones.

    A halfword that can't be the first of two ends an instruction, whichever it is: the next one begins another. From
    there on all those that can be the first of two are so by turns.
    """
    for index, begins in _places(section, "thumb"):
        halfwords = np.frombuffer(section.code, "<u2", len(section.code) // 2)[index]
        wide, order = halfwords >= WIDE, np.arange(len(index))
        begins_one = np.ones(len(index), np.bool_)
        begins_one[1:] = ~wide[:-1]
        begins_one[begins] = True
        turns = order - np.maximum.accumulate(np.where(begins_one, order, 0))
        firsts = np.flatnonzero(turns % 2 == 0)
        seconds = np.zeros(len(index), np.uint32)
        seconds[:-1] = halfwords[1:]
        seconds[begins[1:] - 1] = 0  # half an instruction at the end of a region
        words = np.where(wide, halfwords.astype(np.uint32) << 16 | seconds, halfwords)[firsts]
        addresses, encodings = section.address + 2 * index[firsts], _FIRST_THUMB + thumb_encodings(words)
        yield Instructions(addresses=addresses, words=words, encodings=encodings)


def _places(section: CodeSection, kind: Kind) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Give the places of words or halfwords, of some regions at a time, and which of them are the first of a region."""
    size = 2 if kind == "thumb" else 4
    spans = np.array([(region.start, region.end) for region in section.regions if region.kind == kind], np.int64)
    starts, ends = (spans.reshape(-1, 2) - section.address).clip(0, len(section.code)).T
    starts = (starts + (3 if size == 4 else 0)) // size  # a word that begins before its region is none
    counts = ends // size - starts
    starts, counts = starts[counts > 0], counts[counts > 0]
    cuts = np.flatnonzero(np.diff(np.cumsum(counts) // _AT_A_TIME)) + 1
    for firsts, lengths in zip(np.split(starts, cuts), np.split(counts, cuts), strict=True):
        begins = np.cumsum(lengths) - lengths
        yield np.repeat(firsts - begins, lengths) + np.arange(lengths.sum()), begins
