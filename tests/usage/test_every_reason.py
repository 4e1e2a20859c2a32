"""One reason, the same word everywhere (OUT-09); and emergency calls, which nothing stops (OUT-05)."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.b2bua.causes import CAUSES
from callcontrol.call_log import LoggedOutbox
from callcontrol.cdr import CallRecord
from callcontrol.logs import CallLog
from callcontrol.metric_catalogue import CATALOGUE
from callcontrol.phone_requests import Error, Reply
from callcontrol.pricing.rates import Rate
from callcontrol.usage.counters import Leg, owner_of
from config.sections import LimitSettings, LogSettings, OutgoingSettings
from config.settings import Settings
from dialplan import reasons
from dialplan.evaluate import evaluate
from dialplan.facts import CallFacts, Limits
from dialplan.plan import Refuse
from numbering.e164 import E164
from numbering.models import CloudNumber, NumberState, PlanLimits
from numbering.money import Money
from numbering.plans import NumberClass
from tests.dialplan.test_any_facts import facts_of_all_kinds
from tests.support.party import SERVER, Dialog, Headers, sdp
from tests.support.world import ListSink, World

ANA, BEN, OUTSIDE, ABROAD = E164("+33639981001"), "+33639981002", "+33199001234", "+447700900123"


class Case:
    """How a reason comes about: what is arranged, what is dialled."""

    def __init__(
        self,
        arrange: Callable[[World], None] = lambda on: None,
        dial: str = OUTSIDE,
        headers: Headers = (),
        asked: bool = True,
    ) -> None:
        self.arrange = arrange
        self.dial = dial
        self.headers = headers
        self.asked = asked
        """An app that asks for the call is refused for the same reason; bounds of legs come later than that."""


def devices(**changes: Any) -> Callable[[World], None]:
    def arrange(on: World) -> None:
        for device in on.directory.devices_of("ana"):
            on.directory.put_one(replace(device, **changes))

    return arrange


def number(**changes: Any) -> Callable[[World], None]:
    def arrange(on: World) -> None:
        held = on.directory.number(ANA)
        assert held is not None
        on.directory.put_one(replace(held, **changes))

    return arrange


def suspended(on: World) -> None:
    user = on.directory.user("ana")
    assert user is not None
    on.directory.put_one(replace(user, suspended=True))


def priced(prefix: str) -> Callable[[World], None]:
    def arrange(on: World) -> None:
        on.server.outgoing.book.replace([Rate(prefix=prefix, per_minute=Money(50_000))], [], version=1)

    return arrange


def used_up(on: World) -> None:
    on.directory._plans = {"advanced": PlanLimits(devices=3, numbers=20, minutes={"national": 1})}
    leg = Leg("earlier/b1", "national", 60, OUTSIDE)
    on.server.outgoing.counters.add(owner_of(ANA, "ana"), "2027-01", leg, on.now())


def busy(on: World) -> None:
    desk, carrier = on.phone("ana-desktop"), on.carrier()
    dialog = desk.call(OUTSIDE)
    on.run(0.3)
    carrier.answer(sdp(6000))
    on.run(0.5)
    assert dialog.status == 200


CASES: dict[str, Case] = {
    reasons.UNVERIFIED_SIM: Case(devices(sim_verified=False)),
    reasons.NO_CREDIT: Case(priced("+44"), ABROAD),
    reasons.NOT_IN_PLAN: Case(priced("+1"), ABROAD),
    reasons.EXPIRED: Case(number(state=NumberState.EXPIRED)),
    reasons.SUSPENDED: Case(suspended),
    reasons.CALLS_OFF: Case(number(calls=False)),
    reasons.BARRED_CLASS: Case(dial="0899" + "000000"),
    reasons.NOT_YOUR_NUMBER: Case(
        headers=(("p-preferred-identity", f"<sip:{BEN}@cloudline.example>"),), asked=False
    ),
    reasons.INVALID_NUMBER: Case(dial="+999123"),
    reasons.FAIR_USE: Case(used_up),
    reasons.TOO_MANY_CALLS: Case(busy, asked=False),
    # A callback rings the SIM first, and the callee may have come by then.
    reasons.UNREACHABLE: Case(dial=BEN, asked=False),
    reasons.EMERGENCY: Case(dial="112"),
}
"""The closed list of OUT-09, with emergency calls, which are turned away as well."""


def settings(reason: str) -> Settings:
    return Settings(outgoing=OutgoingSettings(user_calls=1 if reason == reasons.TOO_MANY_CALLS else 0))


def refused(on: World, case: Case) -> tuple[Dialog, CallRecord]:
    ana = on.phone("ana-phone")
    case.arrange(on)
    invites = carrier_invites(on)
    dialog = ana.call(case.dial, headers=case.headers)
    on.run(1.0)
    assert carrier_invites(on) == invites, "no leg was sent"
    return dialog, on.records[-1]


def carrier_invites(on: World) -> int:
    log = on.network.log
    return sum(d.startswith(b"INVITE ") and t.startswith("10.0.") and s == SERVER for _, s, t, d in log)


@pytest.mark.rule("OUT-09")
@pytest.mark.parametrize("reason", CASES)
def test_the_same_word_stands_everywhere(reason: str) -> None:
    case, on = CASES[reason], World(settings=settings(reason))
    dialog, record = refused(on, case)
    cause = CAUSES[reason]
    final = dialog.last("INVITE")
    # On the wire: a status of its own, Reason for programs, Warning for people.
    assert final.status == cause.status
    assert 380 <= final.status < 500
    assert final.all("reason")[0] == f'SIP;cause={cause.status};text="{reason}"'
    assert final.all("reason")[1] == f"Q.850;cause={cause.q850}"
    assert final.get("warning") == f'399 cloudline "{cause.sentence}"'
    # In the record and in the trace.
    assert (record.reason, record.status, record.cause) == (reason, cause.status, cause.q850)
    assert (record.direction, record.device, record.ended_by) == (record.direction, "ana-phone", "server")
    refusals = [outcome for _, outcome, *_ in json.loads(record.trace) if outcome.startswith("refuse:")]
    assert refusals == [f"refuse:{reason}"]
    # In the metrics, by a label that Prometheus was told of.
    assert on.server.runner.performer.stats.refusals == {reason: 1}
    assert reason in CATALOGUE["call_refusals"].labels["reason"]


@pytest.mark.rule("OUT-09")
@pytest.mark.parametrize("reason", [reason for reason, case in CASES.items() if case.asked])
def test_an_app_that_asks_gets_the_same_word(reason: str) -> None:
    case, on = CASES[reason], World(settings=settings(reason))
    case.arrange(on)
    seen: list[Reply] = []
    request = {"type": "callback", "number": ANA, "to": case.dial}
    on.server.phone.handle("ana-phone", request, on.now(), seen.append)
    (reply,) = seen
    assert isinstance(reply, Error)
    assert reply.code == reason
    assert reply.message


@pytest.mark.rule("OUT-09")
def test_every_reason_of_the_closed_list_is_walked() -> None:
    told = (
        "unverified_sim no_credit not_in_plan expired suspended calls_off barred_class not_your_number "
        "invalid_number fair_use too_many_calls unreachable emergency"
    )
    assert set(CASES) == set(told.split())


# -- emergency --


def draining(on: World) -> None:
    on.server.core.draining = True


TROUBLES: dict[str, Callable[[World], None]] = {
    "nothing": lambda on: None,
    "an unverified SIM": devices(sim_verified=False),
    "no SIM": devices(sim="", sim_verified=False),
    "a suspended user": suspended,
    "an expired number": number(state=NumberState.EXPIRED),
    "a quarantined number": number(state=NumberState.QUARANTINED),
    "calls off": number(calls=False),
    "no prices for it": priced("+1"),
    "minutes used up": used_up,
    "too many calls": busy,
    "a server that drains": draining,
}


@pytest.mark.rule("OUT-05", "NUM-13")
@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("dialled", ["112", "15", "999"])
def test_nothing_stops_an_emergency_call(trouble: str, dialled: str) -> None:
    on = World(settings=Settings(outgoing=OutgoingSettings(user_calls=1, user_calls_per_minute=1)))
    # A SIM of France and a number of Great Britain: the emergency numbers of both count.
    on.directory.put_one(CloudNumber(e164=E164("+447700900001"), user="ana"))
    case = Case(
        TROUBLES[trouble], dialled, (("p-preferred-identity", f"<sip:{BEN}@x>"), ("session-expires", "1"))
    )
    dialog, record = refused(on, case)
    final = dialog.last("INVITE")
    assert final.status == 380
    assert final.get("content-type") == "application/3gpp-ims+xml"
    advice = ElementTree.fromstring(final.body)
    assert advice.findtext("alternative-service/type") == "emergency"
    assert (record.reason, record.status, record.billable_seconds) == ("emergency", 380, 0)
    assert record.dialled == dialled
    assert on.server.runner.performer.stats.refusals["emergency"] == 1


@pytest.mark.rule("OUT-05")
def test_an_overloaded_server_still_advises() -> None:
    on = World(settings=Settings(limits=LimitSettings(max_calls=1)))
    dialog, _ = refused(on, Case(busy, "112"))
    assert dialog.status == 380


@pytest.mark.rule("OUT-05")
@pytest.mark.parametrize("level", ["info", "error"])
@pytest.mark.parametrize("form", ["console", "json"])
def test_an_emergency_call_is_logged_at_every_level(level: str, form: str) -> None:
    on = World()
    _, record = refused(on, Case(dial="112"))
    out = io.StringIO()
    log = LoggedOutbox(ListSink(), CallLog(LogSettings(level=level, format=form), out))  # type: ignore[arg-type]
    log.put(record)
    assert "emergency" in out.getvalue()
    log.put(replace_record(record, "busy"))
    assert out.getvalue().count("\n") == (2 if level == "info" else 1)


def replace_record(record: CallRecord, reason: str) -> CallRecord:
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    return CallRecord(**(fields | {"reason": reason}))


@pytest.mark.rule("OUT-05")
@given(facts_of_all_kinds, st.sampled_from(["all", "known", "none"]))
def test_no_facts_of_any_kind_stop_it(facts: CallFacts, policy: str) -> None:
    if facts.device is None or facts.forward is not None:
        return
    limits = Limits(verified_sim=policy, barred_classes=tuple(NumberClass))
    called = replace(facts.called, number_class=NumberClass.EMERGENCY)
    decision = evaluate(replace(facts, called=called, limits=limits))
    assert decision.plan.steps == (Refuse(reason=reasons.EMERGENCY),)
    assert [line.rule for line in decision.trace] == ["OUT-05"]
