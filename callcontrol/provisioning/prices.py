"""Entries of documents to rates and packages."""

from __future__ import annotations

import contextlib
import re
from datetime import date
from typing import Final

from callcontrol.pricing.rates import STANDARD, Package, Rate
from callcontrol.provisioning.reading import Reader
from numbering.money import ZERO, Money, read_money

_PREFIX: Final = re.compile(r"\+\d{0,15}")
_TABLE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_ZONE: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_MAX_MINUTES: Final = 1_000_000


def read_rate(reader: Reader) -> Rate | None:
    prefix = reader.text("prefix", size=16)
    if _PREFIX.fullmatch(prefix) is None:
        reader.fail("prefix", f"{prefix!r} is not a prefix", 'write "+44", or "+" for all numbers')
    table = reader.text("table", size=32) or STANDARD
    if _TABLE.fullmatch(table) is None:
        reader.fail("table", f"{table!r} is not the name of a table")
    if not reader.has("per_minute"):
        reader.fail("per_minute", "is missing", 'write per_minute = "0.05"')
    currency = reader.text("currency", size=3) or "EUR"
    if _CURRENCY.fullmatch(currency) is None:
        reader.fail("currency", f"{currency!r} is not a currency", 'write "EUR"')
    rate = Rate(
        table=table,
        prefix=prefix,
        per_minute=money(reader, "per_minute"),
        connection=money(reader, "connection"),
        minimum_seconds=reader.count("minimum_seconds", 0, 0, 3600),
        increment_seconds=reader.count("increment_seconds", 1, 1, 3600),
        currency=currency,
        zone=_zone(reader, "zone", reader.text("zone", size=32)),
        valid_from=_day(reader),
    )
    return rate if _PREFIX.fullmatch(prefix) is not None else None


def read_package(reader: Reader) -> Package | None:
    ref = reader.ref("ref", required=True)
    zones = tuple(_zone(reader, "zones", zone) for zone in reader.texts("zones"))
    if not zones:
        reader.fail("zones", "covers nothing", 'write zones = ["europe"]')
    package = Package(
        ref=ref,
        name=reader.text("name", size=200),
        zones=tuple(dict.fromkeys(zone for zone in zones if zone)),
        minutes=reader.count("minutes", 0, 0, _MAX_MINUTES),
    )
    return package if ref else None


def money(reader: Reader, key: str) -> Money:
    """An amount in quotes; a TOML float would not be the number that was written."""
    value = reader.anything(key)
    if value is None:
        return ZERO
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        reader.fail(key, f"{value!r} is not an amount in quotes", f'write {key} = "0.05"')
        return ZERO
    try:
        return read_money(value)
    except ValueError as error:
        reader.fail(key, str(error), f'write {key} = "0.05"')
        return ZERO


def _zone(reader: Reader, key: str, zone: str) -> str:
    if zone and _ZONE.fullmatch(zone) is None:
        reader.fail(key, f"{zone!r} is not the name of a zone", "small letters, digits and underscore")
        return ""
    return zone


def _day(reader: Reader) -> str:
    value = reader.anything("valid_from")
    if value is None or value == "":
        return ""
    if type(value) is date:
        return value.isoformat()
    if isinstance(value, str) and _DAY.fullmatch(value) is not None:
        with contextlib.suppress(ValueError):
            return date.fromisoformat(value).isoformat()
    reader.fail("valid_from", f"{value!r} is not a day", "write 2027-01-31")
    return ""
