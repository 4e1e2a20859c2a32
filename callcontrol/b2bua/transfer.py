"""Transfer: what a REFER asks for, and how the transferor is told of it (RFC 3515, RFC 4488, RFC 5589).

We never pass a REFER on: carriers do not take it, and the party to be moved may be no softphone.  Instead the B2BUA brings
the two parties together with the re-INVITEs of third-party call control (RFC 3725), see ``joining``:

- *dial* (blind): the target is called without a description; its 2xx brings an offer, which a re-INVITE puts to the party
  that is moved; that answer goes into the target's ACK.  Until the target answers nobody is disturbed.
- *join* (attended): both parties are in dialogs already; one is asked for an offer, the other gets it.
- *replace* (INVITE with Replaces): the newcomer's offer is put to the party that stays.

Only devices may transfer: whoever is behind a trunk would make calls in the name of the user who talks with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callcontrol.b2bua import dialling, hunting, joining, ringing, waking
from callcontrol.b2bua.causes import CAUSES
from callcontrol.b2bua.effects import JoinDialog, RouteTransfer
from callcontrol.b2bua.events import JoinPostponed, TransferRouted
from callcontrol.b2bua.joining import CONNECTING, DIAL, JOIN, ROUTING, WAITING, Transfer, let_go, tell
from callcontrol.b2bua.leg import ELSEWHERE, Leg
from callcontrol.b2bua.phases import TALKING
from callcontrol.sip import usage_requests
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.fields import Replaces, parse_name_addr, parse_replaces
from callcontrol.sip.uri import parse_uri, unescape
from callcontrol.sip.usage import ESTABLISHED, Turn
from callcontrol.sip.usage_events import Answered, Asked, Progress, Replied
from dialplan.plan import Refuse

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call

NO_NOTIFY: Final = "Refer-Sub: false"
MAX_REFERS: Final = 10
"""Transfers that one party may try in one call: each leaves legs and lines in its record."""


def owns(call: Call, leg: Leg) -> bool:
    """True for a leg that was made for the transfer under way."""
    return call.transfer is not None and leg.id not in (call.transfer.transferor, call.transfer.staying)


def connecting(call: Call) -> bool:
    """True while two parties are being brought together: no other offer can be made then."""
    return call.transfer is not None and call.transfer.stage == CONNECTING


# -- REFER ----------------------------------------------------------------------------------------------------------


def on_refer(call: Call, turn: Turn, leg: Leg, event: Asked) -> None:
    """Accept a REFER and find out where it leads."""
    message = event.message
    other = call.partner(leg.id)
    if not leg.device or call.phase != TALKING or other is None or leg.refers >= MAX_REFERS:
        usage_requests.respond(leg.usage, turn, event.key, 403, [], b"", "")
        return
    if call.transfer is not None or leg.usage.state != ESTABLISHED or other.usage.state != ESTABLISHED:
        usage_requests.respond(leg.usage, turn, event.key, 491, [], b"", "")
        return
    values = message.all("refer-to")
    try:
        target, replaces = _refer_target(values[0] if len(values) == 1 else "")
    except RemoteProtocolError:
        usage_requests.respond(leg.usage, turn, event.key, 400, [], b"", "")
        return
    notify = (message.get("refer-sub") or "").strip().lower() != "false"
    lines = [] if notify else [NO_NOTIFY]
    lines.append(leg.usage.contact(turn.env, leg.usage.flow))
    usage_requests.respond(leg.usage, turn, event.key, 202, lines, b"", "")
    leg.refers += 1
    move = Transfer(JOIN if replaces is not None else DIAL, leg.id, other.id, notify)
    if leg.refers > 1:
        move.event = (
            f"refer;id={message.cseq}"  # RFC 3515 §2.4.6: which of the REFERs of this dialog is meant
        )
    call.transfer = move
    call.deadlines["transfer"] = turn.now + call.env.total_ring_s
    call.note("transfer", move.kind, leg.device)
    tell(call, turn, 100, "Trying", False)
    if replaces is not None:
        call_id, to_tag, from_tag = replaces.call_id, replaces.to_tag, replaces.from_tag
        turn.commands.append(JoinDialog(leg.id, call_id, to_tag, from_tag, target))
    else:
        turn.commands.append(RouteTransfer(leg.id, target, leg.user, leg.device))


def _refer_target(value: str) -> tuple[str, Replaces | None]:
    """Refer-To -> (URI without its header part, the dialog that it asks to replace)."""
    uri = parse_name_addr(value).uri
    parsed = parse_uri(uri)
    if not parsed.is_sip and parsed.scheme not in ("tel", "urn"):  # an emergency service is a URN (RFC 5031)
        raise RemoteProtocolError(400, "Refer-To leads to no call")
    if (parsed.params.get("method") or "INVITE").upper() != "INVITE":
        raise RemoteProtocolError(400, "Refer-To asks for no INVITE")
    replaces = None
    for part in parsed.headers.split("&"):
        name, _, content = part.partition("=")
        if unescape(name).strip().lower() == "replaces":
            replaces = parse_replaces(unescape(content))
    return uri[: -len(parsed.headers) - 1] if parsed.headers else uri, replaces


def on_notified(call: Call, turn: Turn, leg: Leg, event: Replied) -> None:
    """The transferor knows that it worked: it may go.  Most phones hang up by themselves; those that do not are released."""
    if event.ref == "final" and leg.id not in (call.a, call.b) and leg.usage.state == ESTABLISHED:
        let_go(call, turn, leg)


# -- blind: dial the target -----------------------------------------------------------------------------------------


def on_routed(call: Call, turn: Turn, event: TransferRouted) -> None:
    """The dialplan decided on the target."""
    move = call.transfer
    if move is None or move.stage != ROUTING:
        call.ignore("transfer routed late")
        return
    if event.decision is None:
        joining.failed(call, turn, event.status)
        return
    move.kind = DIAL
    move.plan = event.decision.plan
    move.stage = WAITING
    call.note_all(event.decision.trace)
    call.best_status, call.best_reason, call.best_lines = 0, "", []
    call.waking = []  # of the ringing before: they know how it ended
    _run_step(call, turn, move)


def _run_step(call: Call, turn: Turn, move: Transfer) -> None:
    plan = move.plan
    while plan is not None and move.step < len(plan.steps):
        step = plan.steps[move.step]
        if isinstance(step, Refuse):
            joining.failed(call, turn, CAUSES[step.reason].status)
            return
        # the last one rings as long as the transfer may take
        if ringing.begin_step(call, turn, step, move.step + 1 < len(plan.steps)):
            return
        move.step += 1
    joining.failed(call, turn, call.best_status or 480)


def step_failed(call: Call, turn: Turn, move: Transfer) -> None:
    """Nothing came of the present step of the transfer's plan."""
    call.deadlines.pop("step", None)
    move.step += 1
    call.dirty = True
    _run_step(call, turn, move)


