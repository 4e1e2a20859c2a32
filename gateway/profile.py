"""How a carrier wants to be spoken to: identity headers, privacy, diversions, header rules, presets.  Pure.

A profile is a handful of settings of a trunk.  A preset is a set of their values that a document may start
from; what the document says itself goes before it, and only the result is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class IdentityHeader(StrEnum):
    """Header that tells the carrier who really calls, for callers who show their number.

    A caller who hides it is told to a trusted carrier by P-Asserted-Identity with ``Privacy: id`` under every
    profile (OUT-07): of these headers it is the only one that each network on the way must take out.
    """

    PAI = "pai"
    """P-Asserted-Identity (RFC 3325)."""
    PPI = "ppi"
    """P-Preferred-Identity: the carrier asserts it after a check of its own (RFC 3325 section 9.2)."""
    RPID = "rpid"
    """Remote-Party-ID, the draft that old equipment still wants."""
    FROM = "from"
    """From alone."""


class DiversionHeader(StrEnum):
    """Headers that tell who forwarded the call (FWD-02)."""

    DIVERSION = "diversion"
    """RFC 5806."""
    HISTORY_INFO = "history-info"
    """RFC 7044."""
    BOTH = "both"
    """Both, with the mapping of RFC 7544."""
    NONE = "none"


class PrivacyForm(StrEnum):
    """Value of Privacy for a caller who hides the number; always with ``id`` (RFC 3323, RFC 3325)."""

    ID = "id"
    USER = "user;id"
    HEADER = "header;user;id"


class RuleAction(StrEnum):
    """What a header rule does."""

    ADD = "add"
    REPLACE = "replace"
    """Take every header of the name out and write this one."""
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class HeaderRule:
    """One change of the INVITEs that go to a trunk, made last."""

    action: RuleAction
    name: str
    value: str = ""
    """Empty for ``remove``."""


MAX_RULES: Final = 16
MAX_NAME: Final = 64
MAX_VALUE: Final = 512

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")

_OURS: Final = frozenset(
    {
        "via", "route", "record-route", "path", "service-route", "max-forwards",
        "call-id", "cseq", "from", "to", "contact",
        "require", "proxy-require", "supported", "unsupported", "allow", "allow-events",
        "session-expires", "min-se", "rseq", "rack", "replaces", "join", "refer-to", "target-dialog", "event",
        "subscription-state", "expires", "min-expires",
        "authorization", "proxy-authorization", "www-authenticate", "proxy-authenticate",
        "content-type", "content-length", "content-encoding", "content-disposition", "mime-version",
        "x-cloudline-call", "p-called-party-id",
    }
)  # fmt: skip
"""Headers on which the dialog, the session or the login rest."""
_BY_SETTING: Final[Mapping[str, str]] = MappingProxyType(
    {
        "p-asserted-identity": "identity",
        "p-preferred-identity": "identity",
        "remote-party-id": "identity",
        "privacy": "privacy",
        "diversion": "diversion",
        "history-info": "diversion",
        "identity": "identity",
    }
)
"""Headers that say who calls: a setting decides about them, so that no rule can undo what a caller asked for."""
_COMPACT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "a": "accept-contact", "b": "referred-by", "c": "content-type", "d": "request-disposition",
        "e": "content-encoding", "f": "from", "i": "call-id", "j": "reject-contact", "k": "supported",
        "l": "content-length", "m": "contact", "n": "identity-info", "o": "event", "r": "refer-to",
        "s": "subject", "t": "to", "u": "allow-events", "v": "via", "x": "session-expires", "y": "identity",
    }
)  # fmt: skip


def check_rule(rule: HeaderRule) -> str:
    """What is wrong with a rule; empty when nothing is."""
    if _TOKEN.fullmatch(rule.name) is None:
        return f"{rule.name!r} is not the name of a header"
    name = long_name(rule.name).lower()
    if name in _OURS:
        return f"{rule.name} holds the call together and cannot be changed"
    setting = _BY_SETTING.get(name)
    if setting is not None:
        return f"{rule.name} tells who calls: the setting {setting!r} decides about it"
    if rule.action is RuleAction.REMOVE:
        return "" if not rule.value else "a header that is removed has no value"
    if not rule.value.strip():
        return f"{rule.name} has no value"
    if len(rule.value) > MAX_VALUE:
        return f"the value of {rule.name} is longer than {MAX_VALUE} characters"
    if not all(char == "\t" or char.isprintable() for char in rule.value):
        return f"the value of {rule.name} contains control characters"
    return ""


def long_name(name: str) -> str:
    """The name of a header, whose compact form may have been written (RFC 3261 section 7.3.3)."""
    return _COMPACT.get(name.lower(), name)


PRESETS: Final[Mapping[str, Mapping[str, object]]] = MappingProxyType(
    {
        # SIPconnect 2.0: E.164 with plus sign, asserted identity, History-Info of RFC 7044.
        "sipconnect": MappingProxyType(
            {
                "number_format": "e164",
                "identity": "pai",
                "privacy": "id",
                "diversion": "both",
                "options_seconds": 60,
            }
        ),
        # Direct Routing: our name (not our address) in From and Contact, TLS, and OPTIONS from the same name.
        "teams": MappingProxyType(
            {
                "peers": [
                    f"sip:{name}.pstnhub.microsoft.com:5061;transport=tls" for name in ("sip", "sip2", "sip3")
                ],
                "accept_from": ["52.112.0.0/14", "52.120.0.0/14"],
                "number_format": "e164",
                "identity": "pai",
                "privacy": "id",
                "diversion": "history-info",
                "options_seconds": 60,
            }
        ),
    }
)
"""Name -> keys of a trunk's document with the values that they have unless the document says otherwise."""

NAMED_HOST: Final = frozenset({"teams"})
"""Presets of carriers that know us by a name: ``host`` must be written."""

_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::(\d{1,5}))?")


def check_host(host: str) -> str:
    """What is wrong with ``host`` or ``host:port``; empty when nothing is."""
    match = _HOST.fullmatch(host)
    if match is None or len(host) > 255:
        return f"{host!r} is not a host name"
    if match.group(1) is not None and not 1 <= int(match.group(1)) <= 65535:
        return "the port is 1 to 65535"
    return ""
