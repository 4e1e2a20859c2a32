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


def knows_timer(message: Message) -> bool:
    return message.has("supported") and "timer" in message.tokens("supported")


def too_small(request: Message, ours: int) -> bool:
    """True when the request must be answered 422 with our Min-SE (RFC 4028 §9)."""
    value = request.get("session-expires")
    if value is None or not knows_timer(request):
        return False
    seconds = parse_session_expires(value)[0]
    return 0 < seconds < ours


def accept(request: Message, ours: int, smallest: int, present: int) -> tuple[int, int]:
    """What a UAS agrees to: (interval in seconds, who refreshes), (0, NONE) for no timer (RFC 4028 §9).

    ``ours`` is our wish where the request has none, ``smallest`` our Min-SE, ``present`` who refreshes now, which a later
    refresh keeps unless it asks otherwise.  A peer that does not support timers gets none of its own: our refreshes would
    surprise it, and the longest call is bounded anyway.
    """
    value = request.get("session-expires")
    knows = knows_timer(request)
    if value is None and not knows:
        return 0, NONE
    seconds, refresher = parse_session_expires(value) if value is not None else (0, "")
    interval = max(seconds or ours, min_se(request))
    if not knows:
        # only the UAS can refresh then (table 2), and a proxy that wants it too often cannot be told so
        return (interval, LOCAL) if interval >= smallest else (0, NONE)
    if refresher == "uac":
        return interval, REMOTE
    if refresher == "uas":
        return interval, LOCAL
    return interval, LOCAL if present == LOCAL else REMOTE


def agreed(response: Message, smallest: int) -> tuple[int, int]:
    """What the 2xx to our request says: (interval, who refreshes) (RFC 4028 §7.2).

    A peer that answers with less than our Min-SE breaks the rule and is held to it.
    """
    value = response.get("session-expires")
    if value is None:
        return 0, NONE
    seconds, refresher = parse_session_expires(value)
    if not seconds:
        return 0, NONE
    return max(seconds, smallest), REMOTE if refresher == "uas" else LOCAL


def refresh_after(interval: int) -> float:
    """Half of the interval (RFC 4028 §10)."""
    return interval / 2


def expire_after(interval: int) -> float:
    """When the watching side gives up: the interval less 32 s or a third of it (RFC 4028 §10)."""
    return interval - min(32.0, interval / 3)
