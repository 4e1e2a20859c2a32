"""What a call does when the time of one of its deadlines has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callcontrol.b2bua import callback, hunting, offering, ringing, seeking, transfer, waking
from callcontrol.b2bua.dialling import SILENCE, give_up_silent
from callcontrol.sip import usage_session
from callcontrol.sip.usage import CALLING, NEVER, Turn
from dialplan import reasons

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call

_ENDS: Final = ("total", "expires", hunting.LIMIT)
"""Come first of those of the same instant: nobody is rung for an instant only."""


def on_deadline(call: Call, turn: Turn) -> None:
    """Work off every deadline that has passed."""
    due = [name for name, at in call.deadlines.items() if at <= turn.now]
    if len(due) > 1:
        due = [name for name in due if name in _ENDS] + [name for name in due if name not in _ENDS]
    for name in due:
        if call.deadlines.get(name, NEVER) <= turn.now:  # else what an earlier one did has moved it
            del call.deadlines[name]
            _on_named(call, turn, name)
    for leg in list(call.legs.values()):
        if leg.usage.next_deadline() <= turn.now:
            usage_session.on_deadlines(leg.usage, turn)
            call.drain(turn)


def _on_named(call: Call, turn: Turn, name: str) -> None:
    if name == "step":
        if callback.calls_sim(call):
            callback.on_sim_silent(call, turn)
        else:
            ringing.on_step_over(call, turn)
    elif name in ("total", "expires"):
        ringing.on_total_over(call, turn, 487 if name == "expires" else 0)
    elif name.startswith(waking.WAKE):
        offering.on_wake_over(call, turn, name[len(waking.WAKE) :])
    elif name == waking.PUSH:
        waking.on_push_due(call, turn)
    elif name == hunting.LIMIT:
        hunting.on_limit(call, turn)
    elif name.startswith(hunting.MEMBER):
        hunting.on_member_over(call, turn, name[len(hunting.MEMBER) :])
    elif name.startswith(seeking.LIMIT):
        _on_sim_limit(call, turn, name[len(seeking.LIMIT) :])
    elif name == "duration":
        call.end(turn, reasons.MAX_DURATION, 0, "server", [])
    elif name.startswith(SILENCE):
        _on_silence(call, turn, name[len(SILENCE) :])
    elif not callback.on_deadline(call, turn, name):
        transfer.on_deadline(call, turn, name)


def _on_sim_limit(call: Call, turn: Turn, leg_id: str) -> None:
    leg = call.legs.get(leg_id)
    if leg is not None and leg.usage.state == CALLING and leg.step == call.stage:
        seeking.on_limit(call, turn, leg, hunting.farewell(call, turn, [leg.id]) or [offering.NO_ANSWER_LINE])
        ringing.note_result(call, 0, reasons.NO_ANSWER, [])
        offering.unless_all_failed(call, turn)


def _on_silence(call: Call, turn: Turn, leg_id: str) -> None:
    leg = call.legs.get(leg_id)
    if leg is None or leg.usage.state != CALLING:
        return
    give_up_silent(call, turn, leg)
    if callback.is_sim(call, leg):
        callback.next_peer(call, turn, leg, 408, 0)
    elif offering.searching(call):
        ringing.next_peer(call, turn, leg, 408, 0)
