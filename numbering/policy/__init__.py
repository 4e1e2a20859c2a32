"""The policies that come with the product: countries (quarantine, capabilities, porting) and VIP points.

Dated TOML files with their sources, read when the process starts; one that cannot be used stops the start
with a complaint that names file and key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import date
from importlib import resources
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from numbering.countries import CAPABILITIES, Countries, CountryRules, PortInRules, Quarantine
from numbering.plans import SEEN, Source
from numbering.vip import SHAPES, VipPolicy

_COUNTRIES: Final = "countries.toml"
_VIP: Final = "vip.toml"
_RULE_KEYS: Final = frozenset(
    {
        "zone",
        "quarantine",
        "capabilities",
        "portable_days",
        "rio_service",
        "greeting_numbers",
        "territories",
        "port_in",
        "sources",
    }
)
_HOLIDAY: Final = re.compile(r"(?:0[1-9]|1[0-2])-[0-3]\d|easter[+-]\d{1,3}")


class PolicyError(Exception):
    """A policy cannot be used; the message names the file, the key and what is wrong."""


def _fail(key: str, what: str) -> PolicyError:
    return PolicyError(f"{_COUNTRIES}: {key}: {what}")


def parse_countries(document: Mapping[str, Any]) -> Countries:
    """The rules of a document.  Raises PolicyError."""
    checked = document.get("checked")
    if not isinstance(checked, date):
        raise _fail("checked", "a date belongs here")
    default = _rules("", document.get("default"), None)
    found: dict[str, CountryRules] = {}
    for country, table in document.items():
        if country in ("checked", "default"):
            continue
        if re.fullmatch(r"[A-Z]{2}", country) is None:
            raise _fail(country, "is not a country")
        for name in (country, *(table.get("territories", ()) if isinstance(table, dict) else ())):
            if name in found:
                raise _fail(name, "has rules already")
            found[name] = _rules(country, table, default)
    return Countries(checked=checked, default=default, by_country=found)


def _rules(country: str, table: Any, default: CountryRules | None) -> CountryRules:
    key = country or "default"
    if not isinstance(table, dict):
        raise _fail(key, "is not a table")
    unknown = sorted(table.keys() - _RULE_KEYS)
    if unknown:
        raise _fail(f"{key}.{unknown[0]}", "unknown key")
    zone = table.get("zone", default.zone if default else "")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise _fail(f"{key}.zone", f"{zone!r} is no time zone") from None
    capabilities = tuple(table.get("capabilities", default.capabilities if default else ()))
    if not capabilities or set(capabilities) - set(CAPABILITIES):
        raise _fail(f"{key}.capabilities", f"some of {', '.join(CAPABILITIES)} belong here")
    return CountryRules(
        country=country,
        zone=zone,
        quarantine=_quarantine(key, table["quarantine"])
        if "quarantine" in table
        else _inherited(key, default),
        capabilities=capabilities,
        portable_days=int(table.get("portable_days", 0)),
        rio_service=str(table.get("rio_service", "")),
        greeting_numbers=_beginnings(f"{key}.greeting_numbers", table.get("greeting_numbers", [])),
        port_in=_port_in(f"{key}.port_in", table["port_in"]) if "port_in" in table else None,
        sources=tuple(_source(f"{key}.sources", item) for item in table.get("sources", ())),
    )


def _beginnings(key: str, found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(each, str) and each.isdigit() for each in found):
        raise _fail(key, "digits belong here, with which national numbers begin")
    return tuple(found)


def _inherited(key: str, default: CountryRules | None) -> Quarantine:
    if default is None:
        raise _fail(f"{key}.quarantine", "is missing")
    return default.quarantine


def _quarantine(key: str, table: Any) -> Quarantine:
    try:
        period = Quarantine(**table)
    except TypeError:
        raise _fail(f"{key}.quarantine", "floor, days and ceiling belong here") from None
    # Two days of room, so that an end always fits between the bounds, whatever the clocks are put to.
    if not 0 < period.floor <= period.days <= period.ceiling or period.ceiling < period.floor + 2:
        raise _fail(f"{key}.quarantine", "floor, days and ceiling must not decrease, with two days between")
    return period


def _port_in(key: str, table: Any) -> PortInRules:
    try:
        words = {name: frozenset(table[name]) for name in ("yes", "no")}
        rules = PortInRules(**{**table, **words, "holidays": tuple(table["holidays"])})
    except (TypeError, KeyError) as error:
        raise _fail(key, f"is incomplete or has too much: {error}") from None
    wrong = [entry for entry in rules.holidays if _HOLIDAY.fullmatch(entry) is None]
    if wrong:
        raise _fail(f"{key}.holidays", f"{wrong[0]!r} is neither MM-DD nor easter+N")
    if rules.yes & rules.no:
        raise _fail(f"{key}.yes", "a word means yes and no")
    if not 0 <= rules.hour <= 23 or rules.lead_working_days < 1 or rules.latest_days < 7:
        raise _fail(key, "hour is 0 to 23, lead_working_days at least 1, latest_days at least 7")
    return rules


def _source(key: str, item: Any) -> Source:
    try:
        source = Source(**item)
    except TypeError:
        raise _fail(key, "title, date, covers and seen belong here") from None
    if source.seen not in SEEN:
        raise _fail(key, f"{source.seen!r} is none of {', '.join(SEEN)}")
    return source


def parse_vip(document: Mapping[str, Any]) -> VipPolicy:
    """The points of a document.  Raises PolicyError."""
    try:
        shape = {name: int(document["shape"][name]) for name in SHAPES}
        runs = {
            name: {int(size): int(points) for size, points in document[name].items()}
            for name in ("repeat", "sequence")
        }
        return VipPolicy(
            digits=int(document["digits"]), threshold=int(document["threshold"]), shape=shape, **runs
        )
    except (KeyError, ValueError, AttributeError) as error:
        raise PolicyError(f"{_VIP}: {error}: a whole number is missing there") from None


def _document(name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(resources.files(__name__).joinpath(name).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise PolicyError(f"{name}: {error}") from None


COUNTRIES: Final = parse_countries(_document(_COUNTRIES))
"""The rules in use."""
VIP_POLICY: Final = parse_vip(_document(_VIP))
"""The points in use."""
