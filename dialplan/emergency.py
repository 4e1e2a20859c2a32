"""Emergency numbers by country (OUT-05): tables of ours, since libraries follow regulators late.

Sources: ARCEP's list of emergency numbers (FR); national lists of the other countries; 3GPP TS 22.101 §10.1.1
for 112 and 911, which every mobile network takes.  Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from numbering.e164 import country_code

EVERYWHERE: Final = frozenset({"112", "911"})

_FRANCE: Final = frozenset(
    {"15", "17", "18", "112", "114", "115", "119", "116000", "116117", "191", "196", "197"}
)

EMERGENCY_NUMBERS: Final[dict[str, frozenset[str]]] = {
    "FR": _FRANCE,
    # Overseas departments and collectivities have country codes of their own and the numbers of France.
    **dict.fromkeys(("GP", "GF", "MQ", "RE", "YT", "PM", "BL", "MF"), _FRANCE),
    "AT": frozenset({"112", "122", "133", "144"}),
    "BE": frozenset({"100", "101", "112"}),
    "BR": frozenset({"190", "192", "193"}),
    "CA": frozenset({"911"}),
    "CZ": frozenset({"112", "150", "155", "156", "158"}),
    "DK": frozenset({"112"}),
    "GB": frozenset({"112", "999"}),
    "IL": frozenset({"100", "101", "102"}),
    "LT": frozenset({"112"}),
    "LU": frozenset({"112", "113"}),
    "MX": frozenset({"911"}),
    "NZ": frozenset({"111"}),
    "PE": frozenset({"105", "106", "116"}),
    "PL": frozenset({"112", "997", "998", "999"}),
    "PR": frozenset({"911"}),
    "SE": frozenset({"112"}),
    "SK": frozenset({"112", "150", "155", "158", "159"}),
    "US": frozenset({"911"}),
}

_LONGEST: Final = max(len(number) for numbers in EMERGENCY_NUMBERS.values() for number in numbers)
_NOISE: Final = str.maketrans("", "", " \t.-()/")


def emergency_number(dialled: str, countries: Iterable[str]) -> str:
    """The emergency number that was dialled, empty if it is none.

    Wherever the phone is, 112 and 911 count, and the numbers of each of the given countries.  ``+33112``,
    ``0033112`` and ``+112``, which dialers make out of 112, count as well, and so does the service URN of RFC
    5031.
    """
    if dialled.lower().startswith("urn:service:sos"):
        return dialled.lower()
    digits = dialled.translate(_NOISE)
    if digits.startswith("00") and len(digits) > 4:
        digits = "+" + digits[2:]
    readings = (digits[1:], digits[1 + len(country_code(digits)) :]) if digits.startswith("+") else (digits,)
    known = [EVERYWHERE, *(EMERGENCY_NUMBERS.get(country, EVERYWHERE) for country in countries)]
    for reading in readings:
        if len(reading) <= _LONGEST and any(reading in numbers for numbers in known):
            return reading
    return ""
