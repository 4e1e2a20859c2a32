"""Live state: registrations, trunks as they are, bans."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import FastAPI, Query
from fastapi.responses import Response

from callcontrol.access.tokens import Principal, Scope
from callcontrol.api.changing import note
from callcontrol.api.door import Who
from callcontrol.api.pages import DEFAULT_PAGE, Cursor, Limit, Page, after_key, smallest
from callcontrol.api.problems import not_found
from callcontrol.api.routing import ALL, OPERATOR, Routes
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from callcontrol.node_view import BanView, Registered, RegistrationView


def add_to(api: FastAPI, services: Services, sight: Sight) -> None:
    node = services.node
    routes = Routes(api, "registrations")

    def theirs(who: Principal, user: str) -> Iterator[Registered]:
        if who.scope is Scope.DEVICE:
            user = who.device if user in ("", who.user, who.device) else "-"
        elif who.scope is Scope.USER and not user:
            user = who.user
        for each in node.registrations(user):
            if who.scope is Scope.OPERATOR or _sees(who, each):
                yield each

    def _sees(who: Principal, each: Registered) -> bool:
        if who.scope is Scope.DEVICE:
            return each.device == who.device
        return sight.sees_user_ref(who, each.user)

    @routes.get("/v1/registrations", ALL)
    async def registrations(
        who: Who,
        user: Annotated[str, Query(max_length=100, description="Ref of a user or a device.")] = "",
        limit: Limit = DEFAULT_PAGE,
        cursor: Cursor = "",
    ) -> Page[RegistrationView]:
        """Contacts that are registered now."""
        page = await smallest(theirs(who, user), limit, lambda each: each.id, after_key(cursor))
        return Page(items=tuple(each.view() for each in page.items), next_cursor=page.next_cursor)

    bans_of = Routes(api, "bans")

    @bans_of.get("/v1/bans", OPERATOR)
    async def bans(limit: Limit = DEFAULT_PAGE, cursor: Cursor = "") -> Page[BanView]:
        """Addresses that are kept out or slowed."""
        return await smallest(node.bans(), limit, lambda view: view.address, after_key(cursor))

    @bans_of.delete("/v1/bans/{address:path}", OPERATOR, problems=[404])
    async def lift_ban(who: Who, address: str) -> Response:
        """Forget the ban of an address (IPv6: of its /64)."""
        if not node.lift_ban(address):
            raise not_found("ban")
        await note(services, who, "lift", "ban", address)
        return Response(status_code=204)
