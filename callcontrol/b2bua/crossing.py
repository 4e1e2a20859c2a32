"""What crosses from one leg to the other, and how (topology hiding).

A B2BUA ends one dialog and begins another: Via, Route, Record-Route, Contact, Call-ID, tags, CSeq, User-Agent and Server of
one side are never seen by the other.  What does cross is listed here by name; everything else stays on its side.  Bodies cross
byte for byte with the headers that describe them.
"""

from __future__ import annotations

from typing import Final

from callcontrol.sip.message import Message
from dialplan.plan import Identity

_DESCRIBES_BODY: Final = ("content-disposition", "content-encoding", "content-language", "mime-version")

INVITE_CROSSES: Final[dict[str, str]] = {
    "accept": "Accept",
    "accept-language": "Accept-Language",
    "alert-info": "Alert-Info",
    "geolocation": "Geolocation",
    "geolocation-routing": "Geolocation-Routing",
    "in-reply-to": "In-Reply-To",
    "p-early-media": "P-Early-Media",
    "priority": "Priority",
    "recv-info": "Recv-Info",
    "subject": "Subject",
    "user-to-user": "User-to-User",
}
RESPONSE_CROSSES: Final[dict[str, str]] = {
    "alert-info": "Alert-Info",
    "p-early-media": "P-Early-Media",
    "recv-info": "Recv-Info",
    "retry-after": "Retry-After",
    "user-to-user": "User-to-User",
}
REQUEST_CROSSES: Final[dict[str, str]] = {
    "accept": "Accept",
    "info-package": "Info-Package",
    "subject": "Subject",
    "user-to-user": "User-to-User",
}
_HIDDEN_ANONYMOUS: Final = '"Anonymous" <sip:anonymous@anonymous.invalid>'


def crossing(message: Message, table: dict[str, str], with_body: bool = True) -> list[str]:
    """Header lines of ``message`` that cross, in wire order; those that describe its body only ``with_body``."""
    lines: list[str] = []
    has_body = with_body and bool(message.body)
    for name, value, _raw in message.headers:
        written = table.get(name)
        if written is not None:
            lines.append(f"{written}: {value}")
        elif has_body and name in _DESCRIBES_BODY:
            lines.append(f"{_spelled(name)}: {value}")
    return lines


def _spelled(name: str) -> str:
    return "MIME-Version" if name == "mime-version" else name.title()


_TELLS_NOTHING: Final = ("p-early-media", "recv-info", "info-package", "retry-after")
_PRIORITIES: Final = ("emergency", "urgent", "normal", "non-urgent", "psap-callback")


def veiled_lines(lines: list[str]) -> list[str]:
    """Of lines that cross those in which nobody who hides can be read: a subject, a picture, a place, or what the caller's
    software says would tell (RFC 3323 §4.1).  A Reason keeps its cause and loses its words."""
    kept: list[str] = []
    for line in lines:
        name, _, value = line.partition(":")
        low = name.lower()
        value = value.strip().lower()
        if low in _TELLS_NOTHING or (low == "priority" and value in _PRIORITIES):
            kept.append(line)
        elif low == "reason":
            protocol, _, rest = value.replace(" ", "").partition(";cause=")
            cause = rest.partition(";")[0]
            if protocol in ("sip", "q.850") and cause.isdigit() and len(cause) <= 3:
                kept.append(f"Reason: {protocol.upper()};cause={cause}")
    return kept


def reason_crossing(message: Message) -> list[str]:
    """Reason headers of a BYE or CANCEL cross as they are: they tell why, not where (RFC 3326)."""
    return [f"Reason: {value}" for value in message.all("reason")]


def from_value(identity: Identity, domain: str, number: str) -> str:
    """The From value that a callee sees, without tag; ``number`` is the caller's number as this side writes it."""
    user = number or identity.user
    if identity.hidden or not user:
        return _HIDDEN_ANONYMOUS
    address = f"<sip:{escape_user(user)}@{domain}>"
    return f"{quoted(identity.display)} {address}" if identity.display else address


def quoted(text: str) -> str:
    """A display name as quoted string (RFC 3261 §25.1)."""
    clean = "".join(char for char in text if char >= " " and char != "\x7f")
    return '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'


_USER_SAFE: Final = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!~*'()&=+$,;?/"
)


def escape_user(user: str) -> str:
    """The user part of a URI, escaped where needed (RFC 3261 §25.1)."""
    if all(char in _USER_SAFE for char in user):
        return user
    out: list[str] = []
    for char in user:
        if char in _USER_SAFE:
            out.append(char)
        else:
            out.extend([f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape")])
    return "".join(out)


def device_identity(identity: Identity, domain: str, called: str, call_ref: str) -> list[str]:
    """Identity lines towards our own devices: which number was called, and who calls (INC-10)."""
    user = called if called.startswith("+") else escape_user(called)
    lines = [f"P-Called-Party-ID: <sip:{user}@{domain}>", f"X-Cloudline-Call: {call_ref}"]
    if not identity.hidden and identity.number:
        lines.append(f"P-Asserted-Identity: <sip:{identity.number}@{domain}>")
    return lines
