"""What an apply changes: object by object, field by field; and the decision what that is.  Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

from callcontrol.provisioning.documents import KINDS
from callcontrol.provisioning.forms import hours_text, member_text
from callcontrol.provisioning.inventory import Inventory, Item
from callcontrol.provisioning.objects import SECRETS, Desired
from gateway.profile import HeaderRule
from gateway.trunk import PeerShare, Prefix, Trunk
from numbering.hours import Hours
from numbering.models import ANSWER_GSM, Device, Flow, Forwarding, ForwardMode, GreetingMember

_MOMENTS: Final = frozenset({"expires_at", "until", "sim_seen_at"})
USERS_OWN: Final[Mapping[str, tuple[str, ...]]] = {
    "Account": ("credit",),
    "User": ("contacts", "block", "spam", "call_waiting"),
    "Device": ("answer",),
}
"""Fields that people change by themselves: a document that does not speak of them leaves them as they are."""
_SECRETS: Final = frozenset(name for names in SECRETS.values() for name in names)


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field before and after; secrets are not shown."""

    name: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.name}: {self.before} -> {self.after}"


@dataclass(frozen=True, slots=True)
class Change:
    """One object that is created, changed or removed."""

    kind: str
    key: str
    fields: tuple[FieldChange, ...] = ()
    """What is other than before; empty for created and removed objects."""

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """Everything that one apply does."""

    created: tuple[Change, ...] = ()
    changed: tuple[Change, ...] = ()
    removed: tuple[Change, ...] = ()
    revision: int = 0
    """Revision of the directory from which on the changes are seen; 0: nothing was written."""
    warnings: tuple[str, ...] = ()
    """What the objects that documents write ask for and the settings do not give."""

    def __bool__(self) -> bool:
        return bool(self.created or self.changed or self.removed)

    def lines(self) -> list[str]:
        """For people: one line per object, ``+``, ``~`` or ``-`` first, its fields indented."""
        lines = [f"+ {change}" for change in self.created]
        for change in self.changed:
            lines.append(f"~ {change}")
            lines.extend(f"    {each}" for each in change.fields)
        lines.extend(f"- {change}" for change in self.removed)
        return lines


def target(current: Inventory, desired: Desired, *, prune: bool) -> Inventory:
    """The inventory after an apply.

    What documents do not speak of stays: objects without ``prune``, secrets that were not written, and that a SIM
    was verified, as long as it is the same SIM.  Numbers are as the documents say; what can become of them is settled
    by `callcontrol.provisioning.number_life`.
    """
    result = Inventory() if prune else current.copy()
    for kind in KINDS:
        for key, item in desired.inventory.of(kind).items():
            existing = current.of(kind).get(key)
            kept = _kept(item, existing, desired.silent)
            if isinstance(kept, Device) and isinstance(existing, Device):
                written = desired.places[kind, key].values
                if "sim_verified" not in written and kept.sim and kept.sim == existing.sim:
                    # A call proved this very SIM (DEV-01); another one has to be proved again (DEV-03).
                    kept = dataclasses.replace(kept, sim_verified=existing.sim_verified)
            result.put(_left(kept, existing, desired.places[kind, key].values))
    return result


def _left(item: Item, existing: Item | None, written: Mapping[str, object]) -> Item:
    """What lives outside documents stays when they do not speak of it: credit, and what users set by themselves."""
    if existing is None or type(item) is not type(existing):
        return item
    left = {
        name: getattr(existing, name)
        for name in USERS_OWN.get(type(item).__name__, ())
        if name not in written
    }
    if isinstance(item, Device) and left.get("answer") == ANSWER_GSM and not item.sim:
        # The SIM that was called is gone.
        del left["answer"]
    return dataclasses.replace(item, **left) if left else item


def _kept(item: Item, existing: Item | None, silent: Collection[tuple[str, str, str]]) -> Item:
    match item, existing:
        case Device(), Device():
            if item.sip_username and ("device", item.ref, "sip_password") in silent:
                item = dataclasses.replace(item, sip_password=existing.sip_password)
            if ("device", item.ref, "mqtt_password") in silent:
                item = dataclasses.replace(item, mqtt_password=existing.mqtt_password)
            if item.sim and item.sim == existing.sim:
                # Where this very SIM was seen (NUM-08).
                item = dataclasses.replace(
                    item, sim_country=existing.sim_country, sim_seen_at=existing.sim_seen_at
                )
            return item
        case Trunk(), Trunk() if item.username and ("trunk", item.ref, "password") in silent:
            return dataclasses.replace(item, password=existing.password)
        case _:
            return item


def differences(before: Inventory, after: Inventory) -> ChangeSet:
    """What leads from one inventory to the other, in the order of kinds and keys."""
    created: list[Change] = []
    changed: list[Change] = []
    removed: list[Change] = []
    for kind in KINDS:
        old, new = before.of(kind), after.of(kind)
        created.extend(Change(kind, key) for key in sorted(new.keys() - old.keys()))
        removed.extend(Change(kind, key) for key in sorted(old.keys() - new.keys()))
        for key in sorted(old.keys() & new.keys()):
            # The same object is the common case: most of a big inventory is not spoken of.
            if old[key] is not new[key] and old[key] != new[key]:
                changed.append(Change(kind, key, _fields(old[key], new[key])))
    return ChangeSet(tuple(created), tuple(changed), tuple(removed))


def _fields(before: Item, after: Item) -> tuple[FieldChange, ...]:
    result: list[FieldChange] = []
    for spec in dataclasses.fields(before):
        old, new = getattr(before, spec.name), getattr(after, spec.name)
        if old == new or not spec.compare:
            continue
        if spec.name in _SECRETS:
            result.append(FieldChange(spec.name, "(secret)", "(another)"))
        else:
            show = moment if spec.name in _MOMENTS else shown
            result.append(FieldChange(spec.name, show(old), show(new)))
    return tuple(result)


def moment(value: float) -> str:
    """A time for people."""
    return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds") if value else "(none)"


def shown(value: Any) -> str:
    """A field's value for people."""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Prefix):
        return f"{value.digits} at {value.cost:g}" if value.cost else value.digits
    if isinstance(value, PeerShare):
        return f"{value.uri} weight {value.weight} priority {value.priority}"
    if isinstance(value, HeaderRule):
        return f"{value.action.value} {value.name}: {value.value}".removesuffix(": ")
    if isinstance(value, Hours):
        return hours_text(value)
    if isinstance(value, Forwarding):
        what = "" if value.mode is ForwardMode.ALL else f" for {', '.join(value.causes)}"
        return f"{value.mode.value} to {value.to}{what}" if value.to else value.mode.value
    if isinstance(value, Flow):
        return f"{value.action} {value.to}".rstrip()
    if isinstance(value, GreetingMember):
        return member_text(value)
    if isinstance(value, Mapping):
        return f"{len(value)} of them" if value else "(none)"
    if isinstance(value, tuple):
        return f"[{', '.join(shown(item) for item in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if value not in ("", None) else "(none)"
