"""A call that is forwarded is paid and bounded as a call of the number that forwards (FWD-03)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from callcontrol.intake import Admitted
from callcontrol.pricing.rates import Rate
from callcontrol.usage.counters import Leg, owner_of
from dialplan import reasons
from dialplan.plan import Forward, Identity, Refuse, ToTrunk
from numbering.e164 import E164
from numbering.models import CloudNumber, Greeting, GreetingMember, PlanLimits
from numbering.money import Money, read_money
from tests.support.world import START, World

ANA, COMPANY, OUTSIDE, STRANGER = "+33639981001", "+33639987000", "+33199001234", "+33639989999"
MONTH = "2027-01"
CALLER = Identity(number=STRANGER, asserted=STRANGER)


def world(**plan: Any) -> World:
    made = World()
    made.directory._plans = {"advanced": PlanLimits(devices=3, numbers=20, **plan)}
    made.directory.put_one(CloudNumber(e164=E164(COMPANY), user=""))
    made.directory.put_one(
        Greeting(number=E164(COMPANY), account="acme", members=(GreetingMember(user="ben"),))
    )
    return made


def forwarded(on: World, number: str, user: str, to: str = OUTSIDE) -> Admitted:
    step = Forward(to=to, number=number, user=user, account="acme")
    return on.server.intake.route_forward(step, CALLER, reasons.NO_ANSWER, 70, "call-1", START)


@pytest.mark.rule("FWD-03", "OUT-08")
@pytest.mark.parametrize(("number", "user"), [(ANA, "ana"), (COMPANY, "")])
def test_minutes_of_the_plan_count(number: str, user: str) -> None:
    on = world(minutes={"national": 1})
    admitted = forwarded(on, number, user)
    assert admitted.facts.usage is not None
    assert (admitted.facts.usage.number, admitted.facts.usage.zone) == (number, "national")
    assert isinstance(admitted.decision.plan.steps[0], ToTrunk)
    owner = owner_of(number, admitted.decision.plan.user)
    on.server.outgoing.counters.add(owner, MONTH, Leg("call-0/b", "national", 60, OUTSIDE), START)
    assert forwarded(on, number, user).decision.plan.steps == (Refuse(reason=reasons.FAIR_USE),)


@pytest.mark.rule("FWD-03", "OUT-06")
@pytest.mark.parametrize(("number", "user"), [(ANA, "ana"), (COMPANY, "")])
def test_prices_and_credit_decide_about_calls_abroad(number: str, user: str) -> None:
    on = world(minutes={"national": 1})

    def abroad() -> object:
        (step,) = forwarded(on, number, user, "+447700900123").decision.plan.steps
        return step.reason if isinstance(step, Refuse) else type(step)

    assert abroad() is ToTrunk  # without prices everything goes
    book = on.server.outgoing.book
    book.replace([Rate(prefix="+33", per_minute=Money(0))], [], version=1)
    assert abroad() == reasons.NOT_IN_PLAN
    book.replace([Rate(prefix="+44", per_minute=read_money("0.05"))], [], version=2)
    assert abroad() == reasons.NO_CREDIT
    account = on.directory.account("acme")
    assert account is not None
    on.directory.put_one(replace(account, credit=read_money("0.05")))
    assert abroad() is ToTrunk


@pytest.mark.rule("FWD-03")
@pytest.mark.parametrize("to", [COMPANY, "+33639981002"])
def test_a_number_of_ours_costs_nothing(to: str) -> None:
    on = world(minutes={"national": 1})
    assert forwarded(on, ANA, "ana", to).facts.usage is None
