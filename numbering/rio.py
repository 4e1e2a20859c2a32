"""The RIO of French lines ("relevé d'identité opérateur"), by which a number is ported (NUM-10, NUM-11).  Pure.

Twelve characters ``OO Q RRRRRR CCC``: operator, quality, contract reference, check.  The check covers the number
as well, so a code belongs to one number, and a typing error is noticed.  The rule of the check characters is
known from a text that quotes the encyclopedia, not from the operators' own paper; see ``docs/numbers.md``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from numbering.classes import classify
from numbering.countries import CountryRules
from numbering.e164 import country_code
from numbering.plans import NumberClass
from numbering.refusal import Fault, Refused

ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+"
REFERENCE: Final = 6
"""Characters of a contract reference."""
PRIVATE: Final = "P"
ENTERPRISE: Final = "E"
FIXED: Final = "F"
"""Quality of fixed lines, the first of ``F`` to ``Z``."""

_POSITION: Final = {char: index for index, char in enumerate(ALPHABET)}
_FORM: Final = re.compile(r"([A-Z0-9]{2})([A-Z])([A-Z0-9+]{6})([A-Z0-9+]{3})")
_NATIONAL: Final = re.compile(r"0[1-9]\d{8}")
_NOISE: Final = str.maketrans("", "", " \t.-\u00a0\u202f")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rio:
    """A RIO that belongs to its number."""

    operator: str
    quality: str
    reference: str
    check: str

    def __str__(self) -> str:
        return self.operator + self.quality + self.reference + self.check


def check_characters(operator: str, quality: str, reference: str, national: str) -> str:
    """The three check characters.  ``national``: ten digits, with the leading zero."""
    a = b = c = 0
    for char in operator + quality + reference + national:
        position = _POSITION[char]
        a, b, c = (a + position) % 37, (2 * b + position) % 37, (4 * c + position) % 37
    return ALPHABET[a] + ALPHABET[b] + ALPHABET[c]


def national_number(e164: str) -> str:
    """The ten digits with which the number is written at home, as the RIO wants them.

    Raises Refused for numbers that cannot have a RIO.
    """
    national = "0" + e164[1 + len(country_code(e164)) :]
    if _NATIONAL.fullmatch(national) is None:
        raise Refused(Fault.NO_RIO, f"{e164} is no line of ten digits, which a RIO is for")
    return national


def read_rio(text: str, e164: str) -> Rio:
    """What somebody typed as the RIO of a number.  Raises Refused with what is wrong."""
    compact = text.translate(_NOISE).upper()
    match = _FORM.fullmatch(compact)
    if match is None:
        raise Refused(
            Fault.RIO, f"{text[:32]!r} is no RIO: 12 characters as in 04P000000LJJ; dial 3179 to hear it"
        )
    operator, quality, reference, check = match.groups()
    mobile = _is_mobile(e164)
    if quality not in (PRIVATE, ENTERPRISE) if mobile else quality < FIXED:
        kind = "mobile line: P or E" if mobile else "fixed line: F to Z"
        raise Refused(Fault.RIO, f"the third character of the RIO, {quality}, is not that of a {kind}")
    if check_characters(operator, quality, reference, national_number(e164)) != check:
        raise Refused(Fault.RIO, f"the RIO does not belong to {e164}, or has a typing error")
    return Rio(operator=operator, quality=quality, reference=reference, check=check)


def make_rio(operator: str, reference: str, e164: str, *, enterprise: bool, rules: CountryRules) -> Rio:
    """The RIO of one of our lines.  Raises Refused where there is none.

    ``operator``: our two characters; empty: we have none yet.  ``reference``: of the contract, 6 characters.
    """
    if not rules.rio_service:
        raise Refused(Fault.NO_RIO, f"{e164} is of a country where lines have no RIO")
    if not re.fullmatch(r"[A-Z0-9]{2}", operator):
        raise Refused(Fault.NO_RIO, "no operator code is set (numbers.operator_code), so lines have no RIO")
    if len(reference) != REFERENCE or any(char not in _POSITION for char in reference):
        raise ValueError("a contract reference has 6 characters of the alphabet")
    if _is_mobile(e164):
        quality = ENTERPRISE if enterprise else PRIVATE
    else:
        quality = FIXED
    check = check_characters(operator, quality, reference, national_number(e164))
    return Rio(operator=operator, quality=quality, reference=reference, check=check)


def _is_mobile(e164: str) -> bool:
    return classify(e164) is NumberClass.MOBILE
