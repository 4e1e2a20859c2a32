"""What one REGISTER asks for, read and checked (RFC 3261 §10.3, RFC 5626 §6, RFC 3327, RFC 8599); pure
functions.

What a `Registrar` finds out without users, store or events is here: the contacts and how long each wants to
live, whether outbound applies, Path, push token, which of the bindings held a contact is, and how it is
reached.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from callcontrol.bindings import Binding, binding_key
from callcontrol.sip import grammar
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.fields import NameAddr, parse_name_addr, parse_seconds
from callcontrol.sip.flow import Flow, bracketed
from callcontrol.sip.message import Message
from callcontrol.sip.uri import Uri, parse_uri, same

EXTENSIONS: Final = frozenset(("path", "outbound", "gruu"))
"""Option tags that a REGISTER may require of us."""

_Q: Final = re.compile(r"(?:0(?:\.[0-9]{0,6})?|1(?:\.0{0,6})?|\.[0-9]{1,6})")
_PN: Final = re.compile(r";pn-[^;=?]*(?:=[^;?]*)?", re.IGNORECASE)
_GR_SAFE: Final = re.compile(r"[A-Za-z0-9\-_.!~*'()\[\]/:&+$%]++")
_HOUR: Final = 3600
OWN_PROVIDER: Final = "mqtt"
"""``pn-provider`` of a device that our own channel wakes; with push credentials of ours any other does as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrarPolicy:
    """Figures and switches of a `Registrar`; all times in seconds."""

    domain: str
    """Domain of the AORs, lower case."""
    domains: frozenset[str] = frozenset()
    """Further names by which phones call us, lower case: aliases, an AOR is the same under each."""
    default_expires_s: int = 3600
    min_expires_s: int = 60
    max_expires_s: int = 7200
    push_max_expires_s: int = 86400
    """For devices that a push wakes: they are to sleep (Flexisip caps at a day too)."""
    flow_timer_s: int = 120
    """Told to outbound clients as Flow-Timer (RFC 5626 §5.4); 0: not told."""
    default_devices: int = 3
    """Devices per user where the directory knows no plan (DEV-02)."""
    max_bindings: int = 10
    """Bindings per AOR, hence branches of a call to one device."""
    max_contacts: int = 10
    """Contacts in one REGISTER."""
    max_path: int = 10
    push_providers: tuple[str, ...] = ()
    """``pn-provider`` values that somebody serves; others are refused with 555 (RFC 8599 §5.6). Empty: we
    do not take part in RFC 8599 at all, and its parameters only help to recognise a device.
    """
    push: bool = False
    """Devices with push credentials of ours are woken by us, whatever their ``pn-provider`` is."""
    gruu: bool = True
    """Give a public GRUU to devices that know them (RFC 5627)."""
    date: bool = True
    """Tell the time in the 200 (RFC 3261 §20.17): some phones have no other clock."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A final answer other than 200."""

    status: int
    reason: str
    """Word for counters and for the Reason header."""
    text: str
    """Plain sentence for the Warning header."""
    headers: tuple[tuple[str, str], ...] = ()


class Contact:
    """One Contact of a REGISTER."""

    __slots__ = (
        "expires",
        "instance",
        "parsed",
        "prid",
        "provider",
        "push_param",
        "q",
        "reg_id",
        "target",
        "uri",
    )

    def __init__(self, uri: str, parsed: Uri) -> None:
        self.uri: str = uri
        self.parsed: Uri = parsed
        self.target: str = uri
        """The URI without pn-* parameters."""
        self.expires: int = 0
        """Seconds granted; 0: to be removed."""
        self.q: float = 1.0
        self.instance: str = ""
        self.reg_id: int = 0
        self.provider: str = ""
        self.prid: str = ""
        self.push_param: str = ""


class Registration:
    """All that one REGISTER asks for."""

    __slots__ = ("asks_push", "contacts", "gruu", "outbound", "path", "star")

    def __init__(self) -> None:
        self.contacts: list[Contact] = []
        self.star: bool = False
        """``Contact: *``: remove everything."""
        self.path: tuple[str, ...] = ()
        self.outbound: bool = False
        """The contact is an outbound flow (RFC 5626)."""
        self.gruu: bool = False
        self.asks_push: bool = False
        """``pn-provider`` is there: the answer tells what pushes we support (RFC 8599 §4.1.1)."""


