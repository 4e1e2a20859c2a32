"""Reading telephone numbers into E.164 (ITU-T E.164, RFC 3966) in the caller's context (NUM-01).  Pure.

A number in international form is checked by country code and length, from the metadata of phonenumbers;
anything else is read by phonenumbers in a country.  The national tables of `numbering.plans` put right what
the library does not know: overseas territories, long machine numbers, routing prefixes.  Whether a range is
*assigned* is not asked: the library lags behind regulators and calls numbers invalid that ring.  Ranges
reserved for fiction are legal everywhere, also those whose length the library refuses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final, NewType

import phonenumbers
from phonenumbers import NumberParseException, PhoneMetadata

from numbering.national import PLANS
from numbering.plans import NumberingPlan, by_prefix

E164 = NewType("E164", str)
"""A number with plus sign and digits only, ``+33639981001``."""


class NumberFault(StrEnum):
    """Why a text is no number we can call."""

    EMPTY = "empty"
    NOT_A_NUMBER = "not_a_number"
    NO_COUNTRY = "no_country"
    """A national number, and no country to read it in."""
    UNKNOWN_COUNTRY_CODE = "unknown_country_code"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    WRONG_LENGTH = "wrong_length"
    """Between the shortest and the longest number of its country, but no number there has this length."""


_PLAIN: Final[dict[NumberFault, str]] = {
    NumberFault.EMPTY: "there is no number",
    NumberFault.NOT_A_NUMBER: "it is not a telephone number",
    NumberFault.NO_COUNTRY: "it is a national number and no country is known to read it in",
    NumberFault.UNKNOWN_COUNTRY_CODE: "no country has this country code",
    NumberFault.TOO_SHORT: "it is too short",
    NumberFault.TOO_LONG: "it is too long",
    NumberFault.WRONG_LENGTH: "no number of its country has this length",
}


@dataclass(frozen=True, slots=True)
class NumberError:
    """A text that is no number, and why; a value, since a wrong number is not an exception on a telephone."""

    text: str
    fault: NumberFault

    def __str__(self) -> str:
        return f"{self.text!r}: {_PLAIN[self.fault]}"


# Sources: ARCEP decision 2022-1583 (numbers for audiovisual works), Ofcom "Telephone numbers for use in TV
# and radio drama programmes", NANPA 555 line numbers 0100-0199 (with and without area code).
_FICTION: Final = re.compile(
    r"\+33(?:19900|26191|35301|46571|53649|63998)\d{4}$"
    r"|\+44(?:7700900|2079460|1632960|1134960|1144960|1154960|1164960|1174960|1184960|1214960|1314960|1414960"
    r"|1514960|1614960|1914980|2890180|2920180|3069990|8081570|9098790)\d{3}$"
    r"|\+1(?:[2-9]\d\d)?55501\d\d$"
)
_CODES: Final[dict[str, tuple[str, ...]]] = {
    str(code): regions for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items()
}
_MAX_TEXT: Final = 64
NOISE: Final = str.maketrans("", "", " \t.-()/\u00a0\u202f\u2011")
"""What people and phones write between digits."""


def is_fiction(e164: str) -> bool:
    """Whether the number lies in a range that regulators keep for films and documents."""
    return _FICTION.match(e164) is not None


def country_code(e164: str) -> str:
    """Country code of a number with plus sign, without the plus; empty when no country has it."""
    for size in (1, 2, 3):
        code = e164[1 : 1 + size]
        if code in _CODES:
            return code
    return ""


@lru_cache(maxsize=512)
def _lengths(code: str) -> frozenset[int]:
    """Lengths that national significant numbers of a country code may have."""
    lengths: set[int] = set()
    region = _CODES[code][0]
    metadata = (
        PhoneMetadata.metadata_for_nongeo_region(int(code), None)
        if region == "001"
        else PhoneMetadata.metadata_for_region(region, None)
    )
    if metadata is not None and metadata.general_desc is not None:
        lengths.update(length for length in metadata.general_desc.possible_length if length > 0)
    return frozenset(lengths)


def read(text: str, country: str = "") -> E164 | NumberError:
    """Read what a person or a machine wrote as a number.

    ``country`` (ISO 3166 alpha-2, may be empty) is where a national number is read: ``0639981001`` in ``FR``,
    also its international prefix (``00``, ``011``).  Never raises.
    """
    plain = text.isalnum() or (text[:1] == "+" and text[1:].isalnum())
    compact = text if plain else text.translate(NOISE)
    if not compact:
        return NumberError(text, NumberFault.EMPTY)
    if len(text) > _MAX_TEXT:
        return NumberError(text[:_MAX_TEXT], NumberFault.TOO_LONG)
    if compact[0] == "+":
        digits = compact[1:]
        if not (digits.isascii() and digits.isdigit()):
            return NumberError(text, NumberFault.NOT_A_NUMBER)
        return _read_international(text, compact)
    if not (compact.isascii() and compact.isdigit()):
        return NumberError(text, NumberFault.NOT_A_NUMBER)
    if not country and compact.startswith("00"):
        return _read_international(text, "+" + compact[2:])
    if not country:
        return NumberError(text, NumberFault.NO_COUNTRY)
    return _parse(text, compact, _dialling_in(compact, country))


def _dialling_in(compact: str, country: str) -> str:
    """The country whose plan national digits are of: overseas territories dial all of France with a 0."""
    plan = PLANS.of_country(country)
    if plan is None or not plan.overseas_ranges or compact[:1] != "0" or compact.startswith("00"):
        return country
    return plan.country


def _read_international(text: str, compact: str) -> E164 | NumberError:
    code = country_code(compact)
    if not code:
        short = len(compact) < 4
        return NumberError(text, NumberFault.TOO_SHORT if short else NumberFault.UNKNOWN_COUNTRY_CODE)
    size = len(compact) - 1 - len(code)
    # A zero after the country code is either the trunk prefix of "+33 (0)6…" or, in Italy, a part of the
    # number: the library knows which.
    if compact[1 + len(code) : 2 + len(code)] == "0":
        return _parse(text, compact, "")
    return _sized(text, E164(compact), code, size)


def _parse(text: str, compact: str, country: str) -> E164 | NumberError:
    try:
        parsed = phonenumbers.parse(compact, country or None)
    except NumberParseException as error:
        return NumberError(text, _FAULTS.get(error.error_type, NumberFault.NOT_A_NUMBER))
    code = str(parsed.country_code)
    national = phonenumbers.national_significant_number(parsed)
    return _sized(text, E164(f"+{code}{national}"), code, len(national))


def _sized(text: str, number: E164, code: str, size: int) -> E164 | NumberError:
    plan = PLANS.of_code(code)
    if plan is not None:
        number = _by_plan(plan, number)
        code = country_code(number)
        size = len(number) - 1 - len(code)
    lengths = _lengths(code)
    if size in lengths or is_fiction(number):
        return number
    if plan is not None and plan.code == code and plan.has_length(number[1 + len(code) :]):
        return number
    if not lengths:
        return NumberError(text, NumberFault.UNKNOWN_COUNTRY_CODE)
    if size < min(lengths):
        return NumberError(text, NumberFault.TOO_SHORT)
    return NumberError(text, NumberFault.TOO_LONG if size > max(lengths) else NumberFault.WRONG_LENGTH)


def _by_plan(plan: NumberingPlan, number: E164) -> E164:
    """The number without a carrier's routing prefix, under the country code of its territory."""
    lengths = _lengths(plan.code)
    national = number[1 + len(plan.code) :]
    # A prefix makes a number longer than any; what has a legal length has none.
    illegal = len(national) not in lengths
    if illegal and plan.porting and len(national) > max(lengths, default=0) and not plan.has_length(national):
        behind = plan.without_porting_prefix(national)
        if len(behind) in lengths:
            national = behind
            number = E164(f"+{plan.code}{national}")
    if plan.overseas_ranges and len(national) in lengths:
        place = plan.overseas_of(national)
        if place is not None:
            return E164(f"+{place.code}{national.removeprefix(place.strip)}")
    return number