def on_progress(call: Call, turn: Turn, event: Progress) -> None:
    if event.status == 180:
        tell(call, turn, 180, "Ringing", False)


def on_answered(call: Call, turn: Turn, leg: Leg, event: Answered) -> None:
    """The target answered with an offer: put it to the party that is moved."""
    move = call.transfer
    leg.answered_at = turn.now
    leg.status = 200
    waiting = move is not None and move.stage == WAITING
    if move is None or not waiting or not event.body:
        dialling.drop(call, turn, leg, [dialling.ELSEWHERE_LINE], 200, ELSEWHERE, "server")
        if waiting:
            joining.failed(call, turn, 488)
        return
    dialling.cancel_others(call, turn, leg.id, [dialling.ELSEWHERE_LINE], ELSEWHERE)
    hunting.leave(call)
    call.seeks = []
    call.deadlines.pop("step", None)
    waking.on_answered(call, turn, leg.device)
    joining.begin(call, turn, move, leg.id)


# -- somebody leaves ------------------------------------------------------------------------------------------------


def on_party_gone(call: Call, turn: Turn, leg: Leg) -> bool:
    """Somebody left while a transfer is under way; True when the call goes on."""
    move = call.transfer
    if move is None:
        return False
    if leg.id == move.transferor:
        move.notify = False
        return True  # it may: the transfer goes on without it (RFC 5589 §6.1)
    if leg.id == move.target:
        joining.failed(call, turn, 480)
        return True
    return False


def on_newcomer_cancelled(call: Call, turn: Turn) -> None:
    """Who wanted to take somebody's place gave up."""
    if call.transfer is not None:
        joining.failed(call, turn, 487)


def on_postponed(call: Call, turn: Turn, event: JoinPostponed) -> None:
    """The call to be joined is negotiating."""
    move = call.transfer
    if move is None or move.stage != ROUTING:
        call.ignore("join postponed late")
        return
    move.retries += 1
    if move.retries > joining.MAX_JOINS:
        joining.failed(call, turn, 491)
        return
    move.join = [event.call_id, event.to_tag, event.from_tag, event.target]
    call.deadlines["join"] = turn.now + joining.JOIN_AGAIN_S
    call.dirty = True


def on_deadline(call: Call, turn: Turn, name: str) -> None:
    """``connect``: try the re-INVITE again after glare; ``join``: ask for the other call again; ``transfer``: it took too long."""
    if call.transfer is None:
        return
    if name == "connect":
        joining.connect(call, turn, call.transfer)
    elif name == "join":
        call_id, to_tag, from_tag, target = call.transfer.join
        turn.commands.append(JoinDialog(call.transfer.transferor, call_id, to_tag, from_tag, target))
    elif name == "transfer":
        joining.failed(call, turn, 408)


def on_connect_reply(call: Call, turn: Turn, leg: Leg, event: Replied) -> None:
    joining.on_reply(call, turn, leg, event)
