"""A call as lists of its fields, which the codec writes as MessagePack.

A call is packed at every step of it, so what every call is made of has a function of its own that names the fields in the order
of the class's ``*_FIELDS``; what is rarer goes through ``pack``.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

import msgspec

from callcontrol.b2bua.call import Call
from callcontrol.b2bua.callback import CALLBACK_FIELDS, Callback
from callcontrol.b2bua.hunting import HUNT_FIELDS, Hunting
from callcontrol.b2bua.joining import TRANSFER_FIELDS, Transfer
from callcontrol.b2bua.leg import LEG_FIELDS, Leg
from callcontrol.b2bua.records import stored_facts
from callcontrol.b2bua.seeking import SEEK_FIELDS, Seek
from callcontrol.b2bua.waking import WAKING_FIELDS, Waking
from callcontrol.sip.dialog import DIALOG_FIELDS, Dialog
from callcontrol.sip.usage import USAGE_FIELDS, Usage
from callcontrol.sip.usage_open import (
    ASKED_FIELDS,
    EARLY_FIELDS,
    INCOMING_FIELDS,
    INVITE_FIELDS,
    PENDING_FIELDS,
    RELIABLE_FIELDS,
    AskedState,
    Early,
    IncomingInvite,
    OutgoingInvite,
    Pending,
    Reliable,
)
from dialplan.plan import (
    DeviceTarget,
    Diversion,
    Forward,
    Hunt,
    Identity,
    Member,
    Plan,
    Refuse,
    Ring,
    Shown,
    SimTarget,
    ToMedia,
    ToSim,
    ToTrunk,
    TraceLine,
    WakeTarget,
)


class SnapshotError(ValueError):
    """The bytes are no snapshot that this version can read, or what is to be stored cannot be; the message says why."""


TAGS: Final[dict[type[Any], tuple[str, tuple[str, ...]]]] = {
    Leg: ("\0leg", LEG_FIELDS),
    Usage: ("\0usage", USAGE_FIELDS),
    Dialog: ("\0dialog", DIALOG_FIELDS),
    Pending: ("\0pending", PENDING_FIELDS),
    AskedState: ("\0asked", ASKED_FIELDS),
    OutgoingInvite: ("\0invite", INVITE_FIELDS),
    Early: ("\0early", EARLY_FIELDS),
    IncomingInvite: ("\0incoming", INCOMING_FIELDS),
    Reliable: ("\0reliable", RELIABLE_FIELDS),
    Transfer: ("\0transfer", TRANSFER_FIELDS),
    Waking: ("\0waking", WAKING_FIELDS),
    Callback: ("\0callback", CALLBACK_FIELDS),
    Hunting: ("\0hunting", HUNT_FIELDS),
    Seek: ("\0seek", SEEK_FIELDS),
}
VALUES: Final[dict[type[Any], str]] = {
    Plan: "\0plan",
    Identity: "\0identity",
    Diversion: "\0diversion",
    Ring: "\0ring",
    DeviceTarget: "\0device",
    ToTrunk: "\0trunk",
    ToSim: "\0sim",
    Refuse: "\0refuse",
    TraceLine: "\0trace",
    WakeTarget: "\0wake",
    SimTarget: "\0gsm",
    Member: "\0member",
    Hunt: "\0hunt",
    Forward: "\0forward",
    ToMedia: "\0media",
    Shown: "\0shown",
}
"""The dialplan's values, stored by field name: they grow in ways that this module does not know."""
VALUE_FIELDS: Final[dict[type[Any], tuple[str, ...]]] = {
    kind: tuple(kind.__dataclass_fields__) for kind in VALUES
}
_VALUE_GETTERS: Final[dict[type[Any], Callable[[Any], tuple[Any, ...]]]] = {
    kind: attrgetter(*names) for kind, names in VALUE_FIELDS.items()
}
_PLAIN: Final = frozenset((str, int, float, bool, bytes, type(None)))
_TAG_OF: Final[dict[type[Any], str]] = {kind: tag for kind, (tag, _) in TAGS.items()}
_GETTERS: Final[dict[type[Any], Callable[[Any], tuple[Any, ...]]]] = {
    kind: attrgetter(*names) for kind, (_, names) in TAGS.items()
}
_encoder: Final = msgspec.msgpack.Encoder()


