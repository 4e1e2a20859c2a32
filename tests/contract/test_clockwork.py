"""What time does to numbers, by one node for all: on both databases, over restarts and deaths."""

from __future__ import annotations

import asyncio

import pytest

from config.database import create_engine
from config.sections import DatabaseSettings
from numbering import clockwork as clockwork_module
from numbering.clockwork import DUTY, Clockwork
from numbering.lifecycle import Cause
from numbering.models import NumberState
from numbering.store_duty import SqlDuty
from tests.support.inventory import FOUR, ONE, START, THREE, TWO, World, play
from tests.support.postgres import database_url, postgres, postgres_url

__all__ = ["database_url", "postgres", "postgres_url"]

S = NumberState


async def some_work(world: World) -> None:
    """One number of each kind that the clock looks after."""
    await world.stock()
    inventory = world.inventory
    await inventory.reserve([ONE], "ana", actor="x")
    await inventory.assign(TWO, "ben", actor="x", expires_at=START + 3600)
    await inventory.assign(THREE, "zoe", actor="x")
    await inventory.release(THREE, actor="x")


@pytest.mark.rule("NUM-04", "NUM-05", "NUM-12")
def test_what_is_due_is_done_and_nothing_else(database_url: str) -> None:
    async def scenario(world: World) -> None:
        await some_work(world)
        clock = world.clockwork()
        assert await clock.tick() == 0
        world.clock.now = START + 899
        assert await clock.tick() == 0
        world.clock.now = START + 900
        assert await clock.tick() == 1
        world.clock.now = START + 7200
        assert await clock.tick() == 1
        assert clock.overdue_s == 3600.0
        world.clock.days(59)
        assert await clock.tick() == 0
        world.clock.days(2)
        assert await clock.tick() == 1
        states = {each: (await world.inventory.get(each)).state for each in (ONE, TWO, THREE, FOUR)}
        assert states == {ONE: S.AVAILABLE, TWO: S.EXPIRED, THREE: S.AVAILABLE, FOUR: S.AVAILABLE}
        (_, event), *_ = await world.inventory.history(THREE)
        assert (event.action, event.actor, event.reason) == (
            "end_quarantine",
            "clock",
            "the quarantine is over",
        )
        assert clock.done == {"lapse": 1, "expire": 1, "end_quarantine": 1}
        assert await clock.tick() == 0
        # and of the former holder nothing is left, not even his privilege
        free = await world.inventory.get(THREE)
        assert (free.kept_for, free.kept_account, free.until) == ("", "", 0.0)
        assert not any(each.formerly_yours for each in await world.inventory.finder.search(user="zoe"))

    play(database_url, scenario)


def test_one_node_has_the_duty_and_another_takes_over_when_it_dies(database_url: str) -> None:
    async def scenario(world: World) -> None:
        await some_work(world)
        first, second = world.clockwork("node-1 a"), world.clockwork("node-2 b")
        assert await first.tick() == 0
        assert await second.tick() == 0
        assert (first.on_duty, second.on_duty) == (True, False)
        world.clock.now += 10
        await first.tick()  # renews
        world.clock.now += 10
        await second.tick()
        assert not second.on_duty, "the first was heard ten seconds ago"
        # the first dies here; its work waits for the second
        world.clock.now = START + 1000
        assert await second.tick() == 1
        assert second.on_duty
        # and if it was only asleep, it finds itself out of office
        assert await first.tick() == 0
        assert not first.on_duty
        who = await SqlDuty(world.engine, DUTY, "x", 15).who()
        assert who is not None
        assert (who.owner, who.term) == ("node-2 b", 2)

    play(database_url, scenario)


def test_a_node_that_starts_again_is_another_candidate(database_url: str) -> None:
    async def scenario(world: World) -> None:
        await some_work(world)
        before, after = world.clockwork("node-1 aaaa"), world.clockwork("node-1 bbbb")
        await before.tick()
        await after.tick()
        assert not after.on_duty
        world.clock.now = START + 1000
        assert await after.tick() == 1

    play(database_url, scenario)


def test_who_leaves_in_order_hands_over_at_once(database_url: str) -> None:
    async def scenario(world: World) -> None:
        first, second = world.clockwork("a"), world.clockwork("b")
        await first.tick()
        task = asyncio.create_task(first.run())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await second.tick()
        assert (first.on_duty, second.on_duty) == (False, True)

    play(database_url, scenario)


