"""Cloud numbers and their settings."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import FastAPI, Query
from fastapi.responses import Response

from callcontrol.access.tokens import Principal, Scope
from callcontrol.api.bodies import REF_PATTERN, NewNumber, NumberChange
from callcontrol.api.changing import Changes, only
from callcontrol.api.door import Who
from callcontrol.api.etags import IfMatch, etag
from callcontrol.api.pages import DEFAULT_PAGE, Cursor, Limit, Page, after_key, page_by_key
from callcontrol.api.problems import not_found
from callcontrol.api.routing import OPERATOR, USERS, Routes
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from callcontrol.api.views import NumberView, number_view
from numbering.models import CloudNumber, NumberState

_OPERATORS: Final = frozenset({"category"})
_FIELDS: Final = tuple(name for name in NumberChange.model_fields if name not in _OPERATORS)


def add_to(api: FastAPI, services: Services, sight: Sight) -> None:
    routes = Routes(api, "numbers")
    changes = Changes(services, sight, "number", "number", number_view, "/v1/numbers/{}")

    def still_theirs(who: Principal) -> Any:
        """Within the transaction: the number may have changed hands on another node a moment ago."""

        def check(number: CloudNumber) -> None:
            if not sight.sees_number(who, number):
                raise not_found("number")

        return check

    @routes.get("/v1/numbers", USERS)
    async def numbers(
        who: Who,
        limit: Limit = DEFAULT_PAGE,
        cursor: Cursor = "",
        user: Annotated[str | None, Query(pattern=REF_PATTERN, description="Only of this user.")] = None,
        state: Annotated[NumberState | None, Query(description="Only in this state.")] = None,
    ) -> Page[NumberView]:
        """Numbers in ascending order: those that are held, and those that are kept for a holder (NUM-05)."""
        after = after_key(cursor)
        owner = who.user if who.scope is Scope.USER and user is None else user
        if owner is not None and not sight.sees_user_ref(who, owner):
            return Page(items=())
        where: dict[str, str | None] = {"holder": owner} if owner is not None else {}
        if who.scope is Scope.MANAGER and owner is None:
            where = {"holder.account": who.account}
        if state is not None:
            where["state"] = state.value
        found = await services.pages.page("number", limit + 1, after=after, where=where)
        return page_by_key([number_view(number) for number in found], limit, lambda view: view.e164)

    @routes.post("/v1/numbers", OPERATOR)
    async def create_number(who: Who, body: NewNumber, response: Response) -> NumberView:
        """Bring in a number that a user holds from now on."""
        view: NumberView = await changes.create(who, body.given(), response)
        return view

    @routes.get("/v1/numbers/{e164}", USERS, problems=[404])
    async def number(who: Who, e164: str, response: Response) -> NumberView:
        """One number, written as E.164."""
        view = number_view(sight.number(who, e164))
        response.headers["ETag"] = etag(view)
        return view

    @routes.patch("/v1/numbers/{e164}", USERS, problems=[404, 412])
    async def change_number(
        who: Who, e164: str, body: NumberChange, response: Response, if_match: IfMatch = ""
    ) -> NumberView:
        """Change settings of a number (RFC 7396)."""
        sight.number(who, e164)
        given = body.given()
        if who.scope is not Scope.OPERATOR:
            only(given, _FIELDS, who)
        view: NumberView = await changes.change(who, e164, given, if_match, response, still_theirs(who))
        return view
