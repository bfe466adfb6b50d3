"""The code of one file: which instructions it has, where it may be entered, and its functions."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.code_scan import a64_returns
from pibuild.machinecode.control_flow.auxiliary_vector import holds_glibc
from pibuild.machinecode.control_flow.followed_code import FollowedCode
from pibuild.machinecode.control_flow.imported_answers import Answers
from pibuild.machinecode.control_flow.knowledge import Walk
from pibuild.machinecode.control_flow.program import Program, without_symbols
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.features import Feature
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.instructions import Instructions, all_encodings, in_order
from pibuild.machinecode.regions import (
    CodeMap,
    conditional_targets,
    decoded,
    flows_out,
    guessed_sections,
    last_part,
)
from pibuild.machinecode.sorted_arrays import distinct
from pibuild.machinecode.symbols import CodeSection
from pibuild.machinecode.table_loads import loads_from
from pibuild.machinecode.walks import ROWS_A_WAY
from pibuild.verify.binary import Binary
from pibuild.verify.code.entrances import Entrances, entrances_of
from pibuild.verify.code.on_demand import are_on_demand
from pibuild.verify.code.siblings import Siblings

_MAX_SURPRISES = 20_000
_PERSONALITIES = frozenset(("__gxx_personality_v0", "rust_eh_personality"))
"""Functions that find what handles an exception."""
_MAX_GUESSED = 400
_MOST_ROWS, _ROWS_A_STEP = 280_000, 32
"""As many words or halfwords of a file are followed, and for one step."""
_RET = 0xD65F03C0
_VENEER = 6
"""Instructions between the one that puts an address together and the jump to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Code that the CPU lacks, and how it is reached."""

    is_certain: bool
    instruction: str
    chain: tuple[str, ...]
    """Functions, from the entry to the one with the instruction."""
    why: str

    def doubtful(self, why: str = "") -> "Fault":
        """Return this fault as one that is not certain."""
        return replace(self, is_certain=False, why=f"{self.why}{why}")

    def perhaps_data(self) -> "Fault":
        """Return this fault as one of bytes that may be data."""
        return self.doubtful("; but these bytes may be data")


def code_of(binary: Binary, siblings: Siblings) -> "Code":
    """Return the code of a file, beside the other files of its wheel; it is worked out once."""
    if Code not in binary.memo:
        binary.memo[Code] = Code(binary, siblings)
    code: Code = binary.memo[Code]
    return code


class Code:
    """The code of a file for a Pi."""

    def __init__(self, binary: Binary, siblings: Siblings) -> None:
        """Take the file and the others of its wheel. All facts are computed when they are first used."""
        self._binary, self._siblings = binary, siblings
        self.faults: dict[tuple[frozenset[Feature], frozenset[Feature]], Fault | None] = {}
        """What stops it on CPUs, by what they have, and what kernels may emulate."""
        self.walks: dict[tuple[int, bool], Walk] = {}
        """Whole walks through its functions, by place and whether landing pads were followed."""
        self._perhaps = np.empty(0, np.int64)
        self._jumps_are_whole = True

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
        binary = self._binary
        return Program(binary.content, binary.mapped or binary.elf, self.sections, self._answers, binary.steps)

    def _answers(self, name: str) -> Answers | None:
        return self._exporters.get(name)

    @cached_property
    def _exporters(self) -> dict[str, Answers]:
        """The answers of exported functions in files of the wheel that this one needs, by name."""
        binary, found = self._binary, {}
        for other in self._siblings.needed_by(binary):
            if other.elf.bits != binary.elf.bits or not other.is_for_pis:
                continue
            if other.needed_names.isdisjoint(binary.names):
                answers = code_of(other, self._siblings).program.answers
                names = {*answers.functions, *(name for name, _ in answers.variables)}
                found.update(dict.fromkeys(names, answers))
        return found

    @cached_property
    def is_fixed_glibc(self) -> bool:
        """Whether it is a static program with a glibc of its own, and is mapped where it says."""
        image = self.program.image
        return holds_glibc(image) and not image.tags

    @cached_property
    def map(self) -> CodeMap:
        """Which bytes are instructions."""
        return CodeMap(self.program.image, self.sections)

    @cached_property
    def newer(self) -> Instructions:
        """The instructions that need more than the base, and that control may reach."""
        binary = self._binary
        parts = list(binary.newer_words)
        # in a stripped file for 32 bits, these are of what is reached
        self.map.is_whole = bool(binary.mapped) or binary.elf.is_aarch64 or binary.steps.ways > 0
        parts += self._surprises()
        base = in_order(parts)
        on_demand = are_on_demand(binary, self.program.image, base)
        return base.at(~on_demand) if np.any(on_demand) else base

    @property
    def is_whole(self) -> bool:
        """Whether all bytes were looked at to which control may come, when `newer` was found."""
        return self.map.is_whole

    @cached_property
    def are_perhaps_data(self) -> NDArray[np.bool_]:
        """Which of the newer instructions may be data: only a pointer leads there, or what looks like code."""
        return np.isin(self.newer.places(), self._perhaps)

    def likeness(self, place: int) -> Literal["code", "perhaps", "data"]:
        """Return what the bytes at the target of a pointer look like."""
        image, graph = self.program.image, self.program.graph
        is_known = self._binary.mapped or self._binary.elf.is_arm or self.program.functions.is_function(place)
        if is_known or len(graph.callers(place)):
            return "code"
        sites = graph.referrers(place, place + 1).tolist()
        is_pointed = bool(np.any(image.pointer_columns[1] == place))
        if sites and not is_pointed and all(loads_from(image, site) for site in sites):
            return "data"
        return self.map.likeness(place)

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """The features that its instructions need beyond the base, first those that compilers use everywhere."""
        encodings = all_encodings()
        needs = {encodings[number].needs for number in distinct(self.newer.encodings).tolist()}
        return tuple(sorted((need for need in needs if need), key=lambda need: (need is not Feature.LSE, need)))

    def _followed(self) -> Instructions:
        """Return the newer ones of what a stripped file for 32 bits reaches from its entries, and by pointers."""
        program, steps = self.program, self._binary.steps
        image, functions = program.image, program.functions
        followed = FollowedCode(image, self._binary.elf.sections, functions, program.graph, program.returns)
        left = max(0, min(_ROWS_A_STEP * steps.left, ROWS_A_WAY * steps.ways))
        most = min(_MOST_ROWS, left)
        count = followed.reach(filter(functions.in_code_section, image.entered.tolist()), most)
        self.map.is_whole = self.map.is_whole and count < left and not followed.is_computed_somewhere()
        count += followed.reach_pointed(self.map.is_listed, most - count)
        steps.left -= count // _ROWS_A_STEP
        steps.ways -= count // ROWS_A_WAY
        for section in self._binary.elf.sections:
            section.memo.clear()  # it takes much memory
        return followed.newer

    def _surprises(self) -> Iterator[Instructions]:
        """Yield instructions at places that the file marks as data, or doesn't mark."""
        image, code_map = self.program.image, self.map
        if not self._binary.mapped and self._binary.elf.is_arm:
            yield self._followed()
            return
        places = [np.empty(0, np.int64)]
        for kind, addresses, words in self.program.functions.words():
            targets = conditional_targets(kind, addresses, words)
            places.append(targets[code_map.unlisted_rows(targets)])
        called = self.program.graph.calls[0]
        places.append(called[code_map.unlisted_rows(called)])
        sure, after_calls = flows_out(
            image, self.sections if self._binary.mapped else (), code_map, self.program.returns.may_return
        )
        entered = [entry.place for entry in image.called_at_load if not code_map.is_listed(entry.place)]
        resolvers = [entry.place for entry in image.exported_resolvers]
        exported = [place for place in (*image.exported[0].tolist(), *resolvers) if not code_map.is_listed(place)]
        values = distinct(image.pointer_columns[1])
        values = values[~self.program.functions.are_labels(values)]
        values = values[code_map.unlisted_rows(values)]
        pointed = [place for place in values.tolist() if self._may_be_function(place)]
        pointed += self._jumped_to()
        direct = distinct(np.concatenate(places)).tolist()
        certain = [*sure, *entered, *(direct if self._binary.mapped else [])]
        doubtful = [*after_calls, *exported, *pointed, *([] if self._binary.mapped else direct)]
        code_map.is_whole = max(len(certain), len(doubtful)) <= _MAX_SURPRISES and self._jumps_are_whole
        yield self._needing(code_map.explore(certain[:_MAX_SURPRISES]))
        likely, perhaps = map(self._needing, code_map.explore_likely(doubtful[:_MAX_SURPRISES]))
        if not self._binary.mapped and self._edits_returns():
            code_map.is_whole = False
        self.program.graph.add_calls(code_map.branches)
        self._perhaps = perhaps.places()
        yield likely
        yield perhaps

    def _edits_returns(self) -> bool:
        """Return whether a function of 64-bit code adds to the address to which it then returns; compilers do not."""
        for _, _, words in self.program.functions.words():
            adds = (words[:-1] & 0xFF8003FF == 0x910003DE) | (words[:-1] & 0xFFE003FF == 0x8B0003DE)
            if self._binary.elf.is_aarch64 and np.any(adds & (words[1:] == _RET)):
                return True
        return False

    def _may_be_function(self, place: int) -> bool:
        """Return whether a pointer to bytes that nothing calls code may lead to a function.

        Sections of code hold little else. Constants look like instructions now and then, but hardly like ten that
        always execute and return.
        """
        if self.program.functions.in_code_section(place):
            return True
        if place & 1 or place & 2:
            return False
        return self._returns64(place) if self._binary.elf.is_aarch64 else self._returns32(place)

    def _returns64(self, place: int) -> bool:
        """Return whether a RET stands soon behind a place."""
        image, returns = self.program.image, self._a64_returns
        row = bisect_left(returns, place)
        span = image.span(place)
        last = min(place + 4 * _MAX_GUESSED, span.end if span else 0)
        return row < len(returns) and returns[row] < last

    @cached_property
    def _a64_returns(self) -> memoryview:
        return a64_returns(self.program.image).data

    def _returns32(self, place: int) -> bool:
        """Return whether instructions that always execute lead from a place to a return."""
        always = 0
        for at in range(_MAX_GUESSED):
            operation, word, size = decoded(self.program.image, place + 4 * at)
            if last_part(operation)[0] == op.RETURN:
                return always >= at
            always += word >> 28 in (0xE, 0xF)
            if not size or always < at:
                return False
        return False

    def _jumped_to(self) -> Iterator[int]:
        """Yield places that code puts together right before it jumps to a register, as linkers' veneers do."""
        image = self.program.image
        targets, sites = self.program.graph.references
        is_free = ~self.program.functions.are_labels(targets)
        targets, sites = targets[is_free], sites[is_free]
        rows = self.map.unlisted_rows(targets)
        rows = rows[self.program.graph.are_before_jumps(sites[rows], 4 * _VENEER)]
        self._jumps_are_whole, rows = len(rows) <= _MAX_SURPRISES, rows[:_MAX_SURPRISES]
        for target, site in zip(targets[rows].tolist(), sites[rows].tolist(), strict=True):
            place = site | self.program.functions.mode_at(site)
            operation, _, size = decoded(image, place)
            register = operation[1] if operation[0] in (op.ADD_PC, op.LOAD_NEAR, op.ADD, op.SET_NEAR, op.LOAD) else None
            for _ in range(_VENEER if register is not None else 0):
                place += size
                operation, _, size = decoded(image, place)
                part = last_part(operation)
                if part[0] in (op.JUMP_REG, op.CALL_REG) and part[1] == register:
                    yield target
                if part[0] >= op.CALL or not size or (part[0] != op.NOP and part[1] == register):
                    break

    def _needing(self, instructions: Instructions) -> Instructions:
        return instructions.at(instructions.needing(frozenset(Feature)))

    @cached_property
    def has_landing_pads(self) -> bool:
        """Whether exceptions can lead into the middle of its functions."""
        elf = self._binary.elf
        return not _PERSONALITIES.isdisjoint(self._binary.undefined_names) or bool(elf.functions.named(_PERSONALITIES))

    @cached_property
    def entries(self) -> Entrances:
        """The places at which its code is entered."""
        return entrances_of(self._binary, self.program, self._siblings)
