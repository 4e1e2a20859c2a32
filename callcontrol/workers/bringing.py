"""Bringing two calls of one person together that are with different workers (RFC 3891, RFC 5589).

A transfer, or an INVITE with Replaces, names a dialog of another call.  Before this worker reads on, it asks the others who has
that one, and takes it over like a call that somebody asked for (`callcontrol.live.nodes.NodeLease.fetch`).  The request waits
meanwhile; what becomes of it then is decided as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.fields import Replaces, parse_name_addr, parse_replaces
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message
from callcontrol.sip.uri import parse_uri, unescape

MAX_WAITING: Final = 1_000
"""Requests that wait at the same time; what comes beyond is worked off without the other call."""


def named_dialog(message: Message) -> Replaces | None:
    """The dialog that a request wants joined or replaced; None: it names none that could be read."""
    try:
        if message.method == "INVITE":
            values = message.all("replaces")
            return parse_replaces(values[0]) if len(values) == 1 else None
        values = message.all("refer-to")
        if len(values) != 1 or "eplaces" not in values[0]:
            return None
        for part in parse_uri(parse_name_addr(values[0]).uri).headers.split("&"):
            name, _, content = part.partition("=")
            if unescape(name).strip().lower() == "replaces":
                return parse_replaces(unescape(content))
    except RemoteProtocolError:
        return None
    return None


class Bringing:
    """Sees every message before the endpoint's transactions do; ``takes`` keeps those that have to wait."""

    def __init__(
        self,
        knows: Callable[[str], bool],
        bring: Callable[[Replaces, Callable[[], None]], None],
        receive: Callable[[bytes, Flow], None],
    ) -> None:
        """``knows``: whether a tag is of a call here; ``bring`` has the dialog's call brought and tells when that was tried;
        ``receive`` takes a message as if it came now."""
        self._knows = knows
        self._bring = bring
        self._receive = receive
        self._waiting: set[str] = set()
        self._tried: set[str] = set()

    def takes(self, message: Message, flow: Flow, now: float) -> bool:
        """Keep a request whose other call is not here; False: go on with it."""
        method = message.method
        if not message.is_request or method not in ("REFER", "INVITE"):
            return False
        if method == "INVITE" and not message.has("replaces"):
            return False
        key = f"{message.call_id} {message.from_tag} {message.cseq}"
        if key in self._waiting:
            return True  # repeated
        if key in self._tried:
            return False
        dialog = named_dialog(message)
        if dialog is None or self._knows(dialog.to_tag) or self._knows(dialog.from_tag):
            return False
        if len(self._waiting) >= MAX_WAITING:
            return False
        self._waiting.add(key)
        data = message.data
        self._bring(dialog, lambda: self._go_on(key, data, flow))
        return True

    def _go_on(self, key: str, data: bytes, flow: Flow) -> None:
        self._waiting.discard(key)
        if len(self._tried) >= MAX_WAITING:
            self._tried.clear()
        self._tried.add(key)
        self._receive(data, flow)

    def __len__(self) -> int:
        return len(self._waiting)
