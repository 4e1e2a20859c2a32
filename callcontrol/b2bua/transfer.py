"""Transfer: blind and attended REFER, and INVITE with Replaces (RFC 3515, RFC 3891, RFC 5589, RFC 3725).

We never pass a REFER on: carriers do not take it, and the party to be moved may be no softphone.  Instead the B2BUA brings
the two parties together with the re-INVITEs of third-party call control:

- *dial* (blind): the target is called without a description; its 2xx brings an offer, which a re-INVITE puts to the party
  that is moved; that answer goes into the target's ACK.  Until the target answers nobody is disturbed.
- *join* (attended): both parties are in dialogs already; one is asked for an offer, the other gets it.
- *replace* (INVITE with Replaces): the newcomer's offer is put to the party that stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from callcontrol.b2bua import ringing, talking
from callcontrol.b2bua.causes import CAUSES, PHRASES, reason_lines
from callcontrol.b2bua.effects import JoinDialog, RouteTransfer
from callcontrol.b2bua.events import TransferRouted
from callcontrol.b2bua.leg import CALLEE, ELSEWHERE, Leg
from callcontrol.b2bua.phases import TALKING
from callcontrol.sip import usage_session, usage_uac, usage_uas
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.fields import parse_name_addr
from callcontrol.sip.uri import parse_uri
from callcontrol.sip.usage import (
    CALLING,
    ESTABLISHED,
    FOR_CONNECT,
    FOR_NOTIFY,
    INCOMING,
    Answered,
    Asked,
    Failed,
    Progress,
    Replied,
    Turn,
)
from dialplan import reasons
from dialplan.plan import Plan, Refuse, Ring, ToTrunk

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

CONNECT_S: Final = 20.0
"""How long the re-INVITEs that bring the parties together may take."""

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


def owns(call: Call, leg: Leg) -> bool:
    """True for a leg that was dialled for the transfer under way."""
    return call.transfer is not None and leg.id not in (call.transfer.transferor, call.transfer.staying)


# -- REFER ----------------------------------------------------------------------------------------------------------


def on_refer(call: Call, turn: Turn, leg: Leg, event: Asked) -> None:
    """Accept a REFER and find out where it leads."""
    message = event.message
    other = call.partner(leg.id)
    if call.phase != TALKING or other is None or other.usage.state != ESTABLISHED:
        usage_session.respond(leg.usage, turn, event.key, 403, [], b"", "")
        return
    if call.transfer is not None:
        usage_session.respond(leg.usage, turn, event.key, 491, [], b"", "")
        return
    values = message.all("refer-to")
    target, replaces = _refer_target(values[0]) if len(values) == 1 else ("", "")
    if not target:
        usage_session.respond(leg.usage, turn, event.key, 400, [], b"", "")
        return
    notify = (message.get("refer-sub") or "").strip().lower() != "false"
    lines = [] if notify else ["Refer-Sub: false"]
    lines.append(f"Contact: <{turn.env.contacts.uri(leg.usage.scope, leg.usage.flow)}>")
    usage_session.respond(leg.usage, turn, event.key, 202, lines, b"", "")
    move = Transfer(JOIN if replaces else DIAL, leg.id, other.id, notify)
    call.transfer = move
    call.deadlines["transfer"] = turn.now + call.env.total_ring_s
    call.note("transfer", move.kind, leg.device or leg.trunk or leg.id)
    _tell(call, turn, 100, "Trying", False)
    if replaces:
        call_id, to_tag, from_tag = _parse_replaces(replaces)
        turn.commands.append(JoinDialog(leg.id, call_id, to_tag, from_tag, target))
    else:
        turn.commands.append(RouteTransfer(leg.id, target, leg.user, leg.device))


def _refer_target(value: str) -> tuple[str, str]:
    """Refer-To -> (URI without headers, value of an embedded Replaces)."""
    try:
        uri = parse_name_addr(value).uri
        parsed = parse_uri(uri)
    except RemoteProtocolError:
        return "", ""
    if parsed.scheme not in ("sip", "sips", "tel"):
        return "", ""
    if (parsed.params.get("method") or "INVITE").upper() != "INVITE":
        return "", ""
    replaces = ""
    for part in parsed.headers.split("&"):
        name, _, content = part.partition("=")
        if name.lower() == "replaces":
            replaces = unquote(content)
    return uri.partition("?")[0], replaces


def _parse_replaces(value: str) -> tuple[str, str, str]:
    """``Replaces`` -> (Call-ID, to-tag, from-tag) (RFC 3891 §6.1)."""
    parts = [part.strip() for part in value.split(";")]
    to_tag = from_tag = ""
    for part in parts[1:]:
        name, _, content = part.partition("=")
        if name.lower() == "to-tag":
            to_tag = content
        elif name.lower() == "from-tag":
            from_tag = content
    return parts[0], to_tag, from_tag


def _tell(call: Call, turn: Turn, status: int, phrase: str, final: bool) -> None:
    """NOTIFY the transferor (RFC 3515 §2.4.4): a fragment of the response that the transfer got."""
    move = call.transfer
    leg = call.legs.get(move.transferor) if move is not None else None
    if move is None or leg is None or not move.notify or move.shown == status:
        return
    move.shown = status
    state = "terminated;reason=noresource" if final else "active;expires=90"
    lines = [
        "Event: refer",
        f"Subscription-State: {state}",
        f"Contact: <{turn.env.contacts.uri(leg.usage.scope, leg.usage.flow)}>",
    ]
    body = f"SIP/2.0 {status} {phrase}\r\n".encode()
    ref = "final" if final and status < 300 else ""
    usage_session.request(
        leg.usage, turn, "NOTIFY", FOR_NOTIFY, ref, lines, body, "message/sipfrag;version=2.0"
    )


def on_notified(call: Call, turn: Turn, leg: Leg, event: Replied) -> None:
    """The transferor knows that it worked: it may go.  Most phones hang up by themselves; those that do not are released."""
    if event.ref == "final" and leg.id not in (call.a, call.b) and leg.usage.state == ESTABLISHED:
        _let_go(call, turn, leg)


def _let_go(call: Call, turn: Turn, leg: Leg) -> None:
    usage_session.release(leg.usage, turn, ['Reason: SIP;cause=200;text="transferred"'])
    call.leg_done(turn, leg, 200)
    leg.finish(turn.now, 200, reasons.TRANSFERRED, "server")


# -- blind: dial the target -----------------------------------------------------------------------------------------


def on_routed(call: Call, turn: Turn, event: TransferRouted) -> None:
    """The dialplan decided on the target."""
    move = call.transfer
    if move is None or move.stage != ROUTING:
        call.ignore("transfer routed late")
        return
    if event.decision is None:
        failed(call, turn, event.status)
        return
    move.kind = DIAL
    move.plan = event.decision.plan
    move.stage = WAITING
    call.trace.extend(event.decision.trace)
    _run_step(call, turn, move)


def _run_step(call: Call, turn: Turn, move: Transfer) -> None:
    plan = move.plan
    if plan is None or move.step >= len(plan.steps):
        failed(call, turn, 480)
        return
    step = plan.steps[move.step]
    if isinstance(step, Refuse):
        failed(call, turn, CAUSES[step.reason].status)
    elif isinstance(step, ToTrunk):
        call.tried = []
        ringing.choose_trunk(call, turn, step)
    elif isinstance(step, Ring):
        for target in step.targets:
            ringing.dial_device(call, turn, target, b"", "")
        if not step.targets:
            failed(call, turn, 480)


def step_failed(call: Call, turn: Turn, status: int) -> None:
    """Nothing came of the present step of the transfer's plan."""
    move = call.transfer
    if move is None:
        return
    move.step += 1
    if move.plan is not None and move.step < len(move.plan.steps):
        _run_step(call, turn, move)
    else:
        failed(call, turn, status)


