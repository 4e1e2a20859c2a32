"""Who is busy, as hunts are told, held against who talks (GRT-10)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from callcontrol.b2bua.phases import ENDED, TALKING
from callcontrol.occupancy import MemoryOccupancy
from dialplan import plan

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

_SLACK_S: Final = 0.1


class WatchedOccupancy:
    """A `callcontrol.occupancy.Occupancy` of all processes that looks at its own answers."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim
        self._inner = MemoryOccupancy()
        self.idle_since = self._inner.idle_since
        self.turns = self._inner.turns
        self.set: Callable[[str, str, str, float, float], None] = self._inner.set
        self.took_turn = self._inner.took_turn
        self.lost = self._inner.lost

    def know_nothing(self) -> None:
        """Everybody is free from now on, whatever is told: for the catalogue of bugs."""
        self.set = lambda call, user, state, until, now: None

    def busy(self, user: str, now: float, without: str = "") -> str:
        found = self._inner.busy(user, now, without)
        if without and not self._sim.server.deaths:
            self._check(user, now, without, found)
        return found

    def _check(self, user: str, now: float, without: str, found: str) -> None:
        """A hunt looks at a member."""
        server = self._sim.server
        slack = server.grain + _SLACK_S
        is_in_call = False
        for call in server.running().values():
            if call.ref == without or user not in [leg.user for leg in call.legs.values()]:
                continue
            if call.phase != ENDED or now - call.ended_at < slack:
                is_in_call = True
            pair = [call.legs[name].user for name in (call.a, call.b) if name in call.legs]
            stands = call.phase == TALKING and now - call.answered_at > slack and call.transfer is None
            if stands and user in pair and call.ref not in self._sim.audit.moved and found != plan.TALKING:
                self._sim.blame(
                    "busy member", f"{user} talks in {call.ref}, but is {found or 'free'}", ref=without
                )
        if found == plan.TALKING and not is_in_call:
            self._sim.blame("busy member", f"{user} is in no call, but talks", ref=without)
