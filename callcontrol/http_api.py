"""The HTTP API of a node: health, metrics, and what an operator may see and do.

``/healthz``, ``/readyz`` and ``/metrics`` are open (they name no person); everything below ``/v1`` needs the
operator's token as ``Authorization: Bearer …``.  Errors are problems of RFC 9457 with a stable ``code``;
lists come in pages with an opaque cursor; OpenAPI 3.1 is at ``/openapi.json``.

The server shares the event loop with SIP, so nothing here may hold it: handlers build one bounded page,
requests have no bodies, and connections are few.  Message texts leave with their credentials removed.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException as StarletteHTTPException

from callcontrol.logs import get_logger
from callcontrol.masking import mask_message
from callcontrol.metrics import CONTENT_TYPE
from callcontrol.node_view import (
    BanView,
    CallView,
    CdrPage,
    ComponentView,
    LadderView,
    Node,
    NodeView,
    RegistrationView,
    ReloadView,
    TrunkView,
)
from config.database import DatabaseUnavailable

MAX_PAGE = 500
DEFAULT_PAGE = 100
_ERROR_BASE = "https://cloudline.example/errors/"

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Item]):
    """A part of a list."""

    items: tuple[Item, ...]
    next_cursor: str = ""
    """Give it back as ``cursor`` for the next page; empty on the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthView:
    """The node's own opinion of itself."""

    status: str
    """``ok`` or ``failed``."""
    components: tuple[ComponentView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemView:
    """An error as RFC 9457 (``application/problem+json``) writes it."""

    type: str
    title: str
    status: int
    code: str
    """A stable word for programs."""
    detail: str = ""
    """A sentence for people, with the remedy."""


class Problem(Exception):
    """Raised by a handler to answer with an RFC 9457 problem."""

    def __init__(
        self, status: int, code: str, title: str, detail: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(code)
        self.view = ProblemView(type=_ERROR_BASE + code, title=title, status=status, code=code, detail=detail)
        self.headers = headers


_bearer = HTTPBearer(auto_error=False, description="The operator's token")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Items per page.")]
Cursor = Annotated[str, Query(max_length=200, description="next_cursor of the page before.")]

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": ProblemView, "description": "The token is missing or wrong."},
    422: {"model": ProblemView, "description": "A parameter is wrong."},
}
_OR_404: dict[int | str, dict[str, Any]] = {404: {"model": ProblemView, "description": "There is none."}}


def build_api(node: Node, token: str, version: str) -> FastAPI:
    """The application over one node.  ``token`` opens everything below ``/v1``; it must not be empty."""
    if not token:
        raise ValueError("the operator's token must not be empty")
    api = FastAPI(
        title="Cloudline",
        version=version,
        description="Running calls, registrations, trunks and records of one node, for its operator.",
        redoc_url=None,
    )
    _add_errors(api)
    _add_open_routes(api, node)
    _add_call_routes(api, node, _operator(token))
    _add_state_routes(api, node, _operator(token))
    return api


def _operator(token: str) -> Any:
    expected = token.encode()

    def check(credentials: Credentials) -> None:
        given = credentials.credentials.encode() if credentials is not None else b""
        if not hmac.compare_digest(given, expected):
            raise Problem(
                401,
                "unauthorized",
                "The operator's token is needed",
                "Send Authorization: Bearer with the token of the node's token file.",
                {"WWW-Authenticate": 'Bearer realm="cloudline"'},
            )

    return Depends(check)


def _add_errors(api: FastAPI) -> None:
    log = get_logger("http")

    @api.exception_handler(Problem)
    async def problem(_request: Request, error: Problem) -> JSONResponse:
        return _problem_response(error.view, error.headers)

    @api.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        view = Problem(422, "invalid_parameter", "A parameter is wrong", f"{where}: {first['msg']}").view
        return _problem_response(view, None)

    @api.exception_handler(StarletteHTTPException)
    async def plain(_request: Request, error: StarletteHTTPException) -> JSONResponse:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "refused")
        headers = dict(error.headers) if error.headers else None
        return _problem_response(Problem(error.status_code, code, str(error.detail)).view, headers)

    @api.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        log.error("request failed", path=request.url.path, exc_info=error)
        view = Problem(500, "internal_error", "The node failed to answer", "The reason is in its log.").view
        return _problem_response(view, None)


