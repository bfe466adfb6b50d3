"""Which functions of a file ask about the CPU, and where the answers get to: results, variables, arguments.

The functions that ask are followed first, then those that call them or read what they wrote, until nothing new comes
up.
"""

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property

import numpy as np

from pibuild.machinecode.control_flow import questions
from pibuild.machinecode.control_flow.address_uses import FIELDS, AddressUses
from pibuild.machinecode.control_flow.auxiliary_vector import copying_stores, holds_glibc
from pibuild.machinecode.control_flow.call_graph import CallGraph
from pibuild.machinecode.control_flow.flow import Flow
from pibuild.machinecode.control_flow.go_questions import go_answers
from pibuild.machinecode.control_flow.imported_answers import ImportedAnswers
from pibuild.machinecode.control_flow.knowledge import BudgetError, Knowledge, Walk
from pibuild.machinecode.control_flow.memory import AREA_BYTES
from pibuild.machinecode.control_flow.register_values import (
    ANSWERS,
    Features,
    Value,
    joined,
    makes_certain,
    numbers_of,
    vague,
)
from pibuild.machinecode.control_flow.variables import held_answer
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.regions import decoded

_STEPS, _PARTS, _WALKS, _VISITS = 400_000, 2, 4000, 3
"""The search takes at most so many steps and this part of those that are left, walks, and visits of a function."""
_GETAUXVAL_BYTES = 128
_READER_BYTES, _READERS = 4096, 200
_MUSL_BARRIERS = (bytes.fromhex("5bf07ff51eff2fe1"), bytes.fromhex("ba0f07ee1eff2fe1"))
"""musl's barriers for ARMv7 (DMB; BX LR) and for ARMv6 (MCR; BX LR), among which it chooses by HWCAP."""
_SVC = {"a64": 0xD4000001, "arm": 0xEF000000, "thumb": 0xDF00}
_SYSTEM_CALLS = 50
_VECTOR_READER = 400
"""Instructions of a function that reads the auxiliary vector."""
_MOST_USERS = 40
"""Functions that are followed because they call those that keep answers, or return what was kept."""
_SETTER_BYTES, _DEEPEST_SETTER = 256, 2
"""Size of a function that may keep answers for who calls it, and how many of them may call each other."""
_GIVEN: dict[int, Value] = {number: ("given", number, 0) for number in range(4)}
_RESOLVER_ARGUMENTS: dict[int, Value] = {0: ("hw", "hwcap", (1 << 62) - 1, 0), 1: ("arg", 0)}


