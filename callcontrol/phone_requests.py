"""What the app of a device asks the server for: one service behind MQTT and HTTP (OUT-02, OUT-03, DEV-01).

The transports prove which device asks and carry requests and replies; everything about them is decided here.  Nothing waits:
the reply is handed to a callback, at once where everything is at hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from callcontrol.b2bua.causes import CAUSES
from callcontrol.gather import Gatherer
from callcontrol.live_facts import Asking, LiveSource
from callcontrol.phone_fields import BadRequest, Fields
from dialplan import reasons
from dialplan.evaluate import evaluate
from dialplan.facts import CallFacts
from dialplan.plan import Decision, Refuse
from gateway.gateway_numbers import GatewayDirectory, GatewayKind
from gateway.lease_store import LeaseStore
from gateway.leases import Lease, LeaseRequest, NoNumber
from numbering.directory import Directory
from numbering.e164 import E164, NumberError, country_of, read
from numbering.models import Device

BAD_REQUEST: Final = "bad_request"
"""The request itself cannot be read; every other code is a reason of ``dialplan.reasons``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ok:
    """The request was granted."""

    fields: Mapping[str, object]
    """What the reply says besides ``ok``."""

    def as_json(self) -> dict[str, object]:
        """The reply as the app reads it."""
        return {"ok": True, **self.fields}


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """The request was refused."""

    code: str
    """``bad_request``, or a word of ``dialplan.reasons``."""
    message: str
    """A sentence for people."""
    retry_after_s: int = 0
    """Seconds after which asking again makes sense; 0: it does not."""

    def as_json(self) -> dict[str, object]:
        """The reply as the app reads it."""
        error: dict[str, object] = {"code": self.code, "message": self.message}
        if self.retry_after_s:
            error["retry_after_s"] = self.retry_after_s
        return {"ok": False, "error": error}


Reply = Ok | Error


class PhoneRequestHandler(Protocol):
    """What the transports need; `PhoneRequests` is the one there is, tests bring their own."""

    def handle(
        self,
        device_ref: str,
        request: Mapping[str, object],
        now: float,
        done: Callable[[Reply], None],
    ) -> None:
        """Answer one request of a device, which the transport has authenticated.

        ``request["type"]`` says what is asked: ``call_through`` {number, to}, ``callback`` {number, to},
        ``cancel_callback`` {callback}, ``price`` {to, number?, seconds?}, ``verify`` {sim},
        ``verification`` {verification}.  ``done`` is called exactly once, at once or later.
        """
        ...


Done = Callable[[Reply], None]
_SEPARATORS: Final = str.maketrans("", "", " .()/\u00a0\u202f")
"""What people write between digits, besides the dash that tel URIs know (RFC 3966)."""
RETRY_S: Final = 5
"""When to ask again after a store has not answered."""


def refusal(reason: str, message: str = "", retry_after_s: float = 0.0) -> Error:
    """A refusal with a reason of the closed list, and its sentence unless there is a better one."""
    sentence = message or CAUSES[reason].sentence
    return Error(code=reason, message=sentence, retry_after_s=math.ceil(retry_after_s))


class Callbacks(Protocol):
    """Who calls SIMs back (``callcontrol.callbacks``)."""

    def start(self, device: Device, facts: CallFacts, decision: Decision, now: float, done: Done) -> None: ...

    def cancel(self, device: Device, callback: str, now: float) -> Reply: ...


class Verifications(Protocol):
    """Who verifies SIMs (``callcontrol.verifying``)."""

    def start(self, device: Device, sim: str, now: float, done: Done) -> None: ...

    def result(self, device: Device, verification: str, now: float, done: Done) -> None: ...


class Prices(Protocol):
    """Who knows what calls cost (``callcontrol.pricing.quotes``)."""

    in_spite: frozenset[str]
    """Refusals that do not keep the price from being told."""

    def quote(
        self, device: Device, facts: CallFacts, decision: Decision, seconds: float, done: Done
    ) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PhonePolicy:
    """Figures of the settings."""

    lease_s: float = 45.0
    """What the app is told: by then the SIM has to dial."""
    grace_s: float = 15.0
    """How much longer the lease lives: the networks take a while to bring the call."""
    long_s: float = 60 * 86_400.0
    wait_s: float = 2.0
    """How long a request waits for the live store."""
    country: str = ""


class _Pending:
    """One request whose answer is awaited; the first answer counts."""

    __slots__ = ("answered", "done", "until")

    def __init__(self, done: Done, until: float) -> None:
        self.done = done
        self.until = until
        self.answered = False

    def __call__(self, reply: Reply) -> None:
        if not self.answered:
            self.answered = True
            self.done(reply)


def is_answered(done: Done) -> bool:
    """Whether the app was told something already, so that nothing may be begun for it any more."""
    return isinstance(done, _Pending) and done.answered


