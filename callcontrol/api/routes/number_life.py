"""The life of numbers (NUM): finding, reserving, assigning, giving up and taking back, suspension, renewal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import FastAPI, Query
from fastapi.responses import Response
from pydantic import ConfigDict, Field

from callcontrol.access.tokens import Principal, Scope
from callcontrol.api.bodies import REF_PATTERN, Body, Number, Ref
from callcontrol.api.changing import unknown
from callcontrol.api.door import Who
from callcontrol.api.etags import IfMatch, etag
from callcontrol.api.life import Desk, asked
from callcontrol.api.pages import DEFAULT_PAGE, Cursor, Limit, Page, after_key, read_cursor, write_cursor
from callcontrol.api.routing import MANAGERS, OPERATOR, USERS, Routes
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from callcontrol.api.views import NumberView, number_view
from callcontrol.node_view import Instant
from numbering.e164 import country_of
from numbering.inventory import MAX_AT_ONCE
from numbering.models import CloudNumber
from numbering.policy import COUNTRIES

Reason = Annotated[
    str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$")
]
When = Annotated[datetime, Field(strict=False)]
Several = Annotated[list[Number], Field(min_length=1, max_length=MAX_AT_ONCE)]


class Stock(Body):
    """Numbers that come into the stock, all or none."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"numbers": ["+33639981010", "+33639981011"]}]})

    numbers: Several
    category: Annotated[str, Field(pattern="^(standard|vip)?$")] = ""
    """Empty: by how easy the digits are to remember."""


class Reservation(Body):
    """Numbers to be kept for a user for a while, all or none."""

    numbers: Several
    user: Ref
    seconds: Annotated[float, Field(ge=0, le=31_536_000, strict=False)] = 0.0
    """0: as the settings say."""


class Assignment(Body):
    """Who gets the number."""

    user: Ref
    expires_at: When | None = None
    """When the subscription ends; null: it does not."""


class Reassignment(Body):
    """Which user of the same company gets the number."""

    user: Ref
    with_history: bool = False


class Because(Body):
    """Why it is done."""

    reason: Reason | None = None


class Suspension(Body):
    """Why the number is suspended: fraud, unpaid, territory, false_identity or other, and details after a colon."""

    reason: Reason


