"""Greetings: company numbers that hunt over members.  The manager of the company sets them up, nobody else does
(GRT-08).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import FastAPI, Query
from fastapi.responses import Response

from callcontrol.access.tokens import Principal, Scope
from callcontrol.api.changing import Changes, unknown
from callcontrol.api.door import Who
from callcontrol.api.etags import IfMatch, etag
from callcontrol.api.incoming_bodies import REF_PATTERN, GreetingBody, GreetingChange, NewGreeting
from callcontrol.api.incoming_views import GreetingView, greeting_view
from callcontrol.api.pages import DEFAULT_PAGE, Cursor, Limit, Page, after_key, page_by_key
from callcontrol.api.problems import FieldError, Problem, not_found
from callcontrol.api.routing import MANAGERS, Routes
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from numbering.e164 import NumberError, read
from numbering.models import Greeting, NumberState

_FLOWS: Final = ("flow", "closed", "unanswered")


def add_to(api: FastAPI, services: Services, sight: Sight) -> None:
    routes = Routes(api, "greetings")
    terms = services.editor.terms

    def view_of(greeting: Greeting) -> GreetingView:
        return greeting_view(greeting, terms)

    changes = Changes(services, sight, "greeting", "greeting", view_of, "/v1/greetings/{}")

    def still_theirs(who: Principal) -> Any:
        """Within the transaction: the Greeting may be another company's on another node since a moment ago."""

        def check(greeting: Greeting) -> None:
            if not sight.sees_account(who, greeting.account):
                raise not_found("greeting")

        return check

    def check_number(who: Principal, text: str) -> None:
        """A manager takes a number that there is for his company; only an operator brings one in."""
        if who.scope is Scope.OPERATOR:
            return
        number = read(text)
        known = None if isinstance(number, NumberError) else services.directory.number(number)
        free = known is not None and known.state is NumberState.AVAILABLE
        if isinstance(number, NumberError) or free or (known is not None and sight.sees_number(who, known)):
            return
        detail = f"{text} is none of your numbers, and none that may be had"
        errors = [
            FieldError(pointer="/number", detail=detail, remedy="choose one of GET /v1/available-numbers")
        ]
        raise Problem(422, "invalid_object", "The object is refused", f"number: {detail}", errors=errors)

    @routes.get("/v1/greetings", MANAGERS)
    async def greetings(
        who: Who,
        limit: Limit = DEFAULT_PAGE,
        cursor: Cursor = "",
        account: Annotated[
            str | None, Query(pattern=REF_PATTERN, description="Only of this company.")
        ] = None,
    ) -> Page[GreetingView]:
        """Greetings in the order of their numbers."""
        after = after_key(cursor)
        where: dict[str, str | None] = {"account": account} if account is not None else {}
        if who.scope is Scope.MANAGER:
            if account not in (None, who.account):
                return Page(items=())
            where = {"account": who.account}
        found = await services.pages.page("greeting", limit + 1, after=after, where=where)
        return page_by_key([view_of(each) for each in found], limit, lambda view: view.number)

    @routes.post("/v1/greetings", MANAGERS)
    async def create_greeting(who: Who, body: NewGreeting, response: Response) -> GreetingView:
        """Make a Greeting; from then on its number is the company's."""
        if not sight.sees_account(who, body.account):
            raise unknown("account", "account", body.account)
        check_number(who, body.number)
        view: GreetingView = await changes.create(who, _plain(body.given()), response)
        return view

    @routes.get("/v1/greetings/{number}", MANAGERS, problems=[404])
    async def greeting(who: Who, number: str, response: Response) -> GreetingView:
        """One Greeting, by its number written as E.164."""
        view = view_of(sight.greeting(who, number))
        response.headers["ETag"] = etag(view)
        return view

    @routes.put("/v1/greetings/{number}", MANAGERS, problems=[404, 412])
    async def replace_greeting(
        who: Who, number: str, body: GreetingBody, response: Response, if_match: IfMatch = ""
    ) -> GreetingView:
        """Put another Greeting in its place; what is not written is as by default."""
        sight.greeting(who, number)
        if not sight.sees_account(who, body.account):
            raise unknown("account", "account", body.account)
        values = {"number": number, **_plain(body.given())}
        view: GreetingView = await changes.replace(who, number, values, if_match, response, still_theirs(who))
        return view

    @routes.patch("/v1/greetings/{number}", MANAGERS, problems=[404, 412])
    async def change_greeting(
        who: Who, number: str, body: GreetingChange, response: Response, if_match: IfMatch = ""
    ) -> GreetingView:
        """Change fields of a Greeting (RFC 7396)."""
        sight.greeting(who, number)
        patch = body.given()
        for name in _FLOWS:
            if isinstance(patch.get(name), dict):
                # Another action has another target, or none.
                patch[name].setdefault("to", None)
        if patch.get("open", "-") in (None, []) and "special" not in patch and "holidays" not in patch:
            # Without hours there are no exceptions from them.
            patch |= {"open": None, "special": None, "holidays": None}
        view: GreetingView = await changes.change(who, number, patch, if_match, response, still_theirs(who))
        return view

    @routes.delete("/v1/greetings/{number}", MANAGERS, problems=[404, 409, 412])
    async def remove_greeting(who: Who, number: str, if_match: IfMatch = "") -> Response:
        """Remove a Greeting; its number goes into quarantine (NUM-05)."""
        sight.greeting(who, number)
        return await changes.remove(who, number, if_match, still_theirs(who))


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is null: by default it is not there."""
    return {name: _without_null(value) for name, value in given.items() if value is not None}


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return _plain(value)
    return [_without_null(each) for each in value] if isinstance(value, list) else value
