"""Who comes in: the bearer token of a request, its scope, and how often it may ask."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from callcontrol.access.service import Tokens
from callcontrol.access.tokens import Principal, Scope
from callcontrol.api.metering import HttpCounters
from callcontrol.api.problems import Problem, later
from callcontrol.api.throttle import Failures, Throttle
from callcontrol.limits import address_key
from config.sections import HttpSettings

BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="token",
    description="A token of `cloudline token create` or `POST /v1/tokens`, or the one in the operator's token file.",
)
"""Describes the scheme in OpenAPI; the judging is done by `Door`."""


class Door:
    """Lets requests in, or says why not."""

    def __init__(
        self,
        tokens: Tokens,
        settings: HttpSettings,
        monotonic: Callable[[], float],
        counters: HttpCounters,
    ) -> None:
        self._tokens = tokens
        self._counters = counters
        self._now = monotonic
        self._throttle = Throttle(settings.rate_per_second, settings.burst)
        self._failures = Failures(settings.wrong_tokens, settings.wrong_token_seconds)

    async def admit(self, request: Request, scopes: Collection[Scope]) -> Principal:
        """Who asks.  Raises `Problem` 401, 403 or 429, and `config.database.DatabaseUnavailable`."""
        text = _bearer(request)
        if not text:
            raise _unauthorized()
        address = address_key(request.client.host) if request.client is not None else ""
        now = self._now()
        wait = self._failures.wait(address, now)
        # Whoever guesses waits; a token that is known needs no look-up and is not held up by its neighbours.
        if wait and not self._tokens.known(text):
            title = "Too many wrong tokens from this address"
            raise Problem(429, "too_many_wrong_tokens", title, "Wait, then send a valid token.", later(wait))
        who = await self._tokens.principal(text)
        if who is None:
            self._failures.add(address, now)
            self._counters.wrong_tokens += 1
            raise _unauthorized()
        wait = self._throttle.take(who.token, now)
        if wait:
            detail = "Ask less often, or in bigger pages."
            raise Problem(429, "too_many_requests", "Too many requests with this token", detail, later(wait))
        if who.scope not in scopes:
            detail = f"It takes a token of scope {', '.join(sorted(scopes))}; this one has {who.scope}."
            raise Problem(403, "forbidden", "A token of this scope may not do this", detail)
        return who


def _bearer(request: Request) -> str:
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else ""


def _unauthorized() -> Problem:
    return Problem(
        401,
        "unauthorized",
        "A valid token is needed",
        "Send Authorization: Bearer with a token that has neither expired nor been revoked.",
        {"WWW-Authenticate": 'Bearer realm="cloudline"'},
    )


def _who(request: Request) -> Principal:
    """The principal that the route let in."""
    who: Principal = request.state.who
    return who


Who = Annotated[Principal, Depends(_who)]
