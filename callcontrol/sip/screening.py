"""What a UAS checks before it looks at what a request wants (RFC 3261 §8.2.1 to §8.2.3, §16.3).

Pure rules over one message.  Malformed messages, another SIP version (505) and merged requests (482) never
get here: the parser and the endpoint refuse those.  Left to the user of the request: 404, authentication,
the contents of bodies, and what a missing Contact or tag means (peers of RFC 2543 send none).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from callcontrol.sip.message import Message
from callcontrol.sip.outputs import METHODS

MAX_NAMED: Final = 20
"""Option tags named in Unsupported: an answer need not be as long as the longest question."""
_ANSWERED_HERE: Final = frozenset(("OPTIONS", "REGISTER"))


class Capabilities:
    """What this element does, as it is told to peers; a value, made once."""

    __slots__ = ("accept", "allow", "passed_on", "schemes", "supported")

    def __init__(
        self,
        allow: Sequence[str],
        accept: Sequence[str],
        supported: Sequence[str],
        schemes: Sequence[str] = ("sip", "sips", "tel"),
        passed_on: Sequence[str] = (),
    ) -> None:
        self.allow: tuple[str, ...] = tuple(allow)
        """Methods, as in Allow."""
        self.accept: tuple[str, ...] = tuple(accept)
        """Body types in lower case, as in Accept; ``type/*`` and ``*/*`` stand for all they cover."""
        self.supported: tuple[str, ...] = tuple(supported)
        """Option tags in lower case, as in Supported."""
        self.schemes: tuple[str, ...] = tuple(schemes)
        """Schemes of a Request-URI, lower case."""
        self.passed_on: tuple[str, ...] = tuple(passed_on)
        """Methods whose bodies cross unread, so that any type and encoding will do."""

    def accepts(self, content_type: str) -> bool:
        """True for a body type (lower case, without parameters) that ``accept`` covers."""
        family = content_type[: content_type.find("/") + 1] + "*"
        return content_type in self.accept or family in self.accept or "*/*" in self.accept


class Refusal:
    """The answer that a request deserves: arguments for ``build.response``."""

    __slots__ = ("headers", "reason", "status")

    def __init__(self, status: int, reason: str = "", headers: Sequence[tuple[str, str]] = ()) -> None:
        self.status: int = status
        self.reason: str = reason
        """Empty: the usual phrase."""
        self.headers: tuple[tuple[str, str], ...] = tuple(headers)

    def __repr__(self) -> str:
        return f"Refusal({self.status}, {self.headers!r})"


def screen(message: Message, capabilities: Capabilities, in_dialog: bool = False) -> Refusal | None:
    """The refusal of a request, or None; the first rule in the order of §8.2 that is broken.

    ``in_dialog``: the request belongs to a dialog of ours; its URI is our Contact and nothing is forwarded.
    An ACK is never refused (§8.2.2.3, §17.1.1.3).
    """
    method = message.method
    if method == "ACK":
        return None
    if method not in capabilities.allow:
        # §21.5.2: 501 for a method unknown to us, §21.4.6: 405 for one that is known and not allowed
        return Refusal(405 if method in METHODS else 501, headers=(("Allow", ", ".join(capabilities.allow)),))
    if not in_dialog:
        if message.max_forwards == 0 and method not in _ANSWERED_HERE:
            return Refusal(483)
        scheme = message.uri[: message.uri.find(":")].lower()
        if scheme not in capabilities.schemes:
            return Refusal(416)
    return _screen_extensions(message, capabilities) or _screen_body(message, capabilities)


def _screen_extensions(message: Message, capabilities: Capabilities) -> Refusal | None:
    """§8.2.2.3.  Proxy-Require is for proxies, which we are not."""
    if message.method == "CANCEL" or not message.has("require"):
        return None
    unsupported = [tag for tag in message.items("require") if tag.lower() not in capabilities.supported]
    return (
        Refusal(420, headers=(("Unsupported", ", ".join(unsupported[:MAX_NAMED])),)) if unsupported else None
    )


def _screen_body(message: Message, capabilities: Capabilities) -> Refusal | None:
    """§8.2.3, RFC 5621 §8.  A body that is marked as optional may be ignored and is no reason to refuse."""
    if not message.body or message.method in capabilities.passed_on:
        return None
    if not message.content_type:
        return Refusal(400, "Body without Content-Type")
    encodings = message.tokens("content-encoding")
    encoded = encodings != [] and encodings != ["identity"]
    if capabilities.accepts(message.content_type) and not encoded:
        return None
    if _is_optional(message.get("content-disposition")):
        return None
    if encoded:
        return Refusal(415, headers=(("Accept-Encoding", "identity"),))
    return Refusal(415, headers=(("Accept", ", ".join(capabilities.accept)),))


def _is_optional(disposition: str | None) -> bool:
    """True when the sender wrote ``handling=optional`` (RFC 3261 §20.11); without it handling is required."""
    if disposition is None:
        return False
    for param in disposition.lower().split(";")[1:]:
        name, _, value = param.partition("=")
        if name.strip() == "handling" and value.strip() == "optional":
            return True
    return False
