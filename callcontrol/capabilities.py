"""What this server can do, as it tells others and as it screens their requests (RFC 3261 §8.2, §11.2)."""

from __future__ import annotations

from typing import Final

from callcontrol.sip.screening import Capabilities

ALLOW: Final = (
    "INVITE",
    "ACK",
    "CANCEL",
    "BYE",
    "OPTIONS",
    "REGISTER",
    "INFO",
    "MESSAGE",
    "UPDATE",
    "PRACK",
    "REFER",
    "NOTIFY",
)
CAPABILITIES: Final = Capabilities(
    allow=ALLOW,
    accept=("application/sdp", "multipart/*"),
    supported=("100rel", "timer", "replaces", "path", "outbound", "gruu", "norefersub"),
    schemes=("sip", "sips", "tel", "urn"),
    passed_on=("INFO", "MESSAGE", "NOTIFY", "INVITE", "UPDATE", "PRACK"),
)
OUTSIDE: Final = ", ".join(("INVITE", "ACK", "CANCEL", "OPTIONS", "REGISTER"))
"""Methods that make sense outside a dialog."""
TOLD: Final = (
    ("Allow", ", ".join(ALLOW)),
    ("Accept", "application/sdp"),
    ("Accept-Encoding", "identity"),
    ("Accept-Language", "en"),
    ("Supported", ", ".join(CAPABILITIES.supported)),
)
"""Headers of the answer to OPTIONS."""
