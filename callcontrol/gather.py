"""Gathering facts: everything that the dialplan may look at, read from memory before a call starts.

Directory, trunks and bindings are snapshots at hand, so nothing here waits, and one event of the loop sees
one state of the configuration.  What is read where is the whole of this module; nothing is decided.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

from callcontrol.bindings import Binding, BindingStore
from callcontrol.callers import diverted, from_device, from_trunk
from callcontrol.dialled import OurHosts, Reader, classified, read_dialled
from callcontrol.occupancy import MemoryOccupancy, Occupancy
from callcontrol.registration import instance_id
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.message import Message
from callcontrol.sip.uri import Uri, parse_uri
from dialplan.facts import (
    FROM_DEVICE,
    FROM_TRUNK,
    CalledNumber,
    Callee,
    CallerDevice,
    CallerNumber,
    CallFacts,
    GatewayFacts,
    Limits,
    LoopFacts,
    OwnCall,
)
from dialplan.plan import FLOW_DEAD, LIVE, NO_BINDING, STALE, DeviceTarget, WakeTarget
from gateway.gateway_numbers import GatewayDirectory
from gateway.routes import read_number, terminating
from gateway.trunk import Trunk, TrunkDirectory
from numbering.classes import local_number
from numbering.directory import Directory
from numbering.e164 import E164, NumberError, country_of, read
from numbering.models import AccountKind, CloudNumber, Device, DeviceKind

CALL_HEADER: Final = "x-cloudline-call"
"""Our call reference on legs towards our own devices."""
DEFAULT_MAX_FORWARDS: Final = 70


class CallIndex(Protocol):
    """Knows the calls under way, for the detection of loops (FWD-04)."""

    def own_calls(self, sip_call_id: str, call_ref: str) -> tuple[OwnCall, ...]:
        """Calls of ours with a leg of this Call-ID, or with this call reference; empty: none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeSettings:
    """What intake must know of the configuration."""

    hosts: OurHosts
    country: str = ""
    """Country in which digits are read when neither SIM nor number nor trunk tells one."""
    trust_datagram_flows: bool = True
    """A datagram from the address and port that a device registered from is taken for the device's.  Off:
    only connections are proof, and each INVITE over UDP is challenged; for networks in which source addresses
    can be forged."""
    limits: Limits = field(default_factory=Limits)
    push: bool = False
    """Devices with push credentials can be woken (DEV-04)."""
    stale_s: float = 120.0
    """A phone on UDP that was not heard for so long may be out of reach: networks forget the way to it."""