def on_progress(call: Call, turn: Turn, event: Progress) -> None:
    if event.status == 180:
        _tell(call, turn, 180, "Ringing", False)


def on_failed(call: Call, turn: Turn, leg: Leg, event: Failed) -> None:
    """A target of the transfer did not answer."""
    move = call.transfer
    leg.finish(turn.now, event.status, reasons.UNREACHABLE if not event.cancelled else ELSEWHERE, "callee")
    if move is None or event.cancelled or move.stage != WAITING:
        return
    if leg.trunk:
        ringing.next_peer(call, turn, event.status)
    elif not any(other.usage.state == CALLING and owns(call, other) for other in call.legs.values()):
        step_failed(call, turn, event.status)


def on_answered(call: Call, turn: Turn, leg: Leg, event: Answered) -> None:
    """The target answered with an offer: put it to the party that is moved."""
    move = call.transfer
    leg.answered_at = turn.now
    staying = call.legs.get(move.staying) if move is not None else None
    if move is None or move.stage != WAITING or staying is None or not event.body:
        usage_session.release(leg.usage, turn, [ringing.ELSEWHERE_LINE])
        call.leg_done(turn, leg, 200)
        leg.finish(turn.now, 200, ELSEWHERE, "server")
        if move is not None and move.stage == WAITING:
            failed(call, turn, 488)
        return
    ringing.cancel_others(call, turn, leg.id, [ringing.ELSEWHERE_LINE], ELSEWHERE)
    move.target = leg.id
    move.stage = CONNECTING
    call.deadlines["transfer"] = turn.now + CONNECT_S
    _connect(call, turn, move)


