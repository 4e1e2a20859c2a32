"""Rates and packages: frozen values, and the book in which the rate of a number is looked up.  Pure.

A rate table is named; the plan of an account says which one counts.  The longest prefix decides, and of the rates
of one prefix the one that came into force last.  All amounts are `numbering.money.Money`, never floats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from numbering.money import ZERO, Money

MAX_PREFIX: Final = 16
"""Characters of a whole number in E.164 with its plus sign."""
STANDARD: Final = "standard"
"""The table of plans that name none."""
MAX_SECONDS: Final = 10**7
"""Durations beyond are no calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What calls to the numbers of one prefix cost."""

    table: str = STANDARD
    prefix: str
    """``+44``: the numbers that begin with it; ``+``: all."""
    per_minute: Money
    connection: Money = ZERO
    """Once, when the call is answered."""
    minimum_seconds: int = 0
    """A call that is answered costs as one of at least so many seconds."""
    increment_seconds: int = 1
    """Seconds are billed in steps of so many, each begun one in full."""
    currency: str = "EUR"
    """ISO 4217; one for all rates of a table."""
    zone: str = ""
    """What packages and plans call the destination; empty: the zone of its country."""
    valid_from: str = ""
    """First day, ``2027-01-31`` in UTC; empty: always."""

    @property
    def ref(self) -> str:
        """Natural key: table, prefix, and the day if it has one."""
        key = f"{self.table}/{self.prefix}"
        return f"{key}/{self.valid_from}" if self.valid_from else key


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """Minutes to zones that an account has bought on top of its plan."""

    ref: str
    name: str = ""
    zones: tuple[str, ...]
    minutes: int = 0
    """Of each number in a month, for all zones together; 0: no bound."""


def billed_seconds(rate: Rate, seconds: int) -> int:
    """Seconds that a call of ``seconds`` is billed; 0 for a call that was not answered."""
    if seconds <= 0:
        return 0
    step = max(rate.increment_seconds, 1)
    return -(-max(seconds, rate.minimum_seconds) // step) * step


def cost(rate: Rate, seconds: int) -> Money:
    """Price of a call, each begun millionth counted; 0 for a call that was not answered."""
    billed = billed_seconds(rate, seconds)
    return Money(rate.connection - (-rate.per_minute * billed // 60)) if billed else ZERO


class PriceBook:
    """All rates and packages; one object for the life of a process, `replace` exchanges the content."""

    __slots__ = ("_by_ref", "_packages", "_sizes", "_tables", "version")

    def __init__(
        self, rates: Iterable[Rate] = (), packages: Iterable[Package] = (), *, version: int = 0
    ) -> None:
        self.replace(rates, packages, version=version)

    def replace(self, rates: Iterable[Rate], packages: Iterable[Package], *, version: int) -> None:
        tables: dict[str, dict[str, list[Rate]]] = {}
        self._by_ref = {rate.ref: rate for rate in rates}
        for rate in self._by_ref.values():
            tables.setdefault(rate.table, {}).setdefault(rate.prefix, []).append(rate)
        for table in tables.values():
            for same in table.values():
                same.sort(key=_valid_from, reverse=True)
        self._tables: Mapping[str, Mapping[str, list[Rate]]] = tables
        self._sizes = {name: max(map(len, table)) for name, table in tables.items()}
        self._packages = {package.ref: package for package in packages}
        self.version = version

    def has(self, table: str) -> bool:
        """Whether there is any rate in the table: without one, calls have no price and need none."""
        return table in self._tables

    def rate(self, table: str, number: str, day: str) -> Rate | None:
        """The rate of a number in E.164 on a day (``2027-01-31``); None when the table has none."""
        prefixes = self._tables.get(table)
        if prefixes is None:
            return None
        for size in range(min(len(number), self._sizes[table]), 0, -1):
            for rate in prefixes.get(number[:size], ()):
                if rate.valid_from <= day:
                    return rate
        return None

    def get(self, ref: str) -> Rate | None:
        """The rate of a natural key."""
        return self._by_ref.get(ref)

    def package(self, ref: str) -> Package | None:
        return self._packages.get(ref)

    def packages(self) -> tuple[Package, ...]:
        """Every package in the order of refs."""
        return tuple(package for _, package in sorted(self._packages.items()))

    def __len__(self) -> int:
        return sum(len(same) for table in self._tables.values() for same in table.values())


def _valid_from(rate: Rate) -> str:
    return rate.valid_from
