"""The regions of instructions in a file, by kind, if mapping symbols are missing, incomplete or wrong.

Mapping symbols are only names, and nothing enforces them. Code that lies where they say "data", in the other mode, or
outside of all sections of code is found by what leads there: a branch, a call, an instruction in front of it, an
exported function. In a stripped file for 32 bits, functions are taken from the unwinding tables, their mode from who
calls them, and literals from the instructions that load them.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.a64_allocation import is_allocated
from pibuild.machinecode.code_scan import signed, thumb_distance
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.decoders.a32_effects import a32_operation
from pibuild.machinecode.decoders.a64_effects import a64_operation
from pibuild.machinecode.decoders.thumb_effects import t16_operation, t32_operation
from pibuild.machinecode.features import Feature
from pibuild.machinecode.image import MemoryImage, Span
from pibuild.machinecode.instructions import (
    Instructions,
    a32_encodings,
    a64_encodings,
    instruction_words,
    t32_encodings,
)
from pibuild.machinecode.relocations import Addresses
from pibuild.machinecode.sorted_arrays import distinct
from pibuild.machinecode.symbols import KINDS, CodeSection, Region, RegionKind, Regions, all_regions
from pibuild.machinecode.thumb_boundaries import FIRST_OF_TWO

_MAX_EXPLORED, _MAX_FROM_ONE, _MAX_LOOKED_AT = 200_000, 20_000, 2000
_LAST_UDF = 0xFFFF
_DATA, _ARM, _THUMB, _A64 = range(len(KINDS))
_NOTHING = -1
"""The mark of bytes that belong to no region."""
_IMPOSSIBLE = (Feature.UNALLOCATED, Feature.PRIVILEGED, Feature.COPROCESSOR)
_NOTHING_THERE: tuple[op.Operation, int, int] = (op.STOP,), 0, 0
FILL = (0, 0xBF00, 0x46C0, 0xE1A00000, 0xE320F000, 0xD503201F, 0xF3AF8000)
"""Instructions that do nothing."""
LEAVES = (op.JUMP, op.JUMP_REG, op.RETURN, op.STOP, op.TABLE)
"""Kinds of operations behind which the next instruction is not executed."""


def decoded(image: MemoryImage, place: int) -> tuple[op.Operation, int, int]:
    """Return the effect of the instruction at a place, its word and its size; a word of 0 bytes if none is mapped."""
    is_64 = image.bits == 64
    address = place if is_64 else place & ~1
    span = image.span(address)
    return _NOTHING_THERE if span is None else decoded_in(image, span, place, address)


def decoded_in(image: MemoryImage, span: Span, place: int, address: int) -> tuple[op.Operation, int, int]:
    """Return the same of a place whose address lies in a part of the file that is known."""
    content, left = image.content, span.end - address
    at = span.offset + address - span.start
    if image.bits == 64 or not place & 1:
        if left < 4:
            return _NOTHING_THERE
        word = int.from_bytes(content[at : at + 4], "little")
        return (a64_operation(word) if image.bits == 64 else a32_operation(word)), word, 4
    if left < 2:
        return _NOTHING_THERE
    half = content[at] | content[at + 1] << 8
    if half < FIRST_OF_TWO:
        return t16_operation(half), half, 2
    if left < 4:
        return _NOTHING_THERE
    word = half << 16 | content[at + 2] | content[at + 3] << 8
    return t32_operation(word), word, 4


def last_part(operation: op.Operation) -> op.Operation:
    """Return the part of an instruction's effect that decides what follows it."""
    return operation[-1] if operation[0] == op.SEVERAL else operation


def branch_targets(place: int, operation: op.Operation) -> list[int]:
    """Return the places to which an instruction may branch or call directly."""
    operation = last_part(operation)
    kind, thumb = operation[0], place & 1
    address = place & ~1 if thumb else place
    if kind == op.IF:
        return branch_targets(place, operation[2])
    if kind == op.CALL:
        mode = operation[2] if len(operation) > 2 else 0
        if mode == 2:
            return [(address & ~3) + operation[1]]
        return [address + operation[1] | (1 if mode == 1 else thumb)]
    if kind == op.JUMP:
        return [address + operation[1] | thumb]
    if kind in (op.BRANCH, op.BRANCH_ZERO):
        return [address + operation[2] | thumb]
    return [address + operation[3] | thumb] if kind == op.BRANCH_BIT else []