class Gatherer:
    """Reads the facts of one call."""

    def __init__(
        self,
        settings: IntakeSettings,
        directory: Directory,
        trunks: TrunkDirectory,
        bindings: BindingStore,
        calls: CallIndex,
        gateways: GatewayDirectory | None = None,
        occupancy: Occupancy | None = None,
    ) -> None:
        self._settings = settings
        self._gateways = GatewayDirectory() if gateways is None else gateways
        self._directory = directory
        self._trunks = trunks
        self._bindings = bindings
        self._calls = calls
        self._occupancy: Occupancy = MemoryOccupancy() if occupancy is None else occupancy

    def from_device(self, message: Message, uri: Uri, device: Device, now: float) -> CallFacts:
        """Facts of a call that a device makes."""
        country = self._directory.country_of_device(device.ref)
        reader = self._reader(country)
        caller = from_device(message, reader)
        return self._of_device(uri, device, country, caller, self._loop(message, reader), now)

    def from_transfer(self, uri: Uri, device: Device, number: str, now: float) -> CallFacts:
        """Facts of a call that a device has made for it by a REFER, with the cloud number of the first
        call."""
        country = self._directory.country_of_device(device.ref)
        caller = CallerNumber(presented=number, e164=number, source="transfer" if number else "")
        return self._of_device(uri, device, country, caller, LoopFacts(), now)

    def on_behalf(
        self, device: Device, number: str, to: str, hide: bool, now: float, loop: LoopFacts | None = None
    ) -> CallFacts | None:
        """Facts of a call that is made for a device: its SIM called a gateway number, or is called back (OUT-02, OUT-03).

        ``number``: cloud number, E.164, empty for the default one; ``to``: what the app was told to call.  None when that is
        no telephone number at all.
        """
        country = self._directory.country_of_device(device.ref)
        caller = CallerNumber(presented=number, e164=number, hidden=hide, source="lease" if number else "")
        try:
            uri = parse_uri(f"tel:{to}")
        except RemoteProtocolError:
            return None
        return self._of_device(uri, device, country, caller, loop or LoopFacts(), now)

    def from_trunk(self, message: Message, uri: Uri, trunk: Trunk, now: float) -> CallFacts:
        """Facts of a call that comes in by a trunk."""
        country = self._settings.country

        def reader(text: str) -> E164 | NumberError:
            return read_number(text, trunk, country)

        dialled = read_dialled(uri, reader, self._settings.hosts)
        number = self._number(dialled.called.e164)
        return CallFacts(
            source=FROM_TRUNK,
            now=now,
            config_version=self._directory.version,
            trunk=trunk.ref,
            caller=from_trunk(message, reader),
            called=dialled.called,
            number=number,
            callee=self._callee(number.user, now) if number is not None and number.user else None,
            loop=self._loop(message, reader),
            limits=self._settings.limits,
            gateway=self._gateway(dialled.called.e164),
        )

    def _gateway(self, called: str) -> GatewayFacts | None:
        gateway = self._gateways.get(called) if called else None
        if gateway is None:
            return None
        return GatewayFacts(number=gateway.e164, kind=gateway.kind.value)

    def _of_device(
        self, uri: Uri, device: Device, country: str, caller: CallerNumber, loop: LoopFacts, now: float
    ) -> CallFacts:
        dialled = read_dialled(uri, self._reader(country), self._settings.hosts)
        about = self._caller_device(device, country, dialled.called.e164)
        # Names before numbers: user names of digits are extensions within the account.
        colleague = "" if dialled.is_telephone else self._colleague(dialled.called.dialled, about.account)
        home = country or self._settings.country
        called = classified(dialled, "" if colleague else home, about.emergency_countries)
        number = None if colleague else self._number(called.e164)
        callee = colleague or ("" if number is None else number.user)
        return CallFacts(
            source=FROM_DEVICE,
            now=now,
            config_version=self._directory.version,
            device=about,
            caller=caller,
            called=called,
            number=number,
            callee=self._callee(callee, now, uri.params.get("gr") or "") if callee else None,
            colleague=bool(colleague),
            trunk_available=self._is_terminated(called),
            loop=loop,
            limits=self._settings.limits,
        )

    def _is_terminated(self, called: CalledNumber) -> bool:
        number = local_number(called.short, called.country) if called.country else called.e164
        return bool(number) and bool(terminating(self._trunks, number, self._settings.country))

    def _reader(self, country: str) -> Reader:
        home = country or self._settings.country

        def reader(text: str) -> E164 | NumberError:
            return read(text, home)

        return reader

    def _number(self, e164: str) -> CloudNumber | None:
        return self._directory.number(e164) if e164 else None

    def _colleague(self, username: str, account: str) -> str:
        """The user of this account whose device has the SIP user name; empty: none.

        A name of another account is as good as unknown: nobody learns whom others employ.
        """
        device = self._directory.device_by_username(username) if username and account else None
        user = None if device is None else self._directory.user(device.user)
        return user.ref if user is not None and user.account == account else ""

    def _caller_device(self, device: Device, country: str, called: str) -> CallerDevice:
        user = self._directory.user(device.user)
        numbers = self._directory.numbers_of(device.user)
        default = self._directory.default_number(device.user)
        account = self._directory.account_of(device.user)
        sims = [own for own in (device, *self._directory.devices_of(device.user)) if own.sim]
        at_home = (country, *(own.sim_country or country_of(own.sim) for own in sims))
        countries = dict.fromkeys([*at_home, *(country_of(number.e164) for number in numbers)])
        return CallerDevice(
            device=device.ref,
            user=device.user,
            account="" if user is None else user.account,
            sip_username=device.sip_username,
            sim=device.sim,
            country=country,
            name="" if user is None else user.name,
            suspended=self._is_suspended(device.user),
            company=account is not None and account.kind is AccountKind.COMPANY,
            has_sim=bool(sims),
            sim_verified=any(own.sim_verified for own in sims),
            numbers=numbers,
            default_number="" if default is None else default.e164,
            linked_number="" if user is None or not user.contacts else user.contacts.get(called, ""),
            emergency_countries=tuple(name for name in countries if name),
        )

    def _callee(self, ref: str, now: float, instance: str = "") -> Callee:
        """``instance``: the one device that a GRUU names (RFC 5627 §5.1); empty: all of the user's."""
        user = self._directory.user(ref)
        held = self._bindings.bindings_of_user(ref, now)
        wake = self._wakeable(ref, held, now) if self._settings.push else ()
        if instance:
            held = [b for b in held if instance_id(b.instance) == instance_id(instance)]
            named = {b.device for b in held}
            wake = tuple(target for target in wake if target.device in named)
        bindings = one_flow_each([b for b in held if not b.asleep])
        return Callee(
            user=ref,
            account="" if user is None else user.account,
            suspended=self._is_suspended(ref),
            targets=targets_of(bindings, self._bindings),
            wake=wake,
        )

    def _wakeable(self, user: str, bindings: list[Binding], now: float) -> tuple[WakeTarget, ...]:
        """Devices with push credentials, and whether they sleep (DEV-04).

        Who is not registered at all is woken only where a further device may register (DEV-02).
        """
        held: dict[str, list[Binding]] = {}
        for binding in bindings:
            held.setdefault(binding.device, []).append(binding)
        plan = self._directory.plan_of(user)
        room = plan is None or len(held) < plan.devices
        found: list[WakeTarget] = []
        for device in self._directory.devices_of(user):
            if not device.mqtt_password or (device.ref not in held and not room):
                continue
            awake = [b for b in held.get(device.ref, ()) if not b.asleep]
            if not awake:
                why = FLOW_DEAD if device.ref in held else NO_BINDING
            else:
                is_phone = device.kind is DeviceKind.PHONE
                why = STALE if is_phone and all(self._is_stale(b, now) for b in awake) else LIVE
            found.append(WakeTarget(user=user, device=device.ref, why=why))
        return tuple(found)

    def _is_stale(self, binding: Binding, now: float) -> bool:
        return binding.flow.startswith("udp|") and now - binding.refreshed_at > self._settings.stale_s

    def _is_suspended(self, ref: str) -> bool:
        """Also a user who is not in the directory (any more): nothing is done in the name of nobody."""
        user = self._directory.user(ref)
        account = self._directory.account_of(ref)
        return user is None or account is None or user.suspended or account.suspended

    def _loop(self, message: Message, reader: Reader) -> LoopFacts:
        hops = message.max_forwards
        return LoopFacts(
            max_forwards=DEFAULT_MAX_FORWARDS if hops < 0 else hops,
            own_calls=self._calls.own_calls(message.call_id, message.get(CALL_HEADER) or ""),
            diverted=diverted(message, reader),
        )


