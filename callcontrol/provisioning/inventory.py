"""The inventory: all provisioned objects by kind and key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from callcontrol.pricing.rates import Package, Rate
from gateway.gateway_numbers import GatewayNumber
from gateway.trunk import Trunk
from numbering.lifecycle import NumberEvent
from numbering.models import Account, CloudNumber, Device, Greeting, User

Item = Account | User | Device | CloudNumber | Greeting | Trunk | GatewayNumber | Rate | Package


def kind_of(item: Item) -> tuple[str, str]:
    """Kind and key of an object."""
    match item:
        case Account():
            return "account", item.ref
        case User():
            return "user", item.ref
        case Device():
            return "device", item.ref
        case CloudNumber():
            return "number", item.e164
        case Greeting():
            return "greeting", item.number
        case Trunk():
            return "trunk", item.ref
        case GatewayNumber():
            return "gateway_number", item.e164
        case Rate():
            return "rate", item.ref
        case Package():
            return "package", item.ref


@dataclass(slots=True)
class Inventory:
    """Objects by key; the only mutable value of provisioning, built up and then read."""

    accounts: dict[str, Account] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    numbers: dict[str, CloudNumber] = field(default_factory=dict)
    greetings: dict[str, Greeting] = field(default_factory=dict)
    trunks: dict[str, Trunk] = field(default_factory=dict)
    gateway_numbers: dict[str, GatewayNumber] = field(default_factory=dict)
    rates: dict[str, Rate] = field(default_factory=dict)
    packages: dict[str, Package] = field(default_factory=dict)
    events: list[NumberEvent] = field(default_factory=list, compare=False)
    """What becoming this inventory does to the lives of numbers; to be recorded with it."""

    def of(self, kind: str) -> dict[str, Item]:
        """The objects of a kind (``account``, ``user``, ``device``, ``number``, ``greeting``, ``trunk``, ``gateway_number``,
        ``rate``, ``package``).
        """
        return cast(dict[str, Item], getattr(self, kind + "s"))

    def put(self, item: Item) -> None:
        kind, key = kind_of(item)
        self.of(kind)[key] = item

    def copy(self) -> Inventory:
        return Inventory(
            dict(self.accounts),
            dict(self.users),
            dict(self.devices),
            dict(self.numbers),
            dict(self.greetings),
            dict(self.trunks),
            dict(self.gateway_numbers),
            dict(self.rates),
            dict(self.packages),
        )
