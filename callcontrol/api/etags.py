"""Entity tags (RFC 9110 section 8.8.3): a hash of what an object's view says.

Secrets are in no view, so a tag tells nothing about them, and changing nothing but a password leaves it as it was.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import msgspec
from fastapi import Header
from starlette.requests import Request

from callcontrol.api.problems import Problem

IfMatch = Annotated[
    str,
    Header(
        alias="If-Match", max_length=1000, description="ETag that the object must still have; `*` for any."
    ),
]


def etag(view: Any) -> str:
    """Strong tag of a view (a dataclass)."""
    return f'"{hashlib.sha256(msgspec.json.encode(view, order="deterministic")).hexdigest()[:24]}"'


def check_match(if_match: str, view: Any) -> None:
    """Raises 412 unless ``If-Match`` names the view as it is; an absent header matches all (RFC 9110 section 13.1.1)."""
    if if_match and not _matches(if_match, etag(view)):
        detail = "Read it again, and send the change with its new ETag."
        raise Problem(412, "precondition_failed", "It has changed meanwhile", detail)


def unchanged(request: Request, tag: str) -> bool:
    """Whether If-None-Match names the view, so that 304 is enough."""
    given = request.headers.get("if-none-match", "")
    return bool(given) and _matches(given, tag)


def _matches(header: str, tag: str) -> bool:
    names = [name.strip() for name in header.split(",")]
    return "*" in names or tag in names or f"W/{tag}" in names