class PhoneRequests:
    """The service; `tick` is called now and then, so that no request waits for ever."""

    def __init__(
        self,
        policy: PhonePolicy,
        directory: Directory,
        gatherer: Gatherer,
        live: list[LiveSource],
        gateways: GatewayDirectory,
        leases: LeaseStore,
        new_id: Callable[[], str],
    ) -> None:
        """``live`` is the list of the intake: what is asked for a call is asked for the request of one."""
        self._policy = policy
        self._directory = directory
        self._gatherer = gatherer
        self._live = live
        self._gateways = gateways
        self._leases = leases
        self._new_id = new_id
        self._pending: list[_Pending] = []
        self.callbacks: Callbacks | None = None
        self.verifications: Verifications | None = None
        self.prices: Prices | None = None
        self.rio_asked: Callable[[str], None] = lambda number: None
        """Told of a line that is to be sent its RIO (NUM-11)."""
        self.counters: dict[tuple[str, str], int] = {}
        """Requests by type and result: ``ok`` or the code of the refusal."""
        self._types: dict[str, Callable[[Device, Fields, float, Done], None]] = {
            "call_through": self._call_through,
            "release": self._release,
            "callback": self._callback,
            "cancel_callback": self._cancel_callback,
            "price": self._price,
            "verify": self._verify,
            "verification": self._verification,
        }

    def handle(
        self, device_ref: str, request: Mapping[str, object], now: float, done: Callable[[Reply], None]
    ) -> None:
        """Answer one request of a device; see `PhoneRequestHandler`."""
        name = request.get("type")
        kind = name if isinstance(name, str) and name in self._types else "unknown"

        def count(reply: Reply) -> None:
            key = (kind, "ok" if isinstance(reply, Ok) else reply.code)
            self.counters[key] = self.counters.get(key, 0) + 1
            done(reply)

        pending = _Pending(count, now + self._policy.wait_s)
        device = self._directory.device(device_ref)
        if device is None:
            pending(refusal(reasons.NOT_FOUND))
            return
        if kind == "unknown":
            known = ", ".join(self._types)
            pending(Error(code=BAD_REQUEST, message=f"type is none of {known}"))
            return
        try:
            self._types[kind](device, Fields(request), now, pending)
        except BadRequest as error:
            pending(Error(code=BAD_REQUEST, message=str(error)))
        if not pending.answered:
            self._pending.append(pending)

    def tick(self, now: float) -> None:
        """Answer for stores that have not."""
        if not self._pending:
            return
        for pending in self._pending:
            if pending.until <= now:
                pending(refusal(reasons.UNAVAILABLE, retry_after_s=RETRY_S))
        self._pending = [pending for pending in self._pending if not pending.answered]

    def waiting(self) -> int:
        """Requests without an answer yet."""
        return len(self._pending)

    # -- calls ----------------------------------------------------------------------------------------------

    def _call_through(self, device: Device, fields: Fields, now: float, done: Done) -> None:
        hidden, long, hide = fields.flag("hidden_sim"), fields.flag("favourite"), fields.flag("hide")

        def decided(facts: CallFacts, decision: Decision) -> None:
            plan, called = decision.plan, facts.called
            request = LeaseRequest(
                id=self._new_id(),
                kind=GatewayKind.CALL_THROUGH.value,
                sim=device.sim,
                user=device.user,
                device=device.ref,
                number=plan.number,
                to=called.e164 or called.dialled,
                hide=hide,
                life_s=self._policy.long_s if long else self._policy.lease_s + self._policy.grace_s,
                exclusive=hidden,
                long=long,
            )
            self.take(request, now, done)

        self._decide(device, fields, hide, now, done, decided)

    def take(self, request: LeaseRequest, now: float, done: Done) -> None:
        """A gateway number of the SIM's country, or why there is none."""
        country = country_of(request.sim)
        pool = [number.e164 for number in self._gateways.of_country(country, request.kind)]
        if not pool:
            done(
                refusal(
                    reasons.NO_GATEWAY_NUMBER, f"There is no gateway number in {country or 'this country'}."
                )
            )
            return

        def taken(found: Lease | NoNumber | None) -> None:
            if found is None:
                done(refusal(reasons.UNAVAILABLE, retry_after_s=RETRY_S))
            elif isinstance(found, Lease):
                done(Ok(fields=self._told(found, now)))
            elif found.long_full:
                message = "This SIM has all the favourite contacts that it may have; give one back."
                done(refusal(reasons.NO_GATEWAY_NUMBER, message))
            else:
                done(refusal(reasons.NO_GATEWAY_NUMBER, retry_after_s=max(found.retry_after_s, 1.0)))

        self._leases.take(request, pool, now, taken)

    def _told(self, lease: Lease, now: float) -> dict[str, object]:
        left = max(int(lease.expires_at - now - self._policy.grace_s), 0)
        return {
            "gateway_number": lease.gateway,
            "expires_in_s": left,
            "lease": lease.id,
            "number": lease.number,
            "to": lease.to,
        }

    def _release(self, device: Device, fields: Fields, now: float, done: Done) -> None:
        """Give a lease back: of a favourite who is none any more, of a call that is not made."""
        id = fields.text("lease", required=True)

        def found(lease: Lease | None) -> None:
            if lease is None or lease.device != device.ref:
                done(refusal(reasons.NOT_FOUND, "There is no such lease."))
                return
            self._leases.release(id, now, lambda after: done(Ok(fields={"lease": id})))

        self._leases.get(id, now, found)

    def _callback(self, device: Device, fields: Fields, now: float, done: Done) -> None:
        callbacks = self.callbacks
        if callbacks is None:
            done(refusal(reasons.UNAVAILABLE))
            return

        def decided(facts: CallFacts, decision: Decision) -> None:
            callbacks.start(device, facts, decision, now, done)

        self._decide(device, fields, fields.flag("hide"), now, done, decided)

    def _cancel_callback(self, device: Device, fields: Fields, now: float, done: Done) -> None:
        callbacks = self.callbacks
        id = fields.text("callback", required=True)
        done(refusal(reasons.UNAVAILABLE) if callbacks is None else callbacks.cancel(device, id, now))

    def _decide(
        self,
        device: Device,
        fields: Fields,
        hide: bool,
        now: float,
        done: Done,
        decided: Callable[[CallFacts, Decision], None],
    ) -> None:
        """Ask every rule of an outgoing call of the device's SIM; go on when none of them refuses."""
        if not device.sim or not device.sim_verified:
            done(refusal(reasons.UNVERIFIED_SIM))
            return
        self._plan(device, fields, hide, now, done, decided)

    def _plan(
        self,
        device: Device,
        fields: Fields,
        hide: bool,
        now: float,
        done: Done,
        decided: Callable[[CallFacts, Decision], None],
        in_spite: frozenset[str] = frozenset(),
    ) -> None:
        """``in_spite``: reasons for which a call would be refused, but not the request."""
        number = self._number(device, fields.text("number"))
        if isinstance(number, Error):
            done(number)
            return
        to = fields.text("to", required=True).translate(_SEPARATORS)
        facts = self._gatherer.on_behalf(device, number, to, hide, now)
        if facts is None:
            done(refusal(reasons.INVALID_NUMBER, f"to: {to!r} is no telephone number"))
            return
        asking = Asking(self._live, facts, f"request {device.ref}")

        def complete() -> None:
            if is_answered(done):
                return
            decision = evaluate(asking.facts)
            first = decision.plan.steps[0] if decision.plan.steps else None
            if isinstance(first, Refuse) and first.reason not in in_spite:
                if first.reason == reasons.RIO_BY_MESSAGE and not in_spite:
                    self.rio_asked(decision.plan.number)  # who asks over the app has asked as well
                done(refusal(first.reason))
            else:
                decided(asking.facts, decision)

        if asking.over:
            complete()
        else:
            asking.then(complete)

    def _number(self, device: Device, text: str) -> str | Error:
        """The cloud number that a request names; empty: it names none."""
        if not text:
            return ""
        found = self.read_number(device, text)
        if isinstance(found, NumberError):
            return refusal(reasons.INVALID_NUMBER, f"number: {found}")
        return found

    def read_number(self, device: Device, text: str) -> E164 | NumberError:
        """A number as the device's user writes it (NUM-01)."""
        return read(text, self._directory.country_of_device(device.ref) or self._policy.country)

    # -- prices, SIMs ---------------------------------------------------------------------------------------

    def _price(self, device: Device, fields: Fields, now: float, done: Done) -> None:
        prices, seconds = self.prices, fields.seconds("seconds")
        if prices is None:
            done(refusal(reasons.UNAVAILABLE, "Prices are not known here."))
            return

        def decided(facts: CallFacts, decision: Decision) -> None:
            prices.quote(device, facts, decision, seconds, done)

        self._plan(device, fields, False, now, done, decided, prices.in_spite)

    def _verify(self, device: Device, fields: Fields, now: float, done: Done) -> None:
        sim = self.read_number(device, fields.text("sim", required=True))
        if isinstance(sim, NumberError):
            done(refusal(reasons.INVALID_NUMBER, f"sim: {sim}"))
        elif self.verifications is None:
            done(refusal(reasons.UNAVAILABLE))
        else:
            self.verifications.start(device, sim, now, done)

    def _verification(self, device: Device, fields: Fields, now: float, done: Done) -> None:
        id = fields.text("verification", required=True)
        if self.verifications is None:
            done(refusal(reasons.UNAVAILABLE))
        else:
            self.verifications.result(device, id, now, done)
