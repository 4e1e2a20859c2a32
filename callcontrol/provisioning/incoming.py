"""Reading what shall happen to calls that come in: block lists, hours, forwarding.

The same for numbers, users and Greetings, so that a text that one of them takes the others take too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from itertools import combinations, pairwise
from typing import Any, Final

from callcontrol.provisioning.forms import days_text
from callcontrol.provisioning.reading import Reader
from config.settings import nearest
from dialplan.schedule import zone_of
from numbering.e164 import NumberError, country_of, read
from numbering.holidays import check_calendar
from numbering.hours import DAY_MINUTES, DAYS, Hours, Span, SpecialDay, WeeklySlot, clock_text, read_time
from numbering.models import ANONYMOUS, MISSED_CAUSES, Forwarding, ForwardMode
from numbering.plans import NumberClass
from numbering.policy import COUNTRIES

CLASS: Final = "class:"
COMMERCIAL: Final = "commercial"
"""Callers from ranges that a country keeps for selling by telephone: a label of the national tables."""
CLASSES: Final = (*(str(each) for each in NumberClass if each is not NumberClass.EMERGENCY), COMMERCIAL)
"""Classes of callers that may be blocked."""
MAX_LISTED: Final = 1000
"""Entries of one block list; it is read and written as a whole."""
MAX_SLOTS: Final = 100
"""Of one number or Greeting."""
MAX_SPECIAL: Final = 400
_PREFIX: Final = re.compile(r"\+[1-9]\d{0,14}\*")
_WEEK: Final = 7 * DAY_MINUTES
_BLOCK_FORM: Final = '"+33…", "+3316*", "class:premium" and "anonymous" can be listed'


# -- block lists ------------------------------------------------------------------------------------------


def listed(reader: Reader, key: str, country: str = "") -> tuple[str, ...]:
    """Callers of a block list, each once; national numbers are read in ``country``."""
    texts = reader.texts(key)
    if len(texts) > MAX_LISTED:
        reader.fail(key, f"there are more than {MAX_LISTED}", "a beginning of numbers, +3316*, blocks many")
        return ()
    callers: dict[str, None] = {}
    for text in texts:
        try:
            callers[read_caller(text, country)] = None
        except NoCaller as error:
            reader.fail(key, error.message, error.remedy)
    return tuple(callers)


class NoCaller(ValueError):
    """A text that no entry of a block list can be."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message} ({remedy})")
        self.message = message
        self.remedy = remedy


def read_caller(text: str, country: str = "") -> str:
    """An entry of a block list in the one form in which it is kept.  Raises `NoCaller`."""
    if text == ANONYMOUS:
        return text
    if text.startswith(CLASS):
        name = text.removeprefix(CLASS)
        if name in CLASSES:
            return text
        raise NoCaller(f"{name!r} is no class of numbers", nearest(name, list(CLASSES)))
    if "*" in text:
        compact = "".join(text.split())
        if _PREFIX.fullmatch(compact):
            return compact
        raise NoCaller(f"{text!r} is no beginning of numbers", 'write "+3316*": E.164, the star at its end')
    if not any(char.isdigit() for char in text):
        raise NoCaller(f"{text!r} names no caller", _BLOCK_FORM)
    number = read(text, country)
    if isinstance(number, NumberError):
        raise NoCaller(str(number), "write E.164 with a plus sign")
    return number


# -- forwarding -------------------------------------------------------------------------------------------


def forwarding(reader: Reader, e164: str) -> Forwarding:
    """``[number.forward]``; what its target may be is judged with everything else that there is."""
    table = reader.inner("forward")
    if table is None:
        return Forwarding()
    mode = table.choice("mode", ForwardMode, ForwardMode.OFF)
    to = table.number("to", country=country_of(e164))
    causes: tuple[str, ...] = MISSED_CAUSES
    if table.has("causes"):
        written = table.texts("causes")
        for cause in written:
            if cause not in MISSED_CAUSES:
                table.fail("causes", f"{cause!r} is no cause", nearest(cause, list(MISSED_CAUSES)))
        causes = tuple(cause for cause in MISSED_CAUSES if cause in written)
        if not written:
            table.fail("causes", "a call is never missed for none of them", 'write causes = ["no_answer"]')
    if mode is not ForwardMode.OFF and not table.has("to"):
        table.fail("to", "calls are forwarded to nobody", 'write to = "+33…", or mode = "off"')
    table.finish()
    return Forwarding(mode=mode, to=to, causes=causes)


