"""The code of one ELF file for a Pi: its functions, who calls them, and what it asks about the CPU."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pibuild.machinecode.control_flow.address_uses import FIELDS
from pibuild.machinecode.control_flow.answer_search import AnswerSearch
from pibuild.machinecode.control_flow.call_graph import CallGraph
from pibuild.machinecode.control_flow.calls import Surroundings
from pibuild.machinecode.control_flow.flow import Flow
from pibuild.machinecode.control_flow.function_graph import FunctionGraph
from pibuild.machinecode.control_flow.functions import FunctionTable
from pibuild.machinecode.control_flow.imported_answers import Answers, ImportedAnswers
from pibuild.machinecode.control_flow.knowledge import Knowledge, StepPool
from pibuild.machinecode.control_flow.returns import Returns, never_returns
from pibuild.machinecode.elf import Elf
from pibuild.machinecode.image import MemoryImage
from pibuild.machinecode.symbols import CodeSection, Region, RegionKind, Regions

_FUNCTION = 2
"""STT_FUNC, the type of a function's symbol."""
_MAX_VARIABLES = 10_000
"""Of exported variables with answers."""


class Program:
    """The code of one file for a Pi, with the questions that it asks."""

    def __init__(
        self,
        content: bytes,
        elf: Elf,
        sections: Sequence[CodeSection],
        answers: Callable[[str], Answers | None],
        pool: StepPool,
    ) -> None:
        """Take the file, what tells which answers an imported name stands for, and how much may be followed."""
        self.image = MemoryImage(content, bits=elf.bits)
        self._knowledge = Knowledge(pool)
        self.functions = FunctionTable(self.image, elf, sections)
        self.graph = CallGraph(self.image, self.functions)
        self.returns = Returns(self.image, self.graph, pool)
        self.rows = FunctionGraph(self.graph, self.returns)
        self._imported, self._is_searched = ImportedAnswers(self.image, self._knowledge, answers), False

    @cached_property
    def _surroundings(self) -> Surroundings:
        return Surroundings(
            bounds=self.functions.bounds,
            is_function=self.functions.is_function,
            in_code_section=self.functions.in_code_section,
            may_be_address=self.graph.may_be_address,
            data_in=self.functions.data_in,
            stubs=self.graph.names,
            own_stubs=self.graph.own_stubs,
            never_returns=never_returns,
            may_return=self.returns.may_return,
            leads_to_word=self._imported.leads_to_word,
            is_before_literal=self.functions.is_before_literal,
            imported=self._imported.of_function,
            told_by=self._imported.told_by,
            exported=self._imported.of_variable,
        )

    @cached_property
    def _flow(self) -> Flow:
        return Flow(self.image, self._knowledge, self._surroundings)

    @cached_property
    def flow_without_answers(self) -> Flow:
        """Walks that know nothing of what the file asks; what it asks need not be searched for them."""
        nothing = replace(
            self._surroundings, imported=lambda *_: None, told_by=lambda _: None, exported=lambda *_: None
        )
        return Flow(self.image, Knowledge(self._knowledge.pool), nothing)

    @property
    def flow(self) -> Flow:
        """Walks through its functions, which know what it asks."""
        if not self._is_searched:
            self._is_searched = True  # files that need each other get to know what is known so far
            AnswerSearch(self.image, self.graph, self._flow, self._imported).run()
        return self._flow

    @property
    def knowledge(self) -> Knowledge:
        """What it asks about the CPU, and where the answers are."""
        return self.flow.knowledge

    @cached_property
    def knows_answers(self) -> NDArray[np.bool_]:
        """Which functions, by row, may get to know what the file asked; there may be more."""
        graph, knowledge = self.graph, self.knowledge
        followed = (*knowledge.returns, *knowledge.parametric, *knowledge.comparing, *knowledge.telling)
        sites = [
            *(graph.callers(place) for place in followed),
            *(graph.callers(place) for place, name in graph.names.items() if self._imported.may_answer(name)),
            *(graph.referrers(where - FIELDS, where + 1) for where in knowledge.memory if isinstance(where, int)),
        ]
        found = np.zeros(self.rows.size, np.bool_)
        found[self.rows.rows_of(np.concatenate([np.empty(0, np.int64), *sites]))] = True
        if self.image.bits == 64:
            for _, addresses, words in self.functions.words():
                is_question = (words & 0xFFFFF800 == 0xD5380000) | (words & 0xCA0003FF == 0x08000210)
                is_question |= words == 0xD503251F
                found[self.rows.rows_of(addresses[is_question])] = True
        return found

    @cached_property
    def answers(self) -> Answers:
        """Return what other files learn about the CPU from this one."""
        functions, variables = {}, {}
        symbols = self.image.symbols
        returns = self.knowledge.returns
        places, rows = self.image.exported
        is_answer = np.isin(places, np.array([place for place in returns if place < 1 << 62], np.int64))
        for place, row in zip(places[is_answer].tolist(), rows[is_answer].tolist(), strict=True):
            functions[self.image.symbol_name(row)] = returns[place]
        addresses = sorted(where for where in self.knowledge.memory if isinstance(where, int) and where < 1 << 62)
        objects = np.flatnonzero((symbols["section"] != 0) & (symbols["info"] & 0xF != _FUNCTION))
        starts, sizes = (symbols[name][objects].clip(max=1 << 61).astype(np.int64) for name in ("value", "size"))
        first, last = (np.searchsorted(np.array(addresses, np.int64), bound) for bound in (starts, starts + sizes))
        for number in np.flatnonzero(first < last).tolist():
            name, start = self.image.symbol_name(int(objects[number])), int(starts[number])
            inside = addresses[first[number] : last[number]]
            variables.update({(name, where - start): self.knowledge.memory[where] for where in inside})
            if len(variables) > _MAX_VARIABLES:
                break
        return Answers(functions=functions, variables=variables, asked=frozenset(self.knowledge.asked))


def without_symbols(section: CodeSection, kind: RegionKind) -> CodeSection:
    """Return a section of which all is taken for code of one kind."""
    region = Region(start=section.address, end=section.address + len(section.code), kind=kind)
    return replace(section, regions=Regions.of(region))
