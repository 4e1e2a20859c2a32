"""Zones: the groups of countries that plans, packages and prices speak of (OUT-06, OUT-08).  Pure.

A call is **national** when the number called, the number it is made with, and the SIM of the user are of one
country (NUM-08): a foreign cloud number is called from, and calls, abroad.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from numbering.e164 import country_of

NATIONAL: Final = "national"
WORLD: Final = "world"
"""Countries that no zone names."""
SPECIAL: Final = "special"
"""Numbers of no country: satellites, +800 and the like."""
RESERVED: Final = frozenset({NATIONAL, WORLD, SPECIAL})


class Zones:
    """Country -> zone."""

    __slots__ = ("_by_country", "names")

    def __init__(self, zones: Mapping[str, Sequence[str]]) -> None:
        """``zones``: name -> countries, ISO 3166 alpha-2; no country is in two of them."""
        self._by_country = {country: name for name, countries in zones.items() for country in countries}
        self.names = (*sorted(zones), NATIONAL, WORLD, SPECIAL)

    def of_country(self, country: str) -> str:
        return self._by_country.get(country, WORLD) if country else SPECIAL

    def of_call(self, number: str, called: str, homes: Collection[str] | None) -> str:
        """Zone of a call from one number in E.164 to another.

        ``homes``: countries of the user's SIMs; None: the user has no SIM, and every number is at home.
        """
        country = country_of(called)
        if country and country == country_of(number) and (homes is None or country in homes):
            return NATIONAL
        return self.of_country(country)
