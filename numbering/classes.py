"""What kind of destination a number is (OUT-04), and short and emergency numbers (OUT-05).  Pure.

The national tables are asked first and phonenumbers second: it knows the ranges of the whole world, but not
what calls cost, nor most emergency and social numbers, and it follows regulators late.  A number whose range
nobody knows is ``unknown``, not illegal.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType, ShortNumberCost, shortnumberinfo

from numbering.e164 import NOISE, NumberError, NumberFault, country_code, is_fiction, read
from numbering.national import PLANS
from numbering.plans import MAX_SHORT, NumberClass, by_prefix

EVERYWHERE: Final = frozenset({"112", "911"})
"""Emergency numbers that every mobile network takes (3GPP TS 22.101 section 10.1.1)."""

_LIBRARY: Final[dict[int, NumberClass]] = {
    PhoneNumberType.FIXED_LINE: NumberClass.FIXED,
    PhoneNumberType.MOBILE: NumberClass.MOBILE,
    PhoneNumberType.FIXED_LINE_OR_MOBILE: NumberClass.FIXED_OR_MOBILE,
    PhoneNumberType.TOLL_FREE: NumberClass.TOLL_FREE,
    PhoneNumberType.PREMIUM_RATE: NumberClass.PREMIUM,
    PhoneNumberType.SHARED_COST: NumberClass.SHARED_COST,
    PhoneNumberType.VOIP: NumberClass.VOIP,
    PhoneNumberType.UAN: NumberClass.FIXED,
    # Both look like mobile numbers and are charged above them in most countries that have them.
    PhoneNumberType.PERSONAL_NUMBER: NumberClass.PREMIUM,
    PhoneNumberType.PAGER: NumberClass.PREMIUM,
}
_COSTS: Final[dict[int, NumberClass]] = {
    ShortNumberCost.TOLL_FREE: NumberClass.FREE_SHORT,
    ShortNumberCost.STANDARD_RATE: NumberClass.PRICED_SHORT,
    ShortNumberCost.PREMIUM_RATE: NumberClass.PRICED_SHORT,
}


@lru_cache(maxsize=65536)
def classify(number: str, country: str = "") -> NumberClass:
    """Class of a number in E.164, or of the digits of a short number in a country (ISO 3166 alpha-2).

    Never raises: what is no number at all is ``unknown``.
    """
    if number.startswith("+"):
        return _of_e164(number)
    if not (number.isascii() and number.isdigit()) or len(number) > MAX_SHORT:
        return NumberClass.UNKNOWN
    return _of_short(number, country)


@lru_cache(maxsize=65536)
def labels_of(number: str) -> tuple[str, ...]:
    """What the national tables say of the range of a number in E.164 beyond its class: words of ``LABELS``."""
    code = country_code(number)
    label = PLANS.label_of(code, number[1 + len(code) :]) if code else ""
    return (label,) if label else ()


def _of_e164(number: str) -> NumberClass:
    code = country_code(number)
    digits = number[1:]
    if not code or not (digits.isascii() and digits.isdigit()):
        return NumberClass.UNKNOWN
    national = digits[len(code) :]
    plan = PLANS.of_code(code)
    found = None if plan is None else plan.class_of(national)
    if found is not None:
        return found
    territory = by_prefix(PLANS.territories.get(code, {}), national)
    if territory is not None:
        return territory[1]
    try:
        kind = phonenumbers.number_type(phonenumbers.parse(number))
    except NumberParseException:
        return NumberClass.UNKNOWN
    if kind in _LIBRARY:
        return _LIBRARY[kind]
    if plan is not None and plan.fiction is not None and is_fiction(number):
        return plan.fiction
    return NumberClass.UNKNOWN


def _of_short(digits: str, country: str) -> NumberClass:
    if digits in EVERYWHERE:
        return NumberClass.EMERGENCY
    plan = PLANS.of_country(country)
    found = None if plan is None else plan.shorts.get(digits)
    if found is not None:
        return found
    if plan is not None and plan.complete:
        return NumberClass.UNKNOWN_SHORT
    return _by_library(digits, country)


def _by_library(digits: str, country: str) -> NumberClass:
    code = phonenumbers.country_code_for_region(country)
    if not code:
        return NumberClass.UNKNOWN_SHORT
    if shortnumberinfo.is_emergency_number(digits, country):
        return NumberClass.EMERGENCY
    zeros = len(digits) - len(digits.lstrip("0"))
    number = phonenumbers.PhoneNumber(
        country_code=code,
        national_number=int(digits or "0"),
        italian_leading_zero=zeros > 0,
        number_of_leading_zeros=zeros or None,
    )
    return _COSTS.get(shortnumberinfo.expected_cost_for_region(number, country), NumberClass.UNKNOWN_SHORT)


def short_number(text: str, country: str) -> str:
    """The digits of a short number as dialled in a country; empty when it is none.

    A short number is one that the country is known to have, or digits that are too few for any other number
    of the country and begin with no trunk prefix.
    """
    digits = text.translate(NOISE)
    if not (digits.isascii() and digits.isdigit()) or not 2 <= len(digits) <= MAX_SHORT or not country:
        return ""
    if classify(digits, country) is not NumberClass.UNKNOWN_SHORT:
        return digits
    if digits.startswith("0"):
        return ""
    full = read(digits, country)
    return digits if isinstance(full, NumberError) and full.fault is NumberFault.TOO_SHORT else ""


def local_number(digits: str, country: str) -> str:
    """A short number with its country, ``3179;phone-context=+33`` (RFC 3966 section 5.1.5)."""
    return f"{digits};phone-context=+{phonenumbers.country_code_for_region(country)}"


def emergency_number(dialled: str, countries: Iterable[str]) -> str:
    """The emergency number that was dialled, empty if it is none.

    Wherever the phone is, 112 and 911 count, and the numbers of each of the given countries.  ``+33112``,
    ``0033112`` and ``+112``, which dialers make out of 112, count as well, and so does the service URN of RFC
    5031.
    """
    if dialled.lower().startswith("urn:service:sos"):
        return dialled.lower()
    digits = dialled.translate(NOISE)
    if digits.startswith("00") and len(digits) > 4:
        digits = "+" + digits[2:]
    readings = (digits[1:], digits[1 + len(country_code(digits)) :]) if digits.startswith("+") else (digits,)
    asked = tuple(countries)
    for reading in readings:
        if len(reading) > MAX_SHORT:
            continue
        if reading in EVERYWHERE or any(_is_emergency(reading, country) for country in asked):
            return reading
    return ""


def _is_emergency(digits: str, country: str) -> bool:
    return classify(digits, country) is NumberClass.EMERGENCY
