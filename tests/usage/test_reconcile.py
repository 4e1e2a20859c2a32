"""Live counters and the call records agree: after a restart, a loss, a repetition, an outage; on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from callcontrol.cdr import CallRecord, LegRecord
from callcontrol.cdr.store import SqlCallStore
from callcontrol.pricing.zones import Zones
from callcontrol.usage.counters import Used, owner_of
from callcontrol.usage.month import Calendar
from callcontrol.usage.outgoing import Outgoing, OutgoingStores
from callcontrol.usage.policy import OutgoingPolicy
from callcontrol.usage.reconcile import Reconciler
from callcontrol.usage.store import SqlUsageRecords
from config.database import DatabaseUnavailable, create_engine
from config.sections import DatabaseSettings
from numbering.models import PlanLimits
from tests.support.world import provisioning

pytestmark = pytest.mark.rule("OUT-08", "CDR-02")

ANA, BEN, OUTSIDE, OTHER, ABROAD = (
    "+33639981001",
    "+33639981002",
    "+33199001234",
    "+33199001235",
    "+447700900123",
)
NOW = 1_800_000_000.0
BEGINS = Calendar().month(NOW).begins
PLAN = PlanLimits(devices=3, numbers=20, minutes={"national": 2000, "europe": 600}, callees=99)


def outgoing(plan: PlanLimits = PLAN) -> Outgoing:
    directory, _ = provisioning()
    directory._plans = {"advanced": plan}
    policy = OutgoingPolicy(zones=Zones({"europe": ["FR", "GB"]}))
    return Outgoing(directory, policy, OutgoingStores(), 14_500.0)


def record(
    ref: str,
    seconds: float,
    called: str = OUTSIDE,
    *,
    number: str = ANA,
    user: str = "ana",
    at: float = NOW,
    legs: tuple[LegRecord, ...] = (),
) -> CallRecord:
    start = round(at * 1000)
    answered = start + 2000 if seconds else 0
    ended = start + 2000 + round(seconds * 1000)
    callee = LegRecord(
        leg="b1",
        role="callee",
        number=called,
        trunk="carrier-a",
        peer="sip:10.0.1.1",
        started_ms=start,
        answered_ms=answered,
        ended_ms=ended,
    )
    return CallRecord(
        call_ref=ref,
        direction="outgoing",
        account="acme",
        user=user,
        number=number,
        started_ms=start,
        answered_ms=answered,
        ended_ms=ended,
        legs=(LegRecord(leg="a", role="caller", number=number), callee, *legs),
    )


def used(of: Outgoing, number: str = ANA, user: str = "ana", at: float = NOW) -> tuple[dict[str, int], int]:
    seen: list[Used | None] = []
    of.counters.look(owner_of(number, user), Calendar().month(at).name, OUTSIDE, seen.append)
    found = seen[0]
    assert found is not None
    return {zone: s for zone, s in found.seconds.items() if s}, found.callees


Body = Callable[[SqlCallStore, Callable[[Outgoing], Reconciler]], Awaitable[None]]


def on(database_url: str, body: Body) -> None:
    async def run() -> None:
        engine = create_engine(DatabaseSettings(url=database_url))
        try:
            records = SqlUsageRecords(engine)
            await body(SqlCallStore(engine), lambda of: Reconciler(of, records, lambda: NOW, 300.0))
        finally:
            await engine.dispose()

    asyncio.run(run())


def test_a_node_that_starts_knows_what_was_used(database_url: str) -> None:
    async def body(store: SqlCallStore, reconciler: Callable[[Outgoing], Reconciler]) -> None:
        sim_leg = LegRecord(
            leg="b2", role="callee", number="+33639980000", peer="sip:x", answered_ms=1, ended_ms=99_999
        )
        incoming = LegRecord(
            leg="b3", role="callee", number=OUTSIDE, trunk="t", answered_ms=1, ended_ms=99_999
        )
        await store.write(
            [
                record("c1", 60.0),
                record("c2", 0.2, OTHER),
                record("c3", 30.5, ABROAD),
                record("c4", 0),
                record("c5", 10, "0800" + "000000"),
                record("c6", 10, "+33" + "800000000"),
                record("c7", 5, BEN, legs=(sim_leg, incoming)),
                record("c8", 7, at=BEGINS - 1),
                record("c9", 7, at=BEGINS),
                record("c10", 9, number=BEN, user="ben"),
                record("c11", 11, user="somebody-before"),
                record("c12", 11, number="", user="ana"),
            ]
        )
        fresh = outgoing()
        await reconciler(fresh).reconcile()
        assert used(fresh) == ({"national": 60 + 1 + 5 + 7, "europe": 31}, 4)
        assert used(fresh, BEN, "ben") == ({"national": 9}, 1)
        assert used(fresh, at=BEGINS - 1) == ({}, 0)

    on(database_url, body)


def test_what_is_counted_live_and_what_the_records_say_is_the_same(database_url: str) -> None:
    async def body(store: SqlCallStore, reconciler: Callable[[Outgoing], Reconciler]) -> None:
        live, calls = outgoing(), [record(f"c{n}", n / 3, f"+3319900{n % 7:04d}") for n in range(1, 40)]
        for call in calls:
            live.ended(call, NOW)
        before = used(live)
        # Half of them are in the database; then all; told again in between.
        await store.write(calls[::2])
        reconciling = reconciler(live)
        await reconciling.reconcile()
        assert used(live) == before
        for call in calls:
            live.ended(call, NOW)
        await store.write(calls)
        await reconciling.reconcile()
        await reconciling.reconcile()
        assert used(live) == before
        fresh = outgoing()
        await reconciler(fresh).reconcile()
        assert used(fresh) == before

    on(database_url, body)


def test_lost_and_doubled_counts_heal(database_url: str) -> None:
    async def body(store: SqlCallStore, reconciler: Callable[[Outgoing], Reconciler]) -> None:
        calls = [record("c1", 60.0), record("c2", 60.0)]
        await store.write(calls)
        live = outgoing()
        live.ended(calls[0], NOW)  # the other one was lost with a node
        reconciling = reconciler(live)
        await reconciling.reconcile()
        assert used(live) == ({"national": 120}, 1)
        # Another process tells what this one has only as a sum.
        live.ended(calls[1], NOW)
        assert used(live) == ({"national": 180}, 1)
        await reconciling.reconcile()
        assert used(live) == ({"national": 120}, 1)

    on(database_url, body)


def test_many_numbers_are_read_page_by_page(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callcontrol.usage.store.NUMBERS", 2)

    async def body(store: SqlCallStore, reconciler: Callable[[Outgoing], Reconciler]) -> None:
        numbers = [f"+3363998{n:04d}" for n in range(7)]
        await store.write([record(f"c{n}", n + 1, number=number) for n, number in enumerate(numbers)])
        fresh = outgoing()
        await reconciler(fresh).reconcile()
        assert [used(fresh, number)[0] for number in numbers] == [{"national": n + 1} for n in range(7)]

    on(database_url, body)


def test_a_database_that_is_away_leaves_the_counters_as_they_are() -> None:
    class Away:
        async def page(self, *args: Any) -> Any:
            raise DatabaseUnavailable("away")

    async def run() -> int:
        live = outgoing()
        live.ended(record("c1", 60.0), NOW)
        reconciler = Reconciler(live, Away(), lambda: NOW, 300.0)
        task = asyncio.create_task(reconciler.run())
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        assert used(live) == ({"national": 60}, 1)
        return reconciler.failures

    assert asyncio.run(run()) == 1


def test_plans_that_bound_nothing_are_not_counted() -> None:
    free = outgoing(PlanLimits(devices=3, numbers=20))
    free.ended(record("c1", 60.0), NOW)
    assert used(free) == ({}, 0)
    account = free._directory.account("acme")
    assert account is not None
    free._directory.put_one(replace(account, packages=("europe",)))
    free.ended(record("c1", 60.0), NOW)
    assert used(free) == ({"national": 60}, 1)


def test_it_is_told_when_minutes_are_nearly_used_up_and_when_they_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    live = outgoing(PlanLimits(devices=3, numbers=20, minutes={"national": 10, "europe": 0}))
    with caplog.at_level("INFO"):
        for n, minutes in enumerate((7, 1, 1, 1, 5)):
            live.ended(record(f"c{n}", 60 * minutes), NOW)
        live.ended(record("abroad", 6000, ABROAD), NOW)
    assert live.passed == {"warning": 1, "end": 1}
    assert [line.getMessage() for line in caplog.records] == [
        "minutes of the plan: +3363998•••• has used 8 of 10 to national",
        "minutes of the plan: +3363998•••• has used 10 of 10 to national",
    ]
