"""Errors as problems of RFC 9457, each with a stable ``code``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from callcontrol.logs import get_logger
from callcontrol.provisioning.documents import Problem as DocumentProblem
from config.database import DatabaseUnavailable

ERROR_BASE: Final = "https://cloudline.example/errors/"
MEDIA_TYPE: Final = "application/problem+json"
RETRY_DATABASE_S: Final = 5
_MAX_ERRORS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One thing that is wrong with a request."""

    pointer: str
    """Where: a JSON pointer into the body (``/sip_password``), or the name of a parameter."""
    detail: str
    """What is wrong."""
    remedy: str = ""
    """What to write instead."""


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
    errors: tuple[FieldError, ...] = ()
    """Each thing that is wrong with the request, where that is what is wrong."""


class Problem(Exception):
    """Raised by a handler to answer with an RFC 9457 problem."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str = "",
        headers: Mapping[str, str] | None = None,
        errors: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(code)
        self.view = ProblemView(
            type=ERROR_BASE + code,
            title=title,
            status=status,
            code=code,
            detail=detail,
            errors=tuple(errors[:_MAX_ERRORS]),
        )
        self.headers = dict(headers) if headers is not None else None


def not_found(what: str) -> Problem:
    """404: there is none, or none that the token may see; the two are not told apart."""
    return Problem(404, "not_found", f"No such {what}", f"There is no such {what}, or it is not yours.")


def later(seconds: float) -> dict[str, str]:
    """Retry-After (RFC 9110 section 10.2.3), whole seconds and at least one."""
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def of_documents(problems: Sequence[DocumentProblem], *, bulk: bool) -> Problem:
    """422 for what the rules of provisioning refuse; ``bulk``: the body held many objects, by kind."""
    errors = [
        FieldError(
            pointer=_pointer(problem.path if bulk else problem.path[2:]),
            detail=f"{problem.object}: {problem.message}" if bulk and problem.object else _bare(problem),
            remedy=problem.remedy,
        )
        for problem in problems
    ]
    first = errors[0]
    rest = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    detail = f"{first.detail}{f'; {first.remedy}' if first.remedy else ''}{rest}"
    return Problem(422, "invalid_object", "The object is refused", detail, errors=errors)


def _bare(problem: DocumentProblem) -> str:
    """The message alone, where the object is the one that was sent."""
    return problem.message if problem.path else f"{problem.object}: {problem.message}"


def _pointer(path: Sequence[str | int]) -> str:
    """JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path if part != "")


def problem_of(error: Exception) -> Problem | None:
    """The problem that an exception means; None for a defect of ours."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, DatabaseUnavailable):
        detail = "Calls go on, and what is known stays readable; try again."
        title = "The database does not answer"
        return Problem(503, "database_unavailable", title, detail, later(RETRY_DATABASE_S))
    if isinstance(error, StarletteHTTPException):
        return http_problem(error)
    return None


def http_problem(error: StarletteHTTPException) -> Problem:
    """The problem that the framework's own exception means."""
    titles = {
        400: ("bad_request", "The request cannot be read"),
        404: ("not_found", "There is no such resource"),
        405: ("method_not_allowed", "The resource does not take this method"),
        413: ("body_too_large", "The body is too big"),
    }
    code, title = titles.get(error.status_code, ("refused", "The request is refused"))
    return Problem(error.status_code, code, title, str(error.detail), headers=error.headers)


def _invalid(error: RequestValidationError) -> Problem:
    errors = [_field_error(each) for each in error.errors()]
    first = errors[0]
    detail = f"{first.pointer}: {first.detail}{f'; {first.remedy}' if first.remedy else ''}"
    in_body = error.errors()[0]["loc"][0] == "body"
    if in_body:
        return Problem(422, "invalid_body", "The body is wrong", detail, errors=errors)
    return Problem(422, "invalid_parameter", "A parameter is wrong", detail, errors=errors)


def _field_error(error: Mapping[str, Any]) -> FieldError:
    where, *path = error["loc"]
    kind, message = str(error["type"]), str(error["msg"])
    remedy = ""
    if kind == "extra_forbidden":
        message, remedy = "there is no such field", "leave it out"
    elif kind == "missing":
        message, remedy = "is missing", "add it"
    elif kind == "json_invalid":
        path, message, remedy = [], "is not JSON", str(error.get("ctx", {}).get("error", ""))
    elif "expected" in error.get("ctx", {}):
        remedy = f"write one of {error['ctx']['expected']}"
    pointer = _pointer(path) if where == "body" else ".".join(map(str, path))
    return FieldError(pointer=pointer, detail=message, remedy=remedy)


def respond(problem: Problem) -> Response:
    """A problem as an answer."""
    view = problem.view
    content: dict[str, Any] = {
        "type": view.type,
        "title": view.title,
        "status": view.status,
        "code": view.code,
        "detail": view.detail,
    }
    if view.errors:
        content["errors"] = [
            {"pointer": each.pointer, "detail": each.detail, "remedy": each.remedy} for each in view.errors
        ]
    return JSONResponse(content, view.status, problem.headers, media_type=MEDIA_TYPE)


def add_handlers(api: FastAPI) -> None:
    """Let every error of the application be answered as a problem."""
    log = get_logger("http")

    async def handle(request: Request, error: Exception) -> Response:
        found = problem_of(error)
        if found is None:
            log.error("request failed", path=request.url.path, exc_info=error)
            found = Problem(500, "internal_error", "The node failed to answer", "The reason is in its log.")
        elif isinstance(error, DatabaseUnavailable):
            log.warning("the database does not answer", path=request.url.path, error=str(error))
        return respond(found)

    for kind in (Problem, RequestValidationError, DatabaseUnavailable, StarletteHTTPException, Exception):
        api.add_exception_handler(kind, handle)


def _described(description: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    content: dict[str, Any] = {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemView"}}},
    }
    if headers:
        content["headers"] = {
            name: {"description": text, "schema": {"type": "integer"}} for name, text in headers.items()
        }
    return content


_RETRY: Final = {"Retry-After": "Seconds to wait."}
RESPONSES: Final[dict[int, dict[str, Any]]] = {
    400: _described("The request cannot be read."),
    401: _described("The token is missing, wrong, expired or revoked."),
    403: _described("A token of this scope may not do this."),
    404: _described("There is none, or it is not yours."),
    409: _described("It conflicts with what there is, or with a request that still runs."),
    412: _described("It is not any more what If-Match names."),
    413: _described("The body is too big."),
    415: _described("The body is not JSON."),
    422: _described("A parameter, a field or a rule speaks against it; `errors` names each."),
    429: _described("Too many requests.", _RETRY),
    503: _described("A part that is needed is away.", _RETRY),
}
"""Problems by status, as OpenAPI describes them."""
