"""The master of the live state fails under calls, behind Sentinels and in a Cluster: no answered call is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests import proc
from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.pair import Pair
from tests.e2e.harness.server import Server
from tests.e2e.harness.world import ANA, BEN, CLEO, OUTSIDE
from tests.support.redis_groups import ClusterGroup, Group, SentinelGroup, until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs("openssl", "redis-server", "redis-cli"),
    pytest.mark.rule("LIVE-01", "LIVE-02"),
]


@pytest.fixture(params=[SentinelGroup, ClusterGroup], ids=["sentinel", "cluster"])
def group(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Group]:
    made: Group = request.param(tmp_path / "redis")
    try:
        made.start()  # type: ignore[attr-defined]
        yield made
    finally:
        made.close()


def begin(pair: Pair, carrier: str, called: str, phone: str, server: Server) -> tuple[Leg, Leg]:
    """A call over ``server`` that rings."""
    outside = pair.world.carrier(carrier)
    outside.server = server.address()
    agent = pair.world.scripted(phone) if server is pair.world.server else pair.scripted_at_second(phone)
    call = Leg.dial(outside, called, OUTSIDE)
    leg = Leg.answering(agent)
    leg.ring()
    call.expect_provisional(180)
    return call, leg


def pick_up(call: Leg, leg: Leg) -> None:
    leg.accept()
    call.expect_answer()
    assert call.request("OPTIONS").status == 200


def is_healed(server: Server) -> bool:
    return (
        server.metric("cloudline_redis_up") == 1
        and server.metric("cloudline_redis_connections_lost_total") >= 1
        and server.metric("cloudline_store_unsaved_calls") == 0
    )


def test_the_master_is_killed_and_then_a_node(group: Group, tmp_path: Path) -> None:
    pair = Pair(tmp_path / "nodes", group)
    first, second = pair.world.server, pair.second
    try:
        pair.start()
        before = first.records_now()
        one = begin(pair, "carrier-a", CLEO, "cleo-1", first)
        pick_up(*one)
        two = begin(pair, "carrier-b", BEN, "ben-1", second)
        pick_up(*two)
        three = begin(pair, "carrier-gb", ANA, "ana-1", first)
        group.master().kill()
        assert one[0].request("OPTIONS").status == 200  # calls go on
        assert proc.wait_until(lambda: is_healed(first) and is_healed(second), 30)
        pick_up(*three)
        # longer without a lease than a lease lasts, and still nobody took the other for dead
        assert (first.metric("cloudline_calls"), second.metric("cloudline_calls")) == (2, 1)
        until("three calls in the store", lambda: len(group.master().ask("KEYS", "{cl}:call:*").split()) == 3)
        pair.lose_the_first()
        assert proc.wait_until(lambda: second.metric("cloudline_calls") == 3, 15)
        for call, leg in (one, two, three):
            call.agent.server = leg.agent.server = second.address()
        assert one[0].hang_up().status == 200
        one[1].expect_hang_up()
        assert two[1].hang_up().status == 200
        two[0].expect_hang_up()
        assert three[1].hang_up().status == 200
        three[0].expect_hang_up()
        second.wait_idle()
        records = [row for row in second.rows("SELECT * FROM calls") if row["call_ref"] not in before]
        assert [row["reason"] for row in records] == ["normal_clearing"] * 3
    finally:
        pair.close()
