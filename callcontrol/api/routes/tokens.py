"""Tokens: who may make one for whom, and the end of them."""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI
from fastapi.responses import Response

from callcontrol.access.service import SubjectGone
from callcontrol.access.tokens import OPERATOR_TOKEN, Principal, Scope, Token
from callcontrol.api.bodies import NewToken, Rotation
from callcontrol.api.changing import author_of, unknown
from callcontrol.api.door import Who
from callcontrol.api.pages import DEFAULT_PAGE, Cursor, Limit, Page, after_key, page_by_key
from callcontrol.api.problems import FieldError, Problem, not_found
from callcontrol.api.routing import ALL, USERS, Routes
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from callcontrol.api.views import NewTokenView, TokenView, token_view

_BELOW: Final = {
    Scope.OPERATOR: tuple(Scope),
    Scope.MANAGER: (Scope.USER, Scope.DEVICE),
    Scope.USER: (Scope.DEVICE,),
    Scope.DEVICE: (),
}
"""Scopes of the tokens that a principal may make, see and end, for subjects that it sees."""


def add_to(api: FastAPI, services: Services, sight: Sight) -> None:
    routes = Routes(api, "tokens")
    directory = services.directory

    def sees_subject(who: Principal, scope: Scope, subject: str) -> bool:
        if who.scope is Scope.OPERATOR:
            return True
        device = directory.device(subject) if scope is Scope.DEVICE else None
        if scope is Scope.DEVICE:
            return device is not None and sight.sees_device(who, device)
        return sight.sees_user_ref(who, subject)

    def may_end(who: Principal, token: Token | None) -> Token:
        """A token to be shown, rotated or revoked; everyone may end the one that it came with."""
        if token is None:
            raise not_found("token")
        below = token.scope in _BELOW[who.scope] and sees_subject(who, token.scope, token.subject)
        if token.id != who.token and not below:
            raise not_found("token")
        return token

    async def find(who: Principal, token_id: str) -> Token:
        # ids are made by us: anything else is not there, and need not be asked for
        known = token_id.isascii() and token_id.isalnum() and token_id != OPERATOR_TOKEN
        return may_end(who, await services.token_lists.get(token_id) if known else None)

    @routes.get("/v1/tokens", USERS)
    async def tokens(who: Who, limit: Limit = DEFAULT_PAGE, cursor: Cursor = "") -> Page[TokenView]:
        """Tokens that may be rotated and revoked with this one, ended ones too, without their secrets."""
        subjects = None
        if who.scope is Scope.USER:
            subjects = [device.ref for device in directory.devices_of(who.user)]
        found = await services.token_lists.list(
            limit + 1,
            after=after_key(cursor),
            account=None if who.scope is Scope.OPERATOR else who.account,
            scopes=_BELOW[who.scope],
            subjects=subjects,
        )
        return page_by_key([token_view(token) for token in found], limit, lambda view: view.id)

    @routes.post("/v1/tokens", USERS, secret=True)
    async def create_token(who: Who, body: NewToken, response: Response) -> NewTokenView:
        """Make a token; its text is shown in this answer only."""
        if body.scope not in _BELOW[who.scope]:
            raise _too_wide(who, body.scope)
        if bool(body.subject) != (body.scope is not Scope.OPERATOR):
            raise _subject(body.scope)
        expires_at = body.expires_at.timestamp() if body.expires_at is not None else 0.0
        if expires_at and expires_at <= services.wall():
            errors = [
                FieldError(pointer="/expires_at", detail="is in the past", remedy="leave it out for never")
            ]
            raise Problem(
                422, "invalid_body", "The body is wrong", "expires_at: is in the past", errors=errors
            )
        if not sees_subject(who, body.scope, body.subject):
            raise unknown("subject", body.scope.value, body.subject)
        try:
            token, text = await services.tokens.create(
                body.scope, body.subject, body.label, expires_at, author_of(who)
            )
        except SubjectGone:
            what = "account" if body.scope is Scope.MANAGER else body.scope.value
            raise unknown("subject", what, body.subject) from None
        return _new(token, text, response)

    @routes.get("/v1/tokens/{token_id}", ALL, problems=[404])
    async def token(who: Who, token_id: str) -> TokenView:
        """One token, without its secret."""
        return token_view(await find(who, token_id))

    @routes.post("/v1/tokens/{token_id}/rotate", ALL, secret=True, problems=[404])
    async def rotate_token(
        who: Who, token_id: str, response: Response, body: Rotation | None = None
    ) -> NewTokenView:
        """Make a token in place of another, which goes on working for a while."""
        old = await find(who, token_id)
        given = body.grace_seconds if body is not None else None
        grace = services.settings.token_grace_seconds if given is None else given
        made = (
            await services.tokens.rotate(old, grace, author_of(who)) if old.works(services.wall()) else None
        )
        if made is None:
            detail = "It has expired, was revoked, or was rotated before; make a new one."
            raise Problem(409, "token_ended", "The token cannot be rotated", detail)
        return _new(*made, response)

    @routes.delete("/v1/tokens/{token_id}", ALL, problems=[404])
    async def revoke_token(who: Who, token_id: str) -> Response:
        """End a token at once, on every node."""
        await services.tokens.revoke(await find(who, token_id), author_of(who))
        return Response(status_code=204)


def _new(token: Token, text: str, response: Response) -> NewTokenView:
    response.headers["Location"] = f"/v1/tokens/{token.id}"
    response.headers["Cache-Control"] = "no-store"
    return NewTokenView(token=text, details=token_view(token))


def _too_wide(who: Principal, scope: Scope) -> Problem:
    allowed = ", ".join(_BELOW[who.scope])
    errors = [
        FieldError(pointer="/scope", detail=f"{scope} is beyond this token", remedy=f"one of {allowed}")
    ]
    detail = f"A token of scope {who.scope} makes tokens of scope {allowed} only."
    raise Problem(403, "field_forbidden", "Such a token is not yours to make", detail, errors=errors)


def _subject(scope: Scope) -> Problem:
    what = (
        "an operator's token has no subject"
        if scope is Scope.OPERATOR
        else f"a {scope} token needs a subject"
    )
    remedy = "leave it out" if scope is Scope.OPERATOR else "write the ref of the account, user or device"
    errors = [FieldError(pointer="/subject", detail=what, remedy=remedy)]
    return Problem(422, "invalid_body", "The body is wrong", f"subject: {what}; {remedy}", errors=errors)
