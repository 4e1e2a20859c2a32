"""Stored facts: evaluated again they give the stored plan, byte for byte (OPS-02)."""

from __future__ import annotations

import sys
import typing
from dataclasses import fields, is_dataclass, replace
from enum import StrEnum
from types import UnionType
from typing import Any

import msgspec
import pytest
from hypothesis import given

from dialplan import stored
from dialplan.evaluate import evaluate
from dialplan.facts import (
    Callee,
    CallFacts,
    ForwardFacts,
    GreetingFacts,
    MemberFacts,
)
from dialplan.plan import Diversion, Identity, SimTarget, WakeTarget
from dialplan.schedule import LocalClock
from numbering.e164 import E164
from numbering.hours import Hours, Span, SpecialDay, WeeklySlot
from numbering.models import (
    CloudNumber,
    Flow,
    FlowAction,
    Forwarding,
    ForwardMode,
    Greeting,
    GreetingMember,
    Strategy,
)
from tests.dialplan.cases import (
    ANA,
    ANA_CALLEE,
    BEN_CALLEE,
    FROM_CARRIER,
    OUTSIDE,
    SIM,
    TO_BEN,
    TO_COLLEAGUE,
    TO_OUTSIDE,
    number,
    target,
)
from tests.dialplan.test_any_facts import facts_of_all_kinds

HOURS = Hours(
    zone="Europe/Paris",
    slots=(WeeklySlot(days=(0, 1, 2), span=Span(start=540, end=1080)),),
    holidays=("FR",),
    special=(SpecialDay(date="2026-12-24", spans=(Span(start=540, end=720),), name="Christmas Eve"),),
)
CLOCK = LocalClock(zone="Europe/Paris", date="2027-03-28", second=12_600, holiday="Easter")
FULL = replace(
    number(FROM_CARRIER, hours=HOURS, forward=Forwarding(mode=ForwardMode.MISSED, to=OUTSIDE)),
    clock=CLOCK,
    callee=replace(
        ANA_CALLEE,
        wake=(WakeTarget(user="ana", device="ana-phone", why="stale"),),
        sims=(SimTarget(user="ana", device="ana-gsm", sim=SIM, for_s=20.0),),
        block=("class:premium", "+3316*"),
    ),
)
GREETED = replace(
    FROM_CARRIER,
    number=CloudNumber(e164=ANA, user=""),
    callee=None,
    greeting=GreetingFacts(
        greeting=Greeting(
            number=E164(ANA),
            account="acme",
            strategy=Strategy.LONGEST_IDLE,
            members=(GreetingMember(user="ana", priority=2),),
            hours=HOURS,
            closed=Flow(action=FlowAction.FORWARD, to=OUTSIDE),
        ),
        members=(MemberFacts(callee=BEN_CALLEE, busy="talking", idle_since=1.5),),
        clock=CLOCK,
        turn=3,
    ),
)
FORWARDED = replace(
    TO_OUTSIDE,
    source="forward",
    forward=ForwardFacts(
        number=ANA,
        caller=Identity(number=OUTSIDE, diverted=(Diversion(number=ANA, reason="no-answer"),)),
        cause="no-answer",
    ),
)
CASES = (FROM_CARRIER, TO_OUTSIDE, TO_BEN, TO_COLLEAGUE, FULL, GREETED, FORWARDED)


def same(facts: CallFacts) -> None:
    data = stored.dump(facts)
    again = stored.load(data)
    assert again == facts
    assert stored.dump(again) == data
    before, after = evaluate(facts), evaluate(again)
    assert msgspec.msgpack.encode(after) == msgspec.msgpack.encode(before)
    assert repr(after) == repr(before)


@pytest.mark.rule("OPS-02")
@given(facts_of_all_kinds)
def test_stored_facts_of_any_kind_give_the_stored_plan(facts: CallFacts) -> None:
    same(
        replace(facts, config_version=facts.config_version % 2**63)
    )  # a revision is a number of the database


