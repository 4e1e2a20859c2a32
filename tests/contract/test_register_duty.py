"""Who registers with the carriers: one of several processes, whatever keeps the duty (LIVE-01, LIVE-03)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from callcontrol.live import keys
from callcontrol.live.address import Address
from callcontrol.live.link import RedisLink
from callcontrol.live.register_duty import DUTY_SCRIPTS, RedisRegisterDuty
from callcontrol.register_duty import DutyBoard, Entry, MemoryRegisterDuty, RegisterDuty, SharedTable, Table
from tests.support.redis import RedisServer, redis

__all__ = ["redis"]

pytestmark = pytest.mark.rule("LIVE-01", "LIVE-03")

LEASE_S = 0.3
AT_ONCE = 20
"""Questions that follow each other take a small part of the lease together."""
PEER = "sip:10.0.5.1:5060"
ROW: Entry = ("reg", PEER, ["<sip:edge.carrier.example;lr>"], "10.0.5.1", "sip:t-1@10.0.0.1:5060")


class Place:
    """Two processes that share a duty, and a clock."""

    def __init__(
        self, one: RegisterDuty, two: RegisterDuty, wait: Callable[[float], Awaitable[None]]
    ) -> None:
        self.one = one
        self.two = two
        self.wait = wait
        self.now = 1_800_000_000.0

    async def hold(self, duty: RegisterDuty, table: Table | None = None) -> tuple[bool, list[Entry]]:
        told: asyncio.Future[tuple[bool, list[Entry]]] = asyncio.get_running_loop().create_future()
        duty.hold(
            table,
            self.now,
            lambda mine, found: told.set_result(
                (mine, [(*each[:2], list(each[2]), *each[3:]) for each in found])
            ),  # type: ignore[misc]
        )
        return await asyncio.wait_for(told, 5)


@asynccontextmanager
async def memory(_url: str) -> AsyncIterator[Place]:
    board = DutyBoard(LEASE_S)

    async def wait(seconds: float) -> None:
        place.now += seconds

    place = Place(MemoryRegisterDuty(board, "p1"), MemoryRegisterDuty(board, "p2"), wait)
    yield place


@asynccontextmanager
async def in_redis(url: str) -> AsyncIterator[Place]:
    links = [RedisLink(Address(url), scripts=DUTY_SCRIPTS, timeout_s=2.0) for _ in range(2)]
    for link in links:
        await link.connect()
    await links[0].ask("DEL", keys.REGISTER_DUTY, keys.REGISTERED)
    one, two = (RedisRegisterDuty(link, f"p{n}", LEASE_S) for n, link in enumerate(links))

    async def wait(seconds: float) -> None:
        # the lease is kept by the clock of Redis, which no test turns: it is ended as its time would end it
        if seconds >= LEASE_S:
            await links[0].ask("DEL", keys.REGISTER_DUTY)

    try:
        yield Place(one, two, wait)
    finally:
        for link in links:
            await link.close()


@pytest.fixture(params=["memory", "redis"])
def place(request: pytest.FixtureRequest) -> Callable[[], object]:
    if request.param == "memory":
        return lambda: memory("")
    server: RedisServer = request.getfixturevalue("redis")
    return lambda: in_redis(server.url)


def play(place: Callable[[], object], scenario: Callable[[Place], Awaitable[None]]) -> None:
    async def body() -> None:
        async with place() as found:  # type: ignore[attr-defined]
            await scenario(found)

    asyncio.run(body())


def test_one_of_two_has_it_and_tells_the_other(place: Callable[[], object]) -> None:
    async def scenario(p: Place) -> None:
        assert await p.hold(p.one) == (True, [])
        assert await p.hold(p.two) == (False, [])
        assert (await p.hold(p.one, [ROW]))[0] is True
        assert await p.hold(p.two) == (False, [ROW])
        assert (await p.hold(p.two, [("x", "y", [], "", "z")])) == (False, [ROW]), "nobody else writes it"

    play(place, scenario)


def test_who_is_silent_loses_it_and_the_next_one_knows_what_was_left(place: Callable[[], object]) -> None:
    async def scenario(p: Place) -> None:
        await p.hold(p.one)
        await p.hold(p.one, [ROW])
        await p.wait(LEASE_S)
        assert await p.hold(p.two) == (True, [ROW])
        assert await p.hold(p.one, [ROW]) == (False, [ROW])
        assert await p.hold(p.two, []) == (True, [ROW])
        assert await p.hold(p.one) == (False, [])

    play(place, scenario)


def test_giving_up_lets_another_have_it_at_once(place: Callable[[], object]) -> None:
    async def scenario(p: Place) -> None:
        await p.hold(p.one)
        p.two.give_up(p.now)
        assert (await p.hold(p.two))[0] is False, "nobody gives up what another has"
        p.one.give_up(p.now)
        tries = 1  # the two have connections of their own, on which neither waits for the other
        while not (await p.hold(p.two))[0]:
            assert tries < AT_ONCE
            tries += 1

    play(place, scenario)


def test_a_lease_that_lapsed_while_nobody_else_asked_is_the_same_one(place: Callable[[], object]) -> None:
    async def scenario(p: Place) -> None:
        await p.hold(p.one)
        await p.wait(LEASE_S)
        assert (await p.hold(p.one, [ROW]))[0] is True
        assert await p.hold(p.two) == (False, [ROW])
        assert p.one.every_s < LEASE_S / 3

    play(place, scenario)


def test_the_same_process_keeps_it(place: Callable[[], object]) -> None:
    async def scenario(p: Place) -> None:
        for _ in range(5):
            assert (await p.hold(p.one, [ROW]))[0] is True
            await p.wait(LEASE_S / 2)

    play(place, scenario)


def test_a_store_that_is_away_tells_nothing() -> None:
    async def scenario() -> None:
        link = RedisLink(Address("redis://127.0.0.1:1/0"), scripts=DUTY_SCRIPTS, timeout_s=0.1)
        told: list[bool] = []
        duty = RedisRegisterDuty(link, "p1", LEASE_S)
        duty.hold([ROW], 0.0, lambda mine, table: told.append(mine))
        duty.give_up(0.0)
        assert told == []

    asyncio.run(scenario())


def test_a_table_that_cannot_be_read_is_none(redis: RedisServer) -> None:
    async def scenario() -> None:
        async with in_redis(redis.url) as p:
            await p.hold(p.one)
            link = RedisLink(Address(redis.url), timeout_s=2.0)
            await link.connect()
            await link.ask("SET", keys.REGISTERED, "not JSON")
            assert await p.hold(p.two) == (False, [])
            await link.close()

    asyncio.run(scenario())


def test_what_is_shared_answers_as_the_registrations_do() -> None:
    shared = SharedTable()
    key = f"reg {PEER}"
    assert (shared.routes(key), shared.trunk_of("10.0.5.1"), shared.rows()) == (None, "", [])
    shared.learn([ROW])
    assert shared.rows() == [("reg", PEER, ["<sip:edge.carrier.example;lr>"], "10.0.5.1")]
    assert shared.trunk_of("10.0.5.1") == "reg"
    shared.learn([ROW, ("other", PEER, [], "10.0.5.1", "")])
    assert shared.trunk_of("10.0.5.1") == "", "whose call it is, cannot be told by the address"
