"""The functions of an ELF file, who calls and names them, and what the file asks about the CPU.

Calls and references are found in bulk, in time linear in the size of the code; single functions are followed
(flow.py) only where an answer about the CPU comes in, or where somebody wants to know.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode import effects, questions
from pibuild.machinecode.code_scan import are_calls, direct_branches, references32, references64, stubs32, stubs64
from pibuild.machinecode.elf import Elf
from pibuild.machinecode.flow import BudgetError, Flow, Knowledge
from pibuild.machinecode.image import Addresses, MemoryImage
from pibuild.machinecode.instructions import instruction_words
from pibuild.machinecode.questions import Features
from pibuild.machinecode.regions import branch_targets, decoded, last_part
from pibuild.machinecode.register_values import Value
from pibuild.machinecode.symbols import CodeSection, Region, RegionKind

_NONE = np.empty(0, np.int64)
_AT_ONCE = 1 << 22
_FIELDS = 512
"""A variable that holds answers is a structure of at most this number of bytes."""
_ASKING_STEPS = 400_000
_ASKING_WALKS = 4000
_READER_BYTES = 4096
_MUSL_BARRIERS = (bytes.fromhex("5bf07ff51eff2fe1"), bytes.fromhex("ba0f07ee1eff2fe1"))
"""musl's barriers for ARMv7 (DMB; BX LR) and for ARMv6 (MCR; BX LR), among which it chooses by HWCAP."""
_NAMES_BEFORE = 3
"""An instruction in assembler belongs to one of this number of names before it: some are labels within a function."""
_DEEPEST, _MAX_WITHOUT_RETURN = 40, 4000
"""How far is looked for a way back from a function: calls, and instructions of each."""
NEVER_RETURN = (
    *("abort", "exit", "_exit", "_Exit", "__stack_chk_fail", "__assert_fail", "longjmp", "siglongjmp", "pthread_exit"),
    *("_Unwind_Resume", "__cxa_throw", "__cxa_rethrow", "__cxa_bad_cast", "__cxa_bad_typeid", "__cxa_end_cleanup"),
    *("_ZSt9terminatev", "__fortify_fail", "__chk_fail", "quick_exit", "__longjmp_chk", "__libc_start_main"),
    *("Py_FatalError", "Py_Exit", "__cxa_pure_virtual", "__cxa_throw_bad_array_new_length", "err", "errx"),
)
"""Functions of the system's libraries that do not return, beside those whose names begin with `_ZSt..__throw_`."""


