"""Counters of hunts: what the record of a call says about its hunt."""

from __future__ import annotations

import msgspec
import pytest

from callcontrol.cdr import CallRecord
from callcontrol.hunt_stats import HUNT_METRICS, HuntStats
from dialplan.evaluate import evaluate
from numbering.models import Strategy
from tests.dialplan.test_greeting import TO_COMPANY, greeting
from tests.scenarios import forwards, hunts, incoming
from tests.scenarios.stage import Scenario, Stage, scenarios_of


def played(scenario: Scenario) -> HuntStats:
    stage = Stage()
    scenario(stage)
    stage.settle()
    return stage.world.server.runner.performer.stats.hunts


@pytest.mark.rule("OPS-01")
@pytest.mark.parametrize("strategy", Strategy)
def test_each_strategy_is_counted_by_its_name(strategy: Strategy) -> None:
    trace = [
        (line.rule, line.outcome, line.detail, 0.0) for line in evaluate(greeting(strategy=strategy)).trace
    ]
    trace += [("GRT-03", "hunt", "3 members", 0.0), ("GRT-03", "repeat", "round 2 of 2", 20.0)]
    stats = HuntStats()
    stats.ended(CallRecord(call_ref="c", answered_ms=30000, trace=msgspec.json.encode(trace).decode()))
    assert stats.results == {(strategy, "answered"): 1}
    assert stats.rounds == {(strategy, "no_answer"): 1, (strategy, "answered"): 1}


def test_a_hunt_that_was_planned_and_never_begun_is_none() -> None:
    trace = [(line.rule, line.outcome, line.detail, 0.0) for line in evaluate(TO_COMPANY).trace]
    stats = HuntStats()
    stats.ended(CallRecord(call_ref="c", trace=msgspec.json.encode(trace).decode()))
    assert not stats.results


@pytest.mark.rule("OPS-01")
@pytest.mark.parametrize(
    ("scenario", "results", "rings"),
    [
        (
            hunts.cascade_goes_on_until_somebody_answers,
            {("cascade", "answered"): 1},
            {("cascade", "no_answer"): 1, ("cascade", "answered"): 1},
        ),
        (
            hunts.all_at_once_and_the_first_answer_wins,
            {("simultaneous", "answered"): 1},
            {("simultaneous", "answered"): 1, ("simultaneous", "answered_elsewhere"): 1},
        ),
        (hunts.the_limit_ends_a_hunt, {("cascade", "no_answer"): 1}, {("cascade", "no_answer"): 3}),
        (hunts.nobody_there_ends_a_hunt_at_once, {("cascade", "unreachable"): 1}, {}),
        (
            hunts.caller_leaves_between_two_members,
            {("cascade", "cancelled"): 1},
            {("cascade", "cancelled"): 1},
        ),
        (incoming.all_devices_ring_one_answers, {}, {}),
        (forwards.all_calls_go_to_a_number_outside, {}, {}),
    ],
)
def test_calls_are_counted_as_they_went(
    scenario: Scenario, results: dict[tuple[str, str], int], rings: dict[tuple[str, str], int]
) -> None:
    stats = played(scenario)
    assert stats.results == results
    assert {key: histogram.count for key, histogram in stats.rings.items()} == rings


def test_what_is_counted_is_within_the_labels_of_the_catalogue() -> None:
    rounds, result, rings = HUNT_METRICS
    for name, scenario in scenarios_of(hunts).items():
        stats = played(scenario)
        for table, metric in ((stats.rounds, rounds), (stats.results, result), (stats.rings, rings)):
            for strategy, outcome in table:
                assert strategy in metric.labels["strategy"], name
                assert outcome in metric.labels["result"], name