def test_candidates_at_the_same_moment_make_one(database_url: str) -> None:
    async def scenario(world: World) -> None:
        engines = [create_engine(DatabaseSettings(url=database_url, timeout_seconds=10)) for _ in range(3)]
        try:
            for now in (START, START + 100, START + 200):
                duties = [SqlDuty(engine, DUTY, f"{index} {now}", 15) for index, engine in enumerate(engines)]
                won = await asyncio.gather(*(duty.hold(now) for duty in duties))
                assert sorted(won) == [False, False, True]
        finally:
            for engine in engines:
                await engine.dispose()

    play(database_url, scenario)


class Everybody:
    """A duty that everybody believes to have: the worst that an election can come to."""

    async def hold(self, now: float) -> bool:
        return True

    async def give_up(self) -> None:
        return None


def test_nothing_is_done_twice_even_by_two_who_believe_in_their_duty(database_url: str) -> None:
    async def scenario(world: World) -> None:
        await some_work(world)
        other = create_engine(DatabaseSettings(url=database_url, timeout_seconds=10))
        try:
            worlds = [world, World(other, world.clock)]
            clocks = [
                Clockwork(w.store, w.inventory, Everybody(), clock=w.clock, pause_s=1.0) for w in worlds
            ]
            world.clock.days(70)
            counts = await asyncio.gather(*(clock.tick() for clock in clocks))
            assert sum(counts) == 3
            for number in (ONE, TWO, THREE):
                words = await world.words(number)
                assert len(words) == len(set(words)), f"{number}: {words}"
        finally:
            await other.dispose()

    play(database_url, scenario)


def test_what_was_changed_since_the_look_is_left_alone(database_url: str) -> None:
    """Between finding what is due and doing it, somebody renews the number."""

    async def scenario(world: World) -> None:
        await some_work(world)
        world.clock.now = START + 7200
        clock = world.clockwork()
        renewed = asyncio.Event()
        numbers = clock._numbers

        async def late(e164s: list[str], now: float) -> int:
            await world.inventory.renew(TWO, START + 99_999, actor="shop")
            renewed.set()
            return await numbers(e164s, now)

        clock._numbers = late  # type: ignore[method-assign]
        assert await clock.tick() == 1  # the reservation alone
        assert renewed.is_set()
        assert (await world.inventory.get(TWO)).state is S.ACTIVE

    play(database_url, scenario)


def test_much_work_is_done_in_batches(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clockwork_module, "BATCH", 2)

    async def scenario(world: World) -> None:
        numbers = [f"+3363998{index:04d}" for index in range(3000, 3007)]
        await world.inventory.add(numbers, actor="x")
        for number in numbers[:4]:
            await world.inventory.reserve([number], "zoe", actor="x")
        version = (await world.directory()).version
        world.clock.now += 1000
        clock = world.clockwork()
        assert await clock.tick() == 4
        assert (await world.directory()).version == version + 2
        assert await clock.tick() == 0

    play(database_url, scenario)


def test_a_step_that_cannot_be_done_holds_up_no_other(database_url: str) -> None:
    """A port of a line that was given up and given back to the stock meanwhile ends, and the rest goes on."""

    async def scenario(world: World) -> None:
        await world.stock(ONE, TWO)
        inventory = world.inventory
        await inventory.assign(ONE, "ana", actor="x")
        rio = str(await world.ports.rio(ONE, actor="x"))
        port = await world.ports.out(ONE, rio, START + 86_400 * 100, actor="x")
        await inventory.release(ONE, actor="x")
        world.clock.days(61)
        await world.clockwork().tick()
        assert (await inventory.get(ONE)).state is S.AVAILABLE
        await inventory.reserve([TWO], "ana", actor="x")
        world.clock.days(50)
        clock = world.clockwork("later")
        await clock.tick()
        assert clock.failures == 1
        assert (await inventory.get(TWO)).state is S.AVAILABLE
        assert (await world.ports.get(port.id)).state.value == "refused"
        assert await clock.tick() == 0
        assert clock.failures == 1, "it is not tried for ever"

    play(database_url, scenario)


def test_a_cause_of_the_clock_is_a_cause() -> None:
    for reason in clockwork_module._REASONS.values():
        assert Cause(at=START, actor=clockwork_module.ACTOR, reason=reason).reason == reason