class CodeMap:
    """The kind of each part of the code, and the instructions outside of the regions that symbols name."""

    def __init__(self, image: MemoryImage, sections: Sequence[CodeSection]) -> None:
        """Take the sections of code with the regions that are known, or guessed.

        `is_whole` says whether all places were explored to their ends.
        """
        self._image, self.is_whole = image, True
        regions = all_regions(sections)
        self._starts, self._ends, self._kinds = regions.starts, regions.ends, regions.kinds
        self._first, self._last, self._numbers = self._starts.data, self._ends.data, self._kinds.data
        self.branches: list[tuple[int, int]] = []
        """From where to where instructions branch that were explored and are code, although no region tells of them."""

    def is_listed(self, place: int) -> bool:
        """Return whether a region names the code at a place, with the mode in which the code is reached."""
        address, wanted = (place, _A64) if self._image.bits == 64 else (place & ~1, _THUMB if place & 1 else _ARM)
        row = bisect_right(self._first, address) - 1
        return row >= 0 and address < self._last[row] and self._numbers[row] == wanted

    def unlisted_rows(self, targets: Addresses) -> NDArray[np.intp]:
        """Return which of many places may be executed, but are in no region of the mode in which they are reached."""
        if not len(self._starts):
            return np.flatnonzero(self._image.are_code(targets))
        is_64 = self._image.bits == 64
        addresses = targets if is_64 else targets & ~1
        rows = np.searchsorted(self._starts, addresses, "right") - 1
        kinds = np.where((rows >= 0) & (addresses < self._ends[rows]), self._kinds[rows], -1)
        wanted = _A64 if is_64 else np.where(targets & 1 == 1, _THUMB, _ARM)
        rest = np.flatnonzero(kinds != wanted)
        return rest[self._image.are_code(addresses[rest])]

    def explore(self, points: Iterable[int]) -> Instructions:
        """Return the instructions that are reached from places of code and that no region tells of."""
        words: dict[int, int] = {}
        for point in points:
            if len(words) < _MAX_EXPLORED:
                words |= self._follow(point, words)[0]
            else:
                self.is_whole = False
        return self.classified(words)

    def explore_likely(self, points: Iterable[int]) -> tuple[Instructions, Instructions]:
        """Return the instructions that are reached from places that look like code, and from those that may be code.

        A place looks like code if each way from there consists of instructions, and returns or leads to known code. It
        may be code if this is so for some way. It is data if a word on the way is no instruction, or if it is a text.
        """
        words: dict[int, int] = {}
        owners: dict[int, int] = {}
        data, perhaps = set[int](), set[int]()
        branches, self.branches = self.branches, []
        for point in points:
            self.is_whole = self.is_whole and len(words) < _MAX_EXPLORED
            if len(words) < _MAX_EXPLORED and not _is_text(self._image.read(point & ~1, 8)):
                fresh, likeness = self._follow(point, words, may_be_data=True)
                words |= fresh
                owners |= dict.fromkeys(fresh, point)
                if likeness != "code":
                    (perhaps if likeness == "perhaps" else data).add(point)
        found = self.classified(words)
        if not len(found.addresses):
            self.branches = branches
            return found, found
        by_row = np.array([owners[place] for place in sorted(words)], np.int64)
        is_impossible = found.needing(_IMPOSSIBLE) | np.isin(found.words, (0, 0xFFFFFFFF))
        are_data = np.isin(by_row, np.array(sorted({*data, *by_row[is_impossible].tolist()}), np.int64))
        are_doubtful = np.isin(by_row, np.array(sorted(perhaps), np.int64))
        are_code = ~are_data & ~are_doubtful
        certain = set(np.array(sorted(words), np.int64)[are_code].tolist())
        self.branches = branches + [branch for branch in self.branches if branch[0] in certain]
        return found.at(are_code), found.at(~are_data & are_doubtful)

    def _follow(
        self, point: int, seen: dict[int, int], *, may_be_data: bool = False
    ) -> tuple[dict[int, int], Literal["code", "perhaps", "data"]]:
        """Return the words that are reached from a place, and what they look like.

        Bytes behind a call are not looked at as strictly: the called function may never return.
        """
        image, todo = self._image, [point]
        fresh: dict[int, int] = {}
        good = bad = 0
        while todo and len(fresh) < _MAX_FROM_ONE:
            place, is_after_call = todo.pop(), False
            while len(fresh) < _MAX_FROM_ONE:
                if place in fresh or place in seen or self.is_listed(place):
                    good += place not in fresh  # else it is a loop
                    break
                if not image.is_code(place & ~1 if image.bits == 32 else place):
                    bad += 1
                    break
                operation, word, size = decoded(image, place)
                if not size or (may_be_data and image.bits == 64 and not is_allocated(word)):
                    if not is_after_call:
                        if may_be_data:
                            return fresh, "data"
                        bad += 1
                    break
                fresh[place] = word
                targets = branch_targets(place, operation)
                todo += targets
                self.branches += ((place, target) for target in targets)
                kind = last_part(operation)[0]
                if kind in LEAVES:
                    good += kind not in (op.STOP, op.JUMP)
                    bad += kind == op.STOP and not is_after_call
                    break
                is_after_call = kind in (op.CALL, op.CALL_REG)
                place += size
        self.is_whole = self.is_whole and len(fresh) < _MAX_FROM_ONE
        if bad or todo or not good:
            return fresh, "perhaps" if good else "data"
        return fresh, "code"

    def likeness(self, place: int) -> Literal["code", "perhaps", "data"]:
        """Return what the bytes at a place look like in a section of 64-bit code of which no symbols tell.

        Functions in assembler have their tables there, too.
        """
        todo, seen, good, bad = [place], set[int](), 0, 0
        while todo and len(seen) < _MAX_LOOKED_AT:
            at, is_after_call = todo.pop(), False
            while at not in seen and len(seen) < _MAX_LOOKED_AT:
                operation, word, size = decoded(self._image, at)
                kind = last_part(operation)[0]
                if not size or not is_allocated(word):
                    if not is_after_call and not 0 < word <= _LAST_UDF:
                        return "data"
                    bad += not is_after_call
                    break
                seen.add(at)
                targets = branch_targets(at, operation)
                bad += not all(map(self._image.is_code, targets))
                todo += [target for target in targets if kind != op.CALL and self._image.is_code(target)]
                if kind in LEAVES:
                    good += kind not in (op.STOP, op.JUMP)
                    break
                is_after_call = kind in (op.CALL, op.CALL_REG)
                at += size
        return "code" if good and not bad and not todo else "perhaps"

    def classified(self, words: dict[int, int]) -> Instructions:
        """Return instructions by their places and words."""
        is_64 = self._image.bits == 64
        places = np.array(sorted(words), np.int64)
        values = np.array([words[place] for place in places.tolist()], np.uint32)
        if is_64:
            encodings, addresses = a64_encodings(values), places
        else:
            is_thumb, addresses = places & 1 == 1, places & ~1
            encodings = np.zeros(len(places), np.uint16)
            encodings[is_thumb] = t32_encodings(values[is_thumb])
            encodings[~is_thumb] = a32_encodings(values[~is_thumb])
        return Instructions(addresses=addresses, words=values, encodings=encodings)


