"""A call that is played without a wire: the real call machine on a clock of its own (OPS-02).

What the machine wants done is answered here as the world would: phones ring (100, 180) and do what the question says, which
is nothing unless it says so; media servers answer; pushes wake nobody; trunks are picked by the real ranking, without taking a
channel.  Lookups go to the parts that live calls ask.  Effects that need no answer (responses to the caller, ACKs, records of
the live state) are left alone, so a new effect of the machine costs one small handler, or none.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Final, Protocol

from callcontrol.b2bua.call import Call
from callcontrol.b2bua.effects import ChooseTrunk, Effect, Push, WriteRecord
from callcontrol.b2bua.events import DeadlinePassed, Event, ResponseIn, Start, TransactionEnded, TrunkChosen
from callcontrol.b2bua.leg import MEDIA, Leg
from callcontrol.b2bua.phases import ENDED, TALKING
from callcontrol.cdr import CallRecord
from callcontrol.explaining.invite import HOST
from callcontrol.explaining.question import ANSWER, BUSY, DECLINE, RING, SILENT, Behaviour
from callcontrol.sip import build
from callcontrol.sip.commands import SendRequest
from callcontrol.sip.message import Message, parse

_VIA: Final = f"Via: SIP/2.0/UDP {HOST};branch=z9hG4bK"
_SDP: Final = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n"
)
_MOST: Final = 20_000
"""Inputs after which a call is not played any further; the longest hunts take some hundreds."""
_RINGS: Final = Behaviour(who="", does=RING)
_ANSWERS: Final = Behaviour(who="", does=ANSWER)


class Surroundings(Protocol):
    """What the machine asks for while it looks for an answer."""

    def trunk(self, call: Call, effect: ChooseTrunk) -> TrunkChosen:
        """The next peer, or none."""
        ...

    def answer(self, call: Call, effect: Effect, now: float) -> Event | None:
        """The answer to any other lookup; None: the effect asks for nothing."""
        ...


class Rehearsal:
    """One call from its INVITE until somebody answers or nobody is left."""

    def __init__(self, call: Call, around: Surroundings, behaviours: Sequence[Behaviour] = ()) -> None:
        self.call = call
        self.record: CallRecord | None = None
        """Of a call that ended; None: somebody answered."""
        self.pushed: list[str] = []
        """Devices that were pushed, in order."""
        self.unfinished = False
        """The call was not played to its end: it went on for ever."""
        self._around = around
        self._behaviours = behaviours
        self._queue: list[tuple[float, int, Event]] = []
        self._open: dict[str, tuple[SendRequest, Message]] = {}
        """INVITEs without a final response, by leg."""
        self._count = 0

    def run(self, message: Message, now: float) -> None:
        """Play the call that begins with this INVITE; ``now``: Unix seconds."""
        call = self.call
        self._feed(Start(message, "explained", ""), now)
        for _ in range(_MOST):
            if call.phase == ENDED or call.phase == TALKING:
                return
            deadline = call.next_deadline()
            if self._queue and self._queue[0][0] <= deadline:
                at, _, event = heapq.heappop(self._queue)
            elif deadline < float("inf"):
                at, event = deadline, DeadlinePassed()
            else:
                break
            now = max(now, at)
            self._feed(event, now)
        self.unfinished = True

    def _feed(self, event: Event, now: float) -> None:
        """Hand an input over, and answer what comes of it before time goes on."""
        events = [event]
        while events:
            for effect in self.call.handle(events.pop(0), now):
                answer = self._perform(effect, now)
                if answer is not None:
                    events.append(answer)

    def _perform(self, effect: Effect, now: float) -> Event | None:
        if isinstance(effect, SendRequest):
            self._on_request(effect, now)
        elif isinstance(effect, ChooseTrunk):
            return self._around.trunk(self.call, effect)
        elif isinstance(effect, WriteRecord):
            self.record = effect.record
        elif isinstance(effect, Push):
            self.pushed.append(effect.device)
        else:
            return self._around.answer(self.call, effect, now)
        return None

    # -- what the called side does --

    def _on_request(self, effect: SendRequest, now: float) -> None:
        # the endpoint would write the topmost Via
        line, _, rest = effect.data.partition(b"\r\n")
        message = parse(b"\r\n".join((line, f"{_VIA}{effect.branch}".encode(), rest)))
        leg = self.call.legs.get(effect.leg)
        if effect.method == "INVITE" and leg is not None:
            self._open[effect.leg] = (effect, message)
            self._invited(effect, message, leg, now)
        elif effect.method == "CANCEL":
            invite = self._open.get(effect.leg)
            self._queue = [item for item in self._queue if not _is_of(item[2], effect.leg)]
            heapq.heapify(self._queue)
            if invite is not None:
                self._respond(*invite, 487, now)
        elif effect.method != "ACK":
            self._respond(effect, message, 200, now)

    def _invited(self, effect: SendRequest, message: Message, leg: Leg, now: float) -> None:
        behaviour = self._behaviour(leg)
        if behaviour.does == SILENT:
            # Timer B (RFC 3261 §17.1.1.2)
            self._later(TransactionEnded(effect.leg, effect.branch, "timeout"), now + 64 * _T1_S)
            return
        self._respond(effect, message, 100, now)
        at = now + behaviour.after_s
        if behaviour.after_s > 0 or behaviour.does in (RING, ANSWER):
            self._respond(effect, message, 180, now)
        if behaviour.does == ANSWER:
            self._respond(effect, message, 200, at, _SDP)
        elif behaviour.does == BUSY:
            self._respond(effect, message, 486, at)
        elif behaviour.does == DECLINE:
            self._respond(effect, message, 603, at)

    def _behaviour(self, leg: Leg) -> Behaviour:
        is_server = leg.device_class == MEDIA
        names = (leg.device, leg.user, (leg.trunk or is_server) and leg.number)
        found = [each for name in names for each in self._behaviours if name and each.who == name]
        if found:
            return found[0]
        return _ANSWERS if is_server else _RINGS

    def _respond(
        self, effect: SendRequest, request: Message, status: int, at: float, body: bytes = b""
    ) -> None:
        headers = [("Contact", f"<sip:{effect.leg}@{HOST}>")] if request.method == "INVITE" else []
        data = build.response(
            request, status, "", f"to-{effect.leg}", headers, body, "application/sdp" if body else ""
        )
        self._later(ResponseIn(effect.leg, effect.branch, parse(data)), at)

    def _later(self, event: Event, at: float) -> None:
        self._count += 1
        heapq.heappush(self._queue, (at, self._count, event))


_T1_S: Final = 0.5


def _is_of(event: Event, leg: str) -> bool:
    return isinstance(event, (ResponseIn, TransactionEnded)) and event.leg == leg
