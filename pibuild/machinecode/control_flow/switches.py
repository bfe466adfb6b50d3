"""The switches that one walk meets: where their ways begin, and what guards all of them."""

from pibuild.machinecode.control_flow.computed_jumps import is_sum, table_places
from pibuild.machinecode.control_flow.knowledge import State
from pibuild.machinecode.control_flow.register_values import Features, about, shared
from pibuild.machinecode.decoders import effects as op
from pibuild.machinecode.decoders.effects import Operation
from pibuild.machinecode.image import MemoryImage

_NONE: Features = frozenset()


class Switches:
    """The switches of one function."""

    def __init__(self, image: MemoryImage, low: int, high: int) -> None:
        """Take the file, and where the function begins and ends."""
        self._image, self._low, self._high = image, low, high
        self._met: dict[int, tuple[list[int], Features]] = {}
        self.guards: Features | None = None
        """What guards all of them; None before the first one."""
        self.has_unfollowed = False
        """Whether of one that was met since this was last False it is not known where it leads."""
        self.has_unknown = False
        """Whether it is not known where one leads whose target is a sum, or comes from a table."""

    def ways(self, operation: Operation, state: State) -> list[State]:
        """Return where a computed jump leads; nothing if its ways were followed before with no more guards."""
        if chosen := self._chosen(operation, state):
            return chosen
        is_meant = operation[0] == op.TABLE or is_sum(self._image, state.place, operation[1])
        ways = self._by_table(operation, state)
        is_unknown = not self._met[state.address][0]
        self.has_unfollowed = self.has_unfollowed or is_unknown
        self.has_unknown = self.has_unknown or (is_meant and is_unknown)
        return ways

    def _chosen(self, operation: Operation, state: State) -> list[State]:
        """Return where a jump to one of several places of this function leads, and what is certain there."""
        pointer = state.registers.get(operation[1]) if operation[0] == op.JUMP_REG else None
        places = pointer[1] if pointer is not None and pointer[0] == "choice" else ()
        if not all(self._low <= place & ~1 < self._high for place, _ in places):
            return []
        return [state.at(place, state.guards | features) for place, features in places]

    def _guards_of(self, operation: Operation, state: State) -> Features:
        """Return what guards all ways of a switch: if an answer chooses, it decided in a way that is not followed."""
        registers = operation[1:2] if operation[0] == op.JUMP_REG else operation[1:]
        values = [state.registers.get(register) for register in registers]
        features = _NONE.union(*(about(value) for value in values if value is not None))
        guards = state.guards | {("maybe", features)} if features else state.guards
        self.guards = guards if self.guards is None else shared(self.guards, guards)
        return guards

    def _by_table(self, operation: Operation, state: State) -> list[State]:
        """Return where the ways of a switch begin; none if they were followed before with no more guards."""
        guards, before = self._guards_of(operation, state), self._met.get(state.address)
        places = self._places(state.place) if before is None else before[0]
        guards = guards if before is None else shared(guards, before[1])
        self._met[state.address] = places, guards
        if before is not None and guards == before[1]:
            return []
        ways = [state.at(place, guards) for place in places]
        for way in ways:
            way.flags = None
        return ways

    def _places(self, place: int) -> list[int]:
        places = table_places(self._image, place, self._low, self._high)
        return [way for way in places if self._low <= way & ~1 < self._high]
