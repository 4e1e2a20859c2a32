"""What every outbox promises, in memory and in a journal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from callcontrol.cdr import CallRecord
from callcontrol.cdr.outbox import JournalOutbox, MemoryOutbox, Outbox
from tests.support.call_records import START_MS, call

pytestmark = pytest.mark.rule("CDR-02")


def at_once(flush: Callable[[], None]) -> None:
    flush()


@pytest.fixture(params=["memory", "journal", "journal in tiny segments", "journal that is never flushed"])
def outbox(request: pytest.FixtureRequest, tmp_path: Path) -> Outbox:
    if request.param == "memory":
        return MemoryOutbox()
    if request.param == "journal":
        return JournalOutbox(tmp_path, schedule=at_once)
    if request.param == "journal in tiny segments":
        return JournalOutbox(tmp_path, schedule=at_once, segment_bytes=1)
    return JournalOutbox(tmp_path, schedule=lambda flush: None)


def test_records_come_out_as_they_went_in(outbox: Outbox) -> None:
    records = [call(index) for index in range(10)]
    for record in records:
        outbox.put(record)
    assert outbox.depth == 10
    seen: list[CallRecord] = []
    while outbox.depth:
        batch = outbox.take(3)
        assert 1 <= len(batch.records) <= 3
        seen.extend(batch.records)
        outbox.acknowledge(batch)
    assert seen == records


def test_what_is_not_acknowledged_comes_again(outbox: Outbox) -> None:
    for index in range(4):
        outbox.put(call(index))
    first = outbox.take(2)
    outbox.put(call(4))
    again = outbox.take(2)
    assert again.records == first.records == (call(0), call(1))
    outbox.acknowledge(again)
    assert outbox.take(10).records == (call(2), call(3), call(4))
    assert outbox.depth == 3


def test_an_empty_outbox_gives_nothing(outbox: Outbox) -> None:
    assert outbox.take(5).records == ()
    assert (outbox.depth, outbox.oldest_ms) == (0, 0)
    outbox.put(call(0))
    outbox.acknowledge(outbox.take(5))
    assert outbox.take(5).records == ()
    assert (outbox.depth, outbox.oldest_ms) == (0, 0)


def test_the_age_is_that_of_the_oldest(outbox: Outbox) -> None:
    for index in range(6):
        outbox.put(call(index, ended_ms=START_MS + index * 2000))
    assert outbox.oldest_ms == START_MS
    outbox.acknowledge(outbox.take(4))
    assert outbox.oldest_ms == START_MS + 8000


def test_records_of_calls_that_never_ended_are_as_old_as_their_start(outbox: Outbox) -> None:
    outbox.put(call(3, ended_ms=0))
    assert outbox.oldest_ms == call(3).started_ms


def test_text_that_no_encoding_has_does_not_harm(outbox: Outbox) -> None:
    outbox.put(call(0, caller_presented="half \udc80 a pair"))
    assert len(outbox.take(1).records) == 1
