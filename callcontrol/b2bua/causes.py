"""The one table of causes: what each reason means on the wire, in the CDR, and for the next trunk (OUT-09).

A reason is a word of ``dialplan.reasons``.  The table gives the SIP status, the Q.850 cause, the class for metrics, the plain
sentence for people, and whether another trunk or peer may be tried.
"""

from __future__ import annotations

from typing import Final

from callcontrol.sip.build import REASONS
from callcontrol.sip.message import Message
from dialplan import reasons as r


class Cause:
    """One row: the meaning of a reason."""

    __slots__ = ("label", "q850", "reason", "sentence", "status")

    def __init__(self, reason: str, status: int, q850: int, label: str, sentence: str) -> None:
        self.reason = reason
        self.status = status
        """SIP status of the answer to the caller."""
        self.q850 = q850
        self.label = label
        """``result`` label of the metrics: answered, busy, no_answer, cancelled, rejected, failed."""
        self.sentence = sentence
        """For the Warning header: what a person may do about it."""


_ROWS: Final = [
    Cause(r.ANSWERED, 200, 16, "answered", "The call was answered."),
    Cause(r.NORMAL_CLEARING, 200, 16, "answered", "The call was hung up."),
    Cause(r.TRANSFERRED, 200, 16, "answered", "The call was transferred."),
    Cause(r.UNVERIFIED_SIM, 403, 21, "rejected", "Verify your SIM before you call."),
    Cause(r.NO_CREDIT, 402, 21, "rejected", "There is no credit for this call."),
    Cause(r.NOT_IN_PLAN, 403, 21, "rejected", "The plan does not cover this destination."),
    Cause(r.EXPIRED, 480, 31, "rejected", "The subscription of this number has expired."),
    Cause(r.SUSPENDED, 403, 21, "rejected", "This number or account is suspended."),
    Cause(r.CALLS_OFF, 480, 31, "rejected", "Calls are switched off for this number."),
    Cause(r.BARRED_CLASS, 403, 21, "rejected", "Numbers of this class cannot be called."),
    Cause(r.NOT_YOUR_NUMBER, 403, 21, "rejected", "The number shown is not yours."),
    Cause(r.INVALID_NUMBER, 484, 28, "rejected", "The dialled number cannot be read."),
    Cause(r.FAIR_USE, 403, 21, "rejected", "The fair-use limit is reached."),
    Cause(r.TOO_MANY_CALLS, 486, 34, "rejected", "Too many calls at the same time."),
    Cause(r.UNREACHABLE, 480, 20, "no_answer", "No device of the callee can be reached."),
    Cause(r.EMERGENCY, 380, 16, "rejected", "Dial the emergency number on the SIM."),
    Cause(r.UNKNOWN_NUMBER, 404, 1, "rejected", "This number is not in service."),
    Cause(r.QUARANTINED, 410, 22, "rejected", "This number is no longer in service."),
    Cause(r.PORTED_OUT, 410, 22, "rejected", "This number left the platform."),
    Cause(r.BLOCKED, 603, 21, "rejected", "The call was declined."),
    Cause(r.NUMBER_OFF, 480, 31, "rejected", "This number is switched off now."),
    Cause(r.CLOSED, 480, 31, "rejected", "The company is closed now."),
    Cause(r.LOOP, 482, 25, "failed", "The call came back to where it had been."),
    Cause(r.HIDDEN_CALLER, 433, 21, "rejected", "Show your number and call again."),
    Cause(r.NO_LEASE, 403, 21, "rejected", "Ask for this call in the app, then dial."),
    Cause(r.NO_GATEWAY_NUMBER, 503, 34, "rejected", "All gateway numbers are taken; try again shortly."),
    # busy: every phone makes the tone at once, and no network plays a paid announcement
    Cause(r.SIM_VERIFIED, 486, 17, "rejected", "Your SIM is verified; the app goes on."),
    Cause(r.SIM_MISMATCH, 403, 21, "rejected", "This is not the SIM that the app named."),
    Cause(r.UNAVAILABLE, 503, 41, "failed", "The server cannot decide now; try again shortly."),
    Cause(
        r.RIO_BY_MESSAGE, 480, 31, "rejected", "Your RIO is not spoken; it is sent to this line as a message."
    ),
    Cause(r.NO_RIO, 480, 31, "rejected", "This line has no RIO."),
    Cause(r.BUSY, 486, 17, "busy", "The callee is busy."),
    Cause(r.DECLINED, 603, 21, "rejected", "The callee declined the call."),
    Cause(r.NO_ANSWER, 480, 19, "no_answer", "Nobody answered."),
    Cause(r.CALLER_CANCELLED, 487, 16, "cancelled", "The caller hung up before an answer."),
    Cause(r.NO_ROUTE, 404, 3, "failed", "There is no route to this number."),
    Cause(r.TRUNK_FAILED, 502, 38, "failed", "The carrier could not complete the call."),
    Cause(r.OVERLOAD, 503, 42, "failed", "The server is busy; try again shortly."),
    Cause(
        r.DRAINING,
        503,
        41,
        "failed",
        "This server is being taken out of service.",
    ),
    Cause(r.MAX_DURATION, 200, 102, "answered", "The longest duration of a call was reached."),
    Cause(r.SESSION_EXPIRED, 200, 102, "answered", "A side of the call vanished without hanging up."),
    Cause(r.MEDIA_REFUSED, 488, 65, "failed", "The two sides have no media format in common."),
    Cause(r.PROTOCOL_ERROR, 500, 111, "failed", "A side broke the protocol."),
    Cause(r.INTERNAL_ERROR, 500, 41, "failed", "The server could not handle the call."),
    Cause(r.NODE_LOST, 503, 41, "failed", "The server of the call stopped."),
    Cause(r.OPERATOR, 480, 31, "rejected", "The call was ended by the operator."),
    Cause(r.NOT_FOUND, 404, 1, "rejected", "There is nobody of this name."),
    Cause(r.NOT_ALLOWED, 403, 21, "rejected", "This is not allowed."),
]

