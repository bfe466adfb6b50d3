"""The code of one file: which instructions it has, where it may be entered, and its functions."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.code_scan import a64_returns
from pibuild.machinecode.control_flow.auxiliary_vector import holds_glibc
from pibuild.machinecode.control_flow.computed_jumps import is_computed, link_label, table_places
from pibuild.machinecode.control_flow.imported_answers import Answers
from pibuild.machinecode.control_flow.knowledge import Walk
from pibuild.machinecode.control_flow.program import Program, without_symbols
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.features import Feature
from pibuild.machinecode.image import START, MemoryImage
from pibuild.machinecode.instructions import Instructions, all_encodings, in_order
from pibuild.machinecode.regions import (
    LEAVES,
    CodeMap,
    branch_targets,
    conditional_targets,
    decoded,
    decoded_in,
    flows_out,
    guessed_sections,
    last_part,
)
from pibuild.machinecode.relocations import Addresses
from pibuild.machinecode.sorted_arrays import distinct
from pibuild.machinecode.symbols import CodeSection
from pibuild.machinecode.table_loads import loads_from
from pibuild.verify.binary import Binary
from pibuild.verify.code.siblings import Siblings

CERTAIN = 3
"""The rank of entrances that certainly run."""
_MAX_SURPRISES, _MAX_FOLLOWED = 20_000, 200_000
_D16_TO_D31 = (0xECD00B20, 0xECC00B20, 0xECF00B20, 0xECE00B20)
"""vldmia and vstmia of d16 to d31, as unwinders have them: A32 and T32 write them alike."""
_PERSONALITIES = frozenset(("__gxx_personality_v0", "rust_eh_personality"))
"""Functions that find what handles an exception."""
_GLIBC_TAGS = b"glibc.mem.tagging"
"""A tunable's name in a glibc that is linked in statically."""
_MEMORY_TAGS = ((0xFF200000, 0xD9200000), (0xFFE0F800, 0x9AC01000), (0xFFFFFF00, 0xD50B7400))
"""Masks and words of stg and ldg, of irg and gmi, and of dc gva."""
_COPROCESSOR_NUMBER, _LAST_OF_IWMMXT = 0xF00, 0x100
_D0_TO_D15 = (
    bytes.fromhex("200b90ec"),
    bytes.fromhex("210b90ec"),
    bytes.fromhex("90ec200b"),
    bytes.fromhex("90ec210b"),
)
_BACK = (bytes.fromhex("1eff2fe1"), bytes.fromhex("7047"))
"""BX LR in A32 and in T32."""
_READ_VG, _IS_VG = 0x04E0E3E0, 0x7100B81F
"""CNTD x0, which libgcc's unwinder runs for DWARF register 46 (VG), and CMP w, #46 (aarch64-unwind.h)."""
_GO_DIT = 0xD53B42A0, 0xD5034140, 0xD51B42A0
"""MRS and MSR of DIT, without the register. Go's runtime runs them if GODEBUG asks for dataindependenttiming, and
crypto/subtle if the CPU has them (sys.DITSupported)."""
_VG_BYTES = 1024
"""The comparison is not farther away than this."""
_MAX_GUESSED = 400
_IMPOSSIBLE = (Feature.UNALLOCATED, Feature.PRIVILEGED, Feature.COPROCESSOR)
_WORDS_A_STEP, _WAYS_A_WORD = 6, 2
"""The cost of finding the reached code, in steps and in ways."""
_COMPUTED = (op.TABLE, op.JUMP_REG, op.CALL_REG, op.RETURN)
"""Operations that jump to an address in a register or in a loaded word."""
_JUMPS = (op.JUMP_REG, op.JUMP)
_RET = 0xD65F03C0
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

    def doubtful(self, why: str = "") -> "Fault":
        """Return this fault as one that is not certain."""
        return replace(self, is_certain=False, why=f"{self.why}{why}")

    def perhaps_data(self) -> "Fault":
        """Return this fault as one of bytes that may be data."""
        return self.doubtful("; but these bytes may be data")


@dataclass(slots=True)
class Entrance:
    """A place at which code is entered from outside of the file's own calls."""

    rank: int
    """3: it certainly runs; 2: Python calls it; 1: exported; 0: a pointer leads to it."""
    name: str


class Entrances:
    """The entrances of a file: those with a rank, exported ones, and the many places to which only pointers lead."""

    def __init__(self, ranked: Mapping[int, Entrance], image: MemoryImage, pointed: Addresses) -> None:
        """Take the entrances with a rank by place, the file with its exports, and other places in their order."""
        exported = sorted((place for place in ranked if place in image.exports), key=image.exports.__getitem__)
        self._ranked = {place: ranked[place] for place in (*exported, *ranked)}
        self._image, self._pointed = image, pointed

    def get(self, place: int) -> Entrance | None:
        """Return the entrance at a place; None if there is none."""
        if place in self._ranked:
            return self._ranked[place]
        if place in self._image.exports:
            return Entrance(1, self._image.symbol_name(self._image.exports[place]))
        row = int(np.searchsorted(self._pointed, place))
        return Entrance(0, "") if row < len(self._pointed) and self._pointed[row] == place else None

    def ranked(self, least: int) -> list[int]:
        """Return the places with at least a rank, the highest first."""
        places = [place for place, entrance in self._ranked.items() if entrance.rank >= least]
        return sorted(places, key=lambda place: -self._ranked[place].rank)


