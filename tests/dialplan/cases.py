"""Facts to start from, changed by each test in one place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dialplan.facts import (
    FROM_DEVICE,
    FROM_TRUNK,
    CalledNumber,
    Callee,
    CallerDevice,
    CallerNumber,
    CallFacts,
)
from dialplan.plan import Decision, DeviceTarget, Refuse, Ring, ToTrunk
from numbering.e164 import E164
from numbering.models import CloudNumber, NumberState
from numbering.plans import NumberClass

ANA = E164("+33639981001")
ANA_SECOND = E164("+33639981002")
BEN = E164("+33639982001")
OUTSIDE = E164("+33199001234")
STRANGER = E164("+33639989999")
SIM = E164("+33639980001")


def target(device: str, *, user: str = "ana", flow: str = "udp|192.0.2.7|5060|0|udp:a") -> DeviceTarget:
    return DeviceTarget(
        user=user,
        device=device,
        aor=f"sip:{device}@cloudline.example",
        contact=f"sip:{device}@192.0.2.7:5060",
        flow=flow,
        binding=f"{device}-key",
    )


ANA_NUMBER = CloudNumber(e164=ANA, user="ana")
BEN_NUMBER = CloudNumber(e164=BEN, user="ben", ring_seconds=20.0)
ANA_CALLEE = Callee(user="ana", account="acme", targets=(target("ana-phone"), target("ana-desktop")))
BEN_CALLEE = Callee(user="ben", account="acme", targets=(target("ben-phone", user="ben"),))
ANA_PHONE = CallerDevice(
    device="ana-phone",
    user="ana",
    account="acme",
    sip_username="ana-phone",
    sim=SIM,
    country="FR",
    name="Ana Example",
    company=True,
    has_sim=True,
    sim_verified=True,
    numbers=(ANA_NUMBER, CloudNumber(e164=ANA_SECOND, user="ana")),
    default_number=ANA,
    emergency_countries=("FR",),
)

FROM_CARRIER = CallFacts(
    source=FROM_TRUNK,
    now=1_800_000_000.0,
    config_version=7,
    trunk="carrier-a",
    caller=CallerNumber(presented=STRANGER, e164=STRANGER, display="Stranger", source="p-asserted-identity"),
    called=CalledNumber(dialled=ANA, e164=ANA),
    number=ANA_NUMBER,
    callee=ANA_CALLEE,
)
TO_OUTSIDE = CallFacts(
    source=FROM_DEVICE,
    now=1_800_000_000.0,
    config_version=7,
    device=ANA_PHONE,
    caller=CallerNumber(presented="ana-phone", source="from"),
    called=CalledNumber(dialled="0199001234", e164=OUTSIDE, number_class=NumberClass.FIXED),
    trunk_available=True,
)
TO_BEN = CallFacts(
    source=FROM_DEVICE,
    now=1_800_000_000.0,
    config_version=7,
    device=ANA_PHONE,
    caller=CallerNumber(presented="ana-phone", source="from"),
    called=CalledNumber(dialled=BEN, e164=BEN),
    number=BEN_NUMBER,
    callee=BEN_CALLEE,
)
TO_COLLEAGUE = CallFacts(
    source=FROM_DEVICE,
    now=1_800_000_000.0,
    config_version=7,
    device=ANA_PHONE,
    caller=CallerNumber(presented="ana-phone", source="from"),
    called=CalledNumber(dialled="ben-phone", fault="not_a_number"),
    callee=BEN_CALLEE,
    colleague=True,
)


def refused(decision: Decision) -> tuple[str, str]:
    """Rule and reason of a refusal."""
    (step,) = decision.plan.steps
    assert isinstance(step, Refuse)
    last = decision.trace[-1]
    assert last.outcome == f"refuse:{step.reason}"
    return last.rule, step.reason


def rung(decision: Decision) -> list[str]:
    (step,) = decision.plan.steps
    assert isinstance(step, Ring)
    return [each.device for each in step.targets]


def dialled(decision: Decision) -> str:
    (step,) = decision.plan.steps
    assert isinstance(step, ToTrunk)
    return step.number


def number(facts: CallFacts, **changes: Any) -> CallFacts:
    assert facts.number is not None
    return replace(facts, number=replace(facts.number, **changes))


def caller(facts: CallFacts, **changes: Any) -> CallFacts:
    return replace(facts, caller=replace(facts.caller, **changes))


def device(facts: CallFacts, **changes: Any) -> CallFacts:
    assert facts.device is not None
    return replace(facts, device=replace(facts.device, **changes))


def held(state: NumberState = NumberState.ACTIVE, **changes: Any) -> tuple[CloudNumber, ...]:
    return (CloudNumber(e164=ANA, user="ana", state=state, **changes),)
