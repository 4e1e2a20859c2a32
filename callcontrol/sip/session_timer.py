"""Session timers (RFC 4028): the arithmetic and the headers, without state.

Each leg of a call has its own timer: the two sides of a B2BUA are two dialogs, and a phone that cannot do timers must not
cost the other side its supervision.
"""

from __future__ import annotations

from typing import Final

from .message import Message

NONE: Final = 0
"""Nobody refreshes: the leg has no session timer."""
LOCAL: Final = 1
"""We refresh."""
REMOTE: Final = 2
"""The peer refreshes; we watch."""


def parse_session_expires(value: str) -> tuple[int, str]:
    """``1800;refresher=uac`` -> (1800, "uac"); (0, "") when it cannot be read."""
    first, _, rest = value.partition(";")
    number = first.strip()
    if not number.isascii() or not number.isdigit() or len(number) > 9:
        return 0, ""
    refresher = ""
    for part in rest.split(";"):
        name, _, val = part.partition("=")
        if name.strip().lower() == "refresher":
            refresher = val.strip().lower()
    return int(number), refresher if refresher in ("uac", "uas") else ""


def min_se(message: Message) -> int:
    value = message.get("min-se")
    return parse_session_expires(value)[0] if value else 0


def too_small(request: Message, ours: int) -> bool:
    """True when the request must be answered 422 with our Min-SE (RFC 4028 §9)."""
    value = request.get("session-expires")
    if value is None or "timer" not in request.tokens("supported"):
        return False
    seconds = parse_session_expires(value)[0]
    return 0 < seconds < ours


def accept(request: Message, ours: int, we_are_refresher: int) -> tuple[int, int]:
    """What a UAS agrees to: (interval in seconds, who refreshes), (0, NONE) for no timer (RFC 4028 §9).

    ``we_are_refresher`` is the present role, which a later refresh keeps unless it asks otherwise.
    A peer that does not support timers gets none: our own refreshes would surprise it, and the longest call is bounded anyway.
    """
    if "timer" not in request.tokens("supported") and request.get("session-expires") is None:
        return 0, NONE
    value = request.get("session-expires")
    seconds, refresher = parse_session_expires(value) if value else (0, "")
    interval = seconds or ours
    interval = max(interval, min_se(request))
    if "timer" not in request.tokens("supported"):
        return interval, LOCAL  # only the UAS can refresh then (RFC 4028 §9, table 2)
    if refresher == "uac":
        return interval, REMOTE
    if refresher == "uas":
        return interval, LOCAL
    return interval, LOCAL if we_are_refresher == LOCAL else REMOTE


def agreed(response: Message) -> tuple[int, int]:
    """What the 2xx to our request says: (interval, who refreshes) (RFC 4028 §7.2)."""
    value = response.get("session-expires")
    if value is None:
        return 0, NONE
    seconds, refresher = parse_session_expires(value)
    if not seconds:
        return 0, NONE
    return seconds, REMOTE if refresher == "uas" else LOCAL


def refresh_after(interval: int) -> float:
    """Half of the interval (RFC 4028 §10)."""
    return interval / 2


def expire_after(interval: int) -> float:
    """When the watching side gives up: the interval less 32 s or a third of it (RFC 4028 §10)."""
    return interval - min(32.0, interval / 3)
