"""How many leases of gateway numbers a node gives in a second, and how small the pool may be for a given traffic.

    python -m loadtests.leases                         # both, for the traffic below
    python -m loadtests.leases --sims 200000 --calls-per-hour 2 --hidden 0.02 --refused 0.001

The speed is that of the table in memory: what a store over the network adds is its own.  The pool is found by playing the
traffic against the real table under a virtual clock: calls of each SIM come at random and independently (Poisson), are dialled
after a while or not at all, last as long as calls do (exponential), and a share of the SIMs hides its number.
"""

from __future__ import annotations

import argparse
import heapq
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.lease_table import LeaseTable
from gateway.leases import LeasePolicy, LeaseRequest, NoNumber, UseState

LIFE_S: Final = 60.0
_ASK, _DIAL, _END = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What the SIMs of one country do in the busy hour."""

    sims: int = 50_000
    calls_per_hour: float = 1.0
    """Of one SIM."""
    minutes: float = 3.0
    """Mean length of a call that is answered."""
    hidden: float = 0.01
    """Share of SIMs that hide their number."""
    unused: float = 0.1
    """Share of leases that nobody dials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a traffic with a pool."""

    pool: int
    asked: int
    refused: int
    most: int
    """Leases in force at the same time."""
    longest_wait_s: float
    """Largest ``retry_after_s`` that an app was told."""

    @property
    def share(self) -> float:
        return self.refused / self.asked if self.asked else 0.0


def pool_of(size: int) -> tuple[str, ...]:
    return tuple(f"+3319900{number:04d}" for number in range(size))


def request(serial: int, sim: int, exclusive: bool) -> LeaseRequest:
    return LeaseRequest(
        id=f"{serial}",
        kind="call_through",
        sim=f"sim-{sim}",
        user=f"user-{sim}",
        device=f"device-{sim}",
        number="+33639981001",
        to=f"+3319900{serial % 10_000:04d}",
        life_s=LIFE_S,
        exclusive=exclusive,
    )


def speed(sims: int, pool: int, rounds: int) -> float:
    """Leases taken, used and ended per second of processor time."""
    table = LeaseTable(LeasePolicy())
    numbers = pool_of(pool)
    done = 0
    now = 0.0
    begin = time.process_time()
    for round_ in range(rounds):
        for sim in range(sims):
            now += 0.01
            lease = table.take(request(round_ * sims + sim, sim, False), numbers, now)
            if isinstance(lease, NoNumber):
                continue
            call_id = f"{lease.id}@carrier"
            if table.use(lease.sim, lease.gateway, call_id, now + 5.0).state is UseState.LEASED:
                table.finish(lease.id, call_id, True, now + 5.0)
            done += 1
    return done / max(time.process_time() - begin, 1e-9)


def play(traffic: Traffic, pool: int, hours: float = 1.0, seed: int = 1) -> Outcome:
    """Play the traffic against a pool; the same seed is the same traffic."""
    dice = random.Random(seed)
    table = LeaseTable(LeasePolicy())
    numbers = pool_of(pool)
    rate = traffic.sims * traffic.calls_per_hour / 3600.0
    hiding = int(traffic.sims * traffic.hidden)
    events: list[tuple[float, int, int, str, str, str]] = []
    asked = refused = most = serial = 0
    wait = 0.0
    heapq.heappush(events, (dice.expovariate(rate), serial, _ASK, "", "", ""))
    while events:
        now, _, what, id, sim, gateway = heapq.heappop(events)
        serial += 1
        if what == _ASK:
            if now > hours * 3600.0:
                break
            heapq.heappush(events, (now + dice.expovariate(rate), serial, _ASK, "", "", ""))
            who = dice.randrange(traffic.sims)
            asked += 1
            found = table.take(request(serial, who, who < hiding), numbers, now)
            if isinstance(found, NoNumber):
                refused += 1
                wait = max(wait, found.retry_after_s)
            elif dice.random() >= traffic.unused:
                dialled = now + dice.uniform(4.0, 20.0)
                sim = "" if who < hiding else found.sim
                heapq.heappush(events, (dialled, serial, _DIAL, found.id, sim, found.gateway))
            if asked % 100 == 0:
                most = max(most, sum(table.counts(now).values()))
        elif what == _DIAL:
            use = table.use(sim, gateway, f"{id}@carrier", now)
            if use.state is UseState.LEASED and use.lease is not None:
                talk = dice.expovariate(1.0 / (traffic.minutes * 60.0))
                heapq.heappush(events, (now + talk, serial, _END, use.lease.id, "", ""))
        else:
            table.finish(id, f"{id}@carrier", True, now)
    return Outcome(pool=pool, asked=asked, refused=refused, most=most, longest_wait_s=wait)


def smallest_pool(traffic: Traffic, refused: float, hours: float = 1.0, seed: int = 1) -> Outcome:
    """The smallest pool with which at most this share of the requests is refused."""
    low, high = 1, 2
    while play(traffic, high, hours, seed).share > refused:
        low, high = high, high * 2
        if high > 16_384:
            raise ValueError("this traffic needs more than 16384 gateway numbers")
    while low < high:
        middle = (low + high) // 2
        if play(traffic, middle, hours, seed).share > refused:
            low = middle + 1
        else:
            high = middle
    return play(traffic, low, hours, seed)


def main(arguments: Sequence[str] | None = None) -> int:
    plain = Traffic()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sims", type=int, default=plain.sims)
    parser.add_argument("--calls-per-hour", type=float, default=plain.calls_per_hour, help="of one SIM")
    parser.add_argument("--minutes", type=float, default=plain.minutes, help="mean length of a call")
    parser.add_argument("--hidden", type=float, default=plain.hidden, help="share of SIMs that hide")
    parser.add_argument("--refused", type=float, default=0.001, help="share of requests that may be refused")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    for pool in (4, 32, 256):
        print(f"pool of {pool:4}: {speed(2_000, pool, 5):10,.0f} leases/s (taken, used, ended)")
    traffic = Traffic(
        sims=given.sims, calls_per_hour=given.calls_per_hour, minutes=given.minutes, hidden=given.hidden
    )
    for hidden in sorted({0.0, traffic.hidden}):
        shape = Traffic(
            sims=traffic.sims,
            calls_per_hour=traffic.calls_per_hour,
            minutes=traffic.minutes,
            hidden=hidden,
        )
        found = smallest_pool(shape, given.refused, given.hours, given.seed)
        print(
            f"{shape.sims} SIMs, {shape.calls_per_hour:g} calls an hour each, {shape.minutes:g} min, "
            f"{hidden:.1%} hidden: {found.pool} gateway numbers for {found.most} leases at the same time "
            f"({found.refused} of {found.asked} refused, longest wait {found.longest_wait_s:.0f} s)"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
