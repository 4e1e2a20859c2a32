"""Odd spellings in a message's head: the slow path behind `message.parse`, right where the fast one gives up.

Each function fills in what it can even when it finds a defect, because the refusal needs it; the defect comes back
as text, "" for none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.fields import is_plain_value, parse_cseq, parse_name_addr, parse_via, split_list

if TYPE_CHECKING:
    from callcontrol.sip.message import Message


def has_bare_nul(head: str) -> bool:
    """True for a NUL that is no quoted-pair: only after a backslash is it legal (RFC 3261 §25.1)."""
    plain = head.replace("\\\\", "")
    return plain.count("\0") != plain.count("\\\0")


def unfold(lines: list[str]) -> tuple[list[str], list[str]]:
    """Join continuation lines: the logical lines, and beside them the raw ones (RFC 3261 §7.3.1).

    A fold counts as one space. The first line is the start line and cannot be continued.
    """
    logical: list[str] = []
    raw: list[str] = []
    for line in lines:
        if line[:1] in (" ", "\t") and len(raw) > 1:
            # No fold may stand before the colon (HCOLON, §25.1): what has none yet stays malformed.
            if ":" in logical[-1]:
                logical[-1] = logical[-1].rstrip(" \t") + " " + line.strip(" \t")
            raw[-1] = f"{raw[-1]}\r\n{line}"
        else:
            logical.append(line)
            raw.append(line)
    return logical, raw


def read_via(message: Message, value: str, max_vias: int) -> str:
    """The top Via, in any spelling; the defect found, or ""."""
    members = split_list(value)
    if not members:
        return "empty Via"
    if len(members) > max_vias:
        return "too many Via values"
    message.top_via = members[0]
    defect = ""
    try:
        via = parse_via(members[0])
    except RemoteProtocolError as error:
        # What stands before the parameters is enough to send the refusal (RFC 4475 §3.1.2.1).
        defect = f"Via: {error.reason}"
        message.top_via = members[0].partition(";")[0]
        try:
            via = parse_via(message.top_via)
        except RemoteProtocolError:
            return defect
    message.via_transport = via.transport
    message.sent_by = via.sent_by
    message.branch = via.branch
    if "branch" in via.params and not is_plain_value(via.branch):
        return "Via: malformed branch"
    return defect or ("" if via.version == "SIP/2.0" else "Via of another protocol version")


def read_address(value: str, name: str) -> tuple[str, str]:
    """Tag of a From or To in any spelling, and the defect found, or ""."""
    try:
        address = parse_name_addr(value)
    except RemoteProtocolError as error:
        return "", f"{name}: {error.reason}"
    if "tag" in address.params and not is_plain_value(address.tag):
        # A tag is a token: we write it again without quotes, where "a;b" would become two parameters.
        return "", f"{name}: malformed tag"
    return address.tag, ""


def read_cseq(message: Message, value: str) -> str:
    """Fill in the CSeq and compare its method with the request's (RFC 3261 §8.1.1.5); the defect, or ""."""
    try:
        message.cseq, message.cseq_method = parse_cseq(value)
    except RemoteProtocolError as error:
        return error.reason
    if not message.is_request:
        message.method = message.cseq_method
    elif message.cseq_method != message.method:
        return "CSeq method differs from the request's"
    return ""
