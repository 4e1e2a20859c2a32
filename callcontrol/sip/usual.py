"""Short cuts for the spellings that nearly all peers use, in front of the expressions for all spellings (`grammar`), which
cost several times as much, and the slow readers behind those (`unusual`).

Each takes only what the long way takes too, and reads the same from it (`tests/sip/test_usual_spellings.py`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from callcontrol.sip import grammar
from callcontrol.sip.uri import is_clean

if TYPE_CHECKING:
    from callcontrol.sip.message import Message

_TRANSPORTS: Final = frozenset(("UDP", "TCP", "TLS", "WS", "WSS"))
_SENT_BYS: Final[dict[str, str]] = {}
"""Sent-by values that were found sound -> in lower case: a peer writes the same one into each message."""
_MAX_SENT_BYS: Final = 4096
_SENT_BY: Final = re.compile(r"[A-Za-z0-9\-._]++(?::[1-5]?[0-9]{1,4})?")


def read_via(message: Message, via: str) -> bool:
    """Fill in from a Via with no parameter but the branch, and perhaps an rport without value; False: it is another one."""
    space = via.find(" ")
    semicolon = via.find(";", space)
    if space < 0 or semicolon < 0 or not via.startswith("SIP/2.0/"):
        return False
    transport = via[8:space]
    sent_by = via[space + 1 : semicolon]
    branch = via[semicolon:]
    if branch.startswith(";rport;"):
        branch = branch[6:]
    elif branch.endswith(";rport"):
        branch = branch[:-6]
    if transport not in _TRANSPORTS or not branch.startswith(";branch="):
        return False
    branch = branch[8:]
    if not ((branch.isascii() and branch.isalnum()) or grammar.is_token(branch)):
        return False
    lowered = _SENT_BYS.get(sent_by)
    if lowered is None:
        if _SENT_BY.fullmatch(sent_by) is None:
            return False
        if len(_SENT_BYS) >= _MAX_SENT_BYS:
            _SENT_BYS.clear()
        lowered = sent_by.lower()
        _SENT_BYS[sent_by] = lowered
    message.top_via = via
    message.via_transport = transport
    message.branch = branch
    message.sent_by = lowered
    return True


_BARE: Final = ("<sip:", "<sips:", "<tel:")


def tag_of(value: str) -> str | None:
    """The tag of a From or To that is a URI in brackets with at most a tag behind; None: it is something else."""
    close = value.find(">")
    if close < 0 or not (value.startswith(_BARE)):
        return None
    uri = value[1:close]
    if not is_clean(uri):
        return None
    if close + 1 == len(value):
        return "" if uri[-1] != ":" else None
    tag = value[close + 6 :]
    if uri[-1] == ":" or value[close + 1 : close + 6] != ";tag=":
        return None
    return tag if tag.isascii() and (tag.isalnum() or grammar.is_token(tag)) else None