def read(message: Message, policy: RegistrarPolicy, pushed: bool = False) -> Registration | Refusal:
    """Read a REGISTER; the first thing wrong with it comes back as a `Refusal`.

    ``pushed``: the device has push credentials of ours, so that with a push token it may sleep for long.
    """
    out = Registration()
    supported = message.tokens("supported") if message.has("supported") else []
    out.gruu = policy.gruu and "gruu" in supported
    try:
        if message.has("path"):
            out.path = tuple(parse_name_addr(value).uri for value in message.items("path"))
        values = message.items("contact")
        if "*" in values:
            out.star = True
            if len(values) > 1 or not _is_zero(message.get("expires")):
                return Refusal(400, "bad_contact", "Contact * stands alone and with Expires 0")
            return out
        if len(values) > policy.max_contacts:
            return Refusal(403, "too_many_contacts", f"at most {policy.max_contacts} contacts in one request")
        addresses = [parse_name_addr(value) for value in values]
        for address in addresses:
            found = _read_contact(address, "outbound" in supported, policy, out, pushed)
            if isinstance(found, Refusal):
                return found
            refusal = _grant(found, address, message.get("expires"), policy, pushed)
            if refusal is not None:
                return refusal
            out.contacts.append(found)
    except RemoteProtocolError as error:
        return Refusal(400, "bad_contact", error.reason)
    return _check_path(message, out, supported, policy) or _check_outbound(message, out) or out


def _read_contact(
    address: NameAddr, knows_outbound: bool, policy: RegistrarPolicy, out: Registration, pushed: bool
) -> Contact | Refusal:
    uri = parse_uri(address.uri)
    if not uri.is_sip:
        return Refusal(400, "bad_contact", "a contact is a SIP or SIPS URI")
    if uri.headers:
        # They would be put into the calls to this contact (RFC 3261 §19.1.5): Replaces, Route, ...
        return Refusal(400, "bad_contact", "a contact has no headers")
    contact = Contact(address.uri, uri)
    params = address.params
    q = params.get("q")
    if q is not None:
        if _Q.fullmatch(q) is None:
            return Refusal(400, "bad_contact", "q is between 0 and 1")
        contact.q = float(q)
    instance = params.get("+sip.instance")
    if instance:
        contact.instance = instance.removeprefix("<").removesuffix(">")
        reg_id = params.get("reg-id")
        # Without the option tag reg-id is ignored (RFC 5626 §6).
        if reg_id and knows_outbound:
            if grammar.DIGITS.fullmatch(reg_id) is None or not 0 < int(reg_id[:11]) < 1 << 31:
                return Refusal(400, "bad_contact", "reg-id is between 1 and 2**31-1")
            contact.reg_id = int(reg_id)
    if any(name.startswith("pn-") for name in uri.params):
        return _read_push(contact, policy, out, pushed)
    return contact


def _read_push(
    contact: Contact, policy: RegistrarPolicy, out: Registration, pushed: bool
) -> Contact | Refusal:
    params = contact.parsed.params
    at = contact.uri.rfind("@") + 1
    contact.target = contact.uri[:at] + _PN.sub("", contact.uri[at:])
    provider = params.get("pn-provider") or ""
    out.asks_push = "pn-provider" in params and (pushed or bool(policy.push_providers))
    if not provider:
        # Without a value it only asks which providers we support (RFC 8599 §4.1.1).
        return contact
    if policy.push_providers and provider not in policy.push_providers and not pushed:
        return Refusal(
            555, "push_unsupported", "push provider not supported", (("feature-caps", feature_caps(policy)),)
        )
    prid = params.get("pn-prid") or ""
    if prid:
        contact.provider, contact.prid = provider, prid
        contact.push_param = params.get("pn-param") or ""
    return contact


