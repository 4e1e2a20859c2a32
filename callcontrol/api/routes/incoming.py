"""What happens to calls that come in, as resources of their own: forwarding, hours and block lists.

They are parts of a number, a Greeting or a user; their ETag is that of the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI
from fastapi.responses import Response

from callcontrol.access.tokens import Principal
from callcontrol.api.changing import Changes
from callcontrol.api.door import Who
from callcontrol.api.etags import IfMatch, etag
from callcontrol.api.incoming_bodies import NewBlock, NewForward, NewHours
from callcontrol.api.incoming_views import (
    BlocksView,
    ForwardView,
    HoursView,
    blocks_view,
    forward_view,
    greeting_view,
    hours_view,
)
from callcontrol.api.problems import FieldError, Problem, not_found
from callcontrol.api.routing import MANAGERS, USERS, Routes
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from callcontrol.api.views import number_view, user_view
from callcontrol.provisioning.incoming import NoCaller, read_caller
from numbering.e164 import country_of
from numbering.models import CloudNumber, Greeting, User

Listed = CloudNumber | Greeting | User
_NO_HOURS: Final = {"slot": None, "holidays": None, "special": None}


class _Held(Response):
    """Takes the headers of a change whose view is not what is answered."""


def add_to(api: FastAPI, services: Services, sight: Sight) -> None:
    terms = services.editor.terms
    numbers = Changes(services, sight, "number", "number", number_view, "/v1/numbers/{}")
    users = Changes(services, sight, "user", "user", user_view, "/v1/users/{}")
    greetings = Changes(
        services,
        sight,
        "greeting",
        "greeting",
        lambda greeting: greeting_view(greeting, terms),
        "/v1/greetings/{}",
    )
    _forwarding(api, services, sight, numbers)
    _hours(api, services, sight, numbers)
    _number_blocks(api, services, sight, numbers)
    _user_blocks(api, services, sight, users)
    _greeting_blocks(api, services, sight, greetings)


def _still_theirs(who: Principal, sight: Sight) -> Callable[[Any], None]:
    """Within the transaction: it may have changed hands on another node a moment ago."""

    def check(item: Any) -> None:
        if isinstance(item, CloudNumber):
            if not sight.sees_number(who, item):
                raise not_found("number")
        elif isinstance(item, User):
            if not sight.sees_user(who, item):
                raise not_found("user")
        elif not sight.sees_account(who, item.account):
            raise not_found("greeting")

    return check


# -- forwarding -------------------------------------------------------------------------------------------


def _forwarding(api: FastAPI, services: Services, sight: Sight, changes: Changes) -> None:
    routes = Routes(api, "numbers")

    @routes.get("/v1/numbers/{e164}/forward", USERS, problems=[404])
    async def forward(who: Who, e164: str, response: Response) -> ForwardView:
        """Where calls to a number go instead of to its holder."""
        number = sight.number(who, e164)
        response.headers["ETag"] = etag(number_view(number))
        return forward_view(number.forward)

    @routes.put("/v1/numbers/{e164}/forward", USERS, problems=[404, 412])
    async def set_forward(
        who: Who, e164: str, body: NewForward, response: Response, if_match: IfMatch = ""
    ) -> ForwardView:
        """Forward calls to a number; a national number is read in its country."""
        sight.number(who, e164)
        given: dict[str, Any] = {"to": None, "causes": None, **body.given()}
        view = await changes.change(
            who, e164, {"forward": given}, if_match, response, _still_theirs(who, sight)
        )
        found: ForwardView = view.forward
        return found

    @routes.delete("/v1/numbers/{e164}/forward", USERS, problems=[404, 412])
    async def no_forward(who: Who, e164: str, if_match: IfMatch = "") -> Response:
        """Forward calls no longer, and forget the target."""
        sight.number(who, e164)
        await changes.change(who, e164, {"forward": None}, if_match, _Held(), _still_theirs(who, sight))
        return Response(status_code=204)


# -- hours ------------------------------------------------------------------------------------------------


def _hours(api: FastAPI, services: Services, sight: Sight, changes: Changes) -> None:
    routes = Routes(api, "numbers")

    @routes.get("/v1/numbers/{e164}/hours", USERS, problems=[404])
    async def hours(who: Who, e164: str) -> HoursView:
        """When a number is on, whether it is now, and when that changes."""
        return hours_view(sight.number(who, e164).hours, services.wall())

    @routes.put("/v1/numbers/{e164}/hours", USERS, problems=[404, 412])
    async def set_hours(
        who: Who, e164: str, body: NewHours, response: Response, if_match: IfMatch = ""
    ) -> HoursView:
        """Switch a number on and off by time slots."""
        sight.number(who, e164)
        given = body.given()
        zone = {"zone": given["zone"]} if given.get("zone") else {}
        patch = {
            "slot": [{**zone, **slot} for slot in given["slots"]],
            "holidays": given.get("holidays"),
            "special": _days(given.get("special")),
        }
        await changes.change(who, e164, patch, if_match, response, _still_theirs(who, sight))
        return hours_view(sight.number(who, e164).hours, services.wall())

    @routes.delete("/v1/numbers/{e164}/hours", USERS, problems=[404, 412])
    async def no_hours(who: Who, e164: str, if_match: IfMatch = "") -> Response:
        """The number is always on."""
        sight.number(who, e164)
        await changes.change(who, e164, _NO_HOURS, if_match, _Held(), _still_theirs(who, sight))
        return Response(status_code=204)

    @Routes(api, "greetings").get("/v1/greetings/{number}/hours", MANAGERS, problems=[404])
    async def opening(who: Who, number: str) -> HoursView:
        """When a Greeting is open, whether it is now, and when that changes."""
        return hours_view(sight.greeting(who, number).hours, services.wall())


def _days(special: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    if special is None:
        return None
    return [{name: value for name, value in day.items() if value is not None} for day in special]


# -- block lists ------------------------------------------------------------------------------------------


def _caller(text: str, country: str, pointer: str) -> str:
    """An entry as it is kept.  Raises a 422 `Problem`."""
    try:
        return read_caller(text, country)
    except NoCaller as error:
        errors = [FieldError(pointer=pointer, detail=error.message, remedy=error.remedy)]
        detail = f"caller: {error.message}; {error.remedy}"
        raise Problem(422, "invalid_object", "The object is refused", detail, errors=errors) from None


def _country(item: Listed) -> str:
    """Where national numbers of its list are read."""
    key = (
        item.default_number
        if isinstance(item, User)
        else item.e164
        if isinstance(item, CloudNumber)
        else item.number
    )
    return country_of(key) if key else ""


async def _add(
    changes: Changes, who: Principal, sight: Sight, key: str, item: Listed, body: NewBlock, if_match: str
) -> tuple[BlocksView, str]:
    """Put a caller onto one of the lists; whoever is there stays where he is."""
    caller = _caller(body.caller, _country(item), "/caller")
    name, other = ("spam", "block") if body.spam else ("block", "spam")

    def patch(now: Any) -> dict[str, Any]:
        there: tuple[str, ...] = getattr(now, name)
        rest = [each for each in getattr(now, other) if each != caller]
        return {name: [*there, *([] if caller in there else [caller])], other: rest}

    held = _Held()
    view = await changes.change(who, key, patch, if_match, held, _still_theirs(who, sight))
    return BlocksView(block=view.block, spam=view.spam), held.headers["ETag"]


async def _remove(
    changes: Changes, who: Principal, sight: Sight, key: str, item: Listed, text: str, if_match: str
) -> Response:
    """Take a caller off both lists.  Raises 404 when he is on neither."""
    caller = _caller(text, _country(item), "caller")

    def patch(now: Any) -> dict[str, Any]:
        if caller not in (*now.block, *now.spam):
            raise not_found("caller")
        return {name: [each for each in getattr(now, name) if each != caller] for name in ("block", "spam")}

    await changes.change(who, key, patch, if_match, _Held(), _still_theirs(who, sight))
    return Response(status_code=204)


def _number_blocks(api: FastAPI, services: Services, sight: Sight, changes: Changes) -> None:
    routes = Routes(api, "numbers")

    @routes.get("/v1/numbers/{e164}/blocks", USERS, problems=[404])
    async def blocks(who: Who, e164: str, response: Response) -> BlocksView:
        """Callers who are refused on a number."""
        number = sight.number(who, e164)
        response.headers["ETag"] = etag(number_view(number))
        return blocks_view(number)

    @routes.post("/v1/numbers/{e164}/blocks", USERS, problems=[404, 412])
    async def block(
        who: Who, e164: str, body: NewBlock, response: Response, if_match: IfMatch = ""
    ) -> BlocksView:
        """Block a caller, a beginning of numbers, a class of numbers, or everyone who hides."""
        number = sight.number(who, e164)
        view, response.headers["ETag"] = await _add(changes, who, sight, e164, number, body, if_match)
        return view

    @routes.delete("/v1/numbers/{e164}/blocks/{caller}", USERS, problems=[404, 412])
    async def unblock(who: Who, e164: str, caller: str, if_match: IfMatch = "") -> Response:
        """Take a caller off the lists."""
        number = sight.number(who, e164)
        return await _remove(changes, who, sight, e164, number, caller, if_match)


def _user_blocks(api: FastAPI, services: Services, sight: Sight, changes: Changes) -> None:
    routes = Routes(api, "users")

    @routes.get("/v1/users/{ref}/blocks", USERS, problems=[404])
    async def user_blocks(who: Who, ref: str, response: Response) -> BlocksView:
        """Callers who are refused on all numbers of a user."""
        user = sight.user(who, ref)
        response.headers["ETag"] = etag(user_view(user))
        return blocks_view(user)

    @routes.post("/v1/users/{ref}/blocks", USERS, problems=[404, 412])
    async def block_for_user(
        who: Who, ref: str, body: NewBlock, response: Response, if_match: IfMatch = ""
    ) -> BlocksView:
        """Block a caller on all numbers of a user."""
        user = sight.user(who, ref)
        view, response.headers["ETag"] = await _add(changes, who, sight, ref, user, body, if_match)
        return view

    @routes.delete("/v1/users/{ref}/blocks/{caller}", USERS, problems=[404, 412])
    async def unblock_for_user(who: Who, ref: str, caller: str, if_match: IfMatch = "") -> Response:
        """Take a caller off the lists of a user; those of the numbers stay as they are."""
        return await _remove(changes, who, sight, ref, sight.user(who, ref), caller, if_match)


def _greeting_blocks(api: FastAPI, services: Services, sight: Sight, changes: Changes) -> None:
    routes = Routes(api, "greetings")
    terms = services.editor.terms

    @routes.get("/v1/greetings/{number}/blocks", MANAGERS, problems=[404])
    async def greeting_blocks(who: Who, number: str, response: Response) -> BlocksView:
        """Callers whom a Greeting refuses."""
        greeting = sight.greeting(who, number)
        response.headers["ETag"] = etag(greeting_view(greeting, terms))
        return blocks_view(greeting)

    @routes.post("/v1/greetings/{number}/blocks", MANAGERS, problems=[404, 412])
    async def block_for_greeting(
        who: Who, number: str, body: NewBlock, response: Response, if_match: IfMatch = ""
    ) -> BlocksView:
        """Let a Greeting refuse a caller."""
        greeting = sight.greeting(who, number)
        view, response.headers["ETag"] = await _add(changes, who, sight, number, greeting, body, if_match)
        return view

    @routes.delete("/v1/greetings/{number}/blocks/{caller}", MANAGERS, problems=[404, 412])
    async def unblock_for_greeting(who: Who, number: str, caller: str, if_match: IfMatch = "") -> Response:
        """Take a caller off the lists of a Greeting."""
        return await _remove(changes, who, sight, number, sight.greeting(who, number), caller, if_match)
