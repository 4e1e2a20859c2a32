"""Is a number national or international for its user (NUM-08)?  Pure.

That depends on where the user's SIM is at home, as the network has shown it lately; not on where the phone is
roaming, and not on where the number was bought.
"""

from __future__ import annotations

from collections.abc import Iterable

from numbering.countries import DAY_S
from numbering.e164 import country_of
from numbering.models import Device


def sim_countries(devices: Iterable[Device], now: float, window_days: float) -> frozenset[str]:
    """Countries of the SIMs of a user that were seen within the window.

    A SIM that was never seen counts by its number, so that a user is not a stranger on the first day; one that
    has not been seen for longer than the window does not count any more.
    """
    found: set[str] = set()
    for device in devices:
        if not device.sim:
            continue
        if not device.sim_seen_at:
            found.add(country_of(device.sim))
        elif device.sim_seen_at > now - window_days * DAY_S:
            found.add(device.sim_country or country_of(device.sim))
    return frozenset(country for country in found if country)


def is_national(number: str, devices: Iterable[Device], now: float, window_days: float) -> bool:
    """Whether a cloud number (E.164) is of the country of one of the user's SIMs."""
    return country_of(number) in sim_countries(devices, now, window_days)
