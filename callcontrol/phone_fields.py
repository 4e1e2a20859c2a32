"""Reading the fields of a request of an app: types and bounds; what is wrong is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MAX_TEXT: Final = 64
"""Characters of a field; telephone numbers are shorter."""


class BadRequest(Exception):
    """A field is missing or of the wrong kind; the text names it."""


class Fields:
    """Reading the fields of one request; what is wrong raises `BadRequest`."""

    def __init__(self, request: Mapping[str, object]) -> None:
        self._request = request

    def text(self, name: str, *, required: bool = False) -> str:
        value = self._request.get(name)
        if value is None or value == "":
            if required:
                raise BadRequest(f"{name} is missing")
            return ""
        if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
            raise BadRequest(f"{name} is no text of at most {MAX_TEXT} characters")
        return value.strip()

    def flag(self, name: str) -> bool:
        value = self._request.get(name, False)
        if not isinstance(value, bool):
            raise BadRequest(f"{name} is neither true nor false")
        return value

    def seconds(self, name: str) -> float:
        value = self._request.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 86_400:
            raise BadRequest(f"{name} is no number of seconds")
        return float(value)
