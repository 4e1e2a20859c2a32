"""Reading the file of a national numbering plan, with complaints that name the file and the key.  Pure.

A prefix may be written as a range of equally long ones (``80-82``) and with ``x`` for any digit (``2xx976``).
Of short numbers, those written singly go before the ranges that they lie in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Final

from numbering.plans import (
    LABELS,
    MAX_SHORT,
    SEEN,
    SHORT_CLASSES,
    NumberClass,
    NumberingPlan,
    Overseas,
    PlanError,
    Source,
)

_KEYS: Final = frozenset(
    {
        "country",
        "code",
        "also",
        "checked",
        "complete",
        "emergency",
        "sources",
        "short",
        "ranges",
        "labels",
        "lengths",
        "porting",
        "overseas",
        "fiction",
    }
)
_SHORT_KEYS: Final = {"free": NumberClass.FREE_SHORT, "priced": NumberClass.PRICED_SHORT}
_PATTERN: Final = re.compile(r"[0-9x]{1,9}|([0-9]{1,9})-([0-9]{1,9})")
_MAX_EXPANDED: Final = 10_000


def expand(pattern: str) -> Iterator[str]:
    """All digit strings that a pattern stands for.  Raises ValueError."""
    match = _PATTERN.fullmatch(pattern)
    if match is None:
        raise ValueError(f"{pattern!r} is neither digits (x is any) nor a range like 80-82")
    first, last = match.group(1), match.group(2)
    if first is None:
        wild = pattern.count("x")
        if 10**wild > _MAX_EXPANDED:
            raise ValueError(f"{pattern!r} stands for too many")
        template = pattern.replace("x", "{}")
        for value in range(10**wild):
            yield template.format(*f"{value:0{wild}d}") if wild else pattern
        return
    if len(first) != len(last) or first > last:
        raise ValueError(f"{pattern!r} does not run from a lower to a higher number of the same length")
    if int(last) - int(first) >= _MAX_EXPANDED:
        raise ValueError(f"{pattern!r} stands for too many")
    for value in range(int(first), int(last) + 1):
        yield f"{value:0{len(first)}d}"


class _Reading:
    """One document being read; complaints name the file and the key."""

    def __init__(self, name: str, document: Mapping[str, Any]) -> None:
        self._name = name
        self._document = document

    def fail(self, key: str, what: str) -> PlanError:
        return PlanError(f"{self._name}: {key}: {what}")

    def get(self, key: str, kind: type, default: Any = None) -> Any:
        value = self._document.get(key, default)
        if value is None:
            raise self.fail(key, "is missing")
        if not isinstance(value, kind):
            raise self.fail(key, f"{value!r} is not what belongs here")
        return value

    def patterns(self, key: str, value: Any) -> Iterator[tuple[str, bool]]:
        """Digits, and whether they were written as a single number."""
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.fail(key, 'a list of texts belongs here, ["80-82"]')
        for item in value:
            try:
                for digits in expand(item):
                    yield digits, digits == item
            except ValueError as error:
                raise self.fail(key, str(error)) from None

    def number_class(self, key: str, name: Any) -> NumberClass:
        known = [each.value for each in NumberClass if each not in SHORT_CLASSES]
        if name not in known:
            raise self.fail(key, f"{name!r} is none of {', '.join(known)}")
        return NumberClass(name)

    def ranges(self, key: str, value: Any) -> dict[str, NumberClass]:
        found: dict[str, NumberClass] = {}
        if not isinstance(value, dict):
            raise self.fail(key, "a table of classes belongs here")
        for name, items in value.items():
            number_class = self.number_class(key, name)
            for digits, _ in self.patterns(f"{key}.{name}", items):
                if digits in found:
                    raise self.fail(f"{key}.{name}", f"{digits} is in a class already")
                found[digits] = number_class
        return found

    def shorts(self) -> dict[str, NumberClass]:
        single: dict[str, NumberClass] = {}
        ranged: dict[str, NumberClass] = {}
        for key, value in self.get("short", dict, {}).items():
            if key not in _SHORT_KEYS:
                raise self.fail(f"short.{key}", f"is none of {', '.join(_SHORT_KEYS)}")
            for digits, alone in self.patterns(f"short.{key}", value):
                self._short(f"short.{key}", digits)
                table = single if alone else ranged
                if digits in table:
                    raise self.fail(f"short.{key}", f"{digits} is in a class already")
                table[digits] = _SHORT_KEYS[key]
        found = ranged | single
        emergency = list(self.patterns("emergency", self.get("emergency", list)))
        if not emergency:
            raise self.fail("emergency", "every country has an emergency number")
        for digits, _ in emergency:
            self._short("emergency", digits)
            found[digits] = NumberClass.EMERGENCY
        return found

    def _short(self, key: str, digits: str) -> None:
        if not 2 <= len(digits) <= MAX_SHORT:
            raise self.fail(key, f"{digits} has not 2 to {MAX_SHORT} digits")

    def sources(self) -> tuple[Source, ...]:
        found: list[Source] = []
        for item in self.get("sources", list):
            inner = _Reading(f"{self._name}: sources", item if isinstance(item, dict) else {})
            source = Source(
                title=inner.get("title", str),
                date=inner.get("date", date),
                covers=inner.get("covers", str),
                seen=inner.get("seen", str),
            )
            if source.seen not in SEEN:
                raise inner.fail("seen", f"{source.seen!r} is none of {', '.join(SEEN)}")
            found.append(source)
        if not found:
            raise self.fail("sources", "a table has a source")
        return tuple(found)

    def overseas(self, own: Mapping[str, NumberClass]) -> dict[str, tuple[Overseas, NumberClass]]:
        found: dict[str, tuple[Overseas, NumberClass]] = {}
        for item in self.get("overseas", list, []):
            inner = _Reading(f"{self._name}: overseas", item if isinstance(item, dict) else {})
            place = Overseas(
                territory=inner.get("territory", str),
                code=inner.get("code", str),
                strip=inner.get("strip", str, ""),
            )
            for digits, number_class in inner.ranges("ranges", inner.get("ranges", dict)).items():
                if digits in found or digits in own:
                    raise inner.fail("ranges", f"{digits} is in a class already")
                found[digits] = place, number_class
        return found

    def labels(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for label, items in self.get("labels", dict, {}).items():
            if label not in LABELS:
                raise self.fail(f"labels.{label}", f"is none of {', '.join(LABELS)}")
            found.update((digits, label) for digits, _ in self.patterns(f"labels.{label}", items))
        return found

    def lengths(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for prefix, value in self.get("lengths", dict, {}).items():
            good = isinstance(value, list) and value and all(type(n) is int and 4 <= n <= 14 for n in value)
            if not prefix.isdigit() or not good:
                raise self.fail(f"lengths.{prefix}", "lengths from 4 to 14 belong here, [13]")
            found[prefix] = tuple(value)
        return found


def parse(name: str, document: Mapping[str, Any]) -> NumberingPlan:
    """A plan from a document; ``name`` is the file's, for complaints.  Raises PlanError."""
    reading = _Reading(name, document)
    unknown = sorted(set(document) - _KEYS)
    if unknown:
        raise reading.fail(unknown[0], "unknown key")
    country, code = reading.get("country", str), reading.get("code", str)
    also = tuple(reading.get("also", list, []))
    for each in (country, *also):
        if not isinstance(each, str) or re.fullmatch(r"[A-Z]{2}", each) is None:
            raise reading.fail("country", f"{each!r} is no ISO 3166 alpha-2 code")
    if re.fullmatch(r"[1-9][0-9]{0,2}", code) is None:
        raise reading.fail("code", f"{code!r} is no country code")
    ranges = reading.ranges("ranges", reading.get("ranges", dict, {}))
    overseas = reading.overseas(ranges)
    own_again = {digits for digits in ranges if any(digits.startswith(other) for other in overseas)}
    porting = reading.get("porting", dict, {}).get("prefixes", [])
    fiction = document.get("fiction")
    return NumberingPlan(
        country=country,
        code=code,
        also=also,
        checked=reading.get("checked", date),
        sources=reading.sources(),
        complete=reading.get("complete", bool, False),
        shorts=reading.shorts(),
        ranges=ranges,
        overseas_ranges=overseas,
        own_again=frozenset(own_again),
        overseas_sizes=tuple(sorted({len(digits) for digits in own_again.union(overseas)}, reverse=True)),
        lengths=reading.lengths(),
        labels=reading.labels(),
        porting=frozenset(digits for digits, _ in reading.patterns("porting.prefixes", porting)),
        fiction=None if fiction is None else reading.number_class("fiction", fiction),
    )
