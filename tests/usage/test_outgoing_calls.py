"""Outgoing rules on a whole node: slots of legs, counted minutes, prices; calls, transfers, failures, restarts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from callcontrol.pricing.rates import Package, Rate
from callcontrol.usage.counters import Used, owner_of
from callcontrol.usage.slots import USER
from config.sections import OutgoingSettings
from config.settings import Settings
from numbering.models import PlanLimits
from numbering.money import Money, read_money
from tests.support.party import SERVER, Dialog, Party, sdp
from tests.support.world import START, World

ANA, OUTSIDE, OTHER, ABROAD = "+33639981001", "+33199001234", "+33199001235", "+447700900123"
AMERICA = "+15550100"
MONTH = "2027-01"


def world(plan: dict[str, Any] | None = None, **outgoing: Any) -> World:
    made = World(settings=Settings(outgoing=OutgoingSettings(**outgoing)))
    if plan is not None:
        made.directory._plans = {"advanced": PlanLimits(devices=3, numbers=20, **plan)}
    return made


def account(on: World, **changes: Any) -> None:
    found = on.directory.account("acme")
    assert found is not None
    on.directory.put_one(replace(found, **changes))


def call(on: World, phone: Party, number: str = OUTSIDE) -> Dialog:
    dialog = phone.call(number)
    on.run(0.3)
    return dialog


def rings(dialog: Dialog) -> bool:
    """Nobody has refused it."""
    return dialog.status < 200


def invites(on: World) -> int:
    """INVITEs that the server sent to carriers."""
    return sum(
        data.startswith(b"INVITE ") and target.startswith(("10.0.1.", "10.0.2."))
        for _, source, target, data in on.network.log
        if source == SERVER
    )


def refusal(dialog: Dialog) -> tuple[int, str]:
    final = dialog.last("INVITE")
    return final.status, final.all("reason")[0].partition('text="')[2].rstrip('"')


def talk(on: World, phone: Party, carrier: Party, seconds: float, number: str = OUTSIDE) -> Dialog:
    dialog = call(on, phone, number)
    carrier.ring()
    on.run(0.2)
    carrier.answer(sdp(6000))
    on.run(seconds)
    return dialog


def used(on: World, number: str = ANA, user: str = "ana") -> Used:
    seen: list[Used | None] = []
    on.server.outgoing.counters.look(owner_of(number, user), MONTH, OUTSIDE, seen.append)
    assert seen[0] is not None
    return seen[0]


def slots(on: World, user: str = "ana", kind: str = "all") -> int:
    return on.server.outgoing.slots.in_use(kind, USER, user)


@pytest.mark.rule("OUT-10")
def test_the_call_too_many_is_refused_before_a_leg_is_sent() -> None:
    on = world(user_calls=1)
    ana, desk, carrier = on.phone("ana-phone"), on.phone("ana-desktop"), on.carrier()
    first = talk(on, ana, carrier, 1.0)
    assert slots(on) == 1
    sent = invites(on)
    second = call(on, desk)
    assert refusal(second) == (486, "too_many_calls")
    assert invites(on) == sent
    assert any(line.rule == "OUT-10" for line in _trace(on)), "the trace says which bound"
    ana.bye(first)
    on.run(1.0)
    assert slots(on) == 0
    third = talk(on, desk, carrier, 1.0)
    assert third.status == 200
    desk.bye(third)
    on.run(100.0)
    assert slots(on) == 0
    assert [record.reason for record in on.records] == [
        "too_many_calls",
        "normal_clearing",
        "normal_clearing",
    ]
    assert on.server.outgoing.guard.refused == {"user_calls": 1}


def _trace(on: World) -> list[Any]:
    import msgspec

    from dialplan.plan import TraceLine

    rows = msgspec.json.decode(on.records[0].trace)
    return [TraceLine(rule=rule, outcome=outcome, detail=detail) for rule, outcome, detail, *_ in rows]


@pytest.mark.rule("OUT-10")
def test_an_account_has_a_bound_of_its_own() -> None:
    on = world(account_calls=1)
    ana, ben, carrier = on.phone("ana-phone"), on.phone("ben-phone"), on.carrier()
    talk(on, ana, carrier, 1.0)
    assert refusal(call(on, ben)) == (486, "too_many_calls")
    zoe = on.phone("zoe-phone")
    assert rings(call(on, zoe)), "another account may"


@pytest.mark.rule("OUT-10")
def test_calls_abroad_are_bounded_apart() -> None:
    on = world(user_calls_abroad=1)
    phones = [on.phone(f"ana-{kind}") for kind in ("phone", "desktop", "browser")]
    carrier = on.carrier()
    talk(on, phones[0], carrier, 1.0, AMERICA)
    assert slots(on, kind="abroad") == 1
    assert refusal(call(on, phones[1], AMERICA)) == (486, "too_many_calls")
    assert rings(call(on, phones[2])), "at home there is no bound"


@pytest.mark.rule("OUT-10")
def test_calls_a_minute() -> None:
    on = world(user_calls_per_minute=2)
    ana, carrier = on.phone("ana-phone"), on.carrier()
    for _ in range(2):
        dialog = talk(on, ana, carrier, 0.5)
        ana.bye(dialog)
        on.run(0.5)
    assert refusal(call(on, ana)) == (486, "too_many_calls")
    on.run(40.0)
    assert rings(call(on, ana))


@pytest.mark.rule("OUT-10")
def test_a_call_that_goes_on_to_the_next_carrier_keeps_its_one_slot() -> None:
    on = world(user_calls=1, user_calls_per_minute=1)
    ana = on.phone("ana-phone")
    first, second = on.carrier("10.0.1.1"), on.carrier("10.0.1.2")
    dialog = call(on, ana)
    busy = first if first.rang else second
    other = second if busy is first else first
    busy.reply(busy.incoming, 503)
    on.run(0.5)
    assert rings(dialog)
    assert other.rang
    assert slots(on) == 1
    other.answer(sdp(6000))
    on.run(0.5)
    assert dialog.status == 200
    ana.bye(dialog)
    on.run(1.0)
    assert slots(on) == 0


@pytest.mark.rule("OUT-10")
def test_a_transfer_to_the_outside_takes_a_slot_like_any_call() -> None:
    on = world(user_calls=1)
    ana, carrier = on.phone("ana-phone"), on.carrier()
    dialog = talk(on, ana, carrier, 1.0)
    ana.request(dialog, "REFER", headers=(("refer-to", f"<sip:{OTHER}@cloudline.example>"),))
    on.run(2.0)
    assert invites(on) == 1, "the second leg is one too many"
    assert slots(on) == 1
    ana.bye(dialog)
    on.run(2.0)
    assert slots(on) == 0


@pytest.mark.rule("OUT-10")
def test_no_slot_is_left_whatever_becomes_of_a_call() -> None:
    on = world(user_calls=3)
    ana, carrier = on.phone("ana-phone"), on.carrier()
    dialog = call(on, ana)
    ana.cancel(dialog)
    on.run(1.0)
    dialog = call(on, ana)
    carrier.reply(carrier.incoming, 486)
    on.run(1.0)
    dialog = call(on, ana, "+999123")
    on.run(1.0)
    call(on, ana)
    on.run(200.0)
    assert slots(on) == 0
    assert len(on.server.outgoing.slots) == 0


@pytest.mark.rule("OUT-08", "CDR-01")
def test_minutes_and_callees_are_counted_when_a_call_ends() -> None:
    on = world({"minutes": {"national": 2000}, "callees": 99})
    ana, carrier = on.phone("ana-phone"), on.carrier()
    dialog = talk(on, ana, carrier, 61.5)
    assert used(on).seconds == {}
    ana.bye(dialog)
    on.run(1.0)
    dialog = talk(on, ana, carrier, 5.0, OTHER)
    ana.bye(dialog)
    on.run(1.0)
    billed = sum(record.billable_seconds for record in on.records)
    assert used(on).seconds == {"national": billed}
    assert used(on).callees == 2
    for record in on.records:
        on.server.outgoing.ended(record, on.now())
    assert used(on).seconds == {"national": billed}, "told twice, counted once"


@pytest.mark.rule("OUT-08", "OUT-09")
def test_past_the_minutes_of_the_plan_calls_are_refused() -> None:
    on = world({"minutes": {"national": 1}})
    ana, carrier = on.phone("ana-phone"), on.carrier()
    ana.bye(talk(on, ana, carrier, 61.0))
    on.run(1.0)
    assert refusal(call(on, ana)) == (403, "fair_use")
    assert on.records[-1].reason == "fair_use"


@pytest.mark.rule("OUT-08")
def test_a_new_month_begins_at_nought() -> None:
    on = world({"minutes": {"national": 1}})
    ana, carrier = on.phone("ana-phone"), on.carrier()
    ana.bye(talk(on, ana, carrier, 61.0))
    on.run(1.0)
    # 15 January 2027, 08:00 UTC and a little; the next month is seventeen days away.
    on.network.now += 17 * 86400.0
    ana.register()
    on.run(0.5)
    assert rings(call(on, ana))
    assert on.now() > START + 17 * 86400


@pytest.mark.rule("OUT-08")
def test_distinct_callees() -> None:
    on = world({"callees": 1})
    ana, carrier = on.phone("ana-phone"), on.carrier()
    ana.bye(talk(on, ana, carrier, 2.0))
    on.run(1.0)
    assert refusal(call(on, ana, OTHER)) == (403, "fair_use")
    assert rings(call(on, ana, OUTSIDE))


@pytest.mark.rule("OUT-06", "OUT-09")
def test_calls_abroad_need_a_package_or_credit_once_there_are_prices() -> None:
    on = world()
    ana = on.phone("ana-phone")
    on.carrier()
    book = on.server.outgoing.book
    rates = [Rate(prefix="+44", per_minute=read_money("0.05")), Rate(prefix="+33", per_minute=Money(0))]
    packages = [Package(ref="europe", zones=("europe",), minutes=10)]
    assert rings(call(on, ana, ABROAD)), "without prices everything goes"
    book.replace(rates, packages, version=1)
    assert refusal(call(on, ana, ABROAD)) == (402, "no_credit")
    assert refusal(call(on, ana, AMERICA)) == (403, "not_in_plan")
    account(on, credit=read_money("0.05"))
    assert rings(call(on, ana, ABROAD))
    account(on, credit=Money(0), packages=("europe",))
    assert rings(call(on, ana, ABROAD))


@pytest.mark.rule("OUT-06", "OUT-08")
def test_the_target_of_a_transfer_is_paid_like_any_call() -> None:
    on = world({"minutes": {"national": 1}})
    ana, carrier = on.phone("ana-phone"), on.carrier()
    first = talk(on, ana, carrier, 61.0)
    ana.bye(first)
    on.run(1.0)
    ben = on.phone("ben-phone")
    dialog = ana.call("+33639981002")
    on.run(0.3)
    ben.ring()
    on.run(0.2)
    ben.answer(sdp(6000))
    on.run(1.0)
    rang = invites(on)
    ana.request(dialog, "REFER", headers=(("refer-to", f"<sip:{OTHER}@cloudline.example>"),))
    on.run(2.0)
    assert invites(on) == rang
