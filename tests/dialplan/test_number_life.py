"""What each state of a number means for calls to it and with it (NUM-04, INC-01, OUT-01), and the RIO service."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dialplan import reasons
from dialplan.evaluate import evaluate
from dialplan.facts import RIO_KNOWN, RIO_NONE, RIO_UNAVAILABLE, CallFacts, Limits, RioFacts
from dialplan.plan import RIO, Ring, ToMedia, ToTrunk
from numbering.e164 import E164
from numbering.models import CloudNumber, NumberState
from numbering.plans import NumberClass
from tests.dialplan.cases import ANA, BEN, FROM_CARRIER, TO_BEN, TO_OUTSIDE, device, held, number, refused

S = NumberState

# state -> reason for a call to the number from a carrier, from a user of ours (empty: goes to a trunk), with it
MEANING: dict[NumberState, tuple[str, str, str]] = {
    S.AVAILABLE: (reasons.UNKNOWN_NUMBER, reasons.UNKNOWN_NUMBER, reasons.NOT_YOUR_NUMBER),
    S.RESERVED: (reasons.UNKNOWN_NUMBER, reasons.UNKNOWN_NUMBER, reasons.NOT_YOUR_NUMBER),
    S.SUSPENDED: (reasons.SUSPENDED, reasons.SUSPENDED, reasons.SUSPENDED),
    S.EXPIRED: (reasons.EXPIRED, reasons.EXPIRED, reasons.EXPIRED),
    S.QUARANTINED: (reasons.QUARANTINED, reasons.QUARANTINED, reasons.NOT_YOUR_NUMBER),
    S.PORTING_IN: (reasons.UNKNOWN_NUMBER, "", reasons.NOT_YOUR_NUMBER),
    S.PORTED_OUT: (reasons.PORTED_OUT, "", reasons.NOT_YOUR_NUMBER),
}


def test_every_state_has_a_meaning() -> None:
    assert set(MEANING) == set(S) - {S.ACTIVE}


@pytest.mark.rule("INC-01", "NUM-04", "NUM-05", "NUM-12", "NUM-13")
@pytest.mark.parametrize("state", MEANING)
def test_calls_to_a_number_in_each_state(state: NumberState) -> None:
    from_carrier, from_us, _ = MEANING[state]
    assert refused(evaluate(number(FROM_CARRIER, state=state))) == ("INC-01", from_carrier)
    # nobody holds a number that rests, so there is nobody to ring, whatever the facts say
    bare = replace(number(FROM_CARRIER, state=state, user=""), callee=None)
    assert refused(evaluate(bare)) == ("INC-01", from_carrier)
    facts = replace(number(TO_BEN, state=state), trunk_available=True)
    if from_us:
        assert refused(evaluate(facts)) == ("INC-01", from_us)
    else:
        assert evaluate(facts).plan.steps == (ToTrunk(number=BEN, for_s=facts.limits.trunk_ring_s),)


@pytest.mark.rule("OUT-01", "NUM-04", "NUM-05", "NUM-12", "NUM-13")
@pytest.mark.parametrize("state", MEANING)
def test_calls_with_a_number_in_each_state(state: NumberState) -> None:
    facts = device(TO_OUTSIDE, numbers=held(state), default_number="")
    named = replace(facts, caller=replace(facts.caller, presented=ANA, e164=ANA, source="from"))
    assert refused(evaluate(named)) == ("OUT-01", MEANING[state][2])
    assert refused(evaluate(facts)) == ("OUT-01", MEANING[state][2])


@pytest.mark.rule("NUM-11")
def test_a_number_that_left_is_priced_and_barred_as_any_other() -> None:
    gone = replace(number(TO_BEN, state=S.PORTED_OUT), trunk_available=True)
    premium = replace(gone, called=replace(gone.called, number_class=NumberClass.PREMIUM))
    assert refused(evaluate(premium)) == ("OUT-04", reasons.BARRED_CLASS)
    assert refused(evaluate(replace(gone, trunk_available=False))) == ("route", reasons.NO_ROUTE)
    assert evaluate(gone).plan.direction == "outgoing"


def rio_call(**changes: object) -> CallFacts:
    called = replace(
        TO_OUTSIDE.called,
        dialled="3179",
        e164="",
        short="3179",
        country="FR",
        number_class=NumberClass.FREE_SHORT,
    )
    return device(replace(TO_OUTSIDE, called=called), **changes)


@pytest.mark.rule("NUM-11")
def test_3179_is_answered_by_us_with_a_message() -> None:
    decision = evaluate(rio_call())
    assert refused(decision) == ("NUM-11", reasons.RIO_BY_MESSAGE)
    assert decision.plan.number == ANA


@pytest.mark.rule("NUM-11", "NUM-13")
@pytest.mark.parametrize("state", [S.ACTIVE, S.SUSPENDED, S.EXPIRED])
def test_nobody_is_kept_from_leaving(state: NumberState) -> None:
    facts = rio_call(numbers=held(state), default_number="", suspended=True)
    assert refused(evaluate(facts)) == ("NUM-11", reasons.RIO_BY_MESSAGE)
    bare = replace(facts, trunk_available=False)
    assert refused(evaluate(bare)) == ("NUM-11", reasons.RIO_BY_MESSAGE)


@pytest.mark.rule("NUM-11")
def test_the_rio_of_others_is_not_told() -> None:
    facts = rio_call()
    foreign = replace(facts, caller=replace(facts.caller, presented=BEN, e164=BEN, source="from"))
    assert refused(evaluate(foreign)) == ("OUT-01", reasons.NOT_YOUR_NUMBER)
    for numbers in ((), held(S.QUARANTINED), held(S.PORTED_OUT)):
        assert refused(evaluate(rio_call(numbers=numbers, default_number=""))) == ("NUM-11", reasons.NO_RIO)


@pytest.mark.rule("NUM-11")
def test_the_line_is_one_that_has_a_rio() -> None:
    british = CloudNumber(e164=E164("+447700900123"), user="ana")
    facts = rio_call(numbers=(british, *held()), default_number=british.e164)
    decision = evaluate(facts)
    assert refused(decision) == ("NUM-11", reasons.RIO_BY_MESSAGE)
    assert decision.plan.number == ANA


SERVER = Limits(announcement_uri="sip:announcements@media.example")
KNOWN = RioFacts(state=RIO_KNOWN, rio="04P000000LJJ")


@pytest.mark.rule("NUM-11", "OUT-07")
def test_where_a_server_can_speak_it_says_the_rio() -> None:
    facts = replace(rio_call(), limits=SERVER, rio=KNOWN)
    decision = evaluate(facts)
    spoken = ToMedia(
        kind=RIO, uri=SERVER.announcement_uri, number=ANA, name="rio", values=("04P000000LJJ",), for_s=30.0
    )
    assert decision.plan.steps == (spoken,)
    assert (decision.plan.number, decision.plan.caller.number) == (ANA, ANA)
    assert decision.trace[-1].rule == "OUT-07"
    assert decision.trace[-2].detail == f"the RIO of {ANA} is spoken, and sent as a message"
    assert not any(KNOWN.rio in line.detail for line in decision.trace), "the trace is read by others"
    kept = evaluate(replace(facts, rio=replace(KNOWN, rio="")))
    assert (kept.plan.steps, kept.trace) == ((replace(spoken, values=()),), decision.trace)
    hidden = evaluate(replace(facts, caller=replace(facts.caller, hidden=True)))
    assert (hidden.plan.caller.number, hidden.plan.caller.hidden) == ("", True)


@pytest.mark.rule("NUM-11", "NUM-12", "NUM-13")
@pytest.mark.parametrize("state", [S.SUSPENDED, S.EXPIRED])
def test_the_rio_is_spoken_to_whoever_has_not_paid(state: NumberState) -> None:
    facts = rio_call(numbers=held(state), default_number="", suspended=True)
    (step,) = evaluate(replace(facts, limits=SERVER, rio=KNOWN, trunk_available=False)).plan.steps
    assert isinstance(step, ToMedia)
    assert step.values == (KNOWN.rio,)


@pytest.mark.rule("NUM-11")
def test_what_is_not_known_in_time_is_sent_as_a_message() -> None:
    for rio in (None, RioFacts(state=RIO_UNAVAILABLE)):
        facts = replace(rio_call(), limits=SERVER, rio=rio)
        assert refused(evaluate(facts)) == ("NUM-11", reasons.RIO_BY_MESSAGE)
    assert refused(evaluate(replace(rio_call(), rio=KNOWN))) == ("NUM-11", reasons.RIO_BY_MESSAGE)


@pytest.mark.rule("NUM-11", "OUT-09")
@pytest.mark.parametrize("limits", [SERVER, Limits()])
def test_a_line_without_a_rio_is_told_so(limits: Limits) -> None:
    """Nothing is promised that cannot be kept: no message would follow."""
    facts = replace(rio_call(), limits=limits, rio=RioFacts(state=RIO_NONE))
    assert refused(evaluate(facts)) == ("NUM-11", reasons.NO_RIO)
    british = CloudNumber(e164=E164("+447700900123"), user="ana")
    facts = rio_call(numbers=(british,), default_number=british.e164)
    assert refused(evaluate(replace(facts, limits=limits))) == ("NUM-11", reasons.NO_RIO)


@pytest.mark.rule("NUM-11")
def test_3179_is_a_service_of_france_alone() -> None:
    facts = rio_call()
    elsewhere = replace(
        facts, called=replace(facts.called, country="BE", number_class=NumberClass.FREE_SHORT)
    )
    assert isinstance(evaluate(elsewhere).plan.steps[0], ToTrunk)


def test_an_active_number_rings() -> None:
    assert isinstance(evaluate(FROM_CARRIER).plan.steps[0], Ring)
