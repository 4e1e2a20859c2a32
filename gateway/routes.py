"""Route choice and number formats of trunks: pure functions over values."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from phonenumbers import PhoneMetadata, country_code_for_region

from gateway.trunk import NumberFormat, PeerShare, Trunk, TrunkDirectory
from numbering.e164 import E164, NumberError, NumberFault, country_code, country_of, read


@dataclass(frozen=True, slots=True)
class Candidate:
    """One peer that may be called, and the trunk that it belongs to."""

    trunk: Trunk
    peer_uri: str

    @property
    def key(self) -> str:
        """Names the peer among those of all trunks."""
        return peer_key(self.trunk.ref, self.peer_uri)


def peer_key(trunk: str, peer: str) -> str:
    """Names a peer among those of all trunks."""
    return f"{trunk} {peer}"


_CONTEXT: Final = ";phone-context=+"


def terminating(
    directory: TrunkDirectory, number: str, country: str = ""
) -> tuple[tuple[tuple[Trunk, float], ...], ...]:
    """Trunks that terminate a number, with their cost, grouped by prefix, the longest first.

    ``number`` is E.164, or a short number with its country (``3179;phone-context=+33``, RFC 3966).  A short
    number means something in its country only: of the trunks that terminate the country, those at home there
    take it.  ``country`` is the platform's, for trunks that name none.
    """
    digits, context, code = number.partition(_CONTEXT)
    if not context:
        return directory.terminating(number)
    groups = (
        tuple(pair for pair in group if _home_code(pair[0], country) == code)
        for group in directory.terminating(f"+{code}{digits}")
    )
    return tuple(group for group in groups if group)


def _home_code(trunk: Trunk, country: str) -> str:
    return str(country_code_for_region(trunk.country or country))


def rank(
    directory: TrunkDirectory,
    number: str,
    dice: float,
    last: Set[str] = frozenset(),
    down: Set[str] = frozenset(),
    country: str = "",
) -> tuple[Candidate, ...]:
    """Peers to try for ``number`` (as for `terminating`), best first; empty when no trunk terminates it.

    Longest prefix, then priority, then the lower cost; among equals the order is drawn by weight with
    ``dice`` in [0, 1). Each trunk brings all its peers, so that the next one is at hand when one fails: in the order in which
    they are written, or by their own priorities and weights, drawn with the same ``dice``.
    Peers whose key is in ``last`` come after all others; those in ``down`` are left out, unless none would be
    left: a call that may fail is better than one that must.
    """
    ordered: list[Trunk] = []
    for group in terminating(directory, number, country):
        levels: dict[tuple[int, float], list[Trunk]] = {}
        for trunk, cost in group:
            levels.setdefault((trunk.priority, cost), []).append(trunk)
        for level in sorted(levels):
            drawn, dice = draw(levels[level], dice)
            ordered.extend(drawn)
    every: list[Candidate] = []
    for trunk in ordered:
        uris, dice = peer_order(trunk, dice)
        every.extend(Candidate(trunk, uri) for uri in uris)
    if not down and not last:
        return tuple(every)
    up = [candidate for candidate in every if candidate.key not in down] or every
    up.sort(key=lambda candidate: candidate.key in last)
    return tuple(up)


def peer_order(trunk: Trunk, dice: float) -> tuple[Sequence[str], float]:
    """The peers of a trunk in the order in which a call tries them, and what is left of the dice."""
    if not trunk.peer:
        return trunk.peers, dice
    levels: dict[int, list[PeerShare]] = {}
    for share in trunk.peer:
        levels.setdefault(share.priority, []).append(share)
    found: list[str] = []
    for level in sorted(levels):
        drawn, dice = draw(levels[level], dice)
        found.extend(share.uri for share in drawn)
    return found, dice


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One peer in the order for a number, and why it stands where it stands."""

    position: int
    """From 1; trunks that share a position are drawn by weight for each call."""
    trunk: str
    peer: str
    prefix: str
    """The longest prefix of the trunk that the number has."""
    priority: int
    cost: float
    """Price per minute."""
    weight: int
    share: float
    """Part of the calls for which the trunk comes first among those of its position."""
    peer_share: float
    """Part of the trunk's calls for which the peer comes first among those of its own priority; 1: it stands there by order."""
    called: str
    """The number as the trunk wants it."""
    standing: str
    """``ready``; ``last``: tried after all others; ``out``: only when there are no others."""