def _is_text(content: bytes) -> bool:
    text = content.partition(b"\0")[0]
    return len(text) >= 4 and all(32 <= letter < 127 or letter in (9, 10) for letter in text)


def flows_out(
    image: MemoryImage,
    sections: Sequence[CodeSection],
    code_map: CodeMap,
    may_return: Callable[[int], bool],
) -> tuple[list[int], list[int]]:
    """Return where code continues in bytes that are not known as code of that mode: certainly, and after calls."""
    sure, unsure = [], []
    for section in sections:
        literals = frozenset(literal_places(section).tolist())
        for known in section.regions.of_code():
            region = known
            thumb = int(region.kind == "thumb")
            following = region.end | thumb
            if code_map.is_listed(following) or not image.is_code(region.end):
                continue
            is_literal = region.end in literals
            place = _last_instruction(image, region)
            while place is not None and decoded(image, place)[1] in FILL:
                region = replace(region, end=place & ~1)  # control never reaches a NOP behind a jump or return
                place = _last_instruction(image, region)
            if place is None:
                continue
            operation = last_part(decoded(image, place)[0])
            kind = operation[0]
            if kind in LEAVES:
                continue
            if kind in (op.CALL, op.CALL_REG):
                # the callee may never return: then a literal follows
                if not is_literal and (kind == op.CALL_REG or may_return(branch_targets(place, operation)[0])):
                    unsure.append(following)
            else:
                sure.append(following)
    return sure, unsure


