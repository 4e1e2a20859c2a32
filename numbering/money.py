"""Amounts of money: whole millionths of a currency's unit, so that nothing is ever lost in a float.  Pure."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final

MICROS: Final = 1_000_000
"""Of them make one unit (euro, dollar)."""
MAX_UNITS: Final = 10**12
"""Amounts beyond are typing errors."""
_PLACES: Final = 6


class Money(int):
    """An amount in millionths of the unit; it calculates as the integer that it is."""

    __slots__ = ()

    def __str__(self) -> str:
        return written(self)

    def __repr__(self) -> str:
        return f"Money({int(self)})"


ZERO: Final = Money(0)


def written(micros: int) -> str:
    """The amount in units, with two decimal places or as many as it needs: ``0.05``, ``12.50``, ``0.0125``."""
    sign = "-" if micros < 0 else ""
    whole, rest = divmod(abs(micros), MICROS)
    places = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{places}"


def read_money(text: str) -> Money:
    """An amount from text in units (``0.05``).

    Raises ValueError for what is no plain decimal number, is negative, has more than six decimal places, or is
    beyond ``MAX_UNITS``.
    """
    if not text.isascii() or not text.replace(".", "", 1).isdigit():
        raise ValueError(f"{text!r} is not an amount")
    try:
        micros = Decimal(text).scaleb(_PLACES)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not an amount") from None
    if micros != micros.to_integral_value():
        raise ValueError(f"{text!r} has more than {_PLACES} decimal places")
    if micros > MAX_UNITS * MICROS:
        raise ValueError(f"{text!r} is too much")
    return Money(int(micros))
