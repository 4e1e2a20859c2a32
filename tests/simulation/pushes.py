"""The way of pushes to phones: slow, lossy, and away now and then."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from gateway.push import DevicePush

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

_KEPT: Final = 5000


class Pushes:
    """A `gateway.push.PushSink`."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim
        self._dice = random.Random(f"{sim.seed} pushes")
        self.sent: dict[tuple[str, str], list[str]] = {}
        """(call reference, device) -> what was to be pushed: type, and reason where there is one."""

    def put(self, push: DevicePush, now: float) -> bool:
        """Some fail at once, some are lost on the way, some are late."""
        dice = self._dice
        self.sent.setdefault((push.call, push.device), []).append(f"{push.type} {push.reason}".strip())
        if len(self.sent) > _KEPT:
            del self.sent[next(iter(self.sent))]
        self._sim.incoming.pushed(push)
        if dice.random() < 0.03:
            return False
        if dice.random() < 0.95:
            self._sim.clock.after(dice.expovariate(1 / 0.4), self._deliver, push)
        return True

    def _deliver(self, push: DevicePush) -> None:
        for phone in self._sim.phones:
            if phone.name == push.device:
                phone.pushed(push)
