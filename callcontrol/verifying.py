"""Verification of SIMs by a call: the app says which number its SIM has, the SIM calls, the two are compared (DEV-01, DEV-03).

The call itself is refused with the busy tone, so it costs nobody anything; ``callcontrol.gateway_calls`` tells here what it
showed.  That a SIM is verified is written to the database before the app is told: a verification that a crash could undo would
be none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from callcontrol.phone_requests import Done, Error, Ok, PhonePolicy, Reply, refusal
from dialplan import reasons
from gateway.gateway_numbers import GatewayDirectory, GatewayKind
from gateway.lease_store import LeaseStore
from gateway.leases import Lease, LeaseRequest, NoNumber
from numbering.directory import Directory
from numbering.e164 import country_of
from numbering.models import Device, DeviceKind

PENDING: Final = "pending"
VERIFIED: Final = "verified"
FAILED: Final = "failed"
EXPIRED: Final = "expired"
RETRY_S: Final = 5

Result = Callable[[Lease, str, str, float], None]
"""(lease, state, reason, now): told what became of a verification; MQTT passes it on to the app."""


class SimRegister(Protocol):
    """Where it is kept that a SIM is verified: for good, seen by every node within a second."""

    def verified(self, device: str, sim: str, done: Callable[[bool], None]) -> None:
        """The device's SIM is ``sim``, and verified; ``done`` is told whether it is written."""
        ...

    def changed(self, device: str, sim: str) -> None:
        """The device says that it has another SIM than ``sim`` now: that one is verified no more."""
        ...


class SimVerifier:
    """Starts verifications, hears of the calls, tells the results."""

    def __init__(
        self,
        policy: PhonePolicy,
        life_s: float,
        directory: Directory,
        gateways: GatewayDirectory,
        leases: LeaseStore,
        register: SimRegister,
        new_id: Callable[[], str],
        wall: Callable[[], float],
    ) -> None:
        """``life_s``: how long the verification number waits for the SIM, seconds."""
        self._policy = policy
        self._life_s = life_s
        self._directory = directory
        self._gateways = gateways
        self._leases = leases
        self._register = register
        self._new_id = new_id
        self._wall = wall
        self.on_result: Result = lambda lease, state, reason, now: None
        self.results: dict[str, int] = {}
        """Verifications by what became of them."""

    # -- the app --------------------------------------------------------------------------------------------

    def start(self, device: Device, sim: str, now: float, done: Done) -> None:
        """Give the device a number that its SIM has to call."""
        fault = self._fault(device, sim)
        if fault is not None:
            done(fault)
            return
        if device.sim == sim and device.sim_verified:
            done(Ok(fields={"state": VERIFIED, "sim": sim}))
            return
        if device.sim_verified:
            self._register.changed(device.ref, device.sim)
        self._take(device, sim, now, done)

    def _fault(self, device: Device, sim: str) -> Error | None:
        if device.kind is not DeviceKind.PHONE:
            return refusal(reasons.NOT_ALLOWED, f"A {device.kind.value} has no SIM.")
        if self._directory.number(sim) is not None or self._gateways.get(sim) is not None:
            return refusal(reasons.INVALID_NUMBER, f"sim: {sim} is a number of this platform, and no SIM's")
        return None

    def _take(self, device: Device, sim: str, now: float, done: Done) -> None:
        """Rather a number that no other SIM is waited for at: then a call that hides its number can be told of, too."""
        kind = GatewayKind.VERIFICATION.value
        country = country_of(sim)
        pool = [number.e164 for number in self._gateways.of_country(country, kind)]
        if not pool:
            done(
                refusal(reasons.NO_GATEWAY_NUMBER, f"SIMs of {country or 'this country'} cannot be verified.")
            )
            return
        request = LeaseRequest(
            id=self._new_id(),
            kind=kind,
            sim=sim,
            user=device.user,
            device=device.ref,
            life_s=self._life_s + self._policy.grace_s,
            spread=True,
        )

        def taken(found: Lease | NoNumber | None) -> None:
            if isinstance(found, Lease):
                done(Ok(fields=self._told(found, now)))
            elif found is None:
                done(refusal(reasons.UNAVAILABLE, retry_after_s=RETRY_S))
            else:
                done(refusal(reasons.NO_GATEWAY_NUMBER, retry_after_s=max(found.retry_after_s, 1.0)))

        self._leases.take(request, pool, now, taken)

    def _told(self, lease: Lease, now: float) -> dict[str, object]:
        left = max(int(lease.expires_at - now - self._policy.grace_s), 0)
        return {
            "gateway_number": lease.gateway,
            "expires_in_s": left,
            "verification": lease.id,
            "state": PENDING,
            "sim": lease.sim,
        }

    def result(self, device: Device, verification: str, now: float, done: Done) -> None:
        """What became of a verification, for an app that was away when it was told."""

        def found(lease: Lease | None) -> None:
            done(self._answer(device, lease, now))

        self._leases.get(verification, now, found)

    def _answer(self, device: Device, lease: Lease | None, now: float) -> Reply:
        kind = GatewayKind.VERIFICATION.value
        if lease is None or lease.kind != kind or lease.device != device.ref:
            return refusal(reasons.NOT_FOUND, "There is no such verification.")
        state, _, reason = lease.outcome.partition(" ")
        if not state:
            # a call that has proved the SIM, but is not written yet, is still pending
            state = PENDING if lease.used_by or now < lease.expires_at else EXPIRED
        fields: dict[str, object] = {"verification": lease.id, "state": state, "sim": lease.sim}
        if reason:
            fields["reason"] = reason
            fields["message"] = refusal(reason).message
        return Ok(fields=fields)

    # -- the call -------------------------------------------------------------------------------------------

    def on_call(self, lease: Lease, outcome: str, now: float) -> None:
        """What a call to the verification number has shown (``GatewayCalls.on_verification``)."""
        if outcome != reasons.SIM_VERIFIED:
            self._tell(lease, FAILED, outcome, now)
            return

        def written(is_written: bool) -> None:
            if is_written:
                self._tell(lease, VERIFIED, "", self._wall())
            else:
                self._tell(lease, FAILED, reasons.UNAVAILABLE, self._wall())

        self._register.verified(lease.device, lease.sim, written)

    def _tell(self, lease: Lease, state: str, reason: str, now: float) -> None:
        self._leases.note(lease.id, f"{state} {reason}".strip(), now)
        word = reason or state
        self.results[word] = self.results.get(word, 0) + 1
        self.on_result(lease, state, reason, now)
