"""The inventory as a provisioning document."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any, Final

from callcontrol.provisioning.documents import KINDS
from callcontrol.provisioning.forms import greeting_form
from callcontrol.provisioning.inventory import Inventory, Item
from callcontrol.provisioning.number_life import written
from callcontrol.provisioning.objects import SECRETS
from gateway.profile import HeaderRule
from gateway.trunk import PeerShare, Prefix, Trunk
from numbering.models import CloudNumber, Greeting
from numbering.money import Money

_SECRETS: Final = frozenset(name for names in SECRETS.values() for name in names)

# Where a SIM was seen is an observation, and no wish of anybody.
_UNWRITTEN: Final = frozenset({"sim_country", "sim_seen_at"})


def to_toml(inventory: Inventory, *, secrets: bool) -> str:
    """Every object in the order of kinds and keys, with the fields that differ from their defaults."""
    blocks: list[str] = []
    for kind in KINDS:
        for _, item in sorted(inventory.of(kind).items()):
            lines = _fields(item, secrets)
            if lines:
                blocks.append("\n".join([f"[[{kind}]]", *lines]))
    return "\n\n".join(blocks) + "\n" if blocks else ""


def _fields(item: Item, secrets: bool) -> list[str]:
    if isinstance(item, CloudNumber):
        return [f"{name} = {_value(value)}" for name, value in (written(item) or {}).items()]
    if isinstance(item, Greeting):
        return [f"{name} = {_value(value)}" for name, value in greeting_form(item).items()]
    lines: list[str] = []
    for spec in dataclasses.fields(item):
        value = getattr(item, spec.name)
        if spec.name in _UNWRITTEN or (spec.name in _SECRETS and not secrets):
            continue
        if spec.default is not dataclasses.MISSING and value == spec.default:
            continue
        if isinstance(value, Mapping) and not value:
            continue
        if spec.name == "peers" and isinstance(item, Trunk) and item.peer:
            continue  # they are told with their shares
        lines.append(f"{spec.name} = {_value(value)}")
    return lines


def values_of(item: Item) -> dict[str, Any]:
    """An object as the table of a document would say it, with its secrets: what changes of single fields start from."""
    values = tomllib.loads("\n".join(_fields(item, secrets=True)))
    # A number of which a document says nothing, since its Greeting does.
    return {"e164": item.e164, **values} if isinstance(item, CloudNumber) else values


def _value(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Enum):
        return _text(str(value.value))
    if isinstance(value, Money):
        return _text(str(value))
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(str(key))} = {_value(value[key])}" for key in sorted(value))
        return f"{{ {pairs} }}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Prefix):
        if not value.cost:
            return _text(value.digits)
        return f"{{ prefix = {_text(value.digits)}, cost = {_value(value.cost)} }}"
    if isinstance(value, PeerShare):
        return f"{{ uri = {_text(value.uri)}, weight = {value.weight}, priority = {value.priority} }}"
    if isinstance(value, HeaderRule):
        parts = {"action": value.action.value, "name": value.name, "value": value.value}
        return f"{{ {', '.join(f'{key} = {_text(text)}' for key, text in parts.items() if text)} }}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(_value(item) for item in value)}]"
    raise TypeError(f"no TOML for {type(value).__name__}")


def _key(text: str) -> str:
    return text if _BARE.fullmatch(text) else _text(text)


_BARE: Final = re.compile(r"[a-z_]+")
_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


def _text(text: str) -> str:
    written = "".join(
        _ESCAPES.get(char) or (f"\\u{ord(char):04x}" if ord(char) < 32 or ord(char) == 127 else char)
        for char in text
    )
    return f'"{written}"'
