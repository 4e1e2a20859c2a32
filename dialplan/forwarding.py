"""Where a call goes that its number does not ring, or that nobody took: forwarding and voicemail (INC-03, INC-04,
INC-08, FWD-01).

Whether a forward may be made, and what it costs, is decided when its turn comes (`dialplan.forwarded`).
"""

from __future__ import annotations

from dataclasses import replace

from dialplan import reasons
from dialplan import trace as words
from dialplan.facts import CallFacts
from dialplan.plan import VOICEMAIL, Diversion, Forward, Identity, Refuse, Shown, Step, ToMedia
from dialplan.trace import Trace
from numbering.models import CloudNumber, ForwardMode


def when_off(facts: CallFacts, number: CloudNumber, why: str, trace: Trace) -> tuple[Step, ...]:
    """What answers in place of a number that is off: its voicemail, or nobody (INC-03)."""
    step, state = _voicemail(facts, number)
    if step is None:
        return (Refuse(reason=trace.refuse("INC-03", reasons.NUMBER_OFF, f"{why}; {state}")),)
    trace.add("INC-03", words.VOICEMAIL, f"{why}; {state}")
    return (step,)


def always(facts: CallFacts, number: CloudNumber, caller: Identity, trace: Trace) -> tuple[Step, ...]:
    """Steps of a number that forwards all its calls (INC-04); empty: it does not."""
    forward = number.forward
    if forward.mode is not ForwardMode.ALL:
        return ()
    if not forward.to:
        trace.add("INC-04", words.PASS, "all calls are to be forwarded, but nobody said where to")
        return ()
    step, state = _voicemail(facts, number)
    then = f", else {state}" if step is not None else ""
    trace.add("INC-04", words.FORWARD, f"all calls go to {forward.to}{then}")
    first = _forward(facts, number, caller, always=True)
    return (first,) if step is None else (first, step)


def missed(
    facts: CallFacts, number: CloudNumber, caller: Identity, rung: bool, trace: Trace
) -> tuple[Step, ...]:
    """Steps for a call that nobody took (INC-08).

    ``rung``: something rings before; else there is nobody to ring, and the call is missed as unreachable.
    """
    steps: list[Step] = []
    forward = number.forward
    if forward.mode is ForwardMode.MISSED and forward.to:
        causes = ", ".join(forward.causes)
        if forward.causes and (rung or reasons.UNREACHABLE in forward.causes):
            trace.add("INC-08", words.FORWARD, f"a missed call goes to {forward.to} ({causes})")
            steps.append(_forward(facts, number, caller, when=forward.causes if rung else ()))
        else:
            trace.add(
                "INC-08", words.PASS, f"calls are forwarded to {forward.to} for {causes or 'no cause'} only"
            )
    if number.voicemail:
        step, state = _voicemail(facts, number)
        trace.add(
            "INC-08", words.PASS if step is None else words.VOICEMAIL, f"nobody takes the call: {state}"
        )
        if step is not None:
            steps.append(step)
    return tuple(steps)


def shown_before(facts: CallFacts, caller: Identity, called: str) -> Shown | None:
    """How the call looks to those whom it reaches after others have forwarded it: with all of them (FWD-02).

    None: nobody outside has, or the steps say it themselves since the call is forwarded by us.
    """
    if facts.forward is not None or not facts.loop.diverted:
        return None
    before = tuple([Diversion(number=number) for number in facts.loop.diverted])
    return Shown(caller=replace(caller, diverted=before), called=called)


def _forward(
    facts: CallFacts,
    number: CloudNumber,
    caller: Identity,
    *,
    always: bool = False,
    when: tuple[str, ...] = (),
) -> Forward:
    callee = facts.callee
    return Forward(
        to=number.forward.to,
        number=number.e164,
        user=number.user,
        account="" if callee is None else callee.account,
        always=always,
        when=when,
        shown=shown_before(facts, caller, number.e164),
    )


def _voicemail(facts: CallFacts, number: CloudNumber) -> tuple[ToMedia | None, str]:
    """The step of the number's voicemail if there is one, and the words for it."""
    if not number.voicemail:
        return None, "voicemail is off"
    uri = facts.limits.voicemail_uri
    if not uri:
        return None, "voicemail is on, but there is no voicemail server"
    return ToMedia(kind=VOICEMAIL, uri=uri, number=number.e164), "voicemail answers"