CAUSES: Final[dict[str, Cause]] = {row.reason: row for row in _ROWS}

# final status of a callee -> reason.  What is not listed is decided by class in ``reason_of``.
_DEVICE: Final[dict[int, str]] = {
    403: r.DECLINED,
    404: r.UNREACHABLE,
    408: r.UNREACHABLE,
    410: r.UNREACHABLE,
    415: r.MEDIA_REFUSED,
    480: r.UNREACHABLE,
    481: r.UNREACHABLE,
    482: r.LOOP,
    483: r.LOOP,
    486: r.BUSY,
    487: r.NO_ANSWER,
    488: r.MEDIA_REFUSED,
    600: r.BUSY,
    603: r.DECLINED,
    604: r.UNREACHABLE,
    606: r.MEDIA_REFUSED,
    607: r.DECLINED,
    608: r.DECLINED,
}

# failover: what may be tried after the answer of a trunk peer
NEVER: Final = 0
"""It spoke for the callee, or about the number or the media: another carrier would say the same."""
NEXT_PEER: Final = 1
"""This peer cannot now: the next one may, of the same trunk too."""
NEXT_TRUNK: Final = 2
"""The carrier will not, at whichever of its peers: on to another one."""

_TRUNK: Final[dict[int, tuple[str, int]]] = {
    400: (r.TRUNK_FAILED, NEXT_TRUNK),
    401: (r.TRUNK_FAILED, NEXT_TRUNK),  # our password is wrong
    402: (r.TRUNK_FAILED, NEXT_TRUNK),
    403: (r.TRUNK_FAILED, NEXT_TRUNK),  # our account; a callee who declines is 603, or has Q.850 cause 21
    404: (r.INVALID_NUMBER, NEVER),
    405: (r.TRUNK_FAILED, NEXT_TRUNK),
    406: (r.TRUNK_FAILED, NEXT_TRUNK),
    407: (r.TRUNK_FAILED, NEXT_TRUNK),
    410: (r.INVALID_NUMBER, NEVER),
    413: (r.TRUNK_FAILED, NEXT_TRUNK),
    414: (r.TRUNK_FAILED, NEXT_TRUNK),
    415: (r.MEDIA_REFUSED, NEVER),
    416: (r.TRUNK_FAILED, NEXT_TRUNK),
    420: (r.TRUNK_FAILED, NEXT_TRUNK),
    421: (r.TRUNK_FAILED, NEXT_TRUNK),
    428: (r.TRUNK_FAILED, NEXT_TRUNK),
    433: (r.HIDDEN_CALLER, NEVER),
    480: (r.NO_ANSWER, NEVER),
    482: (r.LOOP, NEVER),
    483: (r.LOOP, NEVER),
    484: (r.INVALID_NUMBER, NEVER),
    485: (r.INVALID_NUMBER, NEVER),
    486: (r.BUSY, NEVER),
    487: (r.NO_ANSWER, NEVER),
    488: (r.MEDIA_REFUSED, NEVER),
    501: (r.TRUNK_FAILED, NEXT_TRUNK),
    505: (r.TRUNK_FAILED, NEXT_TRUNK),
    513: (r.TRUNK_FAILED, NEXT_TRUNK),
    600: (r.BUSY, NEVER),
    603: (r.DECLINED, NEVER),
    604: (r.INVALID_NUMBER, NEVER),
    606: (r.MEDIA_REFUSED, NEVER),
    607: (r.DECLINED, NEVER),
    608: (r.DECLINED, NEVER),
}
"""Final status of a trunk peer; silence counts as 408, a dead connection as 503."""
_Q850: Final[dict[int, tuple[str, int]]] = {
    1: (r.INVALID_NUMBER, NEVER),  # unallocated
    2: (r.TRUNK_FAILED, NEXT_TRUNK),
    3: (r.TRUNK_FAILED, NEXT_TRUNK),  # this carrier has no route; another may
    17: (r.BUSY, NEVER),
    18: (r.NO_ANSWER, NEVER),
    19: (r.NO_ANSWER, NEVER),
    20: (r.UNREACHABLE, NEVER),
    21: (r.DECLINED, NEVER),
    22: (r.INVALID_NUMBER, NEVER),
    25: (r.TRUNK_FAILED, NEXT_TRUNK),
    27: (r.TRUNK_FAILED, NEXT_TRUNK),
    28: (r.INVALID_NUMBER, NEVER),
    29: (r.TRUNK_FAILED, NEXT_TRUNK),
    34: (r.TRUNK_FAILED, NEXT_PEER),  # no circuit
    38: (r.TRUNK_FAILED, NEXT_TRUNK),
    41: (r.TRUNK_FAILED, NEXT_PEER),
    42: (r.TRUNK_FAILED, NEXT_PEER),
    44: (r.TRUNK_FAILED, NEXT_PEER),
    47: (r.TRUNK_FAILED, NEXT_PEER),
    50: (r.TRUNK_FAILED, NEXT_TRUNK),
    55: (r.DECLINED, NEVER),
    57: (r.TRUNK_FAILED, NEXT_TRUNK),
    58: (r.TRUNK_FAILED, NEXT_TRUNK),
    63: (r.TRUNK_FAILED, NEXT_TRUNK),
    65: (r.MEDIA_REFUSED, NEVER),
    69: (r.TRUNK_FAILED, NEXT_TRUNK),
    79: (r.TRUNK_FAILED, NEXT_TRUNK),
    88: (r.MEDIA_REFUSED, NEVER),
    102: (r.TRUNK_FAILED, NEXT_PEER),
    111: (r.TRUNK_FAILED, NEXT_TRUNK),
}
"""Q.850 cause in a Reason header (RFC 3326, RFC 6432): it says what happened in the telephone network, which gateways
squeeze into few statuses.  What is not listed leaves the word to the status."""


