"""The office of numbers in a node: lines that asked for their RIO, SIMs that were seen, the clock, what metrics read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from callcontrol import rio_reader
from callcontrol.b2bua.leg import MEDIA
from callcontrol.cdr import CallRecord, LegRecord
from callcontrol.metrics import Metrics
from callcontrol.number_office import MAX_WAITING, NumberOffice
from config.database import DatabaseUnavailable
from config.sections import NumberSettings
from dialplan import reasons
from dialplan.facts import RIO_KNOWN, RIO_NONE, RIO_UNAVAILABLE, RioFacts
from dialplan.plan import RIO
from numbering.clockwork import DUTY
from numbering.models import NumberState
from numbering.store_duty import SqlDuty
from tests.support.acme import PLANS
from tests.support.call_records import call
from tests.support.inventory import ONE, TWO, World, play
from tests.support.schema import sqlite_url


class Sink:
    def __init__(self) -> None:
        self.records: list[CallRecord] = []

    def put(self, record: CallRecord) -> None:
        self.records.append(record)


def office_of(world: World, settings: NumberSettings | None = None) -> NumberOffice:
    chosen = settings or NumberSettings(operator_code="ZZ", clock_seconds=0.01)
    duty = SqlDuty(world.engine, DUTY, "node-1 x", chosen.duty_seconds)
    return NumberOffice(world.store, duty, chosen, PLANS, world.clock)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return sqlite_url(tmp_path)


@pytest.mark.rule("NUM-11")
def test_who_calls_3179_gets_a_message_once(url: str) -> None:
    async def scenario(world: World) -> None:
        await world.stock(ONE, TWO)
        await world.inventory.assign(ONE, "ana", actor="x")
        office, sink = office_of(world), Sink()
        records = office.records(sink)
        asked = call(1, number=ONE, reason=reasons.RIO_BY_MESSAGE)
        for each in (
            asked,
            asked,
            call(2, number=ONE, reason=reasons.BUSY),
            call(3, number=TWO, reason=asked.reason),
        ):
            records.put(each)
        assert len(sink.records) == 4, "every record goes on its way"
        await office.write_down()
        (message,) = await world.ports.messages()
        assert (message.e164, message.kind) == (ONE, "rio")
        assert (await world.words(ONE))[-1] == "rio_sent"
        await office.write_down()
        assert len(await world.ports.messages()) == 1

    play(url, scenario)


def told(number: str, device_class: str = MEDIA, name: str = RIO, **changes: Any) -> CallRecord:
    """The record of a call that a media server was called for."""
    media = LegRecord(
        leg="b1",
        role="callee",
        call_id="x",
        number=name,
        device_class=device_class,
        started_ms=1,
        ringing_ms=0,
        answered_ms=2,
        ended_ms=3,
        status=200,
        cause=16,
        reason=reasons.NORMAL_CLEARING,
        ended_by="callee",
    )
    return call(9, number=number, reason=reasons.NORMAL_CLEARING, legs=(media,), **changes)


@pytest.mark.rule("NUM-11")
def test_who_heard_the_rio_is_sent_it_as_well(url: str) -> None:
    async def scenario(world: World) -> None:
        await world.stock(ONE, TWO)
        for number in (ONE, TWO):
            await world.inventory.assign(number, "ana", actor="x")
        office = office_of(world)
        records = office.records(Sink())
        records.put(told(TWO, name="announcement"))
        records.put(told(TWO, device_class="phone"))
        records.put(told(ONE))
        await office.write_down()
        (message,) = await world.ports.messages()
        assert message.e164 == ONE

    play(url, scenario)


@pytest.mark.rule("NUM-11")
def test_a_rio_is_read_for_a_call_that_waits(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        await world.stock(ONE, TWO)
        await world.inventory.assign(ONE, "ana", actor="x")
        office = office_of(world)
        found: list[RioFacts] = []
        kicked: list[int] = []
        office.rios.kick = lambda: kicked.append(len(found))

        async def ask(number: str) -> RioFacts:
            before = len(found)
            office.rio(number, found.append)
            assert len(found) == before, "a call never waits for the database"
            await until(lambda: len(kicked) > before)
            return found[-1]

        reading = asyncio.create_task(office.rios.run())
        rio = await office.inventory.ports.rio(ONE, actor="x")
        assert await ask(ONE) == RioFacts(state=RIO_KNOWN, rio=str(rio))
        assert await ask(TWO) == RioFacts(state=RIO_NONE), "nobody's line"

        async def away(number: str, *, actor: str) -> object:
            raise DatabaseUnavailable("away")

        monkeypatch.setattr(office.inventory.ports, "rio", away)
        assert await ask(ONE) == RioFacts(state=RIO_UNAVAILABLE)
        told: list[Exception] = []
        office.rios.on_defect = told.append

        def broken(facts: RioFacts) -> None:
            raise RuntimeError("a bug that one call meets")

        office.rio(ONE, broken)
        assert await ask(ONE) == RioFacts(state=RIO_UNAVAILABLE), "the next one is told all the same"
        assert [str(error) for error in told] == ["a bug that one call meets"]
        found.pop()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        for _ in range(rio_reader.MAX_WAITING):
            office.rio(ONE, found.append)
        assert len(found) == 3
        office.rio(ONE, found.append)
        assert found[3:] == [RioFacts(state=RIO_UNAVAILABLE)], "too many wait: it is sent as a message"

    play(url, scenario)


@pytest.mark.rule("NUM-11")
def test_an_operator_without_a_code_has_no_rios(url: str) -> None:
    async def scenario(world: World) -> None:
        await world.stock(ONE)
        await world.inventory.assign(ONE, "ana", actor="x")
        office = office_of(world, NumberSettings(clock_seconds=0.01))
        found: list[RioFacts] = []
        office.rio(ONE, found.append)
        task = asyncio.create_task(office.run())
        await until(lambda: bool(found))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert found == [RioFacts(state=RIO_NONE)]

    play(url, scenario)


@pytest.mark.rule("NUM-08")
def test_sims_that_are_seen_are_written_down_later(url: str) -> None:
    async def scenario(world: World) -> None:
        office = office_of(world)
        for _ in range(3):
            office.sim_seen("ana-phone", "FR")
        await office.write_down()
        device = (await world.directory()).device("ana-phone")
        assert device is not None
        assert (device.sim_country, device.sim_seen_at) == ("FR", world.clock.now)
        version = (await world.directory()).version
        office.sim_seen("ana-phone", "FR")
        await office.write_down()
        assert (await world.directory()).version == version, "known a moment ago"

    play(url, scenario)


@pytest.mark.rule("NUM-08")
def test_a_call_of_a_sim_shows_where_it_is_at_home(url: str) -> None:
    async def scenario(world: World) -> None:
        office = office_of(world)
        records = office.records(Sink())
        talked = call(1, sim="+33639980001", device="ana-phone")
        records.put(call(2, sim="+33639980001", device="ana-phone", answered_ms=0))
        records.put(call(3, device="ana-phone"))
        await office.write_down()
        device = (await world.directory()).device("ana-phone")
        assert device is not None
        assert not device.sim_seen_at
        records.put(talked)
        await office.write_down()
        device = (await world.directory()).device("ana-phone")
        assert device is not None
        assert (device.sim_country, device.sim_seen_at) == ("FR", world.clock.now)

    play(url, scenario)


def test_what_cannot_be_written_waits_and_does_not_grow_without_bound(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(world: World) -> None:
        await world.stock(ONE)
        await world.inventory.assign(ONE, "ana", actor="x")
        office = office_of(world)
        office.rio_asked(ONE)
        tell = office.inventory.ports.tell_rio

        async def away(number: str, *, actor: str) -> object:
            raise DatabaseUnavailable("away")

        monkeypatch.setattr(office.inventory.ports, "tell_rio", away)
        with pytest.raises(DatabaseUnavailable):
            await office.write_down()
        monkeypatch.setattr(office.inventory.ports, "tell_rio", tell)
        await office.write_down()
        assert len(await world.ports.messages()) == 1
        for index in range(MAX_WAITING + 5):
            office.sim_seen(f"device-{index}", "FR")
        assert office.forgotten == 5

    play(url, scenario)


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop run until something has come about."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)


def test_it_runs_until_it_is_cancelled_and_leaves_its_duty(url: str) -> None:
    async def scenario(world: World) -> None:
        await world.stock(ONE)
        await world.inventory.reserve([ONE], "ana", actor="x")
        office = office_of(world)
        world.clock.now += 1000
        task = asyncio.create_task(office.run())
        await until(lambda: office.clockwork.done.get("lapse") == 1)
        assert office.clockwork.on_duty
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not office.clockwork.on_duty
        who = await SqlDuty(world.engine, DUTY, "x", 1).who()
        assert who is not None
        assert who.expires_at == 0.0
        assert (await world.inventory.get(ONE)).state is NumberState.AVAILABLE

    play(url, scenario)


def test_metrics_read_the_inventory(url: str) -> None:
    async def scenario(world: World) -> str:
        await world.stock(ONE, TWO)
        office = office_of(world)
        await office.inventory.assign(ONE, "ana", actor="x")
        await office.clockwork.tick()
        metrics = Metrics("1", 0.0, "interpreted")
        office.register(metrics, await world.directory())
        return metrics.render().decode()

    page = play(url, scenario)
    assert 'cloudline_numbers{state="available"} 1.0' in page
    assert 'cloudline_numbers{state="active"} 1.0' in page
    assert 'cloudline_number_changes_total{action="assign"} 1.0' in page
    assert "cloudline_number_duty 1.0" in page
    assert "cloudline_number_overdue_seconds 0.0" in page
    assert "cloudline_number_messages_waiting 0.0" in page
    assert "cloudline_metrics_read_errors_total{" not in page


def test_a_quarantine_beyond_the_law_stops_the_start(url: str) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(ValueError, match=r"numbers\.quarantine_days\.FR: 30 is not between 45 and 120"):
            office_of(world, NumberSettings(quarantine_days={"FR": 30}))

    play(url, scenario)
