"""Writing of messages (RFC 3261 §7, §8.2.6); all of it is checked for line breaks and NUL.

Requests are written without Via: the endpoint puts it in, for only it knows branch and transport.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from callcontrol.sip.errors import LocalProtocolError
from callcontrol.sip.fields import is_plain_value
from callcontrol.sip.grammar import is_token
from callcontrol.sip.headers import NAMES, SPELLING
from callcontrol.sip.message import Message

REASONS: Final[dict[int, str]] = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    199: "Early Dialog Terminated",
    200: "OK",
    202: "Accepted",
    204: "No Notification",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    305: "Use Proxy",
    380: "Alternative Service",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    410: "Gone",
    412: "Conditional Request Failed",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    417: "Unknown Resource-Priority",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    423: "Interval Too Brief",
    424: "Bad Location Information",
    425: "Bad Alert Message",
    428: "Use Identity Header",
    429: "Provide Referrer Identity",
    430: "Flow Failed",
    433: "Anonymity Disallowed",
    436: "Bad Identity Info",
    437: "Unsupported Credential",
    438: "Invalid Identity Header",
    439: "First Hop Lacks Outbound Support",
    440: "Max-Breadth Exceeded",
    469: "Bad Info Package",
    470: "Consent Needed",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    484: "Address Incomplete",
    485: "Ambiguous",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    493: "Undecipherable",
    494: "Security Agreement Required",
    500: "Server Internal Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    555: "Push Notification Service Not Supported",
    580: "Precondition Failure",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
    607: "Unwanted",
    608: "Rejected",
}
"""Default reason phrases (IANA's SIP response codes)."""

_DIALOG_FORMING: Final = frozenset(("INVITE", "SUBSCRIBE", "REFER", "NOTIFY"))


def response(
    request: Message,
    status: int,
    reason: str = "",
    to_tag: str = "",
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
    content_type: str = "",
) -> bytes:
    """Write the response to a request (RFC 3261 §8.2.6).

    Via, From, To, Call-ID and CSeq are copied as they came; ``to_tag`` is added to a To without tag (not in
    a 100). Timestamp is copied into a 100, Record-Route into what may form a dialog (§12.1.1). ``reason``
    defaults to the usual phrase. ``headers`` follow as in `request`. LocalProtocolError for anything that
    would break the message.
    """
    vias = ""
    routes = ""
    sender = ""
    receiver = ""
    call_id = ""
    cseq = ""
    timestamp = ""
    for name, _, raw in request.headers:
        if name == "via":
            vias += raw + "\r\n"
        elif name == "from":
            sender = sender or raw
        elif name == "to":
            receiver = receiver or raw
        elif name == "call-id":
            call_id = call_id or raw
        elif name == "cseq":
            cseq = cseq or raw
        elif name == "record-route":
            routes += raw + "\r\n"
        elif name == "timestamp":
            timestamp = raw + "\r\n"
    if to_tag and status > 100 and not request.to_tag:
        if not is_plain_value(to_tag):
            raise LocalProtocolError(f"no tag: {to_tag[:60]!r}")
        receiver = receiver.rstrip(" \t\r\n") + ";tag=" + to_tag
    if status > 100:
        timestamp = ""
    if status == 100 or status >= 300 or request.method not in _DIALOG_FORMING:
        routes = ""
    start_line = f"SIP/2.0 {status} {reason or REASONS.get(status, 'Unknown')}\r\n"
    tail = _tail(headers, body, content_type)
    _check(start_line + tail, len(headers) + (4 if content_type else 3), headers)
    text = f"{start_line}{vias}{routes}{timestamp}{sender}\r\n{receiver}\r\n{call_id}\r\n{cseq}\r\n{tail}"
    return text.encode("utf-8", "surrogateescape") + body


def request(
    method: str, uri: str, headers: Sequence[tuple[str, str]], body: bytes = b"", content_type: str = ""
) -> bytes:
    """Write a request without Via.

    Content-Type and Content-Length are written from the arguments, never by callers. A header is (name,
    value); the name in any spelling, a canonical one is written as its RFC does. Name "" makes the value
    one raw line (`Message.headers`), written as it stands, folds included. LocalProtocolError for CR, LF or
    a NUL that is no quoted-pair.
    """
    if " " in method or " " in uri:
        raise LocalProtocolError(f"space in {method[:60]!r} or {uri[:60]!r}")
    text = f"{method} {uri} SIP/2.0\r\n{_tail(headers, body, content_type)}"
    _check(text, len(headers) + (4 if content_type else 3), headers)
    return text.encode("utf-8", "surrogateescape") + body


def _tail(headers: Sequence[tuple[str, str]], body: bytes, content_type: str) -> str:
    """Header lines, Content-Type where there is one, Content-Length, and the empty line."""
    text = ""
    for name, value in headers:
        spelling = SPELLING.get(name)
        if spelling is not None:
            text += f"{spelling}: {value}\r\n"
        elif name:
            _check_name(name)
            text += f"{name}: {value}\r\n"
        else:
            spelled, colon, _ = value.partition(":")
            _check_name(spelled.rstrip(" \t") if colon else "")
            text += value + "\r\n"
    if content_type:
        text += f"Content-Type: {content_type}\r\n"
    return f"{text}Content-Length: {len(body)}\r\n\r\n"


def _check_name(name: str) -> None:
    if name not in NAMES and not is_token(name):
        raise LocalProtocolError(f"no header name: {name[:60]!r}")


def _check(text: str, breaks: int, headers: Sequence[tuple[str, str]]) -> None:
    """Refuse text with more line breaks than we put in: one count over all, not one search per header."""
    if text.count("\n") == breaks and text.count("\r") == breaks and "\0" not in text:
        return
    for name, value in headers:
        if name:
            _check_breaks(value)
        else:
            breaks += value.count("\r\n")
            _check_breaks(value.replace("\r\n ", " ").replace("\r\n\t", " "))
    if text.count("\n") != breaks or text.count("\r") != breaks:
        raise LocalProtocolError("line break in the start line or Content-Type")
    # NUL may stand in a quoted-pair only (RFC 3261 §25.1)
    plain = text.replace("\\\\", "")
    if plain.count("\0") != plain.count("\\\0"):
        raise LocalProtocolError("NUL in a message")


def _check_breaks(value: str) -> None:
    if "\r" in value or "\n" in value:
        raise LocalProtocolError(f"line break in {value[:60]!r}")