def _last_instruction(image: MemoryImage, region: Region) -> int | None:
    if region.end <= region.start:
        return None
    if region.kind != "thumb":
        return region.end - 4 if region.end - region.start >= 4 else None
    start = max(region.start, region.end - 64)
    content = image.read(start, region.end - start)
    halves = np.frombuffer(content, "<u2", len(content) // 2).tolist()
    count = 0
    while count + 2 <= len(halves) and halves[-count - 2] >= FIRST_OF_TWO:
        count += 1
    if not halves:
        return None
    return (region.end - (4 if count % 2 else 2)) | 1


def conditional_targets(kind: RegionKind, addresses: Addresses, words: NDArray[np.uint32]) -> Addresses:
    """Return the places to which conditional branches lead."""
    if kind == "a64":
        found = []
        near = np.flatnonzero((words & 0xFF000010 == 0x54000000) | (words & 0x7E000000 == 0x34000000))
        found.append(addresses[near] + signed(words[near] >> np.uint32(5), 19) * 4)
        bits = np.flatnonzero(words & 0x7E000000 == 0x36000000)
        found.append(addresses[bits] + signed(words[bits] >> np.uint32(5), 14) * 4)
        return np.concatenate(found)
    if kind == "arm":
        return np.empty(0, np.int64)
    narrow = np.flatnonzero((words < 0x10000) & (words >> 12 == 0xD) & (words >> 9 & 7 != 7))
    zero = np.flatnonzero((words < 0x10000) & (words & 0xF500 == 0xB100))
    word = words[zero].astype(np.int64)
    return np.concatenate(
        [
            addresses[narrow] + 4 + signed(words[narrow], 8) * 2 | 1,
            addresses[zero] + 4 + (word >> 3 & 0x40 | word >> 2 & 0x3E) | 1,
        ]
    )


def guessed_sections(image: MemoryImage, sections: Sequence[CodeSection]) -> tuple[CodeSection, ...]:
    """Return the sections of a stripped file for 32 bits with the regions that its tables and calls show."""
    modes = _known_modes(image)
    counts = np.bincount(list(modes.values()), minlength=2)
    default = int(counts[1] > counts[0])
    starts = distinct(np.concatenate([image.unwound[0], np.array(list(modes), np.int64)]))
    starts = starts[image.are_code(starts)]
    guess = tuple(_without_literals(_split(section, starts, modes, default)) for section in sections)
    for _ in range(2):
        called = distinct(np.concatenate([np.empty(0, np.int64), *map(_called_from, guess)]))
        # a literal that looks like a call leads anywhere, hardly to where a function begins
        called = called[np.isin(called & ~1, starts)]
        fresh: dict[int, int] = {}
        for place in called.tolist():
            if place & ~1 not in modes:
                fresh.setdefault(place & ~1, place & 1)
        modes |= fresh
        if default ^ 1 not in fresh.values():  # the regions stay the same
            break
        guess = tuple(_without_literals(_split(section, starts, modes, default)) for section in sections)
    return guess


def _called_from(section: CodeSection) -> Addresses:
    """Return the places that instructions of a section call."""
    kinds: tuple[RegionKind, ...] = ("arm", "thumb")
    parts = (_called_places(kind, *part) for kind in kinds for part in instruction_words(section, kind))
    return np.concatenate([np.empty(0, np.int64), *parts])


def _known_modes(image: MemoryImage) -> dict[int, int]:
    begins = image.unwound[0]
    values = image.pointer_columns[1]
    named = values[np.isin(values & ~1, begins)] if len(begins) else values[:0]
    modes = {value & ~1: value & 1 for value in distinct(named).tolist()}
    modes.update({place & ~1: place & 1 for place in image.entered.tolist()})
    return modes


def _split(section: CodeSection, starts: Addresses, modes: dict[int, int], default: int) -> CodeSection:
    first, last = section.address, section.address + len(section.code)
    if section.name in (".plt", ".iplt"):
        return replace(section, regions=Regions.of(Region(start=first, end=last, kind="arm")))
    begins = np.append(first, starts[(starts > first) & (starts < last)])
    is_thumb = np.array([modes.get(begin, default) for begin in begins.tolist()], np.int8)
    is_other = np.append(True, is_thumb[1:] != is_thumb[:-1]) & (first < last)
    begins, kinds = begins[is_other], np.where(is_thumb[is_other], _THUMB, _ARM).astype(np.int8)
    return replace(section, regions=Regions(begins, np.append(begins, last)[1:], kinds))


def _called_places(kind: RegionKind, addresses: Addresses, words: NDArray[np.uint32]) -> Addresses:
    if kind == "arm":
        rows = np.flatnonzero(words & 0x0F000000 == 0x0B000000)
        rows = rows[words[rows] >> 28 != 15]
        plain = addresses[rows] + 8 + signed(words[rows], 24) * 4
        other = np.flatnonzero(words & 0xFE000000 == 0xFA000000)
        word = words[other]
        exchanged = addresses[other] + 8 + signed(word, 24) * 4 + (word >> 23 & 2).astype(np.int64) | 1
        return np.concatenate([plain, exchanged])
    rows = np.flatnonzero((words > 0xFFFF) & (words & 0xF800C000 == 0xF000C000))
    word = words[rows].astype(np.int64)
    far = thumb_distance(word)
    is_exchange = word >> 12 & 1 == 0
    return np.where(is_exchange, (addresses[rows] + 4 & ~3) + (far & ~3), addresses[rows] + 4 + far | 1)


def literal_places(section: CodeSection) -> Addresses:
    """Return the places that instructions of a section load as data, sorted."""
    places = [np.empty(0, np.int64)]
    for addresses, words in instruction_words(section, "arm"):
        rows = np.flatnonzero(words & 0x0F3F0000 == 0x051F0000)
        rows = np.concatenate([rows, np.flatnonzero(words & 0x0F3F0E00 == 0x0D1F0A00)])  # VLDR
        word = words[rows].astype(np.int64)
        amount = np.where(word >> 27 & 1 == 1, (word & 0xFF) * 4, word & 0xFFF)
        place = addresses[rows] + 8 + np.where(word >> 23 & 1 == 1, amount, -amount)
        is_double = (word >> 27 & 1 == 1) & (word >> 8 & 1 == 1)
        places += [place, place[is_double] + 4]
        rows = np.flatnonzero((words & 0x0FFFF000 == 0x028F0000) | (words & 0x0FFF0F00 == 0x028F0F00))  # ADR
        word = words[rows].astype(np.int64)
        places.append(addresses[rows] + 8 + ((word & 0xFF) << np.where(word >> 8 & 15 == 15, 2, 0)))
    for addresses, words in instruction_words(section, "thumb"):
        narrow = np.flatnonzero((words < 0x10000) & ((words >> 11 == 9) | (words >> 11 == 20)))
        word = words[narrow].astype(np.int64)
        places.append((addresses[narrow] + 4 & ~3) + (word & 0xFF) * 4)
        wide = np.flatnonzero((words & 0xFF7F0000 == 0xF85F0000) | (words & 0xFF3F0E00 == 0xED1F0A00))
        word = words[wide].astype(np.int64)
        is_vector = word >> 24 == 0xED
        amount = np.where(is_vector, (word & 0xFF) * 4, word & 0xFFF)
        place = (addresses[wide] + 4 & ~3) + np.where(word >> 23 & 1 == 1, amount, -amount)
        places += [place, place[is_vector & (word >> 8 & 1 == 1)] + 4]
    return distinct(np.concatenate(places) & ~1)


def _without_literals(section: CodeSection) -> CodeSection:
    """Cut the words that instructions load out of the regions of code."""
    literals = literal_places(section)
    first, last = section.address, section.address + len(section.code)
    literals = literals[(literals >= first) & (literals < last)]
    if not len(literals):
        return section
    marks = np.full((last - first + 1) // 2 + 2, _NOTHING, np.int8)
    for start, end, kind in zip(section.regions.starts, section.regions.ends, section.regions.kinds, strict=True):
        marks[(start - first) // 2 : (end - first) // 2] = kind
    at = (literals - first) // 2
    marks[at] = marks[at + 1] = _DATA
    marks = marks[: (last - first) // 2]
    cuts = np.flatnonzero(np.diff(marks)) + 1
    bounds = np.concatenate([[0], cuts, [len(marks)]]).astype(np.int64)
    begins, ends = bounds[:-1], bounds[1:]
    rows = np.flatnonzero(begins < ends)
    rows = rows[marks[begins[rows]] != _NOTHING]
    regions = Regions(first + 2 * begins[rows], first + 2 * ends[rows], marks[begins[rows]])
    return replace(section, regions=regions)
