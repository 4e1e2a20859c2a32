"""Names of header fields: canonical form, usual spelling, compact form, and which may stand only once.

The names are those of IANA's SIP registry (RFC 3261 §20 and its extensions). Inside the server a header is
called by its long name in lower case; on the wire we write the spelling of its RFC. A name that is not here
is as good: it is canonicalised by lower-casing and passes unharmed.
"""

from __future__ import annotations

from typing import Final

_SPELLINGS: Final = """
Accept Accept-Contact Accept-Encoding Accept-Language Accept-Resource-Priority Additional-Identity
Alert-Info Allow Allow-Events Answer-Mode Authentication-Info Authorization Call-ID Call-Info
Cellular-Network-Info Contact Content-Disposition Content-Encoding Content-ID Content-Language
Content-Length Content-Type CSeq Date Diversion DC-Info Encryption Error-Info Event Expires
Feature-Caps Flow-Timer From Geolocation Geolocation-Error Geolocation-Routing Hide History-Info
Identity Identity-Info Info-Package In-Reply-To Join Max-Breadth Max-Forwards MIME-Version
Min-Expires Min-SE Organization Origination-Id P-Access-Network-Info P-Answer-State
P-Asserted-Identity P-Asserted-Service P-Associated-URI P-Called-Party-ID P-Charge-Info
P-Charging-Function-Addresses P-Charging-Vector P-DCS-Billing-Info P-DCS-LAES P-DCS-OSPS
P-DCS-Redirect P-DCS-Trace-Party-ID P-Early-Media P-Media-Authorization P-Preferred-Identity
P-Preferred-Service P-Private-Network-Indication P-Profile-Key P-Refused-URI-List P-Served-User
P-User-Database P-Visited-Network-ID Path Permission-Missing Policy-Contact Policy-ID Priority
Priority-Share Priority-Verstat Privacy Proxy-Authenticate Proxy-Authorization Proxy-Require RAck
Reason Reason-Phrase Record-Route Recv-Info Refer-Events-At Refer-Sub Refer-To Referred-By
Reject-Contact Relayed-Charge Replaces Reply-To Request-Disposition Require Resource-Priority
Resource-Share Response-Key Response-Source Restoration-Info Retry-After Route RSeq Security-Client
Security-Server Security-Verify Server Service-Interact-Info Service-Route Session-Expires
Session-ID SIP-ETag SIP-If-Match Subject Subscription-State Supported Suppress-If-Match
Target-Dialog Timestamp To Trigger-Consent Unsupported User-Agent User-to-User Via Warning
WWW-Authenticate Remote-Party-ID X-Asterisk-HangupCause X-Asterisk-HangupCauseCode
"""

_COMPACT: Final[dict[str, str]] = {
    # RFC 3261 §7.3.3 and the registry's compact forms
    "a": "accept-contact",
    "u": "allow-events",
    "i": "call-id",
    "m": "contact",
    "e": "content-encoding",
    "l": "content-length",
    "c": "content-type",
    "o": "event",
    "f": "from",
    "y": "identity",
    "n": "identity-info",
    "r": "refer-to",
    "b": "referred-by",
    "j": "reject-contact",
    "d": "request-disposition",
    "x": "session-expires",
    "s": "subject",
    "k": "supported",
    "t": "to",
    "v": "via",
}


def _raw_names() -> dict[str, str]:
    names: dict[str, str] = {}
    for spelling in _SPELLINGS.split():
        canonical = spelling.lower()
        names[spelling] = canonical
        names[canonical] = canonical
        names[spelling.upper()] = canonical
        names["-".join([part.capitalize() for part in spelling.split("-")])] = canonical
    for short, canonical in _COMPACT.items():
        names[short] = canonical
        names[short.upper()] = canonical
    return names


NAMES: Final[dict[str, str]] = _raw_names()
"""Every usual spelling of a known name, compact ones included, to its canonical form."""

SPELLING: Final[dict[str, str]] = {spelling.lower(): spelling for spelling in _SPELLINGS.split()}
"""Canonical form to the spelling that we write."""

_SINGLE: Final = """
call-id content-disposition content-length content-type cseq event expires flow-timer from
identity-info join max-breadth max-forwards min-expires min-se rack refer-to replaces rseq
session-expires sip-etag sip-if-match subscription-state target-dialog timestamp to
"""
SINGLE: Final[frozenset[str]] = frozenset(_SINGLE.split())
"""Headers of which a second one would change the meaning: the message is refused (RFC 3261 §7.3.1, RFC 4475
§3.3.8).

Single-value headers that only inform (Subject, Date, User-Agent, ...) may be doubled: the first counts and
all pass.
"""


def canonical(name: str) -> str:
    """The canonical form of a header name in any spelling, compact ones included."""
    known = NAMES.get(name)
    if known is not None:
        return known
    lowered = name.lower()
    return _COMPACT.get(lowered, lowered)
