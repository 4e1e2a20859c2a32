"""Decisions about the calling side of a device's call: who may it be, is that proved, which kinds of numbers
may it call, and what is the callee shown (OUT-01, DEV-01, OUT-04, OUT-07).

An identity is named by the device (P-Preferred-Identity, else From) or chosen here; it is always a number of
the device's user, so that nothing is ever presented which we cannot prove.
"""

from __future__ import annotations

from dataclasses import dataclass

from dialplan import reasons
from dialplan.facts import RIO_KNOWN, RIO_NONE, CallerDevice, CallerNumber, CallFacts, Limits
from dialplan.plan import RIO, Identity, Refuse, Step, ToMedia
from dialplan.trace import ANNOUNCE, CHOOSE, PASS, Trace
from numbering.e164 import country_of
from numbering.lifecycle import HELD
from numbering.models import CloudNumber, NumberState
from numbering.policy import COUNTRIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Number a call is made with, or the reason why it cannot be made; neither when it may go without a
    number."""

    number: CloudNumber | None = None
    reason: str = ""


def choose_number(device: CallerDevice, caller: CallerNumber, *, required: bool, trace: Trace) -> Chosen:
    """The cloud number that the call is made with (OUT-01).

    ``required`` is false for calls to colleagues by name: they need no number, but one that is named must be
    right.
    """
    named = _named(device, caller)
    if named:
        found = _held(device, named)
        if found is None:
            detail = f"{named} in {caller.source} is no number of user {device.user}"
            return Chosen(reason=trace.refuse("OUT-01", reasons.NOT_YOUR_NUMBER, detail))
        return _judged(found, f"{named} is named in {caller.source}", trace)
    linked, default = _held(device, device.linked_number), _held(device, device.default_number)
    if linked is not None and _unusable(linked) is None:
        return _judged(linked, f"{linked.e164}: none is named, it is linked to the contact", trace)
    if default is not None and (required or _unusable(default) is None):
        return _judged(
            default, f"{default.e164}: none is named, it is the default of user {device.user}", trace
        )
    if not required:
        trace.add(
            "OUT-01", CHOOSE, f"no number: user {device.user} has none to use, and a colleague is called"
        )
        return Chosen()
    # The state of a number that there is tells more than that there is no active one.
    for number in device.numbers:
        if number.state in (NumberState.EXPIRED, NumberState.SUSPENDED):
            return _judged(number, f"{number.e164} is held by user {device.user}", trace)
    detail = f"user {device.user} has no active number"
    return Chosen(reason=trace.refuse("OUT-01", reasons.NOT_YOUR_NUMBER, detail))


def asks_for_rio(facts: CallFacts) -> bool:
    """Whether the call goes to the service that tells a line its RIO (NUM-11)."""
    called = facts.called
    service = COUNTRIES.of(called.country).rio_service if called.short and called.country else ""
    return bool(service) and service == called.short


def line_of_rio(device: CallerDevice, caller: CallerNumber, trace: Trace) -> Chosen:
    """Whose RIO is told: of the number the call is made with, also when it is suspended or expired.

    The service must answer at any hour, and nobody who has not paid may be kept from leaving.
    """
    named = _named(device, caller)
    if named and _held(device, named) is None:
        detail = f"{named} in {caller.source} is no number of user {device.user}"
        return Chosen(reason=trace.refuse("OUT-01", reasons.NOT_YOUR_NUMBER, detail))
    wanted = [named] if named else [device.linked_number, device.default_number]
    order = [*wanted, *(() if named else (number.e164 for number in device.numbers))]
    for e164 in order:
        number = _held(device, e164)
        if number is not None and number.state in HELD and COUNTRIES.of(country_of(e164)).rio_service:
            trace.add("NUM-11", CHOOSE, f"{e164} asks for its RIO")
            return Chosen(number=number)
    detail = f"{named} has no RIO" if named else f"user {device.user} has no number with a RIO"
    return Chosen(reason=trace.refuse("NUM-11", reasons.NO_RIO, detail))


def rio_steps(facts: CallFacts, number: CloudNumber, trace: Trace) -> tuple[Step, ...]:
    """How a line is told its RIO: by voice where a server can speak, and by message in any case (NUM-11)."""
    rio, uri = facts.rio, facts.limits.announcement_uri
    if rio is not None and rio.state == RIO_NONE:
        detail = f"no RIO can be made for {number.e164}"
        return (Refuse(reason=trace.refuse("NUM-11", reasons.NO_RIO, detail)),)
    if not uri or rio is None or rio.state != RIO_KNOWN:
        why = "there is no announcement server" if not uri else "it could not be looked up in time"
        detail = f"the RIO of {number.e164} is sent as a message: {why}"
        return (Refuse(reason=trace.refuse("NUM-11", reasons.RIO_BY_MESSAGE, detail)),)
    trace.add("NUM-11", ANNOUNCE, f"the RIO of {number.e164} is spoken, and sent as a message")
    spoken = ToMedia(kind=RIO, uri=uri, number=number.e164, name=RIO, values=(rio.rio,) if rio.rio else ())
    return (spoken,)


def _held(device: CallerDevice, e164: str) -> CloudNumber | None:
    return next((number for number in device.numbers if number.e164 == e164), None) if e164 else None


def _named(device: CallerDevice, caller: CallerNumber) -> str:
    """The number that the device names, empty if it names none.

    From usually holds the SIP user name, or after a transfer what was dialled; only a number that could be
    presented names one. The number of the user's own SIM names none: phones put it there by themselves.
    """
    if not caller.e164 or caller.presented == device.sip_username or caller.e164 == device.sim:
        return ""
    return caller.e164


def _judged(number: CloudNumber, why: str, trace: Trace) -> Chosen:
    fault = _unusable(number)
    if fault is None:
        trace.add("OUT-01", CHOOSE, why)
        return Chosen(number=number)
    reason, what = fault
    return Chosen(reason=trace.refuse("OUT-01", reason, f"{why}; {what}"))


def _unusable(number: CloudNumber) -> tuple[str, str] | None:
    """Reason why no call can be made with a number, and the words for it."""
    match number.state:
        case NumberState.ACTIVE:
            return None if number.calls else (reasons.CALLS_OFF, "its calls are switched off")
        case NumberState.EXPIRED:
            return reasons.EXPIRED, "it is expired"
        case NumberState.SUSPENDED:
            return reasons.SUSPENDED, "it is suspended"
        case _:
            # Quarantined, ported out and the like: whoever held it holds it no longer.
            return reasons.NOT_YOUR_NUMBER, f"it is {number.state.value}"


def unproved(device: CallerDevice, limits: Limits, trace: Trace) -> str:
    """Reason why the user may not call from a number yet (DEV-01); empty: the user may."""
    if device.sim_verified:
        trace.add("DEV-01", PASS, f"a SIM of user {device.user} is verified")
        return ""
    if limits.verified_sim == "none":
        trace.add("DEV-01", PASS, "no SIM need be verified, by the settings")
        return ""
    if limits.verified_sim == "known" and device.company and not device.has_sim:
        trace.add("DEV-01", PASS, f"user {device.user} has no SIM, and account {device.account} is a company")
        return ""
    detail = f"no SIM of user {device.user} is verified"
    return trace.refuse("DEV-01", reasons.UNVERIFIED_SIM, detail)


def barred(facts: CallFacts, trace: Trace) -> str:
    """Reason why numbers of this class are not called (OUT-04); empty: they are."""
    called = facts.called
    where = f"{called.short} of {called.country}" if called.short else called.e164
    detail = f"{where} is {called.number_class.value}"
    if called.number_class in facts.limits.barred_classes:
        return trace.refuse("OUT-04", reasons.BARRED_CLASS, f"{detail}, which is barred")
    trace.add("OUT-04", PASS, detail)
    return ""


def shown_as(number: CloudNumber, caller: CallerNumber, display: str, trace: Trace) -> Identity:
    """How the callee sees the call (OUT-07): hidden by the number's switch or by the caller's wish."""
    if number.hide or caller.hidden:
        trace.add(
            "OUT-07", CHOOSE, "hidden by the number's switch" if number.hide else "hidden by the caller"
        )
        return Identity(asserted=number.e164, hidden=True)
    trace.add("OUT-07", PASS, f"{number.e164} is shown")
    return Identity(number=number.e164, asserted=number.e164, display=display)


def shown_without_number(device: CallerDevice, caller: CallerNumber, trace: Trace) -> Identity:
    """How a colleague sees a caller who has no number to show."""
    if caller.hidden:
        trace.add("OUT-07", CHOOSE, "hidden by the caller")
        return Identity(hidden=True)
    trace.add("OUT-07", PASS, f"{device.sip_username} is shown, for want of a number")
    return Identity(user=device.sip_username, display=device.name)
