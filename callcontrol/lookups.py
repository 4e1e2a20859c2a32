"""What calls ask while they are served, and the events that answer them: lookups in the dialplan, the directory, the trunks."""

from __future__ import annotations

from collections.abc import Callable

from callcontrol.b2bua.call import Call
from callcontrol.b2bua.effects import ChooseTrunk, Effect, FindMembers, RouteForward, RouteTransfer
from callcontrol.b2bua.events import (
    Event,
    ForwardRouted,
    MembersFound,
    TransferRouted,
)
from callcontrol.call_index import rung_users
from callcontrol.defects import Defects
from callcontrol.running_calls import RunningCalls
from callcontrol.trunk_legs import TrunkLegs
from dialplan import reasons
from dialplan.facts import CallFacts
from dialplan.plan import Decision, DeviceTarget, Forward, Identity, Reach

TransferRoute = Callable[[str, str, str, float], Decision | None]
"""(device, target URI, cloud number of the call, now) -> decision, None when the target is refused."""


OtherFlow = Callable[[str, str, list[str], float], DeviceTarget | None]
"""(user, device, keys of bindings that were tried, now) -> a further flow of the device."""


ForwardRoute = Callable[[Forward, Identity, str, int, str, float], tuple[CallFacts | None, Decision | None]]
"""(step, caller, cause, Max-Forwards, call reference, now) -> facts and decision; None: nothing can be done with the target."""


class Lookups:
    """How a call is told what it asks for.  One that fails costs its call nothing but itself."""

    def __init__(
        self,
        running: RunningCalls,
        legs: TrunkLegs,
        defects: Defects,
        route_transfer: TransferRoute,
        later: Callable[[Call, Event], None],
    ) -> None:
        """``later``: takes answers that come between two turns."""
        self._running = running
        self._legs = legs
        self._defects = defects
        self._route_transfer = route_transfer
        self._later = later
        self.reach: Callable[[str, float, str], Reach] = lambda user, now, ref: Reach(user=user)
        """(user, now, reference of the call) -> how a member of a hunt can be reached."""
        self.route_forward: ForwardRoute = lambda step, caller, cause, hops, ref, now: (None, None)
        """Decides how a call goes on that is forwarded."""
        self.targets_of: Callable[[str, float, float], list[DeviceTarget]] = lambda user, since, now: []
        """(user, since, now) -> contacts of a user's devices that have registered since then."""
        self.other_flow: OtherFlow = lambda user, device, tried, now: None
        """Finds a further outbound flow of a device, besides the bindings that were tried."""

    def answer(self, call: Call, effect: Effect, now: float) -> Event | None:
        """What the call is told; None: later."""
        if isinstance(effect, ChooseTrunk):
            return self._legs.ask(call, effect, now, self._later)
        if isinstance(effect, RouteTransfer):
            return self.transfer(call, effect.leg, effect.target, 404, now)
        if isinstance(effect, FindMembers):
            return self._find_members(call, effect, now)
        if isinstance(effect, RouteForward):
            return self._forward(call, effect, now)
        return None

    def transfer(self, call: Call, leg: str, target: str, status: int, now: float) -> TransferRouted:
        """The transferor calls the target, with the number that it talks with in this call; ``status``: for who may not."""
        party = call.legs[leg]
        decision = self._route_transfer(party.device, target, party.number, now)
        if decision is not None:
            self._running.index.rings(call, rung_users(decision.plan))
        return TransferRouted(decision, status)

    def _find_members(self, call: Call, effect: FindMembers, now: float) -> MembersFound:
        occupants = self._running.occupants
        if effect.greeting and occupants is not None:
            occupants.occupancy.took_turn(effect.greeting)
        return MembersFound(effect.stage, tuple([self._reach(call, user, now) for user in effect.users]))

    def _reach(self, call: Call, user: str, now: float) -> Reach:
        """How a member can be reached; whoever cannot be looked up costs no time, and the hunt goes on."""
        try:
            return self.reach(user, now, call.ref)
        except Exception as error:  # noqa: BLE001 - told, and the caller still has the other members
            self._defects.tell(error)
            call.note("GRT-01", reasons.UNAVAILABLE, f"{user} could not be looked up")
            return Reach(user=user)

    def _forward(self, call: Call, effect: RouteForward, now: float) -> ForwardRouted:
        facts: CallFacts | None = None
        decision: Decision | None = None
        try:
            facts, decision = self.route_forward(
                effect.step, effect.caller, effect.cause, effect.max_forwards, call.ref, now
            )
        except Exception as error:  # noqa: BLE001 - told, and the plan goes on
            self._defects.tell(error)
        if decision is not None:
            self._running.index.rings(call, rung_users(decision.plan))
        if facts is not None:
            call.keep(facts)
        return ForwardRouted(decision)
