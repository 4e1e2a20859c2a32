"""Trunks: how they are, and how they are set up; and the gateway numbers on them.  For operators alone."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query
from fastapi.responses import Response
from pydantic import ConfigDict, Field

from callcontrol.api.bodies import REF_PATTERN, Body, Number, Ref, Secret
from callcontrol.api.changing import Changes
from callcontrol.api.door import Who
from callcontrol.api.etags import IfMatch, etag
from callcontrol.api.pages import DEFAULT_PAGE, Cursor, Limit, Page, after_key, page_by_key, smallest
from callcontrol.api.problems import Problem, not_found
from callcontrol.api.routing import OPERATOR, Routes
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from callcontrol.trunk_types import RouteList, TrunkView
from gateway.gateway_numbers import GatewayKind, GatewayNumber
from gateway.profile import DiversionHeader, IdentityHeader, PrivacyForm, RuleAction
from gateway.trunk import NumberFormat, Trunk

Word = Annotated[str, Field(max_length=255)]
Whole = Annotated[int, Field(ge=0, le=1_000_000)]
Amount = Annotated[float, Field(ge=0, le=100_000, strict=False)]
Country = Annotated[str, Field(pattern=r"^([A-Z]{2})?$", examples=["FR"])]


class PricedPrefix(Body):
    prefix: Annotated[str, Field(pattern=r"^\+\d{0,15}$")]
    cost: Annotated[float, Field(ge=0, strict=False)] = 0.0
    """Per minute, in the currency of the platform."""


class PeerEntry(Body):
    """A peer with its share of the calls."""

    uri: Word
    weight: Annotated[int, Field(ge=0, le=10_000)] = 100
    """Share of calls among the peers of the same priority; 0: only when the others cannot."""
    priority: Annotated[int, Field(ge=0, le=10_000)] = 10
    """Lower is tried first."""


class Rule(Body):
    """A change of the INVITEs that go to the carrier."""

    action: Annotated[RuleAction, Field(strict=False)]
    name: Word
    value: Annotated[str, Field(max_length=512)] = ""


class TrunkChange(Body):
    """Fields of a trunk; null puts one back to its default."""

    preset: Word | None = None
    peers: Annotated[list[Word], Field(max_length=100)] | None = None
    """Tried in this order."""
    peer: Annotated[list[PeerEntry], Field(max_length=100)] | None = None
    """Peers with their shares of the calls, instead of ``peers``."""
    accept_from: Annotated[list[Word], Field(max_length=1000)] | None = None
    port_must_match: bool | None = None
    username: Word | None = None
    auth_username: Word | None = None
    password: Secret | None = None
    prefixes: Annotated[list[str | PricedPrefix], Field(max_length=10_000)] | None = None
    priority: Annotated[int, Field(ge=0, le=10_000)] | None = None
    weight: Annotated[int, Field(ge=0, le=10_000)] | None = None
    max_channels: Whole | None = None
    max_cps: Amount | None = None
    number_format: Annotated[NumberFormat, Field(strict=False)] | None = None
    caller_format: Annotated[NumberFormat, Field(strict=False)] | None = None
    country: Country | None = None
    options_seconds: Annotated[float, Field(ge=0, le=86_400, strict=False)] | None = None
    identity: Annotated[IdentityHeader, Field(strict=False)] | None = None
    trusted: bool | None = None
    privacy: Annotated[PrivacyForm, Field(strict=False)] | None = None
    diversion: Annotated[DiversionHeader, Field(strict=False)] | None = None
    domain: Word | None = None
    host: Word | None = None
    headers: Annotated[list[Rule], Field(max_length=16)] | None = None
    register_: Annotated[bool | None, Field(alias="register")] = None
    registrar: Word | None = None
    register_seconds: Annotated[int, Field(ge=60, le=86_400)] | None = None

    def given(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True, mode="json", by_alias=True)


class NewTrunk(TrunkChange):
    """An agreement with a carrier."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "ref": "carrier-b",
                    "peers": ["sip:127.0.0.1:5090;transport=udp"],
                    "accept_from": ["127.0.0.2/32"],
                    "prefixes": ["+", {"prefix": "+33", "cost": 0.012}],
                    "max_channels": 100,
                }
            ]
        }
    )

    ref: Ref


