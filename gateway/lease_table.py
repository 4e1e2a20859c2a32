"""The table of leases: every step of their life, synchronous and without a clock (OUT-02).

One step is atomic by being one call.  Memory is bounded by the leases that are in force, those remembered for a while, and
the SIMs whose last uses are kept.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from gateway.leases import (
    Lease,
    LeasePolicy,
    LeaseRequest,
    LeaseState,
    NoNumber,
    Use,
    UseState,
    choose,
    free_at,
    state_of,
)


class LeaseTable:
    """All leases that are in force, and those that were lately."""

    def __init__(self, policy: LeasePolicy | None = None) -> None:
        self.policy = policy or LeasePolicy()
        self._reset()

    def _reset(self) -> None:
        self._leases: dict[str, Lease] = {}
        self._pairs: dict[tuple[str, str], str] = {}
        """(SIM, gateway number) -> id of the latest lease of that pair."""
        self._of_sim: dict[str, dict[str, str]] = {}
        """SIM -> gateway number -> id, of leases that are not over."""
        self._of_gateway: dict[str, dict[str, str]] = {}
        """Gateway number -> SIM -> id, of leases that are not over."""
        self._alone: dict[str, str] = {}
        """Gateway number -> id of the exclusive lease, the last one of the number until it is forgotten."""
        self._recent: OrderedDict[str, dict[str, float]] = OrderedDict()
        self._due: list[tuple[float, str]] = []
        self._scheduled: dict[str, float] = {}
        """Id -> when it is looked at next; one entry of ``_due`` each, whatever happens to the lease."""
        self._forget: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._leases)

    # -- steps ----------------------------------------------------------------------------------------------

    def take(self, request: LeaseRequest, candidates: Sequence[str], now: float) -> Lease | NoNumber:
        """A lease for a SIM of one of the ``candidates``; the same again when it has one for the same purpose.

        What is asked for again is prolonged.
        """
        self._tidy(now)
        same = self._same(request)
        if same is not None:
            expires = max(same.expires_at, now + request.life_s)
            return self._put(replace(same, expires_at=expires))
        mine = self._of_sim.get(request.sim, {})
        if request.long:
            long = sorted(self._leases[id].expires_at for id in mine.values() if self._leases[id].long)
            if len(long) >= self.policy.long_per_sim:
                return NoNumber(retry_after_s=long[0] - now if long else 0.0, long_full=True)
        barred = {number for number in candidates if self._is_alone(number)}
        crowd = {number: len(self._of_gateway.get(number, ())) for number in candidates}
        recent = self._recent.get(request.sim, {})
        exclusive, spread = request.exclusive, request.spread
        number = choose(candidates, mine, barred, crowd, recent, exclusive=exclusive, spread=spread)
        if not number:
            return NoNumber(retry_after_s=self._wait(request, candidates, now))
        lease = Lease(
            id=request.id,
            kind=request.kind,
            sim=request.sim,
            gateway=number,
            user=request.user,
            device=request.device,
            number=request.number,
            to=request.to,
            hide=request.hide,
            created_at=now,
            expires_at=now + request.life_s,
            exclusive=request.exclusive,
            long=request.long,
        )
        return self._begin(lease)

    def use(self, sim: str, gateway: str, call_id: str, now: float) -> Use:
        """A call from ``sim`` (empty: it hides its number) to ``gateway``: the lease that it uses up, once.

        The same Call-ID again is the same use, as is another one shortly after an attempt that failed.
        """
        self._tidy(now)
        lease = self._leases.get(self._pairs.get((sim, gateway), "")) if sim else None
        alone = self._leases.get(self._alone.get(gateway, ""))
        if lease is None and not sim:
            lease = alone
        if lease is None:
            return Use(state=UseState.UNKNOWN, lease=self._only(gateway, now))
        state = state_of(lease, now, self.policy)
        if state is LeaseState.IN_USE:
            same = lease.used_by == call_id
            return Use(state=UseState.LEASED if same else UseState.USED, lease=lease)
        if state is LeaseState.OVER:
            return Use(state=UseState.USED if lease.used_by else UseState.EXPIRED, lease=lease)
        lease = self._put(replace(lease, used_by=call_id, used_at=now, failed_at=0.0))
        recent = self._recent.setdefault(lease.sim, {})
        recent.pop(gateway, None)
        recent[gateway] = now
        if len(recent) > self.policy.recent_numbers:
            del recent[next(iter(recent))]
        self._recent.move_to_end(lease.sim)
        while len(self._recent) > self.policy.recent_sims:
            self._recent.popitem(last=False)
        return Use(state=UseState.LEASED, lease=lease)

    def finish(self, id: str, call_id: str, answered: bool, now: float) -> None:
        """The call that used a lease has ended.  Doing it twice is doing it once."""
        lease = self._leases.get(id)
        if lease is None or lease.used_by != call_id or lease.over_at or lease.failed_at:
            return
        if not answered:
            self._put(replace(lease, failed_at=now))
        elif lease.long and now < lease.expires_at:
            self._put(replace(lease, used_by="", used_at=0.0))
        else:
            self._end(replace(lease, over_at=now))
        self._tidy(now)

    def note(self, id: str, outcome: str, now: float) -> Lease | None:
        """Write down what came of a lease."""
        lease = self._leases.get(id)
        return None if lease is None else self._put(replace(lease, outcome=outcome))

    def release(self, id: str, now: float) -> Lease | None:
        """Give back a lease that no call uses now; None when there is no such lease."""
        self._tidy(now)
        lease = self._leases.get(id)
        if lease is None:
            return None
        if state_of(lease, now, self.policy) in (LeaseState.OPEN, LeaseState.COOLING):
            lease = replace(lease, over_at=now)
            self._end(lease)
        return lease

    def restore(self, lease: Lease, now: float) -> None:
        """A lease as another table had it, which knew more than this one.  What was given meanwhile stays."""
        self._tidy(now)
        held = self._leases.get(lease.id)
        if held is None:
            others = self._of_gateway.get(lease.gateway, {})
            taken = lease.sim in others or self._is_alone(lease.gateway) or (lease.exclusive and others)
            if not taken and state_of(lease, now, self.policy) is not LeaseState.OVER:
                self._begin(lease)
        elif not held.over_at and lease.over_at:
            self._end(lease)
        elif not held.over_at and lease.used_at > held.used_at:
            self._put(lease)

    # -- reading --------------------------------------------------------------------------------------------

    def get(self, id: str) -> Lease | None:
        return self._leases.get(id)

    def all(self) -> list[Lease]:
        """Leases in force and remembered ones, the oldest first."""
        return list(self._leases.values())

    def counts(self, now: float) -> dict[str, int]:
        """Leases by state; those that are over are not counted."""
        self._tidy(now)
        found = {LeaseState.OPEN.value: 0, LeaseState.IN_USE.value: 0, LeaseState.COOLING.value: 0}
        for held in self._of_sim.values():
            for id in held.values():
                word = state_of(self._leases[id], now, self.policy).value
                found[word] = found.get(word, 0) + 1
        return found

    # -- moving ---------------------------------------------------------------------------------------------

    def dump(self) -> list[object]:
        """Everything, for another process: leases in the order of their making, and the last uses of each SIM."""
        leases = [asdict(lease) for lease in self._leases.values()]
        return [leases, {sim: dict(used) for sim, used in self._recent.items()}]

    def load(self, data: Sequence[Any]) -> None:
        """Become what `dump` gave.  Raises TypeError for anything else."""
        leases, recent = data
        self._reset()
        self._recent.update({sim: dict(used) for sim, used in recent.items()})
        for fields in leases:
            lease = Lease(**fields)
            self._begin(lease)
            if lease.over_at:
                self._end(lease)

    # -- inside ---------------------------------------------------------------------------------------------

    def _only(self, gateway: str, now: float) -> Lease | None:
        """The lease that waits at a number, if there is just one."""
        held = [self._leases[id] for id in self._of_gateway.get(gateway, {}).values()]
        waits = [lease for lease in held if state_of(lease, now, self.policy) is LeaseState.OPEN]
        return waits[0] if len(waits) == 1 else None

    def _same(self, request: LeaseRequest) -> Lease | None:
        for id in self._of_sim.get(request.sim, {}).values():
            lease = self._leases[id]
            wanted = (request.kind, request.number, request.to, request.hide, request.device, request.long)
            if (lease.kind, lease.number, lease.to, lease.hide, lease.device, lease.long) != wanted:
                continue
            if lease.used_by and not lease.long:
                continue  # its call is on its way; who asks again wants another one
            if request.exclusive and not lease.exclusive:
                continue
            return lease
        return None

    def _wait(self, request: LeaseRequest, candidates: Sequence[str], now: float) -> float:
        """Seconds until one of the numbers can be had, as far as that is known."""
        soonest = 0.0
        for number in candidates:
            held = self._of_gateway.get(number, {})
            in_way = [
                self._leases[id]
                for sim, id in held.items()
                if request.exclusive or sim == request.sim or self._leases[id].exclusive
            ]
            if not in_way:
                continue
            wait = max(self._left(lease, now) for lease in in_way)
            soonest = wait if not soonest else min(soonest, wait)
        return max(soonest, 0.0)

    def _left(self, lease: Lease, now: float) -> float:
        in_use = state_of(lease, now, self.policy) is LeaseState.IN_USE
        return self.policy.busy_s if in_use else free_at(lease, self.policy) - now

    def _begin(self, lease: Lease) -> Lease:
        self._drop(self._pairs.get((lease.sim, lease.gateway), ""))
        self._pairs[lease.sim, lease.gateway] = lease.id
        self._of_sim.setdefault(lease.sim, {})[lease.gateway] = lease.id
        self._of_gateway.setdefault(lease.gateway, {})[lease.sim] = lease.id
        if lease.exclusive:
            self._alone[lease.gateway] = lease.id
        return self._put(lease)

    def _put(self, lease: Lease) -> Lease:
        self._leases[lease.id] = lease
        self._schedule(lease)
        return lease

    def _schedule(self, lease: Lease) -> None:
        at = free_at(lease, self.policy)
        scheduled = self._scheduled.get(lease.id)
        if not lease.over_at and (scheduled is None or at < scheduled):
            self._scheduled[lease.id] = at
            heapq.heappush(self._due, (at, lease.id))

    def _is_alone(self, number: str) -> bool:
        lease = self._leases.get(self._alone.get(number, ""))
        return lease is not None and not lease.over_at

    def _tidy(self, now: float) -> None:
        """Let go of what is over, and forget what has been over for long."""
        while self._due and self._due[0][0] <= now:
            at, id = heapq.heappop(self._due)
            if self._scheduled.get(id) != at:
                continue  # an earlier one took its place
            del self._scheduled[id]
            lease = self._leases.get(id)
            if lease is None or lease.over_at:
                continue
            until = free_at(lease, self.policy)
            if until <= now:
                self._end(replace(lease, over_at=until))
            else:
                self._schedule(lease)
        while self._forget and self._forget[0][0] <= now:
            _, id = heapq.heappop(self._forget)
            self._drop(id)

    def _end(self, lease: Lease) -> None:
        """It keeps its place under its pair, but no number is held any more."""
        self._leases[lease.id] = lease
        for table, first, second in (
            (self._of_sim, lease.sim, lease.gateway),
            (self._of_gateway, lease.gateway, lease.sim),
        ):
            held = table.get(first, {})
            if held.get(second) == lease.id:
                del held[second]
                if not held:
                    del table[first]
        heapq.heappush(self._forget, (lease.over_at + self.policy.memory_s, lease.id))

    def _drop(self, id: str) -> None:
        """Forget a lease that is over."""
        lease = self._leases.get(id)
        if lease is None or not lease.over_at:
            return
        del self._leases[id]
        self._scheduled.pop(id, None)
        if self._pairs.get((lease.sim, lease.gateway)) == id:
            del self._pairs[lease.sim, lease.gateway]
        if self._alone.get(lease.gateway) == id:
            del self._alone[lease.gateway]
