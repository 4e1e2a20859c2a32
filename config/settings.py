"""Loading settings: a TOML file, the environment over it; every mistake named by file, line, key, remedy."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Final, get_origin

from pydantic import BaseModel, ValidationError

from config.sections import PlanSettings, Settings
from config.toml_lines import Lines, Path, line_index

__all__ = ["Problem", "Settings", "SettingsError", "load", "nearest", "syntax_problem"]

ENVIRONMENT_PREFIX: Final = "CLOUDLINE_"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the settings."""

    file: str
    """Name of the file, or ``environment``."""
    line: int
    """Line in the file, from 1; 0 for the environment."""
    key: str
    """Dotted key, or the variable's name."""
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        text = f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"
        return f"{text} ({self.remedy})" if self.remedy else text


class SettingsError(Exception):
    """The settings cannot be used; ``problems`` names all that was found, the attributes are of the first."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
        self.file = problems[0].file
        self.line = problems[0].line
        self.key = problems[0].key
        self.remedy = problems[0].remedy


def nearest(name: str, known: list[str]) -> str:
    """``did you mean …?`` for a misspelt name, else the list of what there is."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(sorted(known))}"


def load(path: str | FilePath | None, environ: Mapping[str, str]) -> Settings:
    """Settings of a file (None: the defaults) with the overrides of an environment.

    Raises `SettingsError` with every problem found.
    """
    file = str(path) if path is not None else ""
    values: dict[str, Any] = {}
    lines = Lines({})
    if path is not None:
        values, lines = _read(FilePath(path), file)
    variables, problems = _overlay(values, environ)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(
            (*problems, *(_problem(item, file, lines, variables) for item in error.errors()))
        ) from None
    if problems:
        raise SettingsError(tuple(problems))
    return settings


def _read(path: FilePath, file: str) -> tuple[dict[str, Any], Lines]:
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise SettingsError(
            (Problem(file, 0, "", f"cannot be read: {error.strerror}", "check the path and its permissions"),)
        ) from None
    except UnicodeDecodeError:
        raise SettingsError((Problem(file, 0, "", "is not UTF-8 text", "save it as UTF-8"),)) from None
    try:
        return tomllib.loads(text), line_index(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError((syntax_problem(file, text, error),)) from None


_AT: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def syntax_problem(file: str, text: str, error: tomllib.TOMLDecodeError) -> Problem:
    """A syntax error of ``tomllib`` with its line."""
    message = str(error)
    match = _AT.search(message)
    if match is None:
        return Problem(file, 1, "", message)
    line = int(match.group(1)) if match.group(1) else text.count("\n") + 1
    return Problem(
        file, line, "", f"not valid TOML: {message[: match.start()].lower()}", "see toml.io/en/v1.0.0"
    )


def _overlay(values: dict[str, Any], environ: Mapping[str, str]) -> tuple[dict[Path, str], list[Problem]]:
    """Write the environment's overrides into ``values``; returns which variable set which path."""
    variables: dict[Path, str] = {}
    problems: list[Problem] = []
    for name in sorted(environ):
        if not name.startswith(ENVIRONMENT_PREFIX) or "__" not in name:
            continue
        words = name[len(ENVIRONMENT_PREFIX) :].lower().split("__")
        try:
            path, value = _override(words, environ[name])
        except _UnknownError as error:
            problems.append(Problem("environment", 0, name, "there is no such setting", str(error)))
            continue
        table: Any = values
        for word in path[:-1]:
            table = table.setdefault(word, {})
            if not isinstance(table, dict):
                break
        if isinstance(table, dict):
            table[path[-1]] = value
            variables[path] = name
    return variables, problems


class _UnknownError(Exception):
    pass


def _override(words: list[str], text: str) -> tuple[Path, Any]:
    model: type[BaseModel] | None = Settings
    path: list[str | int] = []
    annotation: Any = Settings
    for word in words:
        if model is None:
            raise _UnknownError(f"{'.'.join(map(str, path))} has no parts")
        if word not in model.model_fields:
            raise _UnknownError(nearest(word, list(model.model_fields)))
        annotation = model.model_fields[word].annotation
        path.append(word)
        if get_origin(annotation) is dict:
            # A table of the operator's own names: CLOUDLINE_PLANS__GOLD__DEVICES.
            rest = words[len(path) :]
            if len(rest) != 2:
                raise _UnknownError(f"write {word}__NAME__KEY")
            return (*path, *rest), text
        model = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
    if model is not None:
        raise _UnknownError(f"{'.'.join(words)} is a section; one of {', '.join(model.model_fields)}")
    if get_origin(annotation) is tuple:
        return tuple(path), _items(text)
    return tuple(path), text


def _items(text: str) -> list[str]:
    """A list in the environment: TOML (``["a", "b"]``) or words between commas."""
    if text.lstrip().startswith("["):
        try:
            return list(tomllib.loads(f"items = {text}")["items"])
        except tomllib.TOMLDecodeError:
            return [text]
    return [item.strip() for item in text.split(",") if item.strip()]


def _problem(item: Any, file: str, lines: Lines, variables: Mapping[Path, str]) -> Problem:
    location: Path = tuple(item["loc"])
    key = ".".join(str(part) for part in location if isinstance(part, str))
    message, remedy = _explain(item, location)
    for size in range(len(location), 0, -1):
        variable = variables.get(location[:size])
        if variable is not None:
            return Problem("environment", 0, variable, message, remedy)
    return Problem(file or "defaults", lines.of(location) if file else 0, key, message, remedy)


_SECRET: Final = frozenset({"secret", "url"})
"""Keys whose values may hold a password and are not repeated in messages."""


def _explain(item: Any, location: Path) -> tuple[str, str]:
    kind = item["type"]
    if kind == "extra_forbidden":
        section = _section(location[:-1])
        known = list(section.model_fields) if section is not None else []
        return "unknown key", nearest(str(location[-1]), known)
    if kind == "value_error":
        return str(item["ctx"]["error"]), ""
    given = item["input"]
    message = item["msg"][0].lower() + item["msg"][1:]
    if kind == "missing":
        return "is missing", "write it"
    if isinstance(given, dict):
        return message, ""
    if location[-1] in _SECRET:
        return message, ""
    return f"{message}, not {given!r}", ""


def _section(path: Path) -> type[BaseModel] | None:
    model: Any = Settings
    for word in path:
        field = model.model_fields.get(word)
        if field is None:
            return None
        annotation = field.annotation
        if get_origin(annotation) is dict:
            return PlanSettings
        model = annotation
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None
