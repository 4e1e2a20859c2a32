"""Minutes and callees of each number and month: the live counters (OUT-08).

A counter is the truth of the database (`settle`) plus what was counted since and is not known to be in it. So a
leg that is told twice counts once, and what a restart has lost, or a fault has doubled, is right again after the
next reconciliation.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Protocol

MAX_CALLEES: Final = 10_000
"""Callees of one number and month that are told apart; nobody is allowed more."""
REPEAT_S: Final = 3600.0
"""How long a leg is known by its key after the database has it; a repetition later than that counts until the next
reconciliation."""
MAX_REPEATS: Final = 200_000


class Leg:
    """One leg to be counted."""

    __slots__ = ("called", "key", "seconds", "zone")

    def __init__(self, key: str, zone: str, seconds: int, called: str) -> None:
        self.key = key
        self.zone = zone
        self.seconds = seconds
        self.called = called


class Used:
    """What a number has used in a month."""

    __slots__ = ("callees", "knows", "seconds")

    def __init__(self, seconds: Mapping[str, int], callees: int, knows: bool) -> None:
        self.seconds = seconds
        """By zone."""
        self.callees = callees
        self.knows = knows
        """Whether the number asked about is among them."""


class Total:
    """What the database has of a number and month."""

    __slots__ = ("callees", "seconds")

    def __init__(self, seconds: Mapping[str, int], callees: Collection[str]) -> None:
        self.seconds = seconds
        self.callees = callees


def owner_of(number: str, user: str) -> str:
    """Name of a counter: a number in the hands of its holder, so that the next one begins at nought (NUM-05)."""
    return f"{number} {user}"


class UsageCounters(Protocol):
    """Live counters of all nodes, each named by its owner (`owner_of`).

    Nothing waits: ``done`` is called at once or later, once.
    """

    def look(self, owner: str, month: str, called: str, done: Callable[[Used | None], None]) -> None:
        """What was used; None when the store does not answer."""
        ...

    def add(self, owner: str, month: str, leg: Leg, now: float) -> None:
        """Count a leg, once for its key."""
        ...

    def pending(self, month: str, owners: Collection[str] | None, done: Callable[[list[str]], None]) -> None:
        """Keys counted that are not known to be in the database, of some owners or of all."""
        ...

    def owners(self, month: str, done: Callable[[list[str]], None]) -> None:
        """Who has a counter, ascending."""
        ...

    def settle(self, month: str, totals: Mapping[str, Total], known: Collection[str], now: float) -> None:
        """Put the database's totals in place for some owners.

        ``known``: keys that are part of the totals.  What is pending besides is counted on top.
        """
        ...

    def forget(self, before: str) -> None:
        """Drop the months before one (``2027-01``)."""
        ...


class _Counter:
    __slots__ = ("callees", "pending", "seconds")

    def __init__(self) -> None:
        self.seconds: dict[str, int] = {}
        self.callees: set[str] = set()
        self.pending: dict[str, Leg] = {}

    def count(self, leg: Leg) -> None:
        self.seconds[leg.zone] = self.seconds.get(leg.zone, 0) + leg.seconds
        if len(self.callees) < MAX_CALLEES:
            self.callees.add(leg.called)


_NOTHING: Final = Used({}, 0, False)


class MemoryUsageCounters:
    """`UsageCounters` of a single node."""

    def __init__(self) -> None:
        self._months: dict[str, dict[str, _Counter]] = {}
        self._settled: OrderedDict[str, float] = OrderedDict()
        """Keys that the database has -> when it was seen, for repetitions."""

    def look(self, owner: str, month: str, called: str, done: Callable[[Used | None], None]) -> None:
        counter = self._months.get(month, {}).get(owner)
        if counter is None:
            done(_NOTHING)
        else:
            done(Used(counter.seconds, len(counter.callees), called in counter.callees))

    def add(self, owner: str, month: str, leg: Leg, now: float) -> None:
        counters = self._months.setdefault(month, {})
        counter = counters.get(owner)
        if counter is None:
            counter = counters[owner] = _Counter()
        if leg.key in counter.pending or leg.key in self._settled:
            return
        counter.pending[leg.key] = leg
        counter.count(leg)

    def pending(self, month: str, owners: Collection[str] | None, done: Callable[[list[str]], None]) -> None:
        counters = self._months.get(month, {})
        wanted = counters if owners is None else owners
        done([key for owner in wanted if owner in counters for key in counters[owner].pending])

    def owners(self, month: str, done: Callable[[list[str]], None]) -> None:
        done(sorted(self._months.get(month, ())))

    def settle(self, month: str, totals: Mapping[str, Total], known: Collection[str], now: float) -> None:
        counters = self._months.setdefault(month, {})
        for owner, total in totals.items():
            old = counters.get(owner)
            counter = counters[owner] = _Counter()
            counter.seconds.update(total.seconds)
            counter.callees.update(list(total.callees)[:MAX_CALLEES])
            for leg in old.pending.values() if old is not None else ():
                if leg.key in known:
                    self._settled[leg.key] = now
                else:
                    counter.pending[leg.key] = leg
                    counter.count(leg)
        settled = self._settled
        while settled and (len(settled) > MAX_REPEATS or next(iter(settled.values())) < now - REPEAT_S):
            settled.popitem(last=False)

    def forget(self, before: str) -> None:
        for month in [month for month in self._months if month < before]:
            del self._months[month]

    def dump(self) -> list[object]:
        """Everything, for another process."""
        months = {
            month: {
                owner: [
                    counter.seconds,
                    sorted(counter.callees),
                    [(leg.key, leg.zone, leg.seconds, leg.called) for leg in counter.pending.values()],
                ]
                for owner, counter in counters.items()
            }
            for month, counters in self._months.items()
        }
        return [months, list(self._settled.items())]

    def load(self, data: Sequence[Any]) -> None:
        """Become what `dump` gave."""
        months, settled = data
        self._months = {}
        for month, counters in months.items():
            made = self._months.setdefault(month, {})
            for owner, (seconds, callees, pending) in counters.items():
                counter = made[owner] = _Counter()
                counter.seconds.update(seconds)
                counter.callees.update(callees)
                counter.pending = {leg[0]: Leg(*leg) for leg in pending}
        self._settled = OrderedDict((key, at) for key, at in settled)