def _verdict(status: int, q850: int) -> tuple[str, int]:
    """What a trunk peer's final answer means, and what may be tried after it; total."""
    found = _TRUNK.get(status)
    if status >= 600 or status == 486:
        # the callee's own answer, whatever a gateway writes beside it
        return found if found is not None else (r.DECLINED, NEVER)
    by_cause = _Q850.get(q850)
    if by_cause is not None:
        return by_cause
    return found if found is not None else (r.TRUNK_FAILED, NEXT_PEER)


def reason_of(status: int, trunk: bool, q850: int = 0) -> str:
    """The reason that a callee's final status means; total.  ``q850``: cause of a carrier's Reason header, 0 for none."""
    if trunk:
        return _verdict(status, q850)[0]
    reason = _DEVICE.get(status)
    if reason is not None:
        return reason
    return r.DECLINED if status >= 600 else r.UNREACHABLE


def failover(status: int, q850: int = 0) -> int:
    """What may be tried after the final answer of a trunk peer: ``NEVER``, ``NEXT_PEER`` or ``NEXT_TRUNK``."""
    return _verdict(status, q850)[1]


def q850_of(message: Message) -> int:
    """The Q.850 cause of a response (RFC 3326); 0 when it has none that can be read."""
    for value in message.all("reason"):
        protocol, _, rest = value.partition(";")
        if protocol.strip().upper() != "Q.850":
            continue
        for part in rest.split(";"):
            name, _, number = part.partition("=")
            number = number.strip()
            if name.strip().lower() == "cause" and number.isascii() and number.isdigit() and len(number) <= 3:
                return int(number)
    return 0


