"""What the dialogs of a call report, handed to the phase that it is in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callcontrol.b2bua import callback, ringing, talking, transfer
from callcontrol.b2bua.leg import Leg
from callcontrol.b2bua.phases import ENDED
from callcontrol.sip.usage import Turn
from callcontrol.sip.usage_events import (
    Acked,
    Answered,
    AskCancelled,
    Asked,
    CallerCancelled,
    Ended,
    Failed,
    Progress,
    Replied,
    UsageEvent,
)

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call


def on_usage(call: Call, turn: Turn, event: UsageEvent) -> None:
    """One report of one leg."""
    leg = call.legs.get(event.leg)
    if leg is None:
        call.ignore("report of unknown leg")
    elif isinstance(event, Progress):
        if not leg.ringing_at:
            leg.ringing_at = turn.now
        leg.rang = leg.rang or event.status == 180 or bool(event.body)
        if transfer.owns(call, leg):
            transfer.on_progress(call, turn, event)
        elif callback.first_leg(call):
            callback.on_progress(call, turn, leg, event)
        else:
            ringing.on_progress(call, turn, leg, event)
    elif isinstance(event, CallerCancelled):
        talking.on_caller_cancelled(call, turn, leg, event.reason)
    elif isinstance(event, AskCancelled):
        talking.on_ask_cancelled(call, turn, leg, event.key)
    else:
        call.dirty = True
        if isinstance(event, Answered):
            _on_answered(call, turn, leg, event)
        elif isinstance(event, Failed):
            _on_failed(call, turn, leg, event)
        elif isinstance(event, Acked):
            talking.on_acked(call, turn, leg, event)
        elif isinstance(event, Asked):
            talking.on_asked(call, turn, leg, event)
        elif isinstance(event, Replied):
            talking.on_replied(call, turn, leg, event)
        elif isinstance(event, Ended):
            talking.on_ended(call, turn, leg, event)


def _on_answered(call: Call, turn: Turn, leg: Leg, event: Answered) -> None:
    if transfer.owns(call, leg):
        transfer.on_answered(call, turn, leg, event)
    elif callback.is_sim(call, leg):
        callback.on_sim_answered(call, turn, leg, event)
    elif call.callback is not None:
        callback.on_answered(call, turn, leg, event)
    else:
        ringing.on_answered(call, turn, leg, event)


def _on_failed(call: Call, turn: Turn, leg: Leg, event: Failed) -> None:
    message = event.message
    if message is not None and call.phase != ENDED:
        leg.user_agent = leg.user_agent or message.get("server") or message.get("user-agent") or ""
    call.leg_done(turn, leg)
    if call.phase == ENDED:
        return
    if callback.is_sim(call, leg) and not transfer.owns(call, leg):
        callback.on_failed(call, turn, leg, event)
    else:
        ringing.on_failed(call, turn, leg, event)
