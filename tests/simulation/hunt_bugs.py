"""Bugs of calls that come in, put into a server on purpose: see ``bugs``.

Each is one that telephone systems have had: a missed call for what a colleague has answered, a busy agent who is rung, a hunt that
ends with the first who declines or stands still for one who is not there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from callcontrol.b2bua.call import Call
from callcontrol.b2bua.effects import Effect, Push, WriteRecord
from callcontrol.b2bua.events import Event, HangUp, MembersFound, ResponseIn, TargetJoined
from callcontrol.b2bua.leg import ELSEWHERE
from callcontrol.b2bua.phases import RINGING
from dialplan import plan, reasons
from dialplan.facts import CallFacts
from tests.simulation.bug_kinds import Bungle, Case, EffectBug, handling, without

if TYPE_CHECKING:
    from tests.simulation.process import Process


def _is_missed_call(effect: Effect) -> bool:
    return isinstance(effect, Push) and effect.kind == "missed_call"


def _tells_losers(call: Call, effect: Effect) -> Sequence[Effect]:
    """Whoever rang notes a missed call, whoever answered."""
    if not isinstance(effect, WriteRecord) or not call.answered_at:
        return (effect,)
    devices = [leg.device for leg in call.legs.values() if leg.reason == ELSEWHERE and leg.device]
    return (
        effect,
        *[Push(device, "missed_call", call.plan.called, "", "", call.ended_at, 0.0) for device in devices],
    )


def _twice(call: Call, effect: Effect) -> Sequence[Effect]:
    return (effect, effect) if _is_missed_call(effect) else (effect,)


def _gathers(process: Process, change: str) -> None:
    """Facts are gathered without something."""
    gatherer = process.signalling.intake.gatherer
    from_trunk = gatherer.from_trunk

    def instead(*args: object, **named: object) -> CallFacts:
        facts = from_trunk(*args, **named)  # type: ignore[arg-type]
        greeting = facts.greeting
        if change == "blocks":
            if facts.number is not None:
                facts = dataclasses.replace(facts, number=dataclasses.replace(facts.number, block=()))
            if greeting is not None:
                open_to_all = dataclasses.replace(greeting.greeting, block=())
                facts = dataclasses.replace(
                    facts, greeting=dataclasses.replace(greeting, greeting=open_to_all)
                )
            return facts
        if facts.number is not None:
            facts = dataclasses.replace(facts, number=dataclasses.replace(facts.number, hours=None))
        if greeting is not None:
            always = dataclasses.replace(greeting.greeting, hours=None)
            facts = dataclasses.replace(facts, greeting=dataclasses.replace(greeting, greeting=always))
        return facts

    gatherer.from_trunk = instead  # type: ignore[method-assign]


def _rings_twice(process: Process) -> None:
    """A device that registers is rung as if it were two."""
    runner = process.signalling.runner
    handle = runner.handle

    def instead(call: Call, event: Event, now: float) -> None:
        handle(call, event, now)
        if isinstance(event, TargetJoined) and event.anew:
            twin = dataclasses.replace(event.target, binding=f"{event.target.binding} twin")
            handle(call, TargetJoined(twin), now)

    runner.handle = instead  # type: ignore[method-assign]


def _is_hunting(call: Call) -> bool:
    steps = call.plan.steps
    return call.phase == RINGING and call.step < len(steps) and isinstance(steps[call.step], plan.Hunt)


def _one_speaks_for_all(process: Process) -> None:
    """A member of a hunt who is busy or declines ends it."""
    runner = process.signalling.runner
    handle = runner.handle

    def instead(call: Call, event: Event, now: float) -> None:
        speaks = isinstance(event, ResponseIn) and event.message.status in (486, 600, 603, 604)
        ends = speaks and _is_hunting(call)
        handle(call, event, now)
        if ends and call.phase == RINGING:
            handle(call, HangUp(reasons.BUSY), now)

    runner.handle = instead  # type: ignore[method-assign]


def _stalls(call: Call, event: Event) -> bool:
    """A member who is not there is waited for all the same."""
    if not isinstance(event, MembersFound):
        return True
    return all(reach.busy or reach.targets or reach.sims for reach in event.reaches)


def _rings_busy(process: Process) -> None:
    process.server.occupancy.know_nothing()


def _other_facts(process: Process) -> None:
    """The record keeps other facts than those that the decision was made of."""
    runner = process.signalling.runner
    handle = runner.handle

    def instead(call: Call, event: Event, now: float) -> None:
        for index, facts in enumerate(call.facts):
            if isinstance(facts, CallFacts) and facts.number is not None:
                off = dataclasses.replace(facts.number, calls=False)
                call.facts[index] = dataclasses.replace(facts, number=off)
        handle(call, event, now)

    runner.handle = instead  # type: ignore[method-assign]


def _forgets_declines(call: Call, event: Event) -> bool:
    """A decline is forgotten when the next member rings."""
    if call.hunt is not None:
        call.hunt.declined.clear()
    return True


HUNT_CATALOGUE = {
    "missed_call_for_a_colleagues_answer": Case(
        EffectBug(_tells_losers),
        "whoever rang notes a missed call, whoever answered",
        "missed call",
        incoming=1,
    ),
    "missed_call_twice": Case(EffectBug(_twice), "a missed call is told twice", "missed call", incoming=1),
    "missed_call_never": Case(
        without(lambda call, effect: _is_missed_call(effect)),
        "nobody hears of missed calls",
        "missed call",
        incoming=1,
    ),
    "blocked_caller_rings": Case(
        Bungle(lambda process: _gathers(process, "blocks")),
        "block lists are not read",
        "rings for a blocked caller",
        incoming=1,
    ),
    "closed_number_rings": Case(
        Bungle(lambda process: _gathers(process, "hours")),
        "hours are not read",
        "rings while it is closed",
        incoming=1,
    ),
    "device_rung_twice": Case(
        Bungle(_rings_twice), "a device that registers gets two INVITEs", "offered twice", incoming=1
    ),
    "other_facts_kept": Case(
        Bungle(_other_facts),
        "the record keeps other facts than those of the decision",
        "evaluated anew",
        incoming=1,
    ),
    "one_member_speaks_for_all": Case(
        Bungle(_one_speaks_for_all),
        "the first member who is busy or declines ends the hunt",
        "member without a story",
        incoming=1,
    ),
    "hunt_stalls": Case(
        handling(_stalls), "a hunt waits for a member who is not there", "hunt stands still", incoming=1
    ),
    "busy_member_rung": Case(Bungle(_rings_busy), "hunts ring members who talk", "busy member", incoming=1),
    "decline_forgotten": Case(
        handling(_forgets_declines),
        "who has declined is rung again in the next round",
        "rings after a decline",
        incoming=1,
    ),
}
"""By name."""