_PASSED_ON: Final = frozenset((404, 410, 415, 480, 482, 483, 484, 486, 488, 600, 603, 604, 606, 607, 608))


def status_for_caller(status: int, trunk: bool, q850: int = 0) -> int:
    """The status that the caller gets for a callee's final ``status`` (RFC 3261 §16.7 step 6, for a B2BUA).

    What speaks of the callee is passed on.  What speaks of our own next hop (challenges, 5xx, timeouts) is ours to explain, so
    it becomes the status of its reason; a 503 passed on would make the caller avoid us altogether.
    """
    reason = reason_of(status, trunk, q850)
    if status in _PASSED_ON and (trunk or status not in (404, 410)) and reason == reason_of(status, trunk):
        return status
    return CAUSES[reason].status


def better(first: int, second: int) -> bool:
    """True when ``first`` is a better final response than ``second`` (RFC 3261 §16.7 step 6): 6xx first, then the lowest class;
    within 4xx those that help the caller to mend the request."""
    return _rank(first) < _rank(second)


def _rank(status: int) -> int:
    if status >= 600:
        return 0
    if 400 <= status < 500:
        if status in (401, 407, 415, 420, 484):
            return 40
        if status in (486, 488):
            return 41  # says more about the callee than "not there"
        if status in (408, 480, 404, 410, 481, 487):
            return 43
        return 42
    return status // 100 * 10


def reason_lines(reason: str, status: int) -> list[str]:
    """Reason and Warning header lines of a refusal (RFC 3326; interfaces: the same word everywhere)."""
    cause = CAUSES[reason]
    return [
        f'Reason: SIP;cause={status};text="{reason}"',
        f"Reason: Q.850;cause={cause.q850}",
        f'Warning: 399 cloudline "{cause.sentence}"',
    ]


def advice(reason: str) -> tuple[bytes, str]:
    """Body of a refusal that tells software what to do instead, and its type; empty for most.

    An emergency call is to be made over the SIM: 380 with the document of 3GPP TS 24.229 §7.6, as RFC 3261 §21.3.5 asks for.
    """
    return (_EMERGENCY, "application/3gpp-ims+xml") if reason == r.EMERGENCY else (b"", "")


_EMERGENCY: Final = (
    b'<?xml version="1.0" encoding="UTF-8"?>\r\n<ims-3gpp version="1"><alternative-service><type>emergency</type>'
    b"<reason>Dial the emergency number on the SIM.</reason></alternative-service></ims-3gpp>\r\n"
)


def end_line(reason: str, status: int) -> str:
    """Reason header of a BYE or CANCEL by which we end a call ourselves.  A SIP cause of 200 would say "answered elsewhere"."""
    if status < 300:
        return f'Reason: Q.850;cause={CAUSES[reason].q850};text="{reason}"'
    return f'Reason: SIP;cause={status};text="{reason}"'


def phrase_of(status: int) -> str:
    """Reason phrase of a refusal."""
    return REASONS.get(status, "Refused")
