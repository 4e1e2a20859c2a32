"""Bringing two parties together that each have a dialog with us (RFC 3725), and taking legs over from other calls.

The party that stays gets a re-INVITE first: with the description that is there already, or asking for one.  If anything goes
wrong, it keeps the session that it had.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callcontrol.b2bua import waking
from callcontrol.b2bua.causes import end_line, phrase_of, reason_lines
from callcontrol.b2bua.dialling import drop
from callcontrol.b2bua.leg import CALLEE, CALLER, Leg
from callcontrol.b2bua.phases import TALKING
from callcontrol.sip import usage_session, usage_uac, usage_uas
from callcontrol.sip.message import Message
from callcontrol.sip.usage import (
    CALLING,
    ESTABLISHED,
    FOR_CONNECT,
    FOR_NOTIFY,
    INCOMING,
    Turn,
    body_type,
)
from callcontrol.sip.usage_events import Replied
from callcontrol.sip.usage_requests import answer_open_requests
from dialplan import reasons
from dialplan.plan import Plan

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call

# kinds
DIAL: Final = "dial"
JOIN: Final = "join"
REPLACE: Final = "replace"
# stages
ROUTING: Final = "routing"
WAITING: Final = "waiting"
"""The target rings."""
CONNECTING: Final = "connecting"

RESTORE: Final = "restore"
"""``ref`` of the re-INVITE that gives a party its old partner back."""

CONNECT_S: Final = 20.0
"""How long the re-INVITEs that bring the parties together may take."""
MAX_RETRIES: Final = 6
JOIN_AGAIN_S: Final = 0.2
"""A party of the other call is just negotiating (many phones send a re-INVITE as soon as they are answered): wait a little."""
MAX_JOINS: Final = 25

TRANSFER_FIELDS: Final = (
    "kind",
    "stage",
    "transferor",
    "staying",
    "target",
    "plan",
    "step",
    "notify",
    "shown",
    "retries",
    "event",
    "join",
)


class Transfer:
    """A transfer under way."""

    __slots__ = TRANSFER_FIELDS

    def __init__(self, kind: str, transferor: str, staying: str, notify: bool) -> None:
        self.kind = kind
        self.stage = ROUTING
        self.transferor = transferor
        """Leg that asked for it; it leaves."""
        self.staying = staying
        """Leg of the party that is moved."""
        self.target = ""
        """Leg of the party that it is moved to, as soon as there is one."""
        self.plan: Plan | None = None
        self.step = 0
        self.notify = notify
        self.shown = 0
        """Last status that the transferor was told."""
        self.retries = 0
        self.event = "refer"
        """Event header of the NOTIFYs."""
        self.join: list[str] = []
        """The dialog to be joined as soon as its parties have agreed: Call-ID, to-tag, from-tag, target URI."""


def tell(call: Call, turn: Turn, status: int, phrase: str, final: bool) -> None:
    """NOTIFY the transferor (RFC 3515 §2.4.4): a fragment of the response that the transfer got."""
    move = call.transfer
    leg = call.legs.get(move.transferor) if move is not None else None
    if move is None or leg is None or not move.notify or (move.shown == status and not final):
        return
    move.shown = status
    state = "terminated;reason=noresource" if final else "active;expires=90"
    lines = [
        f"Event: {move.event}",
        f"Subscription-State: {state}",
        leg.usage.contact(turn.env, leg.usage.flow),
    ]
    body = f"SIP/2.0 {status} {phrase}\r\n".encode()
    ref = "final" if final and status < 300 else ""
    usage_session.request(
        leg.usage, turn, "NOTIFY", FOR_NOTIFY, ref, lines, body, "message/sipfrag;version=2.0"
    )


def let_go(call: Call, turn: Turn, leg: Leg) -> None:
    """Release a party that was transferred away from."""
    line = end_line(reasons.TRANSFERRED, 200)
    drop(call, turn, leg, [line], 200, reasons.TRANSFERRED, "server")


# -- connecting -----------------------------------------------------------------------------------------------------


def begin(call: Call, turn: Turn, move: Transfer, target: str) -> None:
    """The target has a dialog with us: start to connect it with the party that stays."""
    move.target = target
    move.stage = CONNECTING
    call.deadlines["transfer"] = turn.now + CONNECT_S
    connect(call, turn, move)


def connect(call: Call, turn: Turn, move: Transfer) -> None:
    """Send the next re-INVITE: to the party that stays, or, when its offer is there, to the target."""
    staying = call.legs.get(move.staying)
    target = call.legs.get(move.target)
    if staying is None or target is None:
        failed(call, turn, 480)
        return
    usage = staying.usage
    if move.kind == JOIN and usage.ack_owed:
        _offer_to_target(call, turn, move, staying, target)
        return
    if usage.state != ESTABLISHED or usage.busy():
        _later(call, turn, move, staying)
        return
    staying.foreign = True
    body, kind = b"", ""
    if move.kind != JOIN:
        kind = target.usage.remote_type
        body = staying.body_for(target.usage.remote_body, kind)
    usage_session.request(usage, turn, "INVITE", FOR_CONNECT, "staying", [], body, kind)


def _offer_to_target(call: Call, turn: Turn, move: Transfer, staying: Leg, target: Leg) -> None:
    usage = target.usage
    if usage.state != ESTABLISHED or usage.busy():
        _later(call, turn, move, target)
        return
    target.foreign = True
    kind = staying.usage.remote_type
    body = target.body_for(staying.usage.remote_body, kind)
    usage_session.request(usage, turn, "INVITE", FOR_CONNECT, "target", [], body, kind)


def _later(call: Call, turn: Turn, move: Transfer, leg: Leg) -> None:
    """Somebody else's offer is in the way: back off as after any glare (RFC 3261 §14.1)."""
    move.retries += 1
    if move.retries > MAX_RETRIES:
        failed(call, turn, 491)
    else:
        call.deadlines["connect"] = turn.now + usage_session.glare_delay(leg.usage, turn)


