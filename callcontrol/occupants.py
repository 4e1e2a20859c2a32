"""What the members of Greetings do in the calls of this node, told to the occupancy that all nodes read (GRT-09, GRT-10).

It follows from the legs of a call alone, so whoever takes a call over comes to the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from callcontrol.b2bua.call import Call
from callcontrol.b2bua.phases import ENDED
from callcontrol.occupancy import Occupancy
from callcontrol.sip.usage import ACCEPTED, CALLING, ESTABLISHED, INCOMING
from dialplan.plan import FREE, OFFERED, TALKING

_SLACK_S: Final = 60.0
"""An entry outlives the longest call by so much; then its node is dead."""


class Occupants:
    """Follows the calls of a node."""

    __slots__ = ("_is_member", "_longest_s", "_told", "occupancy")

    def __init__(self, occupancy: Occupancy, is_member: Callable[[str], bool], longest_s: float) -> None:
        """``is_member``: whether a user is a member of any Greeting; ``longest_s``: how long a call may last."""
        self.occupancy = occupancy
        self._is_member = is_member
        self._longest_s = longest_s
        self._told: dict[str, dict[str, str]] = {}
        """Call -> user -> what was told last."""

    def __len__(self) -> int:
        return len(self._told)

    def changed(self, call: Call, now: float) -> None:
        """Something of the call has changed; ``now``: Unix seconds."""
        states = self._states(call) if call.phase != ENDED else {}
        told = self._told.get(call.ref)
        if told is None:
            if not states:
                return
            told = {}
        until = now + self._longest_s + _SLACK_S
        for user in [user for user in told if user not in states]:
            del told[user]
            self.occupancy.set(call.ref, user, FREE, 0.0, now)
        for user, state in states.items():
            if told.get(user) != state:
                told[user] = state
                self.occupancy.set(call.ref, user, state, until, now)
        if told:
            self._told[call.ref] = told
        else:
            self._told.pop(call.ref, None)

    def forget(self, ref: str) -> None:
        """The call is over."""
        self._told.pop(ref, None)

    def lose(self, ref: str) -> None:
        """Another node has the call, and tells what becomes of it."""
        for user in self._told.pop(ref, ()):
            self.occupancy.lost(ref, user)

    def _states(self, call: Call) -> dict[str, str]:
        states: dict[str, str] = {}
        for leg in call.legs.values():
            user, state = leg.user, leg.usage.state
            if not user or not self._is_member(user):
                continue
            if state in (ESTABLISHED, ACCEPTED, INCOMING):
                states[user] = TALKING  # who calls is on the phone, be it answered or not
            elif state == CALLING and user not in states:
                states[user] = OFFERED
        return states
