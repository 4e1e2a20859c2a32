"""Reading the keys of one entry: types, bounds and forms; every mistake is collected, none ends the reading."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any, Final, TypeVar

from callcontrol.provisioning.documents import Entry, Problem
from config.settings import nearest
from numbering.e164 import E164, NumberError, read

REF: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
REF_FORM: Final = "letters, digits, dot, dash and underscore, at most 64, beginning with a letter or digit"

E = TypeVar("E", bound=Enum)

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class Reader:
    """Takes keys out of one entry; `finish` complains of those that nobody took."""

    def __init__(self, entry: Entry, problems: list[Problem]) -> None:
        self.entry = entry
        self._problems = problems
        self._known: list[str] = []
        self._prefix = ""

    def within(self, place: tuple[str | int, ...], values: dict[str, Any]) -> Reader:
        """A reader of a table within the entry, ``("slot", 2)``; the caller ends it with `finish`."""
        entry = self.entry
        inner = Entry(entry.kind, values, entry.file, (*entry.path, *place), entry.lines, entry.name)
        reader = Reader(inner, self._problems)
        reader._prefix = f"{self._prefix}{place[0]}: "
        return reader

    def tables(self, key: str) -> list[Reader]:
        """Readers of a list of tables, ``[[number.slot]]``; the caller ends each with `finish`."""
        value = self._take(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(table, dict) for table in value):
            self.fail(key, "is not a list of tables", f"write [[{self.entry.kind}.{key}]] before each one")
            return []
        return [self.within((key, index), table) for index, table in enumerate(value)]

    def inner(self, key: str) -> Reader | None:
        """A reader of a table, ``[number.forward]``; None: it is not there."""
        table = self.table(key)
        return None if table is None else self.within((key,), table)

    def has(self, key: str) -> bool:
        return key in self.entry.values

    def fail(self, key: str, message: str, remedy: str = "") -> None:
        """Add a problem at a key of the entry."""
        told = f"{self._prefix}{key}: {message}" if key else f"{self._prefix}{message}"
        self._problems.append(self.entry.problem(told, remedy, (key,) if key else ()))

    def _take(self, key: str) -> Any:
        self._known.append(key)
        return self.entry.values.get(key)

    def ref(self, key: str, *, required: bool = False, default: str = "") -> str:
        """The key of an object, of this one or of another."""
        value = self._take(key)
        if value is None:
            if required:
                self.fail(key, "is missing", f'write {key} = "…"')
            return default
        if not isinstance(value, str) or REF.fullmatch(value) is None:
            self.fail(key, f"{value!r} is not a ref", REF_FORM)
            return default
        return value

    def text(self, key: str, *, size: int) -> str:
        value = self._take(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            self.fail(key, f"{value!r} is not text")
            return ""
        if len(value) > size:
            self.fail(key, f"is longer than {size} characters")
            return ""
        if _CONTROL.search(value) is not None:
            self.fail(key, "contains control characters")
            return ""
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self._take(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.fail(key, f"{value!r} is neither true nor false")
            return default
        return value

    def amount(self, key: str, default: float, low: float, high: float) -> float:
        """A number between bounds, whole or not."""
        value = self._take(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.fail(key, f"{value!r} is not a number")
            return default
        if not low <= value <= high:
            self.fail(key, f"{value} is not between {low:g} and {high:g}")
            return default
        return float(value)

    def count(self, key: str, default: int, low: int, high: int) -> int:
        value = self.entry.values.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            self._known.append(key)
            self.fail(key, f"{value!r} is not a whole number")
            return default
        return int(self.amount(key, default, low, high))

    def choice(self, key: str, kind: type[E], default: E) -> E:
        value = self._take(key)
        if value is None:
            return default
        for member in kind:
            if member.value == value:
                return member
        self.fail(key, f"{value!r} is none of {', '.join(str(member.value) for member in kind)}")
        return default

    def number(self, key: str, *, required: bool = False, country: str = "") -> str:
        """A telephone number, in any spelling of E.164; in national form where a country is given."""
        value = self._take(key)
        if value is None or (value == "" and not required):
            if required:
                self.fail(key, "is missing", f'write {key} = "+33…"')
            return ""
        if not isinstance(value, str):
            self.fail(key, f"{value!r} is not text", "write a number in quotes")
            return ""
        return self.as_number(key, value, country)

    def as_number(self, key: str, value: str, country: str = "") -> str:
        result: E164 | NumberError = read(value, country)
        if isinstance(result, NumberError):
            self.fail(key, str(result), "write E.164 with a plus sign")
            return ""
        return result

    def moment(self, key: str) -> float:
        """A time as unix seconds, written as a TOML date-time with its offset, or as a date (UTC); 0: not written."""
        value = self._take(key)
        if value is None:
            return 0.0
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                value = None
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day, tzinfo=UTC)
        if not isinstance(value, datetime) or value.tzinfo is None or value.timestamp() <= 0:
            self.fail(key, "is no time", f"write {key} = 2027-01-31T00:00:00Z")
            return 0.0
        return value.timestamp()

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self._take(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.fail(key, "is not a list of texts", f'write {key} = ["…"]')
            return ()
        return tuple(value)

    def table(self, key: str) -> dict[str, Any] | None:
        value = self._take(key)
        if value is None or isinstance(value, dict):
            return value
        self.fail(key, "is not a table")
        return None

    def items(self, key: str) -> Sequence[Any]:
        """A list of anything; the caller judges its items."""
        value = self._take(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            self.fail(key, "is not a list", f"write {key} = […]")
            return ()
        return value

    def anything(self, key: str) -> Any:
        """A value of any type, None when there is none; the caller judges it."""
        return self._take(key)

    def finish(self) -> None:
        for key in self.entry.values:
            if key not in self._known:
                self.fail(key, "unknown key", nearest(key, self._known))