class AnswerSearch:
    """Finds out what a file knows about the CPU, and adds it to the knowledge of its walks."""

    def __init__(self, image: MemoryImage, graph: CallGraph, flow: Flow, imported: ImportedAnswers) -> None:
        """Take the file, who calls whom in it, its walks, and what other files answer."""
        self._image, self._graph, self._flow, self._imported = image, graph, flow, imported
        self._knowledge: Knowledge = flow.knowledge
        self._resolvers = frozenset(entry.place for entry in (*image.resolvers, *image.exported_resolvers))
        flow.knowledge.handed_over |= {place: dict(_RESOLVER_ARGUMENTS) for place in self._resolvers}
        self._go_variables = dict(self._variables_of_go())
        self._told_by_system = dict.fromkeys(self._users_of_texts(), imported.text_features)
        self._told_by_system |= dict.fromkeys(self._users_of_vector(), questions.ALL)
        flow.knowledge.follows_places = not self._go_variables  # which a Go program has for its answers
        self._users = 0
        self._asking, self._uses = set[int](), AddressUses(graph)
        self._visits, self._setters = Counter[int](), dict[int, Features]()
        if holds_glibc(image):
            stores = (copying_stores(addresses, words) for _, addresses, words in graph.functions.words())
            flow.knowledge.copying_stores = frozenset(site for found in stores for site in found)

    def run(self) -> None:
        """Follow the functions that ask, then those that get the answers."""
        knowledge = self._knowledge
        if self._image.bits == 32 and all(words in self._image.content for words in _MUSL_BARRIERS):
            knowledge.asked |= questions.bit_features(32, "hwcap", 12)
        knowledge.memory |= self._go_variables
        waiting = list(dict.fromkeys((*self._first(), *self._go_readers)))
        knowledge.asked |= frozenset().union(*self._told_by_system.values())
        self._asking = set(waiting)
        self._imported.ask_others()
        is_whole = False
        with suppress(BudgetError), knowledge.pool.limited(min(_STEPS, knowledge.pool.left // _PARTS)):
            is_whole = self._follow(waiting)
        knowledge.is_whole = is_whole and knowledge.is_whole
        if not self._go_variables:
            self._doubt_variables()

    def _follow(self, waiting: list[int]) -> bool:
        """Follow functions and those that get to know their answers; return whether these were all."""
        todo, queued, walks = deque(waiting), set(waiting), 0
        while todo and walks < _WALKS:
            place = todo.popleft()
            queued.discard(place)
            self._visits[place] += 1
            if self._visits[place] > _VISITS:
                continue
            walks += 1
            for other in self._learn(place):
                if other not in queued:
                    queued.add(other)
                    todo.append(other)
        return not todo

    # who asks

    def _users_of_texts(self) -> Iterator[int]:
        for address in self._imported.texts if not self._go_variables else ():
            for site in self._graph.referrers(address, address + 1).tolist():
                yield from self._graph.around(site)

    def _users_of_vector(self) -> Iterator[int]:
        """Yield the functions that go behind the environment, and look there for what the kernel tells."""
        for slot in self._image.slots_of(questions.BEFORE_VECTOR):
            for site in self._graph.referrers(slot, slot + 1).tolist():
                low, high = self._graph.functions.bounds(site)
                if self._compares_types(low | self._graph.functions.mode_at(site), high):
                    yield from self._graph.around(site)

    def _compares_types(self, place: int, high: int) -> bool:
        """Return whether code compares something with the number of HWCAP or HWCAP2 in the auxiliary vector."""
        for _ in range(_VECTOR_READER):
            operation, _, size = decoded(self._image, place)
            if not size or place >= high:
                return False
            parts = operation[1:] if operation[0] == op.SEVERAL else (operation,)
            if any(part[0] == op.COMPARE and part[2] in (questions.AT_HWCAP, questions.AT_HWCAP2) for part in parts):
                return True
            place += size
        return False

    def _first(self) -> Iterator[int]:
        """Yield the functions that ask about the CPU by themselves."""
        graph = self._graph
        for site in (*sorted(self._knowledge.copying_stores), *self._asking_sites()):
            yield from graph.around(site)
        yield from self._told_by_system
        if self._image.bits == 64:
            for _, addresses, words in graph.functions.words():
                for site in addresses[words & 0xFFFFF800 == 0xD5380000].tolist():
                    yield from graph.around(site)
        yield from self._resolvers
        with suppress(BudgetError):
            yield from self._callers_of_kernel()

    def _callers_of_kernel(self) -> Iterator[int]:
        """Yield the functions that call the kernel, and those that call one that only passes a number on."""
        for site in self._system_calls():
            for place in self._graph.around(site):
                yield place
                if self._flow.walk(place).wraps_system:
                    self._graph.names.setdefault(place, questions.SYSTEM_CALL)
                    yield from self._callers(place)

    def _system_calls(self) -> list[int]:
        """Return where the code calls the kernel; none in a program that does so everywhere, as with a C library."""
        sites: list[int] = []
        for kind, addresses, words in self._graph.functions.words():
            sites += addresses[words == _SVC[kind]].tolist()
        return sites if len(sites) <= _SYSTEM_CALLS else []

    def _asking_sites(self) -> Iterator[int]:
        """Yield the addresses of calls of functions that answer."""
        image, graph = self._image, self._graph
        asking = questions.FUNCTIONS | questions.FORKS | {*questions.NAMES_OF_SYSTEM, questions.PROCESS_CONTROL}
        asking |= {"dlsym", "__dlsym", questions.SYSTEM_CALL}
        if self._imported.catches_signals:
            asking |= questions.JUMPS
        if image.has_import(asking):
            for place, name in graph.names.items():
                if name in asking:
                    yield from graph.callers(place).tolist()
                    yield from graph.callers(place | 1).tolist()
        for slot in image.slots_of(asking | questions.BEFORE_VECTOR):
            yield from graph.referrers(slot, slot + 1).tolist()
        for function in graph.functions.elf.functions.named(questions.FUNCTIONS):
            if function.address:
                yield from graph.callers(function.address | function.is_thumb).tolist()

    def _variables_of_go(self) -> Iterator[tuple[int, Value]]:
        for _, addresses, words in self._graph.functions.words():
            yield from go_answers(self._image, addresses, words)

    @cached_property
    def _go_readers(self) -> frozenset[int]:
        """The functions that read what a Go program got from the kernel: they alone keep answers of unknown form."""
        return frozenset(place for where in self._go_variables for place in self._readers(where))

    # who gets to know

    def _learn(self, place: int) -> Iterator[int]:
        """Follow a function that knows an answer; yield those that get to know it."""
        is_vague = place in self._told_by_system
        arguments = self._arguments(place)
        is_setter = self._knowledge.follows_places and self._may_be_setter(place)
        is_setter = is_setter and any(value[0] in ANSWERS for value in arguments.values())
        walk = self._flow.walk(place, arguments=arguments, is_setter=is_setter)
        own = walk if (certain := _certain(arguments)) == arguments else self._flow.walk(place, arguments=certain)
        if place in self._resolvers:
            self._learn_chosen(walk)
        if place not in self._graph.names and self._knowledge.copying_stores and self._is_getauxval(place, walk):
            self._graph.names[place] = "getauxval"
            yield from self._callers(place)
        self._knowledge.is_whole = self._knowledge.is_whole and walk.is_whole
        asked = frozenset(walk.asked) | self._told_by_system.get(place, frozenset())
        if walk.saw_answer or is_vague or walk.asked:
            self._asking.add(place)
            is_sparing = bool(self._go_variables) and place not in self._go_readers
            asked = frozenset() if is_sparing else asked
        else:
            asked = frozenset()
        yield from self._learn_variables(place, walk, asked, is_vague=is_vague)
        yield from self._learn_kinds(place, own)
        result = own.returned
        if is_vague and (result is None or result[0] == "k"):
            result = ("vague", asked) if asked else None
        if result is not None and result[0] == "vague" and own.used_doubts:
            yield from self._few(self._learn_result(place, result))
        elif result is not None:
            yield from self._learn_result(place, result)
        yield from self._learn_arguments(walk)
        if self._knowledge.follows_places:
            yield from self._few(self._learn_places(place, walk))
            yield from self._few(self._learn_setters(walk))

    def _learn_kinds(self, place: int, walk: Walk) -> Iterator[int]:
        """Learn whether what a function tells depends on what it gets, or is written to where its caller wants it."""
        told = self._knowledge.telling.get(place, frozenset())
        for own in self._with_stubs(place) if (walk.tells | walk.tells_further) - told else ():
            self._knowledge.telling[own] = walk.tells | walk.tells_further | told
            yield from self._callers(own) if walk.tells - told else self._few(self._callers(own))
        compares = walk.compares and bool(self._imported.texts)
        for is_such, known in (
            (walk.is_parametric, self._knowledge.parametric),
            (compares, self._knowledge.comparing),
        ):
            for own in self._with_stubs(place) if is_such and place not in known else ():
                known.add(own)
                yield from self._callers(own)

    def _few(self, places: Iterator[int]) -> Iterator[int]:
        """Yield places as long as there are not too many of them."""
        while self._users < _MOST_USERS and (place := next(places, None)) is not None:
            if place not in self._graph.names and place not in self._graph.own_stubs:
                self._users += 1
                yield place

    def _arguments(self, place: int) -> dict[int, Value]:
        """Return what a function gets: vague values only if it may keep them."""
        known, passed = self._knowledge, self._knowledge.arguments.get(place, {})
        is_setter = known.follows_places and self._may_be_setter(place)
        given = _GIVEN if known.follows_places else {}
        return {**given, **known.handed_over.get(place, {}), **(passed if is_setter else _certain(passed))}

    def _learn_places(self, place: int, walk: Walk) -> Iterator[int]:
        """Learn where a function writes answers that is no variable: where arguments lead, and at an index."""
        known, told = self._knowledge.areas, self._knowledge.telling_given.get(place, {})
        for base, features in walk.areas.items():
            if features - known.get(base, frozenset()):
                known[base] = features | known.get(base, frozenset())
                yield from self._readers(base, AREA_BYTES)
        if any(features - told.get(number, frozenset()) for number, features in walk.tells_given.items()):
            merged = {
                n: walk.tells_given.get(n, frozenset()) | told.get(n, frozenset()) for n in walk.tells_given | told
            }
            for own in self._with_stubs(place):
                self._knowledge.telling_given[own] = merged
                yield from self._callers(own)

    def _may_be_setter(self, place: int) -> bool:
        """Return whether a function may do no more than to keep what it gets."""
        low, high = self._graph.functions.bounds(place)
        return high - low <= _SETTER_BYTES and place not in self._graph.names

    def _learn_setters(self, walk: Walk, depth: int = 0) -> Iterator[int]:
        """Learn what the small functions write that are called where an answer decided so."""
        for target, features in walk.decided.items() if depth < _DEEPEST_SETTER else ():
            place = self._graph.own_stubs.get(target, target)
            known = self._setters.get(place, frozenset())
            if features <= known or not self._may_be_setter(place):
                continue
            self._setters[place] = known = features | known
            inner = self._flow.walk(place, arguments=_GIVEN, guards=frozenset({("maybe", known)}), is_setter=True)
            if place in self._asking and (inner.calls or inner.imports):  # it asks by itself
                continue
            yield from self._learn_variables(~place, inner, known, is_vague=False)
            yield from self._learn_places(place, inner)
            yield from self._learn_setters(inner, depth + 1)

    def _learn_variables(self, place: int, walk: Walk, asked: Features, *, is_vague: bool) -> Iterator[int]:
        """Learn what a function writes; of one that knows no answer, only what it writes where others keep theirs."""
        written = self._knowledge.written
        stores: dict[object, list[tuple[Value | None, Features]]] = {}
        for where, value, guards in walk.stores:
            is_answer = value is not None and value[0] in ANSWERS
            if asked or walk.saw_answer or is_answer or where in written:
                stores.setdefault(where, []).append((value, guards))
        for where, values in stores.items():
            if where in self._go_variables and all(value is None for value, _ in values):
                continue  # what the kernel told
            if is_vague and not any(value and value[0] in ANSWERS for value, _ in values):
                values = [(value, guards | {("maybe", asked)}) for value, guards in values]  # noqa: PLW2901
            writers = written.setdefault(where, {})
            if writers.get(place) == values:
                continue
            writers[place] = values
            everything = [value for values in writers.values() for value in values]
            answer = held_answer(self._image, where, everything)
            if answer is None:
                self._knowledge.memory.pop(where, None)
            elif self._knowledge.memory.get(where) != answer:
                self._knowledge.memory[where] = answer
                yield from self._readers(where)

    def _doubt_variables(self) -> None:
        """Take what a variable tells for not certain if a function that was not followed may write to it."""
        memory, is_written = self._knowledge.memory, self._uses.is_written_elsewhere
        followed = frozenset(self._graph.functions.rows_of(np.array([*self._visits], np.int64)).tolist())
        for where, answer in [*memory.items()]:
            if isinstance(where, int) and answer[0] != "vague" and is_written(where, self._asking, followed):
                memory[where] = vague(answer) or ("vague", questions.ALL)

    def _is_getauxval(self, place: int, walk: Walk) -> bool:
        """Return whether a function returns HWCAP or HWCAP2, as the number says that it gets."""
        _, high = self._graph.functions.bounds(place)
        words = self._image.rows(place, min(high - place, _GETAUXVAL_BYTES), np.dtype("<u4"))
        values = [value for value, _ in walk.results]
        return all(
            ("hw", word, (1 << 64) - 1, 0) in values and bool(np.any(words == 0xF100001F | kind << 10))  # CMP x0, #kind
            for word, kind in (("hwcap", questions.AT_HWCAP), ("hwcap2", questions.AT_HWCAP2))
        )

    def _learn_chosen(self, walk: Walk) -> None:
        """Learn what guards each of the functions among which a resolver chooses."""
        found: dict[int, Features] = {}
        for value, guards in walk.results:
            is_either = value is not None and value[0] == "either"
            numbers = dict.fromkeys(value[1], guards) if value and is_either else numbers_of(value, guards)
            if numbers is None:  # one of those that it put together
                numbers = {number: made | guards for number, made in walk.made.items()}
            for number, features in numbers.items():
                found[number] = found.get(number, features) & features
        self._knowledge.chosen |= {
            number: features for number, features in found.items() if self._image.is_code(number)
        }

    def _learn_result(self, place: int, result: Value) -> Iterator[int]:
        is_structure = result[0] == "k" and self._image.is_variable(result[1]) and not self._go_variables
        is_answer = result[0] in ANSWERS or is_structure
        if not is_answer or self._knowledge.returns.get(place) == result:
            return
        for own in self._with_stubs(place):
            self._knowledge.returns[own] = result
            yield from self._callers(own)

    def _with_stubs(self, place: int) -> tuple[int, ...]:
        """Return a place, and those of the code that jumps to it through a pointer."""
        return (place, *self._graph.stubs_of.get(place, ()))

    def _learn_arguments(self, walk: Walk) -> Iterator[int]:
        for target, arguments in walk.passed:
            own = self._graph.own_stubs.get(target, target)
            is_new = own not in self._knowledge.arguments and any(v[0] in ANSWERS for v in arguments.values())
            is_followed = target in self._asking or any(map(makes_certain, arguments.values()))
            is_kept = not is_followed and is_new and self._users < _MOST_USERS and self._may_be_setter(own)
            if is_followed or (is_kept and self._knowledge.follows_places):
                self._users += is_kept
                before = self._knowledge.arguments.get(own)
                merged = arguments if before is None else dict(_of_both(before, arguments))
                if merged != before:
                    self._knowledge.arguments[own] = merged
                    if before is None or _certain(before) != _certain(merged):
                        yield own

    def _callers(self, place: int) -> Iterator[int]:
        for site in self._graph.callers(place).tolist():
            yield from self._graph.around(site)

    def _readers(self, where: object, size: int = 1) -> Iterator[int]:
        """Yield the small functions that use a variable, or a table of variables."""
        if not isinstance(where, int):
            return
        first = where if self._go_variables else where - FIELDS  # Go puts together the address of each field
        targets, sites = self._graph.references_to(first, where + size)
        for target, site in zip(targets[:_READERS].tolist(), sites[:_READERS].tolist(), strict=True):
            low, high = self._graph.functions.bounds(site)
            if high - low <= _READER_BYTES and (
                target >= where or self._uses.may_come_to(where, target, site, self._asking)
            ):
                yield from self._graph.around(site)


def _of_both(before: dict[int, Value], now: dict[int, Value]) -> Iterator[tuple[int, Value]]:
    """Yield what is certain of the arguments that a function gets in one of two calls."""
    for number in before.keys() | now.keys():
        one, other = before.get(number), now.get(number)
        value = None if one is None or other is None else joined(one, other)
        value = vague(one, other) if value is None else value
        if value is not None:
            yield number, value


def _certain(arguments: dict[int, Value]) -> dict[int, Value]:
    return {number: value for number, value in arguments.items() if value[0] != "vague"}
