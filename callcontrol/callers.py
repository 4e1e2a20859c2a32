"""The A-number: who a request says is calling, read from its identity headers (RFC 3325, RFC 3323).  Pure.

Which header is believed depends on who sent it.  A trunk is trusted: P-Asserted-Identity (several values, sip
and tel), then Remote-Party-ID (the draft that carriers still send), then P-Preferred-Identity, then From.  A
device only *names* one of its user's numbers: P-Preferred-Identity, then From; the dialplan decides whether
it may.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from callcontrol.dialled import Reader, clean, country_of_context, without_parameters
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.fields import NameAddr, parse_name_addr, split_list
from callcontrol.sip.message import Message
from callcontrol.sip.uri import Uri, parse_uri
from dialplan.facts import CallerNumber
from numbering.e164 import NumberError, read

_MAX_VALUES: Final = 8
"""Identities looked at in one header; RFC 3325 §9.1 allows two."""
_HIDING: Final = frozenset({"id", "user", "header"})
"""Privacy tokens that hide the caller's number (RFC 3323 §4.2, RFC 3325 §7); 3GPP TS 24.607 treats the three
alike."""
_ANONYMOUS_USERS: Final = frozenset({"anonymous", "restricted", "private", "withheld"})
_ANONYMOUS_HOST: Final = "anonymous.invalid"
_NO_NAMES: Final = frozenset(
    {"", "anonymous", "anonyme", "unknown", "unavailable", "restricted", "private", "withheld", "no name"}
)
"""Display names that carriers and phones put in for want of one."""
_MAX_DISPLAY: Final = 64
_PSAP_CALLBACK: Final = "psap-callback"


class _Identity:
    """One identity of one header."""

    __slots__ = ("anonymous", "country", "display", "hidden", "source", "user")

    def __init__(self, source: str, address: NameAddr, uri: Uri) -> None:
        self.source = source
        number, context = without_parameters(uri)
        self.user = clean(number)
        self.country = country_of_context(number, context)
        """Country that the URI says its digits are meant in; empty: it does not say."""
        self.display = address.display
        self.anonymous = self.user.lower() in _ANONYMOUS_USERS or uri.host == _ANONYMOUS_HOST
        privacy = (address.params.get("privacy") or "").lower()
        self.hidden = privacy in ("full", "uri")
        """The ``privacy`` parameter of Remote-Party-ID."""


def from_trunk(message: Message, reader: Reader) -> CallerNumber:
    """The caller of a request that a trunk sent.  Never raises: an unreadable header is as good as none."""
    sender = _identities(message, "from")
    parties = _identities(message, "remote-party-id")
    hidden = (
        wants_privacy(message)
        or any(identity.anonymous for identity in sender)
        or any(identity.hidden or identity.anonymous for identity in parties)
    )
    asserted = _identities(message, "p-asserted-identity")
    preferred = _identities(message, "p-preferred-identity")
    user, e164, source = _believed([*asserted, *parties, *preferred, *sender], reader)
    display = ""
    for identity in (*asserted, *parties, *preferred, *sender):
        # A name belongs to a number: one that came with another number is not this caller's.
        if not display and not identity.anonymous and (identity.source == source or identity.user == user):
            display = display_name(identity.display, user, e164)
    return CallerNumber(presented=user, e164=e164, display=display, hidden=hidden, source=source)


def from_device(message: Message, reader: Reader) -> CallerNumber:
    """The number that a device names for its call.  Never raises."""
    preferred = _identities(message, "p-preferred-identity")
    sender = _identities(message, "from")
    hidden = wants_privacy(message) or any(identity.anonymous for identity in (*preferred, *sender))
    user, e164, source = _believed([*preferred, *sender], reader)
    return CallerNumber(presented=user, e164=e164, hidden=hidden, source=source)


def _believed(identities: list[_Identity], reader: Reader) -> tuple[str, str, str]:
    """User part, E.164 number and header of the first identity that is a number, else of the first that is
    anything."""
    first: _Identity | None = None
    for identity in identities:
        if identity.anonymous or not identity.user:
            continue
        result = read(identity.user, identity.country) if identity.country else reader(identity.user)
        if not isinstance(result, NumberError):
            return identity.user, result, identity.source
        first = first or identity
    return ("", "", "") if first is None else (first.user, "", first.source)


def is_psap_callback(message: Message) -> bool:
    """Whether the request says that an emergency service calls back (``Priority: psap-callback``, RFC 7090 §5)."""
    return (message.get("priority") or "").strip().lower() == _PSAP_CALLBACK


def wants_privacy(message: Message) -> bool:
    """Whether a Privacy header hides the caller's number.

    ``priv-value *(";" priv-value)`` (RFC 3323 §4.2), in any case, over several lines; commas are read as
    well, which some gateways write.  ``none`` takes nothing back: a number hidden by its owner stays hidden.
    """
    return any(
        token.strip().lower() in _HIDING
        for value in message.all("privacy")
        for token in value.replace(",", ";").split(";")
    )


def display_name(text: str, user: str, e164: str) -> str:
    """A display name without what is no name: control characters, quotes, the number once more, words for
    "none"."""
    name = clean(" ".join(text.replace('"', " ").split()))[:_MAX_DISPLAY].strip()
    bare = name.strip("'").lower()
    if bare in _NO_NAMES or bare == user.lower():
        return ""
    digits = "".join(char for char in bare if char.isdigit())
    if digits and not any(char.isalpha() for char in bare):
        # Only digits and separators: the same number is noise, another one would pass for the caller's.
        return ""
    return "" if e164 and bare == e164 else name


def diverted(message: Message, reader: Reader) -> tuple[str, ...]:
    """E.164 numbers that diverted this call before, the first one first (RFC 5806, RFC 7044; mapping of RFC 7544 §3).

    In History-Info a diverting number is an entry followed by one whose URI has a ``cause``; the others only
    tell how the call was routed, and the last is the target itself.
    """
    # The topmost Diversion is the latest (RFC 5806 §4).
    users = [uri.user for _, uri in reversed(_addresses(message, "diversion"))]
    history = [uri for _, uri in _addresses(message, "history-info")]
    users.extend(uri.user for uri, after in pairwise(history) if "cause" in after.params)
    found: dict[str, None] = {}
    for user in users:
        result = reader(user.partition(";")[0])
        if not isinstance(result, NumberError):
            found[result] = None
    return tuple(found)


def _identities(message: Message, header: str) -> list[_Identity]:
    found = []
    for address, uri in _addresses(message, header):
        party = (address.params.get("party") or "calling").lower()
        if header != "remote-party-id" or party == "calling":
            found.append(_Identity(header, address, uri))
    return found


def _addresses(message: Message, header: str) -> list[tuple[NameAddr, Uri]]:
    """Readable addresses of a header; one that is not readable says nothing, and the call goes on without
    it."""
    found: list[tuple[NameAddr, Uri]] = []
    if not message.has(header):
        return found
    values = message.all(header)
    members = [member for value in values[:_MAX_VALUES] for member in split_list(value)]
    for member in members[:_MAX_VALUES]:
        try:
            address = parse_name_addr(member)
            uri = parse_uri(address.uri)
        except RemoteProtocolError:
            continue
        if uri.is_sip or uri.scheme == "tel":
            found.append((address, uri))
    return found
