"""Two nodes over one Redis: one is killed, the other goes on with its calls.

Parties send to the survivor what a load balancer in front of the nodes would bring it.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

import pytest

from loadtests import proc
from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.pair import GATEWAY, MOBILE, SIM, Pair
from tests.e2e.harness.running import redis_in, running, talk
from tests.e2e.harness.server import HOST, Server
from tests.e2e.harness.world import ANA, BEN, CLEO, OUTSIDE

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs("openssl", "redis-server", "redis-cli"),
    pytest.mark.rule("LIVE-02", "LIVE-03"),
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
    if not both.world.server.alive:
        both.world.server.start()
    both.world.server.wait_idle()
    both.second.wait_idle()


def bring(pair: Pair, *legs: Leg) -> None:
    """What these parties send goes to the second node."""
    for leg in legs:
        leg.agent.server = pair.second.address()


@pytest.mark.parametrize("side", ["caller", "callee"])
def test_the_other_node_hangs_up_for_either_side(pair: Pair, side: str) -> None:
    before = pair.world.server.records_now()
    call, leg = talk(pair.world)
    pair.lose_the_first()
    assert proc.wait_until(lambda: pair.second.metric("cloudline_calls") == 1, 8)
    bring(pair, call, leg)
    first, second = (call, leg) if side == "caller" else (leg, call)
    assert first.hang_up().status == 200
    second.expect_hang_up()
    record = pair.second.record_of(before)
    assert (record["reason"], record["ended_by"]) == ("normal_clearing", side)
    pair.second.wait_idle()


def test_a_request_may_come_before_the_lease_has_lapsed(pair: Pair) -> None:
    call, leg = talk(pair.world)
    pair.lose_the_first()
    bring(pair, call, leg)
    assert call.hang_up().status == 200
    leg.expect_hang_up()
    pair.second.wait_idle()


def test_a_call_that_was_fetched_is_over_on_both_nodes(pair: Pair) -> None:
    """The node that it was fetched from lives on, and does not go on counting it, and those who talked in it for busy."""
    call, leg = talk(pair.world)
    bring(pair, call, leg)
    assert call.hang_up().status == 200
    leg.expect_hang_up()
    pair.second.wait_idle()
    assert proc.wait_until(lambda: pair.world.server.metric("cloudline_calls") == 0, 10)


def test_a_request_for_no_call_at_all_is_refused(pair: Pair) -> None:
    """Neither a stranger's guess nor an odd address keeps anything waiting."""
    call, leg = talk(pair.world)
    true = call.target
    for user in ("aaaaaaaaaaaaaaaa.b1", "nobody", ""):
        call.target = f"sip:{user}@127.0.0.1" if user else "sip:127.0.0.1"
        bring(pair, call)
        assert call.request("OPTIONS").status == 481
    call.target = true
    call.agent.server = leg.agent.server
    assert call.hang_up().status == 200
    leg.expect_hang_up()


def test_a_call_that_rings_is_not_taken_from_a_node_that_lives(pair: Pair) -> None:
    phone = pair.world.scripted("cleo-1", "udp")
    call = Leg.dial(pair.world.carrier(), CLEO, OUTSIDE)
    leg = Leg.answering(phone)
    leg.ring()
    ringing = call.expect_provisional(180)
    assert ringing.get("contact")
    owner = leg.agent.server
    bring(pair, leg)
    assert leg.request("OPTIONS").status in (481, 500)
    leg.agent.server = owner
    leg.accept()
    call.expect_answer()
    assert call.hang_up().status == 200
    leg.expect_hang_up()


def ask(server: Server, path: str, **body: object) -> dict[str, object]:
    """What an operator is told for the app of ana's phone."""
    token = server.database.with_suffix(".token").read_text().strip()
    request = urllib.request.Request(
        f"http://{HOST}:{server.http}{path}",
        data=json.dumps({"device": "ana-sim", **body}).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        told: dict[str, object] = json.loads(answer.read())
    return told


@pytest.mark.rule("OUT-02", "LIVE-01")
def test_a_lease_of_one_node_is_used_up_on_the_other(pair: Pair) -> None:
    told = ask(pair.world.server, "/v1/call-through", number=ANA, to="01 99 00 12 34")
    assert told["gateway_number"] == GATEWAY
    network, outside = pair.world.carrier(MOBILE), pair.world.carrier("carrier-a")
    network.server = outside.server = pair.second.address()
    call = Leg.dial(network, GATEWAY, SIM)
    callee = Leg.answering(outside)
    callee.accept()
    call.expect_answer()
    assert proc.wait_until(lambda: pair.world.server.metric("cloudline_leases", state="in_use") == 1, 5)
    again = Leg.dial(network, GATEWAY, SIM)
    again.expect_failure(400, 499)
    assert call.hang_up().status == 200
    callee.expect_hang_up()
    pair.second.wait_idle()


@pytest.mark.rule("LIVE-01")
def test_a_carrier_takes_its_calls_over_both_nodes_together(pair: Pair) -> None:
    first, second = pair.world.scripted("ana-1"), pair.world.scripted("ben-1")
    carrier = pair.world.carrier("carrier-gb")
    one = Leg.dial(first, "+447700900123", ANA)
    one.dial_with_credentials()
    there = Leg.answering(carrier)
    there.accept()
    one.expect_answer()
    second.server = pair.second.address()
    assert second.register().status == 200
    two = Leg.dial(second, "+447700900124", BEN)
    two.dial_with_credentials()
    two.expect_failure(400, 599)
    assert one.hang_up().status == 200
    there.expect_hang_up()
