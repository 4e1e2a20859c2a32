"""Finding numbers that may be had (NUM-07); a part of `numbering.inventory`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import phonenumbers

from numbering.e164 import country_of
from numbering.models import CloudNumber, NumberState
from numbering.refusal import Fault, Refused
from numbering.residence import sim_countries
from numbering.search import Pattern, read_pattern, runs
from numbering.store_inventory import InventoryStore, Look, Wanted
from numbering.vip import CATEGORIES, VipPolicy, score

_SCAN: Final = 500
"""Numbers that are read at a time."""

Company = Callable[[Look, str], Awaitable[str]]
"""Ref of the company that a user belongs to; empty: a consumer.  Raises Refused for an unknown user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A number that may be had."""

    number: CloudNumber
    score: int
    """How easy it is to remember, 0 to 100."""
    formerly_yours: bool = False
    """It rests in quarantine, and the user may take it back (NUM-05)."""
    national: bool | None = None
    """Of the country where the user's SIM is at home (NUM-08); None: no user is asked about."""


class Finder:
    """See the module."""

    def __init__(
        self,
        store: InventoryStore,
        vip: VipPolicy,
        company: Company,
        clock: Callable[[], float],
        sim_window_days: float,
    ) -> None:
        self._store = store
        self._vip = vip
        self._company = company
        self._clock = clock
        self._window_days = sim_window_days

    async def search(
        self,
        *,
        user: str = "",
        country: str = "",
        category: str = "",
        pattern: str = "",
        min_score: int = 0,
        after: str = "",
        limit: int = 50,
    ) -> Sequence[Found]:
        """Numbers that may be had, ascending; first those that ``user`` has given up and may take back.

        ``after``: the last number of the page before; the first page alone has the user's own.
        """
        wanted, shape = self._wanted(country, category, pattern)
        async with self._store.look() as look:
            own: list[CloudNumber] = []
            home: frozenset[str] | None = None
            if user:
                company = await self._company(look, user)
                home = sim_countries(await look.devices_of(user), self._clock(), self._window_days)
                if not after:
                    resting = replace(
                        wanted, states=(NumberState.QUARANTINED,), kept_for=user, kept_account=company
                    )
                    own = await self._matching(look, resting, shape, country, min_score, "", limit)
            rest = await self._matching(look, wanted, shape, country, min_score, after, limit - len(own))
        return [
            Found(
                number=number,
                score=score(number.e164, self._vip),
                formerly_yours=number.state is NumberState.QUARANTINED,
                national=None if home is None else country_of(number.e164) in home,
            )
            for number in (*own, *rest)
        ]

    async def search_runs(
        self, length: int, *, country: str = "", category: str = "", pattern: str = "", limit: int = 20
    ) -> Sequence[tuple[str, ...]]:
        """Runs of consecutive numbers that may be had."""
        wanted, shape = self._wanted(country, category, pattern)
        async with self._store.look() as look:
            free = await self._matching(look, wanted, shape, country, 0, "", None)
        found: list[tuple[str, ...]] = []
        for run in runs((number.e164 for number in free), length):
            found.append(run)
            if len(found) == limit:
                break
        return found

    def _wanted(self, country: str, category: str, pattern: str) -> tuple[Wanted, Pattern | None]:
        if category and category not in CATEGORIES:
            raise Refused(Fault.BAD_REQUEST, f"{category!r} is none of {', '.join(CATEGORIES)}")
        shape = read_pattern(pattern) if pattern else None
        prefixes = [f"+{code}" for code in _codes(country)] if country else []
        return (
            Wanted(
                states=(NumberState.AVAILABLE,),
                prefixes=prefixes,
                like="" if shape is None else shape.like(),
                category=category,
            ),
            shape,
        )

    async def _matching(
        self,
        look: Look,
        wanted: Wanted,
        shape: Pattern | None,
        country: str,
        min_score: int,
        after: str,
        limit: int | None,
    ) -> list[CloudNumber]:
        """What the database finds, without what only we can tell does not fit."""
        found: list[CloudNumber] = []
        while limit is None or len(found) < limit:
            page = await look.find(wanted, after, _SCAN)
            for number in page:
                if country and country_of(number.e164) != country:
                    continue
                if shape is not None and not shape.matches(number.e164):
                    continue
                if min_score and score(number.e164, self._vip) < min_score:
                    continue
                found.append(number)
            if len(page) < _SCAN:
                break
            after = page[-1].e164
        return found if limit is None else found[:limit]


def _codes(country: str) -> tuple[str, ...]:
    code = phonenumbers.country_code_for_region(country)
    if not code:
        raise Refused(Fault.BAD_REQUEST, f"{country!r} is no country: write FR")
    return (str(code),)
