"""Accounts: companies and consumers."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import Response

from callcontrol.access.tokens import Scope
from callcontrol.api.bodies import AccountChange, NewAccount
from callcontrol.api.changing import Changes
from callcontrol.api.door import Who
from callcontrol.api.etags import IfMatch, etag
from callcontrol.api.pages import DEFAULT_PAGE, Cursor, Limit, Page, after_key, page_by_key
from callcontrol.api.routing import MANAGERS, OPERATOR, Routes
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from callcontrol.api.views import AccountView, account_view


def add_to(api: FastAPI, services: Services, sight: Sight) -> None:
    routes = Routes(api, "accounts")
    changes = Changes(services, sight, "account", "account", account_view, "/v1/accounts/{}")

    @routes.get("/v1/accounts", MANAGERS)
    async def accounts(who: Who, limit: Limit = DEFAULT_PAGE, cursor: Cursor = "") -> Page[AccountView]:
        """Accounts in the order of their refs; a manager sees one."""
        after = after_key(cursor)
        where = {} if who.scope is Scope.OPERATOR else {"ref": who.account}
        found = await services.pages.page("account", limit + 1, after=after, where=where)
        return page_by_key([account_view(account) for account in found], limit, lambda view: view.ref)

    @routes.post("/v1/accounts", OPERATOR)
    async def create_account(who: Who, body: NewAccount, response: Response) -> AccountView:
        """Make an account."""
        view: AccountView = await changes.create(who, body.given(), response)
        return view

    @routes.get("/v1/accounts/{ref}", MANAGERS, problems=[404])
    async def account(who: Who, ref: str, response: Response) -> AccountView:
        """One account."""
        view = account_view(sight.account(who, ref))
        response.headers["ETag"] = etag(view)
        return view

    @routes.patch("/v1/accounts/{ref}", OPERATOR, problems=[404, 412])
    async def change_account(
        who: Who, ref: str, body: AccountChange, response: Response, if_match: IfMatch = ""
    ) -> AccountView:
        """Change fields of an account (RFC 7396)."""
        sight.account(who, ref)
        view: AccountView = await changes.change(who, ref, body.given(), if_match, response)
        return view

    @routes.delete("/v1/accounts/{ref}", OPERATOR, problems=[404, 409, 412])
    async def remove_account(who: Who, ref: str, if_match: IfMatch = "") -> Response:
        """Remove an account that has no users any more."""
        sight.account(who, ref)
        return await changes.remove(who, ref, if_match)
