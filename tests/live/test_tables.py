"""Shared tables of leases, channels, slots and counters: what a newcomer gets of them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.live.tables import SharedChannels, SharedCounters, SharedLeases, SharedSlots
from callcontrol.usage.counters import Leg, Total
from callcontrol.usage.slots import Slot, SlotLimits
from gateway.leases import Lease, LeaseRequest, NoNumber, Use, UseState
from gateway.trunk import Trunk
from tests.support.shared_log import LocalLog

NOW = 1_800_000_000.0
POOL = tuple(f"+3319900000{line}" for line in range(1, 4))

LIMITS = SlotLimits(2, 3, 10.0, 20.0)

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["take", "use", "finish", "release", "channel", "hang up", "slot", "free", "count", "settle"]
        ),
        st.integers(0, 3),
        st.integers(0, 2),
        st.floats(0, 400),
    ),
    max_size=40,
)


def play(log: LocalLog, steps: list[tuple[str, int, int, float]], begin: float) -> float:
    """Whatever happens on a node: leases, channels, slots and counters of a few parties."""
    node = log.nodes[0]
    leases, channels = SharedLeases(log, node.leases), SharedChannels(log, node.channels, "one")
    slots, counters = SharedSlots(log, node.slots), SharedCounters(log, node.counters)
    now = begin
    for what, who, which, pause in steps:
        now += pause
        sim, key = f"+3363998000{who}", f"call-{who}.b{which}"
        match what:
            case "take":
                request = LeaseRequest(
                    id=f"{sim} {now}",
                    kind="call_through",
                    sim=sim,
                    user="u",
                    device=sim,
                    to=str(which),
                    life_s=60.0,
                )
                leases.take(request, POOL, now, lambda lease: None)
            case "use":
                leases.use(sim, POOL[which], f"id-{who}", now, lambda use: None)
            case "finish" | "release":
                held: list[Lease] = []
                leases.all(now, held.extend)
                for lease in held[:1]:
                    leases.finish(lease.id, lease.used_by, which == 0, now)
                    leases.release(lease.id, now, lambda lease: None)
            case "channel":
                channels.acquire(
                    Trunk(ref=f"t{which}", max_channels=3, max_cps=2.0), key, now, lambda word: None
                )
            case "hang up":
                channels.release(f"t{which}", key)
                channels.renew(now)
            case "slot":
                slot = Slot(key, f"u{who}", "acme", "all", which == 0)
                slots.acquire(slot, LIMITS, now + 600, now, lambda word: None)
            case "free":
                slots.release(key)
            case "count":
                counters.add(f"n{who}", "2027-01", Leg(f"{now}", "fr", 60, f"+3319900123{which}"), now)
            case "settle":
                counters.settle("2027-01", {f"n{who}": Total({"fr": 60}, [f"+3319900123{which}"])}, [], now)
    return now


def shape(log: LocalLog, node: int) -> list[str]:
    return [repr(machine.dump()) for machine in log.nodes[node].machines.values()]


@pytest.mark.rule("LIVE-01", "OUT-02", "OUT-10")
@given(STEPS, STEPS)
def test_a_newcomer_goes_on_as_the_others_do(
    before: list[tuple[str, int, int, float]], after: list[tuple[str, int, int, float]]
) -> None:
    """`LocalLog` asserts that every step has the same result on every node, the newcomer included."""
    log = LocalLog()
    now = play(log, before, NOW)
    log.newcomer()
    play(log, after, now)
    assert shape(log, 0) == shape(log, 1)


def test_channels_are_said_again_after_an_outage() -> None:
    log = LocalLog()
    channels = SharedChannels(log, log.nodes[0].channels, "one")
    for leg in ("kept", "gone"):
        channels.acquire(Trunk(ref="t", max_channels=5), leg, NOW, lambda word: None)
    table = log.nodes[0].channels.table
    channels._mine.pop("gone")  # its end was not told, since Redis was away
    for node in log.nodes:
        node.channels.table.legs["t"].pop("kept")
    channels.say_again(NOW)
    assert table.legs["t"] == {"kept": "one"}


@pytest.mark.rule("LIVE-03")
def test_a_channel_of_a_call_that_was_taken_over_is_not_taken_back() -> None:
    """Its first node was cut off, and does not know yet."""
    log = LocalLog()
    one, two = (
        SharedChannels(log, node.channels, name) for node, name in zip(log.nodes, ("one", "two"), strict=True)
    )
    one.acquire(Trunk(ref="t", max_channels=5), "leg", NOW, lambda word: None)
    two.restore("t", "leg", NOW + 10)
    one.say_again(NOW + 11)
    assert log.nodes[0].channels.table.legs["t"] == {"leg": "two"}
    one.release("t", "leg")  # it has heard of it
    assert two.in_use("t") == 1
    two.release("t", "leg")
    one.say_again(NOW + 12)
    assert two.in_use("t") == 0


def test_a_channel_whose_new_node_is_dead_goes_to_who_claims_it() -> None:
    log = LocalLog()
    one, two = (
        SharedChannels(log, node.channels, name) for node, name in zip(log.nodes, ("one", "two"), strict=True)
    )
    one.acquire(Trunk(ref="t", max_channels=5), "leg", NOW, lambda word: None)
    two.restore("t", "leg", NOW + 10)
    one.say_again(NOW + 10_000)
    assert log.nodes[0].channels.table.legs["t"] == {"leg": "one"}


def _request(name: str, sim: str, **more: bool) -> LeaseRequest:
    return LeaseRequest(
        id=name, kind="call_through", sim=sim, user="u", device=sim, to="x" + name, life_s=60.0, **more
    )


@pytest.mark.rule("LIVE-01", "OUT-02")
def test_a_lease_that_the_quickest_node_had_not_heard_of_is_given_to_nobody_else() -> None:
    """Redis came back empty, and the tables of the node that was there first are what all go on with."""
    log = LocalLog()
    one = SharedLeases(log, log.nodes[0].leases)
    two = SharedLeases(log, log.nodes[1].leases)
    given: list[object] = []
    sim = "+33639980001"
    one.take(_request("old", sim), POOL[:2], NOW, given.append)
    behind = log.nodes[1].leases.dump()
    one.take(_request("new", sim), POOL[:2], NOW, given.append)
    one.use(sim, POOL[0], "call", NOW + 1, given.append)
    for node in log.nodes:
        node.leases.load(msgspec.msgpack.decode(msgspec.msgpack.encode(behind)))
    for each in (one, two):
        each.say_again(NOW + 2)
    two.take(_request("other", sim), POOL[:2], NOW + 2, given.append)
    old, new, use, other = given
    assert isinstance(old, Lease)
    assert isinstance(new, Lease)
    assert isinstance(other, NoNumber)
    assert {lease.id for lease in log.nodes[1].leases.table.all()} == {old.id, new.id}
    two.use(sim, POOL[0], "another call", NOW + 3, given.append)
    assert isinstance(use, Use)
    again = given[-1]
    assert isinstance(again, Use)
    assert (use.state, again.state) == (UseState.LEASED, UseState.USED)


@pytest.mark.rule("OUT-02")
def test_what_was_given_meanwhile_stays() -> None:
    log = LocalLog()
    one = SharedLeases(log, log.nodes[0].leases)
    given: list[object] = []
    sim = "+33639980001"
    one.take(_request("before", sim), POOL[:1], NOW, given.append)
    for node in log.nodes:
        node.leases.load([[], {}])
    one.take(_request("meanwhile", sim), POOL[:1], NOW + 1, given.append)
    one.say_again(NOW + 1)
    assert [lease.id for lease in log.nodes[0].leases.table.all()] == ["meanwhile"]


@pytest.mark.rule("OUT-02")
def test_a_number_that_one_has_alone_stays_so() -> None:
    log = LocalLog()
    one = SharedLeases(log, log.nodes[0].leases)
    given: list[object] = []
    one.take(_request("alone", "+33639980001", exclusive=True), POOL[:1], NOW, given.append)
    for node in log.nodes:
        node.leases.load([[], {}])
        node.leases.load([[], {}])  # Redis was away again before anything could be said
    one.say_again(NOW + 1)
    one.take(_request("second", "+33639980002"), POOL[:1], NOW + 2, given.append)
    assert isinstance(given[-1], NoNumber)


def test_a_lease_that_is_over_is_not_brought_back() -> None:
    log = LocalLog()
    one = SharedLeases(log, log.nodes[0].leases)
    one.take(_request("short", "+33639980001"), POOL[:1], NOW, lambda lease: None)
    behind = log.nodes[1].leases.dump()
    one.release("short", NOW + 1, lambda lease: None)
    for node in log.nodes:
        node.leases.load(msgspec.msgpack.decode(msgspec.msgpack.encode(behind)))
    one.say_again(NOW + 2)
    assert log.nodes[0].leases.table.counts(NOW + 2)["open"] == 0
    for node in log.nodes:
        node.leases.load([[], {}])
    one.say_again(NOW + 1000)
    assert len(log.nodes[0].leases.table) == 0
