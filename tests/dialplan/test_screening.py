"""Block and spam lists, entry by entry and list by list (INC-02, BLK-01)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dialplan import reasons
from dialplan.evaluate import evaluate
from dialplan.facts import CallFacts, Limits
from dialplan.plan import Refuse, Ring
from numbering.models import Forwarding, ForwardMode
from numbering.plans import NumberClass
from tests.dialplan.cases import ANA, FROM_CARRIER, OUTSIDE, STRANGER, TO_BEN, caller, number, refused

LISTED = ("block", "spam")


def with_list(facts: CallFacts, where: str, name: str, entries: tuple[str, ...]) -> CallFacts:
    if where == "number":
        return number(facts, **{name: entries})
    assert facts.callee is not None
    lists: dict[str, Any] = {name: entries}
    return replace(facts, callee=replace(facts.callee, **lists))


@pytest.mark.rule("INC-02", "BLK-01")
@pytest.mark.parametrize("where", ["number", "user"])
@pytest.mark.parametrize("name", LISTED)
def test_each_list_refuses_and_the_trace_names_it(where: str, name: str) -> None:
    decision = evaluate(with_list(FROM_CARRIER, where, name, (STRANGER,)))
    assert refused(decision) == ("INC-02", reasons.BLOCKED)
    holder = ANA if where == "number" else "user ana"
    assert decision.trace[-1].detail == f"{STRANGER} is on the {name} list of {holder}"


@pytest.mark.rule("INC-02", "BLK-01")
@pytest.mark.parametrize(
    ("entry", "changes", "words"),
    [
        ("+3363*", {}, "+33639989999 is, as +3363*,"),
        ("+336399*", {}, "+33639989999 is, as +336399*,"),
        ("+3363*", {"hidden": True}, "+33639989999 is, as +3363*,"),
        ("+3316*", {}, ""),
        ("*", {}, ""),
        ("class:mobile", {"number_class": NumberClass.MOBILE}, "+33639989999 is, as mobile,"),
        ("class:mobile", {"number_class": NumberClass.FIXED}, ""),
        ("class:commercial", {"labels": ("commercial",)}, "+33639989999 is, as commercial,"),
        ("class:commercial", {}, ""),
        ("class:unknown", {"e164": "", "presented": ""}, ""),
        ("anonymous", {"hidden": True}, "hidden callers are"),
        ("anonymous", {"hidden": True, "e164": "", "presented": ""}, "hidden callers are"),
        ("anonymous", {"e164": "", "presented": "anonymous"}, ""),
        ("anonymous", {}, ""),
        (STRANGER[:-1], {}, ""),
        (STRANGER[:-1] + "*", {}, "+33639989999 is, as +3363998999*,"),
    ],
)
def test_what_an_entry_means(entry: str, changes: dict[str, Any], words: str) -> None:
    decision = evaluate(caller(number(FROM_CARRIER, block=(entry,)), **changes))
    if words:
        assert refused(decision) == ("INC-02", reasons.BLOCKED)
        assert decision.trace[-1].detail == f"{words} on the block list of {ANA}"
    else:
        assert isinstance(decision.plan.steps[0], Ring)


@pytest.mark.rule("INC-02")
@pytest.mark.parametrize(("told", "status"), [("declined", 0), ("busy", 486)])
def test_a_blocked_caller_is_told_what_the_settings_say(told: str, status: int) -> None:
    facts = replace(number(FROM_CARRIER, block=(STRANGER,)), limits=Limits(blocked_as=told))
    assert evaluate(facts).plan.steps == (Refuse(reason=reasons.BLOCKED, status=status),)


@pytest.mark.rule("INC-02")
def test_a_blocked_caller_gets_neither_voicemail_nor_a_forward() -> None:
    for mode in ForwardMode:
        facts = number(
            FROM_CARRIER, block=(STRANGER,), voicemail=True, forward=Forwarding(mode=mode, to=OUTSIDE)
        )
        facts = replace(facts, limits=Limits(voicemail_uri="sip:voicemail@media.example"))
        assert refused(evaluate(facts)) == ("INC-02", reasons.BLOCKED)


@pytest.mark.rule("INC-02")
def test_a_colleague_is_known_by_the_number_of_the_call() -> None:
    assert refused(evaluate(number(TO_BEN, block=(ANA,)))) == ("INC-02", reasons.BLOCKED)
    by_class = caller(number(TO_BEN, block=("class:mobile",)), number_class=NumberClass.MOBILE)
    assert refused(evaluate(by_class)) == ("INC-02", reasons.BLOCKED)


@pytest.mark.rule("INC-02", "INC-03")
def test_an_emergency_service_that_calls_back_passes_lists_and_switches() -> None:
    closed = number(FROM_CARRIER, block=(STRANGER, "anonymous"), calls=False)
    decision = evaluate(replace(closed, psap_callback=True))
    assert isinstance(decision.plan.steps[0], Ring)
    assert [line.detail for line in decision.trace if line.rule in ("INC-02", "INC-03")] == [
        "an emergency service calls back: no list is asked",
        "an emergency service calls back: neither switch nor hours are asked",
    ]
    # a phone that says so is not believed
    inside = replace(number(TO_BEN, block=(ANA,)), psap_callback=True)
    assert refused(evaluate(inside)) == ("INC-02", reasons.BLOCKED)
