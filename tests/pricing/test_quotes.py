"""The price of a call before it is made, as the app of a phone asks for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from callcontrol.phone_requests import Reply
from callcontrol.pricing.rates import Package, Rate
from callcontrol.usage.counters import Leg, owner_of
from dialplan.paying import PAYERS
from numbering.models import PlanLimits
from numbering.money import read_money
from tests.support.world import World

pytestmark = pytest.mark.rule("OUT-06")

ANA, OUTSIDE, ABROAD, FREEPHONE = "+33639981001", "+33199001234", "+447700900123", "0800" + "000000"
RATE = Rate(
    prefix="+44",
    per_minute=read_money("0.10"),
    connection=read_money("0.05"),
    minimum_seconds=30,
    increment_seconds=30,
)


@pytest.fixture
def on() -> World:
    made = World()
    made.server.outgoing.book.replace(
        [RATE], [Package(ref="europe", zones=("europe",), minutes=10)], version=1
    )
    return made


def account(on: World, **changes: Any) -> None:
    found = on.directory.account("acme")
    assert found is not None
    on.directory.put_one(replace(found, **changes))


def ask(on: World, to: str, **fields: object) -> dict[str, Any]:
    seen: list[Reply] = []
    on.server.phone.handle("ana-phone", {"type": "price", "to": to, **fields}, on.now(), seen.append)
    (reply,) = seen
    return reply.as_json()


def test_a_call_on_credit_has_a_price_by_the_minute_and_for_a_duration(on: World) -> None:
    account(on, credit=read_money("5"))
    assert ask(on, ABROAD, seconds=61) == {
        "ok": True,
        "number": ANA,
        "to": ABROAD,
        "zone": "europe",
        "paid_by": "credit",
        "currency": "EUR",
        "per_minute": "0.10",
        "connection": "0.05",
        "minimum_seconds": 30,
        "increment_seconds": 30,
        "seconds": 61,
        "billed_seconds": 90,
        "total": "0.20",
    }
    assert "total" not in ask(on, ABROAD)


def test_who_has_no_credit_is_told_the_price_and_why_not(on: World) -> None:
    reply = ask(on, ABROAD, seconds=60)
    assert (reply["paid_by"], reply["per_minute"], reply["total"]) == ("", "0.10", "0.15")
    assert reply["refusal"] == {"code": "no_credit", "message": "There is no credit for this call."}


def test_what_plan_and_packages_pay_costs_nothing_more(on: World) -> None:
    account(on, packages=("europe",))
    reply = ask(on, ABROAD, seconds=60)
    assert (reply["paid_by"], reply["per_minute"], reply["total"]) == ("package", "0.00", "0.00")
    on.directory._plans = {"advanced": PlanLimits(devices=3, numbers=20, minutes={"national": 1})}
    reply = ask(on, OUTSIDE, seconds=60)
    assert (reply["paid_by"], reply["zone"], reply["total"]) == ("plan", "national", "0.00")
    month = "2027-01"
    on.server.outgoing.counters.add(
        owner_of(ANA, "ana"), month, Leg("c/b1", "national", 60, OUTSIDE), on.now()
    )
    assert ask(on, OUTSIDE)["refusal"]["code"] == "fair_use"


@pytest.mark.parametrize(("to", "payer"), [("+33639981002", "free"), (FREEPHONE, "free"), (OUTSIDE, "plan")])
def test_other_calls(on: World, to: str, payer: str) -> None:
    on.phone("ben-phone")
    assert payer in PAYERS
    assert ask(on, to)["paid_by"] == payer


def test_without_prices_nobody_pays() -> None:
    reply = ask(World(), ABROAD, seconds=60)
    assert (reply["paid_by"], reply["currency"], reply["total"]) == ("nobody", "", "0.00")


@pytest.mark.rule("OUT-09")
@pytest.mark.parametrize(
    ("to", "code"),
    [
        ("+15550100", "not_in_plan"),
        ("112", "emergency"),
        ("0899" + "000000", "barred_class"),
        ("+999", "invalid_number"),
    ],
)
def test_what_cannot_be_called_has_no_price_but_its_reason(on: World, to: str, code: str) -> None:
    reply = ask(on, to)
    assert (reply["ok"], reply["error"]["code"]) == (False, code)
