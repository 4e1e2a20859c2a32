"""What is measured of pushes: the time until a device registers, per device and over all, and the calls that were lost."""

from __future__ import annotations

import json

import pytest

from gateway.push import DevicePush, MemoryPushes, call_uuid, push_topic, request_of
from tests.scenarios.stage import ANA, CALLER, Stage


def test_the_time_from_push_to_register_is_kept_per_device_and_over_all() -> None:
    stage = Stage()
    phone = stage.sleeper("ana-phone")
    carrier = stage.carrier()
    pushing = stage.world.server.pushing
    assert pushing is not None
    for wait_s in (1.0, 3.0):
        call = carrier.call(ANA, caller=CALLER)
        stage.run(0.01 + wait_s)
        assert pushing.history("ana-phone")[0].outcome == "", "still waited for"
        phone.register()
        stage.run(0.5)
        carrier.cancel(call)
        phone.register(expires=0)
        stage.run(1.0)
    first, second = pushing.history("ana-phone")
    assert (first.outcome, second.outcome) == ("woke", "woke")
    assert first.seconds == pytest.approx(3.03, abs=0.05)
    assert second.seconds == pytest.approx(1.03, abs=0.05)
    assert pushing.wake_seconds["woke"].count == 2
    assert pushing.lost == {"late_push": 0, "wake_timeout": 0}
    stage.settle()


def test_a_call_lost_to_a_push_that_came_too_late_is_counted_once() -> None:
    stage = Stage()
    phones = [stage.sleeper("ana-phone"), stage.sleeper("ana-browser")]
    carrier = stage.carrier()
    pushing = stage.world.server.pushing
    assert pushing is not None
    carrier.call(ANA, caller=CALLER)
    stage.run(9.0)
    for phone in phones:
        phone.register()
        stage.run(0.5)
    assert [pushing.history(name)[0].outcome for name in ("ana-phone", "ana-browser")] == ["late", "late"]
    assert pushing.lost == {"late_push": 1, "wake_timeout": 0}
    assert pushing.wake_seconds["late"].count == 2
    stage.settle()


def test_a_call_lost_because_nobody_ever_woke_is_counted_when_that_is_certain() -> None:
    stage = Stage()
    stage.sleeper("ana-phone")
    carrier = stage.carrier()
    pushing = stage.world.server.pushing
    assert pushing is not None
    carrier.call(ANA, caller=CALLER)
    stage.run(50.0)
    pushing.tick(stage.world.now())
    assert pushing.lost == {"late_push": 0, "wake_timeout": 0}
    stage.run(20.0)
    pushing.tick(stage.world.now())
    assert pushing.lost == {"late_push": 0, "wake_timeout": 1}
    assert pushing.history("ana-phone")[0].outcome == "never"
    stage.settle()


def test_a_device_that_sleeps_through_two_calls_loses_both() -> None:
    stage = Stage()
    phone = stage.sleeper("ana-phone")
    carrier = stage.carrier()
    pushing = stage.world.server.pushing
    assert pushing is not None
    for _ in range(2):
        carrier.call(ANA, caller=CALLER)
        stage.run(10.0)
    phone.register()
    stage.run(0.5)
    assert [wake.outcome for wake in pushing.history("ana-phone")] == ["late", "never"]
    assert pushing.lost == {"late_push": 1, "wake_timeout": 1}
    stage.settle()


def test_a_call_that_rang_elsewhere_is_not_lost() -> None:
    stage = Stage()
    desktop = stage.phone("ana-desktop")
    stage.sleeper("ana-phone")
    carrier = stage.carrier()
    pushing = stage.world.server.pushing
    assert pushing is not None
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    desktop.ring()
    stage.run(5.0)
    carrier.cancel(call)
    stage.run(70.0)
    pushing.tick(stage.world.now())
    assert pushing.lost == {"late_push": 0, "wake_timeout": 0}
    stage.settle()


def test_pushes_are_counted_by_type_and_whether_the_channel_took_them() -> None:
    stage = Stage()
    stage.sleeper("ana-phone")
    carrier = stage.carrier()
    pushing = stage.world.server.pushing
    assert pushing is not None
    carrier.call(ANA, caller=CALLER)
    stage.run(9.0)
    stage.world.pushes.up = False
    carrier.call(ANA, caller=CALLER)
    stage.run(1.0)
    assert pushing.sent == {
        ("incoming_call", "accepted"): 1,
        ("call_ended", "accepted"): 1,
        ("missed_call", "accepted"): 1,
        ("incoming_call", "refused"): 1,
    }
    stage.settle()


def test_payload_of_a_push() -> None:
    push = DevicePush(
        device="ana-phone",
        type="call_ended",
        call="c1",
        uuid=call_uuid("c1"),
        number=ANA,
        caller="anonymous",
        reason="missed",
        sent_at=1_800_000_000.1234,
        ttl_s=8.0,
    )
    assert json.loads(push.payload()) == {
        "type": "call_ended",
        "call": "c1",
        "uuid": call_uuid("c1"),
        "reason": "missed",
        "number": ANA,
        "caller": "anonymous",
        "sent_at": 1_800_000_000.123,
        "ttl_s": 8.0,
    }
    assert call_uuid("c1") == call_uuid("c1") != call_uuid("c2")


def test_topics() -> None:
    assert push_topic("ana-phone") == "cloudline/v1/devices/ana-phone/push"
    assert request_of("cloudline/v1/devices/ana-phone/requests/r1") == ("ana-phone", "r1")
    assert request_of("cloudline/v1/devices/ana-phone/replies/r1") is None


def test_the_twin_in_memory_fails_like_a_broker_that_is_away() -> None:
    twin = MemoryPushes()
    push = DevicePush(
        device="d", type="incoming_call", call="c", uuid="u", number="", caller="", sent_at=0, ttl_s=1
    )
    assert twin.put(push, 0.0)
    twin.up = False
    assert not twin.put(push, 0.0)
    assert twin.to("d") == [push]