# -- hours ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HoursForm:
    """How a kind of object writes its hours."""

    slots: str
    """Key of the weekly slots: ``slot`` of numbers, ``open`` of Greetings."""
    special: str
    holidays: str
    zone_in_slot: bool
    """Numbers write the zone in their slots, Greetings at their head."""
    shortest: int
    """Minutes that a slot lasts at least (GRT-05)."""


OF_NUMBERS: Final = HoursForm(
    slots="slot", special="special", holidays="holidays", zone_in_slot=True, shortest=1
)
OF_GREETINGS: Final = HoursForm(
    slots="open", special="special", holidays="holidays", zone_in_slot=False, shortest=15
)


def read_hours(reader: Reader, form: HoursForm, e164: str) -> Hours | None:
    """The hours of a number or a Greeting; None when it has none, and is always on."""
    zones: dict[str, None] = {}
    if not form.zone_in_slot and reader.has("zone"):
        zones[_zone(reader)] = None
    elif not form.zone_in_slot:
        reader.anything("zone")
    slots = [slot for table in reader.tables(form.slots) if (slot := _slot(table, form, zones)) is not None]
    if len(slots) > MAX_SLOTS:
        reader.fail(form.slots, f"there are more than {MAX_SLOTS}")
        slots = []
    special = _specials(reader, form)
    holidays = _holidays(reader, form.holidays)
    zone = _one_zone(reader, form, zones, e164)
    if not reader.has(form.slots) and not special and not holidays:
        return None
    if not reader.entry.values.get(form.slots):
        which = form.holidays if holidays else form.special
        everyday = 'days = ["mon", …, "sun"], from = "00:00", to = "24:00"'
        reader.fail(
            which,
            f"these are exceptions from [[{reader.entry.kind}.{form.slots}]], and there is none",
            f"for every day write {everyday}",
        )
        return None
    _apart(reader, form, slots)
    return Hours(zone=zone, slots=tuple(slots), holidays=holidays, special=special)


def _zone(reader: Reader) -> str:
    name = reader.text("zone", size=64)
    try:
        zone_of(name)
    except ValueError as error:
        _told(reader, "zone", error)
        return ""
    return name


def _told(reader: Reader, key: str, error: ValueError) -> None:
    """A mistake in the words of who found it: what is wrong, and what to write."""
    message, _, remedy = str(error).partition("; ")
    reader.fail(key, message, remedy)


def _one_zone(reader: Reader, form: HoursForm, zones: dict[str, None], e164: str) -> str:
    """The zone that all slots share; that of the number's country where none is written."""
    written = [zone for zone in zones if zone]
    if len(written) > 1:
        named = " and ".join(written[:2])
        reader.fail(form.slots, f"the slots are in {named}", "all slots of a number are in one zone")
    if written:
        return written[0]
    rules = COUNTRIES.of(country_of(e164))
    # Territories follow the rules of their country by a clock of their own.
    if rules.country and rules.country == country_of(e164):
        return rules.zone
    if reader.has(form.slots) and not zones:
        reader.fail("zone", "is missing", 'write zone = "Europe/Paris"')
    return "UTC"


def _slot(table: Reader, form: HoursForm, zones: dict[str, None]) -> WeeklySlot | None:
    if form.zone_in_slot and table.has("zone"):
        zones[_zone(table)] = None
    elif form.zone_in_slot:
        table.anything("zone")
    days = _days(table)
    span = _span(table, form.shortest)
    table.finish()
    return WeeklySlot(days=days, span=span) if days and span is not None else None


def _days(table: Reader) -> tuple[int, ...]:
    written = table.texts("days")
    for day in written:
        if day not in DAYS:
            table.fail("days", f"{day!r} is no day", f"days are {', '.join(DAYS)}")
    if not written and not (table.has("days") and table.entry.values["days"]):
        table.fail("days", "is missing", 'write days = ["mon", "tue"]')
    return tuple(index for index, day in enumerate(DAYS) if day in written)


def _span(table: Reader, shortest: int) -> Span | None:
    start, end = _time(table, "from"), _time(table, "to")
    if start is None or end is None:
        return None
    if start == DAY_MINUTES:
        table.fail("from", "24:00 is the end of a day", 'write from = "00:00" and the day after')
        return None
    span = Span(start=start, end=end)
    if span.minutes < shortest:
        table.fail("to", f"{span} is shorter than {shortest} minutes", "let it end later")
        return None
    return span