@pytest.mark.rule("OPS-02")
@pytest.mark.parametrize("facts", CASES)
def test_stored_facts_with_every_value_there_is(facts: CallFacts) -> None:
    same(facts)


def test_what_a_phone_registered_need_not_be_text() -> None:
    odd = target("ana-phone", flow="udp|192.0.2.7|5060|0|\udcff")
    facts = replace(FROM_CARRIER, callee=Callee(user="ana", targets=(odd,)))
    assert stored.load(stored.dump(facts)) == facts


def test_decisions_of_a_call_are_one_value() -> None:
    parts = [stored.dump(FROM_CARRIER), stored.dump(FORWARDED)]
    assert [stored.load(part) for part in stored.split(stored.join(parts))] == [FROM_CARRIER, FORWARDED]
    assert stored.split(stored.join([])) == ()
    with pytest.raises(stored.FactsError):
        stored.split(b"\xc1")


def changed(**fields_: Any) -> bytes:
    value = msgspec.to_builtins(FROM_CARRIER)
    return msgspec.msgpack.encode([stored.SCHEMA, value | fields_])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no stored facts"),
        (b"\xc1", "no stored facts"),
        (msgspec.msgpack.encode({"schema": 1}), "no stored facts"),
        (msgspec.msgpack.encode([stored.SCHEMA + 1, {}]), "schema 2"),
        (msgspec.msgpack.encode([stored.SCHEMA, None]), "CallFacts"),
        (msgspec.msgpack.encode([stored.SCHEMA, {}]), "CallFacts"),
        (changed(moon="full"), "CallFacts.moon"),
        (changed(number={"e164": ANA, "user": "ana", "state": "lost"}), "lost"),
        (changed(callee={"user": "ana", "targets": [{"user": "ana"}]}), "DeviceTarget"),
        (changed(callee={"user": "ana", "targets": ["ana"]}), "DeviceTarget"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(stored.FactsError, match=why):
        stored.load(data)


def test_facts_of_an_older_version_get_the_defaults_of_what_they_lack() -> None:
    value = msgspec.to_builtins(FROM_CARRIER)
    del value["psap_callback"], value["limits"]
    data = msgspec.msgpack.encode([stored.SCHEMA, value])
    assert stored.load(data) == FROM_CARRIER


def nested_in(hint: Any) -> type[Any] | None:
    """What a field holds besides text, numbers and truth: a class of values, or an enumeration."""
    found: set[type[Any]] = set()
    rest = [hint]
    while rest:
        each = rest.pop()
        if typing.get_origin(each) in (tuple, typing.Union, UnionType):
            rest.extend(typing.get_args(each))
        elif isinstance(each, type) and (is_dataclass(each) or issubclass(each, StrEnum)):
            found.add(each)
    assert len(found) < 2, f"{hint} holds several kinds of values, which cannot be told apart"
    return found.pop() if found else None


def is_compiled(kind: type[Any]) -> bool:
    return not (sys.modules[kind.__module__].__file__ or "").endswith(".py")


def test_the_table_of_fields_is_that_of_the_classes() -> None:
    """Where the classes are compiled they tell nothing of what may be None: there only what they tell is compared."""
    seen: set[type[Any]] = set()
    rest: list[type[Any]] = [CallFacts]
    while rest:
        kind = rest.pop()
        if kind in seen or issubclass(kind, StrEnum):
            continue
        seen.add(kind)
        hints = typing.get_type_hints(kind)
        within = {spec.name: found for spec in fields(kind) if (found := nested_in(hints[spec.name]))}
        assert within.items() <= stored.NESTED[kind].items(), kind
        assert is_compiled(kind) or stored.NESTED[kind] == within, kind
        rest.extend(within.values())
    assert seen <= set(stored.NESTED)
    assert is_compiled(CallFacts) or seen == set(stored.NESTED)