def code_of(binary: Binary, siblings: Siblings) -> "Code":
    """Return the code of a file, beside the other files of its wheel; it is worked out once."""
    if Code not in binary.memo:
        binary.memo[Code] = Code(binary, siblings)
    code: Code = binary.memo[Code]
    return code


def _are_of_iwmmxt(words: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Return which instructions of coprocessors load and store registers of iWMMXt, as functions for all CPUs do.

    These are LDC and STC, and moves of its control registers 8 to 11. FPA had the number of coprocessor 1 before.
    """
    is_access = words & 0x0E000000 == 0x0C000000
    is_move = (words & 0x0F000010 == 0x0E000010) & (words & 0x000C0000 == 0x00080000)
    are_meant: NDArray[np.bool_] = (is_access | is_move) & (words & _COPROCESSOR_NUMBER <= _LAST_OF_IWMMXT)
    return are_meant


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
        are_on_demand = self._are_on_demand(base)
        return base.at(~are_on_demand) if np.any(are_on_demand) else base

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

    def _are_on_demand(self, instructions: Instructions) -> NDArray[np.bool_]:
        """Return which instructions run on demand only.

        An unwinder saves and restores d16 to d31, and reads VG; Go's runtime switches DIT on. A file with an unwinder
        has the functions for d0 to d15, too (libgcc's lib1funcs, LLVM's UnwindRegisters). libgcc's unwinder and
        glibc's setjmp know the registers of iWMMXt, which are those of the coprocessors 0 and 1. glibc's malloc, linked
        in statically, tags memory if the tunable glibc.mem.tagging asks for it.
        """
        found = np.zeros(len(instructions.addresses), np.bool_)
        content = self._binary.content
        if self._binary.elf.is_aarch64:
            for mask, word in _MEMORY_TAGS:
                found |= instructions.words & np.uint32(mask) == word
            found &= bool(np.any(found)) and _GLIBC_TAGS in content
            if len(self.program.image.go_functions[0]):
                found |= np.isin(instructions.words & ~np.uint32(31), _GO_DIT)
            for row in np.flatnonzero(instructions.words == _READ_VG).tolist():
                found[row] = self._compares_vg(int(instructions.addresses[row]))
        if self._binary.elf.is_arm:
            found |= instructions.needing({Feature.COPROCESSOR}) & _are_of_iwmmxt(instructions.words)
        if not self._binary.elf.is_arm or not any(low + back in content for low in _D0_TO_D15 for back in _BACK):
            return found
        for row in np.flatnonzero(np.isin(instructions.words, _D16_TO_D31)).tolist():
            following = self.program.image.read(int(instructions.addresses[row]) + 4, 4)
            found[row] = following.startswith(_BACK)
        return found

    def _compares_vg(self, address: int) -> bool:
        """Return whether code near to an address compares a number with that of VG."""
        span = self.program.image.span(address)
        first = max(span.start if span else address, address - _VG_BYTES)
        words = self.program.image.rows(first, 2 * _VG_BYTES, np.dtype("<u4"))
        return bool(np.any(words & 0xFFFFFC1F == _IS_VG))

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """The features that its instructions need beyond the base, first those that compilers use everywhere."""
        encodings = all_encodings()
        needs = {encodings[number].needs for number in distinct(self.newer.encodings).tolist()}
        return tuple(sorted((need for need in needs if need), key=lambda need: (need is not Feature.LSE, need)))

    def _followed(self) -> Iterator[Instructions]:
        """Yield what a stripped file for 32 bits reaches from its entries, also behind calls that return."""
        image, program = self.program.image, self.program
        entries = list(filter(program.functions.in_code_section, image.entered.tolist()))
        words = self._follow(entries, {}, _MAX_FOLLOWED)
        yield self._needing(self.map.classified(words))
        pointed = distinct(image.pointer_columns[1])
        reached = np.array(sorted(words), np.int64) & ~1
        targets, sites = program.graph.references
        named = distinct(np.concatenate([pointed, targets[np.isin(sites, reached)]]))
        named = named[~program.functions.are_labels(named) & ((named & 1 == 1) | (named & 3 == 0))]
        begins = image.unwound[0]
        if len(begins):  # where the unwinding tables know all functions, another place is none
            addresses = named & ~1
            is_known = np.isin(addresses, begins) | (addresses < begins[0]) | (addresses > begins[-1])
            named = named[is_known]
        are_pointers = frozenset(pointed.tolist())
        for place in filter(program.functions.in_code_section, named.tolist()):
            # a number may look like an address, a literal like a function
            is_likely = self.map.is_listed(place) or (not len(begins) and place in are_pointers)
            if is_likely and place not in words and len(words) < _MAX_FOLLOWED:
                fresh = self._follow([place], words, _MAX_GUESSED)
                found = self.map.classified(fresh)
                if not np.any(found.needing(_IMPOSSIBLE)):
                    words |= fresh
                    yield self._needing(found)

    def _follow(self, places: list[int], known: dict[int, int], most: int) -> dict[int, int]:
        """Return the words that are reached from places, by place, without those that are known."""
        image, program, todo = self.program.image, self.program, list(places)
        words: dict[int, int] = {}
        steps = self._binary.steps
        left = max(0, min(_WORDS_A_STEP * steps.left, steps.ways // _WAYS_A_WORD))
        most = min(most, left)
        while todo and len(words) < most:
            place = todo.pop()
            span = image.span(place & ~1)
            while span is not None and span.is_executable and place not in words and place not in known:
                operation, word, size = decoded_in(image, span, place, place & ~1)
                if not size or len(words) >= most:
                    break
                words[place] = word
                part = last_part(operation)
                if part[0] < op.CALL:  # only the next instruction follows
                    place += size
                    span = span if place < span.end else image.span(place & ~1)
                    continue
                is_maybe = part[0] == op.IF
                part = last_part(part[2]) if is_maybe else part
                targets = branch_targets(place, part)
                todo += targets
                if part[0] in _COMPUTED:
                    ways = table_places(image, place, *program.functions.bounds(place))
                    todo += ways
                    is_open = part[0] != op.CALL_REG and not ways and not known
                    if is_open and is_computed(image, place, program.functions.bounds(place)[0]):
                        self.map.is_whole = False
                if part[0] in _JUMPS or (part[0] == op.RETURN and len(part) > 1):
                    label = link_label(image, place)
                    todo += [] if label is None else [label]
                ends = part[0] in LEAVES or (
                    part[0] in (op.CALL, op.CALL_REG)
                    and (
                        any(program.functions.data_in((place & ~1) + size, (place & ~1) + size + 2))
                        or (part[0] == op.CALL and not program.returns.may_return(targets[0]))
                    )
                )
                if ends and not is_maybe:
                    break
                place += size
                span = image.span(place & ~1)
        steps.left -= len(words) // _WORDS_A_STEP
        steps.ways -= len(words) * _WAYS_A_WORD
        self.map.is_whole = self.map.is_whole and len(words) < left
        return words

    def _surprises(self) -> Iterator[Instructions]:
        """Yield instructions at places that the file marks as data, or doesn't mark."""
        image, code_map = self.program.image, self.map
        if not self._binary.mapped and self._binary.elf.is_arm:
            yield from self._followed()
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
    def entries(self) -> "Entrances":
        """The places at which its code is entered."""
        image, program = self.program.image, self.program
        values = distinct(np.concatenate([image.pointer_columns[1], program.graph.references[0]]))
        values = values[image.are_code(values & ~1 if image.bits == 32 else values)]
        pointed = values[~program.functions.are_labels(values)]
        named: dict[int, Entrance] = {}
        for row in self._init_functions():
            named[int(image.symbols["value"][row])] = Entrance(3, image.symbol_name(row))
        used = self._used_by_others
        is_module = len(image.named_rows(image.exports.numbers, b"PyInit_")) > 0
        for entry in image.exported_resolvers:
            if entry.name in used or not is_module:  # nothing asks a module for other symbols
                named[entry.place] = Entrance(3 if entry.name in used else 1, entry.name)
        for place in self._methods():
            named[place] = Entrance(2, "")
        for entry in image.called_at_load:
            named[entry.place] = Entrance(3, entry.name)
        for place in self._started():
            named[place] = Entrance(3, "")
        return Entrances(named, image, pointed)

    def _init_functions(self) -> list[int]:
        """Return the symbols of the functions that Python calls to make a module."""
        image = self.program.image
        rows = np.sort(image.exports.numbers)
        found = image.named_rows(rows, b"PyInit_")
        if self._is_module:
            found = np.union1d(found, image.named_rows(rows, b"init"))
        return [int(row) for row in found.tolist()]

    @cached_property
    def _used_by_others(self) -> frozenset[str]:
        """Symbols that other files of the wheel use which need this one."""
        users = self._siblings.users_of(self._binary)
        return frozenset[str]().union(*(user.undefined_names for user in users))

    def _started(self) -> Iterator[int]:
        """Yield main, and the other functions that the start code of a static program passes to its glibc."""
        image, program = self.program.image, self.program
        if not holds_glibc(image):
            return
        for entry in image.called_at_load:
            if entry.name == START:
                for _, arguments in program.flow.walk(entry.place).passed:
                    numbers = (value[1] for value in arguments.values() if value[0] == "k")
                    yield from filter(program.functions.in_code_section, numbers)

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
        may_be = image.are_code(values & ~1 if image.bits == 32 else values) & np.isin(places - width, places)
        for place, value in zip(places[may_be].tolist(), values[may_be].tolist(), strict=True):
            name = pointers.get(place - width)
            if name is None or (image.number(place + width, 4) or 0) not in _METHOD_FLAGS:
                continue
            if self.program.functions.in_code_section(value) and image.text(name).isidentifier():
                yield value
