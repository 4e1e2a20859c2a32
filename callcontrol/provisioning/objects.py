"""Entries of documents to objects of the inventory."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, Final

from callcontrol.provisioning.documents import Document, Entry, Problem, entries
from callcontrol.provisioning.inventory import Inventory, Item, kind_of
from callcontrol.provisioning.reading import Reader
from config.settings import nearest
from gateway.gateway_numbers import GatewayKind, GatewayNumber
from gateway.routes import check_peer
from gateway.trunk import NumberFormat, Prefix, Trunk
from numbering.e164 import E164, country_of
from numbering.models import ANONYMOUS, Account, AccountKind, CloudNumber, Device, DeviceKind, PlanTable, User

_PREFIX: Final = re.compile(r"\+\d{0,15}")
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_CATEGORIES: Final = ("standard", "vip")


@dataclass(frozen=True, slots=True)
class Desired:
    """What the documents say, and where they say it."""

    inventory: Inventory
    places: Mapping[tuple[str, str], Entry]
    """Entry of an object by kind and key."""
    silent: frozenset[tuple[str, str]]
    """Objects whose secret was not written; they keep the one they have."""


def read_documents(documents: Sequence[Document], plans: PlanTable, problems: list[Problem]) -> Desired:
    """Read documents; whatever is wrong is added to ``problems``, and what is right is returned."""
    places: dict[tuple[str, str], Entry] = {}
    inventory = Inventory()
    silent: set[tuple[str, str]] = set()
    for document in documents:
        for entry in entries(document, problems):
            reader = Reader(entry, problems)
            item = _read(reader, plans)
            reader.finish()
            if item is None:
                continue
            kind, key = kind_of(item)
            earlier = places.get((kind, key))
            if earlier is not None:
                problems.append(_double(entry, earlier))
                continue
            places[kind, key] = entry
            inventory.put(item)
            if (kind == "device" and not reader.has("sip_password")) or (
                kind == "trunk" and not reader.has("password")
            ):
                silent.add((kind, key))
    return Desired(inventory, places, frozenset(silent))


def _double(entry: Entry, earlier: Entry) -> Problem:
    message = f"is named already in {earlier.file}:{earlier.line}"
    if entry.kind == "number" and entry.values.get("user") != earlier.values.get("user"):
        holder = earlier.values.get("user")
        return entry.problem(
            f"{message}, where {holder!r} holds it: a number has exactly one holder", "keep one of them"
        )
    return entry.problem(message, "keep one of them")


def _read(reader: Reader, plans: PlanTable) -> Item | None:
    kind = reader.entry.kind
    if kind == "account":
        return _account(reader, plans)
    if kind == "user":
        return _user(reader)
    if kind == "device":
        return _device(reader)
    if kind == "number":
        return _number(reader)
    if kind == "gateway_number":
        return _gateway_number(reader)
    return _trunk(reader)


def _account(reader: Reader, plans: PlanTable) -> Account | None:
    ref = reader.ref("ref", required=True)
    plan = reader.ref("plan", default="standard")
    if plan not in plans:
        reader.fail("plan", f"there is no plan {plan!r}", nearest(plan, list(plans)))
    account = Account(
        ref=ref,
        kind=reader.choice("kind", AccountKind, AccountKind.CONSUMER),
        plan=plan,
        manager=reader.ref("manager"),
        suspended=reader.flag("suspended", False),
    )
    return account if ref else None


def _user(reader: Reader) -> User | None:
    ref = reader.ref("ref", required=True)
    user = User(
        ref=ref,
        account=reader.ref("account", required=True),
        name=reader.text("name", size=200),
        email=reader.text("email", size=254),
        default_number=reader.number("default_number"),
        suspended=reader.flag("suspended", False),
    )
    return user if ref else None


def _device(reader: Reader) -> Device | None:
    username = reader.ref("sip_username")
    ref = reader.ref("ref", default=username)
    if not ref and not reader.has("ref") and not reader.has("sip_username"):
        reader.fail("ref", "is missing", "write ref, or sip_username, which then is the ref as well")
    reader.later("answer", "voip", "answering over GSM")
    kind = reader.choice("kind", DeviceKind, DeviceKind.PHONE)
    sim = reader.number("sim")
    if sim and kind is not DeviceKind.PHONE:
        reader.fail("sim", f"a {kind.value} has no SIM", 'leave it out, or write kind = "phone"')
    verified = reader.flag("sim_verified", False)
    if verified and not reader.has("sim"):
        reader.fail("sim_verified", "there is no SIM to be verified", 'write sim = "+33…"')
    password = reader.text("sip_password", size=128)
    if password and not username:
        reader.fail("sip_password", "a password needs a sip_username")
    device = Device(
        ref=ref,
        user=reader.ref("user", required=True),
        kind=kind,
        sim=sim,
        sim_verified=verified,
        sip_username=username,
        sip_password=password,
    )
    return device if ref else None


def _number(reader: Reader) -> CloudNumber | None:
    e164 = reader.number("e164", required=True)
    reader.later("voicemail", False, "voicemail")
    reader.later("gsm_fallback", False, "fallback to GSM")
    reader.later("slot", [], "switching by time slots")
    _forward(reader)
    if reader.has("users"):
        reader.texts("users")
        reader.fail("users", "sharing a number is refused: it has exactly one holder", 'write user = "…"')
        user = ""
    else:
        user = reader.ref("user", required=True)
    category = reader.text("category", size=16) or "standard"
    if category not in _CATEGORIES:
        reader.fail("category", f"{category!r} is none of {', '.join(_CATEGORIES)}")
    number = CloudNumber(
        e164=E164(e164),
        user=user,
        category=category,
        calls=reader.flag("calls", True),
        hide=reader.flag("hide", False),
        ring_seconds=reader.amount("ring_seconds", 0.0, 0, 600),
        block=_block(reader),
    )
    return number if e164 else None


def _forward(reader: Reader) -> None:
    forward = reader.table("forward")
    if forward is None:
        return
    for key, value in forward.items():
        if key not in {"mode", "to", "causes"}:
            reader.fail("forward", f"{key}: unknown key", nearest(key, ["mode", "to"]))
        elif (key, value) != ("mode", "off"):
            reader.fail("forward", "forwarding is not supported yet by this version", 'only mode = "off" is')


def _block(reader: Reader) -> tuple[str, ...]:
    blocked: list[str] = []
    for text in reader.texts("block"):
        caller = ANONYMOUS if text == ANONYMOUS else reader.as_number("block", text)
        if caller and caller not in blocked:
            blocked.append(caller)
    return tuple(blocked)


def _trunk(reader: Reader) -> Trunk | None:
    ref = reader.ref("ref", required=True)
    reader.later("register", False, "registering with a carrier")
    peers = reader.texts("peers")
    for peer in peers:
        wrong = check_peer(peer)
        if wrong:
            reader.fail("peers", f"{peer!r}: {wrong}")
    if len(set(peers)) != len(peers):
        reader.fail("peers", "a peer is named twice")
    prefixes = _prefixes(reader)
    if prefixes and not peers:
        reader.fail("prefixes", "a trunk that terminates calls needs peers to send them to")
    port_must_match = reader.flag("port_must_match", False)
    if port_must_match and not peers:
        reader.fail("port_must_match", "there are no peers whose ports could match")
    country = reader.text("country", size=2)
    if country and _COUNTRY.fullmatch(country) is None:
        reader.fail("country", f"{country!r} is not a country", 'write "FR"')
    username = reader.text("username", size=64)
    password = reader.text("password", size=128)
    if password and not username:
        reader.fail("password", "a password needs a username")
    networks = _networks(reader)
    if not networks and not username and not prefixes:
        reader.fail("", "does nothing: no call can come from it or go to it", "write accept_from or prefixes")
    trunk = Trunk(
        ref=ref,
        peers=() if any(check_peer(peer) for peer in peers) else peers,
        accept_from=networks,
        port_must_match=port_must_match,
        username=username,
        password=password,
        prefixes=prefixes,
        priority=reader.count("priority", 10, 0, 10_000),
        weight=reader.count("weight", 100, 0, 10_000),
        max_channels=reader.count("max_channels", 0, 0, 1_000_000),
        max_cps=reader.amount("max_cps", 0.0, 0, 100_000),
        number_format=reader.choice("number_format", NumberFormat, NumberFormat.E164),
        country=country,
        options_seconds=reader.amount("options_seconds", 30.0, 0, 86_400),
    )
    return trunk if ref else None


def _gateway_number(reader: Reader) -> GatewayNumber | None:
    e164 = reader.number("e164", required=True)
    country = reader.text("country", size=2) or country_of(e164)
    if e164 and _COUNTRY.fullmatch(country) is None:
        told = f"{country!r} is not a country" if country else f"{e164} tells no country"
        reader.fail("country", told, 'write country = "FR"')
    number = GatewayNumber(
        e164=E164(e164),
        trunk=reader.ref("trunk", required=True),
        kind=reader.choice("kind", GatewayKind, GatewayKind.CALL_THROUGH),
        country=country,
    )
    return number if e164 else None


def _networks(reader: Reader) -> tuple[str, ...]:
    networks: list[str] = []
    for text in reader.texts("accept_from"):
        try:
            network = str(ip_network(text))
        except ValueError as error:
            reader.fail("accept_from", str(error), "write 192.0.2.0/24 or 2001:db8::/32")
            continue
        if network not in networks:
            networks.append(network)
    return tuple(networks)


def _prefixes(reader: Reader) -> tuple[Prefix, ...]:
    found: dict[str, Prefix] = {}
    for item in reader.items("prefixes"):
        digits, cost, wrong = _prefix(item)
        if wrong:
            reader.fail("prefixes", wrong, 'write "+33" or { prefix = "+33", cost = 0.01 }')
        elif digits in found:
            reader.fail("prefixes", f"{digits!r} is named twice")
        else:
            found[digits] = Prefix(digits, cost)
    return tuple(found.values())


def _prefix(item: Any) -> tuple[str, float, str]:
    digits: Any = item
    cost: Any = 0.0
    if isinstance(item, dict):
        unknown = [key for key in item if key not in {"prefix", "cost"}]
        if unknown:
            return "", 0.0, f"{unknown[0]}: unknown key"
        digits, cost = item.get("prefix"), item.get("cost", 0.0)
    if not isinstance(digits, str) or _PREFIX.fullmatch(digits) is None:
        return "", 0.0, f"{digits!r} is not a prefix"
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not math.isfinite(cost) or cost < 0:
        return "", 0.0, f"{cost!r} is not a price"
    return digits, float(cost), ""
