"""What every store of monthly counters promises: a leg counts once, and the database's totals win."""

from __future__ import annotations

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from callcontrol.live.tables import SharedCounters
from callcontrol.usage.counters import Leg, MemoryUsageCounters, Total, UsageCounters, Used
from tests.support.shared_log import LocalLog

pytestmark = pytest.mark.rule("OUT-08")

ANA, BEN = "+33639981001", "+33639981002"
MONTH, NOW = "2027-01", 1_800_000_000.0


@pytest.fixture(params=["memory", "shared"])
def counters(request: pytest.FixtureRequest) -> UsageCounters:
    if request.param == "memory":
        return MemoryUsageCounters()
    log = LocalLog()
    return SharedCounters(log, log.nodes[0].counters)


def used(counters: UsageCounters, number: str = ANA, month: str = MONTH, called: str = "") -> Used:
    seen: list[Used | None] = []
    counters.look(number, month, called, seen.append)
    (found,) = seen
    assert found is not None
    return found


def pending(counters: UsageCounters, numbers: list[str] | None = None) -> list[str]:
    seen: list[str] = []
    counters.pending(MONTH, numbers, seen.extend)
    return sorted(seen)


def leg(key: str, seconds: int = 60, zone: str = "national", called: str = "+33199001234") -> Leg:
    return Leg(key, zone, seconds, called)


def test_nothing_was_used_before_anything_was_counted(counters: UsageCounters) -> None:
    found = used(counters)
    assert (dict(found.seconds), found.callees, found.knows) == ({}, 0, False)


def test_seconds_are_summed_by_number_month_and_zone(counters: UsageCounters) -> None:
    counters.add(ANA, MONTH, leg("c1/b1"), NOW)
    counters.add(ANA, MONTH, leg("c2/b1", 5), NOW)
    counters.add(ANA, MONTH, leg("c3/b1", 7, "europe", "+447700900123"), NOW)
    counters.add(ANA, "2027-02", leg("c4/b1", 9), NOW)
    counters.add(BEN, MONTH, leg("c5/b1", 11), NOW)
    assert used(counters).seconds == {"national": 65, "europe": 7}
    assert used(counters, month="2027-02").seconds == {"national": 9}
    assert used(counters, BEN).seconds == {"national": 11}


def test_callees_are_counted_once_each(counters: UsageCounters) -> None:
    for index, called in enumerate(["+33199001234", "+33199001235", "+33199001234"]):
        counters.add(ANA, MONTH, leg(f"c{index}/b1", called=called), NOW)
    assert used(counters).callees == 2
    assert used(counters, called="+33199001235").knows
    assert not used(counters, called="+33199001236").knows


def test_a_leg_counts_once_however_often_it_is_told(counters: UsageCounters) -> None:
    for _ in range(3):
        counters.add(ANA, MONTH, leg("c1/b1"), NOW)
    counters.settle(MONTH, {ANA: Total({"national": 60}, ["+33199001234"])}, ["c1/b1"], NOW)
    counters.add(ANA, MONTH, leg("c1/b1"), NOW + 60)
    assert used(counters).seconds == {"national": 60}
    assert pending(counters) == []


def test_totals_take_the_place_of_what_was_counted(counters: UsageCounters) -> None:
    counters.add(ANA, MONTH, leg("c1/b1"), NOW)
    counters.add(ANA, MONTH, leg("c2/b1", 7, called="+33199001235"), NOW)
    counters.add(BEN, MONTH, leg("c3/b1"), NOW)
    assert pending(counters, [ANA]) == ["c1/b1", "c2/b1"]
    # The database has the first call, and one that nobody here knows of.
    totals = {ANA: Total({"national": 100, "europe": 1}, ["+33199001234", "+447700900123"])}
    counters.settle(MONTH, totals, ["c1/b1"], NOW)
    assert used(counters).seconds == {"national": 107, "europe": 1}
    assert used(counters).callees == 3
    assert pending(counters) == ["c2/b1", "c3/b1"]
    assert used(counters, BEN).seconds == {"national": 60}


