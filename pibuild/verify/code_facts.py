"""The code of one file: which instructions it has, where it may be entered, and its functions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pibuild.machinecode import effects as op
from pibuild.machinecode.features import Feature
from pibuild.machinecode.flow import BudgetError
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.instructions import Instructions, all_encodings, newer_instructions
from pibuild.machinecode.program import Answers, Program, never_returns, without_symbols
from pibuild.machinecode.regions import (
    CodeMap,
    branch_targets,
    conditional_targets,
    decoded,
    flows_out,
    guessed_sections,
    last_part,
)
from pibuild.machinecode.symbols import CodeSection
from pibuild.verify.binary import Binary

_MAX_SURPRISES = 20_000
_VENEER = 6
"""Instructions between the one that puts an address together and the jump to it."""
_METHOD_FLAGS = frozenset(
    (
        1,
        2,
        3,
        4,
        8,
        0x80,
        0x82,
        0x83,
        0x282,
        *(n | 0x10 for n in (1, 2, 3, 4, 8, 0x80, 0x82)),
        *(n | 0x20 for n in (1, 2, 3, 4, 8, 0x80, 0x82)),
    )
)
"""METH_VARARGS, KEYWORDS, NOARGS, O, FASTCALL, METHOD, with CLASS or STATIC (Python's methodobject.h)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Code that the CPU lacks, and how it is reached."""

    is_certain: bool
    instruction: str
    chain: tuple[str, ...]
    """Functions, from the entry to the one with the instruction."""
    why: str


@dataclass(slots=True)
class Entrance:
    """A place at which code is entered from outside of the file's own calls."""

    rank: int
    """3: it certainly runs; 2: Python calls it; 1: exported; 0: a pointer leads to it."""
    name: str


def code_of(binary: Binary, others: Sequence[Binary]) -> "Code":
    """Return the code of a file, beside the other files of its wheel; it is worked out once."""
    code: Code = binary.memo.setdefault(Code, Code(binary, others))
    return code


class Code:
    """The code of a file for a Pi."""

    def __init__(self, binary: Binary, others: Sequence[Binary]) -> None:
        """Take the file and the others of its wheel; everything is found out when it is asked for."""
        self._binary, self._others = binary, others
        self.faults: dict[Feature, Fault | None] = {}

    @cached_property
    def sections(self) -> tuple[CodeSection, ...]:
        """The sections of code with regions: by mapping symbols, or guessed."""
        binary = self._binary
        elf = binary.elf
        if binary.mapped:
            return binary.mapped.sections
        if elf.is_aarch64:
            return tuple(without_symbols(part, "a64") for part in elf.sections)
        return guessed_sections(MemoryImage(binary.content, bits=32), elf.sections)

    @cached_property
    def program(self) -> Program:
        """Its functions, calls and questions."""
        return Program(self._binary.content, self._binary.mapped or self._binary.elf, self.sections, self._answers)

    def _answers(self, name: str) -> Answers | None:
        return self._exporters.get(name)

    @cached_property
    def _exporters(self) -> dict[str, Answers]:
        """What files of the wheel that this one needs answer, by exported name."""
        binary, found = self._binary, {}
        for other in self._others:
            if other is binary or other.elf.bits != binary.elf.bits or not other.is_for_pis:
                continue
            if set(binary.elf.needed) & other.names and not set(other.elf.needed) & binary.names:
                answers = code_of(other, self._others).program.answers()
                names = {*answers.functions, *(name for name, _ in answers.variables)}
                found.update(dict.fromkeys(names, answers))
        return found

    @cached_property
    def map(self) -> CodeMap:
        """Which bytes are instructions."""
        return CodeMap(self.program.image, self.sections)

    @cached_property
    def newer(self) -> Instructions:
        """The instructions that need more than the base, and that control may reach."""
        parts = [newer_instructions(section) for section in self.sections]
        parts += self._surprises()
        base = Instructions(
            addresses=np.concatenate([np.empty(0, np.int64), *(part.addresses for part in parts)]),
            words=np.concatenate([np.empty(0, np.uint32), *(part.words for part in parts)]),
            encodings=np.concatenate([np.empty(0, np.uint16), *(part.encodings for part in parts)]),
        )
        _, first = np.unique(base.addresses, return_index=True)
        return base.at(first)

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """What its instructions need beyond the base; what is put everywhere by compilers comes first."""
        encodings = all_encodings()
        needs = {encodings[number].needs for number in np.unique(self.newer.encodings).tolist()}
        return tuple(sorted((need for need in needs if need), key=lambda need: (need is not Feature.LSE, need)))

    def _surprises(self) -> Iterator[Instructions]:
        """Yield instructions that lie where the file says data, or nothing."""
        image, code_map = self.program.image, self.map
        places = [np.empty(0, np.int64)]
        for kind, addresses, words in self.program._words():  # noqa: SLF001
            targets = conditional_targets(kind, addresses, words)
            places.append(targets[code_map.unlisted_rows(targets)])
        called = self.program.calls[0]
        places.append(called[code_map.unlisted_rows(called)])
        sure, after_calls = (
            flows_out(image, self.sections, code_map, self._may_return) if self._binary.mapped else ([], [])
        )
        entered = [entry.place for entry in image.called_at_load if not code_map.is_listed(entry.place)]
        exported = [entry.place for entry in image.exports if not code_map.is_listed(entry.place)]
        values = np.unique(image.pointer_columns[1])
        pointed = values[code_map.unlisted_rows(values)].tolist()
        pointed += self._jumped_to()
        direct = np.unique(np.concatenate(places)).tolist()
        certain = [*sure, *entered, *direct] if self._binary.mapped or self._binary.elf.is_aarch64 else [*entered]
        doubtful = [*after_calls, *exported, *pointed, *([] if certain else direct)]
        yield self._needing(code_map.explore(certain[:_MAX_SURPRISES], only_plausible=False))
        yield self._needing(code_map.explore(doubtful[:_MAX_SURPRISES], only_plausible=True))

    def _jumped_to(self) -> Iterator[int]:
        """Yield places that code puts together right before it jumps to a register, as linkers' veneers do."""
        image = self.program.image
        targets, sites = self.program.references
        rows = self.map.unlisted_rows(targets)[:_MAX_SURPRISES]
        for target, site in zip(targets[rows].tolist(), sites[rows].tolist(), strict=True):
            place = site | self.program.mode_at(site)
            for _ in range(_VENEER):
                operation, _, size = decoded(image, place)
                kind = last_part(operation)[0]
                if kind in (op.JUMP_REG, op.CALL_REG):
                    yield target
                if kind in (op.JUMP_REG, op.CALL_REG, op.RETURN, op.JUMP) or not size:
                    break
                place += size

    def _needing(self, instructions: Instructions) -> Instructions:
        return instructions.at(instructions.needing(frozenset(Feature)))

    def _may_return(self, place: int) -> bool:
        """Return whether a called function may return."""
        name = self.program.stubs.get(place)
        if name is not None:
            return not never_returns(name)
        place = self.program.own_stubs.get(place, place)
        if place not in self._returning:
            try:
                self._returning[place] = self._reaches_return(place)
            except BudgetError:
                self._returning[place] = False
        return self._returning[place]

    @cached_property
    def _returning(self) -> dict[int, bool]:
        return {}

    def _reaches_return(self, place: int) -> bool:
        image, todo, seen = self.program.image, [place], set[int]()
        while todo and len(seen) < 2000:
            at = todo.pop()
            while at not in seen and image.is_code(at & ~1 if image.bits == 32 else at):
                seen.add(at)
                operation, _, size = decoded(image, at)
                part = last_part(operation)
                if part[0] == op.IF:
                    inner = last_part(part[2])
                    if inner[0] in (op.RETURN, op.JUMP_REG):
                        return True
                    part = (op.NOP,) if inner[0] == op.CALL else part
                if part[0] in (op.RETURN, op.JUMP_REG, op.TABLE):
                    return True
                if part[0] == op.CALL:
                    name = self.program.stubs.get(branch_targets(at, part)[0])
                    if name is not None and never_returns(name):
                        break
                elif part[0] in (op.JUMP, op.BRANCH, op.BRANCH_ZERO, op.BRANCH_BIT):
                    for target in branch_targets(at, part):
                        name = self.program.stubs.get(target)
                        if name is not None and not never_returns(name):
                            return True
                        if name is None:
                            todo.append(target)
                    if part[0] == op.JUMP:
                        break
                elif part[0] == op.STOP:
                    break
                at += size or 4
        return False

    @cached_property
    def has_landing_pads(self) -> bool:
        """Whether exceptions can lead into the middle of its functions."""
        names = {symbol.name for symbol in self._binary.elf.undefined} | {f.name for f in self._binary.elf.functions}
        return bool(names & {"__gxx_personality_v0", "rust_eh_personality"})

    @cached_property
    def entries(self) -> dict[int, Entrance]:
        """The places at which its code is entered."""
        image, program = self.program.image, self.program
        found: dict[int, Entrance] = {}
        for place in np.unique(image.pointer_columns[1]).tolist():
            if image.is_code(place & ~1 if image.bits == 32 else place):
                found[place] = Entrance(0, "")
        refs = np.unique(program.references[0])
        for place in refs[image.are_code(refs & ~1 if image.bits == 32 else refs)].tolist():
            found.setdefault(place, Entrance(0, ""))
        for entry in image.exports:
            is_module = entry.name.startswith("PyInit_") or (entry.name.startswith("init") and self._is_module)
            found[entry.place] = Entrance(3 if is_module else 1, entry.name)
        for place in self._methods():
            found[place] = Entrance(2, "")
        for entry in image.called_at_load:
            found[entry.place] = Entrance(3, entry.name)
        return found

    @cached_property
    def _is_module(self) -> bool:
        return any(symbol.name.startswith(("Py_", "_Py", "Py")) for symbol in self._binary.elf.undefined)

    def _methods(self) -> Iterator[int]:
        """Yield the functions in tables of methods: name, function, flags, documentation (Python's methodobject.h)."""
        image = self.program.image
        if not self._is_module:
            return
        places, values = image.pointer_columns
        width = image.width
        pointers = image.pointers
        for place, value in zip(places.tolist(), values.tolist(), strict=True):
            if not image.is_code(value & ~1 if image.bits == 32 else value):
                continue
            name = pointers.get(place - width)
            if name is None or (image.number(place + width, 4) or 0) not in _METHOD_FLAGS:
                continue
            if image.text(name).isidentifier():
                yield value
