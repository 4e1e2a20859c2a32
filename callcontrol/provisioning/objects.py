"""Entries of documents to objects of the inventory."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from callcontrol.provisioning.documents import Document, Entry, Problem, entries
from callcontrol.provisioning.greetings import read_greeting
from callcontrol.provisioning.incoming import OF_NUMBERS, forwarding, listed, read_hours
from callcontrol.provisioning.inventory import Inventory, Item, kind_of
from callcontrol.provisioning.prices import money, read_package, read_rate
from callcontrol.provisioning.reading import REF, REF_FORM, Reader
from callcontrol.provisioning.trunks import read_trunk
from config.settings import nearest
from gateway.gateway_numbers import GatewayKind, GatewayNumber
from numbering import mqtt_password, vip
from numbering.e164 import E164, country_of
from numbering.models import (
    ANSWER_GSM,
    ANSWER_VOIP,
    Account,
    AccountKind,
    CloudNumber,
    Device,
    DeviceKind,
    NumberState,
    PlanTable,
    User,
)
from numbering.policy import VIP_POLICY

CONFIRM_NONE: Final = "none"
"""The one policy of legs to a SIM that needs no media (FWD-05)."""
_OF_HOLDERS: Final = (
    "calls",
    "hide",
    "ring_seconds",
    "block",
    "spam",
    "slot",
    "special",
    "holidays",
    "forward",
    "voicemail",
    "gsm_fallback",
)
"""Keys of numbers that only a number with a user may have."""
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_MAX_CONTACTS: Final = 5000
"""Of one user; they are read and written together."""
WRITTEN_STATES: Final = (
    NumberState.AVAILABLE,
    NumberState.ACTIVE,
    NumberState.SUSPENDED,
    NumberState.QUARANTINED,
    NumberState.PORTED_OUT,
)
"""States that a document may name; a number expires by its ``expires_at``, and is reserved or ported by a request."""
STATES_WITH_USER: Final = (NumberState.ACTIVE, NumberState.SUSPENDED)
SECRETS: Final = {"device": ("sip_password", "mqtt_password"), "trunk": ("password",)}
"""Fields of objects that are not shown; what does not write them leaves them as they are."""


@dataclass(frozen=True, slots=True)
class Desired:
    """What the documents say, and where they say it."""

    inventory: Inventory
    places: Mapping[tuple[str, str], Entry]
    """Entry of an object by kind and key."""
    silent: frozenset[tuple[str, str, str]]
    """Kind, key and field of secrets that were not written: the object keeps the one that it has."""


def read_documents(documents: Sequence[Document], plans: PlanTable, problems: list[Problem]) -> Desired:
    """Read documents; whatever is wrong is added to ``problems``, and what is right is returned."""
    places: dict[tuple[str, str], Entry] = {}
    inventory = Inventory()
    silent: set[tuple[str, str, str]] = set()
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
            silent.update((kind, key, field) for field in SECRETS.get(kind, ()) if not reader.has(field))
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
    if kind == "greeting":
        return read_greeting(reader)
    if kind == "gateway_number":
        return _gateway_number(reader)
    if kind == "rate":
        return read_rate(reader)
    if kind == "package":
        return read_package(reader)
    return read_trunk(reader)


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
        credit=money(reader, "credit"),
        packages=_refs(reader, "packages"),
    )
    return account if ref else None


def _user(reader: Reader) -> User | None:
    ref = reader.ref("ref", required=True)
    default_number = reader.number("default_number")
    country = country_of(default_number) if default_number else ""
    user = User(
        ref=ref,
        account=reader.ref("account", required=True),
        name=reader.text("name", size=200),
        email=reader.text("email", size=254),
        default_number=default_number,
        suspended=reader.flag("suspended", False),
        contacts=_contacts(reader),
        call_waiting=reader.flag("call_waiting", False),
        block=listed(reader, "block", country),
        spam=listed(reader, "spam", country),
    )
    return user if ref else None


def _refs(reader: Reader, key: str) -> tuple[str, ...]:
    found = reader.texts(key)
    for ref in found:
        if REF.fullmatch(ref) is None:
            reader.fail(key, f"{ref!r} is not a ref", REF_FORM)
    return tuple(dict.fromkeys(found))


def _contacts(reader: Reader) -> dict[str, str]:
    """Number of a contact -> own number that is linked to it."""
    contacts: dict[str, str] = {}
    written = reader.table("contacts") or {}
    if len(written) > _MAX_CONTACTS:
        reader.fail("contacts", f"there are more than {_MAX_CONTACTS}")
        return contacts
    for contact, number in written.items():
        if not isinstance(number, str):
            reader.fail("contacts", f"{number!r} is not text", 'write { "+33…" = "+33…" }')
            continue
        one, other = reader.as_number("contacts", contact), reader.as_number("contacts", number)
        if one and other:
            contacts[one] = other
    return contacts


def _device(reader: Reader) -> Device | None:
    username = reader.ref("sip_username")
    ref = reader.ref("ref", default=username)
    if not ref and not reader.has("ref") and not reader.has("sip_username"):
        reader.fail("ref", "is missing", "write ref, or sip_username, which then is the ref as well")
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
    mqtt = reader.text("mqtt_password", size=160)
    answer = _answer(reader, sim)
    device = Device(
        ref=ref,
        user=reader.ref("user", required=True),
        kind=kind,
        sim=sim,
        sim_verified=verified,
        sip_username=username,
        sip_password=password,
        mqtt_password=mqtt_password.hashed(ref, mqtt) if mqtt else "",
        answer=answer,
    )
    return device if ref else None


def _answer(reader: Reader, sim: str) -> str:
    """How calls reach the device (INC-05), and whether a person has to accept them there (FWD-05)."""
    answer = reader.text("answer", size=16) or ANSWER_VOIP
    if answer not in (ANSWER_VOIP, ANSWER_GSM):
        reader.fail("answer", f"{answer!r} is none of {ANSWER_VOIP}, {ANSWER_GSM}")
        answer = ANSWER_VOIP
    if answer == ANSWER_GSM and not sim and not reader.has("sim"):
        reader.fail("answer", "there is no SIM to be called", 'write sim = "+33…", or answer = "voip"')
    confirm = reader.text("confirm", size=16) or CONFIRM_NONE
    if confirm != CONFIRM_NONE:
        reader.fail(
            "confirm",
            f"{confirm!r}: a person would accept by pressing 1, and that needs media that this version does not have",
            f'leave it out, or write confirm = "{CONFIRM_NONE}"',
        )
    return answer


def _number(reader: Reader) -> CloudNumber | None:
    e164 = reader.number("e164", required=True)
    country = country_of(e164) if e164 else ""
    if reader.has("users"):
        reader.texts("users")
        reader.fail("users", "sharing a number is refused: it has exactly one holder", 'write user = "…"')
        user = ""
    else:
        user = reader.ref("user")
    category = reader.text("category", size=16) or (vip.category(e164, VIP_POLICY) if e164 else vip.STANDARD)
    if category not in vip.CATEGORIES:
        reader.fail("category", f"{category!r} is none of {', '.join(vip.CATEGORIES)}")
    number = CloudNumber(
        e164=E164(e164),
        user=user,
        state=_state(reader, user),
        category=category,
        expires_at=reader.moment("expires_at"),
        calls=reader.flag("calls", True),
        hide=reader.flag("hide", False),
        ring_seconds=reader.amount("ring_seconds", 0.0, 0, 600),
        block=listed(reader, "block", country),
        spam=listed(reader, "spam", country),
        hours=read_hours(reader, OF_NUMBERS, e164),
        forward=forwarding(reader, e164),
        voicemail=reader.flag("voicemail", False),
        gsm_fallback=reader.flag("gsm_fallback", False),
    )
    if not user:
        for name in _OF_HOLDERS:
            if reader.has(name):
                reader.fail(
                    name, "only a number with a user has it", f'write user = "…", or leave {name} out'
                )
    return number if e164 else None


def _state(reader: Reader, user: str) -> NumberState:
    """The state that a document names; what the number becomes depends on what it is (`number_life`)."""
    if not reader.has("state"):
        return NumberState.ACTIVE if user else NumberState.AVAILABLE
    state = reader.choice("state", NumberState, NumberState.ACTIVE)
    if state not in WRITTEN_STATES:
        named = ", ".join(each.value for each in WRITTEN_STATES)
        reader.fail("state", f"{state.value} is not made by a document", f"a document may name {named}")
    elif user and state not in STATES_WITH_USER:
        reader.fail("state", f"a number with a user is not {state.value}")
    return state


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
