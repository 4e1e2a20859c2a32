"""Whatever call the simulation makes, its stored facts give the decisions that its record tells of (OPS-02)."""

from __future__ import annotations

import pytest

from callcontrol import call_views, story
from callcontrol.audience import AUDIENCES
from dialplan import stored
from dialplan.evaluate import evaluate
from tests.simulation.simulation import Simulation
from tests.simulation.test_simulation import INTERPRETED


@pytest.mark.rule("OPS-02")
@pytest.mark.parametrize(("seed", "crashes"), [(3, False), *([(4, True)] if INTERPRETED else [])])
def test_the_facts_of_every_simulated_call_give_its_trace(seed: int, crashes: bool) -> None:
    simulation = Simulation(seed, 0.03, crashes=crashes)
    simulation.play()
    records = [records[0] for records in simulation.server.outbox.records.values()]
    decided = 0
    for record in records:
        parts = stored.split(record.facts)
        if not parts:
            continue  # made without a decision of ours
        decisions = [evaluate(stored.load(part)) for part in parts]
        told = [(line.rule, line.outcome, line.detail) for line in call_views.trace_of(record.trace)]
        for decision in decisions:
            lines = [(line.rule, line.outcome, line.detail) for line in decision.trace]
            starts = [index for index, line in enumerate(told) if line == lines[0]]
            assert any(told[start : start + len(lines)] == lines for start in starts), record.call_ref
        assert decisions[0].plan.called in (record.called, record.dialled, decisions[0].plan.gateway)
        assert call_views.ended_view(record).plan == call_views.plan_words(decisions[0].plan)
        for audience in AUDIENCES:
            assert story.tell(call_views.ended_story(record), audience)
        decided += 1
    assert decided > len(records) * 0.9
    assert decided > 20