def explain(
    directory: TrunkDirectory,
    number: str,
    last: Set[str] = frozenset(),
    down: Set[str] = frozenset(),
    country: str = "",
) -> tuple[Route, ...]:
    """The order of `rank` without its dice: every peer for ``number``, with what decided about its place."""
    found: list[Route] = []
    position = 0
    for group in terminating(directory, number, country):
        levels: dict[tuple[int, float], list[Trunk]] = {}
        for trunk, cost in group:
            levels.setdefault((trunk.priority, cost), []).append(trunk)
        for (priority, cost), trunks in sorted(levels.items()):
            position += 1
            whole = sum(trunk.weight for trunk in trunks)
            for trunk in sorted(trunks, key=lambda each: (-each.weight, each.ref)):
                for peer, peer_share in _peer_shares(trunk):
                    key = peer_key(trunk.ref, peer)
                    found.append(
                        Route(
                            position=position,
                            trunk=trunk.ref,
                            peer=peer,
                            prefix=_prefix_of(trunk, number),
                            priority=priority,
                            cost=cost,
                            weight=trunk.weight,
                            share=trunk.weight / whole if whole else 1.0 / len(trunks),
                            peer_share=peer_share,
                            called=format_number(trunk, number, country),
                            standing="out" if key in down else "last" if key in last else "ready",
                        )
                    )
    found.sort(key=lambda route: _STANDINGS.index(route.standing))
    return tuple(found)


def _peer_shares(trunk: Trunk) -> list[tuple[str, float]]:
    """The peers of a trunk, the likelier ones first, each with its share among those of its priority."""
    if not trunk.peer:
        return [(peer, 1.0) for peer in trunk.peers]
    whole: dict[int, int] = {}
    alike: dict[int, int] = {}
    for share in trunk.peer:
        whole[share.priority] = whole.get(share.priority, 0) + share.weight
        alike[share.priority] = alike.get(share.priority, 0) + 1
    return [
        (each.uri, each.weight / whole[each.priority] if whole[each.priority] else 1.0 / alike[each.priority])
        for each in sorted(trunk.peer, key=lambda each: (each.priority, -each.weight))
    ]


_STANDINGS: Final = ("ready", "last", "out")


def _prefix_of(trunk: Trunk, number: str) -> str:
    digits, context, code = number.partition(_CONTEXT)
    whole = f"+{code}{digits}" if context else number
    return max((each.digits for each in trunk.prefixes if whole.startswith(each.digits)), key=len, default="")


class Weighted(Protocol):
    """What is drawn."""

    @property
    def weight(self) -> int: ...


Drawn = TypeVar("Drawn", bound=Weighted)


def draw(trunks: list[Drawn], dice: float) -> tuple[list[Drawn], float]:
    """Order trunks, or the peers of one, by weighted draws without replacement; returns the order and what is left of the dice.

    One number in [0, 1) serves for all draws: within the interval that it fell into it is uniform again.
    Weight 0 comes last.
    """
    rest = [trunk for trunk in trunks if trunk.weight > 0]
    idle = [trunk for trunk in trunks if trunk.weight <= 0]
    drawn: list[Drawn] = []
    while len(rest) > 1:
        point = dice * sum(trunk.weight for trunk in rest)
        for index, trunk in enumerate(rest):
            if point < trunk.weight or index == len(rest) - 1:
                dice = min(max(point / trunk.weight, 0.0), 0.9999999999)
                drawn.append(rest.pop(index))
                break
            point -= trunk.weight
    drawn.extend(rest)
    drawn.extend(idle)
    return drawn, dice


_PEER: Final = re.compile(
    r"(?:sips?):(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::(\d{1,5}))?"
    r"(?:;[A-Za-z0-9-]+(?:=[A-Za-z0-9.-]+)?)*$"
)


def check_peer(uri: str) -> str:
    """What is wrong with a peer's URI; empty when nothing is."""
    match = _PEER.match(uri)
    if match is None:
        return "a peer is written sip:host[:port][;transport=udp|tcp|tls|ws|wss]"
    port = match.group(1)
    if port is not None and not 1 <= int(port) <= 65535:
        return "the port of a peer is 1 to 65535"
    for param in uri.split(";")[1:]:
        name, _, value = param.partition("=")
        if name.lower() == "transport" and value.lower() not in {"udp", "tcp", "tls", "ws", "wss"}:
            return f"transport {value!r} is none of udp, tcp, tls, ws, wss"
    return ""


def format_number(trunk: Trunk, e164: str, country: str = "") -> str:
    """Write a number the way the trunk wants it.

    ``country`` is the platform's, for trunks that name none.  A number that cannot be written nationally is
    written internationally; a short number stays as it is dialled, without its country.
    """
    return _written(trunk, trunk.number_format, e164, country)


def format_caller(trunk: Trunk, e164: str, country: str = "") -> str:
    """Write a caller's number the way the trunk wants it; as `format_number`."""
    return _written(trunk, trunk.caller_format or trunk.number_format, e164, country)


