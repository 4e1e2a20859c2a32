"""Rates and packages: what calls cost, and minutes that accounts have bought (OUT-06).

Operators write them.  A manager reads what concerns its account: the rates of the table that its plan names, and
the packages that it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import FastAPI, Query
from fastapi.responses import Response
from pydantic import ConfigDict, Field

from callcontrol.access.tokens import Principal, Scope
from callcontrol.api.bodies import Body, Ref, Text
from callcontrol.api.changing import Changes
from callcontrol.api.door import Who
from callcontrol.api.etags import IfMatch, etag
from callcontrol.api.pages import DEFAULT_PAGE, Cursor, Limit, Page, after_key, page_by_key
from callcontrol.api.problems import not_found
from callcontrol.api.routing import MANAGERS, OPERATOR, Routes
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from callcontrol.pricing.rates import Package, Rate
from numbering.money import written

TABLE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$"
ZONE_PATTERN = r"^[a-z][a-z0-9_]{0,31}$"
Amount = Annotated[str, Field(max_length=24, pattern=r"^\d+(\.\d{1,6})?$", examples=["0.05"])]
Zone = Annotated[str, Field(pattern=ZONE_PATTERN, examples=["europe"])]


class RateChange(Body):
    """Fields of a rate; null puts one back to its default.  Table, prefix and day are its name and stay."""

    per_minute: Amount | None = None
    connection: Amount | None = None
    """Once, when the call is answered."""
    minimum_seconds: Annotated[int, Field(ge=0, le=3600)] | None = None
    increment_seconds: Annotated[int, Field(ge=1, le=3600)] | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    zone: Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]{0,31})?$")] | None = None


class NewRate(RateChange):
    """What calls to the numbers of one prefix cost."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"prefix": "+44", "per_minute": "0.05", "connection": "0.10"}]}
    )

    prefix: Annotated[str, Field(pattern=r"^\+\d{0,15}$", examples=["+44"])]
    table: Annotated[str, Field(pattern=TABLE_PATTERN)] | None = None
    per_minute: Amount
    valid_from: Annotated[str, Field(pattern=r"^(\d{4}-\d\d-\d\d)?$", examples=["2027-01-01"])] | None = None
    """First day, UTC; of rates with the same prefix the latest that is in force counts."""


class PackageChange(Body):
    """Fields of a package; null puts one back to its default."""

    name: Text | None = None
    zones: Annotated[list[Zone], Field(min_length=1, max_length=100)] | None = None
    minutes: Annotated[int, Field(ge=0, le=1_000_000)] | None = None


class NewPackage(PackageChange):
    """Minutes to zones that accounts may have on top of their plans."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ref": "europe-600", "zones": ["europe"], "minutes": 600}]}
    )

    ref: Ref
    zones: Annotated[list[Zone], Field(min_length=1, max_length=100)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RateView:
    """What calls to the numbers of one prefix cost; amounts are decimal text."""

    ref: str
    """``table/prefix``, or ``table/prefix/day``: its name in paths."""
    table: str
    prefix: str
    valid_from: str
    """First day, UTC; empty: always."""
    per_minute: str
    connection: str
    minimum_seconds: int
    increment_seconds: int
    currency: str
    zone: str
    """Empty: the zone of its country."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageView:
    """Minutes to zones that accounts may have on top of their plans."""

    ref: str
    name: str
    zones: tuple[str, ...]
    minutes: int
    """Of each number in a month, for all its zones together; 0: without bound."""


def rate_view(rate: Rate) -> RateView:
    return RateView(
        ref=rate.ref,
        table=rate.table,
        prefix=rate.prefix,
        valid_from=rate.valid_from,
        per_minute=written(rate.per_minute),
        connection=written(rate.connection),
        minimum_seconds=rate.minimum_seconds,
        increment_seconds=rate.increment_seconds,
        currency=rate.currency,
        zone=rate.zone,
    )


def package_view(package: Package) -> PackageView:
    return PackageView(ref=package.ref, name=package.name, zones=package.zones, minutes=package.minutes)


def add_to(api: FastAPI, services: Services, sight: Sight) -> None:
    _rates(api, services, sight)
    _packages(api, services, sight)