def pack(value: Any) -> Any:
    """Anything that a call may hold, as what MessagePack knows.  Raises SnapshotError."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is list or kind is tuple:
        return [item if type(item) in _PLAIN else pack(item) for item in value]
    if kind is dict:
        return {key: item if type(item) in _PLAIN else pack(item) for key, item in value.items()}
    tag = _TAG_OF.get(kind)
    if tag is not None:
        return [tag, *[item if type(item) in _PLAIN else pack(item) for item in _GETTERS[kind](value)]]
    tag = VALUES.get(kind)
    if tag is not None:
        fields: dict[str, Any] = {}
        for name, item in zip(VALUE_FIELDS[kind], _VALUE_GETTERS[kind](value), strict=True):
            fields[name] = item if type(item) in _PLAIN else pack(item)
        return [tag, fields]
    raise SnapshotError(f"a {type(value).__name__} cannot be stored")


def of_call(call: Call, plan: Any, trace: Any) -> list[Any]:
    """The fields of a call in the order of ``CALL_FIELDS``; its plan and its trace as they are given."""
    return [
        call.ref,
        plan,
        trace,
        call.phase,
        call.step,
        {key: _leg(leg) for key, leg in call.legs.items()},
        call.count,
        call.a,
        call.b,
        call.started_at,
        call.ringing_at,
        call.answered_at,
        call.ended_at,
        call.reason,
        call.status,
        call.ended_by,
        call.deadlines,
        call.shown_status,
        call.best_status,
        call.best_reason,
        call.best_lines,
        call.tried,
        call.choosing,
        call.body,
        call.content_type,
        call.crossing,
        call.max_forwards,
        None if call.transfer is None else pack(call.transfer),
        call.dialled,
        call.ingress_trunk,
        call.device,
        call.over,
        pack(call.waking),
        None if call.callback is None else pack(call.callback),
        stored_facts(call),
        call.stage,
        None if call.hunt is None else pack(call.hunt),
        pack(call.seeks),
        call.sought,
        call.fallen,
        call.skipped,
        call.forwards,
    ]


def _leg(leg: Leg) -> list[Any]:
    return [
        "\0leg",
        leg.id,
        _usage(leg.usage),
        leg.role,
        leg.device_class,
        leg.user,
        leg.device,
        leg.trunk,
        leg.peer,
        leg.number,
        leg.binding,
        leg.address,
        leg.user_agent,
        leg.call_id,
        leg.started_at,
        leg.ringing_at,
        leg.answered_at,
        leg.ended_at,
        leg.status,
        leg.reason,
        leg.ended_by,
        leg.step,
        leg.foreign,
        leg.channel,
        leg.refers,
        leg.heard,
        leg.rang,
        leg.veil,
        leg.seek,
        leg.payer,
        leg.payer_user,
    ]


def _usage(usage: Usage) -> list[Any]:
    return [
        "\0usage",
        usage.leg,
        usage.scope,
        usage.uac,
        usage.state,
        usage.counter,
        None if usage.dialog is None else _dialog(usage.dialog),
        None if usage.invite is None else _invite(usage.invite),
        None if usage.incoming is None else _incoming(usage.incoming),
        {key: _pending(request) for key, request in usage.pending.items()},
        {key: _asked(request) for key, request in usage.asked.items()},
        usage.ack_data,
        usage.ack_branch,
        usage.ack_cseq,
        usage.ack_owed,
        usage.final_key,
        usage.final_data,
        usage.final_status,
        usage.final_cseq,
        usage.final_interval,
        usage.bye_wanted,
        usage.can_update,
        usage.refused_update,
        usage.local_body,
        usage.local_type,
        usage.remote_body,
        usage.remote_type,
        usage.session_interval,
        usage.refresher,
        usage.authorization,
        usage.deadlines,
        usage.flow,
        usage.early_cseq,
        usage.released,
        usage.contact_host,
    ]


def _dialog(dialog: Dialog) -> list[Any]:
    return [
        "\0dialog",
        dialog.call_id,
        dialog.local_tag,
        dialog.remote_tag,
        dialog.local_header,
        dialog.remote_header,
        dialog.local_cseq,
        dialog.remote_cseq,
        dialog.route_set,
        dialog.remote_target,
        dialog.target,
    ]


def _invite(invite: OutgoingInvite) -> list[Any]:
    return [
        "\0invite",
        invite.uri,
        invite.from_header,
        invite.to_header,
        invite.call_id,
        invite.cseq,
        invite.routes,
        invite.lines,
        invite.body,
        invite.content_type,
        invite.hop,
        invite.bound,
        invite.branch,
        invite.max_forwards,
        invite.min_se,
        invite.tries,
        invite.authorization,
        invite.cancel_lines,
        {
            tag: ["\0early", _dialog(each.dialog), each.rseq, each.body, each.content_type]
            for tag, each in invite.early.items()
        },
        invite.sent_by,
    ]


def _pending(request: Pending) -> list[Any]:
    return [
        "\0pending",
        request.method,
        request.purpose,
        request.ref,
        request.cseq,
        request.body,
        request.content_type,
        request.lines,
        request.tries,
        request.min_se,
        request.authorization,
        request.data,
        request.hop,
        request.cancelled,
    ]


def _asked(request: AskedState) -> list[Any]:
    return [
        "\0asked",
        request.method,
        request.head,
        request.cseq,
        request.body,
        request.content_type,
        request.interval,
        request.refresher,
        request.knows_timer,
        request.tag,
    ]


def _incoming(incoming: IncomingInvite) -> list[Any]:
    return [
        "\0incoming",
        incoming.key,
        incoming.head,
        incoming.cseq,
        incoming.knows_100rel,
        incoming.requires_100rel,
        incoming.knows_timer,
        incoming.has_offer,
        incoming.interval,
        incoming.refresher,
        incoming.fork_tags,
        incoming.shown,
        incoming.cseqs,
        incoming.rseqs,
        pack(incoming.reliable),
        incoming.reliable_interval,
        incoming.acknowledged,
        incoming.held_accept,
    ]


def stored_trace(call: Call) -> Any:
    """The decisions of a call; a line does not change, so each is encoded once."""
    lines, count = call.stored_trace, len(call.trace)
    for line in call.trace[len(lines) :]:
        lines.append(_encoder.encode(_line(line)))
    # an array as MessagePack has it: of up to 15, or of any length
    head = bytes((0x90 | count,)) if count < 16 else b"\xdd" + count.to_bytes(4, "big")
    return msgspec.Raw(head + b"".join(lines))


def _line(line: TraceLine) -> list[Any]:
    return [
        "\0trace",
        {"rule": line.rule, "outcome": line.outcome, "detail": line.detail, "at": line.at},
    ]


def stored_plan(call: Call) -> Any:
    """The plan, encoded once: it does not change."""
    if not call.stored_plan:
        call.stored_plan = _encoder.encode(pack(call.plan))
    return msgspec.Raw(call.stored_plan)
