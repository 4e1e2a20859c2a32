"""The reference model of a hunt: ``docs/hunting.md`` in Python, rule by rule, and nothing else.

It knows no SIP.  It is told what happens (somebody answered, a second passed) and says what is to be done: ring, push, stop.
Numbers in comments are those of the rules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.hunting.cases import OFFERED, SIM_S, TALKING, WAKE_S

RING: Final = "ring"
PUSH: Final = "push"
STOP: Final = "stop"
RELEASE: Final = "release"
"""ACK and BYE: it answered second."""

# why a device stops
TIME_OVER: Final = "time over"
ELSEWHERE: Final = "elsewhere"
DECLINED: Final = "declined"
CALLER_GONE: Final = "caller gone"
UNREACHABLE: Final = "unreachable"

# how a hunt ends
ANSWERED: Final = "answered"
NOBODY: Final = "nobody"
CANCELLED: Final = "cancelled"

Action = tuple[str, str, str]
"""What to do, with which device, why."""


@dataclass(slots=True)
class Seen:
    """What a look at a member finds."""

    busy: str = ""
    there: list[str] = field(default_factory=list)
    asleep: list[str] = field(default_factory=list)
    sims: list[str] = field(default_factory=list)
    fallback: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Offered:
    """A member while its group is offered."""

    until: float
    """End of its time (7)."""
    wake_at: float
    """Its wake deadline (8)."""
    ringing: dict[str, float] = field(default_factory=dict)
    """Device -> when it stops at the latest."""
    sims: set[str] = field(default_factory=set)
    awaited: set[str] = field(default_factory=set)
    """Devices that were pushed and may still come (8)."""
    fallback: list[str] = field(default_factory=list)
    """SIMs that were not called yet (9)."""
    shown: set[str] = field(default_factory=set)
    """Devices that responded, or registered since (9)."""
    spoken: set[str] = field(default_factory=set)
    """Devices that said no for themselves (14, 16)."""
    pushed: set[str] = field(default_factory=set)
    is_over: bool = False
    """Its time has passed (7)."""

    @property
    def is_done(self) -> bool:
        return not self.ringing and not self.awaited


class Model:
    """See the module.  Every method returns what is to be done now."""

    def __init__(
        self,
        groups: list[list[tuple[str, float]]],
        rounds: int,
        limit_s: float,
        look: Callable[[str], Seen],
        can_push: Callable[[str], bool],
    ) -> None:
        """``groups``: (member, time) of each; ``look``: at a member, now; ``can_push``: a push can reach this device."""
        self.groups = groups
        self.rounds = rounds
        self.limit_at = limit_s
        self.look = look
        self.can_push = can_push
        self.round = 0
        self.group = -1
        self.was_sought = True
        self.now = 0.0
        self.offer: dict[str, Offered] = {}
        """Members who take part, or may yet (16)."""
        self.held: set[str] = set()
        """Members who join when they become free (6)."""
        self.offer_end = 0.0
        """End of the longest time of those who take part; of those who are held, if nobody else does."""
        self.declined: set[str] = set()
        self.out: list[Action] = []
        self.ended = ""
        self.winner = ""
        self.results: list[tuple[str, str]] = []
        """(device, outcome) of every leg, in order; and of members who were left out as busy."""
        self.rang: set[str] = set()
        """Devices that ring now, or rang in their last leg."""
        self.ever_rang = False
        self.silent: list[str] = []
        """Devices that rang, and fell silent without a word of their own."""

    # -- what happens

    def begin(self) -> list[Action]:
        self._next_group()
        return self._take()

    def says_ringing(self, device: str) -> list[Action]:
        member = self._of(device)
        if member is not None and device in self.offer[member].ringing:
            self.offer[member].shown.add(device)
            self.rang.add(device)
            self.ever_rang = True
        return self._take()

    def answers(self, device: str) -> list[Action]:
        member = self._of(device)
        if member is None or device not in self.offer[member].ringing:
            return self._take()
        del self.offer[member].ringing[device]
        self.winner = device
        self.results.append((device, ANSWERED))
        self._end(ANSWERED, ELSEWHERE)
        return self._take()

    def answers_late(self, device: str) -> list[Action]:
        """12: its answer crossed the CANCEL."""
        self.out.append((RELEASE, device, ""))
        return self._take()

    def refuses(self, device: str, is_decline: bool) -> list[Action]:
        """13, 14."""
        member = self._of(device)
        if member is None or device not in self.offer[member].ringing:
            return self._take()
        offered = self.offer[member]
        del offered.ringing[device]
        offered.shown.add(device)
        offered.spoken.add(device)
        self.results.append((device, "declined" if is_decline else "busy"))
        if is_decline:
            self.declined.add(member)
            for other in list(offered.ringing):
                self._stop(offered, other, DECLINED)
            offered.awaited.clear()
            offered.fallback.clear()
        self._go_on()
        return self._take()

    def is_dead(self, device: str) -> list[Action]:
        """14: its connection is gone; a push may still reach it."""
        member = self._of(device)
        if member is None or device not in self.offer[member].ringing:
            return self._take()
        offered = self.offer[member]
        del offered.ringing[device]
        offered.sims.discard(device)
        self.results.append((device, UNREACHABLE))
        if self.can_push(device) and device not in offered.pushed:
            self._push(offered, device)
        self._go_on()
        return self._take()

    def registers(self, device: str, is_new: bool) -> list[Action]:
        """16, 17, 4.  ``is_new``: it was not registered, or is reached in another way now."""
        member = device.partition("-")[0]
        offered = self.offer.get(member)
        if offered is None or offered.is_over or member in self.declined:
            return self._take()
        if device in offered.spoken or not is_new:
            return self._take()
        offered.awaited.discard(device)
        offered.shown.add(device)
        if device not in offered.ringing:
            self._ring(offered, device, offered.until)
        return self._take()

    def is_free(self, member: str) -> list[Action]:
        """6: another hunt lets it go."""
        if member in self.held:
            self.held.discard(member)
            self._offer_to(member, self._time_of(member), self.look(member))
            if not self.offer[member].is_done:
                self.offer_end = max(self.offer_end, self.offer[member].until)
            self._go_on()
        return self._take()

    def talks(self, member: str) -> list[Action]:
        """6: it begins to talk."""
        if member in self.held:
            self.held.discard(member)
            self.results.append((member, "talking"))
            self._go_on()
        return self._take()

    def caller_leaves(self) -> list[Action]:
        """19."""
        if not self.ended:
            self._end(CANCELLED, CALLER_GONE)
        return self._take()

    def passes(self, now: float) -> list[Action]:
        """Time: 11 before 7 before 8 and 9."""
        self.now = now
        if self.ended:
            return self._take()
        if now >= self.limit_at:
            self._end(NOBODY, TIME_OVER)
            return self._take()
        over_now: list[tuple[Offered, str]] = []
        for offered in self.offer.values():
            over = now >= offered.until
            for device, until in list(offered.ringing.items()):
                if over or now >= until:
                    over_now.append((offered, device))
            if over:
                offered.is_over = True
                offered.awaited.clear()
                offered.fallback.clear()
            elif now >= offered.wake_at:
                offered.awaited.clear()
                if not offered.shown & offered.ringing.keys():
                    for device in [name for name in offered.ringing if name not in offered.sims]:
                        self._stop(offered, device, UNREACHABLE)
        stopped = {device for _, device in over_now}
        others = any(offered.awaited or offered.ringing.keys() - stopped for offered in self.offer.values())
        for offered, device in over_now:
            self._stop(offered, device, TIME_OVER, others or self._more_to_come())
        if now >= self.offer_end:
            self._let_go()
        self._go_on()
        return self._take()

    def due(self) -> float:
        """When something happens by itself, at the latest."""
        if self.ended:
            return float("inf")
        times = [self.limit_at, *([self.offer_end] if self.held else [])]
        for offered in self.offer.values():
            if not offered.is_done:
                times += [offered.until, *offered.ringing.values()]
                if offered.wake_at > self.now:
                    times.append(offered.wake_at)
        return min(times)

    # -- the rules

    def _next_group(self) -> None:
        """1 to 6, 10, 11."""
        while not self.ended:
            self.offer = {}
            self._let_go()
            self.group += 1
            if self.group == len(self.groups):
                self.group = 0
                self.round += 1
                if self.round == self.rounds or not self.was_sought:
                    self._end(NOBODY, TIME_OVER)
                    return
            if self.group == 0:
                self.was_sought = False
            for member, for_s in self.groups[self.group]:
                seen = self.look(member)
                if member in self.declined:
                    continue
                if seen.busy == TALKING:
                    self.results.append((member, "talking"))
                elif seen.busy == OFFERED:
                    self.held.add(member)
                else:
                    self._offer_to(member, for_s, seen)
            times = [for_s for member, for_s in self.groups[self.group] if member in self.offer]
            if all(offered.is_done for offered in self.offer.values()):
                times = [for_s for member, for_s in self.groups[self.group] if member in self.held]
            self.offer_end = self.now + max(times, default=0.0)
            self.was_sought = self.was_sought or bool(self.held)
            if not self._nobody_left():
                return

    def _offer_to(self, member: str, for_s: float, seen: Seen) -> None:
        """4, 9."""
        offered = Offered(self.now + for_s, self.now + WAKE_S)
        self.offer[member] = offered
        offered.fallback = [] if seen.sims else list(seen.fallback)
        for device in seen.there:
            self._ring(offered, device, offered.until)
        for sim in seen.sims:
            self._call(offered, sim)
        for device in seen.asleep:
            self._push(offered, device)
        self._fall_back(offered)

    def _go_on(self) -> None:
        """9, 10."""
        if self.ended:
            return
        for offered in self.offer.values():
            self._fall_back(offered)
        if self._nobody_left():
            self._next_group()

    def _fall_back(self, offered: Offered) -> None:
        if offered.is_done and not offered.shown and self.now < offered.until:
            sims, offered.fallback = offered.fallback, []
            for sim in sims:
                self._call(offered, sim)

    def _nobody_left(self) -> bool:
        return not self.held and all(offered.is_done for offered in self.offer.values())

    def _ring(self, offered: Offered, device: str, until: float) -> None:
        self.was_sought = True
        self.rang.discard(device)
        offered.ringing[device] = until
        self.out.append((RING, device, ""))

    def _call(self, offered: Offered, sim: str) -> None:
        offered.sims.add(sim)
        self._ring(offered, sim, min(offered.until, self.now + SIM_S))

    def _push(self, offered: Offered, device: str) -> None:
        self.was_sought = True
        offered.pushed.add(device)
        offered.awaited.add(device)
        offered.wake_at = self.now + WAKE_S
        self.out.append((PUSH, device, ""))

    def _more_to_come(self) -> bool:
        """Another group, or another round."""
        return self.group + 1 < len(self.groups) or self.round + 1 < self.rounds

    def _stop(self, offered: Offered, device: str, why: str, others: bool = False) -> None:
        """``others``: somebody else may still take the call."""
        del offered.ringing[device]
        if device in self.rang and why != DECLINED:
            self.silent.append(device)
        rang = why != TIME_OVER or device in self.rang
        self.results.append((device, why if rang else UNREACHABLE))
        told = TIME_OVER if why == UNREACHABLE else why
        self.out.append((STOP, device, ELSEWHERE if others else told))

    def _end(self, how: str, why: str) -> None:
        self.ended = how
        for offered in self.offer.values():
            for device in list(offered.ringing):
                self._stop(offered, device, why)
        self.offer = {}
        self._let_go()

    def _let_go(self) -> None:
        """Who was held the whole time counts as busy."""
        self.results += [(member, "offered") for member in sorted(self.held)]
        self.held = set()

    # -- what each is told

    def reason(self) -> str:
        """20: what the caller is told when there is no further step."""
        found = {outcome for _, outcome in self.results}
        if TIME_OVER in found:
            return "no_answer"
        if found & {"busy", TALKING, OFFERED}:
            return "busy"
        return "declined" if "declined" in found else "unreachable"

    def missed(self) -> list[str]:
        """Devices with one missed call each, when nobody answered anywhere."""
        if self.winner:
            return []
        return sorted({device for device in self.silent if device.partition("-")[0] not in self.declined})

    # -- small things

    def _of(self, device: str) -> str | None:
        member = device.partition("-")[0]
        return member if member in self.offer else None

    def _time_of(self, member: str) -> float:
        return next(for_s for group in self.groups for name, for_s in group if name == member)

    def _take(self) -> list[Action]:
        out, self.out = self.out, []
        return sorted(out)
