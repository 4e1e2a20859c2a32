"""Binding keys (DEV-06), snapshots, and what only the memory store promises; the rest is tests/contract."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from callcontrol.bindings import MemoryBindingStore, binding_key
from tests.callcontrol.register_kit import NOW, binding


def test_a_snapshot_survives_json_and_comes_back() -> None:
    store = MemoryBindingStore()
    store.apply([binding("udp"), replace(binding("path"), path=("sip:p1;lr", "sip:p2;lr"), flow="")])
    copy = MemoryBindingStore()
    assert copy.restore(json.loads(json.dumps(store.snapshot())), NOW) == 2
    assert [b.dump() for b in copy.all()] == [b.dump() for b in store.all()]
    assert isinstance(copy.all()[1].path, tuple)


def test_a_connection_does_not_outlive_its_process() -> None:
    store = MemoryBindingStore()
    store.apply([binding("dead", conn=1), binding("sleeps", conn=2, wakes=True), binding("late", lasts=5)])
    copy = MemoryBindingStore()
    assert copy.restore(store.snapshot(), NOW + 10) == 1
    [left] = copy.all()
    assert (left.key, left.flow, left.conn, left.source, left.asleep) == ("sleeps", "", 0, "", True)


def test_a_snapshot_that_cannot_be_read_changes_nothing() -> None:
    store = MemoryBindingStore()
    good = binding("a").dump()
    wrong: list[dict[str, object]] = [
        {**good, "schema": 99},
        {**good, "colour": "red"},
        {k: v for k, v in good.items() if k != "contact"},
        {**good, "cseq": "1"},
        {**good, "path": "sip:p"},
        {**good, "wakes": 1},
    ]
    for entry in wrong:
        with pytest.raises(ValueError):
            store.restore([good, entry], NOW)
        assert len(store) == 0


def test_registering_and_leaving_at_once_does_not_pile_up() -> None:
    store = MemoryBindingStore()
    for number in range(20_000):
        store.apply([binding(f"k{number}")])
        store.apply([], [binding(f"k{number}")])
    assert len(store) == 0
    assert len(store._heap) <= 1002


@pytest.mark.rule("DEV-06")
def test_the_key_is_the_instance_else_the_push_token_else_the_call_id() -> None:
    assert binding_key("urn:x", 0, "mqtt", "token", "", "c1") == binding_key("urn:x", 0, "", "", "", "c2")
    assert binding_key("urn:x", 1, "", "", "", "c1") != binding_key("urn:x", 2, "", "", "", "c1")
    assert binding_key("", 0, "mqtt", "token", "p", "c1") == binding_key("", 0, "mqtt", "token", "p", "c2")
    assert binding_key("", 0, "mqtt", "token", "p", "c1") != binding_key("", 0, "fcm", "token", "p", "c1")
    assert binding_key("", 0, "", "", "", "c1") != binding_key("", 0, "", "", "", "c2")
