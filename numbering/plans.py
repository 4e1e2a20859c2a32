"""National numbering plans: what a country's table says, and how a number is looked up in it.  Pure.

Digits are those that follow the country code (the national significant number, ITU-T E.164); the longest prefix
that a table has decides.  Short numbers are matched whole.  `numbering.planfile` reads the tables of
``numbering/national``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Final, TypeVar


class NumberClass(StrEnum):
    """What kind of destination a number is (OUT-04)."""

    EMERGENCY = "emergency"
    FREE_SHORT = "free_short"
    PRICED_SHORT = "priced_short"
    """A short number whose price its publisher sets."""
    UNKNOWN_SHORT = "unknown_short"
    TOLL_FREE = "toll_free"
    SHARED_COST = "shared_cost"
    PREMIUM = "premium"
    MOBILE = "mobile"
    FIXED = "fixed"
    FIXED_OR_MOBILE = "fixed_or_mobile"
    """The country's ranges do not tell which (North America, Denmark, Mexico)."""
    VOIP = "voip"
    MACHINE = "machine"
    """Machines and other things that are no person."""
    UNKNOWN = "unknown"
    """A number of full length in a range that nobody here knows: ranges are opened faster than told."""


COMMERCIAL: Final = "commercial"
"""Label of ranges that the regulator keeps for selling over the telephone."""
LABELS: Final = (COMMERCIAL,)
"""What a table may say of ranges beyond their class: calls from there may be refused (INC-02)."""

MAX_PREFIX: Final = 9
"""Digits of the longest prefix in a table."""
MAX_SHORT: Final = 6
"""Digits of the longest short number anywhere (116xxx, 118xxx)."""

SHORT_CLASSES: Final = frozenset(
    {
        NumberClass.EMERGENCY,
        NumberClass.FREE_SHORT,
        NumberClass.PRICED_SHORT,
        NumberClass.UNKNOWN_SHORT,
    }
)


class PlanError(Exception):
    """A table cannot be used; the message names the file, the key and what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overseas:
    """Where numbers dialled nationally belong that have a country code of their own."""

    territory: str
    code: str
    strip: str = ""
    """Digits of the national number that the country code replaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a table has its rows from."""

    title: str
    date: date
    covers: str
    seen: str
    """How far it was read when the table was written: a word of ``SEEN``."""


SEEN: Final = ("text", "excerpt", "quoted", "library", "unseen")
"""In whole (the parts that matter), in part, as quoted by others, by its data, not at all: to be checked against
the source before the country is launched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberingPlan:
    """One country's table."""

    country: str
    code: str
    also: tuple[str, ...] = ()
    """Countries with the same short and emergency numbers."""
    checked: date
    sources: tuple[Source, ...]
    complete: bool = False
    """What the table does not name as a short number is none; else the library is asked."""
    shorts: Mapping[str, NumberClass] = field(default_factory=dict)
    ranges: Mapping[str, NumberClass] = field(default_factory=dict)
    """Prefix -> class; prefixes of overseas territories are in ``overseas_ranges``."""
    overseas_ranges: Mapping[str, tuple[Overseas, NumberClass]] = field(default_factory=dict)
    own_again: frozenset[str] = frozenset()
    """Prefixes of the country itself within ranges of a territory."""
    overseas_sizes: tuple[int, ...] = ()
    """Lengths of the prefixes of both, the longest first."""
    lengths: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Prefix -> lengths that its numbers have, where it is not the usual one."""
    porting: frozenset[str] = frozenset()
    """What carriers put before ported numbers."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Prefix -> word of ``LABELS``; numbers overseas that keep their national digits have those of the country."""
    fiction: NumberClass | None = None
    """Class of numbers kept for fiction whose range names none."""

    def has_length(self, national: str) -> bool:
        """Whether a national significant number has a length that only its own range has."""
        return any(
            len(national) in sizes for prefix, sizes in self.lengths.items() if national.startswith(prefix)
        )

    def class_of(self, national: str) -> NumberClass | None:
        """Class of a national significant number by its range; None: the table does not say."""
        for size in range(min(len(national), MAX_PREFIX), 0, -1):
            prefix = national[:size]
            found = self.ranges.get(prefix)
            if found is not None and len(national) in self.lengths.get(prefix, (len(national),)):
                return found
        return None

    def overseas_of(self, national: str) -> Overseas | None:
        """The territory that a national significant number is of; None: the country itself."""
        for size in self.overseas_sizes:
            prefix = national[:size]
            if prefix in self.own_again:
                return None
            found = self.overseas_ranges.get(prefix)
            if found is not None:
                return found[0]
        return None

    def without_porting_prefix(self, national: str) -> str:
        """The number behind a carrier's routing prefix, without trunk prefix; empty when there is none."""
        for size in range(min(len(national), MAX_PREFIX), 0, -1):
            if national[:size] in self.porting:
                return national[size:].removeprefix("0")
        return ""


Found = TypeVar("Found")


def by_prefix(table: Mapping[str, Found], digits: str, longest: int = MAX_PREFIX) -> Found | None:
    """What a table says of the longest prefix of the digits that it has, up to ``longest``."""
    for size in range(min(len(digits), longest), 0, -1):
        found = table.get(digits[:size])
        if found is not None:
            return found
    return None


class Plans:
    """All plans: by country for short numbers, by country code for the others."""

    def __init__(self, plans: Iterable[NumberingPlan]) -> None:
        self._by_country: dict[str, NumberingPlan] = {}
        self._by_code: dict[str, NumberingPlan] = {}
        self._labels: dict[str, Mapping[str, str]] = {}
        """Country code -> prefix -> label."""
        self.territories: dict[str, dict[str, tuple[str, NumberClass]]] = {}
        """Country code of a territory -> prefix -> territory and class."""
        for plan in plans:
            for country in (plan.country, *plan.also):
                if country in self._by_country:
                    raise PlanError(f"{plan.country}.toml: country: {country} has a table already")
                self._by_country[country] = plan
            self._add_ranges(plan)

    def _add_ranges(self, plan: NumberingPlan) -> None:
        if not (plan.ranges or plan.overseas_ranges or plan.porting or plan.lengths):
            return
        if plan.code in self._by_code:
            other = self._by_code[plan.code].country
            raise PlanError(f"{plan.country}.toml: ranges: those of +{plan.code} stand in {other}.toml")
        self._by_code[plan.code] = plan
        if plan.labels:
            codes = {place.code for place, _ in plan.overseas_ranges.values() if not place.strip}
            for code in (plan.code, *codes):
                self._labels[code] = plan.labels
        for digits, (place, number_class) in plan.overseas_ranges.items():
            # Where the country code replaces the whole prefix, nothing is left to know the number by.
            kept = digits.removeprefix(place.strip) if place.strip else digits
            if kept:
                self.territories.setdefault(place.code, {})[kept] = (place.territory, number_class)

    def of_country(self, country: str) -> NumberingPlan | None:
        return self._by_country.get(country)

    def of_code(self, code: str) -> NumberingPlan | None:
        """The plan that holds the ranges of a country code."""
        return self._by_code.get(code)

    def label_of(self, code: str, national: str) -> str:
        """The label of a range; empty: it has none."""
        labels = self._labels.get(code)
        return "" if labels is None else by_prefix(labels, national) or ""

    def all(self) -> tuple[NumberingPlan, ...]:
        return tuple(plan for country, plan in self._by_country.items() if country == plan.country)