# -- bringing two parties together ----------------------------------------------------------------------------------


def _connect(call: Call, turn: Turn, move: Transfer) -> None:
    """Send the re-INVITE to the party that stays: with the target's offer, or asking for one."""
    staying = call.legs.get(move.staying)
    target = call.legs.get(move.target)
    if staying is None or target is None:
        failed(call, turn, 480)
        return
    usage = staying.usage
    if usage.state != ESTABLISHED or usage.pending_offer() or usage.asked_offer() or usage.final_data:
        _later(call, turn, move)
        return
    staying.foreign = True
    body, kind = b"", ""
    if move.kind == DIAL or (move.kind == REPLACE and target.usage.remote_body):
        kind = target.usage.remote_type
        body = talking.body_for(staying, target.usage.remote_body, kind)
    usage_session.request(usage, turn, "INVITE", FOR_CONNECT, "staying", [], body, kind)


def _later(call: Call, turn: Turn, move: Transfer) -> None:
    move.retries += 1
    if move.retries > 6:
        failed(call, turn, 491)
        return
    staying = call.legs[move.staying]
    call.deadlines["connect"] = turn.now + usage_session.glare_delay(staying.usage, turn)


def on_connect_reply(call: Call, turn: Turn, leg: Leg, event: Replied) -> None:
    """A re-INVITE of ours was answered."""
    move = call.transfer
    message = event.message
    if move is None:
        if event.status < 300 and leg.usage.ack_owed:
            usage_uac.acknowledge(leg.usage, turn, b"", "")
        return
    if event.status == 491:
        _later(call, turn, move)
        return
    target = call.legs.get(move.target)
    staying = call.legs.get(move.staying)
    if event.status >= 300 or message is None or target is None or staying is None:
        failed(call, turn, event.status if event.status < 500 else 480)
        return
    kind = leg.usage.remote_type
    if event.ref == "staying" and move.kind == DIAL:
        usage_uac.acknowledge(staying.usage, turn, b"", "")
        usage_uac.acknowledge(target.usage, turn, message.body, kind)
        _done(call, turn, move)
    elif event.ref == "staying" and move.kind == JOIN:
        target.foreign = True
        body = talking.body_for(target, message.body, kind)
        usage_session.request(target.usage, turn, "INVITE", FOR_CONNECT, "target", [], body, kind)
    elif event.ref == "target":
        usage_uac.acknowledge(target.usage, turn, b"", "")
        usage_uac.acknowledge(staying.usage, turn, talking.body_for(staying, message.body, kind), kind)
        _done(call, turn, move)
    elif event.ref == "staying":
        target.answered_at = turn.now
        target.status = 200
        offered = bool(target.usage.remote_body)
        usage_uas.accept(target.usage, turn, "", [], message.body, kind)
        if offered:
            usage_uac.acknowledge(staying.usage, turn, b"", "")
        _done(call, turn, move)


def _done(call: Call, turn: Turn, move: Transfer) -> None:
    """The new pair talks."""
    call.note("transfer", reasons.TRANSFERRED, move.target)
    _tell(call, turn, 200, "OK", True)
    call.a, call.b = move.staying, move.target
    call.deadlines.pop("transfer", None)
    call.deadlines.pop("connect", None)
    call.transfer = None
    leaving = call.legs.get(move.transferor)
    if leaving is not None and (move.kind == REPLACE or not move.notify):
        _let_go(call, turn, leaving)
    call.dirty = True


