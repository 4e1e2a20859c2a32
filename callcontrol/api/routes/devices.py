"""Devices: phones, computers and browsers of users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import FastAPI, Query
from fastapi.responses import Response

from callcontrol.access.tokens import Principal, Scope
from callcontrol.api.bodies import REF_PATTERN, DeviceChange, NewDevice
from callcontrol.api.changing import Changes, note, only, unknown
from callcontrol.api.door import Who
from callcontrol.api.etags import IfMatch, etag
from callcontrol.api.pages import DEFAULT_PAGE, Cursor, Limit, Page, after_key, page_by_key
from callcontrol.api.problems import not_found
from callcontrol.api.routing import ALL, USERS, Routes
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from callcontrol.api.views import DeviceView, device_view
from numbering.models import Device

_NOT_THEIRS: Final = frozenset({"sim_verified"})
"""A SIM is proved by a call (DEV-01); only the operator may say so without one."""
_FIELDS: Final = tuple(name for name in NewDevice.model_fields if name not in _NOT_THEIRS)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedOut:
    """What a sign-out ended."""

    bindings: int
    """Registrations of the device on this node that ended."""


def add_to(api: FastAPI, services: Services, sight: Sight) -> None:
    routes = Routes(api, "devices")
    changes = Changes(services, sight, "device", "device", device_view, "/v1/devices/{}")
    directory = services.directory

    def still_theirs(who: Principal) -> Any:
        """Within the transaction: the device may have changed hands on another node a moment ago."""

        def check(device: Device) -> None:
            if not sight.sees_device(who, device):
                raise not_found("device")

        return check

    def check_owner(who: Principal, user: str | None) -> None:
        if user is not None and who.scope is not Scope.OPERATOR and not sight.sees_user_ref(who, user):
            raise unknown("user", "user", user)

    @routes.get("/v1/devices", USERS)
    async def devices(
        who: Who,
        limit: Limit = DEFAULT_PAGE,
        cursor: Cursor = "",
        user: Annotated[str | None, Query(pattern=REF_PATTERN, description="Only of this user.")] = None,
    ) -> Page[DeviceView]:
        """Devices in the order of their refs."""
        after = after_key(cursor)
        owner = who.user if who.scope is Scope.USER and user is None else user
        if owner is not None and not sight.sees_user_ref(who, owner):
            return Page(items=())
        where: dict[str, str | None] = {"user": owner} if owner is not None else {}
        if who.scope is Scope.MANAGER and owner is None:
            where = {"user.account": who.account}
        found = await services.pages.page("device", limit + 1, after=after, where=where)
        return page_by_key([device_view(device) for device in found], limit, lambda view: view.ref)

    @routes.post("/v1/devices", USERS)
    async def create_device(who: Who, body: NewDevice, response: Response) -> DeviceView:
        """Make a device; it may register at once."""
        given = body.given()
        if who.scope is not Scope.OPERATOR:
            only(given, _FIELDS, who)
        check_owner(who, body.user)
        view: DeviceView = await changes.create(who, given, response)
        return view

    @routes.get("/v1/devices/{ref}", ALL, problems=[404])
    async def device(who: Who, ref: str, response: Response) -> DeviceView:
        """One device."""
        view = device_view(sight.device(who, ref))
        response.headers["ETag"] = etag(view)
        return view

    @routes.patch("/v1/devices/{ref}", USERS, problems=[404, 412])
    async def change_device(
        who: Who, ref: str, body: DeviceChange, response: Response, if_match: IfMatch = ""
    ) -> DeviceView:
        """Change fields of a device (RFC 7396); another SIM has to be verified again (DEV-03)."""
        sight.device(who, ref)
        given = body.given()
        if who.scope is not Scope.OPERATOR:
            only(given, _FIELDS, who)
        check_owner(who, body.user)
        view: DeviceView = await changes.change(who, ref, given, if_match, response, still_theirs(who))
        return view

    @routes.delete("/v1/devices/{ref}", USERS, problems=[404, 409, 412])
    async def remove_device(who: Who, ref: str, if_match: IfMatch = "") -> Response:
        """Remove a device; its registrations and tokens end."""
        sight.device(who, ref)
        return await changes.remove(who, ref, if_match, still_theirs(who))

    @routes.post("/v1/devices/{ref}/sign-out", ALL, 200, problems=[404])
    async def sign_out(who: Who, ref: str) -> SignedOut:
        """End the registrations of a device; with its password it may register again (DEV-02)."""
        found = sight.device(who, ref)
        ended = services.node.sign_out(ref)
        account = directory.account_of(found.user)
        await note(
            services,
            who,
            "sign_out",
            "device",
            ref,
            account.ref if account is not None else "",
            f"{ended} ended",
        )
        return SignedOut(bindings=ended)
