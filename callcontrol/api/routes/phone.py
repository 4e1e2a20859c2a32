"""What the apps of phones ask for over HTTP instead of MQTT: calls through the GSM network, callbacks, prices, and the
verification of SIMs (OUT-02, OUT-03, OUT-06, DEV-01).

One service answers both ways (`callcontrol.phone_requests`), so a request gets the same answer on either.  Nothing
here waits for the database, not even to record who asked: what becomes of it is a call, with a call record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import FastAPI, Query
from fastapi.responses import Response
from pydantic import ConfigDict, Field

from callcontrol.access.tokens import Principal, Scope
from callcontrol.api.bodies import REF_PATTERN, Body, Ref
from callcontrol.api.changing import unknown
from callcontrol.api.door import Who
from callcontrol.api.problems import FieldError, Problem, later
from callcontrol.api.routing import ALL, Routes
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from callcontrol.phone_requests import BAD_REQUEST, Error, Ok, Reply
from dialplan import reasons
from numbering.models import Device, DeviceKind

_PATIENCE_S: Final = 10.0
"""The service answers for itself when a store does not; this is for the day when it fails to."""
_STATUS: Final = {
    BAD_REQUEST: 422,
    reasons.INVALID_NUMBER: 422,
    reasons.NOT_FOUND: 404,
    reasons.TOO_MANY_CALLS: 429,
    "unavailable": 503,
    "no_gateway_number": 503,
}
"""Status by code; every other reason is a rule that speaks against the call (403)."""
Dialled = Annotated[str, Field(min_length=1, max_length=64, examples=["+33199001234"])]
DeviceRef = Annotated[
    str | None, Query(pattern=REF_PATTERN, description="The phone; a device's token speaks for itself.")
]


class PhoneCall(Body):
    """A call that a phone wants to make over the GSM network."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"number": "+33639981001", "to": "+33199001234"}]}
    )

    device: Ref | None = None
    """The phone; not needed with a device's token, or where a user has one phone with a SIM."""
    number: Dialled | None = None
    """The cloud number that is shown; the user's default one if left out."""
    to: Dialled
    hide: bool = False


class CallThrough(PhoneCall):
    """A call that the phone makes itself, through a gateway number."""

    hidden_sim: bool = False
    """The SIM hides its number, so it needs a gateway number for itself."""
    favourite: bool = False
    """A lease that lasts, for a contact who is called often."""


class Verification(Body):
    """A SIM whose number is to be proved."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"sim": "+33639980001"}]})

    device: Ref | None = None
    sim: Dialled


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseView:
    """A gateway number that the SIM dials now."""

    lease: str
    gateway_number: str
    expires_in_s: int
    """By then the SIM has to dial."""
    number: str
    """The cloud number that will be shown."""
    to: str


def add_to(api: FastAPI, services: Services, sight: Sight) -> None:
    routes = Routes(api, "phone")
    directory = services.directory

    def phone_of(who: Principal, ref: str | None) -> Device:
        """The phone that a request is for."""
        if who.scope is Scope.DEVICE:
            device = sight.device(who, who.device)
            if ref not in (None, device.ref):
                raise unknown("device", "device", ref or "")
            return device
        if ref is None and who.scope is Scope.USER:
            phones = [each for each in directory.devices_of(who.user) if each.kind is DeviceKind.PHONE]
            if len(phones) == 1:
                return phones[0]
        if ref is None:
            errors = [FieldError(pointer="/device", detail="is missing", remedy="name the phone")]
            raise Problem(422, "invalid_body", "The body is wrong", "device: is missing", errors=errors)
        found = directory.device(ref)
        if found is None or not sight.sees_device(who, found):
            raise unknown("device", "device", ref)
        return found

    async def ask(device: Device, request: Mapping[str, object]) -> Mapping[str, Any]:
        phones = services.phones
        if phones is None:
            raise Problem(503, "unavailable", "Phones are not served here", "Try again.", later(5))
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def done(reply: Reply) -> None:
            if not answer.done():
                answer.set_result(reply)

        given = {name: value for name, value in request.items() if value is not None}
        phones.handle(device.ref, given, services.wall(), done)
        services.kick()
        try:
            reply = await asyncio.wait_for(answer, _PATIENCE_S)
        except TimeoutError:
            raise Problem(503, "unavailable", "There was no answer in time", "Try again.", later(5)) from None
        if isinstance(reply, Ok):
            return reply.fields
        raise _refused(reply)

    @routes.post("/v1/call-through", ALL, problems=[404])
    async def call_through(who: Who, body: CallThrough) -> LeaseView:
        """Lease a gateway number: the SIM dials it within the time, and is led on to the number asked for (OUT-02)."""
        device = phone_of(who, body.device)
        given = body.given()
        given.pop("device", None)
        found = await ask(device, {"type": "call_through", **given})
        return LeaseView(
            lease=found["lease"],
            gateway_number=found["gateway_number"],
            expires_in_s=found["expires_in_s"],
            number=found["number"],
            to=found["to"],
        )

    @routes.delete("/v1/call-through/{lease}", ALL, problems=[404])
    async def release(who: Who, lease: str, device: DeviceRef = None) -> Response:
        """Give a lease back."""
        phone = phone_of(who, device)
        await ask(phone, {"type": "release", "lease": lease})
        return Response(status_code=204)

    @routes.post("/v1/callbacks", ALL, 202, problems=[404])
    async def call_back(who: Who, body: PhoneCall) -> dict[str, Any]:
        """Let the platform call the SIM, and when it is answered, the number asked for (OUT-03)."""
        device = phone_of(who, body.device)
        given = body.given()
        given.pop("device", None)
        return dict(await ask(device, {"type": "callback", **given}))

    @routes.delete("/v1/callbacks/{callback}", ALL, problems=[404])
    async def cancel_call_back(who: Who, callback: str, device: DeviceRef = None) -> Response:
        """Stop a callback."""
        phone = phone_of(who, device)
        await ask(phone, {"type": "cancel_callback", "callback": callback})
        return Response(status_code=204)

    @routes.post("/v1/verifications", ALL, problems=[404])
    async def verify(who: Who, body: Verification) -> dict[str, Any]:
        """Ask for the number that the SIM dials to prove its own (DEV-01)."""
        device = phone_of(who, body.device)
        return dict(await ask(device, {"type": "verify", "sim": body.sim}))

    @routes.get("/v1/verifications/{verification}", ALL, problems=[404])
    async def verification(who: Who, verification: str, device: DeviceRef = None) -> dict[str, Any]:
        """Whether a SIM is verified by now, or why it is not."""
        phone = phone_of(who, device)
        return dict(await ask(phone, {"type": "verification", "verification": verification}))

    @routes.get("/v1/prices", ALL, problems=[404])
    async def price(
        who: Who,
        to: Annotated[str, Query(min_length=1, max_length=64, description="Whom to call.")],
        number: Annotated[str | None, Query(max_length=64, description="From which cloud number.")] = None,
        seconds: Annotated[float, Query(ge=0, le=86_400, description="For how long.")] = 0.0,
        device: DeviceRef = None,
    ) -> dict[str, Any]:
        """What a call costs by the minute and for a duration, or why it cannot be made (OUT-06)."""
        request = {"type": "price", "to": to, "number": number, "seconds": seconds}
        return dict(await ask(phone_of(who, device), request))


def _refused(error: Error) -> Problem:
    status = _STATUS.get(error.code, 403)
    headers = later(error.retry_after_s or 5) if status in (429, 503) else None
    code = "invalid_body" if error.code == BAD_REQUEST else error.code
    return Problem(status, code, "The request is refused", error.message, headers)
