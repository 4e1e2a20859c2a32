"""What ``cloudline explain`` says of a call, and what ``cloudline calls show`` says of it once it was made (OPS-02)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.harness.company import AWAY, OUTBOUND, RING_S, Company, closed_now, forward, greeting, number
from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.world import OUTSIDE

pytestmark = [pytest.mark.e2e, pytest.mark.needs("openssl")]
ON_BUSY, THERE, BACK, LISTS, BOX = (f"+336399820{place:02}" for place in range(20, 25))
HUNT, CLOSED = "+33639987020", "+33639987021"
DOCUMENTS = "\n".join(
    [
        number(ON_BUSY, forward(AWAY, "missed", '["busy"]')),
        number(THERE, forward(BACK)),
        number(BACK, forward(THERE), user="cleo"),
        number(LISTS, f'block = ["{OUTSIDE}"]'),
        number(BOX, "voicemail = true"),
        greeting(HUNT, "fay", "ana", "ben", "cleo", more="repeat = 1"),
        greeting(
            CLOSED,
            "ana",
            more=f'[[greeting.open]]\n{closed_now()}[greeting.closed]\naction = "forward"\nto = "{AWAY}"',
        ),
    ]
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    made = Company(tmp_path_factory.mktemp("explained"), DOCUMENTS)
    try:
        made.start()
        yield made
    finally:
        made.close()


def same(world: Company, foreseen: list[tuple[str, str]], before: set[str], by: str = "api") -> None:
    """The call that was just made has the rules and outcomes that were foreseen, in the same order, and its end."""
    record = world.server.record_of(before)
    end = [("outcome", "normal_clearing")] if record["answered_ms"] else []
    assert world.told(record["call_ref"], by) == [*foreseen, *end]


def hear(call: Leg, answered: Leg) -> None:
    answered.accept()
    call.expect_answer()
    call.hang_up()
    answered.expect_hang_up()


@pytest.mark.rule("OPS-02", "FWD-04", "INC-02")
@pytest.mark.parametrize(("called", "status"), [(THERE, 482), (LISTS, 603)])
def test_a_call_that_is_refused(called: str, status: int, world: Company) -> None:
    foreseen = world.explained(OUTSIDE, called)
    before = world.server.records_now()
    assert world.call(called).expect_failure().status == status
    same(world, foreseen, before)


@pytest.mark.rule("OPS-02", "FWD-01")
def test_a_call_that_is_forwarded_because_its_callee_is_busy(world: Company) -> None:
    ben, outside = world.scripted("ben-1"), world.carrier(OUTBOUND)
    foreseen = world.explained(OUTSIDE, ON_BUSY, "--busy", "ben-1", "--answer", f"{AWAY}@1")
    before = world.server.records_now()
    call = world.call(ON_BUSY)
    Leg.answering(ben).refuse(486)
    hear(call, Leg.answering(outside))
    same(world, foreseen, before)


@pytest.mark.rule("OPS-02", "INC-08")
def test_a_call_that_nobody_takes_but_voicemail(world: Company) -> None:
    ben, voicemail = world.scripted("ben-1"), world.voicemail()
    foreseen = world.explained(OUTSIDE, BOX)
    before = world.server.records_now()
    call = world.call(BOX)
    rings = Leg.answering(ben)
    rings.ring()
    rings.expect_cancel(RING_S + 3)
    hear(call, Leg.answering(voicemail))
    same(world, foreseen, before)


@pytest.mark.rule("OPS-02", "GRT-05")
def test_a_call_to_a_company_that_is_closed(world: Company) -> None:
    outside = world.carrier(OUTBOUND)
    foreseen = world.explained(OUTSIDE, CLOSED, "--answer", f"{AWAY}@1")
    before = world.server.records_now()
    call = world.call(CLOSED)
    hear(call, Leg.answering(outside))
    same(world, foreseen, before)


@pytest.mark.rule("OPS-02", "GRT-01", "GRT-03")
def test_a_hunt(world: Company) -> None:
    """Fay is away, Ana does not answer, Ben declines once, Cleo is busy; then all once more."""
    ana, ben, cleo = (world.scripted(f"{user}-1") for user in ("ana", "ben", "cleo"))
    foreseen = world.explained(OUTSIDE, HUNT, "--decline", "ben-1", "--busy", "cleo")
    assert ("GRT-03", "repeat") in foreseen
    before = world.server.records_now()
    call = world.call(HUNT)
    for decliner in (ben, None):
        rings = Leg.answering(ana)
        rings.ring()
        rings.expect_cancel(RING_S + 3)
        if decliner is not None:
            Leg.answering(decliner).refuse(603)
        Leg.answering(cleo).refuse(486)
    call.expect_failure()
    same(world, foreseen, before, by="command")
