"""Walks through 32-bit code: which of its instructions control reaches from some places.

Straight code, up to the instruction by which control certainly leaves it, is taken at once. Of all ways to one such
instruction, the one that begins first is kept, for it meets all that the others meet. So the time is linear in the size
of the code, whatever the branches in it are.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.exits import Exits, arm_exits, thumb_exits
from pibuild.machinecode.features import Feature
from pibuild.machinecode.instructions import Instructions, a32_encodings, in_order, newer_instructions, t32_encodings
from pibuild.machinecode.relocations import Addresses
from pibuild.machinecode.sorted_arrays import distinct
from pibuild.machinecode.symbols import KINDS, CodeSection, Regions
from pibuild.machinecode.thumb_boundaries import FIRST_OF_TWO, thumb_begins

ROWS_A_WAY = 8
"""Rows that are reached as fast as one instruction is looked at for where control goes (StepPool)."""
_MANY, _ROWS_A_PLACE = 64, 32
"""From so many places on, it is faster to look at all of them together; and what one leads to at once, about."""
_USUALLY, _MOST_OTHER = 16, 1 << 12
"""Halfwords that are looked at from one on at which usually no instruction begins."""
_NONE = np.empty(0, np.int64)
_MODES = KINDS.index("arm"), KINDS.index("thumb")
_Are = NDArray[np.bool_]


class Rules(Protocol):
    """What a walk takes for certain about exits."""

    def decide(self, code: "ModeCode") -> tuple[_Are, _Are]:
        """Return behind which exits the next instruction is not reached, and for which `ways` is called.

        `ways` may name the next instruction, too.
        """

    def ways(self, code: "ModeCode", number: int) -> Iterable[int]:
        """Return the places to which the exit of this number leads, beside its own target."""


class ModeCode:
    """A section, taken for ARM or for Thumb code from its first byte on."""

    def __init__(self, section: CodeSection, *, is_thumb: bool) -> None:
        """Take the section."""
        self.section, self.is_thumb, self.step = section, is_thumb, 2 if is_thumb else 4
        self.words = np.frombuffer(section.code, f"<u{self.step}", len(section.code) // self.step)

    @classmethod
    def of(cls, section: CodeSection, *, is_thumb: bool) -> Self:
        """Return the code of a section in a mode. It is kept with the section."""
        if is_thumb not in section.memo:
            section.memo[is_thumb] = cls(section, is_thumb=is_thumb)
        code: Self = section.memo[is_thumb]
        return code

    @cached_property
    def begins(self) -> _Are:
        """At which halfwords an instruction begins; empty for ARM code, where one begins at each word."""
        return self.section.thumb_begins if self.is_thumb else np.empty(0, np.bool_)

    @cached_property
    def exits(self) -> Exits:
        """Its exits."""
        return thumb_exits(self.section, self.begins) if self.is_thumb else arm_exits(self.section)

    @cached_property
    def size(self) -> int:
        """How many rows of whole instructions it has: words, or halfwords."""
        count = len(self.words)
        is_cut = self.is_thumb and count > 0 and self.begins[-1] and self.words[-1] >= FIRST_OF_TWO
        return count - int(is_cut)

    def row(self, place: int) -> int:
        """Return the row of the word or halfword at a place; -1 if there is none."""
        row, rest = divmod((place & ~1) - self.section.address, self.step)
        return row if not rest and 0 <= row < self.size else -1

    def places(self, rows: NDArray[Any]) -> Addresses:
        """Return the places of some rows."""
        return self.section.address + self.step * rows.astype(np.int64) | int(self.is_thumb)

    def place(self, row: int) -> int:
        """Return the place of one row."""
        return int(self.section.address + self.step * row) | int(self.is_thumb)

    def end(self, row: int) -> int:
        """Return the row behind the instruction that begins at one."""
        return min(row + 1 + int(self.is_thumb and self.words[row] >= FIRST_OF_TWO), self.size)

    def ends(self, rows: NDArray[Any]) -> Addresses:
        """Return the rows behind the instructions that begin at some."""
        is_wide = self.words[np.minimum(rows, len(self.words) - 1)] >= FIRST_OF_TWO if self.is_thumb else False
        ends: Addresses = np.minimum(rows + 1 + is_wide, self.size)
        return ends

    def other_code(self, row: int, known: AbstractSet[int]) -> "ModeCode":
        """Return the Thumb code from a halfword at which usually no instruction begins, as code of its own.

        It ends where an instruction begins that is known, or that usually begins there, too.
        """
        last = row
        for count in (_USUALLY, _MOST_OTHER):
            begins = row + np.flatnonzero(thumb_begins(self.words[row : row + count]))
            met = next((at for at in begins.tolist() if at in known or self.begins[at]), None)
            last = min(row + count, len(self.words)) if met is None else met
            if met is not None:
                break
        code = memoryview(self.section.code)[2 * row : 2 * last]
        return ModeCode(CodeSection(name="", address=self.section.address + 2 * row, code=code), is_thumb=True)


class CodeWalk:
    """What is reached in the sections of a file."""

    def __init__(self, sections: Iterable[CodeSection], rules: Rules) -> None:
        """Take the sections of code, and what is certain about their exits."""
        self.sections = sorted(sections, key=lambda section: (section.address, len(section.code)))
        self._addresses = [section.address for section in self.sections]
        self._rules, self._parts = rules, dict[int, _Part | None]()
        self._journal: list[tuple[_Part, int, int, int]] | None = None

    def reach(self, places: Iterable[int], most: int) -> int:
        """Reach what places lead to, until a number of rows is exceeded; return how many are new."""
        todo, count = list(places), 0
        while todo and count < most:
            if len(todo) < _MANY or self._journal is not None:
                place = todo.pop()
                part = self._part(2 * bisect_right(self._addresses, place) | place & 1)
                count += part.follow(place, todo, self._journal) if part else 0
                continue
            some = slice(-max(_MANY, (most - count) // _ROWS_A_PLACE), None)
            every = distinct(np.array(todo[some], np.int64))
            del todo[some]
            numbers = 2 * np.searchsorted(self._addresses, every, "right") | every & 1
            for number in np.unique(numbers).tolist():
                if part := self._part(number):
                    count += part.follow_many(every[numbers == number], todo)
        return count

    def try_place(self, place: int, most: int, is_possible: Callable[[Instructions], bool]) -> bool:
        """Reach what a place leads to if that is possible, by the instructions that are new; return whether it is."""
        journal: list[tuple[_Part, int, int, int]] = []
        self._journal = journal
        self.reach([place], most)
        self._journal = None
        each = (
            part.instructions_at(np.array([new])) if number < 0 else part.instructions(new, old)
            for part, number, new, old in journal
        )
        if is_possible(in_order(each)):
            return True
        for part, number, _, old in reversed(journal):
            part.take_back(number, old)
        return False

    def covers(self, place: int) -> bool:
        """Return whether the instruction at a place was reached."""
        part = self._parts.get(2 * bisect_right(self._addresses, place) | place & 1)
        return part is not None and part.covers(place)

    def has_reached(self, *, is_thumb: bool) -> bool:
        """Return whether any code was reached in a mode."""
        return any(len(part.spans()[0]) for number, part in self._parts.items() if part and number & 1 == is_thumb)

    def regions(self) -> Iterator[tuple[CodeSection, Regions]]:
        """Yield each section with the regions of it that were reached, those that follow one another as one."""
        for number, section in enumerate(self.sections, 1):
            parts = [(kind, self._parts.get(2 * number + is_thumb)) for is_thumb, kind in enumerate(_MODES)]
            columns = [(*part.spans(), kind) for kind, part in parts if part]
            yield section, _joined_regions(columns)

    def instructions(self) -> Instructions:
        """Return the reached instructions that need more than the base."""
        every = list[Instructions]()
        for number, part in self._parts.items():
            if part:
                starts, ends = part.straight_spans()
                kinds = np.full(len(starts), _MODES[number & 1], np.int8)
                every.append(newer_instructions(replace(part.code.section, regions=Regions(starts, ends, kinds))))
                others = part.instructions_at(np.array(sorted(part.other_begins), np.int64))
                every.append(others.at(others.needing(frozenset(Feature))))
        return in_order(every)

    def are_covered(self, addresses: Addresses) -> _Are:
        """Return which addresses lie in reached code of either mode."""
        found = np.zeros(len(addresses), np.bool_)
        for part in filter(None, self._parts.values()):
            starts, ends = part.spans()
            order = np.argsort(starts, kind="stable")
            rows = np.searchsorted(starts[order], addresses, "right") - 1
            found |= (rows >= 0) & (addresses < np.append(ends[order], 0)[rows])
        return found

    def reached_exits(self, *kinds: int) -> Iterator[tuple[ModeCode, NDArray[np.intp]]]:
        """Yield the numbers of the reached exits of some kinds, for each code that has any."""
        for part in list(filter(None, self._parts.values())):
            yield from part.reached_exits(*kinds)

    def _part(self, number: int) -> "_Part | None":
        """Return what is reached of a section in a mode; None for no section."""
        if number not in self._parts:
            is_thumb = bool(number & 1)
            code = ModeCode.of(self.sections[number // 2 - 1], is_thumb=is_thumb) if number > 1 else None
            self._parts[number] = _Part(code, self._rules) if code else None
        return self._parts[number]


class _Part:
    """What is reached of a section in a mode."""

    def __init__(self, code: ModeCode, rules: Rules) -> None:
        self.code, self._rules = code, rules
        self.other_begins = set[int]()
        """Halfwords at which instructions were reached, although usually none begins there."""
        self._others: list[tuple[ModeCode, NDArray[np.intp]]] = []
        """The code there, and the numbers of its exits that were reached."""
        exits = code.exits
        are_leaving, are_asked = rules.decide(code)
        self._leaving = np.append(exits.rows[are_leaving], code.size).astype(np.int64)
        self._low = self._leaving + 1
        """For each leaving instruction, the first row from which on straight code to it is known."""
        leads, self._asked = exits.have_targets, np.flatnonzero(are_asked)
        self._branches, self._targets = exits.rows[leads], exits.targets[leads]
        self._questions = exits.rows[self._asked]
        # one number at a time is read faster from these
        self._one_leaving, self._one_low = self._leaving.data, self._low.data
        self._one_branch, self._one_target = self._branches.data, self._targets.data
        self._one_question, self._one_begin = self._questions.data, code.begins.view(np.uint8).data

    def follow(self, place: int, todo: list[int], journal: list[tuple["_Part", int, int, int]] | None) -> int:
        """Reach the straight code from a place on; add the places to which it leads. Return how many rows are new."""
        row = self.code.row(place)
        if row < 0:
            return 0
        if self.code.is_thumb and not self._one_begin[row]:
            return self._follow_other(row, todo, journal)
        number = bisect_left(self._one_leaving, row)
        known = self._one_low[number]
        if row >= known:
            return 0
        self._one_low[number] = row
        if journal is not None:
            journal.append((self, number, row, known))
        first = bisect_left(self._one_branch, row)
        todo += self._one_target[first : bisect_left(self._one_branch, known, first)].tolist()
        first = bisect_left(self._one_question, row)
        for asked in self._asked[first : bisect_left(self._one_question, known, first)].tolist():
            todo += self._rules.ways(self.code, asked)
        if known > self.code.size:
            todo.append(self._behind)
        return known - row

    def follow_many(self, places: Addresses, todo: list[int]) -> int:
        """Do the same for many places, which are sorted."""
        code = self.code
        rows, rest = np.divmod((places & ~1) - code.section.address, code.step)
        rows = rows[(rest == 0) & (rows < code.size)]
        count = 0
        if code.is_thumb:
            is_begin = code.begins[rows]
            count = sum(self._follow_other(row, todo, None) for row in rows[~is_begin].tolist())
            rows = rows[is_begin]
        numbers = np.searchsorted(self._leaving, rows)
        is_new = (rows < self._low[numbers]) & np.append(True, numbers[1:] != numbers[:-1])[: len(rows)]
        rows, numbers = rows[is_new], numbers[is_new]
        known = self._low[numbers]
        self._low[numbers] = rows
        todo += self._targets[_between(self._branches, rows, known)].tolist()
        for asked in self._asked[_between(self._questions, rows, known)].tolist():
            todo += self._rules.ways(code, asked)
        if len(known) and known[-1] > code.size:
            todo.append(self._behind)
        return count + int(np.sum(known - rows))

    @property
    def _behind(self) -> int:
        """The place behind the section."""
        return self.code.place(self.code.size)

    def _follow_other(self, row: int, todo: list[int], journal: list[tuple["_Part", int, int, int]] | None) -> int:
        """Reach code from a halfword on at which usually no instruction begins, up to one at which one does."""
        if row in self.other_begins:
            return 0
        code = self.code.other_code(row, self.other_begins)
        exits = code.exits
        are_leaving, are_asked = self._rules.decide(code)
        left = exits.rows[are_leaving][:1].tolist()
        fresh = (row + np.flatnonzero(code.begins[: left[0] + 1 if left else code.size])).tolist()
        self.other_begins.update(fresh)
        if journal is not None:
            journal += ((self, -1, begin, begin + 1) for begin in fresh)
        is_reached = exits.rows <= (left[0] if left else code.size)
        todo += exits.targets[is_reached & exits.have_targets].tolist()
        for asked in np.flatnonzero(is_reached & are_asked).tolist():
            todo += self._rules.ways(code, asked)
        if not left and code.size:
            todo.append(self.code.place(row + code.size))
        self._others.append((code, np.flatnonzero(is_reached)))
        return len(fresh)

    def take_back(self, number: int, known: int) -> None:
        """Forget a row of a journal."""
        if number < 0:
            self.other_begins.discard(known - 1)
        else:
            self._low[number] = known

    def covers(self, place: int) -> bool:
        """Return whether an instruction was reached."""
        row = self.code.row(place)
        if row < 0:
            return False
        number = bisect_left(self._one_leaving, row)
        return row in self.other_begins or (
            self._one_low[number] <= row < self._one_leaving[number] + (row < self.code.size)
            and (not self.code.is_thumb or bool(self._one_begin[row]))
        )

    def reached_exits(self, *kinds: int) -> Iterator[tuple[ModeCode, NDArray[np.intp]]]:
        """Yield the numbers of the reached exits of some kinds, with the code that they belong to."""
        exits = self.code.exits
        numbers = np.flatnonzero(exits.are(*kinds))
        rows = exits.rows[numbers]
        yield self.code, numbers[self._low[np.searchsorted(self._leaving, rows)] <= rows]
        for code, reached in self._others:
            yield code, reached[code.exits.are(*kinds)[reached]]

    def straight_spans(self) -> tuple[Addresses, Addresses]:
        """Return where straight code begins and ends that was reached, by address."""
        numbers = np.flatnonzero(self._low <= self._leaving)
        starts, ends = self._low[numbers], self.code.ends(self._leaving[numbers])
        is_code = starts < ends
        base, step = self.code.section.address, self.code.step
        return base + step * starts[is_code], base + step * ends[is_code]

    def spans(self) -> tuple[Addresses, Addresses]:
        """Return the same, with what was reached across other instructions."""
        starts, ends = self.straight_spans()
        rows = np.array(sorted(self.other_begins), np.int64)
        base, step = self.code.section.address, self.code.step
        starts = np.concatenate([starts, base + step * rows])
        ends = np.concatenate([ends, base + step * self.code.ends(rows)])
        return starts, ends

    def instructions(self, first: int, last: int) -> Instructions:
        """Return the instructions of straight code from one row to another (exclusive)."""
        rows = np.arange(first, min(last, self.code.size))
        return self.instructions_at(rows[self.code.begins[rows]] if self.code.is_thumb else rows)

    def instructions_at(self, rows: NDArray[Any]) -> Instructions:
        """Return the instructions that begin at some rows."""
        code = self.code
        words = code.words[rows].astype(np.uint32)
        if code.is_thumb:
            seconds = code.words[np.minimum(rows + 1, len(code.words) - 1)]
            words = np.where(words >= FIRST_OF_TWO, words << 16 | seconds, words)
        encodings = t32_encodings(words) if code.is_thumb else a32_encodings(words)
        return Instructions(addresses=code.places(rows) & ~1, words=words, encodings=encodings)


def _between(rows: NDArray[Any], first: Addresses, last: Addresses) -> NDArray[np.intp]:
    """Return the indexes of those rows that lie from one number to another (exclusive), for each pair of numbers."""
    begins, ends = (np.searchsorted(rows, bound.astype(rows.dtype)) for bound in (first, last))
    counts = ends - begins
    return np.repeat(begins - np.cumsum(counts) + counts, counts) + np.arange(np.sum(counts))


def _joined_regions(columns: list[tuple[Addresses, Addresses, int]]) -> Regions:
    """Return spans of one or two modes as regions, by address; those that follow one another in a mode are one."""
    starts = np.concatenate([_NONE, *(one[0] for one in columns)])
    ends = np.concatenate([_NONE, *(one[1] for one in columns)])
    kinds = np.concatenate([_NONE, *(np.full(len(one[0]), one[2]) for one in columns)]).astype(np.int8)
    order = np.argsort(starts, kind="stable")
    starts, ends, kinds = starts[order], ends[order], kinds[order]
    goes_on = (starts[1:] == ends[:-1]) & (kinds[1:] == kinds[:-1])
    first, last = np.append(True, ~goes_on)[: len(starts)], np.append(~goes_on, True)[: len(starts)]
    return Regions(starts[first], ends[last], kinds[first])
