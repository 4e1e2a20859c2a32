"""Facts of incoming and forwarded calls, read from a small company: what is read, and what is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from callcontrol.bindings import MemoryBindingStore
from callcontrol.dialled import OurHosts
from callcontrol.gather import Gatherer
from callcontrol.gather_callee import IntakeSettings
from callcontrol.intake import BY_FORWARD
from callcontrol.occupancy import MemoryOccupancy
from callcontrol.sip.uri import parse_uri
from dialplan import reasons, stored
from dialplan.evaluate import evaluate
from dialplan.facts import CallFacts, Limits, LoopFacts, OwnCall
from dialplan.plan import FREE, OFFERED, TALKING, Diversion, Forward, Hunt, Identity, Refuse, Ring, ToTrunk
from dialplan.schedule import zone_of
from gateway.trunk import Prefix, Trunk, TrunkDirectory
from numbering.classes import classify, labels_of
from numbering.directory import Directory
from numbering.e164 import E164
from numbering.hours import Hours, Span, WeeklySlot
from numbering.models import (
    Account,
    AccountKind,
    CloudNumber,
    Device,
    DeviceKind,
    Greeting,
    GreetingMember,
    NumberState,
    PlanLimits,
    User,
)
from numbering.plans import NumberClass
from tests.callcontrol.intake_bench import (
    ANA,
    ANA_FLOW,
    BEN,
    BEN_FLOW,
    NOW,
    OUTSIDE,
    STRANGER,
    Bench,
    KnownCalls,
    binding,
    from_carrier,
    invite,
)

COMPANY = E164("+33639987000")
SIM, BEN_SIM = "+33639980001", "+33639980002"
SELLER = f"+33{162}{0:06d}"
"""Of a range that the regulator keeps for selling."""
ALWAYS = Hours(zone="Europe/Paris", slots=(WeeklySlot(days=tuple(range(7)), span=Span(start=0, end=1440)),))
CALLER = Identity(number=STRANGER, asserted=STRANGER)
LOOP = LoopFacts(max_forwards=69)


class World:
    """A gatherer over a company of three; every part can be put otherwise."""

    def __init__(self, **limits: Any) -> None:
        self.directory = Directory(
            accounts=[Account(ref="acme", kind=AccountKind.COMPANY, manager="ana", plan="advanced")],
            plans={
                "advanced": PlanLimits(devices=3, numbers=10),
                "starter": PlanLimits(devices=1, numbers=5, greeting=False),
            },
            version=7,
        )
        for user in ("ana", "ben", "cleo"):
            self.put(User(ref=user, account="acme", name=user.title()))
        self.put(Device(ref="ana-phone", user="ana", sim=SIM, sim_verified=True, sip_username="ana-phone"))
        self.put(Device(ref="ana-desktop", user="ana", kind=DeviceKind.DESKTOP, sip_username="ana-desktop"))
        self.put(
            Device(ref="ben-phone", user="ben", sim=BEN_SIM, sim_verified=True, sip_username="ben-phone")
        )
        self.put(CloudNumber(e164=ANA, user="ana"))
        self.put(CloudNumber(e164=BEN, user="ben"))
        self.put(CloudNumber(e164=COMPANY, user=""))
        self.put(
            Greeting(
                number=COMPANY,
                account="acme",
                members=tuple(GreetingMember(user=user) for user in ("ana", "ben", "cleo")),
            )
        )
        self.bindings = MemoryBindingStore()
        self.calls = KnownCalls()
        self.occupancy = MemoryOccupancy()
        carrier = Trunk(ref="carrier-a", peers=("sip:192.0.2.80",), prefixes=(Prefix("+33"),), country="FR")
        self.trunk = carrier
        self.gatherer = Gatherer(
            IntakeSettings(
                hosts=OurHosts(frozenset({"cloudline.example"})), country="FR", limits=Limits(**limits)
            ),
            self.directory,
            TrunkDirectory([carrier]),
            self.bindings,
            self.calls,
            None,
            self.occupancy,
        )
        self.register("ana-phone", "ana")
        self.register("ana-desktop", "ana")

    def put(self, item: Account | User | Device | CloudNumber | Greeting) -> None:
        self.directory.put_one(item)

    def change(self, item: User | Device | CloudNumber | Greeting | None, **changes: Any) -> None:
        assert item is not None
        self.put(replace(item, **changes))

    def register(self, device: str, user: str) -> None:
        self.bindings.apply([binding(device, user, ANA_FLOW if user == "ana" else BEN_FLOW)])

    def called(self, e164: str, *headers: str, sender: str = STRANGER) -> CallFacts:
        uri = f"sip:{e164}@cloudline.example"
        message = from_carrier(uri, *headers, sender=f"<sip:{sender}@192.0.2.80>")
        return self.gatherer.from_trunk(message, parse_uri(uri), self.trunk, NOW)

    def calls_from(self, device: str, e164: str) -> CallFacts:
        uri = f"sip:{e164}@cloudline.example"
        found = self.directory.device(device)
        assert found is not None
        return self.gatherer.from_device(invite(uri, sender=f"<sip:{device}@x>"), parse_uri(uri), found, NOW)

    def forwarded(
        self, to: str, *, number: str = ANA, user: str = "ana", cause: str = "", **caller: Any
    ) -> CallFacts:
        step = Forward(to=to, number=number, user=user, account="acme")
        return self.gatherer.forwarded(step, replace(CALLER, **caller), cause, LOOP, NOW)


@pytest.fixture
def world() -> World:
    return World()


# -- an ordinary call reads nothing of all this --


def test_a_number_without_settings_costs_no_look_at_clocks_or_tables(world: World) -> None:
    asked = [looked.cache_info() for looked in (classify, labels_of, zone_of)]
    facts = world.called(ANA)
    assert isinstance(evaluate(facts).plan.steps[0], Ring)
    assert (facts.clock, facts.greeting, facts.forward, facts.psap_callback) == (None, None, None, False)
    assert facts.caller.number_class is NumberClass.UNKNOWN
    assert [looked.cache_info() for looked in (classify, labels_of, zone_of)] == asked


# -- hours --


@pytest.mark.rule("SLOT-01")
def test_the_clock_of_a_number_with_hours(world: World) -> None:
    world.change(world.directory.number(ANA), hours=replace(ALWAYS, holidays=("FR",)))
    clock = world.called(ANA).clock
    assert clock is not None
    assert (clock.date, clock.second, clock.holiday) == ("2027-01-15", 9 * 3600, "")
    assert evaluate(world.called(ANA)).plan.steps[0] == evaluate(World().called(ANA)).plan.steps[0]


@pytest.mark.rule("SLOT-01")
@pytest.mark.parametrize("odd", [{"zone": "Mars/Olympus"}, {"holidays": ("XX",)}])
def test_hours_that_nobody_can_read_any_more(world: World, odd: dict[str, Any]) -> None:
    world.change(world.directory.number(ANA), hours=replace(ALWAYS, slots=(), **odd))
    facts = world.called(ANA)
    assert facts.clock is None
    assert isinstance(evaluate(facts).plan.steps[0], Ring)


# -- who calls --


@pytest.mark.rule("INC-02")
@pytest.mark.parametrize("where", ["number", "user", "greeting"])
def test_the_class_of_the_caller_is_read_where_a_list_asks_for_it(world: World, where: str) -> None:
    called = COMPANY if where == "greeting" else ANA
    assert world.called(called, sender=SELLER).caller.number_class is NumberClass.UNKNOWN
    held: User | CloudNumber | Greeting | None = world.directory.number(ANA)
    if where != "number":
        held = world.directory.user("ana") if where == "user" else world.directory.greeting(COMPANY)
    world.change(held, block=("class:commercial",))
    facts = world.called(called, sender=SELLER)
    assert (facts.caller.number_class, facts.caller.labels) == (NumberClass.FIXED, ("commercial",))
    assert evaluate(facts).plan.steps == (Refuse(reason=reasons.BLOCKED),)
    other = world.called(called)
    assert (other.caller.number_class, other.caller.labels) == (NumberClass.MOBILE, ())


@pytest.mark.rule("INC-02")
def test_a_colleague_has_the_class_of_the_number_of_the_call(world: World) -> None:
    world.change(world.directory.number(BEN), spam=("class:mobile",))
    facts = world.calls_from("ana-phone", BEN)
    assert facts.caller.number_class is NumberClass.MOBILE
    assert evaluate(facts).plan.steps == (Refuse(reason=reasons.BLOCKED),)


@pytest.mark.rule("INC-02")
@pytest.mark.parametrize(
    ("header", "psap"),
    [("Priority: psap-callback", True), ("Priority: PSAP-Callback ", True), ("Priority: urgent", False)],
)
def test_an_emergency_service_says_that_it_calls_back(world: World, header: str, psap: bool) -> None:
    assert world.called(ANA, header).psap_callback is psap


def test_who_forwarded_a_call_is_read_from_the_first_to_the_last(world: World) -> None:
    latest, first = "<sip:+33199002345@x>;reason=unconditional", "<sip:+33199003456@x>;reason=no-answer"
    loop = world.called(ANA, f"Diversion: {latest}", f"Diversion: {first}").loop
    assert loop.diverted == ("+33199003456", "+33199002345")


# -- SIMs --


@pytest.mark.rule("INC-05")
def test_a_device_that_answers_by_gsm_is_called_on_its_sim_alone(world: World) -> None:
    world.change(world.directory.device("ana-phone"), answer="gsm")
    callee = world.called(ANA).callee
    assert callee is not None
    assert [target.device for target in callee.targets] == ["ana-desktop"]
    assert [(sim.device, sim.sim, sim.for_s) for sim in callee.sims] == [("ana-phone", SIM, 20.0)]
    late = world.gatherer.callees.late("ana", 0.0, NOW)
    assert [target.device for target in late] == ["ana-desktop"]


@pytest.mark.rule("INC-05", "DEV-01")
@pytest.mark.parametrize("changes", [{"sim_verified": False}, {"sim": ""}])
def test_without_a_verified_sim_it_rings_over_voip(world: World, changes: dict[str, Any]) -> None:
    world.change(world.directory.device("ana-phone"), answer="gsm", **changes)
    callee = world.called(ANA).callee
    assert callee is not None
    assert (callee.sims, callee.unproved) == ((), ("ana-phone",))
    assert [target.device for target in callee.targets] == ["ana-phone", "ana-desktop"]


@pytest.mark.rule("INC-06")
def test_the_last_way_is_a_verified_sim_of_a_phone(world: World) -> None:
    def fallback() -> list[str]:
        callee = world.called(ANA).callee
        assert callee is not None
        return [sim.sim for sim in callee.fallback]

    assert fallback() == []
    world.change(world.directory.number(ANA), gsm_fallback=True)
    assert fallback() == [SIM]
    world.put(
        Device(ref="ana-tablet", user="ana", kind=DeviceKind.DESKTOP, sim="+33639980009", sim_verified=True)
    )
    world.put(Device(ref="ana-spare", user="ana", sim=SIM, sim_verified=True))
    assert fallback() == [SIM]
    world.change(world.directory.device("ana-phone"), answer="gsm")
    assert fallback() == []
    world.change(world.directory.device("ana-phone"), answer="voip", sim_verified=False)
    world.change(world.directory.device("ana-spare"), sim_verified=False)
    assert fallback() == []


# -- members --


@pytest.mark.rule("GRT-04", "GRT-10")
def test_reach_is_what_a_member_has_at_that_moment(world: World) -> None:
    reach = world.gatherer.reach("ana", NOW)
    assert [target.device for target in reach.targets] == ["ana-phone", "ana-desktop"]
    assert (reach.busy, reach.sims, reach.fallback) == (FREE, (), ())
    world.change(world.directory.number(ANA), gsm_fallback=True)
    world.change(world.directory.device("ana-desktop"), answer="gsm", sim="+33639980009", sim_verified=True)
    world.occupancy.set("call-1", "ana", OFFERED, NOW + 60, NOW)
    world.occupancy.set("call-2", "ana", TALKING, NOW + 60, NOW)
    reach = world.gatherer.reach("ana", NOW)
    assert [target.device for target in reach.targets] == ["ana-phone"]
    assert [sim.device for sim in reach.sims] == ["ana-desktop"]
    assert [sim.device for sim in reach.fallback] == ["ana-phone"]
    assert reach.busy == TALKING
    assert world.gatherer.reach("ana", NOW, "call-2").busy == OFFERED
    world.change(world.directory.user("ana"), call_waiting=True)
    assert world.gatherer.reach("ana", NOW).busy == FREE


@pytest.mark.rule("NUM-13", "GRT-04")
def test_nobody_reaches_a_user_who_is_suspended_or_gone(world: World) -> None:
    world.change(world.directory.user("ana"), suspended=True)
    for user in ("ana", "nobody"):
        reach = world.gatherer.reach(user, NOW)
        assert (reach.targets, reach.wake, reach.sims, reach.fallback) == ((), (), (), ())


@pytest.mark.rule("GRT-04", "GRT-09", "GRT-10")
def test_a_greeting_with_its_members(world: World) -> None:
    world.register("ben-phone", "ben")
    world.occupancy.set("call-1", "ben", TALKING, NOW + 60, NOW - 30)
    world.occupancy.set("call-1", "ben", FREE, NOW + 60, NOW - 10)
    world.occupancy.set("call-2", "cleo", TALKING, NOW + 60, NOW)
    world.occupancy.took_turn(COMPANY)
    facts = world.called(COMPANY)
    called = facts.greeting
    assert called is not None
    assert (called.suspended, called.allowed, called.turn, called.clock) == (False, True, 1, None)
    assert [(m.callee.user, len(m.callee.targets), m.busy, m.idle_since) for m in called.members] == [
        ("ana", 2, FREE, 0.0),
        ("ben", 1, FREE, NOW - 10),
        ("cleo", 0, TALKING, 0.0),
    ]
    step = evaluate(facts).plan.steps[0]
    assert isinstance(step, Hunt)
    assert [group[0].user for group in step.groups] == ["ana", "ben", "cleo"]
    assert stored.load(stored.dump(facts)) == facts


@pytest.mark.rule("GRT-04")
@pytest.mark.parametrize("number", [SIM, ANA])
def test_a_member_who_calls_over_the_mobile_network_is_known(world: World, number: str) -> None:
    called = world.called(COMPANY, sender=number).greeting
    assert called is not None
    assert [member.calls for member in called.members] == [True, False, False]


@pytest.mark.rule("GRT-04")
def test_a_member_who_calls_from_a_phone_is_known(world: World) -> None:
    called = world.calls_from("ben-phone", COMPANY).greeting
    assert called is not None
    assert [member.calls for member in called.members] == [False, True, False]


@pytest.mark.rule("GRT-08", "NUM-13")
def test_plan_and_suspension_of_the_company(world: World) -> None:
    world.put(Account(ref="acme", kind=AccountKind.COMPANY, manager="ana", plan="starter", suspended=True))
    called = world.called(COMPANY).greeting
    assert called is not None
    assert (called.allowed, called.suspended) == (False, True)


def test_a_number_that_left_is_no_greeting_any_more(world: World) -> None:
    world.change(world.directory.number(COMPANY), state=NumberState.PORTED_OUT)
    assert world.called(COMPANY).greeting is None


# -- forwards --


@pytest.mark.rule("FWD-02", "FWD-03")
@pytest.mark.parametrize(
    ("cause", "word"),
    [
        (reasons.NO_ANSWER, "no-answer"),
        (reasons.BUSY, "user-busy"),
        (reasons.DECLINED, "deflection"),
        (reasons.UNREACHABLE, "unavailable"),
        ("", "unavailable"),
    ],
)
def test_a_forward_is_a_call_of_the_holder_that_names_who_forwarded_and_why(
    world: World, cause: str, word: str
) -> None:
    before = (Diversion(number="+33199002345", reason="unconditional"),)
    facts = world.forwarded(OUTSIDE, cause=cause, diverted=before)
    assert facts.forward is not None
    assert facts.forward.caller == replace(CALLER, diverted=(*before, Diversion(number=ANA, reason=word)))
    assert facts.forward.cause == word
    device = facts.device
    assert device is not None
    assert (device.device, device.user, device.account, device.sim_verified) == ("", "ana", "acme", True)
    assert [number.e164 for number in device.numbers] == [ANA]
    assert facts.trunk_available
    (step,) = evaluate(facts).plan.steps
    assert isinstance(step, ToTrunk)
    assert step.number == OUTSIDE
    assert stored.load(stored.dump(facts)) == facts


@pytest.mark.rule("FWD-02")
def test_a_forward_of_all_calls_is_unconditional(world: World) -> None:
    step = Forward(to=OUTSIDE, number=ANA, user="ana", account="acme", always=True)
    facts = world.gatherer.forwarded(step, CALLER, reasons.BUSY, LOOP, NOW)
    assert facts.forward is not None
    assert facts.forward.caller.diverted == (Diversion(number=ANA, reason="unconditional"),)


@pytest.mark.rule("FWD-02", "INC-05")
def test_a_forward_to_a_number_of_ours_rings_its_devices(world: World) -> None:
    world.register("ben-phone", "ben")
    step = evaluate(world.forwarded(BEN)).plan.steps[0]
    assert isinstance(step, Ring)
    assert [target.device for target in step.targets] == ["ben-phone"]


@pytest.mark.rule("FWD-04")
def test_a_forward_to_the_caller_is_a_loop(world: World) -> None:
    facts = world.forwarded(BEN, number=ANA, asserted=E164("+33639982002"), diverted=())
    assert facts.forward is not None
    assert facts.forward.caller_user == ""
    world.put(CloudNumber(e164=E164("+33639982002"), user="ben"))
    own = world.forwarded(BEN, asserted="+33639982002")
    assert own.forward is not None
    assert own.forward.caller_user == "ben"
    assert evaluate(own).plan.steps == (Refuse(reason=reasons.LOOP),)


@pytest.mark.rule("FWD-03", "OUT-05")
@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ("112", reasons.BARRED_CLASS),
        ("+33112", reasons.BARRED_CLASS),
        ("nobody", reasons.INVALID_NUMBER),
        ("", reasons.INVALID_NUMBER),
        ("+44779000", reasons.INVALID_NUMBER),
        ("+447700900123", reasons.NO_ROUTE),
    ],
)
def test_targets_that_cannot_be_called(world: World, to: str, reason: str) -> None:
    assert evaluate(world.forwarded(to)).plan.steps == (Refuse(reason=reason),)


@pytest.mark.rule("FWD-03", "GRT-06")
def test_a_greeting_forwards_in_the_name_of_its_company(world: World) -> None:
    facts = world.forwarded(OUTSIDE, number=COMPANY, user="")
    assert facts.device is not None
    assert (facts.device.user, facts.device.account) == ("ana", "acme")
    plan = evaluate(facts).plan
    assert isinstance(plan.steps[0], ToTrunk)
    assert (plan.number, plan.user, plan.account) == (COMPANY, "ana", "acme")
    account = world.directory.account("acme")
    assert account is not None
    world.put(replace(account, suspended=True))
    suspended = world.forwarded(OUTSIDE, number=COMPANY, user="")
    assert evaluate(suspended).plan.steps == (Refuse(reason=reasons.SUSPENDED),)


@pytest.mark.rule("FWD-03")
def test_a_forward_of_somebody_who_is_gone(world: World) -> None:
    facts = world.forwarded(OUTSIDE, user="nobody")
    assert evaluate(facts).plan.steps == (Refuse(reason=reasons.SUSPENDED),)


@pytest.mark.rule("FWD-04")
def test_the_intake_decides_about_a_forward_and_knows_the_call_itself() -> None:
    bench = Bench()
    bench.calls.known["call-1"] = OwnCall(call_ref="call-1", called=BEN)
    step = Forward(to=OUTSIDE, number=ANA, user="ana", account="acme")
    admitted = bench.intake.route_forward(step, CALLER, reasons.BUSY, 69, "call-1", NOW)
    assert (admitted.by, admitted.device, admitted.trunk) == (BY_FORWARD, "", "")
    assert isinstance(admitted.decision.plan.steps[0], ToTrunk)
    assert admitted.facts.loop.own_calls == (OwnCall(call_ref="call-1", called=BEN),)
    back = bench.intake.route_forward(replace(step, to=BEN), CALLER, "", 69, "call-1", NOW)
    assert back.decision.plan.steps == (Refuse(reason=reasons.LOOP),)
    used_up = bench.intake.route_forward(step, CALLER, "", 1, "call-1", NOW)
    assert used_up.decision.plan.steps == (Refuse(reason=reasons.LOOP),)