class Renewal(Body):
    """Until when the subscription runs."""

    expires_at: When | None = None
    """null: without end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundView:
    """A number that may be had."""

    e164: str
    category: str
    score: int
    """How easy it is to remember, 0 to 100."""
    formerly_yours: bool
    """The user has given it up and may take it back."""
    national: bool | None
    """Of the country where the user's SIM is at home; null: no user is asked about."""
    capabilities: tuple[str, ...]
    """What numbers of its country can do: ``calls``, ``messages``, ``voicemail``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberEventView:
    """Something that happened to a number."""

    id: int
    at: Instant
    actor: str
    reason: str
    action: str


def _stamp(when: datetime | None) -> float:
    return when.timestamp() if when is not None else 0.0


def add_to(api: FastAPI, services: Services, sight: Sight) -> None:
    _finding(api, services, sight)
    _stock(api, services, sight)
    _holders(api, services, sight)


def _theirs(who: Principal, sight: Sight, user: str) -> None:
    if not sight.sees_user_ref(who, user):
        raise unknown("user", "user", user)


def _finding(api: FastAPI, services: Services, sight: Sight) -> None:
    routes = Routes(api, "numbers")
    desk = Desk(services, sight)

    @routes.get("/v1/available-numbers", USERS)
    async def available(
        who: Who,
        limit: Limit = DEFAULT_PAGE,
        cursor: Cursor = "",
        user: Annotated[str | None, Query(pattern=REF_PATTERN, description="For whom.")] = None,
        country: Annotated[str, Query(pattern=r"^([A-Z]{2})?$", description="ISO 3166.")] = "",
        category: Annotated[str, Query(pattern="^(standard|vip)?$")] = "",
        pattern: Annotated[
            str,
            Query(
                max_length=32,
                pattern=r"^[0-9+?xX* .-]*$",
                description="Digits; `?` is one digit, `*` any number of them.",
            ),
        ] = "",
        min_score: Annotated[int, Query(ge=0, le=100, description="How easy to remember.")] = 0,
    ) -> Page[FoundView]:
        """Numbers that may be had, ascending; first those that the user has given up and may take back (NUM-07)."""
        whom = who.user if who.scope is Scope.USER and user is None else user or ""
        if whom:
            _theirs(who, sight, whom)
        found = await asked(
            desk.inventory.finder.search(
                user=whom,
                country=country,
                category=category,
                pattern=pattern,
                min_score=min_score,
                after=after_key(cursor),
                limit=limit + 1,
            )
        )
        items = tuple(
            FoundView(
                e164=each.number.e164,
                category=each.number.category,
                score=each.score,
                formerly_yours=each.formerly_yours,
                national=each.national,
                capabilities=COUNTRIES.of(country_of(each.number.e164)).capabilities,
            )
            for each in found[:limit]
        )
        free = [item.e164 for item in items if not item.formerly_yours]
        more = len(found) > limit and free
        return Page(items=items, next_cursor=write_cursor(free[-1]) if more else "")

    @routes.get("/v1/available-runs", MANAGERS)
    async def available_runs(
        length: Annotated[int, Query(ge=2, le=1000, description="How many in a row.")],
        country: Annotated[str, Query(pattern=r"^([A-Z]{2})?$", description="ISO 3166.")] = "",
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> tuple[tuple[str, ...], ...]:
        """Runs of consecutive numbers that may be had (NUM-07)."""
        found = await asked(desk.inventory.finder.search_runs(length, country=country, limit=limit))
        return tuple(tuple(run) for run in found)

    @routes.get("/v1/numbers/{e164}/history", OPERATOR, problems=[404])
    async def history(e164: str, limit: Limit = DEFAULT_PAGE, cursor: Cursor = "") -> Page[NumberEventView]:
        """What happened to a number, the latest first, also when it is ours no longer (NUM-04)."""
        before = int(read_cursor(cursor, int)[0]) if cursor else 0
        found = await asked(desk.inventory.history(e164, limit + 1, before))
        items = tuple(
            NumberEventView(id=place, at=each.at, actor=each.actor, reason=each.reason, action=each.action)
            for place, each in found[:limit]
        )
        return Page(items=items, next_cursor=write_cursor(items[-1].id) if len(found) > limit else "")


def _stock(api: FastAPI, services: Services, sight: Sight) -> None:
    routes = Routes(api, "numbers")
    desk = Desk(services, sight)

    @routes.post("/v1/stock", OPERATOR)
    async def add(who: Who, body: Stock) -> tuple[NumberView, ...]:
        """Bring numbers into the stock, from which they are reserved and assigned."""
        added = await desk.do(
            who,
            "add",
            "number",
            body.numbers[0],
            lambda: desk.inventory.add(body.numbers, category=body.category, actor=who.actor),
            detail=f"{len(body.numbers)} numbers",
        )
        return tuple(number_view(number) for number in added)

    @routes.delete("/v1/stock/{e164}", OPERATOR, problems=[404, 409])
    async def withdraw(who: Who, e164: str) -> Response:
        """Take a number out of the stock for good; nobody may hold it, or have it kept."""
        sight.number(who, e164)
        await desk.do(who, "withdraw", "number", e164, lambda: desk.inventory.withdraw(e164, actor=who.actor))
        return Response(status_code=204)

    @routes.post("/v1/reservations", MANAGERS)
    async def reserve(who: Who, body: Reservation) -> tuple[NumberView, ...]:
        """Keep numbers of the stock for a user for a while."""
        _theirs(who, sight, body.user)
        for number in body.numbers if who.scope is not Scope.OPERATOR else ():
            desk.obtainable(who, number)
        reserved = await desk.do(
            who,
            "reserve",
            "number",
            body.numbers[0],
            lambda: desk.inventory.reserve(body.numbers, body.user, actor=who.actor, seconds=body.seconds),
            user=body.user,
            detail=f"{len(body.numbers)} numbers for {body.user}",
        )
        return tuple(number_view(number) for number in reserved)

    @routes.delete("/v1/reservations/{e164}", MANAGERS, problems=[404, 409])
    async def unreserve(who: Who, e164: str) -> Response:
        """End a reservation early."""
        found = sight.number(who, e164)
        await desk.do(
            who,
            "unreserve",
            "number",
            e164,
            lambda: desk.inventory.unreserve(e164, actor=who.actor),
            user=found.kept_for,
        )
        return Response(status_code=204)


def _holders(api: FastAPI, services: Services, sight: Sight) -> None:
    routes = Routes(api, "numbers")
    desk = Desk(services, sight)

    async def change(
        who: Principal,
        found: CloudNumber,
        action: str,
        work: Callable[[int], Awaitable[CloudNumber]],
        response: Response,
        if_match: str,
        *,
        user: str = "",
        detail: str = "",
    ) -> NumberView:
        """Change a number, if it is the version that is meant; ``work`` is told that version.  ``user``: its holder afterwards."""
        version = desk.version(found, if_match)
        number = await desk.do(
            who,
            action,
            "number",
            found.e164,
            lambda: work(version),
            user=user or found.user,
            detail=detail,
        )
        view = number_view(number)
        response.headers["ETag"] = etag(view)
        return view

    @routes.post("/v1/numbers/{e164}/assign", MANAGERS, 200, problems=[404, 412])
    async def assign(
        who: Who, e164: str, body: Assignment, response: Response, if_match: IfMatch = ""
    ) -> NumberView:
        """Give a number of the stock, or one that is reserved for the user, its holder (NUM-02, NUM-03)."""
        found, user, until = desk.obtainable(who, e164), body.user, _stamp(body.expires_at)
        _theirs(who, sight, user)

        def work(version: int) -> Awaitable[CloudNumber]:
            return desk.inventory.assign(e164, user, actor=who.actor, expires_at=until, version=version)

        return await change(who, found, "assign", work, response, if_match, user=user, detail=f"to {user}")

    @routes.post("/v1/numbers/{e164}/reassign", MANAGERS, 200, problems=[404, 412])
    async def reassign(
        who: Who, e164: str, body: Reassignment, response: Response, if_match: IfMatch = ""
    ) -> NumberView:
        """Pass a number to another user of the company, with its history or without (NUM-06)."""
        found, user, history = sight.number(who, e164), body.user, body.with_history
        _theirs(who, sight, user)

        def work(version: int) -> Awaitable[CloudNumber]:
            return desk.inventory.reassign(e164, user, with_history=history, actor=who.actor, version=version)

        detail = f"from {found.user} to {user}"
        return await change(who, found, "reassign", work, response, if_match, user=user, detail=detail)

    @routes.post("/v1/numbers/{e164}/release", USERS, 200, problems=[404, 412])
    async def release(
        who: Who, e164: str, response: Response, body: Because | None = None, if_match: IfMatch = ""
    ) -> NumberView:
        """Give a number up: it goes into quarantine (NUM-05)."""
        found, reason = sight.number(who, e164), (body.reason if body is not None else None) or "released"

        def work(version: int) -> Awaitable[CloudNumber]:
            return desk.inventory.release(e164, actor=who.actor, reason=reason, version=version)

        return await change(who, found, "release", work, response, if_match, detail=reason)

    @routes.post("/v1/numbers/{e164}/take-back", USERS, 200, problems=[404, 412])
    async def take_back(
        who: Who, e164: str, body: Assignment, response: Response, if_match: IfMatch = ""
    ) -> NumberView:
        """Let the former holder have the number again, as a new one (NUM-05)."""
        found, user, until = sight.number(who, e164), body.user, _stamp(body.expires_at)
        _theirs(who, sight, user)

        def work(version: int) -> Awaitable[CloudNumber]:
            return desk.inventory.take_back(e164, user, actor=who.actor, expires_at=until, version=version)

        return await change(who, found, "take_back", work, response, if_match, user=user)

    @routes.post("/v1/numbers/{e164}/suspend", OPERATOR, 200, problems=[404, 412])
    async def suspend(
        who: Who, e164: str, body: Suspension, response: Response, if_match: IfMatch = ""
    ) -> NumberView:
        """No calls of this number, either way (NUM-13)."""
        found, reason = sight.number(who, e164), body.reason

        def work(version: int) -> Awaitable[CloudNumber]:
            return desk.inventory.suspend(e164, actor=who.actor, reason=reason, version=version)

        return await change(who, found, "suspend", work, response, if_match, detail=reason)

    @routes.post("/v1/numbers/{e164}/resume", OPERATOR, 200, problems=[404, 412])
    async def resume(
        who: Who, e164: str, response: Response, body: Because | None = None, if_match: IfMatch = ""
    ) -> NumberView:
        """End a suspension."""
        found, reason = sight.number(who, e164), (body.reason if body is not None else None) or "resumed"

        def work(version: int) -> Awaitable[CloudNumber]:
            return desk.inventory.resume(e164, actor=who.actor, reason=reason, version=version)

        return await change(who, found, "resume", work, response, if_match, detail=reason)

    @routes.post("/v1/numbers/{e164}/renew", OPERATOR, 200, problems=[404, 412])
    async def renew(
        who: Who, e164: str, body: Renewal, response: Response, if_match: IfMatch = ""
    ) -> NumberView:
        """Let the subscription run on (NUM-12)."""
        found, until = sight.number(who, e164), _stamp(body.expires_at)

        def work(version: int) -> Awaitable[CloudNumber]:
            return desk.inventory.renew(e164, until, actor=who.actor, version=version)

        return await change(who, found, "renew", work, response, if_match)
