"""The B-number: what a Request-URI or a Refer-To asks for (RFC 3261 §19.1.6, RFC 3966).  Pure.

A number may come as ``sip:+33…@domain``, ``sip:0033…@domain``, ``sip:06…@domain``,
``sip:06%2039%2098…@domain;user=phone``, ``tel:…`` with visual separators, or with ``;phone-context=+33``;
parameters inside the user part (number portability, RFC 4694) are left aside.  Whatever is not a number is a
name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from ipaddress import ip_address

from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.fields import parse_name_addr
from callcontrol.sip.flow import Listener
from callcontrol.sip.message import Message
from callcontrol.sip.uri import Uri, parse_uri, unescape
from dialplan.facts import CalledNumber
from numbering.classes import classify, emergency_number, short_number
from numbering.e164 import E164, NumberError, country_of, read
from numbering.plans import NumberClass

Reader = Callable[[str], E164 | NumberError]
"""Reads digits the way one caller means them: in the country of a SIM, in the format of a trunk."""

MAX_TEXT = 128
"""Characters kept of a user part; the longest honest ones are addresses of about 60."""


class OurHosts:
    """Which hosts in a Request-URI mean us: our domains and the addresses we listen on or advertise."""

    __slots__ = ("_any_address", "_names")

    def __init__(self, names: frozenset[str], *, any_address: bool = False) -> None:
        """``any_address``: we listen on all addresses of the machine, and cannot tell which they are."""
        self._names = frozenset(name.lower().rstrip(".") for name in names)
        self._any_address = any_address

    def __contains__(self, host: str) -> bool:
        name = host.rstrip(".")
        if name in self._names:
            return True
        try:
            address = ip_address(name)
        except ValueError:
            return False
        # An IPv6 address has many spellings.
        return self._any_address or str(address) in self._names


def our_hosts(domains: Iterable[str], listeners: Iterable[Listener]) -> OurHosts:
    """Our domains, and the addresses that our listeners are bound to or advertise."""
    names = set(domains)
    any_address = False
    for listener in listeners:
        names.update((listener.host, listener.advertise_host))
        any_address = any_address or listener.advertise_host in ("0.0.0.0", "::", "")
    return OurHosts(frozenset(name for name in names if name), any_address=any_address)


class Dialled:
    """What was dialled, read."""

    __slots__ = ("called", "country", "is_telephone")

    def __init__(self, called: CalledNumber, *, is_telephone: bool, country: str = "") -> None:
        self.called = called
        self.is_telephone = is_telephone
        """The URI says that it holds a telephone number (tel, ``user=phone``), so it is no name."""
        self.country = country
        """Country in which the URI says that its digits are meant; empty: it does not say."""


def read_dialled(uri: Uri, reader: Reader, ours: OurHosts) -> Dialled:
    """Read the target of a call.  Never raises."""
    if not uri.is_sip and uri.scheme != "tel":
        return Dialled(CalledNumber(dialled=clean(f"{uri.scheme}:{uri.rest}")), is_telephone=False)
    is_telephone = uri.scheme == "tel" or (uri.params.get("user") or "").lower() == "phone"
    number, context = without_parameters(uri)
    country = country_of_context(number, context)
    result = read(number, country) if country else reader(number)
    foreign = "" if uri.scheme == "tel" or uri.host in ours else uri.host
    if isinstance(result, NumberError):
        called = CalledNumber(dialled=clean(number), fault=result.fault.value, foreign_host=clean(foreign))
    else:
        called = CalledNumber(dialled=clean(number), e164=result, foreign_host=clean(foreign))
    return Dialled(called, is_telephone=is_telephone, country=country)


def asked_of_contact(message: Message, uri: Uri, ours: str, *, is_contact: bool) -> Uri:
    """What a call to a contact that we registered with a carrier asks for.

    ``is_contact``: the Request-URI is that contact, so the number is in P-Called-Party-ID (RFC 7315 §4.2), else in To.
    ``ours``: host that means us; carriers write their own into To, or the name by which they know us into the Request-URI.
    """
    found = uri
    if is_contact:
        for value in (message.get("p-called-party-id") or "", message.to_value):
            try:
                found = parse_uri(parse_name_addr(value).uri)
            except RemoteProtocolError:
                continue
            break
    return Uri("sip", found.user, ours, None, found.params) if found.is_sip else found


def classified(dialled: Dialled, home: str, emergency_countries: Iterable[str]) -> CalledNumber:
    """What was dialled with its class (OUT-04), and as the short number that it may be.

    ``home`` is the country in which the caller's digits are read; the emergency numbers of all the given
    countries count (OUT-05).  Never raises.
    """
    called = dialled.called
    emergency = emergency_number(called.dialled, emergency_countries)
    if emergency:
        return replace(called, e164="", short=emergency, number_class=NumberClass.EMERGENCY)
    country = dialled.country or home
    short = short_number(called.dialled, country)
    if short:
        number_class = classify(short, country)
        return replace(called, e164="", short=short, country=country, number_class=number_class)
    return replace(called, number_class=classify(called.e164)) if called.e164 else called


def without_parameters(uri: Uri) -> tuple[str, str]:
    """Number or name, and the phone-context if there is one.

    A SIP URI made of a tel URI carries its parameters inside the user part (RFC 3261 §19.1.6); devices also
    put them behind the host.
    """
    number, _, inside = uri.user.partition(";")
    context = uri.params.get("phone-context") or ""
    for parameter in inside.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "phone-context":
            context = value.strip()
    return number, unescape(context)


def country_of_context(number: str, context: str) -> str:
    """The country in which ``phone-context=+33`` says that a local number is meant (RFC 3966 §5.1.5)."""
    if context.startswith("+") and not number.startswith("+"):
        return country_of(context.replace("-", ""))
    return ""


def clean(text: str) -> str:
    """Text fit for a fact: within bounds, without control characters, valid as UTF-8."""
    if text.isascii() and text.isprintable() and len(text) <= MAX_TEXT:
        return text
    text = text[:MAX_TEXT].encode("utf-8", "replace").decode("utf-8")
    return "".join(char if char.isprintable() else "?" for char in text)