def feature_caps(policy: RegistrarPolicy) -> str:
    """Feature-Caps value that names the push providers (RFC 8599 §4.1.1, §14)."""
    names = dict.fromkeys((*policy.push_providers, *((OWN_PROVIDER,) if policy.push else ())))
    return "*;" + ";".join(f'+sip.pns="{name}"' for name in names)


def _is_zero(value: str | None) -> bool:
    return value is not None and grammar.DIGITS.fullmatch(value) is not None and not value.strip("0")


def _grant(
    contact: Contact, address: NameAddr, header: str | None, policy: RegistrarPolicy, pushed: bool
) -> Refusal | None:
    """Fill in ``expires``: by the parameter, else Expires, else the default (RFC 3261 §10.3 step 7)."""
    text = (address.params["expires"] or "") if "expires" in address.params else header
    if text is None:
        asked = policy.default_expires_s
    elif grammar.DIGITS.fullmatch(text) is None:
        asked = _HOUR  # malformed values are equivalent to 3600 (RFC 3261 §10.2.1.1, §20.10)
    else:
        asked = parse_seconds(text)
    # Only below one hour may an interval be called too brief.
    if 0 < asked < min(policy.min_expires_s, _HOUR):
        least = str(policy.min_expires_s)
        return Refusal(423, "interval_too_brief", f"at least {least} seconds", (("min-expires", least),))
    most = policy.max_expires_s
    if contact.provider in policy.push_providers or (contact.provider and pushed):
        most = policy.push_max_expires_s
    contact.expires = min(asked, most)
    return None


def _check_path(
    message: Message, out: Registration, supported: list[str], policy: RegistrarPolicy
) -> Refusal | None:
    """A Path that the phone does not know of is refused with 420, as RFC 3327 §5.3 recommends.

    A proxy in between must not be able to put itself into all calls unseen.
    """
    if not out.path:
        return None
    if "path" not in supported:
        return Refusal(420, "bad_extension", "Path without Supported: path", (("unsupported", "path"),))
    if len(out.path) > policy.max_path:
        return Refusal(403, "bad_path", f"at most {policy.max_path} Path values")
    return None


def _check_outbound(message: Message, out: Registration) -> Refusal | None:
    flows = [contact for contact in out.contacts if contact.reg_id and contact.expires]
    if not flows:
        return None
    if len(flows) > 1:
        return Refusal(400, "bad_contact", "one request registers one outbound flow (RFC 5626 section 6)")
    # Behind a proxy it is the first one, at the bottom of the Path, which must hold the flow: it says so
    # with ";ob".
    if len(message.items("via")) > 1 and not (out.path and "ob" in parse_uri(out.path[-1]).params):
        return Refusal(439, "no_outbound", "the first proxy does not support outbound")
    out.outbound = True
    return None


def reach(message: Message, flow: Flow, contact: Contact, path: tuple[str, ...]) -> tuple[str, int]:
    """How calls reach a contact: (``Flow.dump()``, connection id), or ("", 0) to resolve Path or contact.

    They go back the way the REGISTER came, which works through NATs (RFC 5626 §5.3, RFC 3581).  Over UDP a
    contact at another address is believed only when no NAT is in between, that is when the phone knows its
    own address: its Via sent-by is where the request came from.  Over a connection the contact is the
    connection, unless it plainly names another socket of the same host (a port of its own, no stream
    transport), which then outlives the connection.
    """
    if path:
        return "", 0
    uri = contact.parsed
    if flow.reliable:
        elsewhere = uri.port is not None and uri.port != flow.port and uri.host == flow.host
        datagram = uri.scheme == "sip" and (uri.params.get("transport") or "udp").lower() == "udp"
        if elsewhere and datagram and message.sent_by == f"{bracketed(flow.host)}:{flow.port}":
            return "", 0
        return flow.dump(), flow.conn
    port = uri.port or 5060
    if (uri.host, port) == (flow.host, flow.port):
        return flow.dump(), 0
    here = bracketed(flow.host)
    if message.sent_by != f"{here}:{flow.port}" and (message.sent_by != here or flow.port != 5060):
        return flow.dump(), 0
    if not _is_unicast(uri.host):
        return flow.dump(), 0
    plain = uri.scheme == "sip" and (uri.params.get("transport") or "udp").lower() == "udp"
    if plain and (":" in uri.host) == (":" in flow.host):
        return Flow("udp", uri.host, port, flow.listener).dump(), 0
    return "", 0


