"""The places that a walk has visited, and the facts that hold there on all paths that lead to them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pibuild.machinecode.control_flow.knowledge import Flags, State
from pibuild.machinecode.control_flow.register_values import Features, Value, common, shared, vague

_MAX_VISITS = 2
"""The number of times that register values at one place may change. After that, they are only kept or forgotten."""


@dataclass(slots=True)
class MetPlaces:
    """The places of one walk, by address."""

    guards: dict[int, Features] = field(default_factory=dict)
    """The guards of each place that was reached."""
    joins: set[int] = field(default_factory=set)
    """Where several ways may meet."""
    _states: dict[int, State] = field(default_factory=dict)
    _visits: dict[int, int] = field(default_factory=dict)

    def merged(self, states: Sequence[State]) -> State | None:
        """Return the facts that hold at a place on all paths; None if they are not fewer than before."""
        state, address = states[0], states[0].address
        for other in states[1:]:
            state = other if _merge(state, other) else state
        before = self._states.get(address)
        if before is not None and not _merge(before, state):
            return None
        count = self._visits[address] = self._visits.get(address, 0) + 1
        if count > _MAX_VISITS and before is not None and state.guards == before.guards:
            # from now on there are fewer facts each time, so this ends
            state.registers, state.slots, state.flags = _same(before, state)
        self._states[address] = state.at(state.place, state.guards)
        return state

    @property
    def thumb(self) -> int:
        """1 if any place begins at half a word: then the code is Thumb."""
        return int(any(address & 3 == 2 for address in self.guards))


def _same(before: State, state: State) -> tuple[dict[int, Value], dict[int, Value], Flags | None]:
    """Return what did not change at a place since a walk came there before."""
    flags = state.flags if state.flags == before.flags else None
    return _kept(before.registers, state.registers), _kept(before.slots, state.slots), flags


def _kept(before: dict[int, Value], now: dict[int, Value]) -> dict[int, Value]:
    """Return the values that did not change; of others, what they are about."""
    kept = {key: value for key, value in now.items() if before.get(key) == value}
    for key, value in now.items():
        if value[0] in ("hw", "vague") and key not in kept and (doubt := vague(value)):
            kept[key] = doubt
    return kept


def _merge(before: State, state: State) -> bool:
    """Make a state what is certain by it and by what was known before; return whether that is less than before."""
    guards = before.guards if state.guards == before.guards else shared(state.guards, before.guards)
    registers = common(before.registers, state.registers, before.guards, state.guards)
    slots = common(before.slots, state.slots, before.guards, state.guards)
    flags = state.flags if state.flags == before.flags else None
    known = before.guards, before.registers, before.slots, before.flags
    if (guards, registers, slots, flags) == known:
        return False
    state.guards, state.registers, state.slots, state.flags = guards, registers, slots, flags
    return True
