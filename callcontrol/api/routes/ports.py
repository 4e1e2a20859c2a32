"""Numbers that come from other operators and leave to them (NUM-10, NUM-11)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

from fastapi import FastAPI, Query
from pydantic import ConfigDict, Field

from callcontrol.access.tokens import Principal
from callcontrol.api.bodies import Body, Number, Ref
from callcontrol.api.changing import unknown
from callcontrol.api.door import Who
from callcontrol.api.life import Desk, asked
from callcontrol.api.pages import DEFAULT_PAGE, Cursor, Limit, Page, after_key, page_by_key
from callcontrol.api.problems import not_found
from callcontrol.api.routing import OPERATOR, USERS, Routes
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from callcontrol.node_view import Instant
from numbering.porting import REFUSALS, Port

Day = Annotated[date, Field(strict=False)]
RioText = Annotated[str, Field(max_length=32, examples=["04P000000LJJ"])]


class NewPort(Body):
    """A number of another operator that is to come."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"number": "+33639981020", "user": "ana", "rio": "04P000000LJJ", "day": "2026-06-15"}
            ]
        }
    )

    number: Number
    user: Ref
    rio: RioText
    day: Day
    """When it is to come."""


class PortDay(Body):
    """The day that the other operator has agreed to."""

    day: Day | None = None
    """null: the one that was wished for."""


class PortRefusal(Body):
    """Why the other operator refuses."""

    why: Annotated[str, Field(json_schema_extra={"enum": list(REFUSALS)})]


@dataclass(frozen=True, slots=True, kw_only=True)
class PortView:
    """One port of one number."""

    id: str
    direction: Literal["in", "out"]
    number: str
    user: str
    state: str
    at: Instant
    """When the number passes: wished, and when it is scheduled, agreed."""
    requested_at: Instant
    confirm_by: Instant | None
    """By then the line must have confirmed."""
    reason: str
    """Why it ended without a port; empty otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RioView:
    """The RIO of a line."""

    number: str
    rio: str


def port_view(port: Port) -> PortView:
    return PortView(
        id=port.id,
        direction="in" if port.direction == "in" else "out",
        number=port.e164,
        user=port.user,
        state=port.state.value,
        at=port.port_at,
        requested_at=port.requested_at,
        confirm_by=port.confirm_by or None,
        reason=port.reason,
    )


def add_to(api: FastAPI, services: Services, sight: Sight) -> None:
    routes = Routes(api, "ports")
    desk = Desk(services, sight)

    async def find(who: Principal, port_id: str) -> Port:
        # ids are made by us: anything else is not there, and need not be asked for
        known = port_id.isascii() and port_id.isalnum() and len(port_id) <= 64
        found = await asked(desk.inventory.ports.get(port_id)) if known else None
        if found is None or not sight.sees_user_ref(who, found.user):
            raise not_found("port")
        return found

    @routes.get("/v1/ports", OPERATOR)
    async def ports(
        limit: Limit = DEFAULT_PAGE,
        cursor: Cursor = "",
        direction: Annotated[str, Query(pattern="^(in|out)?$")] = "",
        only_open: Annotated[bool, Query(description="Only those that may still happen.")] = False,
    ) -> Page[PortView]:
        """Ports, the oldest first."""
        found = await asked(
            desk.inventory.ports.list(
                direction=direction, only_open=only_open, after=after_key(cursor), limit=limit + 1
            )
        )
        return page_by_key([port_view(port) for port in found], limit, lambda view: view.id)

    @routes.post("/v1/ports", USERS, problems=[404])
    async def request_port(who: Who, body: NewPort) -> PortView:
        """Ask for a number of another operator; the line is asked to confirm (NUM-10)."""
        if not sight.sees_user_ref(who, body.user):
            raise unknown("user", "user", body.user)
        port = await desk.do(
            who,
            "request",
            "port",
            body.number,
            lambda: desk.inventory.ports.request(body.number, body.user, body.rio, body.day, actor=who.actor),
            user=body.user,
        )
        return port_view(port)

    @routes.get("/v1/ports/{port_id}", USERS, problems=[404])
    async def port(who: Who, port_id: str) -> PortView:
        """One port."""
        return port_view(await find(who, port_id))

    async def go_on(
        who: Principal, port_id: str, action: str, work: Callable[[str], Awaitable[Port]], detail: str = ""
    ) -> PortView:
        """Do the next step of a port that the principal sees."""
        known = await find(who, port_id)
        done = await desk.do(
            who, action, "port", known.id, lambda: work(known.id), user=known.user, detail=detail
        )
        return port_view(done)

    @routes.post("/v1/ports/{port_id}/cancel", USERS, 200, problems=[404])
    async def cancel_port(who: Who, port_id: str) -> PortView:
        """The number is not to pass after all; possible until 48 hours before (NUM-10)."""
        ports_desk = desk.inventory.ports
        return await go_on(who, port_id, "cancel", lambda port: ports_desk.cancel(port, actor=who.actor))

    @routes.post("/v1/ports/{port_id}/confirm", OPERATOR, 200, problems=[404])
    async def confirm_port(who: Who, port_id: str) -> PortView:
        """The line has confirmed, otherwise than by its reply."""
        ports_desk = desk.inventory.ports
        return await go_on(who, port_id, "confirm", lambda port: ports_desk.confirm(port, actor=who.actor))

    @routes.post("/v1/ports/{port_id}/schedule", OPERATOR, 200, problems=[404])
    async def schedule_port(who: Who, port_id: str, body: PortDay | None = None) -> PortView:
        """The other operator has agreed to the day, or to another one."""
        day, ports_desk = body.day if body is not None else None, desk.inventory.ports
        return await go_on(
            who, port_id, "schedule", lambda port: ports_desk.schedule(port, on=day, actor=who.actor)
        )

    @routes.post("/v1/ports/{port_id}/refuse", OPERATOR, 200, problems=[404])
    async def refuse_port(who: Who, port_id: str, body: PortRefusal) -> PortView:
        """The other operator refuses."""
        why, ports_desk = body.why, desk.inventory.ports
        return await go_on(
            who, port_id, "refuse", lambda port: ports_desk.refuse(port, why, actor=who.actor), why
        )

    @routes.post("/v1/ports/{port_id}/complete", OPERATOR, 200, problems=[404])
    async def complete_port(who: Who, port_id: str) -> PortView:
        """The number has passed; the clock says so at the date, people may earlier."""
        ports_desk = desk.inventory.ports
        return await go_on(who, port_id, "complete", lambda port: ports_desk.complete(port, actor=who.actor))

    @routes.post("/v1/numbers/{e164}/rio", USERS, 200, problems=[404])
    async def rio(who: Who, e164: str) -> RioView:
        """The RIO of a line, by which its holder takes the number elsewhere (NUM-11)."""
        number = sight.number(who, e164)
        found = await desk.do(
            who,
            "rio",
            "number",
            e164,
            lambda: desk.inventory.ports.rio(e164, actor=who.actor),
            user=number.user or number.kept_for,
        )
        return RioView(number=e164, rio=str(found))
