"""What a change of the provisioning would have done to calls of the past."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from callcontrol.cdr import CallRecord
from callcontrol.explaining.impact import GONE, Impact, Replay, impact_of, way_of
from callcontrol.explaining.offline import Provisioned, signalling_of
from callcontrol.usage.outgoing import OutgoingStores
from config.settings import Settings
from dialplan import stored
from dialplan.evaluate import evaluate
from dialplan.facts import CallFacts
from gateway.gateway_numbers import GatewayDirectory
from numbering.directory import Directory
from numbering.e164 import E164
from numbering.models import (
    Account,
    AccountKind,
    CloudNumber,
    Device,
    Flow,
    FlowAction,
    Forwarding,
    ForwardMode,
    Greeting,
    GreetingMember,
    PlanLimits,
    User,
)
from tests.dialplan.cases import FROM_CARRIER
from tests.explaining.worlds import ANA, BEN, OUTSIDE, STRANGER
from tests.support.world import World, provisioning

GREETING = "+33639987000"
TEAM = Greeting(
    number=E164(GREETING), account="acme", members=(GreetingMember(user="ana"), GreetingMember(user="ben"))
)
TRUNKS = provisioning()[1]


def provisioned(
    numbers: dict[str, CloudNumber] | None = None, *, without: tuple[str, ...] = (), **greeting: Any
) -> Directory:
    """The provisioning of the test world, with other numbers, without some devices, with another Greeting."""
    people = {"ana": "acme", "ben": "acme", "zoe": "zoe"}
    held = {
        ANA: CloudNumber(e164=E164(ANA), user="ana"),
        BEN: CloudNumber(e164=E164(BEN), user="ben"),
        GREETING: CloudNumber(e164=E164(GREETING), user=""),
    } | (numbers or {})
    return Directory(
        accounts=[Account(ref="acme", kind=AccountKind.COMPANY, plan="advanced"), Account(ref="zoe")],
        users=[User(ref=ref, account=account) for ref, account in people.items()],
        devices=[
            Device(
                ref=f"{user}-{kind}",
                user=user,
                sip_username=f"{user}-{kind}",
                sip_password=f"secret-{user}",
                sim=f"+3363998000{index}" if kind == "phone" else "",
                sim_verified=True,
            )
            for index, user in enumerate(people)
            for kind in ("phone", "desktop")
            if f"{user}-{kind}" not in without
        ],
        numbers=held.values(),
        greetings=[replace(TEAM, **greeting)],
        plans={"advanced": PlanLimits(devices=3, numbers=20)},
    )


def replay(
    numbers: dict[str, CloudNumber] | None = None, *, without: tuple[str, ...] = (), **greeting: Any
) -> Replay:
    """Decides on that provisioning."""
    directory = provisioned(numbers, without=without, **greeting)
    found = Provisioned(
        directory=directory, trunks=TRUNKS, gateways=GatewayDirectory(), outgoing=OutgoingStores()
    )
    return Replay(signalling_of(Settings(), found))


@pytest.fixture(scope="module")
def records() -> dict[str, CallRecord]:
    """Three real calls: from a carrier to ana, from ana to the outside, and from ana to ben."""
    world = World()
    for name in ("ana-phone", "ana-desktop", "ben-phone"):
        world.phone(name)
    world.run(1.0)
    world.carrier().call(ANA, caller=STRANGER)
    world.run(40.0)
    world.parties[0].call(OUTSIDE)
    world.run(100.0)
    world.parties[0].call(BEN)
    world.run(40.0)
    assert [record.direction for record in world.records] == ["incoming", "outgoing", "internal"]
    return {record.direction: record for record in world.records}


def off(e164: str, user: str, **changes: Any) -> dict[str, CloudNumber]:
    return {e164: CloudNumber(e164=E164(e164), user=user, **changes)}


def impact(records: dict[str, CallRecord], then: Replay, today: Replay | None = None) -> Impact:
    return impact_of(records.values(), today or replay(), then)


@pytest.mark.rule("OPS-02")
def test_the_same_configuration_leads_every_call_where_it_went(records: dict[str, CallRecord]) -> None:
    found = impact(records, replay())
    assert (found.same, found.elsewhere, found.already, found.unread) == (3, (), 0, ())
    for record in records.values():
        facts = stored.load(stored.split(record.facts)[0])
        again = replay().decide(facts)
        assert again is not None
        assert way_of(again) == way_of(evaluate(facts))


@pytest.mark.rule("OPS-02")
def test_a_call_that_goes_elsewhere_is_named_with_both_rules(records: dict[str, CallRecord]) -> None:
    forwarding = Forwarding(mode=ForwardMode.ALL, to=OUTSIDE)
    found = impact(records, replay(off(ANA, "ana", forward=forwarding)))
    assert found.same == 2
    (call,) = found.elsewhere
    assert (call.call_ref, call.caller, call.called) == (records["incoming"].call_ref, STRANGER, ANA)
    assert call.before.steps == ("ring ana-desktop, ana-phone for 30 s",)
    assert call.before.rule == "INC-05"
    assert call.after.steps == (f"forward to {OUTSIDE}",)
    assert call.after.rule == "INC-04"


@pytest.mark.parametrize(
    ("numbers", "diverted", "rule"),
    [
        (off(ANA, "ana", block=(STRANGER,)), ["incoming"], "INC-02"),
        (off(ANA, "ana", calls=False), ["incoming", "outgoing", "internal"], "INC-03"),
        (off(ANA, "ben"), ["incoming", "outgoing", "internal"], "INC-05"),
        (off(BEN, "ben", ring_seconds=10.0), ["internal"], "INC-05"),
    ],
)
def test_every_setting_of_a_number_is_read_from_the_new_configuration(
    records: dict[str, CallRecord], numbers: dict[str, CloudNumber], diverted: list[str], rule: str
) -> None:
    found = impact(records, replay(numbers))
    assert [call.call_ref for call in found.elsewhere] == [records[each].call_ref for each in diverted]
    assert found.elsewhere[0].after.rule == rule


def test_who_was_registered_then_is_who_rings(records: dict[str, CallRecord]) -> None:
    found = impact(records, replay(off(ANA, "ben")))
    assert found.elsewhere[0].after.steps == ("refuse: unreachable",)  # nobody of ben's was looked at then


def test_a_device_that_is_gone_makes_no_calls(records: dict[str, CallRecord]) -> None:
    found = impact(records, replay(without=("ana-phone",)))
    assert {call.after for call in found.elsewhere if call.call_ref != records["incoming"].call_ref} == {GONE}


def test_what_changed_before_is_counted_and_not_listed(records: dict[str, CallRecord]) -> None:
    changed = off(ANA, "ana", block=(STRANGER,))
    found = impact(records, replay(changed), replay(changed))
    assert (found.same, found.already, found.elsewhere) == (2, 1, ())


@pytest.mark.rule("OPS-02")
def test_calls_that_cannot_be_read_are_counted_and_named(records: dict[str, CallRecord]) -> None:
    bare = msgspec.structs.replace(records["incoming"], call_ref="bare", facts=b"")
    later = msgspec.structs.replace(
        records["incoming"], call_ref="later", facts=stored.join([msgspec.msgpack.encode([99, {}])])
    )
    found = impact(records | {"bare": bare, "later": later}, replay())
    assert found.same == 3
    assert found.calls == 5
    assert [(each.call_ref, each.why) for each in found.unread] == [
        ("bare", "its facts are not kept"),
        ("later", "facts of schema 99; this version reads 1"),
    ]


@pytest.mark.rule("OPS-02")
def test_a_greeting_is_read_from_the_new_configuration_and_its_members_as_they_were() -> None:
    today = replay()
    facts = today.gathered(stored.load(stored.dump(greeting_facts())))
    assert facts is not None
    record = CallRecord(call_ref="g", facts=stored.join([stored.dump(facts)]))
    closed = replay(open=Flow(action=FlowAction.REFUSE))
    found = impact({"g": record}, closed, today)
    (call,) = found.elsewhere
    assert call.before.steps == ("hunt ana, then ben, for 180 s at the most",)
    assert call.after.steps == ("refuse: closed",)
    fewer = replay(members=(GreetingMember(user="ben"),))
    (call,) = impact({"g": record}, fewer, today).elsewhere
    assert call.after.steps == ("hunt ben, for 180 s at the most",)


def greeting_facts() -> CallFacts:
    return replace(
        FROM_CARRIER,
        called=replace(FROM_CARRIER.called, dialled=GREETING, e164=GREETING),
        number=None,
        callee=None,
    )
