"""Users: the people of an account."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import FastAPI, Query
from fastapi.responses import Response

from callcontrol.access.tokens import Principal, Scope
from callcontrol.api.bodies import REF_PATTERN, NewUser, UserChange
from callcontrol.api.changing import Changes, only, unknown
from callcontrol.api.door import Who
from callcontrol.api.etags import IfMatch, etag
from callcontrol.api.pages import DEFAULT_PAGE, Cursor, Limit, Page, after_key, page_by_key
from callcontrol.api.problems import not_found
from callcontrol.api.routing import MANAGERS, USERS, Routes
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from callcontrol.api.views import UserView, user_view
from numbering.models import User

_OWN_FIELDS: Final = ("name", "email", "default_number", "contacts", "call_waiting", "block", "spam")
"""What users change of themselves; a manager also makes users, of its own account."""


def add_to(api: FastAPI, services: Services, sight: Sight) -> None:
    routes = Routes(api, "users")
    changes = Changes(services, sight, "user", "user", user_view, "/v1/users/{}")

    def still_theirs(who: Principal) -> Any:
        """Within the transaction: an account may have changed on another node a moment ago."""

        def check(user: User) -> None:
            if not sight.sees_user(who, user):
                raise not_found("user")

        return check

    @routes.get("/v1/users", MANAGERS)
    async def users(
        who: Who,
        limit: Limit = DEFAULT_PAGE,
        cursor: Cursor = "",
        account: Annotated[
            str | None, Query(pattern=REF_PATTERN, description="Only of this account.")
        ] = None,
    ) -> Page[UserView]:
        """Users in the order of their refs."""
        after = after_key(cursor)
        where = {"account": account} if account is not None else {}
        if who.scope is Scope.MANAGER:
            if account not in (None, who.account):
                return Page(items=())
            where = {"account": who.account}
        found = await services.pages.page("user", limit + 1, after=after, where=where)
        return page_by_key([user_view(user) for user in found], limit, lambda view: view.ref)

    @routes.post("/v1/users", MANAGERS)
    async def create_user(who: Who, body: NewUser, response: Response) -> UserView:
        """Make a user."""
        given = body.given()
        if who.scope is Scope.MANAGER:
            only(given, ("ref", "account", *_OWN_FIELDS), who)
            if body.account != who.account:
                raise unknown("account", "account", body.account)
        view: UserView = await changes.create(who, given, response)
        return view

    @routes.get("/v1/users/{ref}", USERS, problems=[404])
    async def user(who: Who, ref: str, response: Response) -> UserView:
        """One user."""
        view = user_view(sight.user(who, ref))
        response.headers["ETag"] = etag(view)
        return view

    @routes.patch("/v1/users/{ref}", USERS, problems=[404, 412])
    async def change_user(
        who: Who, ref: str, body: UserChange, response: Response, if_match: IfMatch = ""
    ) -> UserView:
        """Change fields of a user (RFC 7396); account and suspension are the operator's to change."""
        sight.user(who, ref)
        given = body.given()
        if who.scope is not Scope.OPERATOR:
            only(given, _OWN_FIELDS, who)
        view: UserView = await changes.change(who, ref, given, if_match, response, still_theirs(who))
        return view

    @routes.delete("/v1/users/{ref}", MANAGERS, problems=[404, 409, 412])
    async def remove_user(who: Who, ref: str, if_match: IfMatch = "") -> Response:
        """Remove a user who has neither devices nor numbers any more."""
        sight.user(who, ref)
        return await changes.remove(who, ref, if_match, still_theirs(who))
