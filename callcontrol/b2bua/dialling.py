"""Making callee legs: who is dialled how, with which identity (INC-05, INC-10, OUT-07).

What becomes of a leg is not decided here: see ``ringing`` and ``transfer``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callcontrol.b2bua.causes import NEVER, NEXT_TRUNK, failover
from callcontrol.b2bua.crossing import device_identity, from_value
from callcontrol.b2bua.effects import ChooseTrunk, PeerSilent
from callcontrol.b2bua.events import TrunkChosen
from callcontrol.b2bua.identity import TrunkProfile, apply_rules, trunk_lines
from callcontrol.b2bua.leg import CALLEE, Leg
from callcontrol.sip import usage_session, usage_uac
from callcontrol.sip.commands import UseTag
from callcontrol.sip.dialog import tagged
from callcontrol.sip.usage import CALLING, IdSource, Turn, Usage
from callcontrol.sip.usage_open import OutgoingInvite
from dialplan import reasons
from dialplan.plan import DeviceTarget, Forward, Hunt, Identity, Plan, Ring, ToMedia, ToTrunk

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call

ELSEWHERE_LINE: Final = 'Reason: SIP;cause=200;text="Call completed elsewhere"'
"""INC-07; phones that see it do not note a missed call."""
SILENCE: Final = "silence "
"""Start of the names of deadlines that watch a trunk leg without any response; the leg follows."""


def active_plan(call: Call) -> Plan:
    """The plan that is being carried out: a transfer has its own."""
    return call.plan if call.transfer is None else call.transfer.plan or call.plan


def presented(call: Call) -> tuple[Identity, str]:
    """Who calls, and for which number, as the legs of the present step show it: a forwarded call has changed both."""
    plan = active_plan(call)
    index = call.step if call.transfer is None else call.transfer.step
    step = plan.steps[index] if index < len(plan.steps) else None
    if isinstance(step, (Ring, Hunt, ToTrunk, Forward, ToMedia)) and step.shown is not None:
        return step.shown.caller, step.shown.called
    return plan.caller, plan.called


def _payer(call: Call) -> tuple[str, str]:
    """Cloud number that has the leg called, and its holder, where that is not the call's own (FWD-03)."""
    plan = active_plan(call)
    index = call.step if call.transfer is None else call.transfer.step
    step = plan.steps[index] if index < len(plan.steps) else None
    if isinstance(step, ToTrunk) and step.shown is not None and step.shown.number != plan.number:
        return step.shown.number, step.shown.user
    return "", ""


def offered_body(call: Call) -> tuple[bytes, str]:
    """The caller's description for a new leg, and its type; who is called for a transfer makes the offer itself."""
    if call.transfer is not None or not call.body:
        return b"", ""
    return call.body, call.content_type


def asserted_number(call: Call) -> str:
    """The caller's number for P-Asserted-Identity; empty: none."""
    caller, _ = presented(call)
    return caller.asserted or caller.number


def _new_leg(call: Call, turn: Turn) -> Leg:
    call.count += 1
    name = f"b{call.count}"
    leg = Leg(name, Usage(name, f"{call.ref}.{name}", uac=True), CALLEE, turn.now)
    leg.step = call.stage
    call.legs[name] = leg
    return leg


def dial_device(call: Call, turn: Turn, target: DeviceTarget, body: bytes, content_type: str) -> Leg:
    """Ring one registered contact.  Without a body the INVITE asks the device for the offer."""
    domain = call.env.domain
    identity, called = presented(call)
    leg = _new_leg(call, turn)
    leg.user = target.user
    leg.device = target.device
    leg.device_class = call.env.device_class(target.device)
    leg.number = called
    leg.binding = target.binding
    leg.address = target.flow or target.contact
    lines = device_identity(identity, domain, called, call.ref)
    caller = from_value(identity, domain, identity.number)
    hop = target.flow or (target.path[0].strip("<>") if target.path else target.contact)
    routes = [route if "<" in route else f"<{route}>" for route in target.path]
    aor, bound = f"<{target.aor}>", bool(target.flow)
    _invite(call, turn, leg, target.contact, caller, aor, routes, lines, body, content_type, hop, bound)
    return leg


def dial_uri(call: Call, turn: Turn, uri: str, shown: Identity, lines: list[str], address: str) -> Leg:
    """Call a URI that is neither a device's nor a carrier's: a media server.  ``address``: where it is, for everybody to
    read."""
    leg = _new_leg(call, turn)
    leg.address = address
    caller = from_value(shown, call.env.domain, shown.number)
    body, kind = offered_body(call)
    to = f"<{uri.partition(';')[0]}>"
    _invite(call, turn, leg, uri, caller, to, [], lines, body, kind, address, False)
    return leg


def choose_trunk(call: Call, turn: Turn, step: ToTrunk) -> None:
    """Ask for the next trunk peer; the answer comes back as ``TrunkChosen``."""
    call.choosing = True
    channel = f"{call.ref}.b{call.count + 1}"
    payer = step.shown.user if step.shown is not None else ""
    turn.commands.append(ChooseTrunk(step.number, asserted_number(call), list(call.tried), channel, payer))


