"""The gate that every leg to the outside passes before it is sent (OUT-10).

Calls, transfers, forwards, callbacks and calls through a gateway number ask for a trunk in one place, the runner;
there the leg takes its slot.  It is named after the channel of the leg, which goes with the leg when that moves to
another call, and is given back with it, once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from callcontrol.pricing.zones import NATIONAL
from callcontrol.usage.policy import OutgoingPolicy, Zoning
from callcontrol.usage.slots import ACCOUNT, USER, OutgoingSlots, Slot, SlotLimits
from numbering.directory import Directory
from numbering.models import PlanLimits

ALL: Final = "all"
ABROAD: Final = "abroad"
_MAX_PLANS: Final = 1000
SLACK_S: Final = 600.0
"""A slot outlives the longest call by so much; then its owner is dead."""


def bound_name(kind: str, bound: str) -> str:
    """The setting of ``[outgoing]`` that a leg would break: ``user_calls_abroad_per_minute``."""
    scope, _, what = bound.partition(" ")
    return f"{scope}_calls{'_abroad' if kind == ABROAD else ''}{'_per_minute' if what == 'rate' else ''}"


BOUNDS: Final = tuple(
    bound_name(kind, f"{scope} {what}")
    for kind in (ALL, ABROAD)
    for scope in (USER, ACCOUNT)
    for what in ("calls", "rate")
)


class OutgoingGuard:
    """Gives each leg its slot, or says which bound it would break."""

    def __init__(
        self,
        directory: Directory,
        policy: OutgoingPolicy,
        zoning: Zoning,
        slots: OutgoingSlots,
        longest_s: float,
    ) -> None:
        """``longest_s``: how long a leg may last, ringing and talking."""
        self._directory = directory
        self._policy = policy
        self._slots = slots
        self._zoning = zoning
        self._longest_s = longest_s
        self._bounds: dict[int, tuple[PlanLimits | None, SlotLimits, SlotLimits]] = {}
        """By the identity of the plan, which its entry keeps alive."""
        self._held: set[str] = set()
        """Legs of this node that were given a slot."""
        self.refused: dict[str, int] = {}
        """Name of the bound -> legs that were not sent."""

    def acquire(
        self,
        leg: str,
        user: str,
        account: str,
        number: str,
        called: str,
        fresh: bool,
        now: float,
        done: Callable[[str], None],
    ) -> None:
        """Take the slots of a leg; ``done`` gets the bound that it would break, empty: it may be sent.

        ``leg`` names it among all nodes; ``number`` is the cloud number, ``called`` the destination, E.164 or a short
        number with its country.  ``fresh``: it is the first attempt of its call.
        """
        if not user:
            done("")
            return
        limits, abroad = self._bounds_of(user)
        leaves = (
            abroad.bounded
            and called.startswith("+")
            and self._zoning.zone(user, number, called, now) != NATIONAL
        )
        if not (limits.bounded or leaves) or self._zoning.is_own_sim(user, called):
            done("")
            return
        wanted = ([(ABROAD, abroad)] if leaves else []) + ([(ALL, limits)] if limits.bounded else [])
        self._held.add(leg)
        self._next(leg, user, account, fresh, wanted, now, done)

    def _next(
        self,
        leg: str,
        user: str,
        account: str,
        fresh: bool,
        wanted: list[tuple[str, SlotLimits]],
        now: float,
        done: Callable[[str], None],
    ) -> None:
        if not wanted:
            done("")
            return
        (kind, limits), *rest = wanted

        def answered(bound: str) -> None:
            if leg not in self._held:
                self._slots.release(leg)  # the leg ended before the slot came
                done("")
            elif bound:
                self.release(leg)
                what = bound_name(kind, bound)
                self.refused[what] = self.refused.get(what, 0) + 1
                done(what)
            else:
                self._next(leg, user, account, fresh, rest, now, done)

        until = now + self._longest_s + SLACK_S
        self._slots.acquire(Slot(leg, user, account, kind, fresh), limits, until, now, answered)

    def release(self, leg: str) -> None:
        """The leg is over, or was never sent."""
        if leg in self._held:
            self._held.discard(leg)
            self._slots.release(leg)

    def resumed(self, leg: str) -> None:
        """A leg that another node had sent is ours now: its slot is given back here."""
        self._held.add(leg)

    def lost(self, leg: str) -> None:
        """A leg of ours goes on on another node: its slot is given back there."""
        self._held.discard(leg)

    def _bounds_of(self, user: str) -> tuple[SlotLimits, SlotLimits]:
        plan = self._directory.plan_of(user)
        known = self._bounds.get(id(plan))
        if known is None or known[0] is not plan:
            if len(self._bounds) >= _MAX_PLANS:
                self._bounds.clear()
            known = (plan, self._policy.bounds(plan), self._policy.bounds_abroad(plan))
            self._bounds[id(plan)] = known
        return known[1], known[2]
