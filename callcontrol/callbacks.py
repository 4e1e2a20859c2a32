"""Callbacks: the app asks, the server calls the SIM and then the number asked for (OUT-03).

A callback is a call of the runner's like any other, with a plan that names the SIM first.  It holds a lease of the gateway
number that the SIM sees, so that no call of the SIM through that number can be taken for another one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from callcontrol.b2bua.call import Call
from callcontrol.b2bua.events import CallBack
from callcontrol.b2bua.phases import ENDED
from callcontrol.phone_requests import Done, Ok, Reply, is_answered, refusal
from callcontrol.runner import Runner
from dialplan import reasons
from dialplan.facts import CallFacts
from dialplan.plan import Decision, Plan, ToSim
from dialplan.plan import TraceLine as Line
from gateway.gateway_numbers import GatewayDirectory, GatewayKind
from gateway.lease_store import LeaseStore
from gateway.leases import Lease, LeaseRequest, NoNumber, Use, UseState
from numbering.e164 import country_of
from numbering.models import Device

RETRY_S: Final = 5
CALLING: Final = "calling"
MAX_REMEMBERED: Final = 50_000
"""Devices of which the latest callback is remembered."""


class CallbackDesk:
    """Starts and ends callbacks; fits `callcontrol.phone_requests.Callbacks`."""

    def __init__(
        self,
        runner: Runner,
        gateways: GatewayDirectory,
        leases: LeaseStore,
        new_ref: Callable[[], str],
        room: Callable[[], str],
        ring_s: float = 25.0,
        life_s: float = 120.0,
    ) -> None:
        """``room``: why no new call may begin now, a reason, empty when it may; ``ring_s``: how long a SIM is rung;
        ``life_s``: how long the lease lives if nothing comes of it."""
        self._runner = runner
        self._gateways = gateways
        self._leases = leases
        self._new_ref = new_ref
        self._room = room
        self._ring_s = ring_s
        self._life_s = life_s
        self._latest: OrderedDict[str, str] = OrderedDict()
        """Device -> its latest callback."""

    def start(self, device: Device, facts: CallFacts, decision: Decision, now: float, done: Done) -> None:
        """Call the device's SIM, then the number of the decision, which every rule has let pass."""
        running = self._running(device, decision.plan)
        if running is not None:
            done(self._told(running.ref, running.plan))
            return
        reason = self._room()
        if reason:
            done(refusal(reason, retry_after_s=RETRY_S))
            return
        kind = GatewayKind.CALL_THROUGH.value
        country = country_of(device.sim)
        pool = [number.e164 for number in self._gateways.of_country(country, kind)]
        if not pool:
            done(
                refusal(
                    reasons.NO_GATEWAY_NUMBER, f"There is no gateway number in {country or 'this country'}."
                )
            )
            return
        ref = self._new_ref()
        called = facts.called
        request = LeaseRequest(
            id=self._new_ref(),
            kind=kind,
            sim=device.sim,
            user=device.user,
            device=device.ref,
            number=decision.plan.number,
            to=called.e164 or called.dialled,
            hide=decision.plan.caller.hidden,
            life_s=self._life_s,
        )

        def taken(found: Lease | NoNumber | None) -> None:
            if isinstance(found, Lease):
                # in use from now on, under the name of the call: the SIM's own call to this number comes too late
                self._leases.use(found.sim, found.gateway, ref, now, used)
            elif found is None:
                done(refusal(reasons.UNAVAILABLE, retry_after_s=RETRY_S))
            else:
                done(refusal(reasons.NO_GATEWAY_NUMBER, retry_after_s=max(found.retry_after_s, 1.0)))

        def used(use: Use | None) -> None:
            if use is None or use.state is not UseState.LEASED or use.lease is None:
                done(refusal(reasons.UNAVAILABLE, retry_after_s=RETRY_S))
                return
            if is_answered(done):
                self._leases.finish(use.lease.id, ref, False, now)
                return
            plan = self._begin(ref, device, facts, decision, use.lease, now)
            done(self._told(ref, plan))

        self._leases.take(request, pool, now, taken)

    def _begin(
        self, ref: str, device: Device, facts: CallFacts, decision: Decision, lease: Lease, now: float
    ) -> Plan:
        first = ToSim(number=device.sim, shown=lease.gateway, for_s=self._ring_s)
        plan = replace(decision.plan, gateway=lease.gateway, lease=lease.id, sim=device.sim, first=first)
        detail = f"{device.ref} asked to be called back and to be led to {plan.called}"
        trace = (Line(rule="OUT-03", outcome="asked", detail=detail), *decision.trace)
        call = Call(ref, plan, trace, self._runner.env, facts.called.dialled, "", device.ref)
        call.keep(facts)
        self._latest[device.ref] = ref
        while len(self._latest) > MAX_REMEMBERED:
            self._latest.popitem(last=False)
        self._runner.start(call, CallBack(), now)
        self._runner.kick()
        return plan

    def cancel(self, device: Device, callback: str, now: float) -> Reply:
        """The app has thought better of it; also once the two talk, it ends the call."""
        call = self._of(device, callback)
        if call is None:
            return refusal(reasons.NOT_FOUND, "There is no such callback.")
        self._runner.hang_up(callback, reasons.CALLER_CANCELLED, now)
        self._runner.kick()
        return Ok(fields={"callback": callback})

    def _of(self, device: Device, callback: str) -> Call | None:
        call = self._runner.calls.get(callback)
        if call is None or call.plan.first is None or call.device != device.ref or call.phase == ENDED:
            return None
        return call

    def _running(self, device: Device, plan: Plan) -> Call | None:
        """The same callback, asked for already: a phone that asks twice is rung once."""
        call = self._runner.calls.get(self._latest.get(device.ref, ""))
        if call is None or call.phase == ENDED:
            self._latest.pop(device.ref, None)
            return None
        same = (call.plan.called, call.plan.number) == (plan.called, plan.number)
        return call if same else None

    @staticmethod
    def _told(ref: str, plan: Plan) -> Reply:
        fields = {
            "callback": ref,
            "gateway_number": plan.gateway,
            "number": plan.number,
            "to": plan.called,
            "state": CALLING,
        }
        return Ok(fields=fields)
