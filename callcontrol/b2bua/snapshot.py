"""The codec of a call: everything another node needs to go on with it (LIVE-02).

Explicit, versioned MessagePack: a call is a list of its fields, and so is every object in it, headed by a tag.  Unknown tags
and unknown schema numbers are refused; fields are only ever added at the end of their list, with a default on loading, so
that two versions of the program can run side by side.  Plans are stored as msgspec stores dataclasses, by field name.
Transactions, sockets and settings are never stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from callcontrol.b2bua.call import CALL_FIELDS, Call
from callcontrol.b2bua.callback import Callback
from callcontrol.b2bua.effects import Effect, Push, TrunkReleased
from callcontrol.b2bua.env import CallEnv
from callcontrol.b2bua.hunting import Hunting
from callcontrol.b2bua.joining import Transfer
from callcontrol.b2bua.leg import Leg
from callcontrol.b2bua.packing import (
    TAGS,
    VALUE_FIELDS,
    VALUES,
    SnapshotError,
    of_call,
    pack,
    stored_plan,
    stored_trace,
)
from callcontrol.b2bua.seeking import Seek
from callcontrol.b2bua.waking import Waking
from callcontrol.sip.commands import SendAck, SendResponse
from callcontrol.sip.dialog import Dialog
from callcontrol.sip.usage import Usage
from callcontrol.sip.usage_open import AskedState, Early, IncomingInvite, OutgoingInvite, Pending, Reliable
from dialplan.plan import Plan

__all__ = ["SCHEMA", "SnapshotError", "dump", "load", "outbox", "phase_of"]

SCHEMA: Final = 1


_PHASE_AT: Final = CALL_FIELDS.index("phase")
_encoder: Final = msgspec.msgpack.Encoder()
_buffer: Final = bytearray(8192)
"""Where snapshots are written: it need not grow anew for each."""
_decoder: Final = msgspec.msgpack.Decoder()


def dump(call: Call, unsent: Sequence[Effect] = ()) -> bytes:
    """The call as bytes, with the effects that are to be performed after the save."""
    outbox = [packed for effect in unsent if (packed := _pack_effect(effect))]
    try:
        fields = of_call(call, stored_plan(call), stored_trace(call))
        _encoder.encode_into([SCHEMA, fields, outbox], _buffer)
        return bytes(_buffer)
    except UnicodeEncodeError:
        fields = of_call(call, pack(call.plan), pack(call.trace))
        return _encoder.encode([SCHEMA, _escape(fields), outbox])


def load(data: bytes, env: CallEnv) -> Call:
    """The call back from its bytes.  Raises SnapshotError."""
    fields = _read(data)[1]
    values = {name: _unpack(value) for name, value in zip(CALL_FIELDS, fields, strict=False)}
    plan = values.get("plan")
    if not isinstance(plan, Plan):
        raise SnapshotError("snapshot without a plan")
    call = Call(values["ref"], plan, (), env)
    for name, value in values.items():
        setattr(call, name, value)
    if "stage" not in values:
        call.stage = call.step  # versions before hunts numbered offers like steps
    return call


def phase_of(data: bytes) -> int:
    """The phase of the call (``phases``).  Raises SnapshotError."""
    phase: int = _read(data)[1][_PHASE_AT]
    return phase


def outbox(data: bytes) -> list[Effect]:
    """The effects that were to be performed after the save, in order.  Raises SnapshotError."""
    return [_unpack_effect(packed) for packed in _read(data)[2]]


def _read(data: bytes) -> list[Any]:
    try:
        found = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise SnapshotError(f"not a snapshot: {error}") from error
    if not isinstance(found, list) or len(found) < 3:
        raise SnapshotError("not a snapshot")
    if found[0] != SCHEMA:
        raise SnapshotError(f"snapshot of schema {found[0]}; this version reads {SCHEMA}")
    return found


def _pack_effect(effect: Effect) -> list[Any]:
    """An effect that another node has to repeat; empty for the others."""
    if isinstance(effect, SendResponse):
        return ["response", effect.leg, effect.key, effect.status, effect.data]
    if isinstance(effect, SendAck):
        return ["ack", effect.leg, effect.branch, effect.data, effect.target]
    if isinstance(effect, TrunkReleased):
        return ["released", effect.trunk, effect.channel]
    if isinstance(effect, Push):
        told = [effect.number, effect.caller, effect.reason, effect.at, effect.ttl_s]
        return ["push", effect.device, effect.kind, *told]
    return []


def _unpack_effect(packed: list[Any]) -> Effect:
    match packed:
        case ["response", leg, key, status, data]:
            return SendResponse(leg, key, status, data)
        case ["ack", leg, branch, data, target]:
            return SendAck(leg, branch, data, target)
        case ["released", trunk, channel]:
            return TrunkReleased(trunk, channel)
        case ["push", device, kind, number, caller, reason, at, ttl_s]:
            return Push(device, kind, number, caller, reason, at, ttl_s)
    raise SnapshotError(f"unknown effect {packed[:1]!r}")


def _escape(packed: Any) -> Any:
    """Headers may hold bytes that are no UTF-8; such text is stored as the bytes that it was."""
    if isinstance(packed, str):
        data = packed.encode("utf-8", "surrogateescape")
        return packed if packed.isascii() or _is_utf8(data) else ["\0raw", data]
    if isinstance(packed, list):
        return [_escape(item) for item in packed]
    if isinstance(packed, dict):
        if all(isinstance(_escape(key), str) for key in packed):
            return {key: _escape(item) for key, item in packed.items()}
        return ["\0map", *[[_escape(key), _escape(item)] for key, item in packed.items()]]
    return packed


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


_MAKERS: Final[dict[str, tuple[type[Any], tuple[str, ...]]]] = {
    tag: (kind, names) for kind, (tag, names) in TAGS.items()
}


def _unpack(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unpack(item) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    head = value[0] if value else None
    if not isinstance(head, str) or not head.startswith("\0"):
        return [_unpack(item) for item in value]
    if head == "\0raw":
        return value[1].decode("utf-8", "surrogateescape")
    if head == "\0map":
        return {_unpack(key): _unpack(item) for key, item in value[1:]}
    made_value = _VALUE_MAKERS.get(head)
    if made_value is not None:
        return _value(made_value, value[1])
    maker = _MAKERS.get(head)
    if maker is None:
        raise SnapshotError(f"unknown tag {head[1:]!r}")
    kind, names = maker
    made = _blank(kind)
    for name, item in zip(names, value[1:], strict=False):
        setattr(made, name, _unpack(item))
    return made


_VALUE_MAKERS: Final[dict[str, type[Any]]] = {tag: kind for kind, tag in VALUES.items()}


def _value(kind: type[Any], fields: dict[str, Any]) -> Any:
    known = VALUE_FIELDS[kind]
    values: dict[str, Any] = {}
    for name, packed in fields.items():
        if name in known:
            item = _unpack(packed)
            values[name] = _frozen(item) if isinstance(item, list) else item
    return kind(**values)


def _frozen(items: list[Any]) -> tuple[Any, ...]:
    return tuple([_frozen(item) if isinstance(item, list) else item for item in items])


def _blank(kind: type[Any]) -> Any:
    """An object with defaults, for the fields that an older snapshot does not have."""
    if kind is Leg:
        return Leg("", Usage("", "", False), "", 0.0)
    if kind is Usage:
        return Usage("", "", False)
    if kind is Dialog:
        return Dialog("", "", "", "", "", 0, -1, [], "", "")
    if kind is Pending:
        return Pending("", "", "", 0, b"", "", [])
    if kind is AskedState:
        return AskedState("", [], 0, b"", "")
    if kind is OutgoingInvite:
        return OutgoingInvite("", "", "", "", [], [], b"", "", "", False, 70)
    if kind is Early:
        return Early(Dialog("", "", "", "", "", 0, -1, [], "", ""))
    if kind is IncomingInvite:
        return IncomingInvite("", [], 0, False)
    if kind is Reliable:
        return Reliable("", 0, 0, False, b"")
    if kind is Callback:
        return Callback()
    if kind is Waking:
        return Waking("", "", 0, "")
    if kind is Hunting:
        return Hunting()
    if kind is Seek:
        return Seek("", "", "", 0.0, 0, "")
    return Transfer("", "", "", False)
