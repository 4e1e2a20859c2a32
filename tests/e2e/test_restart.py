"""A node with its live state in Redis is killed and comes back: answered calls go on, ringing ones end cleanly."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests import proc
from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.running import redis_in, running, talk
from tests.e2e.harness.world import BEN, CLEO, OUTSIDE, World
from tests.support.redis import RedisServer, redis

__all__ = ["redis"]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs("openssl", "redis-server", "redis-cli"),
    pytest.mark.rule("LIVE-02"),
]

SHORT = "lease_seconds = 1.0\ntimeout_seconds = 0.3\n"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_in(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def kept(store: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    settings = f'\n[state]\nurl = "{store.url}"\n{SHORT}'
    with running(World(tmp_path_factory.mktemp("world"), settings=settings)) as made:
        yield made


@pytest.fixture
def shared(kept: World) -> Iterator[World]:
    """A node whose live state is in Redis, without any call."""
    yield kept
    kept.everybody_out()
    if not kept.server.alive:
        kept.server.start()


def hang_up(world: World, call: Leg, leg: Leg) -> None:
    """The phone ends it, the carrier is told, and nothing is left."""
    assert leg.hang_up().status == 200
    call.expect_hang_up()
    world.server.wait_idle()


def die_and_come_back(world: World) -> None:
    world.server.signal(signal.SIGKILL)
    assert proc.wait_until(lambda: not world.server.alive, 5)
    world.server.start()


@pytest.mark.parametrize("side", ["caller", "callee"])
def test_either_side_hangs_up_after_the_restart(shared: World, side: str) -> None:
    before = shared.server.records_now()
    call, leg = talk(shared)
    die_and_come_back(shared)
    assert shared.server.metric("cloudline_calls") == 1
    first, second = (call, leg) if side == "caller" else (leg, call)
    assert first.hang_up().status == 200
    second.expect_hang_up()
    record = shared.server.record_of(before)
    assert (record["reason"], record["ended_by"]) == ("normal_clearing", side)
    assert 0 < record["answered_ms"] < record["ended_ms"]
    shared.server.wait_idle()


def test_hold_goes_through_after_the_restart(shared: World) -> None:
    call, leg = talk(shared)
    die_and_come_back(shared)
    call.reinvite(call.agent.sdp("sendonly", 2))
    offer = leg.agent.expect_request("INVITE")
    assert "sendonly" in offer.body
    leg.agent.respond(offer, 200, body=leg.agent.sdp("recvonly", 2), tag=leg.tag)
    call.expect_answer()
    leg.agent.expect_request("ACK")
    assert call.hang_up().status == 200
    leg.expect_hang_up()
    shared.server.wait_idle()


def test_a_call_that_rings_ends_on_both_sides(shared: World) -> None:
    before = shared.server.records_now()
    phone = shared.scripted("cleo-1", "udp")
    call = Leg.dial(shared.carrier(), CLEO, OUTSIDE)
    leg = Leg.answering(phone)
    leg.ring()
    call.expect_provisional(180)
    die_and_come_back(shared)
    leg.ring()  # the INVITE was sent again as it was, and a phone repeats its last response
    leg.expect_cancel()
    call.expect_failure(503, 503)
    record = shared.server.record_of(before)
    assert record["reason"] == "node_lost"
    shared.server.wait_idle()


def test_phones_stay_registered(shared: World) -> None:
    phone = shared.scripted("ben-1", "udp")
    die_and_come_back(shared)
    call = Leg.dial(shared.carrier(), BEN, OUTSIDE)
    leg = Leg.answering(phone)
    leg.accept()
    call.expect_answer()
    hang_up(shared, call, leg)


def test_redis_is_restarted_empty_while_people_talk(shared: World, store: RedisServer) -> None:
    """What Redis lost is written again; the call then survives its node all the same."""
    call, leg = talk(shared)
    store.kill()
    assert call.request("OPTIONS").status == 200  # calls go on
    second = Leg.dial(shared.carrier("carrier-b"), BEN, OUTSIDE)
    second.expect_failure(480, 480)  # and new ones are decided: nobody is registered for Ben
    store.start()
    assert proc.wait_until(lambda: store.ask("KEYS", "{cl}:call:*").startswith("{cl}:call:"), 8)
    assert proc.wait_until(lambda: "{cl}:binding:" in store.ask("KEYS", "{cl}:binding:*"), 8)
    die_and_come_back(shared)
    hang_up(shared, call, leg)


def _secret(store: RedisServer) -> str:
    """A word that tells two secrets of the nodes apart; they are no text."""
    return store.ask("EVAL", "return redis.sha1hex(redis.call('GET', KEYS[1]))", "1", "{cl}:secret")


def test_redis_is_emptied_under_the_connection_while_people_talk(shared: World, store: RedisServer) -> None:
    """FLUSHALL, or keys that were evicted: the connection stands, and what Redis should have is written again all the same."""
    shared.scripted("ben-1", "udp")
    call, leg = talk(shared)
    secret = _secret(store)
    assert store.ask("FLUSHALL") == "OK"
    hold(call, leg)
    for key in ("call:*", "calls:*", "binding:*", "secret"):
        assert proc.wait_until(lambda key=key: store.ask("KEYS", "{cl}:" + key).startswith("{cl}:"), 8), key
    assert _secret(store) == secret
    die_and_come_back(shared)
    hang_up(shared, call, leg)


def test_redis_falls_silent_while_people_talk(shared: World, store: RedisServer) -> None:
    """As behind a proxy that drops the wire: connections stand, and nothing comes back.  Nobody waits for it for long."""
    call, leg = talk(shared)
    store.freeze()
    try:
        hold(call, leg)
        young = Leg.dial(shared.carrier("carrier-b"), CLEO, OUTSIDE)
        rings = Leg.answering(leg.agent)
        rings.accept()
        young.expect_answer()
        assert shared.server.metric("cloudline_redis_up") == 0
    finally:
        store.thaw()
    assert proc.wait_until(
        lambda: (
            shared.server.metric("cloudline_redis_up") == 1
            and shared.server.metric("cloudline_store_unsaved_calls") == 0
        ),
        10,
    )
    die_and_come_back(shared)
    for one, other in ((call, leg), (rings, young)):
        assert one.hang_up().status == 200
        other.expect_hang_up()
    shared.server.wait_idle()


def hold(call: Leg, leg: Leg) -> None:
    call.reinvite(call.agent.sdp("sendonly", 2))
    offer = leg.agent.expect_request("INVITE", 5.0, leg.call_id)
    leg.agent.respond(offer, 200, (), leg.agent.sdp("recvonly", 2))
    call.expect_answer()
    leg.agent.expect_request("ACK", 5.0, leg.call_id)


def test_redis_loses_its_last_second_and_a_node_dies_with_it(shared: World, store: RedisServer) -> None:
    """What was saved in that second did not happen: older calls go on as they were, and younger ones are known to nobody."""
    before = shared.server.records_now()
    call, leg = talk(shared)
    store.keep()
    try:
        hold(call, leg)
        young = Leg.dial(shared.carrier("carrier-b"), CLEO, OUTSIDE)
        rings = Leg.answering(leg.agent)
        rings.accept()
        young.expect_answer()
        shared.server.signal(signal.SIGKILL)
        assert proc.wait_until(lambda: not shared.server.alive, 5)
        store.kill()
        store.start()
        shared.server.start()
        assert shared.server.metric("cloudline_calls") == 1
        for side in (young, rings):
            assert side.request("BYE").status == 481
        assert leg.hang_up().status == 200
        call.expect_hang_up()
        shared.server.wait_idle()
        told = [
            row
            for row in shared.server.rows("SELECT call_ref, reason FROM calls")
            if row["call_ref"] not in before
        ]
        assert [row["reason"] for row in told] == ["normal_clearing"]
    finally:
        store.keep_nothing()


def test_new_calls_are_refused_while_redis_is_away_if_the_operator_wants_it(
    redis: RedisServer, tmp_path: Path
) -> None:
    world = World(tmp_path / "world", settings=f'\n[state]\nurl = "{redis.url}"\noutage = "refuse"\n{SHORT}')
    try:
        world.start()
        call, leg = talk(world)
        redis.kill()
        assert proc.wait_until(lambda: world.server.get("/readyz")[0] == 503, 8)
        refused = Leg.dial(world.carrier("carrier-b"), CLEO, OUTSIDE)
        answer = refused.expect_failure(503, 503)
        assert answer.get("retry-after")
        assert leg.hang_up().status == 200  # what runs goes on
        call.expect_hang_up()
        redis.start()
        assert proc.wait_until(lambda: world.server.is_ready(), 8)
        world.server.wait_idle()
    finally:
        world.close()


def test_a_second_process_of_the_same_name_stops_the_first(shared: World, store: RedisServer) -> None:
    """It is taken for the one that came back; two of one name would work against each other."""
    twin = World(shared.folder / "twin", settings=f'\n[state]\nurl = "{store.url}"\n{SHORT}')
    try:
        twin.start()
        assert proc.wait_until(lambda: not shared.server.alive, 10)
        assert "another process runs as node" in shared.server.tail(60)
    finally:
        twin.close()


def test_without_redis_the_node_says_what_to_do(tmp_path: Path) -> None:
    world = World(tmp_path, settings='\n[state]\nurl = "redis://127.0.0.1:1/0"\n')
    done = world.server.cli("serve", "--config", str(world.server.config))
    assert done.returncode == 1
    assert "state.url: Redis at 127.0.0.1:1/0 cannot be reached" in done.stderr


def test_a_url_that_says_nothing_is_named(tmp_path: Path) -> None:
    world = World(tmp_path, settings='\n[state]\nurl = "redis+sentinel://127.0.0.1:1"\n')
    done = world.server.cli("serve", "--config", str(world.server.config))
    assert done.returncode == 1
    assert "state.url: redis+sentinel:// needs the name of the service" in done.stderr
