"""What code does with an address that it puts together in front of a variable: whether it may come to the variable."""

from collections.abc import Set as AbstractSet
from typing import NamedTuple

from pibuild.machinecode.control_flow.call_graph import CallGraph
from pibuild.machinecode.control_flow.variable_writes import may_write
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.regions import LEAVES, branch_targets, decoded

FIELDS = 512
"""A variable that holds answers is a structure of at most this number of bytes."""
_NEXT = 32
"""Instructions in which the register with the address is used."""
_ADDRESSES = (op.ADD, op.ADD_PC, op.SET_NEAR, op.SET_PAGE, op.KEEP)
_BRANCHES = (op.BRANCH, op.BRANCH_ZERO, op.BRANCH_BIT)
_USES_ONLY = (op.NOP, op.COMPARE, op.COMPARE_REG, op.CHAIN, op.TO_VECTOR, op.IT, *_BRANCHES)
_STORES = (op.STORE, op.STORE_VECTOR)
_ANSWER_BYTES = 8


class _Uses(NamedTuple):
    """How the register with an address is used."""

    is_open: bool
    """Whether it may be used in any way."""
    distances: tuple[range, ...] = ()
    """Distances from the address of what is loaded or stored."""
    called: int | None = None
    """The function to which it is handed over."""


_ANY_USE, _NO_USE = _Uses(is_open=True), _Uses(is_open=False)


class AddressUses:
    """The uses of the addresses in one file; each place is looked at once."""

    def __init__(self, graph: CallGraph) -> None:
        """Take the file, and who puts together what."""
        self._graph, self._image = graph, graph.image
        self._known: dict[int, _Uses] = {}

    def may_come_to(self, variable: int, target: int, site: int, asking: AbstractSet[int]) -> bool:
        """Return whether code at a place, which completes the address `target` in front of a variable, may come to it.

        A function that gets the address does if it is one of `asking`.
        """
        if target == variable:
            return True
        if self._is_access_of(site, target):
            return False
        if site not in self._known:
            self._known[site] = self._read(site | self._graph.functions.mode_at(site))
        uses = self._known[site]
        return uses.is_open or uses.called in asking or any(variable - target in part for part in uses.distances)

    def is_written_elsewhere(self, variable: int, asking: AbstractSet[int], followed: AbstractSet[int]) -> bool:
        """Return whether a function that is not in one of some rows may write to a variable."""
        targets, sites = self._graph.references_to(variable - FIELDS, variable + 1)
        rows = self._graph.functions.rows_of(sites).tolist()
        mode_at = self._graph.functions.mode_at
        return any(
            row not in followed
            and self.may_come_to(variable, target, site, asking)
            and may_write(self._image, site | mode_at(site), target, variable)
            for target, site, row in zip(targets.tolist(), sites.tolist(), rows, strict=True)
        )

    def _is_access_of(self, site: int, target: int) -> bool:
        """Return whether 64-bit code loads or stores at an address, rather than by a pointer that lies elsewhere."""
        word = self._image.number(site, 4) or 0
        if self._image.bits == 32 or word & 0x3F000000 != 0x39000000 or self._graph.is_pointed(target):
            return False
        return (target - ((word >> 10 & 0xFFF) << (word >> 30))) & 0xFFF == 0

    def _read(self, place: int) -> _Uses:
        """Follow the instructions behind a place until the register gets another value."""
        operation, _, size = decoded(self._image, place)
        if operation[0] not in _ADDRESSES:
            return _ANY_USE
        register, found = int(operation[1]), list[range]()
        for _ in range(_NEXT):
            place += size
            operation, _, size = decoded(self._image, place)
            kind = operation[0]
            if not size or kind in LEAVES or kind in (op.CALL_REG, op.IF):
                return _ANY_USE
            if kind == op.CALL:
                if register < (8 if self._image.bits == 64 else 4):
                    return _Uses(False, tuple(found), branch_targets(place, operation)[0])
                continue
            for part in operation[1:] if kind == op.SEVERAL else (operation,):
                if part[0] in _USES_ONLY:
                    continue
                if _gives(part, register):
                    return _ANY_USE
                found += _distances(part, register)
                if register in (part[1] if part[0] == op.CLOBBER else part[1:2]) and part[0] not in _STORES:
                    return _Uses(False, tuple(found))
        return _ANY_USE


def _gives(operation: op.Operation, register: int) -> bool:
    """Return whether an operation makes something else of an address than to load or store at a distance from it."""
    kind = operation[0]
    if kind == op.STORE:
        return bool(operation[1] == register)
    if kind in (op.CLOBBER, op.LOAD, op.STORE_VECTOR, op.SET, op.SET_NEAR, op.SET_PAGE, op.LOAD_NEAR):
        return False
    return register in operation[1 if kind in (op.STORE_REG, op.KEEP) or kind >= op.CALL else 2 :]


def _distances(operation: op.Operation, register: int) -> list[range]:
    """Return the distances at which an answer may begin that is loaded or stored from an address on."""
    kind = operation[0]
    if kind == op.LOAD and operation[2] == register:
        return [range(operation[3] - _ANSWER_BYTES + 1, operation[3] + 1)]
    if kind == op.STORE and operation[2] == register:
        return [range(operation[3], operation[3] + 1)]
    if kind == op.STORE_VECTOR and operation[1] == register:
        return [range(operation[2], operation[2] + operation[3])]
    return []
