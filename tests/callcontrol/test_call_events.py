"""Events of calls for integrations: what is told, once, in which order, and what is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from callcontrol.call_events import CallEvents
from gateway.push import Outgoing
from numbering.directory import Directory
from tests.scenarios.stage import ANA, BEN, CALLER, Stage
from tests.support.party import sdp


def account_in(directory: Directory) -> Callable[[str], str]:
    def account_of(user: str) -> str:
        account = directory.account_of(user)
        return "" if account is None else account.ref

    return account_of


class Listener:
    """An integration, and the events that it got."""

    def __init__(self, stage: Stage) -> None:
        self.messages: list[Outgoing] = []
        self.up = True
        self.events = CallEvents(self._send, "cloudline.example", account_in(stage.world.directory))
        stage.world.server.runner.running.watcher = self.events

    def _send(self, message: Outgoing) -> bool:
        if self.up:
            self.messages.append(message)
        return self.up

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(message.payload) for message in self.messages]

    @property
    def kinds(self) -> list[str]:
        return [event["type"].rpartition(".")[2] for event in self.told]


def test_an_answered_call_is_told_in_four_events() -> None:
    stage = Stage()
    listener = Listener(stage)
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    ana.ring()
    stage.run(1.0)
    ana.answer(sdp(6000))
    stage.run(5.0)
    carrier.bye(call)
    stage.run(1.0)
    assert listener.kinds == ["started", "ringing", "answered", "ended"]
    assert {message.topic for message in listener.messages} == {"cloudline/v1/events/calls/acme"}
    started, _, answered, ended = listener.told
    assert started["specversion"] == "1.0"
    assert started["id"] == f"{started['data']['call']}.started"
    assert started["source"] == "urn:cloudline:cloudline.example"
    assert started["subject"] == started["data"]["call"]
    assert started["time"].startswith("2027-01-15T08:00:")
    assert started["time"].endswith("Z")
    assert started["data"] == {
        "call": started["subject"],
        "sequence": 1,
        "direction": "incoming",
        "caller": CALLER,
        "called": ANA,
        "number": ANA,
        "user": "ana",
    }
    assert answered["data"]["device"] == "ana-phone"
    assert ended["data"]["reason"] == "normal_clearing"
    assert ended["data"]["talked_s"] == pytest.approx(5.0, abs=0.1)
    assert [event["data"]["sequence"] for event in listener.told] == [1, 2, 3, 4]
    stage.settle()
    assert listener.events.census() == 0


def test_a_call_that_rang_nowhere_is_told_as_started_and_ended() -> None:
    stage = Stage()
    listener = Listener(stage)
    carrier = stage.carrier()
    carrier.call(ANA, caller=CALLER)
    stage.run(1.0)
    assert listener.kinds == ["started", "ended"]
    assert listener.told[1]["data"]["answered"] is False
    stage.settle()
    assert listener.events.census() == 0


@pytest.mark.rule("OUT-07")
def test_who_hides_is_hidden_from_integrations_too() -> None:
    stage = Stage()
    listener = Listener(stage)
    stage.phone("ana-phone")
    carrier = stage.carrier()
    call = carrier.call(ANA, caller=CALLER, headers=(("privacy", "id"),))
    stage.run(1.0)
    carrier.cancel(call)
    stage.run(1.0)
    assert {event["data"]["caller"] for event in listener.told} == {"anonymous"}
    assert all(CALLER.encode() not in message.payload for message in listener.messages)
    stage.settle()


def test_devices_of_other_accounts_are_not_told() -> None:
    stage = Stage()
    listener = Listener(stage)
    zoe, ana = stage.phone("zoe-phone"), stage.phone("ana-phone")
    call = zoe.call(ANA)
    stage.talk(zoe, call, ana)
    zoe.bye(call)
    stage.run(1.0)
    assert {message.topic for message in listener.messages} == {"cloudline/v1/events/calls/zoe"}
    assert [event["data"].get("device") for event in listener.told[2:]] == ["", ""]
    stage.settle()


def test_a_call_of_no_account_is_told_to_nobody() -> None:
    stage = Stage()
    listener = Listener(stage)
    carrier = stage.carrier()
    carrier.call("+33639981999", caller=CALLER)
    stage.run(1.0)
    assert listener.told == []
    stage.settle()


def test_an_event_that_cannot_be_sent_is_counted_and_not_sent_later() -> None:
    stage = Stage()
    listener = Listener(stage)
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    listener.up = False
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    listener.up = True
    ana.ring()
    stage.run(1.0)
    carrier.cancel(call)
    stage.run(1.0)
    assert listener.events.lost == 1
    assert listener.kinds == ["ringing", "ended"]
    stage.settle()


def test_a_call_that_changes_while_its_end_is_saved_is_not_told_again() -> None:
    """Another phone behind a forking proxy answers when all is over: it is released, and nothing of it stays."""
    stage = Stage(commit_s=0.2)
    listener = Listener(stage)
    ana, _, carrier = stage.phone("ana-phone"), stage.phone("ben-phone"), stage.carrier()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(1.0)
    ana.reply(ana.incoming, 200, sdp(6001), tag="fork-one")
    stage.run(1.0)
    carrier.bye(call)
    stage.run(0.2)
    carrier.call(BEN, caller=CALLER)  # what comes after the BYE waits behind the save of this one
    stage.run(0.05)
    ana.reply(ana.incoming, 200, sdp(6002), tag="fork-two")
    stage.run(5.0)
    assert [message.to_tag for message in ana.incoming.got("BYE")] == ["fork-one", "fork-two"]
    told = [event["type"] for event in listener.told if event["data"]["called"] == ANA]
    assert told == [f"cloudline.call.{kind}" for kind in ("started", "answered", "ended")]
    stage.run(100.0)
    assert listener.events.census() == 0


def test_an_integration_that_meets_a_bug_costs_no_call() -> None:
    stage = Stage(commit_s=0.01)
    listener = Listener(stage)
    told: list[Exception] = []
    stage.world.server.runner.defects.listener = told.append

    def broken(message: Outgoing) -> bool:
        raise RuntimeError("a bug")

    listener.events._send = broken
    ana, carrier = stage.phone("ana-phone"), stage.carrier()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    ana.answer(sdp(6000))
    stage.run(0.5)
    carrier.bye(call)
    stage.run(1.0)
    assert call.over
    assert len(stage.world.records) == 1
    assert list(stage.world.server.runner.performer.recent) == [stage.record.call_ref]
    assert {str(error) for error in told} == {"a bug"}
