"""What a node does with a call that it took over from one that died (LIVE-02), by phase:

- *ringing*: it ends, so that the side that calls can try another way at once: CANCEL to the callees, 503 to the caller.
- *ringing, and devices were woken for it*: it goes on.  Those devices come for this very call; another attempt would find them
  on their way.  Only a caller over a connection that is gone cannot be kept.
- *talking*: it goes on.  An answer whose ACK was not seen is sent until the ACK comes or 64·T1 have passed.  A transfer under
  way is given up; the two that talked go on talking.
- *ended*: what was being closed is closed, and the record is written again under its key.

First of all, every request without a final response is sent again as it was.  For the peer that is a retransmission; for us it
makes the transactions anew, so that answers find us and a 2xx that crosses is ACKed and released.  What a party has asked and
waits for an answer to is taken over too: its repetition is no second request, and its CANCEL finds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callcontrol.b2bua import hunting, joining, records
from callcontrol.b2bua.effects import AdoptInvite, WriteRecord
from callcontrol.b2bua.leg import Leg
from callcontrol.b2bua.phases import ENDED, NEW, RINGING, TALKING
from callcontrol.sip import usage_session, usage_uas
from callcontrol.sip.commands import SendResponse
from callcontrol.sip.dialog import Dialog, assemble
from callcontrol.sip.usage import ESTABLISHED, INCOMING, Turn, Usage
from callcontrol.sip.usage_open import OutgoingInvite, Pending
from dialplan import reasons

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call

FORGET: Final = "forget"
"""Nothing was promised to anybody yet."""
END: Final = "end"
GO_ON: Final = "go on"
KEEP: Final = "keep ringing"
FINISH: Final = "finish"

POLICY: Final[dict[int, str]] = {NEW: FORGET, RINGING: END, TALKING: GO_ON, ENDED: FINISH}


def policy(call: Call) -> str:
    """What becomes of a call that was found in its phase."""
    caller = call.legs.get(call.a)
    if call.phase == RINGING and caller is not None and _wakes(call) and _can_be_kept(caller):
        return KEEP
    if call.phase == TALKING and caller is not None and caller.usage.state == INCOMING:
        return END  # somebody answered, but the caller was not told: for it the call still rings
    return POLICY[call.phase]


def _wakes(call: Call) -> bool:
    return any(waking.step == call.stage and waking.pushed_at for waking in call.waking)


def _can_be_kept(caller: Leg) -> bool:
    usage = caller.usage
    return usage.state == INCOMING and usage.incoming is not None and usage.flow.startswith("udp|")


def resume(call: Call, turn: Turn) -> None:
    """Carry out the policy; the effects go where those of any event go."""
    what = policy(call)
    if what != FINISH:
        call.note("takeover", what)
    call.choosing = call.over = False
    for entry in call.seeks:
        entry.asking = False  # the answer went to the node that asked
    for leg in call.legs.values():
        _forget_connection(leg)
        _adopt_reinvites(leg, turn)
        usage_session.resend(leg.usage, turn, what == END and leg.heard)
    if what == END:
        call.end(turn, reasons.NODE_LOST, 503, "server", [], True)
    elif what == GO_ON:
        joining.failed(call, turn, 503)
    elif what == KEEP:
        _keep_ringing(call, turn)
    elif what == FINISH:
        turn.commands.append(WriteRecord(records.of_call(call)))


def _keep_ringing(call: Call, turn: Turn) -> None:
    """Take the caller's INVITE over, and tell it what it knew: that we try, or that somebody rings."""
    caller = call.legs[call.a]
    usage = caller.usage
    if usage.incoming is not None:
        turn.commands.append(AdoptInvite(caller.id, usage.incoming.key, usage.flow))
    if call.ringing_at:
        usage_uas.repeat_provisional(usage, turn)
    else:
        usage_uas.trying(usage, turn)
    hunting.look_again(call, turn)


def _adopt_reinvites(leg: Leg, turn: Turn) -> None:
    """The re-INVITE of a party that the other one has not answered yet."""
    for key, asked in leg.usage.asked.items():
        if asked.method == "INVITE" and leg.usage.flow:
            trying = assemble(["SIP/2.0 100 Trying", *asked.head], b"", "")
            turn.commands.append(AdoptInvite(leg.id, key, leg.usage.flow))
            turn.commands.append(SendResponse(leg.id, key, 100, trying))


def _forget_reinvites(usage: Usage) -> None:
    """A re-INVITE failed for its sender when its connection broke (RFC 3261 §17.1.4): it takes no answer any more, and to wait
    for an ACK would end the call."""
    for key in [key for key, asked in usage.asked.items() if asked.method == "INVITE"]:
        del usage.asked[key]
    if usage.state == ESTABLISHED:
        usage_uas.forget_final(usage)


def _forget_connection(leg: Leg) -> None:
    """A stream connection ended with the node that had it: what went over it follows route set and Contact from now on."""
    usage = leg.usage
    dialog, invite = usage.dialog, usage.invite
    if _is_stream(usage.flow):
        usage.flow = ""
        _forget_reinvites(usage)
    if dialog is not None and _is_stream(dialog.target):
        dialog.target = ""
    if invite is not None and _is_stream(invite.hop):
        invite.hop = invite.routes[0].strip("<>") if invite.routes else invite.uri
        invite.bound = False
        for early in invite.early.values():
            early.dialog.target = ""
    for pending in usage.pending.values():
        if _is_stream(pending.hop):
            its = dialog or _early_dialog_of(invite, pending)
            if its is not None:  # else its INVITE is over, and it fails over the connection that is gone
                pending.hop = its.next_hop()


def _early_dialog_of(invite: OutgoingInvite | None, pending: Pending) -> Dialog | None:
    """The dialog in which a PRACK or UPDATE went out while it rang: the one of the fork that its To names."""
    for tag, early in invite.early.items() if invite is not None else ():
        if f";tag={tag}\r\n".encode() in pending.data:
            return early.dialog
    return None


def _is_stream(target: str) -> bool:
    return "|" in target and not target.startswith("udp|")
