"""Facts as bytes, kept with the record of a call: evaluated again they give the plan that the call had, byte for byte.

MessagePack, schema number first; every value is a map by field names without those that have their default, so fields may be
added anywhere as long as they have one.  A field that is taken away, or whose meaning or default changes, asks for a new
schema number: facts of another schema, or with a field that this version does not know, are refused (`FactsError`), since a
decision made of them would be another one.

Encoding is on the way of every call: what is the same in call after call (the number, the limits) is encoded once.  Reading
is for people who ask, and goes by the table below: in the compiled program the classes no longer tell the types of their
fields.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING
from enum import StrEnum
from typing import Any, Final

import msgspec

from dialplan.facts import (
    CalledNumber,
    Callee,
    CallerDevice,
    CallerNumber,
    CallFacts,
    ForwardFacts,
    GatewayFacts,
    GreetingFacts,
    Limits,
    LoopFacts,
    MemberFacts,
    OwnCall,
    RioFacts,
)
from dialplan.plan import DeviceTarget, Diversion, Identity, SimTarget, WakeTarget
from dialplan.schedule import LocalClock
from dialplan.usage import UsageFacts
from numbering.hours import Hours, Span, SpecialDay, WeeklySlot
from numbering.models import (
    CloudNumber,
    Flow,
    FlowAction,
    Forwarding,
    ForwardMode,
    Greeting,
    GreetingMember,
    NumberState,
    Strategy,
)
from numbering.plans import NumberClass

SCHEMA: Final = 1

NESTED: Final[dict[type[Any], dict[str, type[Any]]]] = {
    CallFacts: {
        "device": CallerDevice,
        "caller": CallerNumber,
        "called": CalledNumber,
        "number": CloudNumber,
        "callee": Callee,
        "loop": LoopFacts,
        "limits": Limits,
        "gateway": GatewayFacts,
        "usage": UsageFacts,
        "clock": LocalClock,
        "greeting": GreetingFacts,
        "forward": ForwardFacts,
        "rio": RioFacts,
    },
    Limits: {},
    CallerNumber: {"number_class": NumberClass},
    CallerDevice: {"numbers": CloudNumber},
    CalledNumber: {"number_class": NumberClass},
    Callee: {"targets": DeviceTarget, "wake": WakeTarget, "sims": SimTarget, "fallback": SimTarget},
    MemberFacts: {"callee": Callee},
    GreetingFacts: {"greeting": Greeting, "members": MemberFacts, "clock": LocalClock},
    ForwardFacts: {"caller": Identity, "number_class": NumberClass},
    Identity: {"diverted": Diversion},
    Diversion: {},
    LoopFacts: {"own_calls": OwnCall},
    OwnCall: {},
    GatewayFacts: {},
    RioFacts: {},
    UsageFacts: {},
    LocalClock: {},
    DeviceTarget: {},
    WakeTarget: {},
    SimTarget: {},
    CloudNumber: {"state": NumberState, "hours": Hours, "forward": Forwarding},
    Forwarding: {"mode": ForwardMode},
    Hours: {"slots": WeeklySlot, "special": SpecialDay},
    WeeklySlot: {"span": Span},
    SpecialDay: {"spans": Span},
    Span: {},
    Greeting: {
        "strategy": Strategy,
        "members": GreetingMember,
        "hours": Hours,
        "open": Flow,
        "closed": Flow,
        "unanswered": Flow,
    },
    GreetingMember: {},
    Flow: {"action": FlowAction},
}
"""What the fields of each class hold that are neither text, number nor truth; for a tuple: what each of its items is."""

_FIELDS: Final[dict[type[Any], frozenset[str]]] = {
    kind: frozenset(kind.__dataclass_fields__) for kind in NESTED
}
_MISSING: Final = object()


def _default(spec: Any) -> Any:
    if spec.default_factory is not MISSING:
        return spec.default_factory()
    return _MISSING if spec.default is MISSING else spec.default


_WRITTEN: Final[dict[type[Any], list[tuple[str, Any, bool]]]] = {
    kind: [(name, _default(spec), name in nested) for name, spec in kind.__dataclass_fields__.items()]
    for kind, nested in NESTED.items()
}
"""Fields of each class: name, default, and whether it holds values that are classes themselves."""
_KEPT: Final[tuple[type[Any], ...]] = (CloudNumber, Limits, Greeting)
"""Values that outlive a call: the directory and the settings hand out the same ones until they change."""
_MAX_KEPT: Final = 4096
_kept: Final[dict[int, tuple[object, msgspec.Raw]]] = {}
"""By identity, each with the value itself, so that no other can take its place in memory."""
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder()


class FactsError(ValueError):
    """The bytes are no facts that this version can read; the message says why."""


def dump(facts: CallFacts) -> bytes:
    """The facts of one decision as bytes.  Never raises for facts that a decision was made of."""
    try:
        return _encoder.encode((SCHEMA, _told(facts, True)))
    except UnicodeEncodeError:
        return _encoder.encode((SCHEMA, _escaped(_told(facts, False))))


def _told(value: Any, keep: bool) -> Any:
    """What is written of a value.  ``keep``: of one that outlives the call its bytes."""
    kind = type(value)
    if kind is tuple:
        return [_told(each, keep) for each in value]
    fields = _WRITTEN.get(kind)
    if fields is None:
        return value
    keep_it = keep and kind in _KEPT
    if keep_it:
        known = _kept.get(id(value))
        if known is not None and known[0] is value:
            return known[1]
    found: dict[str, Any] = {}
    for name, default, nested in fields:
        item = getattr(value, name)
        if item is default:
            continue
        if nested:
            found[name] = _told(item, keep)
        elif item != default:
            found[name] = item
    if not keep_it:
        return found
    raw = msgspec.Raw(_encoder.encode(found))
    if len(_kept) >= _MAX_KEPT:
        _kept.clear()
    _kept[id(value)] = (value, raw)
    return raw


def load(data: bytes) -> CallFacts:
    """The facts back from their bytes.  Raises FactsError."""
    try:
        found = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise FactsError(f"no stored facts: {error}") from error
    if not isinstance(found, list) or len(found) != 2:
        raise FactsError("no stored facts")
    if found[0] != SCHEMA:
        raise FactsError(f"facts of schema {found[0]}; this version reads {SCHEMA}")
    facts = _made(CallFacts, found[1])
    if not isinstance(facts, CallFacts):
        raise FactsError("no stored facts")
    return facts


def join(parts: Sequence[bytes]) -> bytes:
    """The decisions of one call, the first one first, as one value; empty for none."""
    return _encoder.encode(list(parts)) if parts else b""


def split(data: bytes) -> tuple[bytes, ...]:
    """The opposite of `join`.  Raises FactsError."""
    if not data:
        return ()
    try:
        return tuple(msgspec.msgpack.decode(data, type=list[bytes]))
    except msgspec.DecodeError as error:
        raise FactsError(f"no stored facts: {error}") from error


def _made(kind: type[Any], value: Any) -> Any:
    if not isinstance(value, dict):
        raise FactsError(f"a {kind.__name__} is missing")
    known, nested = _FIELDS[kind], NESTED[kind]
    fields: dict[str, Any] = {}
    for name, item in value.items():
        if name not in known:
            raise FactsError(f"{kind.__name__}.{name} is not known to this version")
        inner = nested.get(name)
        fields[name] = _plain(item) if inner is None else _within(inner, item)
    make: Callable[..., Any] = kind
    try:
        return make(**fields)
    except (TypeError, ValueError) as error:
        raise FactsError(f"{kind.__name__}: {error}") from error


def _within(kind: type[Any], item: Any) -> Any:
    if item is None:
        return None
    if isinstance(item, list):
        return tuple([_within(kind, each) for each in item])
    if issubclass(kind, StrEnum):
        try:
            return kind(item)
        except ValueError as error:
            raise FactsError(str(error)) from error
    return _made(kind, item)


def _plain(item: Any) -> Any:
    """Text, number, truth, or a tuple of them."""
    if isinstance(item, list):
        return tuple([_plain(each) for each in item])
    return item.decode("utf-8", "surrogateescape") if isinstance(item, bytes) else item


def _escaped(value: Any) -> Any:
    """What a phone registered may hold bytes that are no UTF-8; such text is stored as the bytes that it was."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-8", "surrogateescape")
        return value
    if isinstance(value, (list, tuple)):
        return [_escaped(each) for each in value]
    if isinstance(value, dict):
        return {name: _escaped(each) for name, each in value.items()}
    return value
