"""Whether all atomic instructions (LSE) of a file stand behind the tests that compilers put right in front of them.

Nearly every file for 64 bits has such functions (GCC's and LLVM's outlined atomics), and most have no other newer
instructions. What the file asks about the CPU, which takes long to find out, need not be known then.
"""

from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from pibuild.machinecode.control_flow.address_uses import AddressUses
from pibuild.machinecode.control_flow.flow import Watch
from pibuild.machinecode.control_flow.knowledge import BudgetError
from pibuild.machinecode.control_flow.questions import FUNCTIONS
from pibuild.machinecode.control_flow.register_values import Features
from pibuild.machinecode.features import Feature
from pibuild.machinecode.relocations import Addresses
from pibuild.machinecode.sorted_arrays import distinct
from pibuild.verify.binary import Binary
from pibuild.verify.code.code_facts import Code

_NONE = np.empty(0, np.int64)
_NEAR, _LOAD = 8, 0x39400210
"""Instructions in front of the atomic one, and LDRB w16, [x16] among them."""
_STEPS = 10_000
"""As many are taken to find out; the functions have about ten instructions each, and there are up to 100."""


def has_tested_atomics(binary: Binary, code: Code) -> bool:
    """Return whether control comes to each atomic instruction only behind a test for LSE in the same function.

    The variables that are tested are written by what gets the answer of getauxval, and by nothing else.
    """
    if has_tested_atomics not in binary.memo:
        binary.memo[has_tested_atomics] = False
        with suppress(BudgetError), binary.steps.limited(_STEPS):
            binary.memo[has_tested_atomics] = (
                _looks_tested(code) and all(_walks_are_tested(binary, code)) and not _is_written(code)
            )
    is_tested: bool = binary.memo[has_tested_atomics]
    return is_tested


def _atomics(code: Code) -> Addresses:
    return code.newer.addresses[code.newer.needing({Feature.LSE})]


def _looks_tested(code: Code) -> bool:
    """Return whether a variable is loaded right in front of the first atomic instruction, as outlined atomics do."""
    words = code.program.image.rows(int(_atomics(code)[0]) - 4 * _NEAR, 4 * _NEAR, np.dtype("<u4"))
    return bool(np.any(words & 0xFFC003FF == _LOAD))


def _walks_are_tested(binary: Binary, code: Code) -> Iterator[bool]:
    program, pads, addresses = code.program, code.has_landing_pads, _atomics(code)
    rows = program.rows.rows_of(addresses)
    for group in np.split(addresses, np.flatnonzero(np.diff(rows)) + 1):
        watch = Watch(frozenset(group.tolist()), _is_untested, has_all=bool(binary.mapped) and not pads)
        for place in program.graph.nodes_before(group):
            walk = program.flow_without_answers.walk(place, watch=watch, with_landing_pads=pads)
            yield walk.is_whole and not walk.is_cut


def _is_untested(_: int, guards: Features) -> bool:
    return Feature.LSE not in guards


def _is_written(code: Code) -> bool:
    """Return whether a function that does not ask may write to a variable that is tested."""
    graph, image = code.program.graph, code.program.image
    rows_of, uses = code.program.rows.rows_of, AddressUses(graph)
    targets, sites = graph.references
    rows = distinct(rows_of(_atomics(code)))
    tested = distinct(targets[np.isin(rows_of(sites), rows)]).tolist()
    calls = [graph.callers(place) for place, name in graph.names.items() if name in FUNCTIONS]
    asking = frozenset(rows_of(np.concatenate([_NONE, *calls])).tolist())
    return any(uses.is_written_elsewhere(where, frozenset(), asking) for where in tested if image.is_variable(where))
