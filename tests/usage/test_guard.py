"""The gate of outgoing legs with a store that answers late, and the facts when it does not answer at all."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from callcontrol.metric_catalogue import CATALOGUE
from callcontrol.pricing.rates import PriceBook, Rate
from callcontrol.usage.counters import MemoryUsageCounters
from callcontrol.usage.guard import BOUNDS, OutgoingGuard
from callcontrol.usage.policy import HOMES_S, OutgoingPolicy, Zoning
from callcontrol.usage.slots import USER, MemoryOutgoingSlots, Slot, SlotLimits
from callcontrol.usage.source import UsageSource
from config.sections import OutgoingSettings
from dialplan.evaluate import evaluate
from dialplan.facts import CallFacts
from dialplan.plan import ToTrunk
from numbering.directory import Directory
from numbering.e164 import E164
from numbering.models import Account, AccountKind, CloudNumber, Device, PlanLimits, User
from numbering.money import Money
from tests.dialplan.cases import TO_OUTSIDE

ANA, OUTSIDE, ABROAD, SIM = "+33639981001", "+33199001234", "+447700900123", "+33639980001"
NOW = 1_800_000_000.0
DAY = 86_400.0


class LateSlots(MemoryOutgoingSlots):
    """A store on other machines: answers wait until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Callable[[], None]] = []

    def acquire(
        self, slot: Slot, limits: SlotLimits, until: float, now: float, done: Callable[[str], None]
    ) -> None:
        take = super().acquire
        self.waiting.append(lambda: take(slot, limits, until, now, done))

    def answer(self) -> None:
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            each()


def directory(plan: PlanLimits) -> Directory:
    return Directory(
        accounts=[Account(ref="acme", kind=AccountKind.COMPANY, plan="p")],
        users=[User(ref="ana", account="acme")],
        devices=[Device(ref="ana-phone", user="ana", sim=SIM, sim_verified=True)],
        numbers=[CloudNumber(e164=E164(ANA), user="ana")],
        plans={"p": plan},
    )


def guard(slots: MemoryOutgoingSlots, plan: PlanLimits | None = None, **policy: float) -> OutgoingGuard:
    held = directory(plan or PlanLimits(devices=3, numbers=5))
    figures = OutgoingPolicy(**policy)  # type: ignore[arg-type]
    return OutgoingGuard(held, figures, Zoning(held, figures, PriceBook()), slots, 14_500.0)


def ask(of: OutgoingGuard, leg: str, called: str = OUTSIDE, user: str = "ana") -> list[str]:
    seen: list[str] = []
    of.acquire(leg, user, "acme", ANA, called, True, NOW, seen.append)
    return seen


@pytest.mark.rule("OUT-10", "LIVE-03")
def test_a_leg_that_ended_before_its_slot_came_keeps_none() -> None:
    slots = LateSlots()
    gate = guard(slots, user_calls=1)
    seen = ask(gate, "c1.b1")
    assert seen == []
    gate.release("c1.b1")
    slots.answer()
    assert seen == [""]
    assert slots.in_use("all", USER, "ana") == 0


@pytest.mark.rule("OUT-10")
def test_of_two_that_ask_at_once_one_gets_the_last_slot() -> None:
    slots = LateSlots()
    gate = guard(slots, user_calls=1)
    first, second = ask(gate, "c1.b1"), ask(gate, "c2.b1")
    slots.answer()
    assert (first, second) == ([""], ["user_calls"])
    assert gate.refused == {"user_calls": 1}
    gate.release("c2.b1")
    assert slots.in_use("all", USER, "ana") == 1


@pytest.mark.rule("OUT-10")
def test_both_slots_of_a_call_abroad_are_asked_and_given_back() -> None:
    slots = LateSlots()
    gate = guard(slots, user_calls=1, user_calls_abroad=5)
    assert ask(gate, "c0.b1") == []
    slots.answer()
    abroad = ask(gate, "c1.b1", ABROAD)
    slots.answer()
    slots.answer()
    assert abroad == ["user_calls"]
    assert slots.in_use("abroad", USER, "ana") == 0


