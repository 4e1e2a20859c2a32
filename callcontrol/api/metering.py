"""Around every request: how many there are and how long they take, and the bound of a body.

Plain ASGI, since a framework's middleware would copy every body.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from callcontrol.api.problems import http_problem, respond
from callcontrol.histogram import ROUND_TRIP_SECONDS, Histogram
from callcontrol.metric_catalogue import HTTP_METHODS
from callcontrol.metrics import Metrics

UNMATCHED: Final = "unmatched"
"""Route of requests that no route was there for: their paths are anybody's words."""


class HttpCounters:
    """Requests of one node's API."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str, str], int] = {}
        """(route template, method, status class) -> number."""
        self.seconds: dict[tuple[str, ...], Histogram] = {}
        """(route template,) -> time until the last byte was handed over."""
        self.wrong_tokens = 0

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        key = (route, method if method in HTTP_METHODS else "other", f"{status // 100}xx")
        self.requests[key] = self.requests.get(key, 0) + 1
        histogram = self.seconds.get((route,))
        if histogram is None:
            histogram = self.seconds[(route,)] = Histogram(ROUND_TRIP_SECONDS)
        histogram.observe(seconds)

    def register(self, metrics: Metrics) -> None:
        metrics.register("http_requests", lambda: self.requests)
        metrics.register("http_request_seconds", lambda: self.seconds)
        metrics.register("http_wrong_tokens", lambda: self.wrong_tokens)


class Meter:
    """ASGI middleware that counts and times."""

    def __init__(
        self, app: ASGIApp, counters: HttpCounters, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._counters = counters
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = self._clock()
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            route = getattr(scope.get("route"), "path", UNMATCHED)
            self._counters.count(route, scope["method"], status, self._clock() - began)


class BodyBound:
    """ASGI middleware that reads no more of a body than is allowed (413)."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = _content_length(scope)
        if length is not None and length > self._most:
            await respond(http_problem(self._error()))(scope, receive, send)
            return
        seen = 0

        async def receiving() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self._most:
                    raise self._error()
            return message

        await self._app(scope, receiving, send)

    def _error(self) -> HTTPException:
        # of this kind, since the framework lets no other one pass while it reads a body
        detail = f"Send at most {self._most} bytes (http.max_body_bytes), in several requests if need be."
        return HTTPException(413, detail, {"Connection": "close"})


def _content_length(scope: dict[str, Any] | Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None
