"""Offering a call to devices at the same time: softphones, devices that are woken, SIMs (INC-05, INC-06).

One offer is made of a ``Ring``: of the plan, of a transfer's plan, or of one group of a hunt.  Whoever is looked for, what
happens next when all of it came to nothing is decided by ``ringing.stage_failed``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from callcontrol.b2bua import callback, hunting, ringing, seeking, waking
from callcontrol.b2bua.dialling import cancel_others, dial_device, drop, offered_body, silent_or
from callcontrol.b2bua.joining import WAITING
from callcontrol.b2bua.leg import CALLEE, Leg
from callcontrol.b2bua.phases import RINGING, TALKING
from callcontrol.sip.usage import CALLING, NEVER, Turn
from dialplan import reasons
from dialplan.plan import Ring, Step

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call

NO_ANSWER_LINE: Final = 'Reason: SIP;cause=408;text="no_answer"'
DECLINED_LINE: Final = 'Reason: SIP;cause=603;text="Declined elsewhere"'
_ALWAYS: Final = "unconditional"
_UNREACHED: Final = "unavailable"


def searching(call: Call) -> bool:
    """Somebody is being looked for: for the caller, or for the party that a transfer moves."""
    if call.transfer is not None:
        return call.transfer.stage == WAITING and call.transfer.plan is not None
    return call.phase == RINGING and not callback.calls_sim(call)


def present_step(call: Call) -> Step | None:
    """The step that is being carried out."""
    move = call.transfer
    if move is not None:
        steps = move.plan.steps if move.plan is not None else ()
        return steps[move.step] if move.step < len(steps) else None
    return call.plan.steps[call.step] if call.step < len(call.plan.steps) else None


def present_ring(call: Call) -> Ring | None:
    """Who is rung now, as it was when the offer began."""
    if not searching(call):
        return None
    if call.hunt is not None:
        return call.hunt.ring
    step = present_step(call)
    return step if isinstance(step, Ring) else None


def rung_users(call: Call) -> list[str]:
    """Users whose devices ring, or join when they register."""
    if call.hunt is not None:
        return call.hunt.users
    ring = present_ring(call)
    return users_of(ring) if ring is not None else []


def own_devices(call: Call) -> list[str]:
    """Devices that must not be rung by this call: the caller's, and those of the two parties that talk with each other."""
    devices = [call.device] if call.device else []
    if call.phase == TALKING:
        for name in (call.a, call.b):
            leg = call.legs.get(name)
            if leg is not None and leg.device:
                devices.append(leg.device)
    return devices


def answers_by_sim(call: Call, device: str) -> bool:
    """The device takes its calls on its SIM, which is called already."""
    ring = present_ring(call)
    return ring is not None and any(sim.device == device for sim in ring.sims)


def users_of(ring: Ring) -> list[str]:
    """Every user of a Ring, once."""
    users: dict[str, None] = {}
    for target in ring.targets:
        users[target.user] = None
    for sleeper in ring.wake:
        users[sleeper.user] = None
    for sim in (*ring.sims, *ring.fallback):
        users[sim.user] = None
    return list(users)


def can_ring(ring: Ring) -> bool:
    """There is anybody whom an offer could reach."""
    if ring.targets or ring.sims or ring.fallback:
        return True
    return any(target.asleep for target in ring.wake)


def begin(call: Call, turn: Turn, ring: Ring) -> None:
    """Ring these people, be they the first of the offer or not; its deadline is set by the step."""
    waking.begin(call, turn, ring)
    body, kind = offered_body(call)
    for target in ring.targets:
        dial_device(call, turn, target, body, kind)
    for sim in ring.sims:
        seeking.seek(call, turn, sim, _ALWAYS)
    for sim in ring.fallback:
        fall_back(call, turn, sim.user)


def fall_back(call: Call, turn: Turn, user: str) -> bool:
    """Call the SIM of a user who cannot be reached otherwise; True if that is done now (INC-06)."""
    ring = present_ring(call)
    if ring is None or user in call.fallen or not seeking.unreached(call, user):
        return False
    sims = [sim for sim in ring.fallback if sim.user == user]
    if not sims:
        return False
    call.fallen.append(user)
    for sim in sims:
        seeking.seek(call, turn, sim, _UNREACHED)
    return True


def legs_of_stage(call: Call) -> list[Leg]:
    """Callees that were dialled for the present offer."""
    return [leg for leg in call.legs.values() if leg.role == CALLEE and leg.step == call.stage]


def unless_all_failed(call: Call, turn: Turn) -> None:
    """The offer is over when nobody rings and nobody is on the way."""
    if not searching(call):
        return
    for user in rung_users(call):
        fall_back(call, turn, user)
    if waking.awaited(call) or seeking.asking(call) or hunting.waits(call):
        return
    if not any(leg.usage.state == CALLING for leg in legs_of_stage(call)):
        ringing.stage_failed(call, turn)


def on_wake_over(call: Call, turn: Turn, user: str) -> None:
    """The wake deadline of a user: SIMs are called instead, and devices that were not heard are given up (INC-06)."""
    if not searching(call) or user not in rung_users(call):
        return
    if waking.reachable(call, user):
        return
    unheard = [leg for leg in legs_of_stage(call) if leg.user == user and leg.usage.state == CALLING]
    for leg in unheard:
        if not leg.seek:
            drop(call, turn, leg, [NO_ANSWER_LINE], 480, reasons.UNREACHABLE, "server")
    if not seeking.seeks_for(call, user):
        call.note("INC-06", reasons.UNREACHABLE, f"{user} within {call.env.wake_s:g} s")
        ringing.note_result(call, 480, reasons.UNREACHABLE, [])
    unless_all_failed(call, turn)


def stop_user(call: Call, turn: Turn, user: str, lines: list[str], reason: str, ended_by: str) -> None:
    """The devices of one user stop ringing; other users ring on."""
    seeking.forget_user(call, user)
    for other in call.legs.values():
        if other.user == user and other.role == CALLEE and other.usage.state == CALLING:
            drop(call, turn, other, lines, 487, silent_or(other, reason), ended_by)
            call.deadlines.pop(seeking.LIMIT + other.id, None)


def on_declined(call: Call, turn: Turn, user: str) -> None:
    """INC-08: a 6xx from one device is the user's answer."""
    stop_user(call, turn, user, [DECLINED_LINE], reasons.DECLINED, "callee")
    if user not in call.fallen:
        call.fallen.append(user)
    waking.on_declined(call, turn, user)
    hunting.on_declined(call, user)


def others_ring(call: Call, turn: Turn, stopping: Sequence[str]) -> bool:
    """Somebody rings on, or is on the way, when these legs stop."""
    deadlines = call.deadlines
    on = [user for user in rung_users(call) if deadlines.get(hunting.MEMBER + user, NEVER) > turn.now]
    if any(waking.awaited(call, user) for user in on) or seeking.asking(call):
        return True
    return any(
        leg.usage.state == CALLING
        and leg.id not in stopping
        and leg.user in on
        and deadlines.get(seeking.LIMIT + leg.id, NEVER) > turn.now
        for leg in legs_of_stage(call)
    )


def cancel_stage(call: Call, turn: Turn, reason: str, lines: list[str] | None = None) -> None:
    """Nobody took the call in time: whoever still rings is told whether it was missed."""
    if lines is None:
        lines = hunting.farewell(call, turn) or [NO_ANSWER_LINE]
    for entry in call.seeks:
        entry.asking = False
    cancel_others(call, turn, "", lines, reason)