def _rates(api: FastAPI, services: Services, sight: Sight) -> None:
    routes = Routes(api, "rates")
    changes = Changes(services, sight, "rate", "rate", rate_view, "/v1/rates/{}")

    def table_of(who: Principal) -> str:
        """The table by which a manager's account pays; empty: it has none."""
        account = services.directory.account(who.account)
        plan = services.directory.limits_of(account) if account is not None else None
        return plan.rates if plan is not None else ""

    def there(who: Principal, ref: str) -> Rate:
        rate = services.prices.get(ref)
        if rate is None or (who.scope is not Scope.OPERATOR and rate.table != table_of(who)):
            raise not_found("rate")
        return rate

    @routes.get("/v1/rates", MANAGERS)
    async def rates(
        who: Who,
        limit: Limit = DEFAULT_PAGE,
        cursor: Cursor = "",
        table: Annotated[str | None, Query(pattern=TABLE_PATTERN, description="Only of this table.")] = None,
        prefix: Annotated[
            str | None, Query(pattern=r"^\+\d{0,15}$", description="Only of this very prefix.")
        ] = None,
    ) -> Page[RateView]:
        """Rates in the order of their names; a manager sees the table that its plan pays by."""
        after = after_key(cursor)
        if who.scope is not Scope.OPERATOR:
            own = table_of(who)
            if table not in (None, own):
                return Page(items=())
            table = own
        where: dict[str, str | None] = {}
        if table is not None:
            where["table"] = table
        if prefix is not None:
            where["prefix"] = prefix
        found = await services.pages.page("rate", limit + 1, after=after, where=where)
        return page_by_key([rate_view(rate) for rate in found], limit, lambda view: view.ref)

    @routes.post("/v1/rates", OPERATOR)
    async def create_rate(who: Who, body: NewRate, response: Response) -> RateView:
        """Make a rate; calls are priced by it at once, or from its first day on."""
        view: RateView = await changes.create(who, body.given(), response)
        return view

    @routes.get("/v1/rates/{ref:path}", MANAGERS, problems=[404])
    async def rate(who: Who, ref: str, response: Response) -> RateView:
        """One rate, by its name: ``standard/+44``."""
        view = rate_view(there(who, ref))
        response.headers["ETag"] = etag(view)
        return view

    @routes.patch("/v1/rates/{ref:path}", OPERATOR, problems=[404, 412])
    async def change_rate(
        who: Who, ref: str, body: RateChange, response: Response, if_match: IfMatch = ""
    ) -> RateView:
        """Change fields of a rate (RFC 7396); a price that is to change on a day is a rate of its own."""
        there(who, ref)
        view: RateView = await changes.change(who, ref, body.given(), if_match, response)
        return view

    @routes.delete("/v1/rates/{ref:path}", OPERATOR, problems=[404, 412])
    async def remove_rate(who: Who, ref: str, if_match: IfMatch = "") -> Response:
        """Remove a rate: its numbers then have the price of the next shorter prefix, or none."""
        there(who, ref)
        return await changes.remove(who, ref, if_match)


def _packages(api: FastAPI, services: Services, sight: Sight) -> None:
    routes = Routes(api, "packages")
    changes = Changes(services, sight, "package", "package", package_view, "/v1/packages/{}")

    def bought(who: Principal) -> tuple[str, ...]:
        account = services.directory.account(who.account)
        return account.packages if account is not None else ()

    def there(who: Principal, ref: str) -> Package:
        package = services.prices.package(ref)
        if package is None or (who.scope is not Scope.OPERATOR and ref not in bought(who)):
            raise not_found("package")
        return package

    @routes.get("/v1/packages", MANAGERS)
    async def packages(who: Who, limit: Limit = DEFAULT_PAGE, cursor: Cursor = "") -> Page[PackageView]:
        """Packages in the order of their refs; a manager sees those of its account."""
        after = after_key(cursor)
        if who.scope is Scope.OPERATOR:
            found = await services.pages.page("package", limit + 1, after=after, where={})
        else:
            own = [services.prices.package(ref) for ref in sorted(bought(who)) if ref > after]
            found = [package for package in own if package is not None][: limit + 1]
        return page_by_key([package_view(package) for package in found], limit, lambda view: view.ref)

    @routes.post("/v1/packages", OPERATOR)
    async def create_package(who: Who, body: NewPackage, response: Response) -> PackageView:
        """Make a package; accounts name it in their ``packages``."""
        view: PackageView = await changes.create(who, body.given(), response)
        return view

    @routes.get("/v1/packages/{ref}", MANAGERS, problems=[404])
    async def package(who: Who, ref: str, response: Response) -> PackageView:
        """One package."""
        view = package_view(there(who, ref))
        response.headers["ETag"] = etag(view)
        return view

    @routes.patch("/v1/packages/{ref}", OPERATOR, problems=[404, 412])
    async def change_package(
        who: Who, ref: str, body: PackageChange, response: Response, if_match: IfMatch = ""
    ) -> PackageView:
        """Change fields of a package (RFC 7396), for all accounts that have it."""
        there(who, ref)
        view: PackageView = await changes.change(who, ref, body.given(), if_match, response)
        return view

    @routes.delete("/v1/packages/{ref}", OPERATOR, problems=[404, 409, 412])
    async def remove_package(who: Who, ref: str, if_match: IfMatch = "") -> Response:
        """Remove a package that no account has any more."""
        there(who, ref)
        return await changes.remove(who, ref, if_match)
