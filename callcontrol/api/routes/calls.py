"""Calls that run, calls that are remembered, and call records."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from fastapi import FastAPI, Query
from fastapi.responses import Response

from callcontrol.access.tokens import Principal, Scope
from callcontrol.api.changing import note
from callcontrol.api.door import Who
from callcontrol.api.pages import DEFAULT_PAGE, Cursor, Limit, Page, bad_cursor, read_cursor, write_cursor
from callcontrol.api.problems import Problem
from callcontrol.api.routing import MANAGERS, OPERATOR, USERS, Routes
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from callcontrol.audience import CUSTOMER, ENGINEER
from callcontrol.call_places import CallKey, Place
from callcontrol.masking import mask_message
from callcontrol.node_view import (
    CallView,
    CdrPage,
    CdrView,
    LadderView,
    LegView,
    ToldView,
)
from callcontrol.offer_views import OfferView
from callcontrol.story import Viewer, tell
from numbering.directory import Directory

ANONYMOUS = "anonymous"
INCOMING, CALLER = "incoming", "caller"
_SLICE = 500
"""Calls looked at before others get their turn on the event loop."""


class Parties:
    """Whose calls a principal sees: those of its own people, on whichever side."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def sees(self, who: Principal, key: CallKey) -> bool:
        if who.scope is Scope.OPERATOR:
            return True
        if who.scope is Scope.MANAGER:
            return key.account == who.account or any(
                self._account_of(ref) == who.account for ref in key.devices
            )
        return key.user == who.user or any(self._user_of(ref) == who.user for ref in key.devices)

    def own(self, who: Principal, device: str) -> bool:
        """Whether a leg to a device is shown."""
        if who.scope is Scope.MANAGER:
            return bool(device) and self._account_of(device) == who.account
        return bool(device) and self._user_of(device) == who.user

    def view(self, who: Principal, view: CallView) -> CallView:
        """Customers see who called whom and when; addresses, carriers and reasons of the dialplan are the operator's.

        Whoever is called within the platform learns of the caller what the phone showed: no user, no device, and of a
        caller who hides no number (OUT-07).
        """
        if who.scope is Scope.OPERATOR:
            return view
        calls = self._is_caller(who, view)
        hidden = view.caller_hidden and not calls
        caller = ANONYMOUS if hidden else view.caller
        legs: list[LegView] = []
        for leg in view.legs:
            own = self.own(who, leg.device)
            if leg.role == CALLER:
                # a SIM that called through is known to us, and to nobody whom it calls
                party, device = leg.party if calls else caller, leg.device if own else ""
            elif own or (leg.trunk and not leg.device):
                party, device = leg.party, leg.device
            else:
                continue
            legs.append(replace(leg, party=party, device=device, address="", call_id="", trunk=""))
        offers = self.offers(who, view.offers)
        view = replace(view, caller=caller, legs=tuple(legs), offers=offers, trunk="", plan=(), trace=())
        if view.direction != INCOMING and not calls:
            view = replace(view, user="", account="", number="" if hidden else view.number)
        return view

    def _is_caller(self, who: Principal, view: CallView) -> bool:
        """Whether the call is made by the principal's own people; one that comes in is made by nobody of ours."""
        if view.direction == INCOMING:
            return False
        return view.account == who.account if who.scope is Scope.MANAGER else view.user == who.user

    def offers(self, who: Principal, offers: Sequence[OfferView]) -> tuple[OfferView, ...]:
        """What became of whose devices: of the own people."""
        if who.scope is Scope.OPERATOR:
            return tuple(offers)
        return tuple(offer for offer in offers if self._is_own(who, offer.user))

    def _is_own(self, who: Principal, user: str) -> bool:
        if who.scope is not Scope.MANAGER:
            return user == who.user
        account = self._directory.account_of(user)
        return account is not None and account.ref == who.account

    def _user_of(self, ref: str) -> str:
        device = self._directory.device(ref)
        return device.user if device is not None else ""

    def _account_of(self, ref: str) -> str:
        account = self._directory.account_of(self._user_of(ref))
        return account.ref if account is not None else ""