def test_old_months_are_forgotten(counters: UsageCounters) -> None:
    for month in ("2026-12", "2027-01", "2027-02"):
        counters.add(ANA, month, leg(f"{month}/b1"), NOW)
    counters.forget("2027-01")
    assert used(counters, month="2026-12").seconds == {}
    assert used(counters, month="2027-01").seconds == {"national": 60}
    assert used(counters, month="2027-02").seconds == {"national": 60}


def test_who_has_a_counter(counters: UsageCounters) -> None:
    counters.add(BEN, MONTH, leg("c1/b1"), NOW)
    counters.add(ANA, MONTH, leg("c2/b1"), NOW)
    seen: list[str] = []
    counters.owners(MONTH, seen.extend)
    assert seen == [ANA, BEN]


numbers = st.sampled_from([ANA, BEN])


class Histories(RuleBasedStateMachine):
    """Calls end, their records are told again, come to the database late, nodes restart, reconciliations run."""

    def __init__(self) -> None:
        super().__init__()
        self.counters: UsageCounters = MemoryUsageCounters()
        self.made = 0
        self.legs: dict[str, tuple[str, Leg]] = {}
        """Every leg there ever was, by key."""
        self.database: set[str] = set()
        self.told: set[str] = set()
        """Legs that this life of the live store knows of."""

    @initialize()
    def begin(self) -> None:
        self.reconcile()

    @rule(
        number=numbers, seconds=st.integers(0, 100), called=st.sampled_from(["+33199001234", "+33199001235"])
    )
    def a_call_ends(self, number: str, seconds: int, called: str) -> None:
        self.made += 1
        ended = leg(f"c{self.made}/b1", seconds, called=called)
        self.legs[ended.key] = (number, ended)
        self.told.add(ended.key)
        self.counters.add(number, MONTH, ended, NOW)

    @rule(data=st.data())
    def a_record_is_told_again(self, data: st.DataObject) -> None:
        if self.told:
            number, again = self.legs[data.draw(st.sampled_from(sorted(self.told)))]
            self.counters.add(number, MONTH, again, NOW)

    @rule(data=st.data())
    def a_record_reaches_the_database(self, data: st.DataObject) -> None:
        left = sorted(self.legs.keys() - self.database)
        if left:
            self.database.add(data.draw(st.sampled_from(left)))

    @rule()
    def reconcile(self) -> None:
        for number in (ANA, BEN):
            known = [k for k in pending(self.counters, [number]) if k in self.database]
            there = [held for key, (n, held) in self.legs.items() if n == number and key in self.database]
            seconds = {"national": sum(held.seconds for held in there)} if there else {}
            total = Total(seconds, {held.called for held in there})
            self.counters.settle(MONTH, {number: total}, known, NOW)

    @rule()
    def the_live_store_is_lost(self) -> None:
        """Its records are in the outbox and reach the database before the node serves again, as at a start."""
        self.counters = MemoryUsageCounters()
        self.database |= self.legs.keys()
        self.told = set()
        self.reconcile()

    @rule(data=st.data())
    def a_node_tells_what_another_life_has_counted(self, data: st.DataObject) -> None:
        """Doubled until the next reconciliation, which follows."""
        there = sorted(self.database)
        if there:
            number, again = self.legs[data.draw(st.sampled_from(there))]
            self.counters.add(number, MONTH, again, NOW)
            self.reconcile()

    @invariant()
    def no_second_is_lost_or_doubled(self) -> None:
        for number in (ANA, BEN):
            there = [held for n, held in self.legs.values() if n == number]
            found = used(self.counters, number)
            assert sum(found.seconds.values()) == sum(held.seconds for held in there)
            assert found.callees == len({held.called for held in there})


def test_no_second_is_lost_or_doubled_whatever_happens() -> None:
    run_state_machine_as_test(Histories, settings=hypothesis_settings(max_examples=60, deadline=None))
