"""Facts of decisions are kept for so many days; records are kept all the same."""

from __future__ import annotations

import asyncio

import pytest

from callcontrol.cdr.forgetting import DAY_MS, Forgetting
from callcontrol.cdr.store import SqlCallStore
from config.database import DatabaseUnavailable, create_engine
from config.sections import DatabaseSettings
from tests.support.call_records import START_MS, call

NOW_S = START_MS / 1000


class Recorded:
    """A store that notes what is dropped."""

    def __init__(self, away: int = 0) -> None:
        self.asked: list[tuple[int, int]] = []
        self.away = away

    async def forget_facts(self, since_ms: int, until_ms: int) -> int:
        if self.away:
            self.away -= 1
            raise DatabaseUnavailable("away")
        self.asked.append((since_ms, until_ms))
        return 1


def test_every_day_is_looked_at_once_and_none_beyond_the_bound() -> None:
    store, times = Recorded(), [NOW_S]
    forgetting = Forgetting(store, 90, lambda: times[0])
    asyncio.run(forgetting.round())
    bound = START_MS - 90 * DAY_MS
    assert store.asked[-1][1] == bound
    assert all(first[1] == second[0] for first, second in zip(store.asked, store.asked[1:], strict=False))
    assert len(store.asked) == 400
    times[0] += 3600
    asyncio.run(forgetting.round())
    assert store.asked[400:] == [(bound, bound + 3_600_000)]
    asyncio.run(forgetting.round())
    assert len(store.asked) == 401


def test_what_the_database_did_not_take_is_done_later() -> None:
    store = Recorded(away=1)
    forgetting = Forgetting(store, 90, lambda: NOW_S)
    with pytest.raises(DatabaseUnavailable):
        asyncio.run(forgetting.round())
    asyncio.run(forgetting.round())
    assert len(store.asked) == 400


@pytest.mark.rule("OPS-02", "CDR-01")
def test_only_old_facts_go_and_their_records_stay(database_url: str) -> None:
    async def scenario() -> None:
        engine = create_engine(DatabaseSettings(url=database_url, timeout_seconds=5))
        try:
            store = SqlCallStore(engine)
            old = call(1, started_ms=START_MS - 91 * DAY_MS, facts=b"old")
            young = call(2, started_ms=START_MS - 89 * DAY_MS, facts=b"young")
            await store.write([old, young, call(3)])
            forgetting = Forgetting(store, 90, lambda: NOW_S)
            await forgetting.round()
            assert forgetting.forgotten == 1
            kept = {record.call_ref: record for record in await store.recent(9)}
            assert kept["call-1"] == call(1, started_ms=old.started_ms)
            assert kept["call-2"] == young
        finally:
            await engine.dispose()

    asyncio.run(scenario())