def add_to(api: FastAPI, services: Services, sight: Sight) -> None:
    routes = Routes(api, "calls")
    node = services.node
    directory = services.directory
    parties = Parties(directory)

    async def seen(who: Principal, ref: str) -> CallView:
        key = await node.call_key(ref)
        view = await node.call(ref) if key is not None and parties.sees(who, key) else None
        if view is None:
            raise no_call()
        return view

    @routes.get("/v1/calls", USERS)
    async def calls(
        who: Who,
        state: Annotated[str, Query(pattern="^(running|ended)$")] = "running",
        limit: Limit = DEFAULT_PAGE,
        cursor: Cursor = "",
    ) -> Page[CallView]:
        """Running calls, or the ended ones that the node still remembers; the latest first."""
        found: list[CallKey] = []
        looked = 0
        async for key in node.call_keys(state == "ended", _place(cursor)):
            if parties.sees(who, key):
                found.append(key)
                if len(found) > limit:
                    break
            looked += 1
            if looked % _SLICE == 0:
                await asyncio.sleep(0)
        views = [await node.call(key.ref) for key in found[:limit]]
        last = found[limit - 1] if len(found) > limit else None
        return Page(
            items=tuple(parties.view(who, view) for view in views if view is not None),
            next_cursor=write_cursor(last.started_at, last.ref) if last is not None else "",
        )

    @routes.get("/v1/calls/{ref}", USERS, problems=[404])
    async def call(who: Who, ref: str, audience: Audience = "") -> CallView:
        """A call with its legs and its story; for operators with its plan and the trace of the decisions."""
        reader = audience_of(who, audience)
        view = parties.view(who, await seen(who, ref))
        story = await node.story(ref)
        if story is None:
            return view
        told = tell(story, reader, None if who.scope is Scope.OPERATOR else viewer_of(sight, directory, who))
        return replace(view, story=tuple(ToldView(at=each.at, text=each.text) for each in told))

    @routes.get("/v1/calls/{ref}/ladder", OPERATOR, problems=[404])
    async def ladder(ref: str) -> LadderView:
        """Every SIP message of a call in order; credentials are removed."""
        view = await node.ladder(ref)
        if view is None:
            raise no_call()
        return masked_ladder(view)

    @routes.delete("/v1/calls/{ref}", MANAGERS, 202, problems=[404], response_class=Response)
    async def hang_up(who: Who, ref: str) -> Response:
        """End a running call: every leg is released, and the call record says that it was ended so."""
        account = (await seen(who, ref)).account
        if not await node.hang_up(ref):
            raise no_call()
        await note(services, who, "hang_up", "call", ref, account)
        return Response(status_code=202)

    @routes.get("/v1/cdrs", USERS)
    async def cdrs(
        who: Who,
        limit: Limit = DEFAULT_PAGE,
        cursor: Cursor = "",
        number: Annotated[
            str, Query(max_length=32, pattern=r"^[^\x00]*$", description="The cloud number, as E.164.")
        ] = "",
    ) -> CdrPage:
        """Call records, the latest first."""
        account = who.account if who.scope is Scope.MANAGER else ""
        try:
            page = await node.cdrs(limit, cursor, number, account=account, user=who.user)
        except ValueError:
            raise bad_cursor() from None
        return replace(page, items=tuple(_record(who, record, parties) for record in page.items))


Audience = Annotated[
    str,
    Query(
        pattern="^(engineer|support|customer)?$",
        description="For whom the story is told: `engineer` (every line), `support` (plain sentences), `customer` "
        "(redacted). Operators choose, `engineer` is their default; all others get `customer`.",
    ),
]


def audience_of(who: Principal, asked: str) -> str:
    """For whom a story is told.  Raises a 403 `Problem` for customers who want to read what others may."""
    if who.scope is Scope.OPERATOR:
        return asked or ENGINEER
    if asked not in ("", CUSTOMER):
        raise Problem(403, "not_allowed", "Not for this token", f"the audience {asked} is the operator's")
    return CUSTOMER


def viewer_of(sight: Sight, directory: Directory, who: Principal) -> Viewer:
    """What is a customer's own: of a manager what the company has, else what the user has."""

    def owns_number(e164: str) -> bool:
        number = directory.number(e164)
        if number is not None and sight.sees_number(who, number):
            return True
        greeting = directory.greeting(e164)
        return greeting is not None and sight.sees_account(who, greeting.account)

    return Viewer(owns_number=owns_number, owns_user=lambda ref: sight.sees_user_ref(who, ref))


def _place(cursor: str) -> Place | None:
    if not cursor:
        return None
    started_at, ref = read_cursor(cursor, float, str)
    return float(started_at), str(ref)


def _record(who: Principal, record: CdrView, parties: Parties) -> CdrView:
    """A call record as customers see it: without carriers, other people's legs, or a number that was withheld."""
    if who.scope is Scope.OPERATOR:
        return record
    hidden = record.caller_hidden and record.direction != "outgoing"
    return replace(
        record,
        caller=ANONYMOUS if hidden else record.caller,
        trunk="",
        legs=tuple(
            replace(leg, trunk="", number=ANONYMOUS if hidden and leg.role == "caller" else leg.number)
            for leg in record.legs
            if leg.role == "caller" or leg.user in ("", record.user)
        ),
        offers=parties.offers(who, record.offers),
    )


def masked_ladder(view: LadderView) -> LadderView:
    """The ladder without credentials in its messages."""
    entries = tuple(
        replace(entry, message=mask_message(entry.message)) if entry.message else entry
        for entry in view.entries
    )
    return replace(view, entries=entries)


def no_call() -> Problem:
    """404 for calls."""
    detail = "It is neither running nor remembered, or it is not yours; call records stay in /v1/cdrs."
    return Problem(404, "not_found", "No such call", detail)