def _is_unicast(host: str) -> bool:
    """True for an address that one phone can have; 0.0.0.0 would be ourselves."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_multicast)


def instance_id(instance: str) -> str:
    """An instance id in the form that is compared: URNs of UUIDs ignore case (RFC 8141 §3.1, RFC 9562)."""
    return instance.lower() if instance[:9].lower() == "urn:uuid:" else instance


def gruu_of(binding: Binding) -> str:
    """The public GRUU of a binding (RFC 5627 §3.1): its AOR and instance, so it stays the same for ever."""
    if not binding.instance or _GR_SAFE.fullmatch(binding.instance) is None:
        return ""
    return f"{binding.aor};gr={binding.instance}"


def contact_value(binding: Binding, now: float, *, own: bool) -> str:
    """A Contact of the 200; ``own`` False hides the push token of another device (RFC 8599 §11)."""
    text = f"<{binding.contact if own else binding.target}>;expires={max(0, round(binding.expires_at - now))}"
    if binding.q != 1.0:
        text += f";q={binding.q:g}"
    if binding.instance:
        quoted = binding.instance.replace("\\", "\\\\").replace('"', '\\"')
        text += f';+sip.instance="<{quoted}>"'
        if binding.reg_id:
            text += f";reg-id={binding.reg_id}"
        if own and binding.gruu:
            gruu = gruu_of(binding)
            if gruu:
                text += f';pub-gruu="{gruu}"'
    return text


def key_for(message: Message, contact: Contact, held: dict[str, Binding], taken: set[str]) -> str:
    """Which binding a contact is (DEV-06); a new one without name of its own gets one by Call-ID."""
    if contact.instance or contact.provider:
        return binding_key(
            instance_id(contact.instance),
            contact.reg_id,
            contact.provider,
            contact.prid,
            contact.push_param,
            message.call_id,
        )
    nameless = [b for b in held.values() if not b.instance and not b.push_provider and b.key not in taken]
    for binding in nameless:
        if binding.contact == contact.uri or same(parse_uri(binding.contact), contact.parsed):
            return binding.key
    if contact.expires:
        # The same registration with a new contact: the phone, or its NAT, has moved.
        for binding in nameless:
            if binding.call_id == message.call_id:
                return binding.key
    key = binding_key("", 0, "", "", "", message.call_id)
    number = 1
    unique = key
    while unique in held or unique in taken:
        number += 1
        unique = f"{key} {number}"
    return unique


def is_late(message: Message, binding: Binding) -> bool:
    """A REGISTER that was overtaken by a later one of the same Call-ID (RFC 3261 §10.3 step 7)."""
    return binding.call_id == message.call_id and message.cseq <= binding.cseq


def is_twin(new: Binding, old: Binding) -> bool:
    """True when two bindings of one AOR are one device under two keys; two outbound flows of it are no twins."""
    if new.instance and instance_id(new.instance) == instance_id(old.instance):
        return not (new.reg_id and old.reg_id)
    if new.flow and new.flow == old.flow and new.contact == old.contact:
        return True
    return bool(new.push_provider) and (new.push_provider, new.push_prid, new.push_param) == (
        old.push_provider,
        old.push_prid,
        old.push_param,
    )


def connected_before(device: str, held: dict[str, Binding], everything: Sequence[Binding]) -> int:
    """How many other devices of the user are connected; of one that is connected itself: how many longer than it.

    Two devices may come at the same time by two nodes that do not know of each other yet, and a plan may change: then those
    that are there too many are the latest ones, and they go when they register again.
    """
    first: dict[str, float] = {}
    for binding in everything:
        at = first.get(binding.device)
        if at is None or binding.registered_at < at:
            first[binding.device] = binding.registered_at
    own = first.pop(device, 0.0)
    if not held:
        return len(first)
    return len([ref for ref, at in first.items() if (at, ref) < (own, device)])