def _problem_response(view: ProblemView, headers: dict[str, str] | None) -> JSONResponse:
    content = {
        "type": view.type,
        "title": view.title,
        "status": view.status,
        "code": view.code,
        "detail": view.detail,
    }
    return JSONResponse(content, view.status, headers, media_type="application/problem+json")


def _add_open_routes(api: FastAPI, node: Node) -> None:
    def health(components: Sequence[ComponentView]) -> HealthView:
        status = "ok" if all(component.ok for component in components) else "failed"
        return HealthView(status=status, components=tuple(components))

    unwell: dict[int | str, dict[str, Any]] = {503: {"model": HealthView, "description": "A part failed."}}

    @api.get("/healthz", tags=["health"], responses=unwell)
    async def healthz(response: Response) -> HealthView:
        """Whether the process works; 503 asks for a restart."""
        view = health(node.health())
        response.status_code = 200 if view.status == "ok" else 503
        return view

    @api.get("/readyz", tags=["health"], responses=unwell)
    async def readyz(response: Response) -> HealthView:
        """Whether the node should get new traffic; 503 while it starts, drains or lacks a part."""
        view = health(node.readiness())
        response.status_code = 200 if view.status == "ok" else 503
        return view

    @api.get("/metrics", tags=["health"], response_class=Response)
    async def metrics() -> Response:
        """The metrics of `docs/metrics.md` for Prometheus."""
        return Response(node.metrics_page(), headers={"Content-Type": CONTENT_TYPE})


def _add_call_routes(api: FastAPI, node: Node, operator: Any) -> None:
    log = get_logger("http")

    @api.get("/v1/calls", tags=["calls"], dependencies=[operator], responses=_PROBLEMS)
    async def calls(
        state: Annotated[str, Query(pattern="^(running|ended)$")] = "running",
        limit: Limit = DEFAULT_PAGE,
        cursor: Cursor = "",
    ) -> Page[CallView]:
        """Running calls, or the ended ones that the node still remembers; the latest first."""
        refs = node.call_refs(state == "ended")
        start = _after(refs, cursor)
        window = refs[start : start + limit]
        views = (node.call(ref) for ref in window)
        more = start + limit < len(refs)
        return Page(
            items=tuple(view for view in views if view is not None), next_cursor=window[-1] if more else ""
        )

    @api.get("/v1/calls/{ref}", tags=["calls"], dependencies=[operator], responses=_PROBLEMS | _OR_404)
    async def call(ref: str) -> CallView:
        """A call with its legs, its plan and the trace of the decisions."""
        view = node.call(ref)
        if view is None:
            raise _no_call(ref)
        return view

    @api.get("/v1/calls/{ref}/ladder", tags=["calls"], dependencies=[operator], responses=_PROBLEMS | _OR_404)
    async def ladder(ref: str) -> LadderView:
        """Every SIP message of a call in order; credentials are removed."""
        view = node.ladder(ref)
        if view is None:
            raise _no_call(ref)
        return masked_ladder(view)

    @api.delete(
        "/v1/calls/{ref}",
        tags=["calls"],
        status_code=202,
        dependencies=[operator],
        responses=_PROBLEMS | _OR_404,
        response_class=Response,
    )
    async def hang_up(ref: str) -> Response:
        """End a running call: every leg is released, and the call record says that the operator did it."""
        if not node.hang_up(ref):
            raise _no_call(ref)
        return Response(status_code=202)

    @api.get("/v1/cdrs", tags=["calls"], dependencies=[operator], responses=_PROBLEMS)
    async def cdrs(
        limit: Limit = DEFAULT_PAGE,
        cursor: Cursor = "",
        number: Annotated[str, Query(max_length=32, description="E.164 number of either side.")] = "",
    ) -> CdrPage:
        """Call records, the latest first."""
        try:
            return await node.cdrs(limit, cursor, number)
        except ValueError:
            raise _bad_cursor() from None
        except (DatabaseUnavailable, OSError) as error:
            log.warning("call records cannot be read", error=str(error))
            detail = "Calls go on and their records wait in the outbox; try again."
            raise Problem(
                503, "database_unavailable", "The database does not answer", detail, {"Retry-After": "5"}
            ) from None


