"""Provisioning documents as they are written: TOML text, or values of a request, split into entries that know
where they stand.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from config.settings import nearest, syntax_problem
from config.toml_lines import Lines, line_index

KINDS: Final = (
    "package",
    "rate",
    "account",
    "user",
    "device",
    "number",
    "greeting",
    "trunk",
    "gateway_number",
)
"""Objects that documents may name, in the order in which they depend on each other."""

_KEYS: Final = {
    "package": ("ref",),
    "rate": ("prefix",),
    "account": ("ref",),
    "user": ("ref",),
    "device": ("ref", "sip_username"),
    "number": ("e164",),
    "greeting": ("number",),
    "trunk": ("ref",),
    "gateway_number": ("e164",),
}


@dataclass(frozen=True, slots=True)
class Document:
    """One document: its name for messages, and its text."""

    name: str
    text: str = ""
    values: Mapping[str, Any] | None = None
    """What the text would say, where it was no text that came; such a document has no lines."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the documents."""

    file: str
    line: int
    """From 1; 0 when the object is not in a document but in the database."""
    object: str
    """``number +33639981001``; empty for the document as a whole."""
    message: str
    remedy: str = ""
    path: tuple[str | int, ...] = ()
    """Way to the value: ``("number", 3, "e164")``; empty when the object is not in a document."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        text = f"{place}: {self.object}: {self.message}" if self.object else f"{place}: {self.message}"
        return f"{text} ({self.remedy})" if self.remedy else text


class ProvisioningError(Exception):
    """The documents cannot be applied; nothing was changed.  ``problems`` names everything that was found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True, slots=True)
class Entry:
    """One table of a document: an object as it was written."""

    kind: str
    values: dict[str, Any]
    file: str
    path: tuple[str | int, ...]
    lines: Lines | None
    """None: the document has no lines."""
    within: str = ""
    """Of a table within an object: what messages call that object."""

    @property
    def line(self) -> int:
        """Where it stands: later entries have higher ones."""
        return self.lines.of(self.path) if self.lines is not None else int(self.path[-1])

    @property
    def name(self) -> str:
        """What messages call it: kind and key, as far as it has one."""
        if self.within:
            return self.within
        for key in _KEYS[self.kind]:
            value = self.values.get(key)
            if isinstance(value, str) and value:
                return f"{self.kind} {value}"
        return self.kind

    def problem(self, message: str, remedy: str = "", at: tuple[str | int, ...] = ()) -> Problem:
        """A problem of this object, at its head or at one of its keys."""
        path = (*self.path, *at)
        line = self.lines.of(path) if self.lines is not None else 0
        return Problem(self.file, line, self.name, message, remedy, path)


def read_file(path: str | Path) -> Document:
    """A document from a file.  Raises `ProvisioningError` when it cannot be read."""
    try:
        return Document(str(path), Path(path).read_bytes().decode("utf-8"))
    except OSError as error:
        problem = Problem(str(path), 0, "", f"cannot be read: {error.strerror}", "check the path")
    except UnicodeDecodeError:
        problem = Problem(str(path), 0, "", "is not UTF-8 text", "save it as UTF-8")
    raise ProvisioningError([problem])


def entries(document: Document, problems: list[Problem]) -> list[Entry]:
    """The objects of a document; what cannot be an object is added to ``problems``."""
    lines: Lines | None = None
    values: Mapping[str, Any]
    if document.values is not None:
        values = document.values
    else:
        try:
            values = tomllib.loads(document.text)
        except tomllib.TOMLDecodeError as error:
            found = syntax_problem(document.name, document.text, error)
            problems.append(Problem(found.file, found.line, "", found.message, found.remedy))
            return []
        lines = line_index(document.text)

    def line(*path: str | int) -> int:
        return lines.of(path) if lines is not None else 0

    result: list[Entry] = []
    for kind, tables in values.items():
        if kind not in KINDS:
            remedy = nearest(kind, list(KINDS))
            message = "there is no such object"
            problems.append(Problem(document.name, line(kind), kind, message, remedy, (kind,)))
            continue
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            remedy = f"write [[{kind}]] before each one"
            message = "is not a list of tables"
            problems.append(Problem(document.name, line(kind), kind, message, remedy, (kind,)))
            continue
        for index, table in enumerate(tables):
            result.append(Entry(kind, table, document.name, (kind, index), lines))
    return result
