"""Calls to gateway numbers: which lease they use up, and what is told of their end (OUT-02, DEV-01).

A source of live facts (``callcontrol.live_facts``): the lease of (SIM, gateway number) turns the facts of a call from a trunk
into those of a call that the SIM's device makes, so that every rule of outgoing calls is asked again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from callcontrol.cdr import CallRecord
from callcontrol.gather import Gatherer
from callcontrol.live_facts import Done
from callcontrol.ports import RecordSink
from dialplan import reasons
from dialplan.facts import (
    GATEWAY_EXPIRED,
    GATEWAY_LEASED,
    GATEWAY_MISMATCH,
    GATEWAY_UNASKED,
    GATEWAY_UNAVAILABLE,
    GATEWAY_UNKNOWN,
    GATEWAY_USED,
    GATEWAY_VERIFIED,
    CallFacts,
)
from dialplan.gateways import CALL_THROUGH, VERIFICATION, is_nameless
from gateway.lease_store import LeaseStore
from gateway.leases import Lease, Use, UseState
from numbering.directory import Directory

Told = Callable[[Lease, str, float], None]
"""(lease of a verification, outcome, now): ``sim_verified``, ``hidden_caller`` or ``sim_mismatch``."""

MAX_RUNNING: Final = 100_000
"""Calls of which the lease is remembered until they end; an INVITE that is sent back for its session interval and never comes
again leaves one behind."""
_NOBODY: Final = "nobody"
"""Stands for a SIM that no lease is of."""
_STATES: Final = {
    UseState.LEASED: GATEWAY_LEASED,
    UseState.USED: GATEWAY_USED,
    UseState.EXPIRED: GATEWAY_EXPIRED,
    UseState.UNKNOWN: GATEWAY_UNKNOWN,
}


class GatewayCalls:
    """The facts of calls to gateway numbers."""

    def __init__(self, directory: Directory, gatherer: Gatherer, leases: LeaseStore) -> None:
        self._directory = directory
        self._gatherer = gatherer
        self._leases = leases
        self.on_verification: Told = lambda lease, outcome, now: None
        """Told what a call to a verification number has shown."""
        self._running: dict[str, Lease] = {}
        """Leases whose calls this node has, by Call-ID."""
        self.uses: dict[str, int] = {}
        """Calls to gateway numbers by what they were."""

    def wants(self, facts: CallFacts) -> bool:
        gateway = facts.gateway
        if gateway is None or gateway.state != GATEWAY_UNASKED:
            return False
        return gateway.kind == CALL_THROUGH or gateway.kind == VERIFICATION

    def ask(self, facts: CallFacts, call_id: str, done: Done) -> None:
        gateway = facts.gateway
        if gateway is None:
            done(facts)
            return
        sim = facts.caller.e164
        if is_nameless(facts.caller):
            # a SIM that hides proves nothing: its call must not use the lease up that the right call will need
            sim = _NOBODY if gateway.kind == VERIFICATION else ""
        self._leases.use(sim, gateway.number, call_id, facts.now, lambda use: done(self._seen(facts, use)))

    def missing(self, facts: CallFacts) -> CallFacts:
        return self._with(facts, GATEWAY_UNAVAILABLE, None)

    def finished(self, record: CallRecord) -> None:
        """A call has ended: its lease has served, or may be tried again in a moment."""
        if record.lease and record.legs:
            self._running.pop(record.legs[0].call_id, None)
            done = bool(record.answered_ms) or record.reason == reasons.SIM_VERIFIED
            at = record.ended_ms / 1000
            for user in (
                record.legs[0].call_id,
                record.call_ref,
            ):  # a callback uses its lease under its own name
                self._leases.finish(record.lease, user, done, at)

    def refused(self, call_id: str) -> None:
        """A call was refused before it began: there was no room for it.  Its carrier may try again."""
        lease = self._running.pop(call_id, None)
        if lease is not None:
            self._leases.finish(lease.id, call_id, False, lease.used_at)

    def _seen(self, facts: CallFacts, use: Use | None) -> CallFacts:
        if use is None:
            self._count(GATEWAY_UNAVAILABLE)
            return self.missing(facts)
        lease = use.lease
        state = _STATES[use.state]
        if state == GATEWAY_LEASED and lease is not None:
            self._running[lease.used_by] = lease
            if len(self._running) > MAX_RUNNING:
                del self._running[next(iter(self._running))]
        gateway = facts.gateway
        if gateway is not None and gateway.kind == VERIFICATION:
            state = self._proof(facts, state, lease)
        elif state == GATEWAY_LEASED and lease is not None:
            return self._led_on(facts, lease)
        self._count(state)
        # an exclusive lease of somebody else is nothing that this caller's record should name
        known = state not in (GATEWAY_UNKNOWN, GATEWAY_MISMATCH)
        return self._with(facts, state, lease if known else None)

    def _led_on(self, facts: CallFacts, lease: Lease) -> CallFacts:
        """The call goes on in the name of the device that asked for it, while the SIM is still its own."""
        device = self._directory.device(lease.device)
        made: CallFacts | None = None
        if device is not None and device.sim == lease.sim and device.user == lease.user:
            number, to, loop = lease.number, lease.to, facts.loop
            made = self._gatherer.on_behalf(device, number, to, lease.hide, facts.now, loop)
        if made is None:
            self._count(GATEWAY_UNKNOWN)
            return self._with(facts, GATEWAY_UNKNOWN, None)
        self._count(GATEWAY_LEASED)
        return self._with(replace(made, trunk=facts.trunk, gateway=facts.gateway), GATEWAY_LEASED, lease)

    def _proof(self, facts: CallFacts, state: str, lease: Lease | None) -> str:
        """What the call proves; the lease of a verification that failed stays open for the right call."""
        if lease is None:
            return state
        if state == GATEWAY_LEASED:
            self.on_verification(lease, reasons.SIM_VERIFIED, facts.now)
            return GATEWAY_VERIFIED
        if state != GATEWAY_UNKNOWN:
            return state
        if is_nameless(facts.caller):
            self.on_verification(lease, reasons.HIDDEN_CALLER, facts.now)
            return GATEWAY_UNKNOWN
        self.on_verification(lease, reasons.SIM_MISMATCH, facts.now)
        return GATEWAY_MISMATCH

    def _count(self, state: str) -> None:
        self.uses[state] = self.uses.get(state, 0) + 1

    @staticmethod
    def _with(facts: CallFacts, state: str, lease: Lease | None) -> CallFacts:
        gateway = facts.gateway
        if gateway is None:
            return facts
        sim, id = ("", "") if lease is None else (lease.sim, lease.id)
        return replace(facts, gateway=replace(gateway, state=state, sim=sim, lease=id))


class GatewayRecords:
    """A sink of call records on their way: leases learn how their calls ended."""

    def __init__(self, sink: RecordSink) -> None:
        self._sink = sink
        self.calls: GatewayCalls | None = None

    def put(self, record: CallRecord) -> None:
        if self.calls is not None:
            self.calls.finished(record)
        self._sink.put(record)