def on_reply(call: Call, turn: Turn, leg: Leg, event: Replied) -> None:
    """A re-INVITE of ours was answered."""
    move = call.transfer
    message = event.message
    if move is None or move.stage != CONNECTING or leg.id not in (move.staying, move.target):
        if leg.usage.ack_owed:
            _too_late(call, turn, leg, event)
        return
    if event.status == 491:
        _later(call, turn, move, leg)
        return
    target = call.legs.get(move.target)
    staying = call.legs.get(move.staying)
    if event.status >= 300 or message is None or target is None or staying is None:
        failed(call, turn, event.status if 400 <= event.status < 500 else 480)
    elif event.ref == "target":
        _both_agreed(call, turn, move, staying, target, message)
    elif move.kind == DIAL:
        usage_uac.acknowledge(staying.usage, turn, b"", "")
        kind = body_type(message)
        usage_uac.acknowledge(target.usage, turn, target.body_for(message.body, kind), kind)
        _done(call, turn, move)
    elif move.kind == JOIN:
        _offer_to_target(call, turn, move, staying, target)
    else:
        _accept_newcomer(call, turn, move, staying, target, message)


def _too_late(call: Call, turn: Turn, leg: Leg, event: Replied) -> None:
    """The transfer failed meanwhile: the party goes on with whom it talked."""
    usage = leg.usage
    if not event.offered:
        # it was asked for an offer; what it hears again is the party that it talked with
        usage_uac.acknowledge(usage, turn, usage.local_body, usage.local_type)
        return
    usage_uac.acknowledge(usage, turn, b"", "")
    other = call.partner(leg.id)
    if event.ref != RESTORE and other is not None and other.usage.state == ESTABLISHED:
        kind = other.usage.remote_type
        body = leg.body_for(other.usage.remote_body, kind)
        usage_session.request(usage, turn, "INVITE", FOR_CONNECT, RESTORE, [], body, kind)


def _both_agreed(call: Call, turn: Turn, move: Transfer, staying: Leg, target: Leg, message: Message) -> None:
    kind = body_type(message)
    usage_uac.acknowledge(target.usage, turn, b"", "")
    usage_uac.acknowledge(staying.usage, turn, staying.body_for(message.body, kind), kind)
    _done(call, turn, move)


def _accept_newcomer(
    call: Call, turn: Turn, move: Transfer, staying: Leg, newcomer: Leg, message: Message
) -> None:
    newcomer.answered_at = turn.now
    newcomer.status = 200
    offered = bool(newcomer.usage.remote_body)
    usage_uas.accept(newcomer.usage, turn, "", [], message.body, body_type(message))
    if offered:
        usage_uac.acknowledge(staying.usage, turn, b"", "")
    # else the newcomer's ACK brings the answer
    _done(call, turn, move)


