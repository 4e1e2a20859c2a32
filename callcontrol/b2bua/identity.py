"""Who calls, as a carrier is told: identity, privacy, diversions and header rules of one trunk (OUT-07, FWD-02).

What a profile says holds for callers who show their number.  A hidden number stands nowhere but in P-Asserted-Identity
beside ``Privacy: id``, and only towards a carrier that is trusted with it (RFC 3325 §2.3, §9.1); under every profile.
"""

from __future__ import annotations

from typing import Final

from callcontrol.b2bua.crossing import escape_user
from dialplan.plan import Diversion, Identity

PAI: Final = "pai"
PPI: Final = "ppi"
RPID: Final = "rpid"
FROM: Final = "from"

DIVERSION: Final = "diversion"
HISTORY_INFO: Final = "history-info"
BOTH: Final = "both"
NONE: Final = "none"

_CAUSES: Final[dict[str, int]] = {
    "unconditional": 302,
    "user-busy": 486,
    "no-answer": 408,
    "unavailable": 503,
    "deflection": 480,
    "unknown": 404,
}
"""Reason of Diversion -> cause of History-Info (RFC 7544 §4.2)."""


class TrunkProfile:
    """How one carrier wants to be spoken to; see ``gateway.profile``.  A value."""

    __slots__ = ("diversion", "domain", "host", "identity", "privacy", "rules", "trusted")

    def __init__(
        self,
        identity: str = PAI,
        trusted: bool = True,
        privacy: str = "id",
        diversion: str = BOTH,
        domain: str = "",
        host: str = "",
        rules: tuple[tuple[str, str, str], ...] = (),
    ) -> None:
        self.identity = identity
        self.trusted = trusted
        self.privacy = privacy
        self.diversion = diversion
        self.domain = domain
        """Host of identities; empty: the platform's domain."""
        self.host = host
        """``host[:port]`` of our Contact; empty: the listener's."""
        self.rules = rules
        """(``add``, ``replace`` or ``remove``; name; value), in order."""


DEFAULT: Final = TrunkProfile()


def trunk_lines(
    identity: Identity, profile: TrunkProfile, domain: str, number: str, target: str
) -> list[str]:
    """Identity and diversion lines of an INVITE to a carrier.

    ``number`` is the caller's as the trunk writes it, ``target`` the Request-URI of the INVITE.
    """
    host = profile.domain or domain
    lines = _identity_lines(identity, profile, host, number or identity.asserted)
    if identity.diverted and profile.diversion != NONE:
        lines.extend(_diversion_lines(identity.diverted, profile.diversion, host, target))
    return lines


def _identity_lines(identity: Identity, profile: TrunkProfile, host: str, asserted: str) -> list[str]:
    if identity.hidden:
        lines = [f"Privacy: {profile.privacy}"]
        if asserted and profile.trusted:
            lines.insert(0, f"P-Asserted-Identity: <sip:{escape_user(asserted)}@{host}>")
        return lines
    if not asserted:
        return []
    address = f"<sip:{escape_user(asserted)}@{host}>"
    if profile.identity == PAI:
        return [f"P-Asserted-Identity: {address}"]
    if profile.identity == PPI:
        return [f"P-Preferred-Identity: {address}"]
    if profile.identity == RPID:
        return [f"Remote-Party-ID: {address};party=calling;privacy=off;screen=yes"]
    return []


def _diversion_lines(diverted: tuple[Diversion, ...], form: str, host: str, target: str) -> list[str]:
    lines: list[str] = []
    if form in (DIVERSION, BOTH):
        # the last one who forwarded comes first (RFC 5806 §4)
        lines.extend(
            [
                f"Diversion: <sip:{escape_user(each.number)}@{host}>;reason={each.reason};counter=1"
                for each in reversed(diverted)
            ]
        )
    if form in (HISTORY_INFO, BOTH):
        entries: list[str] = []
        index, cause = "1", ""
        for each in diverted:
            entries.append(f"<sip:{escape_user(each.number)}@{host}{cause}>;index={index}")
            cause = f";cause={_CAUSES.get(each.reason, 404)}"
            index += ".1"
        entries.append(f"<{_with_cause(target, cause)}>;index={index}")
        lines.append(f"History-Info: {', '.join(entries)}")
    return lines


def _with_cause(uri: str, cause: str) -> str:
    """The target as the last entry of History-Info has it; a media server's URI says why already (RFC 4458 §2)."""
    return uri if "?" in uri or ";cause=" in uri else f"{uri}{cause}"


def apply_rules(lines: list[str], rules: tuple[tuple[str, str, str], ...]) -> list[str]:
    """Header lines as the rules of a trunk leave them."""
    for action, name, value in rules:
        if action != "add":
            start = f"{name.lower()}:"
            lines = [line for line in lines if not line.lower().startswith(start)]
        if action != "remove":
            lines.append(f"{name}: {value}")
    return lines