def failed(call: Call, turn: Turn, status: int) -> None:
    """The transfer came to nothing: tell the transferor; if it is gone already, the call is over."""
    move = call.transfer
    if move is None:
        return
    call.note("transfer", "failed", str(status))
    _tell(call, turn, status, PHRASES.get(status, "Failed"), True)
    call.transfer = None
    call.choosing = False
    call.deadlines.pop("transfer", None)
    call.deadlines.pop("connect", None)
    for leg in list(call.legs.values()):
        if leg.id in (call.a, call.b) or leg.id in (move.transferor, move.staying):
            continue
        if leg.usage.state == INCOMING:
            refusal = reason_lines(reasons.UNREACHABLE, status)
            usage_uas.refuse(leg.usage, turn, status, PHRASES.get(status, "Failed"), refusal)
        elif leg.usage.state in (CALLING, ESTABLISHED):
            usage_session.release(leg.usage, turn, [])
        call.leg_done(turn, leg, status)
        leg.finish(turn.now, status, reasons.UNREACHABLE, "server")
    transferor = call.legs.get(move.transferor)
    staying = call.legs.get(move.staying)
    if transferor is None or staying is None or transferor.ended_at or staying.ended_at:
        call.end(turn, reasons.NORMAL_CLEARING, 200, "server", [])
    elif staying.usage.ack_owed:
        usage_uac.acknowledge(staying.usage, turn, b"", "")


def on_party_gone(call: Call, turn: Turn, leg: Leg) -> bool:
    """Somebody left while the transfer is under way; True when the call goes on."""
    move = call.transfer
    if move is None:
        return False
    if leg.id == move.transferor:
        move.notify = False
        return True  # it may: the transfer goes on without it (RFC 5589 §6.1)
    if leg.id == move.target:
        failed(call, turn, 480)
        return True
    return False


def on_deadline(call: Call, turn: Turn, name: str) -> None:
    """``connect``: try the re-INVITE again after glare; ``transfer``: it took too long."""
    move = call.transfer
    if move is None:
        return
    if name == "connect":
        _connect(call, turn, move)
    elif name == "transfer":
        failed(call, turn, 408)


# -- legs that come from elsewhere ----------------------------------------------------------------------------------


def adopt(call: Call, turn: Turn, leg: Leg) -> None:
    """Take the established leg of another call (attended transfer) and connect it with the party that stays."""
    move = call.transfer
    call.count += 1
    leg.id = f"b{call.count}"
    leg.usage.leg = leg.id
    leg.role = CALLEE
    call.legs[leg.id] = leg
    if move is None or move.stage != ROUTING:
        usage_session.release(leg.usage, turn, [])
        return
    move.kind = JOIN
    move.target = leg.id
    move.stage = CONNECTING
    call.deadlines["transfer"] = turn.now + CONNECT_S
    _connect(call, turn, move)


def give(call: Call, turn: Turn, leg_id: str) -> Leg | None:
    """Hand the partner of ``leg_id`` over to another call; this call ends.  None when it cannot be given now."""
    leg = call.legs.get(leg_id)
    other = call.partner(leg_id)
    if call.phase != TALKING or leg is None or other is None or call.transfer is not None:
        return None
    if other.usage.state != ESTABLISHED or other.usage.pending_offer() or other.usage.asked_offer():
        return None
    del call.legs[other.id]
    call.note("transfer", reasons.TRANSFERRED, "given to another call")
    call.end(turn, reasons.TRANSFERRED, 200, leg.role, [])
    return other


def replace(call: Call, turn: Turn, old: str, newcomer: Leg) -> bool:
    """An INVITE with Replaces: ``newcomer`` (its INVITE is open) takes the place of ``old``; False when it cannot now."""
    leg = call.legs.get(old)
    other = call.partner(old)
    if call.phase != TALKING or leg is None or other is None or call.transfer is not None:
        return False
    if other.usage.state != ESTABLISHED:
        return False
    call.legs[newcomer.id] = newcomer
    move = Transfer(REPLACE, old, other.id, False)
    move.target = newcomer.id
    move.stage = CONNECTING
    call.transfer = move
    call.deadlines["transfer"] = turn.now + CONNECT_S
    call.note("transfer", REPLACE, newcomer.device or newcomer.id)
    _connect(call, turn, move)
    return True
