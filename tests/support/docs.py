"""What ``make docs`` checks: links lead somewhere; commands, options, settings, metrics and targets that the
documentation names exist; the reference pages are what the code says.

``python -m tests.support.docs`` checks, ``--write`` writes the reference pages (docs/cli.md, docs/api-reference.md,
docs/metrics.md) anew.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from pydantic import BaseModel

from callcontrol.api.routing import SCOPES
from callcontrol.cli.commands import app
from callcontrol.metric_catalogue import CATALOGUE, PREFIX, all_series
from config.settings import Settings
from tests.support.api import app_over
from tests.support.fake_node import FakeNode

ROOT = Path(__file__).resolve().parent.parent.parent
NOTE = "<!-- Written by `python -m tests.support.docs --write`; do not edit. -->"

_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"```(?:\w*)\n(.*?)```|`([^`\n]+)`", re.DOTALL)
_HEADING = re.compile(r"^#+\s+(.*)$", re.MULTILINE)
_METRIC = re.compile(r"(?<![\w:])cloudline_[a-z][a-z0-9_]+")
_RECORDED = re.compile(r"[a-z]+:cloudline_[a-z_]+:[a-z0-9_]+")
_VARIABLE = re.compile(r"\bCLOUDLINE_[A-Z]+__[A-Z_]+\b")
_DOTTED = re.compile(r"(?<![\w./-])([a-z]+(?:\.[a-z_]+)+)(?![\w/(-])")
_TARGET = re.compile(r"^([a-z0-9-]+):", re.MULTILINE)


def pages() -> list[Path]:
    """Every page of documentation."""
    folders = ("docs", "callcontrol", "config", "dialplan", "gateway", "mediarelay", "numbering", "loadtests")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.md")]
    return sorted([*found, *ROOT.glob("*.md")])


def code_of(text: str) -> Iterator[str]:
    """Every code span and every line of a code block."""
    for block, span in _CODE.findall(text):
        yield from (block.splitlines() if block else [span])


def anchor(heading: str) -> str:
    """The anchor that forges give a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def broken_links(path: Path, text: str) -> Iterator[str]:
    for first, second in _LINK.findall(text):
        target = first or second
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        place = (path.parent / name).resolve() if name else path
        if not place.exists():
            yield f"the link {target} leads nowhere"
        elif fragment and place.suffix == ".md":
            anchors = {anchor(each) for each in _HEADING.findall(place.read_text(encoding="utf-8"))}
            if fragment not in anchors:
                yield f"{place.name} has no heading #{fragment}"


def wrong_commands(text: str) -> Iterator[str]:
    """Lines that call ``cloudline`` with a command or an option that it does not have."""
    for line in code_of(text):
        words = _words(line)
        if len(words) < 2 or not re.fullmatch(r"(?:\S*/)?cloudline", words[0]) or words[1] in ("…", "..."):
            continue
        command: Any = typer.main.get_command(app)
        for word in words[1:]:
            if word in ("|", ">", ">>", "&&", "#", "\\", "&"):
                break
            if word.startswith("-"):
                option = word.partition("=")[0]
                if option not in _options(command):
                    yield f"`{line.strip()}`: {command.name} has no option {option}"
            elif hasattr(command, "commands"):
                if word in command.commands:
                    command = command.commands[word]
                elif re.fullmatch(r"[a-z][a-z-]*", word) and not any(
                    p.param_type_name == "argument" for p in command.params
                ):
                    yield f"`{line.strip()}`: {command.name or 'cloudline'} has no command {word}"


def _words(line: str) -> list[str]:
    text = line.strip().removeprefix("$ ").replace("[", " ").replace("]", " ")
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()


def _options(command: Any) -> set[str]:
    return {name for each in command.params for name in each.opts} | {"--help"}


def wrong_targets(text: str) -> Iterator[str]:
    targets = set(_TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))
    for line in code_of(text):
        words = line.strip().removeprefix("$ ").split()
        if (
            len(words) > 1
            and words[0] == "make"
            and re.fullmatch(r"[a-z][a-z0-9-]*", words[1])
            and words[1] not in targets
        ):
            yield f"`{line.strip()}`: the Makefile has no target {words[1]}"


def wrong_settings(text: str) -> Iterator[str]:
    """Settings by their dotted name or their environment variable that do not exist."""
    for line in code_of(text):
        names = [name.removeprefix("CLOUDLINE_").lower().split("__") for name in _VARIABLE.findall(line)]
        names += [name.split(".") for name in _DOTTED.findall(line) if re.fullmatch(r"[\w.]+", line.strip())]
        for name in names:
            if name[0] in Settings.model_fields and name[-1] != "py" and not _is_setting(name):
                yield f"`{line.strip()}`: there is no setting {'.'.join(name)}"


def _is_setting(name: list[str]) -> bool:
    model: Any = Settings
    for word in name:
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return True  # below a table of the operator's own names
        if word not in model.model_fields:
            return False
        model = model.model_fields[word].annotation
    return True


def wrong_metrics(text: str) -> Iterator[str]:
    known = all_series() | {PREFIX + name for name in CATALOGUE}
    for name in sorted(set(_METRIC.findall(_RECORDED.sub("", text)))):
        if (
            name not in known
            and not name.startswith((f"{PREFIX}process_", "cloudline_core"))
            and not name.endswith("_")
        ):
            yield f"there is no metric {name}"


# ---- reference pages
# --------------------------------------------------------------------------------------------


