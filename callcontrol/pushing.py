"""Pushes of calls to devices: from effects of the call machine to the push channel, and what is measured of it (DEV-04, DEV-05).

What a push is worth is the time from sending it to the REGISTER of the device that it woke.  That time is kept for each device
(the last few), and over all devices as a histogram; a call that nobody answered and that no woken device ever rang for is a
lost one, and whether the device came late or never says whose fault it is.  Memory of one node, bounded; gone with it.

Synchronous; ``now`` is Unix seconds.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from callcontrol.b2bua.effects import Push
from callcontrol.b2bua.waking import INCOMING_CALL, MISSED_CALL
from callcontrol.histogram import Histogram
from gateway.push import DevicePush, PushSink, call_uuid

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call

WAKE_BOUNDS: Final = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 30.0, 60.0)
KEPT: Final = 10
"""Pushes of one device that are remembered."""
MAX_DEVICES: Final = 50_000
LATE_S: Final = 60.0
"""A device that has not come by then did not come because of the push."""

WOKE: Final = "woke"
"""It registered while the call rang."""
LATE: Final = "late"
"""It registered when the call was over."""
NEVER: Final = "never"

LATE_PUSH: Final = "late_push"
WAKE_TIMEOUT: Final = "wake_timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wake:
    """One push that was to wake a device, and what came of it."""

    pushed_at: float
    """Unix seconds."""
    outcome: str
    """``woke``, ``late``, ``never``; empty: it is still waited for."""
    seconds: float = 0.0
    """From the push to the REGISTER."""


class _Awaited:
    """A push that has brought no REGISTER yet."""

    __slots__ = ("call", "device", "is_lost", "is_over", "pushed_at")

    def __init__(self, device: str, call: str, pushed_at: float) -> None:
        self.device = device
        self.call = call
        self.pushed_at = pushed_at
        self.is_over = False
        self.is_lost = False
        """The call ended without having rung anywhere, and is not counted yet."""


class Pushing:
    """The pushes of one node."""

    def __init__(self, sink: PushSink, missed_call_s: float = 86_400.0) -> None:
        self._sink = sink
        self._missed_call_s = missed_call_s
        self._awaited: OrderedDict[str, _Awaited] = OrderedDict()
        """By device, the oldest push first."""
        self._history: OrderedDict[str, deque[Wake]] = OrderedDict()
        self.wake_seconds: dict[str, Histogram] = {WOKE: Histogram(WAKE_BOUNDS), LATE: Histogram(WAKE_BOUNDS)}
        self.lost: dict[str, int] = {LATE_PUSH: 0, WAKE_TIMEOUT: 0}
        """Calls that were lost because no push brought a device in time."""
        self.sent: dict[tuple[str, str], int] = {}
        """(type, result) -> pushes."""

    def push(self, call: Call, effect: Push, now: float) -> bool:
        """Hand a push of a call over; False: the channel cannot take it, it has failed."""
        ttl_s = self._missed_call_s if effect.kind == MISSED_CALL else effect.ttl_s
        taken = self._sink.put(
            DevicePush(
                device=effect.device,
                type=effect.kind,
                call=call.ref,
                uuid=call_uuid(call.ref),
                number=effect.number,
                caller=effect.caller or "anonymous",
                reason=effect.reason,
                sent_at=effect.at,
                ttl_s=ttl_s,
            ),
            now,
        )
        key = (effect.kind, "accepted" if taken else "refused")
        self.sent[key] = self.sent.get(key, 0) + 1
        if taken and effect.kind == INCOMING_CALL:
            self._await(effect.device, call.ref, now)
        return taken

    def _await(self, device: str, call: str, now: float) -> None:
        earlier = self._awaited.get(device)
        if earlier is not None:
            if not earlier.is_over:
                return  # the device is on its way for another call, or this is the same push again
            del self._awaited[device]
            self._never(earlier)
        self._awaited[device] = _Awaited(device, call, now)

    def registered(self, device: str, now: float) -> None:
        """A device has registered."""
        awaited = self._awaited.pop(device, None)
        if awaited is None:
            return
        seconds = now - awaited.pushed_at
        if seconds > LATE_S:
            self._never(awaited)
            return
        outcome = LATE if awaited.is_over else WOKE
        self.wake_seconds[outcome].observe(seconds)
        self._keep(device, Wake(pushed_at=awaited.pushed_at, outcome=outcome, seconds=seconds))
        if awaited.is_lost:
            self._count_lost(awaited.call, LATE_PUSH)

    def ended(self, call: Call) -> None:
        """A call is over: whoever registers now for it comes too late."""
        if not call.waking:
            return
        awaited = [found for w in call.waking if (found := self._awaited.get(w.device)) is not None]
        lost = not call.answered_at and not call.ringing_at
        for each in awaited:
            if each.call == call.ref:
                each.is_over = True
                each.is_lost = lost

    def tick(self, now: float) -> None:
        """Give up those that have not come."""
        while self._awaited:
            device, awaited = next(iter(self._awaited.items()))
            if now - awaited.pushed_at <= LATE_S and len(self._awaited) <= MAX_DEVICES:
                break
            del self._awaited[device]
            self._never(awaited)

    def history(self, device: str) -> tuple[Wake, ...]:
        """The last pushes of a device, the latest first."""
        awaited = self._awaited.get(device)
        waiting = () if awaited is None else (Wake(pushed_at=awaited.pushed_at, outcome=""),)
        return (*waiting, *self._history.get(device, ()))

    def _never(self, awaited: _Awaited) -> None:
        self._keep(awaited.device, Wake(pushed_at=awaited.pushed_at, outcome=NEVER))
        if awaited.is_lost:
            self._count_lost(awaited.call, WAKE_TIMEOUT)

    def _count_lost(self, call: str, reason: str) -> None:
        """Once for a call, however many devices it had pushed."""
        self.lost[reason] += 1
        for other in self._awaited.values():
            if other.call == call:
                other.is_lost = False

    def _keep(self, device: str, wake: Wake) -> None:
        kept = self._history.get(device)
        if kept is None:
            kept = self._history[device] = deque(maxlen=KEPT)
            if len(self._history) > MAX_DEVICES:
                self._history.popitem(last=False)
        self._history.move_to_end(device)
        kept.appendleft(wake)
