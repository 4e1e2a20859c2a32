"""Line numbers of TOML keys, so that errors can name them: ``tomllib`` reads values and forgets where they
stood.

The scanner runs after ``tomllib`` has accepted the text, so it need not judge syntax: it only has to find
headers and keys, and to step over strings, arrays and inline tables.
"""

from __future__ import annotations

import re
from typing import Final

Path = tuple[str | int, ...]
"""Way to a value: names of tables and keys, and indexes of arrays of tables: ``("number", 3, "forward",
"mode")``.
"""

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_SPACE: Final = re.compile(r"[ \t]*")
# Everything that can stand inside a value without ending it; strings first, since they hide brackets and
# hashes.
_VALUE: Final = re.compile(
    r'"""(?:[^\\"]|\\.|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|[\[{]|[\]}]|\n"
    r'|[^"\'\#\[\]{}\n]+',
    re.DOTALL,
)


class Lines:
    """Where each table and key of one document stands; lines count from 1."""

    __slots__ = ("_lines",)

    def __init__(self, lines: dict[Path, int]) -> None:
        self._lines = lines

    def of(self, path: Path) -> int:
        """Line of a value, else of the nearest thing around it that has one (an inline table, an array, a
        header).
        """
        for size in range(len(path), 0, -1):
            line = self._lines.get(path[:size])
            if line is not None:
                return line
        return 1


class _Scanner:
    __slots__ = ("counts", "line", "lines", "pos", "table", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0
        self.line = 1
        self.lines: dict[Path, int] = {}
        self.counts: dict[Path, int] = {}
        self.table: Path = ()

    def scan(self) -> dict[Path, int]:
        text = self.text
        size = len(text)
        while self.pos < size:
            char = text[self.pos]
            if char == "\n":
                self.line += 1
                self.pos += 1
            elif char in " \t\r":
                self.pos += 1
            elif char == "#":
                self._to_end()
            elif char == "[":
                self._header()
            else:
                self._entry()
        return self.lines

    def _to_end(self) -> None:
        end = self.text.find("\n", self.pos)
        self.pos = len(self.text) if end < 0 else end

    def _header(self) -> None:
        array = self.text.startswith("[[", self.pos)
        self.pos += 2 if array else 1
        names = self._key()
        parent: Path = ()
        for name in names[:-1]:
            parent = self._enter((*parent, name))
        path: Path = (*parent, names[-1])
        if array:
            index = self.counts.get(path, 0)
            self.counts[path] = index + 1
            self.lines.setdefault(path, self.line)
            path = (*path, index)
        self.table = path
        self.lines.setdefault(path, self.line)
        self._to_end()

    def _enter(self, path: Path) -> Path:
        """A name on the way through an array of tables means its last element."""
        count = self.counts.get(path, 0)
        return (*path, count - 1) if count else path

    def _entry(self) -> None:
        names = self._key()
        path = self.table
        for name in names:
            path = (*path, name)
            self.lines.setdefault(path, self.line)
        self.pos += 1  # the equals sign
        self._value()

    def _key(self) -> list[str]:
        """A key with its dots; leaves the position at what follows it."""
        names: list[str] = []
        text = self.text
        while True:
            self._skip_space()
            char = text[self.pos]
            if char in "\"'":
                match = _VALUE.match(text, self.pos)
                word = match.group() if match is not None else char
                names.append(_unquote(word))
                self.pos += len(word)
            else:
                bare = _BARE.match(text, self.pos)
                if bare is None:  # tomllib has read this text, so it cannot be
                    raise ValueError(f"no key in line {self.line}")
                names.append(bare.group())
                self.pos = bare.end()
            self._skip_space()
            if text[self.pos : self.pos + 1] != ".":
                return names
            self.pos += 1

    def _skip_space(self) -> None:
        match = _SPACE.match(self.text, self.pos)
        if match is not None:
            self.pos = match.end()

    def _value(self) -> None:
        depth = 0
        text = self.text
        while self.pos < len(text):
            match = _VALUE.match(text, self.pos)
            if match is None:
                self.pos += 1
                continue
            word = match.group()
            if word == "\n" and depth == 0:
                return
            self.pos = match.end()
            self.line += word.count("\n")
            if word in "[{":
                depth += 1
            elif word in "]}":
                depth -= 1


_ESCAPE: Final = re.compile(r'\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(["\\bfnrt]))')
_SIMPLE: Final = {'"': '"', "\\": "\\", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def _unquote(word: str) -> str:
    if word.startswith("'"):
        return word[1:-1]
    return _ESCAPE.sub(lambda m: _SIMPLE[m[3]] if m[3] else chr(int(m[1] or m[2], 16)), word[1:-1])


def line_index(text: str) -> Lines:
    """Index of a text that ``tomllib.loads`` accepts."""
    return Lines(_Scanner(text).scan())
