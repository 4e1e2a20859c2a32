"""Live state as it is shown to a call that does not take place: at another time, or as it was recorded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from callcontrol.bindings import Binding, Way
from callcontrol.gather_callee import Registered
from callcontrol.occupancy import Occupied
from dialplan.facts import Callee, CallFacts, MemberFacts
from dialplan.plan import FREE, LIVE, NO_BINDING, STALE, DeviceTarget

_LONG_S: Final = 1e9


class ShiftedBindings:
    """Registrations as they are now, for a call of another time: nobody knows who will be registered then."""

    def __init__(self, bindings: Registered, shift: float) -> None:
        """``shift``: seconds from now to the time of the call."""
        self._bindings = bindings
        self._shift = shift

    def bindings_of_user(self, user: str, now: float) -> list[Binding]:
        shift = self._shift
        return [
            replace(each, expires_at=each.expires_at + shift, refreshed_at=each.refreshed_at + shift)
            for each in self._bindings.bindings_of_user(user, now - shift)
        ]

    def way(self, binding: Binding) -> Way | None:
        return self._bindings.way(binding)


class ShiftedOccupancy:
    """Who is busy now, for a call of another time."""

    def __init__(self, occupancy: Occupied, shift: float) -> None:
        self._occupancy = occupancy
        self._shift = shift

    def busy(self, user: str, now: float, without: str = "") -> str:
        return self._occupancy.busy(user, now - self._shift, without)

    def idle_since(self, user: str) -> float:
        since = self._occupancy.idle_since(user)
        return since + self._shift if since else 0.0

    def turns(self, greeting: str) -> int:
        return self._occupancy.turns(greeting)


class RecordedBindings:
    """Who was registered when a call was decided, by its facts.  Of whom they say nothing, nobody was."""

    def __init__(self, facts: CallFacts) -> None:
        self._held: dict[str, list[Binding]] = {}
        for callee in _callees(facts):
            self._held[callee.user] = list(_bindings_of(callee, facts.now))

    def bindings_of_user(self, user: str, now: float) -> list[Binding]:
        return self._held.get(user, [])

    def way(self, binding: Binding) -> Way | None:
        return binding.flow, binding.path


class RecordedOccupancy:
    """Who was busy when a call was decided, by its facts."""

    def __init__(self, facts: CallFacts) -> None:
        greeting = facts.greeting
        members: tuple[MemberFacts, ...] = () if greeting is None else greeting.members
        self._members = {member.callee.user: member for member in members}
        self._turn = 0 if greeting is None else greeting.turn

    def busy(self, user: str, now: float, without: str = "") -> str:
        member = self._members.get(user)
        return FREE if member is None else member.busy

    def idle_since(self, user: str) -> float:
        member = self._members.get(user)
        return 0.0 if member is None else member.idle_since

    def turns(self, greeting: str) -> int:
        return self._turn


def _callees(facts: CallFacts) -> Iterable[Callee]:
    if facts.callee is not None:
        yield facts.callee
    if facts.greeting is not None:
        for member in facts.greeting.members:
            yield member.callee


def _bindings_of(callee: Callee, now: float) -> Iterable[Binding]:
    why = {target.device: target.why for target in callee.wake}
    for target in callee.targets:
        stale = why.get(target.device, LIVE) == STALE
        yield _binding(target, now - (_LONG_S if stale else 0.0), now)
    there = {target.device for target in callee.targets}
    for wake in callee.wake:
        if wake.asleep and wake.device not in there and wake.why != NO_BINDING:
            asleep = DeviceTarget(user=callee.user, device=wake.device, aor="", contact="")
            yield replace(_binding(asleep, now, now), wakes=True, source="")


def _binding(target: DeviceTarget, refreshed_at: float, now: float) -> Binding:
    return Binding(
        aor=target.aor,
        key=target.binding,
        user=target.user,
        device=target.device,
        contact=target.contact,
        target=target.contact,
        flow=target.flow,
        conn=0,
        source="recorded",
        path=target.path,
        q=target.q,
        expires_at=now + _LONG_S,
        registered_at=refreshed_at,
        refreshed_at=refreshed_at,
        call_id="",
        cseq=0,
    )
