"""Journals that earlier versions left behind are still read, every field of them.

``tests/corpus/call_records/schema-N.journal`` is what the N-th form of the records looked like.  When fields
are added, the old files stay as they are and a new one joins them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from callcontrol.cdr import CallRecord, LegRecord
from callcontrol.cdr.outbox import JournalOutbox
from tests.support.call_records import call

CORPUS = Path(__file__).parents[1] / "corpus" / "call_records"

SCHEMA_1 = (
    call(1),
    call(2, legs=(), answered_ms=0, status=486, cause=17, reason="busy", ended_by="callee"),
    CallRecord(call_ref="bare"),
)


@pytest.mark.rule("CDR-02")
def test_a_journal_of_schema_1_is_read(tmp_path: Path) -> None:
    shutil.copy(CORPUS / "schema-1.journal", tmp_path / "00000001.journal")
    outbox = JournalOutbox(tmp_path, schedule=lambda flush: flush())
    assert outbox.depth == 3
    assert outbox.take(9).records == SCHEMA_1
    assert outbox.unreadable == 0
    outbox.close()


def test_fields_are_only_added_at_the_end() -> None:
    """The first fields, in their order, are those of schema 1: their places in the arrays are taken for ever."""
    assert LegRecord.__struct_fields__[:20] == (
        *("leg", "role", "call_id", "number", "user", "device", "device_class", "trunk", "peer", "transport"),
        *("address", "user_agent", "started_ms", "ringing_ms", "answered_ms", "ended_ms"),
        *("status", "cause", "reason", "ended_by"),
    )
    assert CallRecord.__struct_fields__[:30] == (
        *("call_ref", "direction", "node", "config_version"),
        *("started_ms", "ringing_ms", "answered_ms", "ended_ms", "account", "user", "number"),
        *(
            "caller",
            "caller_presented",
            "caller_hidden",
            "dialled",
            "called",
            "original_called",
            "diversions",
        ),
        *("destination", "trunk", "gateway_number", "device", "device_class"),
        *("status", "cause", "reason", "ended_by", "trace_id", "trace", "legs"),
    )


def test_a_record_with_fewer_fields_gets_the_defaults() -> None:
    old = msgspec.msgpack.encode(["call-9", "incoming", "node-1"])
    record = msgspec.msgpack.decode(old, type=CallRecord)
    assert (record.call_ref, record.node, record.legs, record.trace) == ("call-9", "node-1", (), "")


def test_a_record_of_a_later_version_loses_only_what_we_do_not_know() -> None:
    known = msgspec.to_builtins(call(1), builtin_types=(bytes,))
    later = msgspec.msgpack.encode([*known, "a new field", 7])
    assert msgspec.msgpack.decode(later, type=CallRecord) == call(1)
