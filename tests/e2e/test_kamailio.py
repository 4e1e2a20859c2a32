"""Kamailio in front of two nodes: a node is killed under calls, and both are restarted under load one after the other."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests import proc
from tests.e2e.harness.agent import Agent
from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.fronted import CONFIG, Fronted, Kamailio
from tests.e2e.harness.wire import NothingCame
from tests.e2e.harness.world import CLEO, OUTSIDE
from tests.support.redis import RedisServer

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs("openssl", "redis-server", "redis-cli", "kamailio"),
    pytest.mark.rule("LIVE-02", "LIVE-03"),
]

UP = int(os.environ.get("CLOUDLINE_CALLS_UP", "60"))
RINGING = int(os.environ.get("CLOUDLINE_CALLS_RINGING", "10"))
AT_ONCE = 10
"""Calls that are hung up right after the death."""
Call = tuple[Leg, Leg]


@pytest.fixture
def fronted(tmp_path: Path) -> Iterator[Fronted]:
    store = RedisServer(tmp_path / "redis")
    (tmp_path / "redis").mkdir()
    store.start()
    made = Fronted(tmp_path / "nodes", store)
    try:
        made.start()
        yield made
    finally:
        made.close()
        store.kill()


def test_the_configuration_is_good(tmp_path: Path) -> None:
    done = Kamailio(tmp_path, [("127.0.0.1", 5061), ("127.0.0.1", 5062)]).check()
    assert done.returncode == 0, done.stderr
    assert "config file ok" in done.stdout + done.stderr
    listed = (CONFIG / "dispatcher.list").read_text().split()
    assert listed.count("1") == 2


def ring(carrier: Agent, phone: Agent) -> Call:
    call = Leg.dial(carrier, CLEO, OUTSIDE)
    try:
        leg = Leg.answering(phone)
    except NothingCame as error:
        raise AssertionError(f"{error}\n{carrier.story()}") from error
    leg.ring()
    call.expect_provisional(180)
    return call, leg


def talk(carrier: Agent, phone: Agent) -> Call:
    call, leg = ring(carrier, phone)
    leg.accept()
    call.expect_answer()
    return call, leg


def reasons(fronted: Fronted, before: set[str]) -> list[str]:
    """Of the call records since: one each, or the database would hold fewer."""
    rows = fronted.second.rows("SELECT call_ref, reason FROM calls")
    return sorted(row["reason"] for row in rows if row["call_ref"] not in before)


def settled(fronted: Fronted) -> None:
    for node in fronted.nodes:
        if node.alive:
            node.wait_idle(
                60.0
            )  # an INVITE that no longer has an answer to expect is waited for during 64 T1


def test_a_node_is_killed_under_calls(fronted: Fronted) -> None:
    before = fronted.second.records_now()
    carrier, phone = fronted.carrier(), fronted.phone("cleo-1")
    up = [talk(carrier, phone) for _ in range(UP)]
    ringing = [ring(carrier, phone) for _ in range(RINGING)]
    assert up[-1][0].request("OPTIONS").status == 200
    spread = fronted.calls()
    assert sum(spread) == UP + RINGING
    assert min(spread) > 0, "all calls are on one node"
    dead = fronted.nodes[0]
    killed = time.monotonic()
    dead.signal(signal.SIGKILL)
    assert proc.wait_until(lambda: not dead.alive, 5)
    # nobody waits for the lease to lapse: the first to speak after the death are served as well
    slowest = hang_up(up[:AT_ONCE], fronted)
    for number, pair in enumerate(up[AT_ONCE : 3 * AT_ONCE]):
        speaker, other = pair if number % 2 else pair[::-1]
        assert speaker.request("UPDATE", [("Supported", "timer")]).status == 200, "no session refresh"
        hold(speaker, other)
    # calls that rang on the survivor go on ringing; those of the dead node end there, and the proxy offers them anew
    port = dead.address()[1]
    lost = [leg for _, leg in ringing if leg.target.endswith(f":{port}")]
    for leg in lost[::2]:
        leg.pick_up()
    known = {leg.call_id for _, leg in ringing}
    for number, leg in enumerate(lost):
        if number % 2:
            leg.expect_cancel(12.0)
        else:  # picked up before anybody could tell it: it is released, and no more left in silence than the caller
            leg.expect_hang_up(15.0)
    legs = [leg for _, leg in ringing if leg not in lost] + [anew(phone, known) for _ in lost]
    for leg in legs:
        leg.accept()
    for call, _ in ringing:
        call.expect_answer(15.0)
        assert call.hang_up().status == 200
    for leg in legs:
        leg.expect_hang_up()
    slowest = max(slowest, hang_up(up[AT_ONCE:], fronted))
    took = time.monotonic() - killed
    settled(fronted)
    told = reasons(fronted, before)
    print(
        f"\n{UP} calls up and {RINGING} ringing, {spread[0]:.0f} and {spread[1]:.0f} of them on the two nodes; one node killed:"
        f"\nall hung up within {took:.1f} s of the death, one after the other, the slowest took {slowest:.1f} s;"
        f"\n{len(lost)} that rang there were offered anew, {RINGING - len(lost)} rang on; {len(told)} call records"
    )
    assert told == sorted(["node_lost"] * len(lost) + ["normal_clearing"] * (UP + RINGING))


def hold(speaker: Leg, other: Leg) -> None:
    """One side puts the other on hold, and both go on."""
    speaker.reinvite(speaker.agent.sdp("sendonly", 2))
    offer = other.agent.expect_request("INVITE", 10.0, other.call_id)
    assert "a=sendonly" in offer.body
    other.agent.respond(offer, 200, (), other.agent.sdp("recvonly", 2))
    assert "a=recvonly" in speaker.expect_answer(10.0).body
    other.agent.expect_request("ACK", 5.0, other.call_id)


def hang_up(calls: list[Call], fronted: Fronted) -> float:
    """End calls from either side in turn; how long the slowest took, seconds."""
    slowest = 0.0
    for number, (call, leg) in enumerate(calls):
        speaker, other = (call, leg) if number % 2 else (leg, call)
        asked = time.monotonic()
        assert speaker.request("BYE").status == 200, f"call {number}\n{fronted.kamailio.tail()}"
        other.expect_hang_up(10.0)
        slowest = max(slowest, time.monotonic() - asked)
    return slowest


def anew(phone: Agent, known: set[str]) -> Leg:
    """The next call that did not ring before."""
    invite = phone.expect(
        lambda m: m.is_request and m.method == "INVITE" and m.call_id not in known, "INVITE", 15.0
    )
    phone.inbox.insert(0, invite)
    leg = Leg.answering(phone)
    known.add(leg.call_id)
    leg.ring()
    return leg


@pytest.mark.rule("OPS-04")
def test_both_nodes_are_restarted_one_after_the_other_under_load(fronted: Fronted) -> None:
    before = fronted.second.records_now()
    carrier, phone = fronted.carrier(), fronted.phone("cleo-1")
    made = 0
    for node in fronted.nodes:
        held = [talk(carrier, phone) for _ in range(10)]
        node.signal(signal.SIGTERM)
        assert proc.wait_until(lambda: node.metric("cloudline_draining") == 1, 5)  # noqa: B023
        # calls come on as if nothing were, and none is refused
        for _ in range(20):
            call, leg = talk(carrier, phone)
            assert leg.hang_up().status == 200
            call.expect_hang_up()
        for call, leg in held:
            assert call.hang_up().status == 200
            leg.expect_hang_up()
        assert proc.wait_until(lambda: not node.alive, 15), node.tail(20)  # noqa: B023
        for _ in range(5):
            call, leg = talk(carrier, phone)
            assert call.hang_up().status == 200
            leg.expect_hang_up()
        node.start()
        fronted.counted_in(node)
        made += 35
    settled(fronted)
    assert reasons(fronted, before) == ["normal_clearing"] * made
