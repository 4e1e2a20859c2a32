"""What a call is made of is packed field by field, in the order in which the codec reads it (LIVE-02)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from callcontrol.b2bua import packing, snapshot
from callcontrol.b2bua.call import CALL_FIELDS, Call
from callcontrol.sip.dialog import Dialog
from callcontrol.sip.usage_open import AskedState, Early, IncomingInvite, OutgoingInvite, Pending
from tests.b2bua.test_snapshot import MOMENTS, environment

OBJECTS = {
    "legs",
    "usage",
    "dialog",
    "invite",
    "incoming",
    "early",
    "pending",
    "asked",
    "plan",
    "trace",
    "facts",
}
"""Fields that hold objects: what is in those is changed, not they."""


def _reference(value: Any) -> Any:
    """By the names of the fields alone."""
    if isinstance(value, list | tuple):
        return [_reference(each) for each in value]
    if isinstance(value, dict):
        return {key: _reference(each) for key, each in value.items()}
    if type(value) in packing.TAGS:
        tag, names = packing.TAGS[type(value)]
        return [tag, *[_reference(getattr(value, name)) for name in names]]
    if type(value) in packing.VALUES:
        names = packing.VALUE_FIELDS[type(value)]
        return [packing.VALUES[type(value)], {name: _reference(getattr(value, name)) for name in names}]
    return value


def _packed(call: Call) -> list[Any]:
    return packing.of_call(call, packing.pack(call.plan), packing.pack(call.trace))


def _expected(call: Call) -> list[Any]:
    return [_reference(getattr(call, name)) for name in CALL_FIELDS]


def _changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return "changed" + value
    if isinstance(value, bytes):
        return b"changed" + value
    if isinstance(value, list):
        return ["changed"]
    if isinstance(value, dict):
        return {"changed": 1}
    return None


def _parts(call: Call) -> Iterator[tuple[Any, tuple[str, ...]]]:
    yield call, CALL_FIELDS
    for leg in call.legs.values():
        for each in (leg, leg.usage, leg.usage.dialog, leg.usage.invite, leg.usage.incoming):
            if each is not None:
                yield each, packing.TAGS[type(each)][1]
        for request in (*leg.usage.pending.values(), *leg.usage.asked.values()):
            yield request, packing.TAGS[type(request)][1]
        if leg.usage.invite is not None:
            for early in leg.usage.invite.early.values():
                yield early, packing.TAGS[Early][1]


@pytest.mark.rule("LIVE-02")
@pytest.mark.parametrize("moment", MOMENTS)
def test_calls_are_packed_by_the_names_of_their_fields(moment: str) -> None:
    call = MOMENTS[moment]().call
    assert _packed(call) == _expected(call)


@pytest.mark.rule("LIVE-02")
@pytest.mark.parametrize("moment", MOMENTS)
def test_every_field_has_its_place(moment: str) -> None:
    call = MOMENTS[moment]().call
    changed = 0
    for part, names in _parts(call):
        for name in names:
            before = getattr(part, name)
            if name in OBJECTS or before is None:
                continue
            setattr(part, name, _changed(before))
            assert _packed(call) == _expected(call), (type(part).__name__, name)
            setattr(part, name, before)
            changed += 1
    assert changed > 100


def test_moments_have_all_that_is_packed_by_hand() -> None:
    seen = {type(part) for moment in MOMENTS.values() for part, _ in _parts(moment().call)}
    assert {AskedState, Dialog, Early, IncomingInvite, OutgoingInvite, Pending} <= seen


@pytest.mark.rule("LIVE-02")
def test_a_decision_that_comes_later_is_stored_too() -> None:
    """Each line of the trace is encoded once."""
    call = MOMENTS["talking"]().call
    first = snapshot.load(snapshot.dump(call), environment())
    assert first.trace == call.trace
    for more in range(20):
        call.note("INC-01", "later", f"{more} more")
        assert snapshot.load(snapshot.dump(call), environment()).trace == call.trace
    call.trace, call.stored_trace = [], []
    assert msgspec.msgpack.decode(snapshot.dump(call))[1][CALL_FIELDS.index("trace")] == []