class GatewayNumberChange(Body):
    """Fields of a gateway number; null puts one back to its default."""

    trunk: Ref | None = None
    kind: Annotated[GatewayKind, Field(strict=False)] | None = None
    country: Country | None = None


class NewGatewayNumber(GatewayNumberChange):
    """A number of the platform that SIMs dial, or that calls them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"e164": "+33199000002", "trunk": "carrier-a", "kind": "call_through"}]
        }
    )

    e164: Number
    trunk: Ref


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixView:
    """Numbers that a trunk terminates, and what a minute costs."""

    prefix: str
    cost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerShareView:
    """A peer with its share of the calls."""

    uri: str
    weight: int
    priority: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleView:
    """A change of the INVITEs that go to the carrier."""

    action: str
    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkSetup:
    """How a trunk is set up; its password is not shown."""

    ref: str
    peers: tuple[str, ...]
    peer: tuple[PeerShareView, ...]
    """The same peers with their shares of the calls; empty: they are tried in the order of ``peers``."""
    accept_from: tuple[str, ...]
    port_must_match: bool
    username: str
    prefixes: tuple[PrefixView, ...]
    priority: int
    weight: int
    max_channels: int
    max_cps: float
    number_format: str
    caller_format: str | None
    country: str
    options_seconds: float
    identity: str
    trusted: bool
    privacy: str
    diversion: str
    domain: str
    host: str
    headers: tuple[RuleView, ...]
    register: bool
    registrar: str
    auth_username: str
    register_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayNumberView:
    """A number of the platform that SIMs dial, or that calls them."""

    e164: str
    trunk: str
    kind: Literal["call_through", "verification", "voicemail"]
    country: str


def trunk_setup(trunk: Trunk) -> TrunkSetup:
    """A trunk without its password."""
    values: dict[str, Any] = {each.name: getattr(trunk, each.name) for each in fields(TrunkSetup)}
    for name, value in values.items():
        if isinstance(value, Enum):
            values[name] = value.value
    values["prefixes"] = tuple(PrefixView(prefix=each.digits, cost=each.cost) for each in trunk.prefixes)
    values["peer"] = tuple(
        PeerShareView(uri=each.uri, weight=each.weight, priority=each.priority) for each in trunk.peer
    )
    values["headers"] = tuple(
        RuleView(action=each.action.value, name=each.name, value=each.value) for each in trunk.headers
    )
    return TrunkSetup(**values)


def gateway_number_view(number: GatewayNumber) -> GatewayNumberView:
    return GatewayNumberView(
        e164=number.e164, trunk=number.trunk, kind=number.kind.value, country=number.country
    )


def add_to(api: FastAPI, services: Services, sight: Sight) -> None:
    _trunks(api, services, sight)
    _gateway_numbers(api, services, sight)


def _trunks(api: FastAPI, services: Services, sight: Sight) -> None:
    routes = Routes(api, "trunks")
    changes = Changes(services, sight, "trunk", "trunk", trunk_setup, "/v1/trunks/{}")

    @routes.get("/v1/trunks", OPERATOR)
    async def trunks(limit: Limit = DEFAULT_PAGE, cursor: Cursor = "") -> Page[TrunkView]:
        """Trunks as they are now: their peers, and the calls on them."""
        return await smallest(services.node.trunks(), limit, lambda view: view.ref, after_key(cursor))

    @routes.get("/v1/routes", OPERATOR)
    async def routes_of(
        number: Annotated[str, Query(min_length=1, max_length=32, description="E.164, or as dialled.")],
    ) -> RouteList:
        """The peers that a call to a number would try now, in order, and why."""
        try:
            return RouteList(items=tuple(services.node.routes(number)))
        except ValueError as error:
            raise Problem(422, "invalid_number", "The number cannot be read", str(error)) from None

    @routes.post("/v1/trunks", OPERATOR)
    async def create_trunk(who: Who, body: NewTrunk, response: Response) -> TrunkSetup:
        """Make a trunk; calls may use it at once."""
        view: TrunkSetup = await changes.create(who, body.given(), response)
        return view

    @routes.get("/v1/trunks/{ref}", OPERATOR, problems=[404])
    async def trunk(ref: str, response: Response) -> TrunkSetup:
        """How a trunk is set up."""
        found = services.trunks.get(ref)
        if found is None:
            raise not_found("trunk")
        view = trunk_setup(found)
        response.headers["ETag"] = etag(view)
        return view

    @routes.patch("/v1/trunks/{ref}", OPERATOR, problems=[404, 412])
    async def change_trunk(
        who: Who, ref: str, body: TrunkChange, response: Response, if_match: IfMatch = ""
    ) -> TrunkSetup:
        """Change fields of a trunk (RFC 7396); running calls stay as they are."""
        if services.trunks.get(ref) is None:
            raise not_found("trunk")
        view: TrunkSetup = await changes.change(who, ref, body.given(), if_match, response)
        return view

    @routes.delete("/v1/trunks/{ref}", OPERATOR, problems=[404, 409, 412])
    async def remove_trunk(who: Who, ref: str, if_match: IfMatch = "") -> Response:
        """Remove a trunk that no gateway number is on."""
        if services.trunks.get(ref) is None:
            raise not_found("trunk")
        return await changes.remove(who, ref, if_match)


def _gateway_numbers(api: FastAPI, services: Services, sight: Sight) -> None:
    routes = Routes(api, "gateway-numbers")
    path = "/v1/gateway-numbers/{}"
    changes = Changes(services, sight, "gateway_number", "gateway number", gateway_number_view, path)

    @routes.get("/v1/gateway-numbers", OPERATOR)
    async def gateway_numbers(
        limit: Limit = DEFAULT_PAGE,
        cursor: Cursor = "",
        country: Annotated[str | None, Query(pattern=r"^[A-Z]{2}$", description="Local there.")] = None,
        trunk: Annotated[str | None, Query(pattern=REF_PATTERN, description="On this trunk.")] = None,
        kind: Annotated[GatewayKind | None, Query(description="For this use.")] = None,
    ) -> Page[GatewayNumberView]:
        """Gateway numbers in ascending order."""
        after = after_key(cursor)
        wanted = {"country": country, "trunk": trunk, "kind": kind.value if kind is not None else None}
        where: dict[str, str | None] = {name: value for name, value in wanted.items() if value is not None}
        found = await services.pages.page("gateway_number", limit + 1, after=after, where=where)
        return page_by_key([gateway_number_view(number) for number in found], limit, lambda view: view.e164)

    @routes.post("/v1/gateway-numbers", OPERATOR)
    async def create_gateway_number(
        who: Who, body: NewGatewayNumber, response: Response
    ) -> GatewayNumberView:
        """Make a gateway number of one that a trunk brings."""
        view: GatewayNumberView = await changes.create(who, body.given(), response)
        return view

    def there(e164: str) -> GatewayNumber:
        found = services.gateways.get(e164)
        if found is None:
            raise not_found("gateway number")
        return found

    @routes.get("/v1/gateway-numbers/{e164}", OPERATOR, problems=[404])
    async def gateway_number(e164: str, response: Response) -> GatewayNumberView:
        """One gateway number, written as E.164."""
        view = gateway_number_view(there(e164))
        response.headers["ETag"] = etag(view)
        return view

    @routes.patch("/v1/gateway-numbers/{e164}", OPERATOR, problems=[404, 412])
    async def change_gateway_number(
        who: Who, e164: str, body: GatewayNumberChange, response: Response, if_match: IfMatch = ""
    ) -> GatewayNumberView:
        """Change fields of a gateway number (RFC 7396)."""
        there(e164)
        view: GatewayNumberView = await changes.change(who, e164, body.given(), if_match, response)
        return view

    @routes.delete("/v1/gateway-numbers/{e164}", OPERATOR, problems=[404, 412])
    async def remove_gateway_number(who: Who, e164: str, if_match: IfMatch = "") -> Response:
        """Remove a gateway number; leases of it end by themselves."""
        there(e164)
        return await changes.remove(who, e164, if_match)