def never_returns(name: str) -> bool:
    """Return whether a function of the system's libraries ends the program, or leaves by an exception."""
    return name in NEVER_RETURN or (name.startswith("_ZSt") and "__throw_" in name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a file tells others about the CPU: by exported functions and variables."""

    functions: Mapping[str, Value]
    variables: Mapping[tuple[str, int], Value]
    asked: Features


class Program:
    """The code of one file for a Pi, with the questions that it asks."""

    def __init__(
        self, content: bytes, elf: Elf, sections: Sequence[CodeSection], answers: Callable[[str], Answers | None]
    ) -> None:
        """Take the file, and what tells which answers an imported name stands for."""
        self.image, self.elf, self.sections = MemoryImage(content, bits=elf.bits), elf, sections
        self._answers, self._content = answers, content
        self.knowledge = Knowledge()
        self.flow = Flow(
            self.image,
            self.knowledge,
            bounds=self.bounds,
            is_function=self.is_function,
            in_code_section=self.in_code_section,
            imported=self._imported,
            exported=self._exported,
            data_in=self.data_in,
            never_returns=never_returns,
            may_return=self.may_return,
            may_hold_literals=self.is_stripped_arm,
        )
        self.flow.stubs = self.stubs
        self._is_resolver = {entry.place for entry in self.image.resolvers}
        self._find_answers()

    # functions

    @cached_property
    def _table(self) -> tuple[Addresses, Addresses, dict[int, int]]:
        """Begins and ends of all functions that are known, and the mode of those that a symbol or pointer names."""
        image = self.image
        mask = ~1 if image.bits == 32 else ~0
        starts, ends = image.unwound
        named = [(f.address, f.address + f.size, f.is_thumb) for f in self.elf.functions]
        places = [entry.place for entry in (*image.exports, *image.called_at_load)]
        modes = {place & mask: place & ~mask for place in places}
        modes.update((address, int(thumb)) for address, _, thumb in named)
        columns = np.array([(start, end) for start, end, _ in named if start < 1 << 62], np.int64).reshape(-1, 2)
        columns[:, 1] = columns[:, 1].clip(0, 1 << 62)
        more = np.array([place & mask for place in places if place < 1 << 62], np.int64)
        if self.is_stripped_arm:  # without a name, what is called is a function
            more = np.concatenate([more, self._called_directly & ~1])
        begins = [span.start for span in image.spans if span.is_executable]
        begins += [section.address for section in self.sections]
        every = np.concatenate([starts, columns[:, 0], more, np.array(begins, np.int64)])
        known = np.concatenate([ends, columns[:, 1], more, np.array(begins, np.int64)])
        is_code = image.are_code(every)
        every, known = every[is_code], known[is_code]
        unique, inverse = np.unique(every, return_inverse=True)
        latest = np.zeros(len(unique), np.int64)
        np.maximum.at(latest, inverse, known)
        following = np.append(unique[1:], np.int64(1) << 62)
        latest = np.where(latest > unique, np.minimum(latest, following), following)
        return unique, latest, modes

    @cached_property
    def _called_directly(self) -> Addresses:
        """The places that calls lead to."""
        found = [_NONE]
        for kind, addresses, words in self._words():
            for rows, target in direct_branches(kind, addresses, words):
                found.append(target[are_calls(kind, words[rows])])
        called = np.unique(np.concatenate(found))
        return np.array([place for place in called.tolist() if self.in_code_section(place)], np.int64)

    def bounds(self, place: int) -> tuple[int, int]:
        """Return begin and end of the function that a place lies in."""
        starts, ends, _ = self._table
        address = place & ~1 if self.image.bits == 32 else place
        row = int(np.searchsorted(starts, address, "right")) - 1
        if row < 0:
            return address, int(starts[0]) if len(starts) else address + (1 << 16)
        if address < ends[row]:
            return int(starts[row]), int(ends[row])
        return int(ends[row]), int(starts[row + 1]) if row + 1 < len(starts) else 1 << 62

    @property
    def is_stripped_arm(self) -> bool:
        """Whether which bytes are code, and of which kind, is a guess."""
        return self.elf.is_arm and not self.elf.is_mapped

    def is_called(self, place: int) -> bool:
        """Return whether something calls a place, exports it, or runs it when the file is loaded."""
        return bool(len(self.callers(place))) or place in self._entered

    @cached_property
    def _entered(self) -> frozenset[int]:
        return frozenset(entry.place for entry in (*self.image.exports, *self.image.called_at_load))

    def in_code_section(self, place: int) -> bool:
        """Return whether a place lies in a section of code."""
        return any(part.address <= place < part.address + len(part.code) for part in self.sections)

    def is_function(self, address: int) -> bool:
        """Return whether a function begins at an address of which the end is known."""
        row = int(np.searchsorted(self._table[0], address, "right")) - 1
        if row < 0 or int(self._table[0][row]) != address:
            return False
        return bool(self._sized_ends[row] > address) or self.image.bits == 32

    def rows_of(self, addresses: Addresses) -> NDArray[np.intp]:
        """Return for each address the row of its function in the table."""
        return np.searchsorted(self._table[0], addresses, "right") - 1

    def data_in(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """Yield begins and ends of what mapping symbols call data, within a range."""
        starts, ends = self._data_spans
        first, last = np.searchsorted(ends, low, "right"), np.searchsorted(starts, high)
        for start, end in zip(starts[first:last].tolist(), ends[first:last].tolist(), strict=True):
            yield max(start, low), min(end, high)

    @cached_property
    def _data_spans(self) -> tuple[Addresses, Addresses]:
        spans = sorted((r.start, r.end) for part in self.sections for r in part.regions if r.kind == "data")
        columns = np.array(spans, np.int64).reshape(-1, 2)
        return columns[:, 0], columns[:, 1]

    @cached_property
    def regions(self) -> list[tuple[int, int, RegionKind]]:
        """The regions of code that are known by mapping symbols, or guessed for a stripped file, by address."""
        return sorted((r.start, r.end, r.kind) for part in self.sections for r in part.regions if r.kind != "data")

    def mode_at(self, address: int) -> int:
        """Return 1 if the code at an address is Thumb."""
        if self.image.bits == 64:
            return 0
        if address in self._table[2]:
            return self._table[2][address]
        starts = self._region_starts
        row = int(np.searchsorted(starts, address, "right")) - 1
        return int(row >= 0 and self.regions[row][2] == "thumb" and address < self.regions[row][1])

    @cached_property
    def _region_starts(self) -> Addresses:
        return np.array([start for start, _, _ in self.regions], np.int64)

    # calls and references, in bulk

    def _words(self) -> Iterator[tuple[RegionKind, Addresses, NDArray[np.uint32]]]:
        for section in self.sections:
            kinds: tuple[RegionKind, ...] = ("a64",) if self.image.bits == 64 else ("arm", "thumb")
            for kind in kinds:
                for addresses, words in instruction_words(section, kind):
                    for at in range(0, len(words), _AT_ONCE):
                        yield kind, addresses[at : at + _AT_ONCE], words[at : at + _AT_ONCE].astype(np.uint32)

    @cached_property
    def calls(self) -> tuple[Addresses, Addresses]:
        """Places that are called or jumped to from other functions, sorted, and the addresses that do so."""
        sites, targets = [_NONE], [_NONE]
        for kind, addresses, words in self._words():
            for rows, target in direct_branches(kind, addresses, words):
                site, aim = addresses[rows], target if kind == "a64" else target & ~1
                starts, ends, _ = self._table
                row = np.maximum(self.rows_of(aim), 0)
                keep = (self.rows_of(site) != row) | (aim >= ends[row]) | (aim == starts[row])
                keep |= are_calls(kind, words[rows])
                sites.append(site[keep])
                targets.append(target[keep])
        site, target = np.concatenate(sites), np.concatenate(targets)
        order = np.argsort(target, kind="stable")
        return target[order], site[order]

    def callers(self, place: int) -> Addresses:
        """Return the addresses of the instructions that call or jump to a place."""
        targets, sites = self.calls
        first, last = np.searchsorted(targets, (place, place + 1))
        return sites[first:last]

    @cached_property
    def references(self) -> tuple[Addresses, Addresses]:
        """Addresses that code puts together, also by the table of pointers (GOT), sorted; and where it does so."""
        find = references64 if self.image.bits == 64 else references32
        got = self.image.tags.get(3, 0)
        sites, targets = [_NONE], [_NONE]
        places, values = self.image.pointer_columns
        order = np.argsort(places, kind="stable")
        places, values = places[order], values[order]
        for kind, addresses, words in self._words():
            for site, target in find(self.image, kind, addresses, words, got):
                sites.append(site)
                targets.append(target)
                if len(places):
                    at = np.minimum(np.searchsorted(places, target), len(places) - 1)
                    is_pointer = places[at] == target
                    sites.append(site[is_pointer])
                    targets.append(values[at[is_pointer]])
        site, target = np.concatenate(sites), np.concatenate(targets)
        order = np.argsort(target, kind="stable")
        return target[order], site[order]

    def referrers(self, first: int, last: int) -> Addresses:
        """Return where code puts together an address in a range."""
        targets, sites = self.references
        low, high = np.searchsorted(targets, (first, last))
        return sites[low:high]

    @cached_property
    def stubs(self) -> dict[int, str]:
        """Names of imported functions by the place of the code that jumps to them."""
        return {place: name for place, slot in self._jumps.items() if (name := self.image.imports.get(slot))}

    @cached_property
    def own_stubs(self) -> dict[int, int]:
        """Own functions by the place of the code that jumps to them through a pointer."""
        return {place: own for place, slot in self._jumps.items() if (own := self.image.pointers.get(slot))}

    @cached_property
    def _jumps(self) -> dict[int, int]:
        """Places of linkage stubs (PLT), and where the pointer lies through which each jumps."""
        found: dict[int, int] = {}
        finder = stubs64 if self.image.bits == 64 else stubs32
        for span in self.image.spans:
            if span.is_executable:
                start = -(-span.start // 4) * 4
                content = self._content[span.offset + start - span.start : span.offset + span.end - span.start]
                words = np.frombuffer(content, "<u4", len(content) // 4)
                for at in range(0, len(words), _AT_ONCE):
                    found.update(finder(words[at : at + _AT_ONCE + 8], start + 4 * at))
        return found

    def may_return(self, place: int, depth: int = 0) -> bool:
        """Return whether a called function may return."""
        name = self.flow.stubs.get(place)
        if name is not None:
            return not never_returns(name)
        place = self.own_stubs.get(place, place)
        if place not in self._returning:
            self._returning[place] = False  # if it calls itself on the way, another way leads back
            self._returning[place] = depth > _DEEPEST or self._reaches_return(place, depth)
        return self._returning[place]

    @cached_property
    def _returning(self) -> dict[int, bool]:
        return {}

    def _reaches_return(self, place: int, depth: int) -> bool:
        image, todo, seen = self.image, [place], set[int]()
        while todo and len(seen) < _MAX_WITHOUT_RETURN:
            at = todo.pop()
            while at not in seen and image.is_code(at & ~1 if image.bits == 32 else at):
                seen.add(at)
                operation, _, size = decoded(image, at)
                part = last_part(operation)
                is_maybe = part[0] == effects.IF
                if is_maybe:
                    part = last_part(part[2])
                kind = part[0]
                if kind in (effects.RETURN, effects.JUMP_REG, effects.TABLE):
                    return True
                targets = branch_targets(at, part)
                if kind == effects.CALL:
                    if not is_maybe and not self.may_return(targets[0], depth + 1):
                        break
                elif targets:
                    for target in targets:
                        if target in self.flow.stubs or target in self.own_stubs:
                            if self.may_return(target, depth + 1):
                                return True
                        else:
                            todo.append(target)
                if kind in (effects.JUMP, effects.STOP) and not is_maybe:
                    break
                at += size or 4
        return bool(todo)

    # nodes of the graph of calls

    @cached_property
    def _named_places(self) -> Addresses:
        """Places that calls, pointers, exports and the loader name, sorted."""
        image = self.image
        values = image.pointer_columns[1]
        entries = np.array([e.place for e in (*image.exports, *image.called_at_load) if e.place < 1 << 62], np.int64)
        targets = self.calls[0]
        own = np.array(list(self.own_stubs.values()), np.int64)
        refs = np.unique(np.concatenate([self.references[0], values]))
        refs = refs[image.are_code(refs & ~1)]
        everything = np.unique(np.concatenate([targets, entries, own, refs[~self.are_labels(refs)]]))
        is_thumb = everything & 1 == 1 if image.bits == 32 else np.zeros(len(everything), np.bool_)
        everything = everything[is_thumb | (everything & 3 == 0)]
        named: Addresses = everything[image.are_code(everything & ~1 if image.bits == 32 else everything)]
        return named

    def are_labels(self, places: Addresses) -> NDArray[np.bool_]:
        """Return which places lie within a function whose end is known: a pointer to such is for its own jumps."""
        starts, _, _ = self._table
        addresses = places & ~1 if self.image.bits == 32 else places
        rows = np.maximum(self.rows_of(addresses), 0)
        return (addresses > starts[rows]) & (addresses < self._sized_ends[rows])

    @cached_property
    def _sized_ends(self) -> Addresses:
        """Where the functions of the table end that have a size, by their symbol or .eh_frame; else their begin."""
        starts, ends, _ = self._table
        sized = {f.address: f.address + f.size for f in self.elf.functions if f.size}
        if self.image.bits == 64:
            sized.update(zip(*(column.tolist() for column in self.image.unwound), strict=True))
        known = np.array([sized.get(start, start) for start in starts.tolist()], np.int64)
        return np.minimum(known, ends)

    def nodes(self, low: int, high: int) -> list[int]:
        """Return the places in a range at which its code is entered from outside."""
        places = self._named_places
        first, last = np.searchsorted(places, (low, high))
        found = places[first:last].tolist()
        if self.image.bits == 32:  # a mode that only some of the names state
            named = {place & ~1 for place in found}
            found = [place for place in found if place & 1 or (place | 1) not in found or not self.mode_at(place)]
        else:
            named = set(found)
        if low not in named and low in self._starts_set:
            found.insert(0, low | self.mode_at(low))
        return [int(place) for place in found]

    def nodes_before(self, addresses: Addresses) -> list[int]:
        """Return the places from which instructions of one function, or one range without a function, are entered.

        In such a range, functions in assembler follow one another: only the last names before an instruction count.
        """
        low, high = self.bounds(int(addresses[0]))
        nodes = self.nodes(low, high)
        if self.is_function(low) or len(nodes) <= _NAMES_BEFORE:
            return nodes
        places = np.array([node & ~1 if self.image.bits == 32 else node for node in nodes], np.int64)
        after = np.unique(np.searchsorted(places, addresses, "right"))
        rows = np.unique(np.concatenate([after - step for step in range(1, _NAMES_BEFORE + 1)]))
        return [nodes[row] for row in rows.tolist() if row >= 0]

    @cached_property
    def stubs_of(self) -> dict[int, list[int]]:
        """The stubs that lead to each own function."""
        found: dict[int, list[int]] = {}
        for stub, own in self.own_stubs.items():
            found.setdefault(own, []).append(stub)
        return found

    @cached_property
    def _starts_set(self) -> frozenset[int]:
        return frozenset(self._table[0].tolist())

    # answers

    def _imported(self, name: str, registers: dict[int, Value]) -> Value | None:
        """Return what an imported function answers."""
        first, second = registers.get(0), registers.get(1)
        if name in questions.FUNCTIONS:
            which = first if name != "elf_aux_info" else None
            if which == ("k", questions.AT_HWCAP):
                return ("hw", "hwcap", (1 << 64) - 1, 0)
            if which == ("k", questions.AT_HWCAP2):
                self.knowledge.asked |= questions.LATEST  # its bits are often tested many at a time
                return ("hw", "hwcap2", (1 << 64) - 1, 0)
            return ("ask", questions.ALL, False) if which is None else None
        if name in questions.JUMPS and self._catches_signals:
            return ("ask", questions.ALL, True)
        if name in ("dlsym", "__dlsym") and second is not None and second[0] == "k":
            text = self.image.text(second[1])
            return ("at", text, 0) if text in questions.FUNCTIONS else None
        if name in ("fopen", "open", "fopen64", "open64", "openat", "__open_2", "__open64_2"):
            path = first if not name.startswith("openat") else second
            if path is not None and path[0] == "k" and self.image.text(path[1]) in questions.TEXTS:
                return ("ask", self.text_features, False)
        answers = self._answers(name)
        return answers.functions.get(name) if answers else None

    def _exported(self, name: str, distance: int) -> Value | None:
        """Return what a variable of another file holds."""
        answers = self._answers(name)
        return answers.variables.get((name, distance)) if answers else None

    @cached_property
    def _catches_signals(self) -> bool:
        return self.image.has_import(questions.HANDLERS)

    @cached_property
    def text_features(self) -> Features:
        """What the words of /proc/cpuinfo in this file stand for."""
        found = questions.text_features(self._content)
        return found | questions.ALL if b"/proc/self/auxv" in self._content else found

    @cached_property
    def _texts(self) -> list[int]:
        """Addresses of the names of files in which the kernel tells about the CPU."""
        found: list[int] = []
        for text in questions.TEXTS:
            at = self._content.find(text.encode())
            while at >= 0 and len(found) < 16:
                found += [
                    span.start + at - span.offset
                    for span in self.image.spans
                    if span.offset <= at < span.offset + span.end - span.start
                ]
                at = self._content.find(text.encode(), at + 1)
        return found

    def around(self, address: int) -> list[int]:
        """Return the places from which the instruction at an address may be reached within its function."""
        return self.nodes_before(np.array([address], np.int64))

    def _asking_functions(self) -> Iterator[int]:
        """Yield the functions that ask about the CPU by themselves."""
        asking = questions.FUNCTIONS | {"dlsym", "__dlsym"}
        if self._catches_signals:
            asking |= questions.JUMPS
        if self.image.has_import(asking):
            for place, name in self.stubs.items():
                if name in asking:
                    for site in (*self.callers(place).tolist(), *self.callers(place | 1).tolist()):
                        yield from self.around(site)
            for slot in self.image.slots_of(asking):
                for site in self.referrers(slot, slot + 1).tolist():
                    yield from self.around(site)
        for function in self.elf.functions:
            if function.name in questions.FUNCTIONS and function.address:
                for site in self.callers(function.address | function.is_thumb).tolist():
                    yield from self.around(site)
        for address in self._texts:
            for site in self.referrers(address, address + 1).tolist():
                yield from self.around(site)
        if self.image.bits == 64:
            for _, addresses, words in self._words():
                for site in addresses[words & 0xFFFFF800 == 0xD5380000].tolist():
                    yield from self.around(site)
        yield from self._is_resolver

    def own_question(self, name: str) -> int:
        """Return the place of a function with this name that is linked in; 0 if there is none."""
        return next((f.address | f.is_thumb for f in self.elf.functions if f.name == name and f.address), 0)

    def _find_answers(self) -> None:
        """Follow the functions that ask, then those that get the answers, until nothing new comes up."""
        for name in questions.FUNCTIONS:
            if place := self.own_question(name):
                self.flow.stubs = {**self.flow.stubs, place: name}
        if self.image.bits == 32 and all(words in self._content for words in _MUSL_BARRIERS):
            self.knowledge.asked |= questions.bit_features(32, "hwcap", 12)
        waiting = list(dict.fromkeys(self._asking_functions()))
        text_users = set[int]()
        for address in self._texts:
            for site in self.referrers(address, address + 1).tolist():
                text_users.update(self.around(site))
        if text_users:
            self.knowledge.asked |= self.text_features
        asking = set(waiting)
        steps, walks = self.knowledge.steps, 0
        self.knowledge.steps = _ASKING_STEPS
        visits: dict[int, int] = {}
        try:
            while waiting and walks < _ASKING_WALKS:
                place = waiting.pop(0)
                visits[place] = visits.get(place, 0) + 1
                if visits[place] > 3:
                    continue
                walks += 1
                for other in self._learn(place, asking, is_vague=place in text_users):
                    if other not in waiting:
                        waiting.append(other)
        except BudgetError:
            pass
        self.knowledge.steps = steps

    def _learn(self, place: int, asking: set[int], *, is_vague: bool) -> Iterator[int]:
        """Follow a function that knows an answer; yield those that get to know it."""
        arguments = dict(self.knowledge.arguments.get(place, {}))
        if place in self._is_resolver:
            arguments = {0: ("hw", "hwcap", (1 << 62) - 1, 0), 1: ("arg", 0)}
        try:
            walk = self.flow.walk(place, arguments=arguments)
        except BudgetError:
            return
        asked = frozenset(walk.asked)
        if is_vague:
            asked |= self.text_features
        knows = walk.saw_answer or is_vague or bool(walk.asked)
        if knows:
            asking.add(place)
            for where, value, all_guards in walk.stores:
                guards = frozenset(guard for guard in all_guards if not isinstance(guard, tuple))
                answer = value if value is not None and value[0] in ("hw", "nhw", "ask") else None
                if answer is None and guards and value is not None and value[0] == "k" and value[1]:
                    answer = ("ask", guards, False)
                if answer is None and guards and value is None:
                    answer = ("ask", guards, False)
                if answer is None and asked and value is None:
                    answer = ("ask", asked, False)
                if answer is None:
                    continue
                before = self.knowledge.memory.get(where)
                if before is not None:
                    answer = _weaker(before, answer)
                if before != answer:
                    self.knowledge.memory[where] = answer
                    yield from self._readers(where)
        if walk.is_parametric and place not in self.knowledge.parametric:
            self.knowledge.parametric.add(place)
            for site in self.callers(place).tolist():
                yield from self.around(site)
        result = walk.returned
        if is_vague and (result is None or result[0] == "k"):
            result = ("ask", asked, False)
        if (
            result is not None
            and result[0] in ("hw", "nhw", "ask", "k")
            and (result[0] != "k" or self.image.is_variable(result[1]))
        ):
            before = self.knowledge.returns.get(place)
            if before != result:
                self.knowledge.returns[place] = result
                for site in self.callers(place).tolist():
                    yield from self.around(site)
                for stub, own in self.own_stubs.items():
                    if own == place:
                        self.knowledge.returns[stub] = result
                        for site in self.callers(stub).tolist():
                            yield from self.around(site)
        for target, known in walk.passed:
            if any(value[0] in ("hw", "nhw", "ask") for value in known.values()) or target in asking:
                own = self.own_stubs.get(target, target)
                before_known = self.knowledge.arguments.get(own)
                merged = known if before_known is None else {n: v for n, v in known.items() if before_known.get(n) == v}
                if merged != before_known:
                    self.knowledge.arguments[own] = merged
                    yield own

    def _readers(self, where: object) -> Iterator[int]:
        """Yield the small functions that use a variable."""
        if not isinstance(where, int):
            return
        for site in self.referrers(where - _FIELDS, where + 1).tolist()[:200]:
            low, high = self.bounds(site)
            if high - low <= _READER_BYTES:
                yield from self.around(site)

    def answers(self) -> Answers:
        """Return what other files learn about the CPU from this one."""
        functions, variables = {}, {}
        symbols = self.image.symbols
        for entry in self.image.exports:
            if entry.place in self.knowledge.returns:
                functions[entry.name] = self.knowledge.returns[entry.place]
        addresses = [where for where in self.knowledge.memory if isinstance(where, int)]
        if addresses:
            is_object = (symbols["section"] != 0) & (symbols["info"] & 0xF != 2) & (symbols["size"] > 0)
            for row in np.flatnonzero(is_object).tolist():
                start, size = int(symbols["value"][row]), int(symbols["size"][row])
                inside = [where for where in addresses if start <= where < start + size]
                for where in inside:
                    variables[self.image.symbol_name(row), where - start] = self.knowledge.memory[where]
                if len(variables) > 10_000:
                    break
        return Answers(functions=functions, variables=variables, asked=frozenset(self.knowledge.asked))


def _weaker(before: Value, answer: Value) -> Value:
    if before == answer:
        return before
    if before[0] == answer[0] == "ask" and before[2] == answer[2]:
        return ("ask", before[1] | answer[1], before[2])
    return before if before[0] == "ask" else answer


def without_symbols(section: CodeSection, kind: RegionKind) -> CodeSection:
    """Return a section of which all is taken for code of one kind."""
    region = Region(start=section.address, end=section.address + len(section.code), kind=kind)
    return replace(section, regions=(region,))