def one_flow_each(bindings: list[Binding]) -> list[Binding]:
    """The bindings, but of a device with several outbound flows only the one it refreshed last.

    Rung over each of them it would ring several times (RFC 5626 §5.3: never more than one contact with the same instance).
    """
    latest: dict[tuple[str, str], Binding] = {}
    for binding in bindings:
        if binding.reg_id:
            key = (binding.aor, binding.instance)
            known = latest.get(key)
            if known is None or known.refreshed_at <= binding.refreshed_at:
                latest[key] = binding
    return [b for b in bindings if not b.reg_id or latest[(b.aor, b.instance)] is b]


def targets_of(bindings: list[Binding], store: BindingStore) -> tuple[DeviceTarget, ...]:
    """Those of the bindings that can be reached, as the dialplan sees them."""
    found = [target_of(binding, store) for binding in bindings]
    return tuple([target for target in found if target is not None])


def target_of(binding: Binding, store: BindingStore) -> DeviceTarget | None:
    """A binding as the dialplan sees it; push tokens stay behind (RFC 8599 §4.1).  None: its node is gone."""
    way = store.way(binding)
    if way is None:
        return None
    return DeviceTarget(
        user=binding.user,
        device=binding.device,
        aor=binding.aor,
        contact=binding.target,
        flow=way[0],
        path=way[1],
        binding=binding.key,
        q=binding.q,
    )