def _time(table: Reader, key: str) -> int | None:
    text = table.text(key, size=16)
    if not text:
        if not table.has(key):
            table.fail(key, "is missing", f'write {key} = "08:30"')
            return None
        if table.entry.values[key] != "":
            return None
    try:
        return read_time(text)
    except ValueError as error:
        _told(table, key, error)
        return None


def _holidays(reader: Reader, key: str) -> tuple[str, ...]:
    found: list[str] = []
    for calendar in reader.texts(key):
        try:
            check_calendar(calendar)
        except ValueError as error:
            _told(reader, key, error)
            continue
        found.append(calendar)
    return tuple(dict.fromkeys(found))


def _specials(reader: Reader, form: HoursForm) -> tuple[SpecialDay, ...]:
    """Days of their own, in their order; several entries of one date are the spans of that day."""
    days: dict[str, tuple[str, list[Span]]] = {}
    shut: set[str] = set()
    tables = reader.tables(form.special)
    if len(tables) > MAX_SPECIAL:
        reader.fail(form.special, f"there are more than {MAX_SPECIAL}")
        tables = []
    for table in tables:
        day, name = _date(table), table.text("name", size=100)
        closed = table.flag("closed", False)
        timed = table.has("from") or table.has("to")
        span = _span(table, form.shortest) if timed else None
        if not timed:
            for key in ("from", "to"):
                table.anything(key)
        if timed == closed:
            wrong = "is closed and has hours" if closed else "has no hours"
            table.fail("closed", f"the day {wrong}", "write closed = true, or from and to")
        table.finish()
        if not day or (timed and span is None):
            continue
        earlier, spans = days.get(day, ("", []))
        if day in days and (closed or day in shut):
            table.fail("date", f"{day} is written already, and one of the two is closed")
        if span is not None:
            spans.append(span)
        days[day] = (earlier or name, spans)
        if closed:
            shut.add(day)
    result = []
    for day, (name, spans) in sorted(days.items()):
        ordered = tuple(sorted(spans, key=lambda span: span.start))
        for one, other in pairwise(ordered):
            if one.start + one.minutes > other.start:
                reader.fail(form.special, f"{one} and {other} of {day} overlap", "let one end sooner")
        result.append(SpecialDay(date=day, spans=ordered, name=name))
    return tuple(result)


def _date(table: Reader) -> str:
    value: Any = table.anything("date")
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str):
        try:
            found = date.fromisoformat(value).isoformat()
        except ValueError:
            found = ""
        if found == value:
            return found
    told = "is missing" if value is None else f"{value!r} is no date"
    table.fail("date", told, "write date = 2026-12-24")
    return ""


def _apart(reader: Reader, form: HoursForm, slots: list[WeeklySlot]) -> None:
    """Two slots that are on at the same time would leave it open which of the two was meant."""
    for one, other in combinations(range(len(slots)), 2):
        shared = _shared(slots[one], slots[other])
        if shared is not None:
            what = f"{_slot_text(slots[one])} and {_slot_text(slots[other])}"
            day, minute = divmod(shared, DAY_MINUTES)
            inner = reader.within((form.slots, other), reader.entry.values[form.slots][other])
            inner.fail(
                "from", f"{what} overlap on {DAYS[day]} at {clock_text(minute)}", "let the first end sooner"
            )


def _minutes(slot: WeeklySlot) -> Iterable[tuple[int, int]]:
    """Begin and end in minutes of the week; what passes Sunday's midnight is in two parts."""
    for day in slot.days:
        start = day * DAY_MINUTES + slot.span.start
        end = start + slot.span.minutes
        yield start, min(end, _WEEK)
        if end > _WEEK:
            yield 0, end - _WEEK


def _shared(one: WeeklySlot, other: WeeklySlot) -> int | None:
    """The first minute of the week in which both are on."""
    common = [
        max(start, begin)
        for start, end in _minutes(one)
        for begin, stop in _minutes(other)
        if max(start, begin) < min(end, stop)
    ]
    return min(common, default=None)


def _slot_text(slot: WeeklySlot) -> str:
    return f"{days_text(slot.days)} {slot.span}"
