"""Who there is: accounts, users, devices, numbers and trunks of a run, and how they change while calls are up.

All telephone numbers are from ranges that are kept for fiction.  The user called ghost always hides the number, and nobody
knows it: nothing of ghost may ever be seen by anybody else.
"""

from __future__ import annotations

import dataclasses
import random
from typing import Final

from gateway.trunk import NumberFormat, Prefix, Trunk, TrunkDirectory
from numbering.directory import Directory, DirectoryChanges
from numbering.e164 import E164
from numbering.models import (
    Account,
    AccountKind,
    CloudNumber,
    Device,
    DeviceKind,
    NumberState,
    PlanLimits,
    User,
)
from tests.simulation.company import Company

GHOST: Final = "ghost"
TRUNK_PASSWORD: Final = "trunk-secret"
KINDS: Final = (DeviceKind.PHONE, DeviceKind.DESKTOP, DeviceKind.BROWSER)


def number_of(index: int) -> E164:
    """Cloud number of the user with this index; 900 is ghost's."""
    return E164(f"+33639981{index:03d}")


def outside(dice: random.Random) -> str:
    """A number of the outside world."""
    return dice.choice((f"+33199001{dice.randrange(1000):03d}", f"+447700900{dice.randrange(1000):03d}"))


def open_caller(dice: random.Random) -> str:
    return f"+331990020{dice.randrange(100):02d}"


def hidden_caller(dice: random.Random) -> str:
    """Number of a caller of the outside world who hides it; used for nothing else."""
    return f"+331990066{dice.randrange(100):02d}"


class Country:
    """See the module."""

    def __init__(self, users: int, dice: random.Random, rules: random.Random | None = None) -> None:
        """``rules``: dice for what owners and managers have set up for incoming calls; None: nothing."""
        self.dice = dice
        names = [f"user{index}" for index in range(users)] + [GHOST]
        self.users = names
        self.numbers = {name: number_of(900 if name == GHOST else index) for index, name in enumerate(names)}
        self.accounts = {name: f"firm{index % 2}" for index, name in enumerate(names)}
        devices = []
        for index, name in enumerate(names):
            for kind in KINDS[: 2 + index % 2]:
                devices.append(self._device(name, kind))
        self.devices = devices
        self._all_numbers = [
            CloudNumber(e164=self.numbers[name], user=name, hide=name == GHOST) for name in names
        ]
        self._all_users = [User(ref=name, account=self.accounts[name], name=name.title()) for name in names]
        self.company: Company | None = None
        if rules is not None:
            self._set_up(Company(names[:-1], self.accounts, rules))
        self.directory = Directory(
            accounts=[
                Account(ref=ref, kind=AccountKind.COMPANY, plan="all", manager=names[0])
                for ref in sorted(set(self.accounts.values()))
            ],
            users=self._all_users,
            devices=self.devices,
            numbers=self._all_numbers,
            greetings=self.company.greetings if self.company is not None else (),
            plans={"all": PlanLimits(devices=3, numbers=5)},
            version=1,
        )
        self.all_trunks = _trunks()
        self.trunks = TrunkDirectory(self.all_trunks, version=1)

    def _device(self, user: str, kind: DeviceKind) -> Device:
        name = f"{user}-{kind}"
        return Device(ref=name, user=user, kind=kind, sip_username=name, sip_password=f"secret-{name}")

    def _set_up(self, company: Company) -> None:
        """Everybody but ghost, whom nobody may know, has rules for incoming calls."""
        self.company = company
        others = [str(self.numbers[name]) for name in company.users]
        self._all_users = [company.user(user) if user.ref != GHOST else user for user in self._all_users]
        self._all_numbers = [
            company.number(number, others) if number.user != GHOST else number for number in self._all_numbers
        ]
        self.devices = [
            company.device(device, self.users.index(device.user)) if device.user != GHOST else device
            for device in self.devices
        ]

    def callable_numbers(self) -> list[str]:
        """What somebody may call: everybody's number but ghost's, and the Greetings as often as all of these."""
        found = [str(number) for user, number in self.numbers.items() if user != GHOST]
        if self.company is not None and self.company.greetings:
            greetings = [str(greeting.number) for greeting in self.company.greetings]
            found += greetings * (len(found) // len(greetings) + 1)
        return found

    def can_be_pushed(self, device: str) -> bool:
        found = self.directory.device(device)
        return found is not None and bool(found.mqtt_password)

    # -- changes while calls are up ---------------------------------------------------------------------------

    def change_something(self) -> str:
        """Suspend, remove or restore something; says what."""
        kind = self.dice.choice(("number", "number", "user", "device", "trunk", "restore", "restore"))
        if kind == "number":
            number = self.dice.choice(self._all_numbers)
            state = self.dice.choice((NumberState.SUSPENDED, NumberState.EXPIRED, None))
            changed = None if state is None else dataclasses.replace(number, state=state)
            self._put(numbers={number.e164: changed})
            return f"number {number.e164} is {state or 'removed'}"
        if kind == "user":
            name = self.dice.choice(self.users)
            user = self.directory.user(name)
            if user is not None:
                self._put(users={name: dataclasses.replace(user, suspended=True)})
            return f"{name} is suspended"
        if kind == "device":
            device = self.dice.choice(self.devices)
            self._put(devices={device.ref: None})
            return f"device {device.ref} is removed"
        if kind == "trunk":
            gone = self.dice.choice(self.all_trunks)
            self._put_trunks([trunk for trunk in self.all_trunks if trunk is not gone])
            return f"trunk {gone.ref} is removed"
        self.restore()
        return "everything is as it was"

    def restore(self) -> None:
        """Back to what the run began with."""
        self._put(
            numbers={number.e164: number for number in self._all_numbers},
            users={user.ref: user for user in self._all_users},
            devices={device.ref: device for device in self.devices},
        )
        self._put_trunks(self.all_trunks)

    def _put(
        self,
        numbers: dict[str, CloudNumber | None] | dict[str, CloudNumber] | None = None,
        users: dict[str, User] | None = None,
        devices: dict[str, Device | None] | dict[str, Device] | None = None,
    ) -> None:
        changes = DirectoryChanges(
            accounts={}, users=users or {}, devices=devices or {}, numbers=numbers or {}
        )
        self.directory.put(changes, version=self.directory.version + 1)

    def _put_trunks(self, trunks: list[Trunk]) -> None:
        self.trunks.replace(trunks, version=self.trunks.version + 1)


def _trunks() -> list[Trunk]:
    """Two peers over UDP; one that asks for credentials; one over TCP."""
    return [
        Trunk(
            ref="trunk-a",
            peers=("sip:10.2.0.1:5060", "sip:10.2.0.2:5060"),
            accept_from=("10.2.0.0/24",),
            prefixes=(Prefix("+"),),
            priority=10,
            max_channels=60,
        ),
        Trunk(
            ref="trunk-b",
            peers=("sip:10.2.1.1:5060",),
            accept_from=("10.2.1.0/24",),
            prefixes=(Prefix("+"),),
            priority=20,
            username="cloudline",
            password=TRUNK_PASSWORD,
            number_format=NumberFormat.INTERNATIONAL,
            country="FR",
        ),
        Trunk(
            ref="trunk-c",
            peers=("sip:10.2.2.1:5060;transport=tcp",),
            accept_from=("10.2.2.0/24",),
            prefixes=(Prefix("+44"),),
            priority=10,
            max_channels=8,
        ),
    ]
