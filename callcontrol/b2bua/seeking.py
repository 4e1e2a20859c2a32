"""SIMs that are called in place of softphones: which carrier takes the call, and which one next (INC-05, INC-06).

Several may be sought at the same time, beside softphones that ring.  Each attempt has a channel of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callcontrol.b2bua import waking
from callcontrol.b2bua.dialling import (
    SILENCE,
    asserted_number,
    dial_peer,
    drop,
    may_go_on,
    offered_body,
    presented,
    tried_words,
)
from callcontrol.b2bua.effects import ChooseTrunk
from callcontrol.b2bua.events import TrunkChosen
from callcontrol.b2bua.leg import CALLEE, Leg
from callcontrol.sip.usage import CALLING, Turn
from dialplan import reasons
from dialplan.plan import Diversion, Identity, SimTarget

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call

LIMIT: Final = "limit "
"""Start of the names of deadlines at which a SIM has rung long enough; the leg follows."""

SEEK_FIELDS: Final = ("channel", "user", "device", "sim", "for_s", "stage", "tried", "asking", "cause")


class Seek:
    """One SIM that is to ring."""

    __slots__ = SEEK_FIELDS

    def __init__(self, user: str, device: str, sim: str, for_s: float, stage: int, cause: str) -> None:
        self.channel = ""
        """Of the present attempt."""
        self.user = user
        self.device = device
        self.sim = sim
        self.for_s = for_s
        self.stage = stage
        self.tried: list[str] = []
        self.asking = False
        """A trunk is being chosen."""
        self.cause = cause
        """Word of RFC 5806: why the SIM is called."""


def seek(call: Call, turn: Turn, target: SimTarget, cause: str) -> None:
    """Call a SIM."""
    entry = Seek(target.user, target.device, target.sim, target.for_s, call.stage, cause)
    call.seeks.append(entry)
    call.note("INC-06" if cause == "unavailable" else "INC-05", "gsm", f"the SIM of {target.device}")
    _choose(call, turn, entry)


def _choose(call: Call, turn: Turn, entry: Seek) -> None:
    call.sought += 1
    entry.channel = f"{call.ref}.s{call.sought}"
    entry.asking = True
    asserted = asserted_number(call)
    turn.commands.append(ChooseTrunk(entry.sim, asserted, list(entry.tried), entry.channel, entry.user))


def asking(call: Call) -> bool:
    """Whether a trunk is still being chosen for a SIM of this stage."""
    return any(entry.asking and entry.stage == call.stage for entry in call.seeks)


def seeks_for(call: Call, user: str) -> bool:
    """Whether a SIM of the user is sought, or rings."""
    if any(entry.asking and entry.stage == call.stage and entry.user == user for entry in call.seeks):
        return True
    return any(
        leg.seek and leg.user == user and leg.step == call.stage and leg.usage.state == CALLING
        for leg in call.legs.values()
    )


def find(call: Call, channel: str) -> Seek | None:
    """The SIM that a trunk is being chosen for under this channel."""
    for entry in call.seeks:
        if entry.asking and entry.channel == channel:
            return entry
    return None


def on_trunk_chosen(call: Call, turn: Turn, entry: Seek, event: TrunkChosen) -> bool:
    """Dial the SIM; False if there is no way to it."""
    entry.asking = False
    if not event.trunk:
        reason = event.reason or reasons.NO_ROUTE
        call.skipped.append([entry.user, reason])
        call.note("trunk", reason, f"the SIM of {entry.device}, {tried_words(entry.tried)}")
        return False
    caller, called = presented(call)
    body, kind = offered_body(call)
    shown = _diverted(caller, called, entry.cause)
    leg = dial_peer(call, turn, event, body, kind, shown, entry.sim, entry.tried)
    leg.user, leg.device, leg.seek = entry.user, entry.device, entry.channel
    call.deadlines[LIMIT + leg.id] = turn.now + entry.for_s
    return True


def _diverted(caller: Identity, called: str, cause: str) -> Identity:
    """The caller as the SIM's owner sees it: by way of the cloud number (FWD-02)."""
    return Identity(
        number=caller.number,
        user=caller.user,
        display=caller.display,
        asserted=caller.asserted,
        hidden=caller.hidden,
        diverted=(*caller.diverted, Diversion(number=called, reason=cause)),
    )


def of_leg(call: Call, leg: Leg) -> Seek | None:
    """What the leg was dialled for; None if it is not a SIM's."""
    if leg.seek:
        for entry in call.seeks:
            if entry.channel == leg.seek:
                return entry
    return None


def next_peer(call: Call, turn: Turn, leg: Leg, status: int, q850: int) -> bool:
    """Another way to the SIM whose leg has failed; False if there is none, or if its answer was its owner's."""
    call.deadlines.pop(LIMIT + leg.id, None)
    call.deadlines.pop(SILENCE + leg.id, None)
    entry = of_leg(call, leg)
    if entry is None or entry.stage != call.stage or not may_go_on(call, leg, status, q850, entry.tried):
        return False
    _choose(call, turn, entry)
    return True


def on_limit(call: Call, turn: Turn, leg: Leg, lines: list[str]) -> None:
    """A SIM rang long enough: what would answer next is its carrier's voicemail (FWD-05)."""
    if leg.usage.state == CALLING:
        drop(call, turn, leg, lines, 487, reasons.NO_ANSWER, "server")
        call.note("FWD-05", reasons.NO_ANSWER, f"the SIM of {leg.device}")


def forget_user(call: Call, user: str) -> None:
    """The user is not to be rung any more: what is being chosen for it is not dialled."""
    for entry in call.seeks:
        if entry.user == user:
            entry.asking = False


def unreached(call: Call, user: str) -> bool:
    """Nobody of the user rings, is on the way, or has given an answer in this stage."""
    for leg in call.legs.values():
        if leg.role != CALLEE or leg.step != call.stage or leg.user != user:
            continue
        if leg.usage.state == CALLING or leg.ended_by == "callee" or leg.ringing_at:
            return False
    return not waking.awaited(call, user) and not seeks_for(call, user)