def cli_page() -> str:
    """docs/cli.md from the commands themselves."""
    lines = ["# Commands", "", NOTE, ""]
    lines += [
        "Exit codes: 0 done; 1 refused or failed, with the reason on standard error; 2 wrong usage.",
        "`--json` prints JSON for programs. The commands that ask a node find the one that runs on the same machine by",
        "themselves; for another one give `--url` (or `CLOUDLINE_URL`) and its token in `CLOUDLINE_TOKEN`.",
        "",
    ]
    for words, command in _commands(typer.main.get_command(app), ["cloudline"]):
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        usage = " ".join([*words, *(str(each.metavar or each.name.upper()) for each in arguments)])
        lines += [f"## `{usage}`", "", (command.help or "").strip(), ""]
        options = [
            each for each in command.params if each.param_type_name == "option" and each.name != "help"
        ]
        if options:
            lines += ["| option | what it does |", "|---|---|"]
            for each in options:
                variable = f" Environment: `{each.envvar}`." if each.envvar else ""
                kind = each.type_descriptor.annotation.__name__
                takes = (
                    ""
                    if each.is_flag
                    else " " + (each.metavar or {"int": "N", "str": "TEXT"}.get(kind, kind))
                )
                lines.append(f"| `{', '.join(each.opts)}{takes}` | {(each.help or '').strip()}{variable} |")
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _commands(command: Any, words: list[str]) -> Iterator[tuple[list[str], Any]]:
    children = getattr(command, "commands", {})
    if not children or getattr(command, "invoke_without_command", False):
        yield words, command
    for name in sorted(children):
        yield from _commands(children[name], [*words, name])


def api_page() -> str:
    """docs/api-reference.md from the OpenAPI schema."""
    schema = app_over(FakeNode()).openapi()
    lines = ["# HTTP API: the reference", "", NOTE, ""]
    lines += [
        "Every request, parameter and object; how they are used is on [the page of the API](api.md). Instants are RFC 3339 in",
        "UTC. The scopes are those of the tokens that may ask: o operator, m manager, u user, d device.",
        "",
        "| request | scopes | what it does |",
        "|---|---|---|",
    ]
    details: list[str] = []
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            what = " ".join(operation.get("description", "").split())
            scopes = " ".join(scope[0] for scope in operation.get(SCOPES, ())) or "open"
            lines.append(f"| `{method.upper()} {path}` | {scopes} | {what} |")
            query = [each for each in operation.get("parameters", []) if each["in"] == "query"]
            if query:
                details += ["", f"`{method.upper()} {path}` takes", ""]
                details += [f"- `{each['name']}`: {_parameter(each)}" for each in query]
    lines += ["", "## Parameters", *details, "", "## Objects"]
    for name, model in sorted(schema["components"]["schemas"].items()):
        if name.startswith(("HTTPValidation", "ValidationError", "Page_")):
            continue
        lines += ["", f"### {name}", ""]
        lines += [f"- `{key}`: {_type(value)}" for key, value in model.get("properties", {}).items()]
    return "\n".join(lines) + "\n"


def _parameter(parameter: dict[str, Any]) -> str:
    schema = parameter["schema"]
    parts = [parameter.get("description", "").rstrip(".")]
    if "pattern" in schema:
        parts.append("one of " + ", ".join(schema["pattern"].strip("^$()").split("|")))
    if "maximum" in schema:
        parts.append(f"{schema['minimum']} to {schema['maximum']}")
    if schema.get("default", "") != "":
        parts.append(f"default {schema['default']}")
    return "; ".join(part for part in parts if part)


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}" if "items" in schema else "list"
    return str(schema.get("format") or schema.get("type", "any"))


def metrics_page() -> str:
    """docs/metrics.md from the catalogue."""
    lines = ["# Metrics", "", NOTE, ""]
    lines += [
        "What `/metrics` exports, besides what the client library says about the process (`cloudline_process_*`) and Python's",
        "garbage collector. Labels have closed sets of values; no number, user, Call-ID or address is ever one. Recording and",
        "alert rules are in [config/prometheus](../config/prometheus), the dashboard in [config/grafana](../config/grafana).",
        "",
        "| metric | type | labels | meaning |",
        "|---|---|---|---|",
    ]
    for metric in CATALOGUE.values():
        name = metric.series[0] if metric.kind != "histogram" else PREFIX + metric.name
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
        lines.append(f"| `{name}` | {metric.kind} | {labels} | {metric.help} |")
    lines += ["", "## Values of labels", ""]
    for metric in CATALOGUE.values():
        for label, values in metric.labels.items():
            if values:
                lines.append(f"- `{PREFIX}{metric.name}` `{label}`: {', '.join(values)}")
    return "\n".join(lines) + "\n"


REFERENCE = {"cli.md": cli_page, "api-reference.md": api_page, "metrics.md": metrics_page}


def problems() -> list[str]:
    """Everything that is wrong with the documentation, as ``file: what``."""
    found: list[str] = []
    for path in pages():
        text = path.read_text(encoding="utf-8")
        where = path.relative_to(ROOT)
        for check in (
            broken_links(path, text),
            wrong_commands(text),
            wrong_targets(text),
            wrong_settings(text),
        ):
            found.extend(f"{where}: {problem}" for problem in check)
        found.extend(f"{where}: {problem}" for problem in wrong_metrics(text))
    for name, page in REFERENCE.items():
        path = ROOT / "docs" / name
        if not path.exists() or path.read_text(encoding="utf-8") != page():
            found.append(f"docs/{name}: is not what the code says; run python -m tests.support.docs --write")
    return found


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check the documentation.")
    parser.add_argument("--write", action="store_true", help="write the reference pages anew first")
    if parser.parse_args(argv).write:
        for name, page in REFERENCE.items():
            (ROOT / "docs" / name).write_text(page(), encoding="utf-8")
    found = problems()
    for problem in found:
        print(problem, file=sys.stderr)
    print(f"{len(pages())} pages, {len(found)} problems")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
