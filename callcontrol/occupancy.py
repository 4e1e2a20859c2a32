"""Who of the members of Greetings is in a call, rung by a hunt, or idle since when (GRT-09, GRT-10).

Told by the calls, read when a hunt looks for members.  Whoever shares it among nodes keeps a copy on each, so that reading
never waits; two calls that begin at the same moment on two nodes may then both find a member free.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from dialplan.plan import FREE, OFFERED, TALKING

_RANK: Final = {FREE: 0, OFFERED: 1, TALKING: 2}


def higher(one: str, other: str) -> str:
    """The state of two that counts."""
    return one if _RANK[one] >= _RANK[other] else other


class Occupied(Protocol):
    """What hunts read of members on all nodes."""

    def busy(self, user: str, now: float, without: str = "") -> str:
        """``talking``, ``offered`` or empty; the call ``without`` does not count.  ``now``: Unix seconds."""
        ...

    def idle_since(self, user: str) -> float:
        """Unix time when the user last ended a call; 0: not known."""
        ...

    def turns(self, greeting: str) -> int:
        """How many calls the hunt of a Greeting has had."""
        ...


class Occupancy(Occupied, Protocol):
    """The same with what calls tell it."""

    on_change: Callable[[str], None] | None
    """Told the user whose state has changed, on whichever node."""

    def set(self, call: str, user: str, state: str, until: float, now: float) -> None:
        """What the user does in the call from now on; empty: nothing any more.  Forgotten at ``until``, Unix seconds."""
        ...

    def lost(self, call: str, user: str) -> None:
        """Another node has the call: it tells what the user does in it from now on."""
        ...

    def took_turn(self, greeting: str) -> None:
        """A hunt begins."""
        ...


class MemoryOccupancy:
    """Of one node."""

    __slots__ = ("_calls", "_idle", "_turns", "on_change")

    def __init__(self) -> None:
        self.on_change: Callable[[str], None] | None = None
        self._calls: dict[str, dict[str, tuple[str, float]]] = {}
        """User -> call -> (state, until)."""
        self._idle: dict[str, float] = {}
        self._turns: dict[str, int] = {}

    def busy(self, user: str, now: float, without: str = "") -> str:
        found = FREE
        for call, (state, until) in self._calls.get(user, {}).items():
            if call != without and until > now:
                found = higher(found, state)
        return found

    def calls_of(self, user: str) -> Mapping[str, tuple[str, float]]:
        """Call -> (state, until), also of those whose time is over."""
        return self._calls.get(user, {})

    def idle_since(self, user: str) -> float:
        return self._idle.get(user, 0.0)

    def turns(self, greeting: str) -> int:
        return self._turns.get(greeting, 0)

    def set(self, call: str, user: str, state: str, until: float, now: float) -> None:
        held = self._calls.get(user, {})
        earlier = held.pop(call, None)
        for dead in [other for other, (_, end) in held.items() if end <= now]:
            del held[dead]  # of a node that died with its calls
        if state:
            self._calls.setdefault(user, held)[call] = (state, until)
        elif earlier is not None:
            if earlier[0] == TALKING:
                self._idle[user] = now
            if not held:
                self._calls.pop(user, None)
        if self.on_change is not None:
            self.on_change(user)

    def lost(self, call: str, user: str) -> None:
        """Nodes that share this table need not tell each other."""

    def took_turn(self, greeting: str) -> None:
        self._turns[greeting] = self._turns.get(greeting, 0) + 1

    def dump(self) -> object:
        """Everything, as MessagePack can write it."""
        calls = {
            user: {call: list(what) for call, what in held.items()} for user, held in self._calls.items()
        }
        return [calls, self._idle, self._turns]

    def load(self, data: Any) -> None:
        """Become what ``dump`` gave."""
        calls, idle, turns = data or ({}, {}, {})  # nothing: of a version that had no such table
        self._calls = {
            user: {call: (state, until) for call, (state, until) in held.items()}
            for user, held in calls.items()
        }
        self._idle, self._turns = dict(idle), dict(turns)
