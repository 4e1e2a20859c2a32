"""What would happen to a call: the same as what then happens, without a message on the wire."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from callcontrol.explaining.answer import Explanation
from callcontrol.explaining.question import (
    ANSWER,
    BUSY,
    DECLINE,
    SILENT,
    Behaviour,
    QuestionError,
    read_behaviour,
)
from config.sections import MediaSettings, Settings
from dialplan import reasons, stored
from dialplan.evaluate import evaluate
from numbering.e164 import E164
from numbering.models import Flow, FlowAction
from tests.explaining.test_impact import GREETING, TRUNKS, provisioned
from tests.explaining.worlds import ANA, BEN, OUTSIDE, STRANGER, explain
from tests.support.world import START, World


@pytest.fixture
def world() -> World:
    world = World()
    world.phone("ana-phone")
    world.phone("ana-desktop")
    world.run(1.0)
    return world


@pytest.mark.rule("OPS-02")
def test_every_phone_rings_and_nobody_answers(world: World) -> None:
    answer = explain(world, STRANGER, ANA)
    assert answer.call.plan == ("ring ana-desktop, ana-phone for 30 s",)
    assert (answer.call.state, answer.call.reason, answer.call.status) == ("ended", reasons.NO_ANSWER, 480)
    assert answer.ends_after_s == 30.0
    assert answer.notes == ("comes in by trunk carrier-a",)
    assert {leg.device for leg in answer.call.legs} == {"", "ana-phone", "ana-desktop"}


@pytest.mark.rule("OPS-02")
def test_nothing_is_sent_taken_or_kept(world: World) -> None:
    before = world.server.runner.census()
    seen = len(world.network.log)
    explain(world, STRANGER, ANA)
    explain(world, "ana-phone", OUTSIDE)
    assert world.server.runner.census() == before
    assert world.records == []
    world.run(1.0)
    assert len(world.network.log) == seen
    assert world.server.trunking.channels.in_use("carrier-a") == 0


@pytest.mark.rule("OPS-02")
def test_a_real_call_has_the_same_trace(world: World) -> None:
    answer = explain(world, STRANGER, ANA)
    world.carrier().call(ANA, caller=STRANGER)
    world.run(0.1)
    for phone in world.parties[:2]:
        phone.ring()
    world.run(40.0)
    (record,) = world.records
    told = [(line.rule, line.outcome, line.detail) for line in answer.call.trace]
    assert [tuple(row[:3]) for row in trace_rows(record.trace)] == told


@pytest.mark.parametrize(
    ("behaviours", "state", "reason", "after"),
    [
        ([("ana", ANSWER, 5.0)], "talking", "", 5.0),
        ([("ana-phone", ANSWER, 5.0), ("ana-desktop", ANSWER, 2.0)], "talking", "", 2.0),
        ([("ana", BUSY, 0.0)], "ended", reasons.BUSY, 0.0),
        ([("ana-phone", BUSY, 0.0), ("ana-desktop", DECLINE, 3.0)], "ended", reasons.DECLINED, 3.0),
        ([("ana-phone", DECLINE, 1.0)], "ended", reasons.DECLINED, 1.0),
        ([("ana", SILENT, 0.0)], "ended", reasons.UNREACHABLE, 8.0),
    ],
)
def test_phones_do_as_they_are_told(
    world: World, behaviours: list[tuple[str, str, float]], state: str, reason: str, after: float
) -> None:
    said = tuple(Behaviour(who=who, does=does, after_s=after_s) for who, does, after_s in behaviours)
    answer = explain(world, STRANGER, ANA, behaviours=said)
    assert (answer.call.state, answer.call.reason, answer.ends_after_s) == (state, reason, after)


@pytest.mark.rule("OPS-02", "VM-01")
def test_voicemail_answers_unless_it_is_said_to_be_away() -> None:
    settings = Settings(media=MediaSettings(voicemail_uri="sip:voicemail@media.example"))
    world = World(settings=settings)
    number = world.directory.number(E164(BEN))
    assert number is not None
    world.directory.put_one(replace(number, voicemail=True))
    answer = explain(world, STRANGER, BEN)
    assert answer.call.plan == ("voicemail answers",)
    assert (answer.call.state, answer.ends_after_s) == ("talking", 0.0)
    away = explain(world, STRANGER, BEN, behaviours=(Behaviour(who="voicemail", does=BUSY),))
    assert (away.call.state, away.call.reason) == ("ended", reasons.UNREACHABLE)


@pytest.mark.rule("OPS-02")
def test_a_device_calls_the_outside_over_the_best_trunk(world: World) -> None:
    answer = explain(world, "ana-phone", "0199001234", behaviours=(read_behaviour(ANSWER, f"{OUTSIDE}@4"),))
    assert answer.call.plan == (f"call {OUTSIDE} over a trunk for 120 s",)
    assert answer.call.legs[-1].trunk == "carrier-a"
    assert (answer.call.state, answer.ends_after_s) == ("talking", 4.0)
    assert answer.notes == ("called from ana-phone, a phone of ana",)


def test_a_cloud_number_calls_from_its_holders_phone(world: World) -> None:
    answer = explain(world, BEN, ANA)
    assert answer.call.direction == "internal"
    assert answer.call.number == BEN
    named = explain(world, BEN, ANA, device="ben-desktop")
    assert named.notes == ("called from ben-desktop, a desktop of ben",)


def test_somebody_from_outside_is_nobody_of_ours(world: World) -> None:
    assert explain(world, BEN, ANA, from_outside=True).call.direction == "incoming"


def test_a_hidden_caller_is_hidden(world: World) -> None:
    answer = explain(world, "anonymous", ANA)
    assert answer.call.caller_hidden
    assert answer.call.caller == ""


def test_an_emergency_number_is_for_the_sim(world: World) -> None:
    answer = explain(world, "ana-phone", "112")
    assert (answer.call.reason, answer.call.status) == (reasons.EMERGENCY, 380)


def test_a_colleague_is_called_by_name(world: World) -> None:
    answer = explain(world, "ben-phone", "ana-phone")
    assert answer.call.plan == ("ring ana-desktop, ana-phone for 30 s",)


@pytest.mark.rule("OPS-02")
def test_registrations_of_now_serve_for_any_time(world: World) -> None:
    answer = explain(world, STRANGER, ANA, at="2030-06-01T12:00:00Z")
    assert answer.at == 1_906_545_600.0
    assert answer.call.plan == ("ring ana-desktop, ana-phone for 30 s",)
    assert answer.call.started_at == answer.at
    assert answer.clock == "Saturday 2030-06-01 14:00 in Europe/Paris (2030-06-01T12:00:00Z)"


def test_a_missing_hour_is_said_so(world: World) -> None:
    answer = explain(world, STRANGER, ANA, at="2027-03-28T02:30")
    assert "does not exist" in answer.time_note


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"caller": "nobody", "called": ANA}, "caller"),
        ({"caller": STRANGER, "called": ANA, "trunk": "carrier-z"}, "trunk"),
        ({"caller": STRANGER, "called": ANA, "device": "no-phone"}, "device"),
        ({"caller": STRANGER, "called": ANA, "at": "soon"}, "at"),
        ({"caller": STRANGER, "called": "sip:@"}, "called"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_its_field(
    world: World, asked: dict[str, str], field: str
) -> None:
    with pytest.raises(QuestionError) as caught:
        explain(world, **asked)
    assert caught.value.field == field


@pytest.mark.parametrize("text", ["ben@soon", "@5", "ben@-1", "ben@1e9", "ben@nan"])
def test_a_behaviour_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(QuestionError):
        read_behaviour(ANSWER, text)


@pytest.mark.rule("OPS-02")
def test_the_stored_facts_of_a_real_call_give_its_plan(world: World) -> None:
    world.carrier().call(ANA, caller=STRANGER)
    world.run(0.1)
    (call,) = world.server.runner.calls.values()
    plan, trace = call.plan, tuple(call.trace)
    world.run(60.0)
    (record,) = world.records
    (part,) = stored.split(record.facts)
    decision = evaluate(stored.load(part))
    assert decision.plan == plan
    assert repr(decision.plan) == repr(plan)
    assert decision.trace == trace[: len(decision.trace)]
    assert world.server.runner.performer.recent[record.call_ref].facts == record.facts
    assert stored.load(part).now == pytest.approx(START + 1.0, abs=1.0)


def trace_rows(text: str) -> list[list[object]]:
    return msgspec.json.decode(text, type=list[list[object]])


@pytest.fixture
def company(monkeypatch: pytest.MonkeyPatch) -> World:
    """A Greeting that hunts ana, then ben, twice for 15 s each, and then forwards; both have a phone."""
    unanswered = Flow(action=FlowAction.FORWARD, to=OUTSIDE)
    directory = provisioned(ring_seconds=15.0, repeat=1, unanswered=unanswered)
    monkeypatch.setattr("tests.support.world.provisioning", lambda: (directory, TRUNKS))
    world = World()
    world.phone("ana-phone")
    world.phone("ben-phone")
    world.run(1.0)
    return world


def offsets(answer: Explanation, rule: str, outcome: str) -> list[float]:
    return [line.at for line in answer.call.trace if (line.rule, line.outcome) == (rule, outcome)]


@pytest.mark.rule("OPS-02", "GRT-01", "GRT-03", "GRT-06")
def test_a_hunt_is_played_member_by_member_and_then_forwarded(company: World) -> None:
    answer = explain(company, STRANGER, GREETING)
    assert answer.call.plan == (
        "hunt ana, then ben, 2 times, for 180 s at the most",
        f"forward to {OUTSIDE}",
    )
    assert {leg.device for leg in answer.call.legs} == {"", "ana-phone", "ben-phone"}
    assert offsets(answer, "INC-08", reasons.NO_ANSWER)[:4] == [15.0, 30.0, 45.0, 60.0]
    assert offsets(answer, "FWD-01", "forward") == [60.0]
    assert answer.call.legs[-1].trunk == "carrier-a"
    busy = explain(company, STRANGER, GREETING, behaviours=(Behaviour(who="ben", does=BUSY),))
    assert offsets(busy, "FWD-01", "forward") == [30.0]
    taken = explain(company, STRANGER, GREETING, behaviours=(Behaviour(who="ben", does=ANSWER, after_s=4.0),))
    assert (taken.call.state, taken.ends_after_s) == ("talking", 19.0)


@pytest.mark.rule("OPS-02", "FWD-01")
def test_every_decision_of_a_forwarded_call_is_kept(company: World) -> None:
    answer = explain(company, STRANGER, GREETING)
    first, second = [stored.load(part) for part in stored.split(answer.story.facts)]
    assert first.greeting is not None
    assert second.forward is not None
    assert second.forward.number == GREETING
    assert evaluate(second).plan.steps[0].number == OUTSIDE  # type: ignore[union-attr]


@pytest.mark.rule("OPS-02")
def test_facts_are_kept_where_they_are_wanted(world: World) -> None:
    world.server.env.keep_facts = False
    world.carrier().call(ANA, caller=STRANGER)
    world.run(60.0)
    (record,) = world.records
    assert record.facts == b""
    assert record.trace
    assert explain(world, STRANGER, ANA).story.facts  # told by its facts, which nobody keeps