def _done(call: Call, turn: Turn, move: Transfer) -> None:
    """The new pair talks."""
    call.note("transfer", reasons.TRANSFERRED, move.target)
    tell(call, turn, 200, "OK", True)
    call.a, call.b = move.staying, move.target
    for name in ("transfer", "connect", "join"):
        call.deadlines.pop(name, None)
    call.transfer = None
    leaving = call.legs.get(move.transferor)
    if leaving is not None and not leaving.ended_at and not move.notify:
        let_go(call, turn, leaving)
    call.dirty = True


def failed(call: Call, turn: Turn, status: int) -> None:
    """The transfer came to nothing: tell the transferor; if it is gone already, the call is over."""
    move = call.transfer
    if move is None:
        return
    call.note("transfer", "failed", str(status))
    waking.on_given_up(call, turn)
    tell(call, turn, status, phrase_of(status), True)
    call.transfer = None
    call.choosing = False
    call.hunt = None
    call.seeks = []
    for name in ("transfer", "connect", "join", "step", "hunt"):
        call.deadlines.pop(name, None)
    call.dirty = True
    reason = reasons.CALLER_CANCELLED if status == 487 else reasons.UNREACHABLE
    for leg in list(call.legs.values()):
        if leg.id in (call.a, call.b):
            continue
        if leg.usage.state == INCOMING:
            usage_uas.refuse(leg.usage, turn, status, phrase_of(status), reason_lines(reason, status))
        elif leg.usage.state in (CALLING, ESTABLISHED):
            drop(call, turn, leg, [], status, reason, "server")
        leg.finish(turn.now, status, reason, "server")
    transferor = call.legs.get(move.transferor)
    staying = call.legs.get(move.staying)
    if transferor is None or staying is None or transferor.ended_at or staying.ended_at:
        call.end(turn, reasons.NORMAL_CLEARING, 200, "server", [])
    elif staying.usage.ack_owed:
        # it was asked for an offer; what it hears again is the party that it talked with
        usage_uac.acknowledge(staying.usage, turn, staying.usage.local_body, staying.usage.local_type)


# -- legs that come from elsewhere ----------------------------------------------------------------------------------


def adopt(call: Call, turn: Turn, leg: Leg) -> None:
    """Take the established leg of another call (attended transfer) and connect it with the party that stays."""
    move = call.transfer
    call.count += 1
    leg.id = f"b{call.count}"
    leg.usage.leg = leg.id
    leg.role = CALLEE
    leg.veil = leg.veil or call.plan.caller.hidden
    leg.answered_at = turn.now  # what it did before is in the record of the call that it left
    call.legs[leg.id] = leg
    call.dirty = True
    if move is None or move.stage != ROUTING:
        let_go(call, turn, leg)
        return
    move.kind = JOIN
    move.retries = 0
    begin(call, turn, move, leg.id)


def give(call: Call, turn: Turn, leg_id: str) -> Leg | None:
    """Hand the partner of ``leg_id`` over to another call; this call ends.  None when it cannot be given now.

    The record of this call still tells of the party that left it.
    """
    leg = call.legs.get(leg_id)
    other = call.partner(leg_id)
    if call.phase != TALKING or leg is None or other is None or call.transfer is not None:
        return None
    if other.usage.state != ESTABLISHED or other.usage.busy():
        return None
    # what it has asked was for the party that it leaves, whose answer could not be told any more
    answer_open_requests(other.usage, turn, 487)
    call.legs[other.id] = other.husk()
    call.end(turn, reasons.TRANSFERRED, 200, leg.role, [])
    return other


def is_negotiating(call: Call, leg_id: str) -> bool:
    """The partner of ``leg_id`` could be given to another call, were no offer of it under way."""
    other = call.partner(leg_id)
    talking = call.phase == TALKING and call.transfer is None
    return talking and other is not None and other.usage.state == ESTABLISHED and other.usage.busy()


def replace(call: Call, turn: Turn, old: str, newcomer: Leg) -> bool:
    """An INVITE with Replaces: ``newcomer`` (its INVITE is open) takes the place of ``old``; False when it cannot now."""
    leg = call.legs.get(old)
    other = call.partner(old)
    if call.phase != TALKING or leg is None or other is None or call.transfer is not None:
        return False
    if leg.usage.state != ESTABLISHED or other.usage.state != ESTABLISHED:
        return False
    newcomer.role = CALLER if leg.role == CALLER else CALLEE
    call.legs[newcomer.id] = newcomer
    move = Transfer(REPLACE, old, other.id, False)
    call.transfer = move
    call.note("transfer", REPLACE, newcomer.device or newcomer.id)
    call.dirty = True
    begin(call, turn, move, newcomer.id)
    return True