def dial_peer(
    call: Call,
    turn: Turn,
    event: TrunkChosen,
    body: bytes,
    content_type: str,
    shown: Identity | None = None,
    number: str = "",
    tried: list[str] | None = None,
) -> Leg:
    """Dial the trunk peer that was picked; ``shown`` and ``number`` when they are not those of the step.

    ``tried``: where the attempt is noted; None: with the call.
    """
    profile = event.profile
    attempt = f"{event.trunk} {event.peer}"
    call.note("trunk", "chosen", attempt)
    (call.tried if tried is None else tried).append(attempt)
    leg = _new_leg(call, turn)
    leg.device_class = "trunk"
    leg.trunk = event.trunk
    leg.channel = event.channel or f"{call.ref}.{leg.id}"
    leg.usage.contact_host = profile.host
    leg.peer = event.peer
    caller_now, called_now = presented(call)
    identity = shown or caller_now
    leg.number = number or called_now
    if shown is None:
        leg.payer, leg.payer_user = _payer(call)
    leg.address = event.target
    domain = call.env.domain
    lines = trunk_lines(identity, profile, domain, event.caller_user, event.uri)
    caller = from_value(identity, profile.domain or domain, event.caller_user)
    call.deadlines[SILENCE + leg.id] = turn.now + call.env.silence_s
    to_header = f"<{event.uri}>"
    routes, hop = event.routes, event.target
    _invite(
        call, turn, leg, event.uri, caller, to_header, routes, lines, body, content_type, hop, False, profile
    )
    return leg


def _invite(
    call: Call,
    turn: Turn,
    leg: Leg,
    uri: str,
    caller: str,
    to_header: str,
    routes: list[str],
    lines: list[str],
    body: bytes,
    content_type: str,
    hop: str,
    bound: bool,
    profile: TrunkProfile | None = None,
) -> None:
    """Send the INVITE of a leg."""
    usage = leg.usage
    tag = usage.new_id(turn)
    leg.call_id = f"{usage.scope}.{usage.new_id(turn)}"
    turn.commands.append(UseTag(leg.id, tag))
    # whoever rings may hide, and so may the party of the call that is moved by a transfer
    leg.veil = active_plan(call).caller.hidden or call.plan.caller.hidden
    all_lines = [*lines, *leg.lines_for(call.crossing)]
    if leg.veil:
        body = leg.body_for(body, content_type)
    if profile is not None and profile.rules:
        all_lines = apply_rules(all_lines, profile.rules)
    request = OutgoingInvite(
        uri,
        tagged(caller, tag),
        to_header,
        leg.call_id,
        routes,
        all_lines,
        body,
        content_type,
        hop,
        bound,
        call.max_forwards,
    )
    usage_uac.invite(usage, turn, request)


def on_first_words(call: Call, turn: Turn, leg: Leg, status: int) -> None:
    """A trunk peer is not silent; after a mere 100 it has a little longer to say what becomes of the call."""
    waited = call.deadlines.pop(SILENCE + leg.id, None)
    if waited is not None and status == 100:
        call.deadlines[SILENCE + leg.id] = turn.now + call.env.progress_s


def may_go_on(call: Call, leg: Leg, status: int, q850: int, tried: list[str] | None = None) -> bool:
    """Whether another peer may be tried after the answer of this one; whoever heard ringing or media must not hear it anew.

    ``tried``: where attempts are noted; None: with the call.
    """
    scope = failover(status, q850)
    if scope == NEVER or leg.rang:
        return False
    if scope == NEXT_TRUNK:
        (call.tried if tried is None else tried).append(f"{leg.trunk} *")
    return True


def tried_words(tried: list[str]) -> str:
    """How many peers were tried, for the trace."""
    return f"{sum(1 for attempt in tried if not attempt.endswith(' *'))} tried"


def is_own_dialog(ids: IdSource, call_id: str, tag: str) -> bool:
    """Whether an INVITE of ours went out with this Call-ID and From tag: ``_invite`` makes both from the leg's scope."""
    scope, dot, unique = call_id.rpartition(".")
    return bool(dot) and tag == ids.make(scope, 1) and unique == ids.make(scope, 2)


def give_up_silent(call: Call, turn: Turn, leg: Leg) -> None:
    """The trunk peer said nothing, or nothing but 100: stop waiting for it, and have it tried last for a while."""
    turn.commands.append(PeerSilent(leg.trunk, leg.peer))
    drop(call, turn, leg, [], 408, reasons.TRUNK_FAILED, "server")
    call.note("leg", reasons.TRUNK_FAILED, f"{leg.peer} silent")


def drop(call: Call, turn: Turn, leg: Leg, lines: list[str], status: int, reason: str, ended_by: str) -> None:
    """Release a leg whose outcome is known; what is to be sent depends on its state."""
    usage_session.release(leg.usage, turn, lines)
    call.leg_done(turn, leg)
    leg.finish(turn.now, status, reason, ended_by)


def cancel_others(
    call: Call, turn: Turn, winner: str, lines: list[str], reason: str, ended_by: str = "server"
) -> None:
    """Stop every other callee leg that has no answer yet."""
    for leg in call.legs.values():
        if leg.role == CALLEE and leg.id != winner and leg.usage.state == CALLING:
            drop(call, turn, leg, lines, 487, silent_or(leg, reason), ended_by)


def silent_or(leg: Leg, reason: str) -> str:
    """Of a leg that rang too long; one that said nothing at all was not reached."""
    return reason if leg.heard or reason != reasons.NO_ANSWER else reasons.UNREACHABLE
