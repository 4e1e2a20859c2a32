"""Who of the members of Greetings is busy, on all nodes: a table of `callcontrol.live.log` (GRT-09, GRT-10).

What a node says of its own calls holds there at once; the others know it when the step has come round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from callcontrol.live.log import Steps, Unavailable
from callcontrol.occupancy import MemoryOccupancy, higher

OCCUPANCY: Final = "occupancy"


class OccupancyMachine:
    """`MemoryOccupancy` step by step."""

    def __init__(self) -> None:
        self.occupancy = MemoryOccupancy()

    def step(self, verb: str, words: Sequence[Any]) -> object:
        match verb:
            case "set":
                self.occupancy.set(*words)
            case "turn":
                self.occupancy.took_turn(*words)
            case _:
                raise ValueError(f"occupancy knows no {verb!r}")
        return None

    def dump(self) -> object:
        return self.occupancy.dump()

    def load(self, data: Any) -> None:
        self.occupancy.load(data)


class SharedOccupancy:
    """`callcontrol.occupancy.Occupancy` of many nodes."""

    def __init__(self, steps: Steps, machine: OccupancyMachine) -> None:
        self._steps = steps
        self._machine = machine
        self._mine: dict[tuple[str, str], tuple[str, float]] = {}
        """(call, user) of this node -> (state, until)."""
        self._leaving: dict[tuple[str, str], int] = {}
        """Those that have ended here, while the table may not know yet: number of steps that are under way."""
        self._turns: dict[str, int] = {}
        """Hunts that began here, and that the table does not know yet."""
        self.on_change: Callable[[str], None] | None = None
        machine.occupancy.on_change = self._changed

    def _changed(self, user: str) -> None:
        if self.on_change is not None:
            self.on_change(user)

    def busy(self, user: str, now: float, without: str = "") -> str:
        found = ""
        for call, (state, until) in self._machine.occupancy.calls_of(user).items():
            key = (call, user)
            if call != without and until > now and key not in self._mine and key not in self._leaving:
                found = higher(found, state)
        for (call, whose), (state, until) in self._mine.items():
            if whose == user and call != without and until > now:
                found = higher(found, state)
        return found

    def idle_since(self, user: str) -> float:
        return self._machine.occupancy.idle_since(user)

    def turns(self, greeting: str) -> int:
        return self._machine.occupancy.turns(greeting) + self._turns.get(greeting, 0)

    def set(self, call: str, user: str, state: str, until: float, now: float) -> None:
        key = (call, user)
        words = (call, user, state, until, now)
        if state:
            self._mine[key] = (state, until)
            self._steps.submit(OCCUPANCY, "set", words, linger=True)
        else:
            self._mine.pop(key, None)
            self._leaving[key] = self._leaving.get(key, 0) + 1
            self._steps.submit(
                OCCUPANCY, "set", words, lambda result: self._left(key, words, result), linger=True
            )
        self._changed(user)

    def lost(self, call: str, user: str) -> None:
        if self._mine.pop((call, user), None) is not None:
            self._changed(user)

    def _left(self, key: tuple[str, str], words: Sequence[object], result: object) -> None:
        if isinstance(result, Unavailable):
            self._steps.insist(OCCUPANCY, "set", words)  # once Redis is back
        left = self._leaving.get(key, 0) - 1
        if left > 0:
            self._leaving[key] = left
        else:
            self._leaving.pop(key, None)

    def took_turn(self, greeting: str) -> None:
        self._turns[greeting] = self._turns.get(greeting, 0) + 1
        self._steps.submit(OCCUPANCY, "turn", (greeting,), lambda result: self._turned(greeting))

    def _turned(self, greeting: str) -> None:
        left = self._turns.get(greeting, 0) - 1
        if left > 0:
            self._turns[greeting] = left
        else:
            self._turns.pop(greeting, None)

    def say_again(self) -> None:
        """The table may know nothing of this node's calls any more."""
        for (call, user), (state, until) in list(self._mine.items()):
            self._steps.submit(OCCUPANCY, "set", (call, user, state, until, 0.0))
