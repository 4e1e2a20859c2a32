"""Two nodes over one Redis: a phone that is registered with one of them is rung by calls that come to the other."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from loadtests import proc
from tests.e2e.harness.agent import Agent
from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.pair import Pair
from tests.e2e.harness.running import redis_in, running
from tests.e2e.harness.world import CLEO, OUTSIDE

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs("openssl", "redis-server", "redis-cli"),
    pytest.mark.rule("LIVE-01"),
]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with (
        redis_in(tmp_path_factory.mktemp("redis")) as store,
        running(Pair(tmp_path_factory.mktemp("nodes"), store)) as made,
    ):
        yield made


@pytest.fixture
def pair(both: Pair) -> Iterator[Pair]:
    """Two nodes that live, without any call."""
    yield both
    both.world.everybody_out()
    for server in (both.world.server, both.second):
        if not server.alive:
            server.start()
        server.wait_idle()


def known(pair: Pair, count: int = 1) -> None:
    """The first node knows so many registrations."""
    seen = lambda: pair.world.server.metric("cloudline_registrations_known") == count  # noqa: E731
    assert proc.wait_until(seen, 5)


def ring(pair: Pair, phone: Agent) -> tuple[Leg, Leg]:
    call = Leg.dial(pair.world.carrier(), CLEO, OUTSIDE)
    leg = Leg.answering(phone)
    leg.ring()
    call.expect_provisional(180)
    return call, leg


def talk(pair: Pair, phone: Agent) -> tuple[Leg, Leg]:
    call, leg = ring(pair, phone)
    leg.accept()
    call.expect_answer()
    assert call.request("OPTIONS").status == 200  # the ACK is in
    return call, leg


@pytest.mark.parametrize("transport", ["udp", "tcp", "ws"])
@pytest.mark.parametrize("side", ["caller", "callee"])
def test_a_phone_of_the_other_node_is_called(pair: Pair, transport: str, side: str) -> None:
    before = pair.world.server.records_now()
    phone = pair.scripted_at_second("cleo-1", transport)
    known(pair)
    call, leg = talk(pair, phone)
    assert pair.world.server.metric("cloudline_calls") == 1
    assert pair.second.metric("cloudline_calls") == 0
    assert "flow~" in leg.routes[0]
    call.reinvite(call.agent.sdp("sendonly", 2))
    offer = phone.expect_request("INVITE")
    phone.respond(offer, 200, body=phone.sdp("recvonly", 2), tag=leg.tag)
    call.expect_answer()
    phone.expect_request("ACK")
    first, second = (call, leg) if side == "caller" else (leg, call)
    assert first.hang_up().status == 200
    second.expect_hang_up()
    record = pair.world.server.record_of(before)
    assert (record["reason"], record["ended_by"]) == ("normal_clearing", side)
    pair.world.server.wait_idle()


def test_a_caller_who_gives_up_and_a_phone_that_declines(pair: Pair) -> None:
    phone = pair.scripted_at_second("cleo-1", "tcp")
    known(pair)
    call, leg = ring(pair, phone)
    call.cancel()
    leg.expect_cancel()
    call.expect_failure(487)
    call, leg = ring(pair, phone)
    leg.refuse(603)
    call.expect_failure(600, 603)
    pair.world.server.wait_idle()


@pytest.mark.rule("DEV-05")
def test_a_device_that_registers_elsewhere_joins_a_call_that_rings(pair: Pair) -> None:
    first = pair.world.scripted("cleo-1", "udp")
    call, leg = ring(pair, first)
    second = pair.scripted_at_second("cleo-2", "tcp")
    late = Leg.answering(second)
    late.accept()
    call.expect_answer()
    leg.expect_cancel()
    assert late.hang_up().status == 200
    call.expect_hang_up()


def test_a_phone_that_moves_is_rung_where_it_went(pair: Pair) -> None:
    phone = pair.world.scripted("cleo-1", "tcp")
    moved = pair.scripted_at_second("cleo-1", "tcp")
    moved.instance = phone.instance
    moved.register(0, contact="*", instance=False)
    moved.register()
    known(pair)
    call, leg = talk(pair, moved)
    assert leg.hang_up().status == 200
    call.expect_hang_up()


@pytest.mark.rule("DEV-05")
def test_a_dead_flow_fails_in_milliseconds(pair: Pair) -> None:
    """The phone's connection ends, and its node knows before the call's: the other phone rings alone."""
    gone = pair.scripted_at_second("cleo-1", "tcp")
    stays = pair.scripted_at_second("cleo-2", "udp")
    known(pair, 2)
    gone.wire.close()
    began = time.monotonic()
    call, leg = talk(pair, stays)
    assert time.monotonic() - began < 2
    assert leg.hang_up().status == 200
    call.expect_hang_up()


@pytest.mark.rule("LIVE-02")
def test_the_phones_node_goes_on_with_a_call_whose_own_node_died(pair: Pair) -> None:
    """What the phone says over its connection is not lost: it is kept until somebody has the call."""
    before = pair.world.server.records_now()
    phone = pair.scripted_at_second("cleo-1", "tcp")
    known(pair)
    call, leg = talk(pair, phone)
    pair.world.server.signal(signal.SIGKILL)
    assert proc.wait_until(lambda: not pair.world.server.alive, 5)
    assert leg.hang_up().status == 200
    call.agent.server = pair.second.address()
    call.expect_hang_up()
    record = pair.second.record_of(before)
    assert (record["reason"], record["ended_by"]) == ("normal_clearing", "callee")


@pytest.mark.rule("LIVE-02", "LIVE-03")
def test_phones_of_a_dead_node_are_not_rung_over_what_is_gone(pair: Pair) -> None:
    on_tcp = pair.scripted_at_second("cleo-1", "tcp")
    on_udp = pair.scripted_at_second("cleo-2", "udp")
    known(pair, 2)
    pair.second.signal(signal.SIGKILL)
    assert proc.wait_until(lambda: not pair.second.alive, 5)
    known(pair)
    on_udp.server = pair.world.server.address()
    call, leg = talk(pair, on_udp)  # nothing hides it: any node reaches it
    assert leg.hang_up().status == 200
    call.expect_hang_up()
    assert not on_tcp.inbox
