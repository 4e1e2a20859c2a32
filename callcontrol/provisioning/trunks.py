"""Entries ``[[trunk]]`` of documents."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any, Final

from callcontrol.provisioning.reading import Reader
from config.settings import nearest
from gateway.profile import (
    MAX_RULES,
    NAMED_HOST,
    PRESETS,
    DiversionHeader,
    HeaderRule,
    IdentityHeader,
    PrivacyForm,
    RuleAction,
    check_host,
    check_rule,
)
from gateway.routes import check_peer
from gateway.trunk import NumberFormat, PeerShare, Prefix, Trunk

_PREFIX: Final = re.compile(r"\+\d{0,15}")
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_USERNAME: Final = re.compile(r"[A-Za-z0-9+._~!*'()&=$,;?/@-]{0,64}")


def read_trunk(reader: Reader) -> Trunk | None:
    """One trunk; None when it has no ref."""
    ref = reader.ref("ref", required=True)
    preset = _preset(reader)
    peers = reader.texts("peers")
    for peer in peers:
        wrong = check_peer(peer)
        if wrong:
            reader.fail("peers", f"{peer!r}: {wrong}")
    if len(set(peers)) != len(peers):
        reader.fail("peers", "a peer is named twice")
    shares = _shares(reader)
    if shares and peers:
        reader.fail(
            "peer", "peers stand in two places", "write either peers = […] or [[trunk.peer]] for each"
        )
    peers = peers or tuple(share.uri for share in shares)
    prefixes = _prefixes(reader)
    if prefixes and not peers:
        reader.fail("prefixes", "a trunk that terminates calls needs peers to send them to")
    port_must_match = reader.flag("port_must_match", False)
    if port_must_match and not peers:
        reader.fail("port_must_match", "there are no peers whose ports could match")
    country = reader.text("country", size=2)
    if country and _COUNTRY.fullmatch(country) is None:
        reader.fail("country", f"{country!r} is not a country", 'write "FR"')
    number_format = reader.choice("number_format", NumberFormat, NumberFormat.E164)
    caller_format = (
        reader.choice("caller_format", NumberFormat, number_format) if reader.has("caller_format") else None
    )
    username = _username(reader, "username")
    auth_username = _username(reader, "auth_username")
    password = reader.text("password", size=128)
    if password and not username:
        reader.fail("password", "a password needs a username")
    if auth_username and not username:
        reader.fail("auth_username", "needs a username: it is the digest user where that is another one")
    networks = _networks(reader)
    register = _register(reader, peers, username)
    if not networks and not username and not prefixes:
        reader.fail("", "does nothing: no call can come from it or go to it", "write accept_from or prefixes")
    host = _host(reader, "host")
    if preset in NAMED_HOST and not host:
        reader.fail("host", f"the preset {preset!r} needs the name by which the carrier knows us")
    domain = _host(reader, "domain")
    if domain.count(":") == 1 or "]:" in domain:
        reader.fail("domain", "a domain has no port")
    if preset in NAMED_HOST and not domain:
        domain = host.partition(":")[0]
    trunk = Trunk(
        ref=ref,
        peers=() if any(check_peer(peer) for peer in peers) else peers,
        peer=shares,
        accept_from=networks,
        port_must_match=port_must_match,
        username=username,
        password=password,
        prefixes=prefixes,
        priority=reader.count("priority", 10, 0, 10_000),
        weight=reader.count("weight", 100, 0, 10_000),
        max_channels=reader.count("max_channels", 0, 0, 1_000_000),
        max_cps=reader.amount("max_cps", 0.0, 0, 100_000),
        number_format=number_format,
        caller_format=caller_format if caller_format != number_format else None,
        country=country,
        options_seconds=reader.amount("options_seconds", 30.0, 0, 86_400),
        identity=reader.choice("identity", IdentityHeader, IdentityHeader.PAI),
        trusted=reader.flag("trusted", True),
        privacy=reader.choice("privacy", PrivacyForm, PrivacyForm.ID),
        diversion=reader.choice("diversion", DiversionHeader, DiversionHeader.BOTH),
        domain=domain,
        host=host,
        headers=_headers(reader),
        register=register,
        registrar=_registrar(reader, register),
        auth_username=auth_username,
        register_seconds=reader.count("register_seconds", 3600, 60, 86_400),
    )
    return trunk if ref else None


def _preset(reader: Reader) -> str:
    """Put the values of a preset where the document says nothing, and return its name."""
    name = reader.text("preset", size=32)
    if not name:
        return ""
    values = PRESETS.get(name)
    if values is None:
        reader.fail("preset", f"there is no preset {name!r}", nearest(name, list(PRESETS)))
        return ""
    for key, value in values.items():
        if key != "peers" or not reader.has("peer"):
            reader.entry.values.setdefault(key, value)
    return name


def _username(reader: Reader, key: str) -> str:
    name = reader.text(key, size=64)
    if _USERNAME.fullmatch(name) is None:
        reader.fail(
            key, f"{name!r} cannot be a user name of SIP", "letters, digits and . _ ~ + - @ among others"
        )
        return ""
    return name


def _register(reader: Reader, peers: tuple[str, ...], username: str) -> bool:
    wanted = reader.flag("register", False)
    if not wanted:
        return False
    if not username:
        reader.fail("register", "who registers needs a username", 'write username = "…" and password = "…"')
    if not peers:
        reader.fail("register", "there are no peers to register with", 'write peers = ["sip:…"]')
    return True


def _registrar(reader: Reader, register: bool) -> str:
    registrar = reader.text("registrar", size=255)
    if not registrar:
        return ""
    wrong = check_peer(registrar)
    if wrong:
        reader.fail("registrar", f"{registrar!r}: {wrong.replace('a peer', 'a registrar')}")
        return ""
    if not register:
        reader.fail("registrar", "this trunk does not register", "write register = true")
    return registrar


def _host(reader: Reader, key: str) -> str:
    host = reader.text(key, size=255)
    wrong = check_host(host) if host else ""
    if wrong:
        reader.fail(key, wrong, 'write "sbc.example.com"')
        return ""
    return host


def _headers(reader: Reader) -> tuple[HeaderRule, ...]:
    items = reader.items("headers")
    if len(items) > MAX_RULES:
        reader.fail("headers", f"there are more than {MAX_RULES} rules")
        return ()
    rules: list[HeaderRule] = []
    for item in items:
        rule, wrong = _rule(item)
        if rule is None:
            reader.fail("headers", wrong, 'write { action = "add", name = "X-Account", value = "4711" }')
        else:
            rules.append(rule)
    return tuple(rules)


def _rule(item: Any) -> tuple[HeaderRule | None, str]:
    if not isinstance(item, Mapping):
        return None, f"{item!r} is not a rule"
    for key, value in item.items():
        if key not in {"action", "name", "value"}:
            return None, f"{key}: unknown key"
        if not isinstance(value, str):
            return None, f"{key}: {value!r} is not text"
    if item.get("action") not in {action.value for action in RuleAction}:
        return None, f"{item.get('action')!r} is none of {', '.join(action.value for action in RuleAction)}"
    rule = HeaderRule(RuleAction(item["action"]), item.get("name", ""), item.get("value", ""))
    wrong = check_rule(rule)
    return (None, wrong) if wrong else (rule, "")


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


def _shares(reader: Reader) -> tuple[PeerShare, ...]:
    """``[[trunk.peer]]``: peers with their shares of the calls."""
    found: dict[str, PeerShare] = {}
    for inner in reader.tables("peer"):
        uri = inner.text("uri", size=255)
        wrong = check_peer(uri)
        if wrong:
            inner.fail("uri", f"{uri!r}: {wrong}")
        elif uri in found:
            inner.fail("uri", "a peer is named twice")
        share = PeerShare(uri, inner.count("weight", 100, 0, 10_000), inner.count("priority", 10, 0, 10_000))
        inner.finish()
        if not wrong:
            found.setdefault(uri, share)
    return tuple(found.values())


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
