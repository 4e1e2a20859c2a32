"""The reference model with nobody beside it: what the specification says of a case."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from callcontrol.b2bua.events import Event
from tests.hunting import model
from tests.hunting.cases import Case
from tests.hunting.wire import INVITE, Leg
from tests.hunting.world import World


class ModelPlay(World):
    """What the model wants is what happens."""

    def __init__(self, case: Case) -> None:
        super().__init__(case, lambda count: 0)
        self.timeline: list[tuple[float, str, str, str]] = []
        """When, what, which device, why."""

    def compare(self, what: str, spec: Callable[[], list[model.Action]], event: Event) -> None:
        self.model.now = self.now
        for action, device, why in spec():
            self.timeline.append((self.now, action, device, why))
            if action == model.RING:
                self.legs[device] = Leg(device, device, device, INVITE)
                self.got_invite(self.legs[device])
            elif action == model.PUSH:
                self.woken(device)
            elif action == model.STOP:
                self._stopped(self.legs[device])
        self.is_over = bool(self.model.ended)

    def _stopped(self, leg: Leg) -> None:
        if self.habits[leg.device].crosses:
            self.at(self.now, partial(self.crosses, leg))
        else:
            leg.is_over = True

    def member_changed(self, member: str) -> None:
        spec = self.model.talks if self.busy[member] else self.model.is_free
        self.compare(f"{member} changes", lambda: spec(member), Event())