_FAULTS: Final[dict[int, NumberFault]] = {
    NumberParseException.INVALID_COUNTRY_CODE: NumberFault.UNKNOWN_COUNTRY_CODE,
    NumberParseException.TOO_SHORT_AFTER_IDD: NumberFault.TOO_SHORT,
    NumberParseException.TOO_SHORT_NSN: NumberFault.TOO_SHORT,
    NumberParseException.TOO_LONG: NumberFault.TOO_LONG,
}


@lru_cache(maxsize=65536)
def country_of(e164: str) -> str:
    """ISO 3166 alpha-2 country of a number in E.164; empty for codes that belong to no country (satellite,
    +800).

    Of the countries that share a code (+1, +44, +590) the number's range decides; where the library knows no
    range, the national tables do, and else the main country of the code (``US``, ``GB``) is taken.
    """
    code = country_code(e164)
    if not code:
        return ""
    regions = _CODES[code]
    if regions[0] == "001":
        return ""
    if len(regions) == 1:
        return regions[0]
    try:
        found = phonenumbers.region_code_for_number(phonenumbers.parse(e164))
    except NumberParseException:
        found = None
    if found:
        return found
    territory = by_prefix(PLANS.territories.get(code, {}), e164[1 + len(code) :])
    return regions[0] if territory is None else territory[0]
