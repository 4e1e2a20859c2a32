"""What the app of a device asks the server for: one service behind MQTT and HTTP (OUT-02, OUT-03, DEV-01).

The transports prove which device asks and carry requests and replies; everything about them is decided here.  Nothing waits:
the reply is handed to a callback, at once where everything is at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

BAD_REQUEST: Final = "bad_request"
"""The request itself cannot be read; every other code is a reason of ``dialplan.reasons``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ok:
    """The request was granted."""

    fields: Mapping[str, object]
    """What the reply says besides ``ok``."""

    def as_json(self) -> dict[str, object]:
        """The reply as the app reads it."""
        return {"ok": True, **self.fields}


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """The request was refused."""

    code: str
    """``bad_request``, or a word of ``dialplan.reasons``."""
    message: str
    """A sentence for people."""
    retry_after_s: int = 0
    """Seconds after which asking again makes sense; 0: it does not."""

    def as_json(self) -> dict[str, object]:
        """The reply as the app reads it."""
        error: dict[str, object] = {"code": self.code, "message": self.message}
        if self.retry_after_s:
            error["retry_after_s"] = self.retry_after_s
        return {"ok": False, "error": error}


Reply = Ok | Error


class PhoneRequestHandler(Protocol):
    """What the transports need; `PhoneRequests` is the one there is, tests bring their own."""

    def handle(
        self,
        device_ref: str,
        request: Mapping[str, object],
        now: float,
        done: Callable[[Reply], None],
    ) -> None:
        """Answer one request of a device, which the transport has authenticated.

        ``request["type"]`` says what is asked: ``call_through`` {number, to}, ``callback`` {number, to},
        ``cancel_callback`` {callback}, ``price`` {to, number?, seconds?}, ``verify`` {sim},
        ``verification`` {verification}.  ``done`` is called exactly once, at once or later.
        """
        ...