def _add_state_routes(api: FastAPI, node: Node, operator: Any) -> None:
    @api.get("/v1/node", tags=["node"], dependencies=[operator], responses=_PROBLEMS)
    async def info() -> NodeView:
        """The node: version, listeners, how many calls and registrations."""
        return node.info()

    @api.get("/v1/registrations", tags=["state"], dependencies=[operator], responses=_PROBLEMS)
    async def registrations(
        user: Annotated[str, Query(max_length=100, description="Ref of a user or a device.")] = "",
        limit: Limit = DEFAULT_PAGE,
        cursor: Cursor = "",
    ) -> Page[RegistrationView]:
        """Bindings of the registrar."""
        return _page(node.registrations(user), limit, cursor)

    @api.get("/v1/trunks", tags=["state"], dependencies=[operator], responses=_PROBLEMS)
    async def trunks(limit: Limit = DEFAULT_PAGE, cursor: Cursor = "") -> Page[TrunkView]:
        """Trunks with their peers and the calls on them."""
        return _page(node.trunks(), limit, cursor)

    @api.get("/v1/bans", tags=["state"], dependencies=[operator], responses=_PROBLEMS)
    async def bans(limit: Limit = DEFAULT_PAGE, cursor: Cursor = "") -> Page[BanView]:
        """Addresses that are kept out or slowed."""
        return _page(node.bans(), limit, cursor)

    @api.delete(
        "/v1/bans/{address:path}",
        tags=["state"],
        status_code=204,
        dependencies=[operator],
        responses=_PROBLEMS | _OR_404,
        response_class=Response,
    )
    async def lift_ban(address: str) -> Response:
        """Forget the ban of an address (IPv6: of its /64)."""
        if not node.lift_ban(address):
            raise Problem(404, "not_found", "No such ban", f"{address} is not banned.")
        return Response(status_code=204)

    @api.post("/v1/drain", tags=["node"], status_code=202, dependencies=[operator], responses=_PROBLEMS)
    async def drain() -> NodeView:
        """Take no new calls, finish the running ones, then exit."""
        return node.drain()

    refused: dict[int | str, dict[str, Any]] = {
        409: {"model": ReloadView, "description": "Refused; the old one stays."}
    }

    @api.post("/v1/reload", tags=["node"], dependencies=[operator], responses=_PROBLEMS | refused)
    async def reload(response: Response) -> ReloadView:
        """Read certificates and provisioning again."""
        view = await node.reload()
        response.status_code = 200 if view.ok else 409
        return view


def masked_ladder(view: LadderView) -> LadderView:
    """The ladder without credentials in its messages."""
    entries = tuple(
        replace(entry, message=mask_message(entry.message)) if entry.message else entry
        for entry in view.entries
    )
    return replace(view, entries=entries)


def _page(items: Iterable[Item], limit: int, cursor: str) -> Page[Item]:
    """One page by position: such lists change between pages, so an item may be missed or seen twice,
    never cut.
    """
    start = 0
    if cursor:
        if not cursor.isascii() or not cursor.isdigit():
            raise _bad_cursor()
        start = int(cursor)
    window = tuple(islice(items, start, start + limit + 1))
    more = len(window) > limit
    return Page(items=window[:limit], next_cursor=str(start + limit) if more else "")


def _after(refs: Sequence[str], cursor: str) -> int:
    if not cursor:
        return 0
    try:
        return refs.index(cursor) + 1
    except ValueError:
        raise _bad_cursor() from None


def _bad_cursor() -> Problem:
    return Problem(
        422, "invalid_cursor", "The cursor is not known (any more)", "Start again without a cursor."
    )


def _no_call(ref: str) -> Problem:
    detail = f"{ref} is neither running nor remembered; call records stay in /v1/cdrs."
    return Problem(404, "not_found", "No such call", detail)