@pytest.mark.rule("OUT-10", "OPS-01")
def test_a_bound_is_called_like_its_setting() -> None:
    assert set(BOUNDS) == {
        name for name in OutgoingSettings.model_fields if re.match("(user|account)_calls", name)
    }
    assert set(CATALOGUE["outgoing_legs_refused"].labels["bound"]) == set(BOUNDS)


@pytest.mark.rule("OUT-10")
def test_a_plan_goes_before_the_settings() -> None:
    slots = MemoryOutgoingSlots()
    gate = guard(slots, PlanLimits(devices=3, numbers=5, calls=2), user_calls=1)
    assert [ask(gate, f"c{n}.b1") for n in range(3)] == [[""], [""], ["user_calls"]]


@pytest.mark.rule("OUT-10")
@pytest.mark.parametrize(("called", "user"), [(SIM, "ana"), (OUTSIDE, ""), ("3179;phone-context=+33", "ana")])
def test_legs_that_hold_nothing(called: str, user: str) -> None:
    """The own SIM is our way to the user; a short number leaves no country; calls of nobody are not outgoing calls."""
    slots = MemoryOutgoingSlots()
    gate = guard(slots, user_calls_abroad=1, user_calls=1 if called == SIM else 0)
    assert ask(gate, "c1.b1", called, user) == [""]
    assert len(slots) == 0


@pytest.mark.rule("OUT-10")
def test_without_bounds_nothing_is_kept() -> None:
    slots = MemoryOutgoingSlots()
    gate = guard(slots)
    assert ask(gate, "c1.b1", ABROAD) == [""]
    gate.release("c1.b1")
    assert len(slots) == 0


@pytest.mark.rule("NUM-08")
def test_a_sim_counts_where_it_was_seen_lately() -> None:
    held = directory(PlanLimits(devices=3, numbers=5))
    zoning = Zoning(held, OutgoingPolicy(), PriceBook())
    device = held.device("ana-phone")
    assert device is not None
    assert zoning.zone("ana", ANA, OUTSIDE, NOW) == "national", "never seen: it counts by its number"
    held.put_one(replace(device, sim_country="FR", sim_seen_at=NOW))
    assert zoning.zone("ana", ANA, OUTSIDE, NOW + 34 * DAY) == "national"
    assert zoning.zone("ana", ANA, OUTSIDE, NOW + 36 * DAY) == "world", "not seen for longer than the window"
    held.put_one(replace(device, sim_country="GB", sim_seen_at=NOW))
    assert zoning.zone("ana", ANA, OUTSIDE, NOW + HOMES_S / 2) == "world", "changes count at once"
    held.put_one(replace(device, sim=""))
    assert zoning.zone("ana", ANA, OUTSIDE, NOW) == "national", "without any SIM every number is at home"


@pytest.mark.rule("OUT-06", "OUT-08")
def test_counters_that_do_not_answer_stop_nobody_but_prices_count() -> None:
    held = directory(PlanLimits(devices=3, numbers=5, minutes={"national": 1}))
    policy, book = OutgoingPolicy(), PriceBook([Rate(prefix="+1", per_minute=Money(1))])
    source = UsageSource(held, policy, Zoning(held, policy, book), book, MemoryUsageCounters())
    assert source.wants(TO_OUTSIDE)
    facts: CallFacts = source.missing(TO_OUTSIDE)
    assert facts.usage is not None
    assert not facts.usage.counted
    assert isinstance(evaluate(facts).plan.steps[0], ToTrunk)
    away = replace(TO_OUTSIDE, called=replace(TO_OUTSIDE.called, e164=ABROAD))
    assert [line.outcome for line in evaluate(source.missing(away)).trace][-1] == "refuse:not_in_plan"
