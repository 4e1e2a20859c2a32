"""Leases of gateway numbers on several nodes over a real Redis: what OUT-02 promises holds whoever asks whom, and when."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from callcontrol.live.state import LiveState
from config.sections import StateSettings
from gateway.leases import Lease, LeasePolicy, LeaseRequest, NoNumber, Use, UseState
from tests.support.redis import RedisServer, redis

__all__ = ["redis"]

pytestmark = pytest.mark.rule("OUT-02", "LIVE-01")
POOL = tuple(f"+331990000{line:02}" for line in range(1, 7))
SIMS = tuple(f"+336399800{index:02}" for index in range(20))
LIFE_S = 60.0
Ask = Callable[[Callable[[Any], None]], None]


@asynccontextmanager
async def node(server: RedisServer, name: str) -> AsyncIterator[LiveState]:
    """The live state of one node, as the node itself opens it."""
    state = LiveState(
        StateSettings(url=server.url, lease_seconds=1.0),
        name,
        max_call_s=3600.0,
        leases=LeasePolicy(),
        channel_lease_s=30.0,
        wall=time.time,
        kick=lambda: None,
        turn=lambda: None,
        on_defect=defects.append,
        on_usurped=lambda: None,
    )
    await state.open()
    running = asyncio.create_task(state.run())
    try:
        yield state
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await state.close()


defects: list[Exception] = []


async def told(ask: Ask) -> Any:
    """What an operation answers; it answers once."""
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    ask(answer.set_result)
    async with asyncio.timeout(10):
        return await answer


async def take(state: LiveState, sim: str, to: str, id: str, now: float) -> Lease | NoNumber | None:
    request = LeaseRequest(
        id=id, kind="call_through", sim=sim, user="u", device=f"phone {sim}", to=to, life_s=LIFE_S
    )
    found: Lease | NoNumber | None = await told(lambda done: state.leases.take(request, POOL, now, done))
    return found


async def use(state: LiveState, lease: Lease, call: str, now: float) -> Use:
    found = await told(lambda done: state.leases.use(lease.sim, lease.gateway, call, now, done))
    assert isinstance(found, Use)
    return found


async def in_step(*nodes: LiveState) -> None:
    for _ in range(400):
        if all(each.log.in_step for each in nodes):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the nodes are not in step again")


@pytest.fixture(autouse=True)
def _no_defects() -> AsyncIterator[None]:  # type: ignore[misc]
    defects.clear()
    yield
    assert not defects


def test_nodes_that_give_at_once_never_give_the_same_pair(redis: RedisServer) -> None:
    """Three nodes, twenty SIMs, each asking for as many calls as there are gateway numbers, all in the same moment."""

    async def play() -> None:
        now = time.time()
        async with AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(node(redis, name)) for name in "abc"]
            asked = [(sim, f"+3319900{call:02}{99:02}", f"{sim} {call}") for sim in SIMS for call in range(8)]
            random.Random(1).shuffle(asked)
            found = await asyncio.gather(
                *(take(nodes[index % 3], *each, now) for index, each in enumerate(asked))
            )
            leases = [each for each in found if isinstance(each, Lease)]
            pairs = Counter((lease.sim, lease.gateway) for lease in leases)
            assert set(pairs.values()) == {1}, "a pair was given twice"
            assert Counter(lease.sim for lease in leases) == dict.fromkeys(SIMS, len(POOL)), "all were given"
            assert sum(isinstance(each, NoNumber) for each in found) == len(SIMS) * (8 - len(POOL))

            # every call arrives at all three nodes at once, as after a carrier's fork: it is one call, used once
            calls = [
                (state, lease, f"call {lease.id} {state is nodes[0]}") for lease in leases for state in nodes
            ]
            random.Random(2).shuffle(calls)
            uses = await asyncio.gather(*(use(*each, now + 1) for each in calls))
            taken = Counter(
                (each.lease.id, each.lease.used_by)
                for each in uses
                if each.state is UseState.LEASED and each.lease is not None
            )
            assert len({id for id, _ in taken}) == len(taken) == len(leases), "a lease served two calls"
            for (id, caller), times in taken.items():
                same = [call for _, lease, call in calls if lease.id == id and call == caller]
                assert times == len(same), "the same call again is the same use, wherever it comes"
            others = [each for each in uses if each.state is not UseState.LEASED]
            assert {each.state for each in others} == {UseState.USED}

    asyncio.run(play())


def test_a_lease_asked_for_twice_at_once_is_one(redis: RedisServer) -> None:
    """Two apps of one user ask different nodes for the same call, in the same moment."""

    async def play() -> None:
        now = time.time()
        async with node(redis, "a") as one, node(redis, "b") as two:
            for index, sim in enumerate(SIMS):
                found = await asyncio.gather(
                    take(one, sim, "+33199001234", f"first {index}", now),
                    take(two, sim, "+33199001234", f"second {index}", now),
                )
                (lease, again) = found
                assert isinstance(lease, Lease)
                assert isinstance(again, Lease)
                assert (lease.id, lease.gateway) == (again.id, again.gateway)

    asyncio.run(play())


def test_a_redis_that_dies_in_the_middle_gives_nothing_twice(redis: RedisServer) -> None:
    """Whoever cannot know says so at once; what was given before the outage is still known after it."""

    async def play() -> None:
        now = time.time()
        async with node(redis, "a") as one, node(redis, "b") as two:
            before = [await take(one, sim, "+33199001234", f"before {sim}", now) for sim in SIMS]
            assert all(isinstance(lease, Lease) for lease in before)
            redis.kill()
            began = time.monotonic()
            during = await asyncio.gather(
                *(
                    take(state, sim, "+33199001235", f"during {sim}", now)
                    for sim in SIMS
                    for state in (one, two)
                )
            )
            assert set(during) == {None}, "what the nodes do not agree on is not given"
            assert time.monotonic() - began < 5
            redis.start()
            await in_step(one, two)
            after = await asyncio.gather(
                *(
                    take(two, sim, f"+331990012{line}", f"{line} {sim}", now + 1)
                    for sim in SIMS
                    for line in range(40, 45)
                )
            )
            leases = [each for each in (*before, *after) if isinstance(each, Lease)]
            pairs = Counter((lease.sim, lease.gateway) for lease in leases)
            assert set(pairs.values()) == {1}
            assert set(Counter(lease.sim for lease in leases).values()) == {len(POOL)}

    asyncio.run(play())
