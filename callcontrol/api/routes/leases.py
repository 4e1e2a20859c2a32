"""Leases of gateway numbers, for operators alone: they name SIMs and whom these call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import FastAPI, Query

from callcontrol.api.bodies import REF_PATTERN
from callcontrol.api.pages import DEFAULT_PAGE, Cursor, Limit, Page, after_key, smallest
from callcontrol.api.problems import Problem, later, not_found
from callcontrol.api.routing import OPERATOR, Routes
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from callcontrol.lease_views import HeldLeaseView, LeaseList
from gateway.leases import Lease, LeaseState
from numbering.e164 import NumberError, read

Number = Annotated[str, Query(max_length=32, description="E.164.")]


def add_to(api: FastAPI, services: Services, sight: Sight) -> None:
    routes = Routes(api, "leases")

    def there() -> LeaseList:
        if services.leases is None:
            raise Problem(503, "unavailable", "Leases are not held here", "Try again.", later(5))
        return services.leases

    @routes.get("/v1/leases", OPERATOR)
    async def leases(
        limit: Limit = DEFAULT_PAGE,
        cursor: Cursor = "",
        sim: Number = "",
        gateway_number: Number = "",
        user: Annotated[
            str | None, Query(pattern=REF_PATTERN, description="Of devices of this user.")
        ] = None,
        state: Annotated[LeaseState | None, Query(description="Only in this state.")] = None,
    ) -> Page[HeldLeaseView]:
        """Leases of all nodes: those in force, and those that ended a while ago, the oldest first."""
        held = there()
        wanted_sim, wanted_gateway = _number("sim", sim), _number("gateway_number", gateway_number)

        def fitting() -> Iterator[Lease]:
            for lease in held.all():
                if (
                    (not wanted_sim or lease.sim == wanted_sim)
                    and (not wanted_gateway or lease.gateway == wanted_gateway)
                    and (user is None or lease.user == user)
                    and (state is None or held.state(lease) is state)
                ):
                    yield lease

        page = await smallest(fitting(), limit, _place, after_key(cursor))
        return Page(items=tuple(map(held.view, page.items)), next_cursor=page.next_cursor)

    @routes.get("/v1/leases/{lease}", OPERATOR, problems=[404])
    async def lease(lease: str) -> HeldLeaseView:
        """One lease, as long as it is remembered."""
        held = there()
        found = held.get(lease)
        if found is None:
            raise not_found("lease")
        return held.view(found)


def _place(lease: Lease) -> str:
    return f"{lease.created_at:017.6f} {lease.id}"


def _number(name: str, text: str) -> str:
    """A number of the query; empty: none.  Raises 422."""
    if not text:
        return ""
    found = read(text)
    if isinstance(found, NumberError):
        raise Problem(422, "invalid_parameter", "A parameter is wrong", f"{name}: {found}; write E.164")
    return found
