"""Gathering facts: everything that the dialplan may look at, read from memory before a call starts.

Directory, trunks and bindings are snapshots at hand, so nothing here waits, and one event of the loop sees
one state of the configuration.  What is read where is the whole of this module; nothing is decided.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Protocol, TypeGuard

from callcontrol.callers import diverted, from_device, from_trunk, is_psap_callback
from callcontrol.dialled import MAX_TEXT, Reader, classified, read_dialled
from callcontrol.gather_callee import CalleeGatherer, Registered
from callcontrol.gather_callee import IntakeSettings as IntakeSettings
from callcontrol.gather_callee import one_flow_each as one_flow_each
from callcontrol.gather_callee import target_of as target_of
from callcontrol.gather_callee import targets_of as targets_of
from callcontrol.occupancy import MemoryOccupancy, Occupied
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.message import Message
from callcontrol.sip.uri import Uri, parse_uri
from dialplan import reasons, screening, states
from dialplan.facts import (
    FROM_DEVICE,
    FROM_FORWARD,
    FROM_TRUNK,
    TRANSFER,
    CalledNumber,
    Callee,
    CallerDevice,
    CallerNumber,
    CallFacts,
    ForwardFacts,
    GatewayFacts,
    GreetingFacts,
    LoopFacts,
    OwnCall,
)
from dialplan.outgoing import choose_number
from dialplan.plan import Diversion, Forward, Identity, Reach
from dialplan.trace import Trace
from gateway.gateway_numbers import GatewayDirectory
from gateway.routes import read_number, terminating
from gateway.trunk import Trunk, TrunkDirectory
from numbering.classes import classify, labels_of, local_number
from numbering.directory import Directory
from numbering.e164 import E164, NumberError, country_of, read
from numbering.models import AccountKind, CloudNumber, Device
from numbering.plans import NumberClass

CALL_HEADER: Final = "x-cloudline-call"
"""Our call reference on legs towards our own devices."""
DEFAULT_MAX_FORWARDS: Final = 70
UNCONDITIONAL: Final = "unconditional"
_CAUSES: Final[dict[str, str]] = {
    reasons.NO_ANSWER: "no-answer",
    reasons.BUSY: "user-busy",
    reasons.DECLINED: "deflection",
    reasons.UNREACHABLE: "unavailable",
}
"""Why a call was missed -> why it is diverted, as RFC 5806 says it."""


class CallIndex(Protocol):
    """Knows the calls under way, for the detection of loops (FWD-04)."""

    def own_calls(self, sip_call_id: str, call_ref: str) -> tuple[OwnCall, ...]:
        """Calls of ours with a leg of this Call-ID, or with this call reference; empty: none."""
        ...


class Gatherer:
    """Reads the facts of one call."""

    def __init__(
        self,
        settings: IntakeSettings,
        directory: Directory,
        trunks: TrunkDirectory,
        bindings: Registered,
        calls: CallIndex,
        gateways: GatewayDirectory | None = None,
        occupancy: Occupied | None = None,
    ) -> None:
        self._settings = settings
        self._gateways = GatewayDirectory() if gateways is None else gateways
        self._directory = directory
        self._trunks = trunks
        self._calls = calls
        self.callees = CalleeGatherer(settings, directory, bindings, occupancy or MemoryOccupancy())

    def adjust(self, settings: IntakeSettings) -> None:
        """From the next call on."""
        self._settings = settings
        self.callees.adjust(settings)

    def over(
        self,
        bindings: Registered,
        occupancy: Occupied,
        directory: Directory | None = None,
        trunks: TrunkDirectory | None = None,
        gateways: GatewayDirectory | None = None,
    ) -> Gatherer:
        """The same reading of other live state, and of another provisioning where one is given: for calls that are only
        explained."""
        return Gatherer(
            self._settings,
            directory or self._directory,
            trunks or self._trunks,
            bindings,
            self._calls,
            gateways or self._gateways,
            occupancy,
        )

    def from_device(self, message: Message, uri: Uri, device: Device, now: float) -> CallFacts:
        """Facts of a call that a device makes."""
        country = self._directory.country_of_device(device.ref)
        reader = self._reader(country)
        caller = from_device(message, reader)
        return self._of_device(uri, device, country, caller, self._loop(message, reader), now)

    def from_transfer(self, uri: Uri, device: Device, number: str, now: float) -> CallFacts:
        """Facts of a call that a device has made for it by a REFER, with the cloud number of the first call; if that is
        nobody's, but a Greeting's, as if none were named."""
        country = self._directory.country_of_device(device.ref)
        if not _is_held(self._number(number)):
            number = ""
        caller = CallerNumber(presented=number, e164=number, source=TRANSFER)
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
        called = dialled.called.e164
        number = self._number(called)
        callee = self.callees.callee(number.user, now, "", number.gsm_fallback) if _is_held(number) else None
        caller = from_trunk(message, reader)
        greeting = self._greeting(number, called, caller.e164, "", now)
        if _asks_for_class(number, callee, greeting) and caller.e164:
            caller = replace(caller, number_class=classify(caller.e164), labels=labels_of(caller.e164))
        return CallFacts(
            source=FROM_TRUNK,
            now=now,
            config_version=self._directory.version,
            trunk=trunk.ref,
            caller=caller,
            called=dialled.called,
            number=number,
            callee=callee,
            loop=self._loop(message, reader),
            limits=self._settings.limits,
            gateway=self._gateway(called),
            clock=None if number is None else self.callees.clock(number.hours, now),
            greeting=greeting,
            psap_callback=is_psap_callback(message),
        )

    def reach(self, user: str, now: float, without: str = "") -> Reach:
        """How a member of a hunt can be reached at this moment; the call ``without`` makes nobody busy."""
        return self.callees.reach(user, now, without)

    def forwarded(
        self, forward: Forward, caller: Identity, cause: str, loop: LoopFacts, now: float
    ) -> CallFacts:
        """Facts of the call that a forward makes (FWD-02, FWD-03).

        ``caller``: as those who forward saw it, with whoever has forwarded it before; ``cause``: why the call was missed, a
        word of ``dialplan.reasons``.
        """
        word = UNCONDITIONAL if forward.always else _CAUSES.get(cause, "unavailable")
        shown = replace(caller, diverted=(*caller.diverted, Diversion(number=forward.number, reason=word)))
        about = self._forwarder(forward)
        try:
            uri = parse_uri(f"tel:{forward.to}")
        except RemoteProtocolError:
            called = CalledNumber(dialled=forward.to[:MAX_TEXT], fault="not_a_number")
        else:
            reader = self._reader(about.country)
            dialled = read_dialled(uri, reader, self._settings.hosts)
            called = classified(dialled, about.country or self._settings.country, about.emergency_countries)
        number = self._number(called.e164)
        callee = self.callees.callee(number.user, now, "", number.gsm_fallback) if _is_held(number) else None
        who = self._number(caller.asserted)
        caller_user = "" if who is None else who.user
        greeting = self._greeting(number, called.e164, caller.asserted, caller_user, now)
        classes = bool(caller.asserted) and _asks_for_class(number, callee, greeting)
        return CallFacts(
            source=FROM_FORWARD,
            now=now,
            config_version=self._directory.version,
            device=about,
            caller=CallerNumber(presented=forward.number, e164=forward.number, source="forward"),
            called=called,
            number=number,
            callee=callee,
            trunk_available=self._is_terminated(called),
            loop=loop,
            limits=self._settings.limits,
            clock=None if number is None else self.callees.clock(number.hours, now),
            greeting=greeting,
            forward=ForwardFacts(
                number=forward.number,
                caller=shown,
                cause=word,
                caller_user=caller_user,
                number_class=classify(caller.asserted) if classes else NumberClass.UNKNOWN,
                labels=labels_of(caller.asserted) if classes else (),
            ),
        )

    def forward_loop(self, own_ref: str, max_forwards: int) -> LoopFacts:
        """What tells that a forwarded call comes back (FWD-04): the call itself, and how many hops are left."""
        return LoopFacts(max_forwards=max_forwards, own_calls=self._calls.own_calls("", own_ref))

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
        user = colleague or ("" if number is None else number.user)
        callee = None
        if user:
            fallback = number is not None and number.gsm_fallback
            callee = self.callees.callee(user, now, uri.params.get("gr") or "", fallback)
        greeting = None if colleague else self._greeting(number, called.e164, "", device.user, now)
        if _asks_for_class(number, callee, greeting):
            chosen = choose_number(about, caller, required=True, trace=Trace()).number
            if chosen is not None:
                e164 = chosen.e164
                caller = replace(caller, number_class=classify(e164), labels=labels_of(e164))
        return CallFacts(
            source=FROM_DEVICE,
            now=now,
            config_version=self._directory.version,
            device=about,
            caller=caller,
            called=called,
            number=number,
            callee=callee,
            colleague=bool(colleague),
            trunk_available=self._is_terminated(called),
            loop=loop,
            limits=self._settings.limits,
            clock=None if number is None else self.callees.clock(number.hours, now),
            greeting=greeting,
        )

    def _greeting(
        self, number: CloudNumber | None, called: str, caller: str, caller_user: str, now: float
    ) -> GreetingFacts | None:
        """The Greeting that has the number called; None: none has."""
        if not called or _is_held(number) or (number is not None and states.is_outside(number)):
            return None
        found = self._directory.greeting(called)
        return None if found is None else self.callees.greeting(found, caller, caller_user, now)

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
            suspended=self.callees.is_suspended(device.user),
            company=account is not None and account.kind is AccountKind.COMPANY,
            has_sim=bool(sims),
            sim_verified=any(own.sim_verified for own in sims),
            numbers=numbers,
            default_number="" if default is None else default.e164,
            linked_number="" if user is None or not user.contacts else user.contacts.get(called, ""),
            emergency_countries=tuple(name for name in countries if name),
        )

    def _forwarder(self, forward: Forward) -> CallerDevice:
        """In whose name a call is forwarded: of the user who holds the number, or of the company whose Greeting it is.

        What a Greeting uses counts as its manager's, who answers for it; the plan is the company's anyhow.
        """
        country = country_of(forward.number)
        if not forward.user:
            account = self._directory.account(forward.account)
            number = self._number(forward.number) or CloudNumber(e164=E164(forward.number), user="")
            return CallerDevice(
                device="",
                user="" if account is None else account.manager,
                account=forward.account,
                country=country,
                suspended=account is None or account.suspended,
                company=True,
                numbers=(number,),
                emergency_countries=(country,) if country else (),
            )
        user = self._directory.user(forward.user)
        account = self._directory.account_of(forward.user)
        sims = [device for device in self._directory.devices_of(forward.user) if device.sim]
        numbers = self._directory.numbers_of(forward.user)
        countries = dict.fromkeys(
            [*(country_of(own.sim) for own in sims), *(country_of(n.e164) for n in numbers)]
        )
        return CallerDevice(
            device="",
            user=forward.user,
            account="" if user is None else user.account,
            country=country,
            name="" if user is None else user.name,
            suspended=self.callees.is_suspended(forward.user),
            company=account is not None and account.kind is AccountKind.COMPANY,
            has_sim=bool(sims),
            sim_verified=any(own.sim_verified for own in sims),
            numbers=numbers,
            emergency_countries=tuple(name for name in countries if name),
        )

    def _loop(self, message: Message, reader: Reader) -> LoopFacts:
        hops = message.max_forwards
        return LoopFacts(
            max_forwards=DEFAULT_MAX_FORWARDS if hops < 0 else hops,
            own_calls=self._calls.own_calls(message.call_id, message.get(CALL_HEADER) or ""),
            diverted=diverted(message, reader),
        )


def _is_held(number: CloudNumber | None) -> TypeGuard[CloudNumber]:
    """Whether a number is some user's."""
    return number is not None and bool(number.user)


def _asks_for_class(
    number: CloudNumber | None, callee: Callee | None, greeting: GreetingFacts | None
) -> bool:
    """Whether a list that counts cannot be read without the class of the caller's number.

    Asked for each call; most have no list at all.
    """
    if not screening.has_lists(number, callee, greeting):
        return False
    lists: list[tuple[str, ...]] = []
    if greeting is not None:
        lists.extend((greeting.greeting.block, greeting.greeting.spam))
    if number is not None:
        lists.extend((number.block, number.spam))
    if callee is not None:
        lists.extend((callee.block, callee.spam))
    return any(screening.asks_for_class(entries) for entries in lists)
