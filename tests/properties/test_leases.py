"""Leases under any order of requests, calls, ends and waits (OUT-02): a model that is told everything checks every answer."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.lease_table import LeaseTable
from gateway.leases import (
    Lease,
    LeasePolicy,
    LeaseRequest,
    LeaseState,
    NoNumber,
    UseState,
    state_of,
)

POLICY = LeasePolicy(retry_s=10.0, hold_s=300.0, memory_s=60.0, long_per_sim=2)
SIMS = tuple(f"+3363998000{index}" for index in range(3))
POOL = tuple(f"+3319900000{index}" for index in range(5))
DESTINATIONS = tuple(f"+3319900123{index}" for index in range(3))

sims = st.sampled_from(SIMS)
gateways = st.sampled_from(POOL)


class Leases(RuleBasedStateMachine):
    """Two SIMs, a small pool, and whatever apps and carriers may do."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.table = LeaseTable(POLICY)
        self.pool: tuple[str, ...] = POOL
        self.serial = 0
        self.given: dict[str, Lease] = {}
        """Every lease that was ever given, as it was given last."""
        self.uses: dict[str, list[str]] = {}
        """Lease -> Call-IDs that it was used by and that were answered or run."""
        self.running: dict[str, tuple[str, float]] = {}
        """Lease -> Call-ID of the call that runs now, and since when."""
        self.answered: dict[str, int] = {}
        self.last: dict[str, str] = {}
        """SIM -> gateway number that it used last."""

    @initialize(size=st.integers(1, len(POOL)))
    def begin(self, size: int) -> None:
        self.pool = POOL[:size]

    def in_force(self) -> list[Lease]:
        """Leases that hold a number, as they are now."""
        found = [self.table.get(id) for id in self.given]
        return [
            lease
            for lease in found
            if lease is not None and state_of(lease, self.now, POLICY) is not LeaseState.OVER
        ]

    def in_flight(self, sim: str) -> set[str]:
        """Gateway numbers that a SIM must not be given."""
        return {lease.gateway for lease in self.in_force() if lease.sim == sim}

    def others(self, gateway: str, sim: str) -> list[Lease]:
        """Leases of other SIMs on a number."""
        return [lease for lease in self.in_force() if lease.gateway == gateway and lease.sim != sim]

    def alone(self, gateway: str, sim: str) -> bool:
        return any(lease.exclusive for lease in self.others(gateway, sim))

    @rule(sim=sims, to=st.sampled_from(DESTINATIONS), exclusive=st.booleans(), long=st.booleans())
    def take(self, sim: str, to: str, exclusive: bool, long: bool) -> None:
        before = self.in_flight(sim)
        self.serial += 1
        request = LeaseRequest(
            id=f"lease-{self.serial}",
            kind="call_through",
            sim=sim,
            user="u",
            device=sim,
            number="+33639981001",
            to=to,
            life_s=400.0 if long else 45.0,
            exclusive=exclusive,
            long=long,
        )
        found = self.table.take(request, self.pool, self.now)
        if isinstance(found, NoNumber):
            assert found.retry_after_s >= 0
            if not exclusive and not found.long_full:
                free = [n for n in self.pool if n not in before and not self.alone(n, sim)]
                assert not free, "a number was free"
            return
        assert (found.sim, found.to, found.expires_at > self.now) == (sim, to, True)
        if found.id == request.id:
            assert found.gateway not in before, "two calls in flight share a number"
            assert not self.alone(found.gateway, sim)
            if exclusive:
                assert not self.others(found.gateway, sim)
            # all else equal the one just used is the last
            choices = [n for n in self.pool if n not in before and not self.alone(n, sim)]
            if exclusive:
                choices = [n for n in choices if not self.others(n, sim)]
            assert found.gateway != self.last.get(sim) or len(choices) == 1
        else:
            assert found.id in self.given
        self.given[found.id] = found

    @rule(sim=sims, gateway=gateways, call=st.integers(0, 5), hidden=st.booleans())
    def call(self, sim: str, gateway: str, call: int, hidden: bool) -> None:
        call_id = f"call-{sim}-{call}"
        use = self.table.use("" if hidden else sim, gateway, call_id, self.now)
        if use.state is not UseState.LEASED:
            return
        lease = use.lease
        assert lease is not None
        assert lease.gateway == gateway
        assert lease.id in self.given
        if hidden:
            assert lease.exclusive
        else:
            assert lease.sim == sim
        running = self.running.get(lease.id)
        if running is not None and self.now < running[1] + POLICY.hold_s:
            assert running[0] == call_id, "used by two calls at once"
        else:
            assert lease.long or not self.answered.get(lease.id), "used again after it served its call"
            self.running[lease.id] = (call_id, self.now)
            self.last[lease.sim] = gateway

    @rule(data=st.data(), answered=st.booleans())
    def end(self, data: st.DataObject, answered: bool) -> None:
        if not self.running:
            return
        id = data.draw(st.sampled_from(sorted(self.running)))
        call_id, since = self.running.pop(id)
        self.table.finish(id, call_id, answered, self.now)
        if answered and self.now < since + POLICY.hold_s:
            self.answered[id] = self.answered.get(id, 0) + 1

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if self.given:
            self.table.release(data.draw(st.sampled_from(sorted(self.given))), self.now)

    @rule(seconds=st.sampled_from([0.5, 5.0, 11.0, 46.0, 301.0, 500.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def one_lease_for_a_pair(self) -> None:
        held: dict[tuple[str, str], str] = {}
        for lease in self.in_force():
            pair = (lease.sim, lease.gateway)
            assert pair not in held, "two leases in force share SIM and number"
            held[pair] = lease.id

    @invariant()
    def counts_are_true(self) -> None:
        counted = sum(self.table.counts(self.now).values())
        real = [
            lease for lease in self.table.all() if state_of(lease, self.now, POLICY) is not LeaseState.OVER
        ]
        assert counted == len(real)

    def teardown(self) -> None:
        """What is left ends by itself: nothing is stuck for ever (LIVE-03)."""
        self.table.counts(self.now + 100_000.0)
        assert len(self.table) == 0
        assert not self.table._due
        assert not self.table._scheduled


Leases.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@pytest.mark.rule("OUT-02")
class TestLeases(Leases.TestCase):  # type: ignore[misc]
    """Run by Hypothesis."""
