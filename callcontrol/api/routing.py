"""Routes that cannot be made without saying who may use them.

`Routes` is the one way to add a route below ``/v1``: each names its scopes, and the door is asked before the
request is looked at.  Whether an *object* is visible to who was let in is `callcontrol.api.sight`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from typing import Any, Final, TypeVar

from fastapi import Depends, FastAPI, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from callcontrol.access.tokens import Scope
from callcontrol.api.door import BEARER, Door
from callcontrol.api.etags import unchanged
from callcontrol.api.idempotency import HEADER, MAX_KEY, Idempotency
from callcontrol.api.problems import RESPONSES, FieldError, Problem
from config.settings import nearest

SCOPES: Final = "x-cloudline-scopes"
_SECRET: Final = "x-cloudline-secret"

OPERATOR: Final = (Scope.OPERATOR,)
MANAGERS: Final = (Scope.OPERATOR, Scope.MANAGER)
USERS: Final = (Scope.OPERATOR, Scope.MANAGER, Scope.USER)
ALL: Final = tuple(Scope)

Endpoint = TypeVar("Endpoint", bound=Callable[..., Awaitable[Any]])

_KEY_PARAMETER: Final = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "A word of your own; the same request with the same word is done once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": "^[!-~]+$"},
}


class ScopedRoute(APIRoute):
    """A route below ``/v1``: the door first, then ``Idempotency-Key``, then the handler."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        extra = options.get("openapi_extra") or {}
        if not extra.get(SCOPES):
            raise TypeError(f"{path}: a route must say which scopes may use it")
        self.scopes = frozenset(Scope(name) for name in extra[SCOPES])
        self._secret = bool(extra.pop(_SECRET, False))
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        run = super().get_route_handler()
        known = [str(each.alias) for each in self.dependant.query_params]

        async def handle(request: Request) -> Response:
            door: Door = request.app.state.door
            who = await door.admit(request, self.scopes)
            request.state.who = who
            _check_query(request, known)
            _check_type(request)
            if request.method == "POST" and HEADER in request.headers:
                once: Idempotency = request.app.state.idempotency
                return await once.once(request, who.token, run, secret=self._secret)
            answer = await run(request)
            tag = answer.headers.get("etag", "")
            if request.method == "GET" and tag and unchanged(request, tag):
                return Response(status_code=304, headers={"ETag": tag})
            return answer

        return handle


def _check_query(request: Request, known: Sequence[str]) -> None:
    """A misspelt parameter would be a filter that does not filter.  Raises 422."""
    wrong = sorted(name for name in request.query_params if name not in known)
    if wrong:
        remedy = nearest(wrong[0], list(known)) if known else "it takes none"
        errors = [FieldError(pointer=wrong[0], detail="there is no such parameter", remedy=remedy)]
        detail = f"{wrong[0]!r}: there is no such parameter; {remedy}"
        raise Problem(422, "invalid_parameter", "A parameter is wrong", detail, errors=errors)


def _check_type(request: Request) -> None:
    """Raises 415 for a body that is not JSON: a form would be read as no body at all."""
    headers = request.headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    if has_body and kind != "application/json" and not kind.endswith("+json"):
        detail = "Send Content-Type: application/json."
        raise Problem(415, "unsupported_media_type", "The body is not JSON", detail)


class Routes:
    """Adds the routes of one resource to the application."""

    def __init__(self, api: FastAPI, tag: str) -> None:
        self._api = api
        self._tag = tag

    def get(self, path: str, scopes: Collection[Scope], **options: Any) -> Callable[[Endpoint], Endpoint]:
        return self._add("GET", path, scopes, 200, **options)

    def post(
        self, path: str, scopes: Collection[Scope], status: int = 201, **options: Any
    ) -> Callable[[Endpoint], Endpoint]:
        return self._add("POST", path, scopes, status, **options)

    def patch(self, path: str, scopes: Collection[Scope], **options: Any) -> Callable[[Endpoint], Endpoint]:
        return self._add("PATCH", path, scopes, 200, **options)

    def put(self, path: str, scopes: Collection[Scope], **options: Any) -> Callable[[Endpoint], Endpoint]:
        return self._add("PUT", path, scopes, 200, **options)

    def delete(
        self, path: str, scopes: Collection[Scope], status: int = 204, **options: Any
    ) -> Callable[[Endpoint], Endpoint]:
        return self._add("DELETE", path, scopes, status, **options)

    def _add(
        self,
        method: str,
        path: str,
        scopes: Collection[Scope],
        status: int,
        *,
        problems: Collection[int] = (),
        responses: dict[int | str, dict[str, Any]] | None = None,
        secret: bool = False,
        extra: dict[str, Any] | None = None,
        **options: Any,
    ) -> Callable[[Endpoint], Endpoint]:
        """``problems``: statuses beyond those that every route has; ``secret``: the answer is shown once."""
        described: dict[str, Any] = {SCOPES: [str(scope) for scope in scopes], **(extra or {})}
        statuses = {400, 401, 403, 422, 429, 503, *problems}
        if method == "POST":
            described["parameters"] = [_KEY_PARAMETER]
            described[_SECRET] = secret
            statuses |= {409, 413, 415}
        if method in ("PATCH", "PUT"):
            statuses |= {413, 415}
        answers: dict[int | str, Any] = {code: RESPONSES[code] for code in sorted(statuses)}

        def decorate(endpoint: Endpoint) -> Endpoint:
            self._api.router.add_api_route(
                path,
                endpoint,
                methods=[method],
                status_code=status,
                tags=[self._tag],
                responses={**answers, **(responses or {})},
                dependencies=[Depends(BEARER)],
                openapi_extra=described,
                route_class_override=ScopedRoute,
                **options,
            )
            return endpoint

        return decorate
