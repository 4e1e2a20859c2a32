"""How the called side can be reached: the user of a number, the members of a Greeting, the clock in their zone.

Read from memory like all facts, for a decision and again for each offer of a hunt.  Nothing is decided.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from callcontrol.bindings import Binding, Way
from callcontrol.dialled import OurHosts
from callcontrol.occupancy import Occupied
from callcontrol.registration import instance_id
from dialplan.facts import Callee, GreetingFacts, Limits, MemberFacts
from dialplan.plan import (
    FLOW_DEAD,
    FREE,
    LIVE,
    NO_BINDING,
    STALE,
    DeviceTarget,
    Reach,
    SimTarget,
    WakeTarget,
)
from dialplan.schedule import LocalClock, read_clock
from numbering.directory import Directory
from numbering.holidays import holiday_name
from numbering.hours import Hours
from numbering.models import ANSWER_GSM, Device, DeviceKind, Greeting, User


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeSettings:
    """What intake must know of the configuration."""

    hosts: OurHosts
    proxies: tuple[str, ...] = ()
    """Networks of proxies that tell where a request came from."""
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


class Registered(Protocol):
    """Who is registered (``callcontrol.bindings``); or was, or would be, for a call that is only explained."""

    def bindings_of_user(self, user: str, now: float) -> list[Binding]: ...

    def way(self, binding: Binding) -> Way | None: ...


class CalleeGatherer:
    """Reads how users can be reached."""

    def __init__(
        self, settings: IntakeSettings, directory: Directory, bindings: Registered, occupancy: Occupied
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._bindings = bindings
        self._occupancy = occupancy

    def adjust(self, settings: IntakeSettings) -> None:
        """From the next call on."""
        self._settings = settings

    def callee(self, ref: str, now: float, instance: str = "", fallback: bool = False) -> Callee:
        """How a user can be reached, and whom the user refuses.

        ``instance``: the one device that a GRUU names (RFC 5627 §5.1); empty: all of the user's.  ``fallback``: SIMs may
        be called when nothing else is reachable (INC-06).
        """
        user = self._directory.user(ref)
        devices = self._directory.devices_of(ref)
        held = self._bindings.bindings_of_user(ref, now)
        wake = self._wakeable(ref, devices, held, now) if self._settings.push else ()
        if instance:
            held = [b for b in held if instance_id(b.instance) == instance_id(instance)]
            named = {b.device for b in held}
            wake = tuple([target for target in wake if target.device in named])
            devices = tuple([device for device in devices if device.ref in named])
        sims: tuple[SimTarget, ...] = ()
        unproved: tuple[str, ...] = ()
        by_gsm = [device for device in devices if device.answer == ANSWER_GSM]
        if by_gsm:
            on_sim = {device.ref for device in by_gsm if _is_proved(device)}
            held = [b for b in held if b.device not in on_sim]
            wake = tuple([target for target in wake if target.device not in on_sim])
            sims = self._sims([device for device in by_gsm if device.ref in on_sim])
            unproved = tuple([device.ref for device in by_gsm if device.ref not in on_sim])
        bindings = one_flow_each([b for b in held if not b.asleep])
        return Callee(
            user=ref,
            account="" if user is None else user.account,
            suspended=self._suspended(user),
            targets=targets_of(bindings, self._bindings),
            wake=wake,
            sims=sims,
            fallback=self._fallback(devices, sims) if fallback else (),
            unproved=unproved,
            block=() if user is None else user.block,
            spam=() if user is None else user.spam,
        )

    def reach(self, user: str, now: float, without: str = "") -> Reach:
        """How a member of a hunt can be reached at this moment; nobody who is suspended can.

        ``without``: reference of the call that asks, which makes nobody busy.
        """
        callee = self._member(user, now)
        if callee.suspended:
            return Reach(user=user)
        return Reach(
            user=user,
            targets=callee.targets,
            wake=callee.wake,
            sims=callee.sims,
            fallback=callee.fallback,
            busy=self._busy(user, now, without),
        )

    def late(self, user: str, since: float, now: float) -> list[DeviceTarget]:
        """Contacts of a user that were registered since, without those of devices that answer by GSM."""
        bindings = self._bindings.bindings_of_user(user, now)
        held = [b for b in bindings if not b.asleep and b.refreshed_at >= since]
        if held:
            devices = self._directory.devices_of(user)
            on_sim = {d.ref for d in devices if d.answer == ANSWER_GSM and _is_proved(d)}
            held = [b for b in held if b.device not in on_sim]
        return list(targets_of(one_flow_each(held), self._bindings))

    def greeting(self, greeting: Greeting, caller: str, caller_user: str, now: float) -> GreetingFacts:
        """The Greeting with its members.  ``caller``: E.164 number of the caller; ``caller_user``: user of ours
        who calls; both may be empty."""
        account = self._directory.account(greeting.account)
        plan = None if account is None else self._directory.limits_of(account)
        return GreetingFacts(
            greeting=greeting,
            suspended=account is None or account.suspended,
            allowed=plan is None or plan.greeting,
            members=tuple(
                [
                    MemberFacts(
                        callee=self._member(member.user, now),
                        busy=self._busy(member.user, now, ""),
                        idle_since=self._occupancy.idle_since(member.user),
                        calls=self._is_own(member.user, caller, caller_user),
                    )
                    for member in greeting.members
                ]
            ),
            clock=self.clock(greeting.hours, now),
            turn=self._occupancy.turns(greeting.number),
        )

    def clock(self, hours: Hours | None, now: float) -> LocalClock | None:
        """What a clock in the zone of the hours shows; None: there are none, or nobody here knows their zone or
        their calendar (any more), which the dialplan has a rule for."""
        if hours is None:
            return None
        try:
            return read_clock(hours, now, holiday_name)
        except ValueError:
            return None

    def is_suspended(self, ref: str) -> bool:
        """Also a user who is not in the directory (any more): nothing is done in the name of nobody."""
        return self._suspended(self._directory.user(ref))

    def _suspended(self, user: User | None) -> bool:
        if user is None or user.suspended:
            return True
        account = self._directory.account(user.account)
        return account is None or account.suspended

    def _member(self, user: str, now: float) -> Callee:
        """A member is called by no number of its own: the switch of its default one says whether its SIMs may be
        called for want of anything else."""
        number = self._directory.default_number(user)
        return self.callee(user, now, fallback=number is not None and number.gsm_fallback)

    def _busy(self, ref: str, now: float, without: str) -> str:
        user = self._directory.user(ref)
        if user is None or user.call_waiting:
            return FREE
        return self._occupancy.busy(ref, now, without)

    def _is_own(self, user: str, caller: str, caller_user: str) -> bool:
        """Whether the call is one of the user's."""
        if user == caller_user:
            return True
        if not caller:
            return False
        if any(device.sim == caller for device in self._directory.devices_of(user)):
            return True
        return any(number.e164 == caller for number in self._directory.numbers_of(user))

    def _sims(self, devices: list[Device]) -> tuple[SimTarget, ...]:
        """The SIMs of devices, each once."""
        for_s = self._settings.limits.gsm_ring_s
        found: dict[str, SimTarget] = {}
        for device in devices:
            target = SimTarget(user=device.user, device=device.ref, sim=device.sim, for_s=for_s)
            found.setdefault(device.sim, target)
        return tuple(found.values())

    def _fallback(self, devices: tuple[Device, ...], rung: tuple[SimTarget, ...]) -> tuple[SimTarget, ...]:
        """The proved SIMs of phones that are not rung anyhow."""
        known = {target.sim for target in rung}
        phones = [device for device in devices if device.kind is DeviceKind.PHONE and _is_proved(device)]
        return self._sims([device for device in phones if device.sim not in known])

    def _wakeable(
        self, user: str, devices: tuple[Device, ...], bindings: list[Binding], now: float
    ) -> tuple[WakeTarget, ...]:
        """Devices with push credentials, and whether they sleep (DEV-04).

        Who is not registered at all is woken only where a further device may register (DEV-02).
        """
        held: dict[str, list[Binding]] = {}
        for binding in bindings:
            held.setdefault(binding.device, []).append(binding)
        plan = self._directory.plan_of(user)
        room = plan is None or len(held) < plan.devices
        found: list[WakeTarget] = []
        for device in devices:
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


def _is_proved(device: Device) -> bool:
    """Whether the device has a SIM that is known to be its own: no other is called (DEV-01)."""
    return bool(device.sim) and device.sim_verified


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


def targets_of(bindings: list[Binding], store: Registered) -> tuple[DeviceTarget, ...]:
    """Those of the bindings that can be reached, as the dialplan sees them."""
    found = [target_of(binding, store) for binding in bindings]
    return tuple([target for target in found if target is not None])


def target_of(binding: Binding, store: Registered) -> DeviceTarget | None:
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