def _written(trunk: Trunk, form: NumberFormat, e164: str, country: str) -> str:
    if _CONTEXT in e164:
        # a short number means something in its country only; who writes contexts says which
        return e164 if form is NumberFormat.CONTEXT else e164.partition(_CONTEXT)[0]
    if form is NumberFormat.E164 or not e164.startswith("+"):
        return e164
    if form is NumberFormat.DIGITS:
        return e164[1:]
    home = trunk.country or country
    if home and form in (NumberFormat.NATIONAL, NumberFormat.CONTEXT) and country_of(e164) == home:
        national = _national(e164, home)
        return f"{national}{_CONTEXT}{country_code(e164)}" if form is NumberFormat.CONTEXT else national
    if form is NumberFormat.CONTEXT:
        return e164
    return _international_prefix(home) + e164[1:]


def _national(e164: str, country: str) -> str:
    metadata = PhoneMetadata.metadata_for_region(country, None)
    prefix = metadata.national_prefix if metadata is not None else None
    rest = e164[1 + len(country_code(e164)) :]
    # In North America the prefix 1 belongs to the dialling habit, not to the number that networks exchange.
    if not prefix or prefix == "1":
        return rest
    return f"{prefix}{rest}"


def _international_prefix(country: str) -> str:
    """What is dialled before a country code; ``00`` (ITU-T E.123) where the country has several or is
    unknown.
    """
    metadata = PhoneMetadata.metadata_for_region(country, None) if country else None
    prefix = metadata.international_prefix if metadata is not None else None
    if prefix is not None and prefix.isdigit():
        return prefix
    return "00"


_URI: Final = re.compile(r"(tel|sips?):(.*)", re.IGNORECASE | re.DOTALL)
_ANGLE: Final = re.compile(r"<([^<>]*)>")
_PHONE_CONTEXT: Final = re.compile(r";\s*phone-context=([^;@?>]*)", re.IGNORECASE)
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')


def read_number(text: str, trunk: Trunk, country: str = "") -> E164 | NumberError:
    """Read an A- or B-number as a trunk really sends it.

    Takes a user part, a ``tel:`` or ``sip:`` URI, or a whole name-addr with a display name around it;
    ``+33…``, ``0033…``, ``06…`` in its ``phone-context``, in the trunk's country, else in ``country``, the
    platform's; and ``33…`` without a plus from trunks that write E.164.  A carrier's routing prefix before the
    number is taken off (``numbering.e164``).
    """
    if text[:1] == "+" and text[1:].isdigit():
        found = read(text)
        if not isinstance(found, NumberError):
            return found
    word, context = _user_part(text)
    if context and not word.startswith("+"):
        local = _in_context(word, context)
        if not isinstance(local, NumberError):
            return local
    home = trunk.country or country
    digits = word.isascii() and word.isdigit()
    if digits and trunk.number_format is NumberFormat.DIGITS and not word.startswith("0"):
        world = read("+" + word)
        if not isinstance(world, NumberError):
            return world
    result = read(word, home)
    if not isinstance(result, NumberError):
        return result
    # What is no number of the country may be one of the world: trunks that write E.164 often leave the plus
    # out, and some write 00 where the country dials something else.
    if digits:
        world = read("+" + word.removeprefix("00"))
        if not isinstance(world, NumberError):
            return world
    return NumberError(text[:64], result.fault)


def _in_context(word: str, context: str) -> E164 | NumberError:
    """A local number with the country code that it is local to (RFC 3966 section 5.1.5)."""
    country = country_of(context.replace("-", "")) if context.startswith("+") else ""
    return read(word, country) if country else NumberError(word, NumberFault.NOT_A_NUMBER)


def _user_part(text: str) -> tuple[str, str]:
    """The user part of whatever is around it, and its ``phone-context``; empty where there is none."""
    word = text
    if "<" in text:
        # A display name may contain anything, also something that looks like an address.
        angle = _ANGLE.search(_QUOTED.sub("", text))
        word = angle.group(1) if angle is not None else ""
    word = word.strip().strip('"')
    uri = _URI.match(word)
    if uri is not None:
        word = uri.group(2)
        if uri.group(1).lower() != "tel":
            word, at, _ = word.rpartition("@")
            if not at:
                return "", ""
    number, _, parameters = word.partition(";")
    match = _PHONE_CONTEXT.search(f";{parameters}") if parameters else None
    context = _unescaped(match.group(1)) if match is not None else ""
    return _unescaped(number.partition("@")[0]), context


def _unescaped(text: str) -> str:
    return text.replace("%2B", "+").replace("%2b", "+")
