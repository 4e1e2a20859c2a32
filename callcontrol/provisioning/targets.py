"""Which numbers calls may be forwarded to, and which a Greeting may have.  Pure."""

from __future__ import annotations

from collections.abc import Collection

from numbering.classes import classify, emergency_number
from numbering.e164 import country_code, country_of, is_fiction
from numbering.plans import NumberClass
from numbering.policy import COUNTRIES

Refusal = tuple[str, str]
"""What is wrong, and what to change."""


def refusal_of(to: str, own: str, barred: Collection[str], gateways: Collection[str]) -> Refusal | None:
    """Why calls to ``own`` cannot be forwarded to ``to``, both E.164; None: they can (FWD-01)."""
    if to == own:
        return f"to: {to} is the number itself", "forward to another number"
    if emergency_number(to, [country_of(to), country_of(own)]):
        return (
            f"to: {to} is an emergency number, and calls are never forwarded there",
            "choose another number",
        )
    number_class = classify(to)
    if number_class is NumberClass.MACHINE:
        return f"to: {to} is a number of machines, and no person answers there", "choose a number of a person"
    if number_class in barred:
        return (
            f"to: {to} is {number_class.value.replace('_', ' ')}, which nobody may call",
            f"classes that are barred: {', '.join(barred)}",
        )
    if to in gateways:
        return f"to: {to} is a gateway number of the platform", "choose a number that somebody answers"
    return None


def greeting_number(e164: str) -> Refusal | None:
    """Why a Greeting cannot have a number (GRT-07); None: it can.  Numbers kept for fiction always may."""
    country = country_of(e164)
    rules = COUNTRIES.of(country)
    if classify(e164) is NumberClass.MACHINE:
        return f"{e164} is a number of machines", "choose a number that people call"
    # Territories share the rules of their country, but not its digits.
    if not rules.greeting_numbers or rules.country != country or is_fiction(e164):
        return None
    code = country_code(e164)
    if e164[1 + len(code) :].startswith(rules.greeting_numbers):
        return None
    allowed = " and ".join(f"+{code}{begin}…" for begin in rules.greeting_numbers)
    return f"{e164} cannot be the number of a Greeting in {country}", f"numbers that can: {allowed}"
