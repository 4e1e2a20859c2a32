"""The end of a call: the outcome is noted once, every leg is released, the record is written (CDR-01)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callcontrol.b2bua import records, waking
from callcontrol.b2bua.causes import CAUSES, end_line, phrase_of, reason_lines
from callcontrol.b2bua.effects import WriteRecord
from callcontrol.b2bua.leg import Leg
from callcontrol.b2bua.phases import ENDED
from callcontrol.sip import usage_session, usage_uas
from callcontrol.sip.usage import CLOSED, INCOMING, Turn

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call


def end(
    call: Call, turn: Turn, reason: str, status: int, ended_by: str, lines: list[str], repeat: bool
) -> None:
    """See ``Call.end``."""
    if call.phase == ENDED:
        return
    call.phase = ENDED
    call.dirty = True
    call.ended_at = turn.now
    call.reason = reason
    call.status = status or CAUSES[reason].status
    call.ended_by = ended_by
    call.deadlines = {}
    call.choosing = False
    call.hunt = None
    call.seeks = []
    call.transfer = None
    _forget_answer(call)
    if not call.answered_at:
        waking.on_unanswered(call, turn)
    else:
        waking.on_given_up(call, turn)  # for those whom a transfer has woken
    call.note("outcome", reason, ended_by)
    if ended_by == "server" and not lines:
        lines = [end_line(reason, call.status)]
    for leg in call.legs.values():
        _close(call, turn, leg, lines, repeat)
        call.leg_done(turn, leg)
        leg.finish(turn.now, 200 if leg.answered_at else call.status, reason, ended_by)
    call.body = b""
    call.crossing = []
    turn.commands.append(WriteRecord(records.of_call(call)))


def _forget_answer(call: Call) -> None:
    """Somebody answered, but the caller was never told (its 2xx waited for a PRACK): for it there was no answer."""
    caller = call.legs.get(call.a)
    if caller is None or caller.usage.state != INCOMING or not call.answered_at:
        return
    call.answered_at = caller.answered_at = 0.0
    if call.status < 300:
        call.status = 487 if call.ended_by == "caller" else 480


def _close(call: Call, turn: Turn, leg: Leg, lines: list[str], repeat: bool) -> None:
    usage = leg.usage
    if usage.state == INCOMING:
        status = call.status if call.status >= 300 else 480
        refusal = reason_lines(call.reason, status)
        usage_uas.refuse(usage, turn, status, phrase_of(status), refusal, repeat)
        leg.status = status
    elif usage.state != CLOSED:
        usage_session.release(usage, turn, lines)
