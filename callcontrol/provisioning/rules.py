"""What must hold between objects: references, uniqueness, limits of plans.  Checked on the inventory as it
would be.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from itertools import combinations
from typing import Final

from callcontrol.provisioning.documents import Problem
from callcontrol.provisioning.inventory import Inventory
from callcontrol.provisioning.objects import Desired
from callcontrol.provisioning.targets import greeting_number, refusal_of
from callcontrol.provisioning.terms import STANDARD_TERMS, Terms
from config.settings import nearest
from gateway.trunk import Trunk, peer_port
from numbering.e164 import country_of
from numbering.models import Account, AccountKind, FlowAction, Greeting, PlanTable

VOICEMAIL: Final = "voicemail"
"""As policies of countries name it."""


class Rules:
    """Checks one inventory; ``desired`` tells where an object was written."""

    def __init__(
        self, inventory: Inventory, desired: Desired, plans: PlanTable, terms: Terms = STANDARD_TERMS
    ) -> None:
        self._inventory = inventory
        self._terms = terms
        self._desired = desired
        self._plans = plans
        self.problems: list[Problem] = []

    def check(self) -> list[Problem]:
        """Every problem found."""
        self._references()
        self._managers()
        self._default_numbers()
        self._usernames()
        self._sims()
        self._number_limits()
        self._packages()
        self._contacts()
        self._capabilities()
        self._currencies()
        self._trunk_usernames()
        self._trunk_sources()
        self._gateway_numbers()
        self._greetings()
        self._targets()
        return self.problems

    def _complain(self, kind: str, key: str, field: str, message: str, remedy: str = "") -> None:
        entry = self._desired.places.get((kind, key))
        if entry is None:
            # Not in a document: it was there before, and would be left behind or hit by what the documents
            # say.
            self.problems.append(Problem("database", 0, f"{kind} {key}", f"{field}: {message}", remedy))
        else:
            self.problems.append(entry.problem(f"{field}: {message}", remedy, (field,)))

    def _latest(self, kind: str, keys: Iterable[str]) -> str:
        """Of several objects that collide, the one to complain about: the last written in a document."""
        ordered = sorted(keys)
        written = [key for key in ordered if (kind, key) in self._desired.places]
        return max(written, key=lambda key: self._desired.places[kind, key].line) if written else ordered[-1]

    def _references(self) -> None:
        inventory = self._inventory
        for user in inventory.users.values():
            if user.account and user.account not in inventory.accounts:
                self._dangling("user", user.ref, "account", user.account, inventory.accounts)
        for device in inventory.devices.values():
            if device.user and device.user not in inventory.users:
                self._dangling("device", device.ref, "user", device.user, inventory.users)
        for number in inventory.numbers.values():
            if number.user and number.user not in inventory.users:
                self._dangling("number", number.e164, "user", number.user, inventory.users)

    def _dangling(self, kind: str, key: str, field: str, wanted: str, there: Iterable[str]) -> None:
        known = list(there)
        remedy = nearest(wanted, known) if len(known) <= 1000 else f"define [[{field}]] {wanted}"
        self._complain(kind, key, field, f"there is no {field} {wanted!r}", remedy)

    def _managers(self) -> None:
        for account in self._inventory.accounts.values():
            if not account.manager:
                continue
            manager = self._inventory.users.get(account.manager)
            if account.kind is not AccountKind.COMPANY:
                self._complain("account", account.ref, "manager", "only a company has a manager")
            elif manager is None:
                self._dangling("account", account.ref, "manager", account.manager, self._inventory.users)
            elif manager.account != account.ref:
                message = f"{manager.ref!r} belongs to the account {manager.account!r}"
                self._complain("account", account.ref, "manager", message)

    def _default_numbers(self) -> None:
        for user in self._inventory.users.values():
            if not user.default_number:
                continue
            number = self._inventory.numbers.get(user.default_number)
            if number is None or number.user != user.ref:
                message = f"{user.default_number} is not a number of the user"
                self._complain("user", user.ref, "default_number", message)

    def _packages(self) -> None:
        there = self._inventory.packages
        for account in self._inventory.accounts.values():
            for ref in account.packages:
                if ref not in there:
                    message = f"there is no package {ref!r}"
                    self._complain("account", account.ref, "packages", message, nearest(ref, list(there)))

    def _contacts(self) -> None:
        """Only those that are written now: a link whose number left the user is simply not followed."""
        for user in self._inventory.users.values():
            if ("user", user.ref) not in self._desired.places:
                continue
            for number in sorted(set(user.contacts.values())):
                held = self._inventory.numbers.get(number)
                if held is None or held.user != user.ref:
                    self._complain("user", user.ref, "contacts", f"{number} is not a number of the user")

    def _capabilities(self) -> None:
        """What is switched on now is something that numbers of the country can do (NUM-09)."""
        for kind, e164 in self._desired.places:
            number = self._inventory.numbers.get(e164) if kind == "number" else None
            if number is None or not number.voicemail:
                continue
            country = country_of(e164)
            if VOICEMAIL not in self._terms.countries.of(country).capabilities:
                self._complain("number", e164, "voicemail", f"numbers of {country} have none")

    def _currencies(self) -> None:
        """Credit has no currency of its own: it is in that of the table."""
        used: dict[str, str] = {}
        for rate in sorted(self._inventory.rates.values(), key=lambda rate: rate.ref):
            currency = used.setdefault(rate.table, rate.currency)
            if currency != rate.currency:
                message = (
                    f"{rate.currency!r} in the table {rate.table!r}, whose other rates are in {currency!r}"
                )
                self._complain("rate", rate.ref, "currency", message, "a table has one currency")

    def _usernames(self) -> None:
        holders: dict[str, list[str]] = {}
        for device in self._inventory.devices.values():
            if device.sip_username:
                holders.setdefault(device.sip_username, []).append(device.ref)
        for username, refs in holders.items():
            if len(refs) > 1:
                last = self._latest("device", refs)
                other = next(ref for ref in sorted(refs) if ref != last)
                message = f"{username!r} is taken by device {other}"
                self._complain("device", last, "sip_username", message, "a user name is unique in the domain")

    def _sims(self) -> None:
        holders: dict[str, dict[str, str]] = {}
        for device in self._inventory.devices.values():
            if not device.sim:
                continue
            if device.sim in self._inventory.numbers:
                self._complain("device", device.ref, "sim", f"{device.sim} is a cloud number, not a SIM")
            holders.setdefault(device.sim, {}).setdefault(device.user, device.ref)
        for sim, users in holders.items():
            if len(users) > 1:
                last = self._latest("device", users.values())
                other = next(ref for ref in sorted(users.values()) if ref != last)
                message = f"{sim} is the SIM of device {other}, which is another user's"
                self._complain("device", last, "sim", message)

    def _number_limits(self) -> None:
        held: dict[str, list[str]] = {}
        for number in self._inventory.numbers.values():
            if number.user:
                held.setdefault(number.user, []).append(number.e164)
        for ref, numbers in held.items():
            user = self._inventory.users.get(ref)
            account = self._inventory.accounts.get(user.account) if user is not None else None
            plan = self._plans.get(account.plan) if account is not None else None
            if account is not None and plan is not None and len(numbers) > plan.numbers:
                message = f"{ref!r} would hold {len(numbers)} numbers; the plan {account.plan!r} allows {plan.numbers}"
                self._complain("number", self._latest("number", numbers), "user", message)

    def _greetings(self) -> None:
        inventory = self._inventory
        for greeting in inventory.greetings.values():
            account = inventory.accounts.get(greeting.account)
            key = greeting.number
            if account is None:
                if greeting.account:
                    self._dangling("greeting", key, "account", greeting.account, inventory.accounts)
                continue
            if account.kind is not AccountKind.COMPANY:
                self._complain("greeting", key, "account", f"{account.ref!r} is no company")
            for member in greeting.members:
                user = inventory.users.get(member.user)
                if user is None:
                    self._complain(
                        "greeting",
                        key,
                        "members",
                        f"there is no user {member.user!r}",
                        "take him out of the members first",
                    )
                elif user.account != account.ref:
                    message = f"{user.ref!r} belongs to the account {user.account!r}, not to {account.ref!r}"
                    self._complain(
                        "greeting", key, "members", message, "members are users of the company (GRT-04)"
                    )
            self._greeting_plan(greeting, account)
            if ("greeting", key) in self._desired.places:
                refused = greeting_number(key)
                if refused:
                    self._complain("greeting", key, "number", *refused)

    def _greeting_plan(self, greeting: Greeting, account: Account) -> None:
        """Only when either is written now: a plan of the settings may change under a Greeting that is there."""
        plan = self._plans.get(account.plan)
        places = self._desired.places
        written = ("greeting", greeting.number) in places or ("account", account.ref) in places
        if written and plan is not None and not plan.greeting:
            message = f"the plan {account.plan!r} of {account.ref!r} includes no Greetings"
            allowed = ", ".join(sorted(name for name, each in self._plans.items() if each.greeting))
            self._complain("greeting", greeting.number, "account", message, f"plans that do: {allowed}")

    def _targets(self) -> None:
        """Only of what is written now: ranges of numbers, and what is barred, change without a document."""
        gateways, barred = self._inventory.gateway_numbers, self._terms.barred
        for kind, key in self._desired.places:
            if kind == "number" and (number := self._inventory.numbers.get(key)) is not None:
                flows = {"forward": number.forward.to}
            elif kind == "greeting" and (greeting := self._inventory.greetings.get(key)) is not None:
                every = {"flow": greeting.open, "closed": greeting.closed, "unanswered": greeting.unanswered}
                flows = {name: flow.to for name, flow in every.items() if flow.action is FlowAction.FORWARD}
            else:
                continue
            for name, to in flows.items():
                refused = refusal_of(to, key, barred, gateways) if to else None
                if refused is not None:
                    self._complain(kind, key, name, *refused)

    def _trunk_usernames(self) -> None:
        of_devices = {device.sip_username for device in self._inventory.devices.values()}
        holders: dict[str, list[str]] = {}
        for trunk in self._inventory.trunks.values():
            if trunk.username:
                holders.setdefault(trunk.username, []).append(trunk.ref)
        for username, refs in holders.items():
            if len(refs) > 1:
                last = self._latest("trunk", refs)
                other = next(ref for ref in sorted(refs) if ref != last)
                self._complain("trunk", last, "username", f"{username!r} is taken by trunk {other}")
            if username in of_devices:
                message = f"{username!r} is the sip_username of a device"
                self._complain("trunk", self._latest("trunk", refs), "username", message)

    def _trunk_sources(self) -> None:
        """Two trunks that the same source address belongs to equally would make routing a matter of chance."""
        sources: dict[str, list[Trunk]] = {}
        for trunk in self._inventory.trunks.values():
            for network in trunk.accept_from:
                sources.setdefault(str(ip_network(network)), []).append(trunk)
        for network, trunks in sources.items():
            for one, other in combinations(sorted(trunks, key=lambda trunk: trunk.ref), 2):
                if one.port_must_match != other.port_must_match:
                    continue
                shared = {peer_port(uri) for uri in one.peers} & {peer_port(uri) for uri in other.peers}
                if one.port_must_match and not shared:
                    continue
                last = self._latest("trunk", [one.ref, other.ref])
                first = other.ref if last == one.ref else one.ref
                message = f"{network} is where trunk {first} comes from as well"
                remedy = "set port_must_match = true on both and give their peers different ports"
                self._complain("trunk", last, "accept_from", message, remedy)

    def _gateway_numbers(self) -> None:
        """A gateway number is the platform's own: nobody's cloud number or SIM, on a trunk that brings its calls."""
        sims = {device.sim: device.ref for device in self._inventory.devices.values() if device.sim}
        trunks = self._inventory.trunks
        for number in self._inventory.gateway_numbers.values():
            key = number.e164
            if key in self._inventory.numbers:
                self._complain("gateway_number", key, "e164", f"{key} is a cloud number")
            if key in sims:
                message = f"{key} is the SIM of device {sims[key]}"
                self._complain("gateway_number", key, "e164", message)
            if not number.trunk:
                continue
            trunk = trunks.get(number.trunk)
            if trunk is None:
                self._dangling("gateway_number", key, "trunk", number.trunk, trunks)
            elif not trunk.accept_from and not trunk.username:
                message = f"no call can come in by {trunk.ref!r}, and a gateway number is there to be called"
                self._complain("gateway_number", key, "trunk", message, "give the trunk accept_from")
